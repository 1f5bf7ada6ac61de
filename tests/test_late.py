"""Posts that were counted late: in the line of their own time, and never a spike."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import stored
from hypothesis import given
from hypothesis import strategies as st
from test_feed import changed, feed_with, tick, view
from test_people import Desk
from writing import DatedStore

from app.messages import MINUTE, Tick
from app.store.store import Store
from app.web.feed import Feed
from app.web.line import STEP, Line, Point

Parts = dict[str, list[tuple[int, int]]]


def line_of(before: int, *points: tuple[int, int]) -> Line:
    """A line of one source's totals; the number of a point is its time."""
    line = Line({"x": before}, "a")
    line.points = [Point(at, at, {"x": total}) for at, total in points]
    return line


def raise_past(line: Line, late: Parts, end: int, oldest: int = 0) -> dict[int, int]:
    """Put in late posts; time to total, of all points."""
    line.raise_past(late, oldest, end, lambda at: at)
    return {point.at: sum(point.totals.values()) for point in line.points}


def test_a_line_is_raised_from_the_time_of_the_posts_on() -> None:
    """Evenly over their minute, in steps of 5 s; what was before stays."""
    late: Parts = {"x": [(MINUTE, 60), (3 * MINUTE, 120)]}
    line = line_of(100, (30_000, 101), (90_000, 110), (240_000, 111))
    told = raise_past(line, late, 5 * MINUTE)
    expected = {30: 101, 65: 106, 85: 126, 90: 140, 95: 145, 120: 170, 185: 180, 240: 291}
    assert {second: told[second * 1000] for second in expected} == expected
    assert line.totals_at(299_999) == {"x": 291} and line.totals_at(0) == {"x": 100}
    assert all(
        later - one <= STEP for one, later in pairwise(at for at in told if 60_000 < at < 120_000)
    )


def test_late_posts_of_another_source_are_its_own() -> None:
    """Its part of the totals rises, also where it had none yet."""
    line = line_of(5, (30_000, 6))
    line.raise_past({"y": [(0, 12)]}, 0, 2 * MINUTE, lambda at: at)
    assert line.totals_at(MINUTE) == {"x": 6, "y": 12}
    assert line.totals_at(31_000) == {"x": 6, "y": 6}


def test_of_a_minute_that_was_not_over_the_posts_end_with_the_tick() -> None:
    """The line meets the tick that counts them."""
    told = raise_past(line_of(0), {"x": [(MINUTE, 40)]}, MINUTE + 20_000)
    assert told == {65_000: 10, 70_000: 20, 75_000: 30}


def test_few_posts_put_in_few_points() -> None:
    """Only where the line rises; silence and what comes after the end put in none."""
    late: Parts = {"x": [(0, 1), (MINUTE, 0), (2 * MINUTE, 2), (9 * MINUTE, 5)]}
    assert raise_past(line_of(3), late, 9 * MINUTE) == {60_000: 4, 150_000: 5, 180_000: 6}


def test_posts_from_before_the_log_raise_all_of_the_line() -> None:
    """It begins with them."""
    line = line_of(3, (95_000, 4))
    assert raise_past(line, {"x": [(0, 7), (MINUTE, 6)]}, 5 * MINUTE, oldest=90_000) == {
        95_000: 14, 100_000: 15, 110_000: 16, 120_000: 17,
    } | {95_000: 14}  # fmt: skip
    assert line.before == {"x": 13}


@given(
    st.lists(st.integers(0, 20), max_size=40),
    st.lists(st.integers(0, 20), min_size=1, max_size=5),
    st.integers(0, 10 * MINUTE),
    st.integers(0, 12 * MINUTE),
)
def test_totals_never_fall_and_end_where_they_should(
    pauses: list[int], posts: list[int], begin: int, oldest: int
) -> None:
    """Whatever points there were: the line rises up to the tick that counts the posts, by at
    most what they are."""
    times = sorted({sum(pauses[:n]) * 2500 for n in range(len(pauses))})
    line = line_of(0, *((at, n) for n, at in enumerate(times)))
    before = len(line.points)
    late: Parts = {"x": [(begin + n * MINUTE, number) for n, number in enumerate(posts)]}
    raise_past(line, late, 20 * MINUTE, oldest)
    totals = [line.before["x"], *(point.totals["x"] for point in line.points)]
    assert totals == sorted(totals)
    assert line.now["x"] == max(0, len(times) - 1) + sum(posts)
    assert len(line.points) <= before + 12 * len(posts)


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 2**62), st.integers(0, 2**40)), max_size=9), max_size=9
    )
)
def test_no_late_posts_can_fill_the_memory(ticks: list[list[tuple[int, int]]]) -> None:
    """Again and again, of any time: a line has at most 12 points a minute from them."""
    line = line_of(0)
    for late in ticks:
        line.raise_past({"x": late}, 10**9, 10**9 + 900_000, lambda at: at)
    assert len(line.points) <= 15 * 12 + 30


