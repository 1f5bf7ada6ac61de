"""Hashtags that are in no tick of the feed's log: their totals are read from Redis, at the tick
that they belong to."""

import asyncio
import gc
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from served import Writer
from servers import App, RedisServer, eventually, get
from test_failover import peak
from test_feed import Clock, changed, feed_with, flood, tick, view

from app.messages import Tick
from app.process import beside
from app.store import keys
from app.store.state import State
from app.store.store import Store, StoreLost
from app.web.feed import Feed


class Shelf:
    """A store with these totals as of one tick; reading may be held up."""

    def __init__(self, tick: str, **values: bytes) -> None:
        self.state = State(tick=tick, networks=("x", "y"))
        self.values = values
        self.asked: list[list[str]] = []
        self.meanwhile: list[Any] = []
        self.skipped: list[str] = []

    def skip(self, why: str) -> None:
        self.skipped.append(why)

    async def load(self) -> State:
        return State(networks=("x",))

    async def read(self, fields: dict[str, list[str]]) -> tuple[State, dict[str, Any]]:
        self.asked.append(sorted(fields))
        tags = fields[keys.totals("x")]
        found = {tag: self.values[tag] for tag in tags if tag in self.values}
        answer = self.state, {keys.totals("x"): found}
        for each in self.meanwhile:
            each()
        return answer


def feed_on(shelf: Shelf, *ticks: Tick) -> Feed:
    feed, _ = feed_with(*ticks)
    feed.store = shelf  # type: ignore[assignment]
    return feed


async def test_a_hashtag_that_nobody_asked_is_learnt() -> None:
    """Its total, and its past as a flat line; one that nobody used has 0; of all the sources
    that there are by now."""
    shelf = Shelf("2-0", old=b"70 1")
    feed = feed_on(shelf, tick(1, a=1), tick(2, a=2))
    shown = await feed.fanout(("old", "never", "a"), False)
    assert shown.totals() == {"old": 70, "never": 0, "a": 2}
    both = sorted(map(keys.totals, "xy"))
    assert shelf.asked == [both[:1], both]
    got = await view(feed, "old", "never", "a", history=900).read()
    assert got[0][2]["series"] == {
        "old": [[500, 70], [1000, 70]], "never": [[500, 0], [1000, 0]], "a": [[500, 1], [1000, 2]],
    }  # fmt: skip
    assert await feed.fanout(("old", "a"), True) is not shown
    assert shelf.asked == [both[:1], both], "what is watched is known"


async def test_a_value_waits_for_the_tick_that_it_belongs_to() -> None:
    """Redis is a tick ahead of what we heard: the value is taken when we have that tick."""
    feed = feed_on(Shelf("3-0", old=b"70 1"), tick(1, a=1), tick(2, a=2))
    asking = asyncio.ensure_future(feed.fanout(("old",), False))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not asking.done()
    feed.hear(tick(3, None, 20, old=70))
    assert (await asking).totals() == {"old": 70}
    assert feed.points("old", 0) == [(500, {"x": 50}), (1500, {"x": 70})]


async def test_a_newer_tick_wins_over_the_value_read() -> None:
    """It came while Redis was asked: its totals are those of later."""
    for newer, total in ((tick(3, old=71), 71), (changed(tick(3), gone=["old"]), 0)):
        shelf = Shelf("2-0", old=b"70 1")
        feed = feed_on(shelf, tick(1, a=1), tick(2, a=2))
        shelf.meanwhile = [
            lambda feed=feed, newer=newer: feed.newest.number < 3 and feed.hear(newer)
        ]
        assert (await feed.fanout(("old",), False)).totals() == {"old": total}


