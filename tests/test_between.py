"""/api/history?from=&to=: a time of the past in place of a range."""

import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from served import Site
from servers import get
from yesterday import fields_of, write

from app.messages import DAY, HOUR, MINUTE
from app.web.history import MOST_POINTS, OLDEST, Grid

NOW = 494_000 * HOUR + 20 * MINUTE + 3


@given(ago=some.integers(1, OLDEST), length=some.integers(1, OLDEST))
def test_its_steps_cover_it_and_are_few(ago: int, length: int) -> None:
    """Whole steps, not one more than touch it, none that has not begun; of minutes or of hours."""
    begin = NOW - ago
    grid = Grid.between(begin, begin + length, NOW)
    assert grid.begin <= begin < grid.begin + grid.step
    assert grid.end - grid.step < min(begin + length, NOW) <= grid.end
    assert len(grid.steps) == len(grid.times) <= MOST_POINTS
    assert grid.step % (HOUR if grid.by_hours else MINUTE) == grid.begin % grid.step == 0
    assert grid.by_hours == (ago > 8 * DAY)


async def asked(site: Site, begin: int, until: int, **more: str) -> Any:
    query = "&".join(f"{name}={value}" for name, value in more.items())
    return await get(f"http://127.0.0.1:{site.port}/api/history?from={begin}&to={until}&{query}")


@given(some.integers(MINUTE, OLDEST), some.integers(0, 10**15))
def test_one_that_ends_in_the_future_ends_now(ago: int, ahead: int) -> None:
    """To the end of time steps would be of years, and the first would begin before all that is
    kept: 10,000 days were read for one hashtag."""
    assert Grid.between(NOW - ago, NOW + ahead, NOW) == Grid.between(NOW - ago, NOW, NOW)


async def test_a_time_of_the_past_has_that_time_s_posts(site: Site) -> None:
    """By the minute, each point the total then and nothing of what came later; in a table, too."""
    now = int(time.time() * 1000)
    minutes = range((now - 20 * DAY) // MINUTE, now // MINUTE + 1)
    posts = {"demo": {"science": {minute: minute % 7 for minute in minutes}}}
    await write(site.store.redis, fields_of(posts, {"demo": minutes}, now, ["science"]))
    for days, step in ((1, MINUTE), (7, MINUTE), (19, HOUR)):
        begin = (now - days * DAY) // HOUR * HOUR
        status, told = await asked(site, begin, begin + 5 * HOUR, tags="science")
        assert (status, told["step"], told["gaps"]) == (200, step, [])
        line = told["series"]["science"]
        assert [at for at, _ in line] == list(range(begin + step, begin + 5 * HOUR + 1, step))
        own = [sum(m % 7 for m in range(at // MINUTE)[-step // MINUTE :]) for at, _ in line]
        assert [b[1] - a[1] for a, b in pairwise(line)] == own[1:]
    status, table = await asked(site, begin, begin + 5 * HOUR, tags="science", format="csv")
    assert (status, table.splitlines()[1:]) == (200, [f"{at},{total}" for at, total in line])


async def test_what_is_not_kept_and_what_is_not_over(site: Site) -> None:
    """Of a hashtag that was one of many, three days ago; and up to now, whatever `to` says."""
    now = int(time.time() * 1000)
    minutes = range((now - 4 * DAY) // MINUTE, now // MINUTE + 1)
    posts = {"demo": {"rare": dict.fromkeys(minutes, 1)}}
    await write(site.store.redis, fields_of(posts, {"demo": minutes}, now, []))
    begin = (now - 3 * DAY) // MINUTE * MINUTE
    _, told = await asked(site, begin, begin + HOUR, tags="rare")
    assert {total for _, total in told["series"]["rare"]} == {None}
    [gap] = told["gaps"]
    assert (gap["kind"], gap["from"], gap["to"]) == ("kept", begin, begin + HOUR)
    _, told = await asked(site, now - HOUR, now + DAY, tags="rare", band="1")
    assert now <= told["series"]["rare"][-1][0] <= told["at"] < now + HOUR
    assert len(told["usual"]["rare"]) == len(told["series"]["rare"])
    _, told = await asked(site, now - 6 * DAY, now - 5 * DAY, tags="unheard")
    assert [gap["kind"] for gap in told["gaps"]] == ["start"]


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("from=5", "from and to: expected two times"),
        ("from=-5&to=5", "from and to: expected two times"),
        (f"from=1&to={'9' * 16}", "from and to: expected two times"),
        ("from=1&to=٥", "from and to: expected two times"),
        ("from=1&to=2", "from: nothing is kept for more than 400 days."),
        ("from=9&to=9", "from is not before to, or not in the past."),
        ("from=800000000000000&to=900000000000000", "from is not before to"),
        ("from=1&to=2&range=1h", "Either range, or from and to."),
    ],
)
async def test_a_time_that_makes_no_sense_is_refused(site: Site, query: str, sentence: str) -> None:
    """With one sentence."""
    status, told = await get(f"http://127.0.0.1:{site.port}/api/history?{query}")
    assert (status, told["error"][: len(sentence)]) == (400, sentence)