def late_tick(n: int, **more: Any) -> Tick:
    """The n-th tick, with thirty posts from the third second on."""
    return changed(tick(n, None, 30, a=31), late={"a": {"x": [(2001, 30)]}}, **more)


async def test_viewers_get_a_fresh_history_and_no_spike() -> None:
    """Whoever watches, and whoever comes back to a time before: one history, then ticks again."""
    feed, _ = feed_with(tick(1, a=1), *(tick(n) for n in range(2, 31)))
    viewer, other = view(feed), view(feed, "b")
    for each in (viewer, other):
        feed.watched["b"].totals = {}
        await each.read()
        assert await each.waits()
    feed.hear(late_tick(31))
    feed.hear(tick(32, b=1))
    for got in (await viewer.then(), await view(feed, last_id="4-0").read()):
        assert [(name, id) for name, id, _ in got] == [("history", "32-0"), ("counts", "32-0")]
        assert got[0][2]["series"]["a"] == [
            [500, 1],
            [7001, 12],
            [12_001, 23],
            [15_500, 31],
            [16_000, 31],
        ]
    assert [name for name, _, _ in await other.then()] == ["counts"]
    resumed = view(feed, last_id="31-0")
    assert await resumed.read() == []
    assert await viewer.waits()
    feed.hear(tick(33, a=32))
    assert [(name, id) for name, id, _ in await viewer.then()] == [("counts", "33-0")]


async def test_a_resume_at_the_late_tick_is_one() -> None:
    """What it has is right: the ticks that follow are all it lacks."""
    feed, _ = feed_with(tick(1, a=1), tick(2), late_tick(3), tick(4, a=32))
    assert [(n, id) for n, id, _ in await view(feed, last_id="3-0").read()] == [("counts", "4-0")]
    got = await view(feed, "b", last_id="1-0").read()
    assert got == [], "another hashtag's viewers resume as ever"


async def test_every_web_process_tells_the_same() -> None:
    """One that heard the ticks as they came, and one that reads them from the log."""
    ticks = [tick(n, a=1) for n in range(1, 11)] + [late_tick(11), tick(12, a=32)]
    one, _ = feed_with(*ticks[:10])
    view(one)
    for each in ticks[10:]:
        one.hear(each)
    other, _ = feed_with(*ticks)
    assert one.ticks.lines["a"].points == other.ticks.lines["a"].points


async def test_the_time_before_the_first_tick_is_filled() -> None:
    """At the very first start, posts of the last day are known: as far as the log reaches."""
    begin = 100 * MINUTE
    late = {"a": {"x": [(n * MINUTE, 12) for n in range(100)]}}
    first = tick(1, None, 3, begin, a=3)
    feed, _ = feed_with(first, changed(tick(2, None, 1200, begin + 1000, a=1203), late=late))
    [history, _] = await view(feed, history=900).read()
    line = history[2]["series"]["a"]
    assert line[0] == [begin + 5000 - 900_000, 85 * 12 + 1]
    assert line[-1] == [begin + 1000, 1203]
    assert all(0 <= later[1] - one[1] <= 4 for one, later in pairwise(line))


async def test_points_that_were_put_in_leave_with_the_ticks() -> None:
    """A pause that is filled costs the log nothing for long."""
    late = {"a": {"x": [(n * MINUTE, 12) for n in range(1, 20)]}}
    feed: Feed
    feed, _ = feed_with(tick(1, a=1), tick(2, None, 1, 20 * MINUTE, a=2))
    feed.hear(changed(tick(3, None, 228, 20 * MINUTE + 500, a=230), late=late))
    points = feed.ticks.lines["a"].points
    assert 150 < len(points) < 190
    assert [point.number for point in points] == sorted(point.number for point in points)
    for n in range(4, 3000):
        feed.hear(tick(n, None, 1, 20 * MINUTE + n * 500, b=n))
    assert set(feed.ticks.lines) == {"b"}


async def test_a_minute_that_ends_within_a_commit_makes_no_post_late(
    store: Store, tmp_path: Path
) -> None:
    """Else every open page would be sent its 15 minutes anew, and with it every viewer."""
    dated = DatedStore(store.redis)
    desk = await Desk(dated, tmp_path / "keys").open()
    await desk.tick()
    write_posts, ingester = desk.ingester.write_posts, desk.ingester

    async def slowly() -> None:
        await write_posts()
        await desk.later(0.5)

    ingester.write_posts = slowly  # type: ignore[method-assign]
    minutes = []
    for _ in range(4):  # every other minute ends there
        desk.post("somebody", "science")
        told = await desk.tick()
        minutes.append(ingester.counter.minute)
        assert told.added["science"] == {"a": 1} and not told.late
        assert told.at // MINUTE - minutes[-1] == (len(minutes) % 2 == 0), "it ended there"
    assert await stored.minutes(dated, "science") == dict.fromkeys(minutes, 2)