async def test_a_tick_that_does_not_come_is_not_awaited_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One sentence, and nothing is left of the hashtag."""
    monkeypatch.setattr("app.web.feed.WAIT_SECONDS", 0.05)
    feed = feed_on(Shelf("9-0", old=b"70 1"), tick(1, a=1))
    with pytest.raises(StoreLost, match="running"):
        await feed.fanout(("old",), False)
    gc.collect()
    assert not feed.watched and not feed.order
    feed.hear(tick(2, a=2))
    with pytest.raises(StoreLost, match="lag behind"):
        await feed.fanout(("old",), False)
    feed = feed_on(Shelf("garbage", old=b"70 1"), tick(1, a=1))
    with pytest.raises(StoreLost, match="not a stream id"):
        await feed.fanout(("old",), False)


async def test_a_log_that_begins_anew_while_redis_is_asked_is_no_answer() -> None:
    """The value is from before it, so it is read again."""
    shelf = Shelf("1-0", old=b"70 1")
    feed = feed_on(shelf, tick(1, a=1))

    def anew() -> None:
        shelf.meanwhile, shelf.values = [], {"old": b"71 1"}
        feed.hear(tick(7, 6, a=1))
        feed.hear(tick(1, 0, a=1))
        feed.settle()  # as if all else that is watched had been learnt already

    shelf.meanwhile = [anew]
    fanout = await feed.fanout(("old",), False)
    assert fanout.totals() == {"old": 71}
    assert len(shelf.asked) == 3  # once for the networks


async def test_a_value_that_is_no_total_is_skipped() -> None:
    """Counted, said, and 0."""
    shelf = Shelf("1-0", a=b"many", b=b"-1 1", c=b"1")
    feed = feed_on(shelf, tick(1))
    assert (await feed.fanout(("a", "b", "c"), False)).totals() == dict.fromkeys("abc", 0)
    assert len(shelf.skipped) == 3
    assert "'b' in the Redis key" in shelf.skipped[1]


async def test_before_the_log_is_read_nothing_is_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that wants totals at once is told so."""
    monkeypatch.setattr("app.web.feed.WAIT_SECONDS", 0.05)
    feed = feed_on(Shelf("1-0"))
    with pytest.raises(StoreLost, match="No tick has come yet"):
        await feed.fanout(("a",), False)


async def test_a_log_of_a_flood_is_read_with_little(
    store: Store, redis_server: RedisServer, start_app: Callable[..., App]
) -> None:
    """A real web process finds 31 MB of ticks in Redis, of hashtags that nobody used before:
    with that it took 520 MiB, and 358 MB with another such log. Nothing that it is asked
    meanwhile is answered with what is half read."""
    for n in range(100):
        text = json.dumps(msgspec.to_builtins(flood(n + 1, 3000)))
        last = await store.redis.xadd(keys.LOG, {"tick": text}, id=f"{(n + 1) * 500}-0")
    state = {"schema": "2", "version": "2.1", "tick": last, "networks": "x"}
    await store.redis.hset(keys.STATE, mapping=state)
    await store.redis.hset(keys.totals("x"), flooded := next(iter(flood(100, 1).counts)), "1 1")
    web = await asyncio.to_thread(start_app("web", REDIS_URL=redis_server.url).started)
    before, answers = peak(web), []

    async def answered() -> bool:
        status, told = await get(f"{web.url}/api/counts?tags={flooded}")
        answers.append(told)
        return status == 200

    await eventually(answered, "all of it is read")
    assert answers[-1]["counts"] == {flooded: 1}
    assert answers[-1]["at"] == 50_000
    assert peak(web) - before < 200  # python -X dev takes more for each object


async def test_totals_are_learnt_again_when_the_log_begins_anew(store: Store) -> None:
    """A hashtag that is in no tick of the new log: its viewers get the total of now, once."""
    writer, feed = Writer(store), Feed(0.5)
    await writer.commit({"old": 70})
    for n in range(3):
        await writer.commit({"a": n})
    async with beside(feed.run(store), "the feed"):
        await eventually(lambda: feed.loaded, "the feed is loaded")
        viewer = view(feed, "old")
        [(_, _, told)] = await viewer.read()
        assert told["counts"] == {"old": 70}
        assert await viewer.waits()
        await store.redis.hset(keys.totals("demo"), "old", b"60 1")
        await writer.lose_log()
        for n in range(40):
            await writer.commit({"a": n})
            await asyncio.sleep(0)
        got = await viewer.then()
        assert [name for name, _, _ in got] == ["history", "counts"]
        assert got[1][2]["counts"] == {"old": 60}
        assert await viewer.waits()


@pytest.mark.parametrize("lasts", [0.0, 0.002, 0.02])
async def test_others_get_a_turn_between_ticks_that_come_at_once(
    store: Store, lasts: float
) -> None:
    """After an outage of Redis the process answers also while it hands on what was missed: after
    each tick that takes long, and after several that take little."""
    writer, turn = Writer(store), 0
    for n in range(30):
        await writer.commit({"a": n})
    clock = Clock()
    feed = Feed(0.5, clock=clock)
    feed.hear((await store.ticks_after(""))[0])
    feed.hear(None)
    turns: list[int] = []
    hear = feed.hear

    def heard(tick: Tick | None) -> bool:
        turns.append(turn)
        clock.now += lasts
        return hear(tick)

    feed.hear = heard  # type: ignore[method-assign]
    async with beside(feed.follow(store), "the feed"), asyncio.timeout(10):
        while len(turns) < 29:
            turn += 1
            await asyncio.sleep(0)
    at_once = max(Counter(turns).values())
    assert at_once in {0.0: range(10, 30), 0.002: (5, 6), 0.02: (1,)}[lasts]
