"""What is kept longer, when an hour is over."""

from collections.abc import AsyncIterator

import pytest
from servers import RedisServer
from writing import HOUR, DatedStore, Desk

from app.ingest.rollup import PAGES_A_TICK, most_used
from app.store import keys
from app.store.keys import KEPT_MOST, Past
from app.store.store import StoreLost, connect


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[DatedStore]:
    redis = connect(redis_server.url)
    yield DatedStore(redis)
    await redis.aclose()


async def test_the_most_used_and_the_tracked_are_kept(store: DatedStore) -> None:
    """Of all sources together, 1,000; the rest of the hour is not, and the day has the same."""
    desk = await Desk(store, ["rare"]).open()
    many = {f"t{n}": n + 2 for n in range(2000)}
    await desk.write({"x": {**many, "rare": 1}, "y": {"t3": 5000}})
    await desk.later(60)
    await desk.write()
    kept = await store.redis.hkeys(keys.kept(HOUR, "x"))
    best = {f"t{n}".encode() for n in range(1001, 2000)} | {b"t3"}
    assert len(best) == KEPT_MOST
    assert set(kept) == best | {b"rare", b""}
    assert set(await store.redis.hkeys(keys.day(HOUR // 24, "x"))) == best | {b"rare", b""}
    for tag, posts in {"t1999": 2001, "t3": 5, "rare": 1}.items():
        assert await desk.past(keys.kept(HOUR, "x"), tag) == Past(posts, {0: posts})
        assert await desk.past(keys.day(HOUR // 24, "x"), tag) == Past(posts, {HOUR % 24: posts})
    assert await desk.past(keys.kept(HOUR, "y"), "t3") == Past(5000, {0: 5000})
    expires = await store.redis.expiretime(keys.kept(HOUR, "y"))
    assert expires == keys.end_of_kept(HOUR)
    assert await store.redis.expiretime(keys.day(HOUR // 24, "y")) == keys.end_of_day(HOUR // 24)


async def test_an_hour_is_moved_once(store: DatedStore) -> None:
    """And looked through once: the ticks after it have nothing to do with it."""
    desk = await Desk(store).open()
    await desk.write({"x": {"a": 1}})
    await desk.later(60)
    await desk.write()
    assert desk.state.moved == HOUR
    store.scanned = 0
    await desk.later(0.01)
    commits = len(store.commits)
    await desk.write()
    assert store.scanned == 0
    assert not any(":kept:" in write.key for write in store.commits[commits].writes)


async def test_no_tick_waits_for_a_large_hour(store: DatedStore) -> None:
    """It is looked through some pages a tick, ticks are stored meanwhile, and then it is moved."""
    desk = await Desk(store).open()
    await desk.write({"x": {f"t{n}": n + 1 for n in range(25_000)}})
    await desk.later(60)
    ticks = 0
    while desk.state.moved < HOUR:
        store.scanned = 0
        await desk.write({"x": {"new": 1}})
        assert store.scanned <= PAGES_A_TICK + 1, "one more is looked at for what is forgotten"
        ticks += 1
    assert 2 <= ticks <= 4
    assert await desk.past(keys.kept(HOUR, "x"), "t24999") == Past(25_000, {0: 25_000})
    assert await desk.past(keys.kept(HOUR, "x"), "t23999") is None


async def test_moving_again_changes_nothing(store: DatedStore) -> None:
    """The values are absolute: a commit whose answer was lost, or an older `moved`."""
    desk = await Desk(store).open()
    await desk.write({"x": {"a": 2}})
    await desk.later(60)
    await desk.write({"x": {"a": 3}})
    before = {k: await desk.past(k) for k in (keys.kept(HOUR, "x"), keys.day(HOUR // 24, "x"))}
    await store.redis.hset(keys.STATE, "moved", HOUR - 1)
    await desk.open()
    await desk.write()
    assert {k: await desk.past(k) for k in before} == before


async def test_the_hours_of_a_day_come_together(store: DatedStore) -> None:
    """In one field, with the running total at the end of the last of them."""
    desk = await Desk(store).open()
    await desk.later(120)
    for hour in range(3):
        await desk.write({"x": {"a": hour + 1}})
        await desk.later(60)
    await desk.write()
    day = await desk.past(keys.day(HOUR // 24, "x"))
    assert day == Past(6, {HOUR % 24 + 2: 1, HOUR % 24 + 3: 2, HOUR % 24 + 4: 3})


async def test_after_an_absence_every_hour_is_moved(store: DatedStore) -> None:
    """One a tick; what is older than two days is gone."""
    desk = await Desk(store).open()
    await desk.write({"x": {"a": 1}})
    await desk.later(47 * 60)
    desk = await Desk(store).open()
    await desk.write({"x": {"a": 1}})
    assert desk.state.moved == HOUR
    for _ in range(50):
        await desk.write()
    assert desk.state.moved == HOUR + 46
    assert await desk.past(keys.kept(HOUR, "x")) == Past(1, {0: 1})
    await desk.later(48 * 60)
    desk = await Desk(store).open()
    await desk.write()
    assert desk.state.moved == HOUR + 48
    for _ in range(50):
        await desk.write()
    assert desk.state.moved == HOUR + 94
    assert await desk.past(keys.kept(HOUR + 47, "x")) is None


async def test_a_clock_that_was_ahead_stops_no_moving(store: DatedStore) -> None:
    """Redis was in next week for a moment: back again, each hour is moved when it is over."""
    desk = await Desk(store, ["a"]).open()
    await desk.write({"x": {"a": 1}})
    store.now += 7 * 24 * 3_600_000
    await desk.write({"x": {"b": 1}})
    store.now -= 7 * 24 * 3_600_000
    await desk.write({"x": {"a": 2}})
    await desk.later(60)
    await desk.write()
    assert desk.state.moved == HOUR
    assert await desk.past(keys.kept(HOUR, "x")) == Past(3, {0: 3})


async def test_what_was_kept_of_an_hour_that_is_over_twice_is_kept_anew(
    store: DatedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis's clock went back into it: what was among the most used before may not be any more."""
    monkeypatch.setattr(keys, "KEPT_MOST", 1)
    desk = await Desk(store).open()
    await desk.write({"x": {"a": 2, "b": 1}})
    await desk.later(60)
    await desk.write()
    assert await desk.past(keys.kept(HOUR, "x"), "a") == Past(2, {0: 2})
    store.now -= 3_600_000
    await desk.write({"x": {"a": 1, "b": 5}})
    await desk.later(60)
    await desk.write()
    assert await desk.past(keys.kept(HOUR, "x"), "b") == Past(6, {0: 6})
    assert await desk.past(keys.kept(HOUR, "x"), "a") == Past(3, {0: 3})


async def test_late_posts_of_the_same_commit_are_moved_with_it(store: DatedStore) -> None:
    desk = await Desk(store).open()
    await desk.write({"x": {"a": 1}})
    await desk.later(60)
    await desk.write({"x": {"a": 1}}, past={"x": {HOUR * 60 + 7: {"a": 4, "b": 2}}})
    assert await desk.past(keys.kept(HOUR, "x")) == Past(5, {0: 1, 7: 4})
    assert await desk.past(keys.day(HOUR // 24, "x")) == Past(5, {HOUR % 24: 5})


async def test_garbage_in_an_hour_is_left_where_it_is(store: DatedStore) -> None:
    """Nobody is blocked by it; a key of another type is named."""
    desk = await Desk(store).open()
    await desk.write({"x": {"a": 1}})
    await store.redis.hset(keys.hour(HOUR, "x"), mapping={"bad": b"\x01\x02", b"\xff": b"\x00"})
    await desk.later(60)
    await desk.write()
    assert await desk.past(keys.kept(HOUR, "x")) == Past(1, {0: 1})
    assert await store.redis.hlen(keys.kept(HOUR, "x")) == 2
    await desk.later(60)
    await store.redis.set(keys.hour(HOUR + 1, "x"), "foreign")
    with pytest.raises(StoreLost, match=rf"the Redis key {keys.hour(HOUR + 1, 'x')} is of another"):
        await desk.write()


async def test_an_hour_s_most_used_are_found_page_by_page(store: DatedStore) -> None:
    desk = await Desk(store).open()
    await desk.write({"x": {f"t{n}": n + 1 for n in range(7000)}})
    best = await most_used(store, keys.hour(HOUR, "x"))
    assert list(best.items()) == [(f"t{n}", n + 1) for n in range(6999, 1999, -1)]
