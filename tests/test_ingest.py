"""The ingester against a real Redis that fails in every way: nothing lost, nothing twice."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import stored
from servers import RedisServer, eventually

from app.ingest.clock import RedisClock
from app.ingest.counter import MOST_ENTRIES, Cut
from app.ingest.ingester import Ingester
from app.ingest.writer import Writer
from app.messages import Checkpoint, MinuteCount, Post
from app.process import birth
from app.settings import read
from app.sources import Source, SourceLost
from app.store import keys
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


async def total(store: Store) -> int:
    return await stored.total(store, "science")


async def counted(store: Store, posts: int) -> None:
    """Wait for this total, and see that it stays so over some more ticks."""
    await eventually(lambda: is_total(store, posts), f"a total of {posts}")
    version = (await store.load()).number
    await eventually(lambda: is_version(store, version + 3), "three more ticks")
    assert await total(store) == posts


async def is_total(store: Store, posts: int) -> bool:
    return await total(store) == posts


async def is_version(store: Store, version: int) -> bool:
    return (await store.load()).number >= version


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


class Clocked(Store):
    """Redis's clock is the test's, and so is its absence."""

    def __init__(self, redis: Any) -> None:
        super().__init__(redis)
        self.now = 4_102_444_800_000
        self.away = False

    async def read(self, fields: Any) -> Any:
        if self.away:
            raise StoreLost("Redis is away")
        state, values = await super().read(fields)
        return replace(state, time=self.now), values

    async def commit(self, seen: State, commit: Any, *arguments: Any) -> State:
        if self.away:
            raise StoreLost("Redis is away")
        # the log's ids are of Redis's own clock
        commit = replace(commit, oldest=commit.oldest and "0")
        return replace(await super().commit(seen, commit, *arguments), time=self.now)

    async def pass_by(self, ingester: Ingester, minutes: float = 1) -> None:
        """So much time, and a tick after it."""
        self.now += int(minutes * 60_000)
        minute = ingester.counter.minute
        await eventually(lambda: ingester.counter.minute >= minute + int(minutes), "a tick")


@asynccontextmanager
async def clocked(
    store: Store, *sources: Script, tracked: Sequence[str] = ("science",)
) -> AsyncIterator[tuple[Ingester, Clocked]]:
    """An ingester whose time is the test's."""
    mine = Clocked(store.redis)
    ingester = Ingester(sources, mine, tracked, TICK, elapsed=lambda: mine.now / 1000)
    task = asyncio.create_task(ingester.run())
    try:
        await eventually(lambda: all(source.opened for source in sources), "sources are open")
        await eventually(lambda: ingester.commits.stored.number, "a tick")
        yield ingester, mine
    finally:
        mine.away = False
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled():
        task.result()


class Live(Script):
    """Goes back to a cursor, but not to the start; may bring posts again, known by their id."""

    def __init__(self, name: str, again: int = 0) -> None:
        super().__init__(name, replays=True)
        self.goes_back_to_the_start = False
        self.complete = True  # type: ignore[misc]
        self.again = again
        self.repeats = again > 0  # type: ignore[misc]
        self.tag = "science"
        self.time = 4_102_444_800_000

    async def posts(self, cursor: str) -> AsyncIterator[Any]:
        self.opened.append(cursor)
        self.say("live")
        done = max(0, int(cursor) - self.again) if cursor else self.given
        while True:
            while done < self.given:
                done += 1
                tags = {self.tag.format(done): self.tag.format(done)}
                yield Post(self.name, str(done), self.time, "", tags, cursor=str(done))
            self.news.clear()
            await self.news.wait()


