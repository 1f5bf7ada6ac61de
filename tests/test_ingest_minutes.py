"""What an ingester counts keeps its minutes, whatever Redis does; and sources wait for it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import stored
from servers import eventually
from test_ingest import (
    TICK,
    Script,
    bring_back,
    copy,
    counted,
    ingesting,
    is_total,
    is_version,
    strange,
    total,
)

from app.ingest.counter import MOST_ENTRIES
from app.ingest.ingester import Ingester
from app.messages import Checkpoint, MinuteCount, Post
from app.store import keys
from app.store.state import State
from app.store.store import Store, StoreLost


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
    await store.redis.delete(keys.LEASE)
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
