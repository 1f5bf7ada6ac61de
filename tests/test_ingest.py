"""The ingester against a real Redis that fails in every way: nothing lost, nothing twice."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import stored
from redis.exceptions import RedisError
from servers import RedisServer, eventually

from app.ingest.clock import RedisClock
from app.ingest.counter import Cut
from app.ingest.ingester import Ingester
from app.ingest.writer import Writer
from app.messages import Post
from app.process import birth
from app.settings import read
from app.sources import Source, SourceLost
from app.store.keys import LEASE
from app.store.state import State
from app.store.store import Store, StoreLost

TICK = 0.02


class Script(Source):
    """A source that hands over one post for each call of give(); it can go back or not."""

    def __init__(self, name: str, replays: bool) -> None:
        super().__init__(read({}))
        self.name, self.goes_back = name, replays  # type: ignore[misc]
        self.goes_back_to_the_start = replays
        self.given = 0
        self.opened: list[str] = []
        self.news = asyncio.Event()
        self.fail: Exception | None = None

    def give(self, posts: int = 1) -> None:
        self.given += posts
        self.news.set()

    async def posts(self, cursor: str) -> AsyncIterator[Post]:
        self.opened.append(cursor)
        self.say("live")
        done = int(cursor or 0) if self.goes_back else self.given
        while True:
            if self.fail:
                error, self.fail = self.fail, None
                raise error
            while done < self.given:
                done += 1
                cursor = str(done) if self.goes_back else ""
                yield Post(self.name, str(done), 0, "", {"science": "Science"}, cursor=cursor)
            self.news.clear()
            await self.news.wait()


@asynccontextmanager
async def ingesting(
    store: Store, *sources: Script, opened: bool = True, seconds: float = TICK
) -> AsyncIterator[Ingester]:
    ingester = Ingester(sources, store, ["science"], seconds)
    task = asyncio.create_task(ingester.run())
    try:
        if opened:
            await eventually(lambda: all(source.opened for source in sources), "sources are open")
        yield ingester
    finally:
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled():
        task.result()


async def answered(ask: Callable[[], Awaitable[Any]]) -> Any:
    """What Redis says, whose disk may be slow for longer than we have patience."""

    async def said() -> list[Any]:
        with suppress(RedisError, StoreLost):
            return [await ask()]
        return []

    return (await eventually(said, "Redis answers"))[0]


async def total(store: Store) -> int:
    found: int = await answered(lambda: stored.total(store, "science"))
    return found


async def counted(store: Store, posts: int) -> None:
    """Wait for this total, and see that it stays so over some more ticks."""
    await eventually(lambda: is_total(store, posts), f"a total of {posts}")
    version = (await answered(store.load)).number
    await eventually(lambda: is_version(store, version + 3), "three more ticks")
    assert await total(store) == posts


async def is_total(store: Store, posts: int) -> bool:
    return await total(store) == posts


async def is_version(store: Store, version: int) -> bool:
    return bool((await answered(store.load)).number >= version)


async def copy(store: Store) -> dict[bytes, bytes]:
    names = await store.redis.keys()
    async with store.redis.pipeline(transaction=True) as pipe:
        for key in names:
            pipe.dump(key)
        return dict(zip(names, await pipe.execute(), strict=True))


async def bring_back(store: Store, copied: dict[bytes, bytes]) -> None:
    """Make Redis what it was: as if it had restarted with an older file."""
    async with store.redis.pipeline(transaction=True) as pipe:
        pipe.flushall()
        for key, value in copied.items():
            pipe.restore(key, 0, value)
        await pipe.execute()


async def test_every_tick_is_committed_also_without_posts(store: Store) -> None:
    """Ticks are the sign of life; the states of the sources travel with them."""
    source = Script("x", replays=False)
    async with ingesting(store, source):
        await eventually(lambda: is_version(store, 5), "five ticks")
        source.give(3)
        await counted(store, 3)
    assert (await store.ticks_after(""))[-1].sources["x"].state == "live"


async def test_what_was_counted_last_is_committed_at_the_end(store: Store) -> None:
    """Cancelled between two ticks, the ingester still hands over what it has."""
    source = Script("x", replays=False)
    async with ingesting(store, source) as ingester:
        await eventually(lambda: is_version(store, 2), "two ticks")
        ingester.counter.add(Post("x", "1", 0, "", {"science": "science"}))
    assert await total(store) == 1


class Tidy(Script):
    """Takes a moment to end."""

    open = most = tidied = 0

    async def posts(self, cursor: str) -> AsyncIterator[Post]:
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            async for post in super().posts(cursor):
                yield post
        finally:
            await asyncio.sleep(0.05)
            self.open -= 1
            self.tidied += 1


async def test_a_source_may_tidy_up_at_the_end(store: Store) -> None:
    """It has a moment for that, though the last tick is stored already."""
    source = Tidy("x", replays=False)
    async with ingesting(store, source):
        source.give(1)
        await counted(store, 1)
    assert source.tidied == 1


class LossyStore(Store):
    """Loses the answer of every commit whose turn it is, after Redis has done it."""

    lose = 0

    async def commit(self, *arguments: Any) -> State:
        state = await super().commit(*arguments)
        if self.lose:
            self.lose -= 1
            raise StoreLost("the answer was lost")
        return state


@pytest.mark.parametrize("replays", [True, False])
async def test_a_lost_answer_is_not_counted_twice(store: Store, replays: bool) -> None:
    """The commit is repeated under its name, found to be in, and the next one follows."""
    source, lossy = Script("a", replays), LossyStore(store.redis)
    async with ingesting(lossy, source):
        for n in range(1, 6):
            lossy.lose = 2
            source.give(7)
            await eventually(lambda: lossy.lose == 0, "two answers were lost")
            await counted(store, 7 * n)


@pytest.mark.parametrize("replays", [True, False])
async def test_an_outage_loses_nothing(
    store: Store, redis_server: RedisServer, replays: bool
) -> None:
    """While Redis refuses writes the counting goes on, and is committed when it can be."""
    source = Script("a", replays)
    async with ingesting(store, source) as ingester:
        source.give(2)
        await counted(store, 2)
        await store.redis.config_set("maxmemory", "1")
        source.give(5)
        await eventually(lambda: "memory" in ingester.trouble, "a commit was refused")
        assert await total(store) == 2
        await store.redis.config_set("maxmemory", "0")
        await counted(store, 7)
        assert not ingester.trouble


@pytest.mark.parametrize("replays", [True, False])
async def test_a_redis_that_came_back_older_is_brought_up_to_date(
    store: Store, replays: bool
) -> None:
    """What the older copy lacks is counted again from memory, and only that."""
    source = Script("a", replays)
    async with ingesting(store, source) as ingester:
        source.give(4)
        await counted(store, 4)
        old = await copy(store)
        version = (await store.load()).number
        source.give(6)
        await counted(store, 10)
        await bring_back(store, old)
        await eventually(
            lambda: len(ingester.commits.attempts) and is_version(store, version + 1),
            "a commit after the fault",
        )
        await counted(store, 10)
        source.give(1)
        await counted(store, 11)


@pytest.mark.parametrize("replays", [True, False])
async def test_a_redis_older_than_our_beginning_gets_all_that_we_brought(
    store: Store, replays: bool
) -> None:
    """Of a writer before us it has too little: that can be had from a source that goes back
    only; but of ours nothing is missing from any. Its lease of that time stops nobody."""
    first, source = Script("a", replays), Script("a", replays)
    async with ingesting(store, first):
        first.give(3)
        await counted(store, 3)
        old = await copy(store)
        first.give(2)
        await counted(store, 5)
    source.given = 5
    child = await asyncio.create_subprocess_exec("true")
    await child.wait()
    async with ingesting(store, source) as ingester:
        source.give(4)
        await counted(store, 9)
        source.give(1)
        await counted(store, 10)
        await store.redis.set("of a dead one", f"{socket.gethostname()}/{child.pid}/{birth()}/dead")
        await bring_back(store, {**old, LEASE.encode(): await store.redis.dump("of a dead one")})
        await counted(store, 10 if replays else 8)
        source.give(1)
        await counted(store, 11 if replays else 9)
        assert await store.writer() == ingester.name


async def test_a_redis_that_lost_everything_starts_again_where_sources_can(store: Store) -> None:
    """FLUSHALL after the start from an unknown state: a replay begins anew, so it is exact."""
    replay = Script("replay", replays=True)
    replay.give(5)
    async with ingesting(store, replay):
        await counted(store, 5)
    async with ingesting(store, replay):
        await counted(store, 5)
        await store.redis.flushall()
        await counted(store, 5)
        assert replay.opened[-1] == ""


async def test_a_second_ingester_stands_by_and_takes_over(store: Store) -> None:
    """One writes at a time; when it ends, the other goes on from its cursor."""
    one, two = Script("replay", replays=True), Script("replay", replays=True)
    async with ingesting(store, one), ingesting(Store(store.redis), two, opened=False) as other:
        for script in (one, two):
            script.give(10)
        await counted(store, 10)
        await eventually(lambda: "standing by" in other.trouble, "the second one stands by")
        assert not two.opened
        await store.redis.set(LEASE, other.name)  # as if ours had run out in a hang
        await eventually(lambda: two.opened, "the second one takes over")
        for script in (one, two):
            script.give(5)
        await counted(store, 15)
        one.give(100)  # what the hung one still reads is never counted twice
        await counted(store, 15)
    assert one.opened == [""]
    assert two.opened == ["10"]


async def strange(store: Store, ingester: Ingester, posts: int, cursor: str) -> State:
    """A stranger's commit between two of ours: so many posts of the replay, and its cursor."""
    stranger = Writer(store, ["science"], 10**6, RedisClock(), ingester.name)
    while True:
        state = await store.load()
        stranger.begin(state)
        present = {"replay": {"science": posts}} if posts else {}
        cut = Cut(ingester.clock.now() // 60_000, present, cursors={"replay": cursor})
        stored = await stranger.write(cut, state, {}, TICK, 10)
        if stored.commit == cut.name:
            return stored


async def test_a_stranger_s_commit_makes_a_replayable_source_go_back(store: Store) -> None:
    """Somebody else committed: what we had not stored is read again from the stored cursor."""
    replay, x = Script("replay", replays=True), Script("x", replays=False)
    async with ingesting(store, replay, x) as ingester:
        replay.give(5)
        x.give(5)
        await counted(store, 10)
        await strange(store, ingester, 2, "7")
        await eventually(lambda: len(replay.opened) == 2, "it goes back")
        replay.give(3)
        x.give(1)
        await counted(store, 14)


async def test_a_source_goes_back_when_it_has_tidied_up(store: Store) -> None:
    """Nobody reads it twice at once: some networks allow one connection only."""
    source = Tidy("replay", replays=True)
    async with ingesting(store, source) as ingester:
        source.give(5)
        await counted(store, 5)
        await strange(store, ingester, 0, "3")
        await counted(store, 7)
    assert source.opened == ["", "3"]
    assert (source.most, source.tidied) == (1, 2)


async def test_a_dead_neighbour_is_not_waited_for(store: Store) -> None:
    """After a kill -9 the next ingester on the machine starts at once, not when the lease ends."""
    child = await asyncio.create_subprocess_exec("true")
    await child.wait()
    await store.redis.set(LEASE, f"{socket.gethostname()}/{child.pid}/{birth()}/dead")
    source = Script("x", replays=False)
    async with ingesting(store, source) as ingester:
        assert await store.writer() == ingester.name


async def test_a_restart_goes_on_at_the_stored_cursor(store: Store) -> None:
    """What was counted before the restart is not read again, and nothing is left out."""
    source = Script("replay", replays=True)
    source.give(5)
    async with ingesting(store, source):
        await counted(store, 5)
    source.give(3)
    async with ingesting(store, source):
        await counted(store, 8)
    assert source.opened == ["", "5"]


async def test_a_lost_source_comes_back_and_the_others_go_on(store: Store) -> None:
    """Its state says why; the wait it asks for is kept; another source is not disturbed."""
    lost, other = Script("x", replays=False), Script("replay", replays=True)
    async with ingesting(store, lost, other):
        await eventually(lambda: lost.opened and other.opened, "both are open")
        lost.fail = SourceLost("cable cut", wait=0)
        lost.give(0)
        other.give(4)
        await eventually(lambda: len(lost.opened) == 2, "the lost one is opened again")
        lost.give(2)
        await counted(store, 6)
    assert other.opened == [""]


async def test_a_source_lost_for_good_stays_down_and_says_why(store: Store) -> None:
    """No further try is made; every tick carries the state and the reason."""
    lost, other = Script("x", replays=False), Script("replay", replays=True)
    lost.fail = SourceLost("the token is not valid", for_good=True)
    async with ingesting(store, lost, other):
        other.give(2)
        await counted(store, 2)
    last = (await store.ticks_after(""))[-1]
    assert {name: of.state for name, of in last.sources.items()} == {"x": "down", "replay": "live"}
    assert last.sources["x"].reason == "the token is not valid"
    assert lost.opened == [""]


async def test_a_bug_in_a_source_ends_the_process_loudly(store: Store) -> None:
    """Our own fault is no lost connection: it must not be hidden by another try."""
    broken = Script("x", replays=False)
    broken.fail = ZeroDivisionError("a bug")
    ingester = Ingester([broken], store, ["science"], TICK)
    with pytest.raises(BaseExceptionGroup) as raised:
        await ingester.run()
    assert raised.group_contains(ZeroDivisionError)
