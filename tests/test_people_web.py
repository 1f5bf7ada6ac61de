"""People as viewers, the JSON and `check` tell them."""

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from servers import RedisServer
from test_api import Site
from test_feed import changed, feed_with, tick, view
from test_people import NEARLY_150, TODAY, Desk
from writing import DatedStore

from app.commands.check import check_people
from app.ingest.day_keys import DayKeys
from app.messages import DAY, Tick
from app.store import keys
from app.store.state import SEVERAL
from app.store.store import connect
from app.web.totals import Totals


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[DatedStore]:
    redis = connect(redis_server.url)
    yield DatedStore(redis)
    await redis.aclose()


def on(day: int, tick: Tick, **people: int) -> Tick:
    return changed(tick, day=day, people=people)


async def told(*ticks: Tick, tags: str = "a") -> Any:
    """The people in the totals that a viewer who comes now is told."""
    feed, _ = feed_with(*ticks)
    [(_, _, found)] = await view(feed, *tags).read()
    assert list(found["people"]) == list(tags)
    return [found["people"][tag] for tag in tags]


async def test_people_stand_beside_the_totals() -> None:
    """Of each hashtag, as its last tick has them; where nobody can say, null."""
    first = on(9, tick(1, a=5, b=7, c=1), a=2, b=3)
    assert await told(first, on(9, tick(2, a=6), a=3), tags="abc") == [3, 3, None]
    assert await told(tick(1, a=5)) == [None], "a tick of the version before"
    assert await told(first, tick(2, a=6), tags="ab") == [None, None], "and one later"
    assert await told(first, on(9, tick(2, b=8), b=3), tags="ab") == [2, 3]
    assert await told(first, on(0, tick(2)), on(9, tick(3)), tags="ab") == [2, 3]


async def test_after_midnight_what_did_not_change_has_nobody() -> None:
    """Also in a stream that is open: with the next event."""
    first = on(9, tick(1, a=5, b=7), a=2, b=3)
    assert await told(first, on(10, tick(2, b=8), b=1), tags="ab") == [0, 1]
    feed, _ = feed_with(first)
    viewer = view(feed, "a", "b")
    assert (await viewer.read())[-1][2]["people"] == {"a": 2, "b": 3}
    feed.hear(on(10, tick(2, b=8), b=1))
    assert (await viewer.read())[-1][2]["people"] == {"a": 0, "b": 1}
    feed.hear(on(10, tick(3, a=6), a=1))
    assert (await viewer.read())[-1][2]["people"] == {"a": 1, "b": 1}


async def test_a_forgotten_hashtag_has_nobody() -> None:
    """Until somebody uses it."""
    first = on(9, tick(1, a=5), a=2)
    assert await told(first, changed(tick(2), gone=["a"], day=9)) == [0]


async def test_the_json_has_people_beside_counts(store: DatedStore, tmp_path: Path) -> None:
    """Of what a tick told, and of what is read from Redis."""
    site = Site(store)
    desk = await Desk(store, tmp_path / "keys").open()
    for n in range(150):
        desk.post(f"{n}", "many", "few" if n < 3 else "many")
    last = await desk.tick()
    site.feed.hear(changed(last, counts={}, people={}, previous=""))
    site.feed.hear(None)
    status, found = await site.get("/api/counts", tags="many,few,unheard")
    assert (status, found["counts"]) == (200, {"many": 150, "few": 3, "unheard": 0})
    assert found["people"] == {"many": NEARLY_150, "few": 3, "unheard": 0}
    for n in range(150, 155):
        desk.post(f"{n}", "few")
    site.feed.hear(await desk.tick())
    _, found = await site.get("/api/counts", tags="few", by="source")
    assert (found["counts"]["few"], found["people"]) == ({"a": 8, "b": 0}, {"few": 8})


async def test_people_of_hashtags_in_no_tick_are_read(store: DatedStore, tmp_path: Path) -> None:
    """With the totals, at one moment; of the day of the last tick; what is none of ours is
    nobody's number."""
    desk, totals = await Desk(store, tmp_path / "keys").open(), Totals()
    desk.post("1", "science", "odd")
    await desk.tick()
    await store.redis.hset(keys.people(TODAY), "odd", b"123456789")
    _, found = await totals.read(store, ["science", "odd", "unheard"])
    assert found["science"] == ({"a": 1}, (TODAY, 1))
    assert [found[tag][1] for tag in ("odd", "unheard")] == [(0, 0), (TODAY, 0)]
    assert store.skipped == 1
    await desk.later(24 * 60)
    _, found = await totals.read(store, ["science"])
    assert found["science"] == ({"a": 1}, (TODAY, 1)), "no tick is of today yet"
    await desk.tick()
    _, found = await totals.read(store, ["science"])
    assert found["science"] == ({"a": 1}, (TODAY + 1, 0))


async def test_check_says_by_which_key_authors_are_counted(
    store: DatedStore, tmp_path: Path
) -> None:
    """And where an ingester with another key would end that, or has."""
    file, other = tmp_path / "keys", tmp_path / "other"
    assert await check_people(file, store) is None
    desk = await Desk(store, file).open()
    await desk.tick()
    finding = await check_people(file, store)
    assert finding and (finding.mark, finding.sentence) == (
        "ok  ",
        f"People: authors are counted by the key in {file}.",
    )
    DayKeys(other, Random(1).randbytes).begin(store.now // DAY)
    for wrong in (other, tmp_path / "none"):
        finding = await check_people(wrong, store)
        assert finding and finding.mark == "WARN" and finding.works
        assert (
            f"by another key than that in {wrong}: an ingester here would end" in finding.sentence
        )
    await store.redis.delete(keys.LEASE)
    await (await Desk(store, other).open()).tick()
    assert (await store.load()).people[TODAY] == SEVERAL
    for each in (file, other):
        finding = await check_people(each, store)
        assert finding and finding.mark == "WARN"
        assert "different keys: today's authors are counted no more." in finding.sentence
    await desk.later(2 * 24 * 60)
    assert await check_people(file, store) is None
