"""X's stream that breaks, and X's counts of what it missed, through the real tweepy: totals are
the truth, minute by minute."""

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
import stored
from servers import App, Event, RedisServer, eventually, get, viewing
from test_x_budget import paid
from x_server import TOKEN, XServer, x_server
from x_source import line

from app.ingest.ingester import Ingester
from app.settings import read
from app.sources import pick
from app.sources.x.backfill import XBackfill
from app.store.state import Commit, State
from app.store.store import Store, StoreLost, connect

TICK = 0.02
MINUTE, DAY = 60, 86_400


class Time:
    """A clock that moves when the source sleeps, and when the test says so."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.slept: list[float] = []
        self.free = asyncio.Event()
        self.free.set()

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        await self.free.wait()
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


class World:
    """All posts that there are; X tells their numbers, and streams such as it is given."""

    def __init__(self, api: XServer, store: Store, ago: int = 3600) -> None:
        self.api, self.store = api, store
        # so long ago by the clock of Redis, so that all of it is past there
        self.begin = int(time.time()) // MINUTE * MINUTE - ago
        self.time = Time(self.begin + 20.0)
        self.written: list[int] = []
        api.clock, api.keep_alive = self.time, 0.02
        api.posts_in = lambda _, at: sum(at <= post < at + MINUTE for post in self.written)

    def write(self, *seconds: int) -> list[bytes]:
        """Posts that are written so long after the beginning, as the stream would bring them."""
        posts = [self.begin + at for at in seconds]
        self.written += posts
        return [self.line(post) for post in posts]

    def line(self, post: int) -> bytes:
        at = f"{datetime.fromtimestamp(post, UTC):%Y-%m-%dT%H:%M:%S.000Z}"
        return line(f"{post}{self.written.index(post)}", "science", created_at=at)

    def source(self, **chosen: str) -> XBackfill:
        settings = {"X_API_URL": self.api.url, "X_BEARER_TOKEN": TOKEN, "X_BACKFILL": "true"}
        source = pick("x", read({**settings, "HASHTAGS": "science", **chosen}), self.store)
        source.clock = self.time
        source.stall = 10_000.0  # type: ignore[attr-defined]
        source.sleep = self.time.sleep  # type: ignore[attr-defined]
        return source  # type: ignore[return-value]

    @asynccontextmanager
    async def counting(self, store: Store | None = None, **chosen: str) -> AsyncIterator[XBackfill]:
        """An ingester; its end is a kill -9: what was not yet stored is lost."""
        source = self.source(**chosen)
        ingester = Ingester([source], store or self.store, source.settings.hashtags, TICK)
        task = asyncio.create_task(ingester.run())
        try:
            yield source
        finally:
            ingester.finish = nothing  # type: ignore[method-assign]
            task.cancel()
            await asyncio.wait([task])
            await self.store.give_lease(ingester.name)
        if not task.cancelled():
            task.result()

    async def total(self) -> int:
        return await stored.total(self.store, "science")

    async def reach(self, posts: int) -> None:
        """Wait for this total, and see that it stays so over some more ticks."""

        async def reached() -> bool:
            return await self.total() >= posts

        await eventually(reached, f"a total of {posts}")
        await self.ticks()
        assert await self.total() == posts

    async def by_minute(self) -> dict[int, int]:
        """Posts in each minute since the beginning, as Redis has them."""
        found = await stored.minutes(self.store, "science")
        return {at * MINUTE - self.begin: posts for at, posts in found.items() if posts}

    async def ticks(self, number: int = 5) -> None:
        """Let so many ticks go by: what has come until now is counted."""
        version = (await self.store.load()).number

        async def gone() -> bool:
            return (await self.store.load()).number >= version + number

        await eventually(gone, "some more ticks")

    async def bring(self, at: int, *lines: bytes) -> None:
        """Stream these lines at this time."""
        await self.ticks()
        self.time.now = self.begin + float(at)
        self.api.later.extend(lines)
        await eventually(lambda: not self.api.later, "X has sent the lines")
        await self.ticks()

    async def cut(self, at: int) -> None:
        """End the connection; the next one stands at this time."""
        self.api.quiet = True
        await self.ticks()
        self.time.now, connects = self.begin + float(at), self.api.connects
        self.api.hang_up = True
        await eventually(lambda: self.api.connects > connects, "it is connected again")
        self.api.quiet = False
        await self.ticks()

    def asked(self) -> list[tuple[int, int]]:
        """What X was asked about: begin and end, in seconds since the beginning."""
        queries = [query for what, _, query in self.api.asked if what == "counts"]
        moments = [(query["start_time"], query["end_time"]) for query in queries]
        return [(since(begin) - self.begin, since(end) - self.begin) for begin, end in moments]

    def fail(self, *failures: tuple[int, Mapping[str, str], Any]) -> None:
        self.api.counts_failures.extend(
            (status, dict(more), body) for status, more, body in failures
        )


def since(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp())


async def nothing(group: asyncio.TaskGroup) -> None:
    """Instead of the last commit of an ingester."""


@pytest.fixture
async def world(redis_server: RedisServer) -> AsyncIterator[World]:
    redis = connect(redis_server.url)
    async with x_server() as api:
        yield World(api, Store(redis))
    await redis.aclose()


async def test_the_day_before_the_first_start_is_counted(world: World) -> None:
    """In its own minutes; what the stream brought of its first minute is not counted twice."""
    world.write(-90_000, -86_000, -86_000, -50_000, -7, 3)
    brought = world.write(22, 24)
    world.api.connections.append(brought)
    async with world.counting() as source:
        await world.reach(7)
        assert source.waiting() == 0
        assert await paid(world.store) == 3, "two were read, one is next; X's counts are no posts"
    assert await paid(world.store) == 2
    assert world.asked() == [(-86_340, -43_140), (-43_140, 60)]
    minutes = await world.by_minute()
    early = {at: n for at, n in minutes.items() if at < 60}
    assert early == {-86_040: 2, -50_040: 1, -60: 1, 0: 1}
    assert sum(minutes.values()) == 7


FIRST = [(-86_340, -43_140), (-43_140, 60)]
"""What is asked at the first start."""


async def test_a_gap_is_filled_and_nothing_counts_twice(world: World) -> None:
    """What came late and out of order before the cut, what was missed, what comes late after it,
    and what comes when X has told of its minute: each once."""
    async with world.counting() as source:
        await eventually(lambda: len(world.asked()) == 2, "the day before is asked for")
        world.time.free.clear()
        await world.bring(200, *world.write(130, 195, 131))
        before, late, never = world.write(226, 205, 227), world.write(228), world.write(229, 299)
        await world.bring(230, *before)
        await world.cut(310)
        await world.bring(320, *world.write(312), *late)
        assert await world.total() == 8
        world.time.free.set()
        await world.reach(10)
        assert world.asked() == [*FIRST, (120, 360)]
        await world.bring(380, *never, *late, *world.write(379))
        await world.reach(11)
        # the hole, with the minute before the cut
        assert source.public_state().unbroken_since == (world.begin + 120) * 1000
    assert world.api.fired == ["hang up"]
    minutes = await world.by_minute()
    assert {at: n for at, n in minutes.items() if at < 360} == {180: 1, 240: 1}


class Dead(Store):
    """A store that takes nothing any more, from a moment on."""

    dead = False

    async def commit(self, *arguments: Any, **more: Any) -> State:
        if self.dead:
            raise StoreLost("dead")
        return await super().commit(*arguments, **more)


async def test_a_kill_loses_nothing(world: World) -> None:
    """What was read and not stored, and what was written while nobody ran."""
    dead = Dead(world.store.redis)
    async with world.counting(dead) as source:
        await eventually(lambda: len(world.asked()) == 2, "the day before is asked for")
        await world.bring(100, *world.write(90, 95))
        dead.dead = True
        world.api.later.extend(world.write(101, 102))
        await eventually(lambda: len(source.seen) == 4, "they are read")
    assert await world.total() == 2
    world.write(110, 1000, 1001)
    world.time.now = world.begin + 1100.0
    async with world.counting():
        await world.reach(7)
        await world.bring(1200, *world.write(1190))
    assert await world.total() == 8
    assert world.asked() == [*FIRST, (60, 1140)]


async def test_a_kill_before_the_gap_is_filled_asks_again(world: World) -> None:
    """From the stored cursor: the day before the first start, and the time between."""
    world.write(-50_000, -10, 30)
    world.time.free.clear()
    async with world.counting():
        await world.bring(25, *world.write(24))
        assert await world.total() == 1
    world.time.now = world.begin + 400.0
    world.write(100, 350)
    world.time.free.set()
    async with world.counting():
        await world.reach(6)
    assert world.asked() == [(-86_340, -43_140), (-43_140, 60), (60, 420)]


async def test_what_the_ceiling_left_unread_is_counted_when_a_new_day_begins(world: World) -> None:
    """Though it was reached before the first gap was filled; until then X is not asked at all."""
    # a day and an hour ago, for what is 48 hours old has no minute any more; not near midnight
    ago = DAY + 3600
    if (time.time() - ago) % DAY > DAY - 600:
        ago += 1200
    world = World(world.api, world.store, ago=ago)
    world.write(-50_000, -10)
    world.time.free.clear()
    async with world.counting(X_POSTS_PER_DAY="3") as source:
        await world.bring(100, *world.write(90, 91, 92, 93, 94))
        await eventually(lambda: source.state == "budget", "the ceiling is reached")
        await world.reach(3)
    world.time.free.set()
    async with world.counting(X_POSTS_PER_DAY="3") as source:
        await eventually(lambda: source.state == "budget", "the ceiling still holds")
        await world.reach(3)
    assert (world.api.connects, world.asked(), await paid(world.store)) == (1, [], 3)
    world.time.now = world.begin + DAY + 10.0
    async with world.counting(X_POSTS_PER_DAY="3"):
        await world.reach(7)
        await world.bring(DAY + 200, *world.write(DAY + 190))
        await world.reach(8)
    spans = world.asked()
    assert (spans[0][0], spans[-1][1]) == (FIRST[0][0], DAY + MINUTE)
    assert all(one[1] == later[0] for one, later in itertools.pairwise(spans))
    minutes = await world.by_minute()
    assert {at: n for at, n in minutes.items() if at <= DAY} == {-50_040: 1, -60: 1, 60: 2}


async def test_counts_that_fail_neither_end_the_stream_nor_lose_the_gap(world: World) -> None:
    """A limit, an error, and answers that are none: each has its wait, and the stream goes on."""
    world.write(-50_000, -10, -9)
    reset = {"x-rate-limit-remaining": "0", "x-rate-limit-reset": str(world.begin + 500)}
    garbage = [[], {"data": []}, {"data": [{"start": "2026"}]}, b"{", b"\xff"]
    world.fail((429, reset, {}), (503, {}, {}), *((200, {}, body) for body in garbage))
    async with world.counting() as source:
        await eventually(lambda: not world.api.counts_failures, "all have failed")
        await world.bring(4000, *world.write(3999))
        await world.reach(4)
        assert source.state == "live"
        assert source.bad == 0
    assert world.api.fired == [429, 503] + [200] * 5
    assert world.api.connects == 1
    waits = [round(wait) for wait in world.time.slept if wait]
    assert waits == [55, 426, 5, 10, 20, 40, 80, 160]


async def test_what_x_refuses_is_asked_for_by_the_next_connection(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """An app that may not have counts: one sentence, and the stream goes on."""
    world.write(-50_000)
    world.fail((403, {}, {"title": "Forbidden"}))
    async with world.counting():
        await eventually(lambda: world.api.fired == [403], "X refuses")
        world.time.free.clear()
        await world.bring(100, *world.write(90))
        assert await world.total() == 1
        assert "stays missing for now: X answered 403: Forbidden" in caplog.text
        assert len(world.asked()) == 1
        world.time.free.set()
        await world.cut(400)
        await world.reach(2)


class Deaf(Store):
    """A store that loses the answer to the first commit with posts of the past."""

    lost = 0

    async def commit(self, seen: State, commit: Commit, *more: Any) -> State:
        state = await super().commit(seen, commit, *more)
        if '"late":{"' in commit.tick and not self.lost:
            self.lost += 1
            raise StoreLost("the answer is lost")
        return state


async def test_a_commit_whose_answer_was_lost_fills_once(world: World) -> None:
    """It is made again under its name."""
    deaf = Deaf(world.store.redis)
    world.write(-50_000, -10, -9)
    async with world.counting(deaf):
        await world.reach(3)
        assert deaf.lost == 1
    assert await world.by_minute() == {-50_040: 1, -60: 2}


async def test_every_open_page_sees_the_past_where_it_belongs(
    world: World, redis_server: RedisServer, start_app: Callable[..., App]
) -> None:
    """Who watches gets a fresh history without a spike; /api/history has each minute's posts."""
    world = World(world.api, world.store, ago=600)
    world.write(*(-at for n, at in enumerate(range(1, 86_000, 60)) for _ in range(n % 5)))
    world.time.free.clear()
    app = start_app("web", REDIS_URL=redis_server.url, HASHTAGS="science").started()
    async with world.counting(), viewing(f"{app.url}/events") as events:
        await world.bring(30, *world.write(25))
        counts = (event async for event in events if event.name == "counts")
        while (await anext(counts)).data["counts"] != {"science": 1}:
            pass
        world.time.free.set()
        await world.reach(total := len(world.written))
        async with aclosing(until(events, total)) as seen:
            told = [event async for event in seen]
    drawn = [event.data["series"]["science"] for event in told if event.name == "history"]
    for points in drawn:
        rises = (later[1] - one[1] for one, later in itertools.pairwise(points))
        assert max(rises) <= 1, "a spike"
    assert drawn[-1][-1][1] == total
    assert drawn[-1][0][0] / 1000 < world.begin - 200, "the time before the first tick is there"
    before = itertools.takewhile(lambda event: event.name == "counts", told)
    assert {event.data["counts"]["science"] for event in before} <= {1}, "a spike"
    assert len(drawn) <= 2, "one for each question to X"
    _, past = await get(f"{app.url}/api/history?range=1h")
    totals = {at // 1000 - world.begin: total for at, total in past["series"]["science"]}
    minutes = range(-2400, MINUTE, MINUTE)
    posts = {at: totals[at + MINUTE] - totals[at] for at in minutes}
    assert posts == {at: world.api.posts_in("", world.begin + at) - (at == 0) for at in minutes}
    assert past["gaps"] == []  # of the whole day before, X has told every minute
    _, past = await get(f"{app.url}/api/history?range=15m")
    known = [at for at, total in past["series"]["science"] if total is not None]
    filled = [at for at in known if at / 1000 < world.begin + MINUTE]
    assert len(filled) > 100
    assert max(later - one for one, later in itertools.pairwise(filled)) == past["step"]
    # before the first post that X told of in these minutes, the log knows nothing
    assert {gap["kind"] for gap in past["gaps"]} <= {"start"}


async def until(events: AsyncIterator[Event], total: int) -> AsyncGenerator[Event, None]:
    """The events up to the first counts with this total."""
    async for event in events:
        yield event
        if event.name == "counts" and event.data["counts"] == {"science": total}:
            return