async def test_a_redis_that_lost_everything_gets_the_last_minutes_of_every_source(
    store: Store,
) -> None:
    """Also of those that go back, but not to the start; with their cursors, so that a restart
    goes on where they were. What was not in memory any more was not counted: no zeros."""
    bluesky, mastodon, x = Live("bluesky"), Live("mastodon"), Script("x", replays=False)
    async with clocked(store, bluesky, mastodon, x) as (ingester, mine):
        for n, source in enumerate((bluesky, mastodon, x), 1):
            source.give(n)
        await counted(store, 6)
        for _ in range(4):
            await mine.pass_by(ingester, 5)
            for source in (bluesky, mastodon, x):
                source.give(1)
            await counted(store, sum(s.given for s in (bluesky, mastodon, x)))
        begin = (mine.now // 60_000) - 15
        await store.redis.flushall()
        expected = {"bluesky": 4, "mastodon": 4, "x": 4}
        found = await eventually(lambda: by_source(store, expected), "all is back")
        assert found
        cursors = (await store.load()).cursors
        assert (cursors["bluesky"], cursors["mastodon"]) == ("5", "6")
        assert bluesky.opened == mastodon.opened == x.opened[:1] == [""]
        bluesky.give(1)
        await counted(store, 13)
        kept = await minutes_counted(store, "x")
        assert min(kept) == begin
    again = Live("bluesky")
    again.given = bluesky.given + 2
    async with ingesting(store, again):
        await counted(store, 15)
    assert again.opened == ["6"]


async def by_source(store: Store, expected: dict[str, int]) -> bool:
    return (await stored.totals_by_source(store)).get("science") == expected


async def minutes_counted(store: Store, source: str) -> set[int]:
    """The minutes since 1970 in which it was counted."""
    found: set[int] = set()
    for key in await store.redis.keys(f"[{{]hashtag[}}]:hour:*:{source}"):
        past = keys.Past.read(await store.redis.hget(key, ""))
        found |= {int(key.split(b":")[2]) * 60 + slot for slot in past.slots}
    return found


async def test_what_is_counted_while_redis_is_away_keeps_its_minutes(store: Store) -> None:
    """And the tick that brings it says which those are."""
    x = Script("x", replays=False)
    async with clocked(store, x) as (ingester, mine):
        begin = mine.now // 60_000
        mine.away = True
        for n in range(1, 5):
            x.give(n)
            await eventually(lambda n=n: len(x.opened) and ingester.trouble, "it is away")
            await eventually(lambda: not x.news.is_set(), "it is counted")
            await mine.pass_by(ingester)
        mine.away = False
        await counted(store, 10)
        assert await stored.minutes(store, "science") == {begin + n: n + 1 for n in range(4)}
        ticks = [tick for tick in await store.ticks_after("") if tick.added]
        late = [part for tick in ticks for part in tick.late["science"]["x"]]
        assert sorted(late) == [((begin + n) * 60_000, n + 1) for n in range(4)]


async def test_sources_wait_while_a_commit_is_full(store: Store) -> None:
    """Their cursors never pass what is committed: what is killed meanwhile comes again. A source
    that cannot go back never waits."""
    many, x = Live("bluesky"), Script("x", replays=False)
    many.tag = "t{}"
    async with clocked(store, many, x) as (ingester, mine):
        mine.away = True
        await eventually(lambda: ingester.trouble, "it is away")
        many.give(10_000)
        x.give(10_000)
        await eventually(lambda: ingester.counter.is_full, "the counter is full")
        await eventually(lambda: not x.news.is_set(), "x was counted whole")
        assert ingester.counter.entries <= MOST_ENTRIES + 1
        assert int(ingester.counter.cursors["bluesky"]) <= MOST_ENTRIES
        assert not (await store.load()).cursors.get("bluesky")
        mine.away = False
        await eventually(lambda: has(store, 20_000), "all is counted")
        assert (await store.load()).cursors["bluesky"] == "10000"
        assert await total(store) == 10_000
        sizes = [len(tick.counts) for tick in await store.ticks_after("")]
        assert MOST_ENTRIES - 100 < max(sizes) <= MOST_ENTRIES + 1  # and what x has tracked


async def has(store: Store, posts: int) -> bool:
    return sum((await stored.totals(store)).values()) == posts


async def test_a_kill_while_sources_wait_loses_nothing(store: Store) -> None:
    """What was not committed is read again from the cursor."""
    many = Live("bluesky")
    many.tag = "t{}"
    mine = Clocked(store.redis)
    ingester = Ingester([many], mine, ["science"], TICK, elapsed=lambda: mine.now / 1000)
    task = asyncio.create_task(ingester.run())
    await eventually(lambda: many.opened, "it is open")
    many.give(3000)
    await eventually(lambda: has(store, 3000), "some are counted")
    mine.away = True
    many.give(9000)
    await eventually(lambda: ingester.counter.is_full, "the counter is full")
    task.cancel()  # Redis is away: no last word
    await asyncio.wait([task])
    await store.redis.delete(LEASE)
    again = Live("bluesky")
    again.tag, again.given = "t{}", many.given
    async with ingesting(store, again):
        await eventually(lambda: has(store, 12_000), "all is counted")
    assert again.opened == ["3000"]
    assert set((await stored.totals(store)).values()) == {1}


async def test_a_long_outage_of_a_source_that_cannot_wait_comes_in_parts(store: Store) -> None:
    """500 tracked hashtags over an hour: every commit is bounded, and none is lost."""
    tracked = [f"t{n}" for n in range(500)]
    x, replay = Script("x", replays=False), Script("replay", replays=True)
    async with clocked(store, x, replay, tracked=["science", *tracked]) as (ingester, mine):
        mine.away = True
        await eventually(lambda: ingester.trouble, "it is away")
        for _ in range(60):
            for tag in tracked:
                ingester.take(x, Post("x", "1", 0, "", {tag: tag}))
            await mine.pass_by(ingester)
        replay.give(3)
        mine.away = False
        await eventually(lambda: has(store, 30_003), "all is counted")
        assert (await store.load()).cursors["replay"] == "3"
    ticks = await store.ticks_after("")
    sizes = [sum(len(parts.get("x", ())) for parts in tick.late.values()) for tick in ticks]
    assert max(sizes) <= MOST_ENTRIES and sum(sizes) > 29_000
    assert set((await stored.totals(store)).values()) == {60, 3}


async def test_minutes_and_their_cursor_come_in_one_commit(store: Store) -> None:
    """A source that tells numbers does not wait between them: half of them with the old cursor
    would count twice after a kill."""

    class Numbers(Script):
        async def posts(self, cursor: str) -> AsyncIterator[Any]:
            self.opened.append(cursor)
            self.say("live")
            if not cursor:
                for n in range(6000):
                    yield MinuteCount("x", "science", (68_374_080 - n) * 60_000, 1)
                yield Checkpoint("x", "done")
            await asyncio.Event().wait()

    script = Numbers("x", replays=True)
    async with clocked(store, script):
        await eventually(lambda: is_total(store, 6000), "all is counted")
        ticks = [tick for tick in await store.ticks_after("") if tick.added]
        assert len(ticks) == 1
        assert (await store.load()).cursors == {"x": "done"}


async def test_a_source_that_brings_posts_again_counts_them_once(store: Store) -> None:
    """After a restart, and when Redis came back older: they are known by their ids, as Redis
    and the memory have them."""
    first = Live("bluesky", again=5)
    async with ingesting(store, first):
        first.give(20)
        await counted(store, 20)
        first.give(3)
        await counted(store, 23)
        first.time += 60_000
        first.give(4)
        first.time -= 60_000  # times of one server are not strictly in order
        first.give(2)
        await counted(store, 29)
    second = Live("bluesky", again=20)
    second.given = 31
    async with ingesting(store, second) as ingester:
        await counted(store, 31)
        assert second.opened == ["29"]
        old = await copy(store)
        second.give(2)
        await counted(store, 33)
        await bring_back(store, old)
        await counted(store, 33)
        await strange(store, ingester, 0, "0")
        await eventually(lambda: len(second.opened) == 2, "it goes back")
        second.give(1)
        await counted(store, 34)


async def test_what_was_marked_long_ago_is_forgotten(store: Store) -> None:
    """15 minutes later by the source's own time, in Redis and in memory."""
    source = Live("bluesky", again=5)
    async with ingesting(store, source) as ingester:
        begin = source.time // 60_000
        for n in range(40):
            source.time = (begin + n) * 60_000
            source.give(1)
            await eventually(lambda n=n: is_total(store, n + 1), "it is counted")
        await counted(store, 40)
        names = await store.redis.keys("[{]hashtag[}]:seen:*")
        assert sorted(int(name.rpartition(b":")[2]) - begin for name in names) == list(
            range(24, 40)
        )
        assert sorted(ingester.seen["bluesky"].minutes) == [begin + n for n in range(24, 40)]
        assert await store.redis.ttl(names[0]) > 0


async def test_a_commit_that_took_a_minute_once_stretches_no_tick(store: Store) -> None:
    """The process was stopped, or the machine slept: that is no overload. What a busy machine
    takes longer is none either, here."""
    source, waiting, seconds, pauses = (
        Script("x", replays=False),
        asyncio.Event(),
        0.1,
        list[float](),
    )

    class Stopped(Store):
        stop = False

        async def commit(self, *arguments: Any) -> State:
            if self.stop:
                self.stop = False
                await asyncio.sleep(15 * seconds)
                waiting.set()
            return await super().commit(*arguments)

    mine = Stopped(store.redis)
    async with ingesting(mine, source, seconds=seconds) as ingester:
        took = ingester.pace.took

        def noted(lasted: float) -> str:
            pauses.extend([lasted] * (lasted >= 15 * seconds))
            return took(lasted if lasted >= 15 * seconds else 0)

        ingester.pace.took = noted  # type: ignore[method-assign]
        await eventually(lambda: is_version(store, 3), "three ticks")
        mine.stop = True
        await waiting.wait()
        version = (await store.load()).number
        await eventually(lambda: is_version(store, version + 5), "five more ticks")
        assert len(pauses) == 1
        assert {tick.seconds for tick in await store.ticks_after("")} == {seconds}


async def test_garbage_in_redis_blocks_nobody(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """It counts as not there, is said, and what is counted beside it is right."""
    source = Script("replay", replays=True)
    source.complete = True  # type: ignore[misc]
    async with ingesting(store, source) as ingester:
        source.give(2)
        await counted(store, 2)
        hour = keys.hour(keys.hour_of(ingester.clock.now()), "replay")
        await store.redis.hset(keys.totals("replay"), "science", "9" * 30)
        await store.redis.hset(hour, mapping={"science": b"\xff", "": b"\x00\x01"})
        source.give(3)

        async def begins_anew() -> bool:
            return (await store.redis.hget(keys.totals("replay"), "science")).startswith(b"3 ")

        await eventually(begins_anew, "the total begins anew")
        await counted(store, 3)
        assert "values in Redis were none of ours so far" in caplog.text
        assert not ingester.trouble


class Rushed(Ingester):
    """For forty ticks sources wait for the next one, then no more."""

    ticks = 0

    async def commit(self, group: asyncio.TaskGroup) -> bool:
        self.ticks += 1
        if self.ticks < 40:
            self.rush.set()
        else:
            self.rush.clear()
        return True

    async def until(self, due: float) -> float:
        assert due - asyncio.get_running_loop().time() <= 0.5
        return await super().until(due)


async def test_after_a_rush_ticks_go_on_at_once(store: Store) -> None:
    """Ticks that came early, as sources waited for them, are not taken from those that follow:
    the next one is never further away than a tick."""
    ingester = Rushed([], store, ["science"], 0.5)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(ingester.tick_for_ever(group))
        await eventually(lambda: ingester.ticks >= 42 or task.done(), "two more ticks")
        task.cancel()
