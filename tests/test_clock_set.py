"""A machine's clock that is set while the real program runs."""

import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from servers import App, Event, RedisServer, eventually, get
from stored import totals_by_source
from test_clock import opened as opened
from test_clock import store as store
from wall_clock import WallClock
from world import watched, write
from x_server import TOKEN, XServer, x_server

from app.store.embedded import find_server
from app.store.keys import LOG, STATES
from app.store.store import Store, connect


def test_a_process_can_be_given_another_clock(tmp_path: Path) -> None:
    """Python's, as Redis's below: what it says is of the past or the future, how long it takes
    to say it is not."""
    clock, script = (
        WallClock(tmp_path / "clock"),
        "import time; print(time.time(), time.monotonic())",
    )
    for hours in (0, -1, 1):
        clock.set(hours)
        env = {**os.environ, **clock.env}
        told = subprocess.run(
            [sys.executable, "-c", script], env=env, capture_output=True, text=True
        )
        wall, monotonic = map(float, told.stdout.split())
        assert abs(wall - time.time() - hours * 3600) < 30
        assert 0 <= time.monotonic() - monotonic < 30


WHOSE = ("redis", "ingester", "web")


class Clocks:
    """Real processes, each with a clock that is set by the test."""

    def __init__(self, folder: Path, binary: str, x: XServer, start: Callable[..., App]) -> None:
        self.of = {name: WallClock(folder / f"{name}s_clock") for name in WHOSE}
        self.x, self.start, self.posts = x, start, 0
        self.lines = write(folder / "posts", 200).read_bytes().splitlines()
        self.redis = RedisServer(binary, folder / "redis", **self.of["redis"].env)

    def ingest(self) -> App:
        return self.run(
            "ingest", SOURCES="x,demo", X_API_URL=self.x.url, X_BEARER_TOKEN=TOKEN,
            **self.of["ingester"].env,
        )  # fmt: skip

    def serve(self) -> App:
        return self.run("web", **self.of["web"].env).started()

    def run(self, *command: str, **settings: str) -> App:
        return self.start(
            *command, REDIS_URL=self.redis.url, HASHTAGS="science", TICK_SECONDS=0.1, **settings
        )

    async def tell(self, store: Store, posts: int) -> None:
        """X tells so many posts, each when the one before is counted, and the demo's go on."""
        before = await self.total(store)
        for _ in range(posts):
            self.x.later.append(self.lines[self.posts])
            self.posts += 1
            await eventually(lambda: self.is_counted(store), "it is counted")
        assert (await self.total(store))["x"] == self.posts

        async def goes_on() -> bool:
            return (await self.total(store)).get("demo", 0) > before.get("demo", 0)

        await eventually(goes_on, "the demo's posts are counted")

    async def total(self, store: Store) -> dict[str, int]:
        return (await totals_by_source(store)).get("science", {})

    async def is_counted(self, store: Store) -> bool:
        return (await self.total(store)).get("x", 0) >= self.posts


@pytest.fixture
async def clocks(
    tmp_path: Path, stack: AsyncExitStack, start_app: Callable[..., App]
) -> AsyncIterator[Clocks]:
    x = await stack.enter_async_context(x_server())
    x.keep_alive = 0.02
    started = Clocks(tmp_path, find_server(), x, start_app)
    with started.redis:
        yield started


@pytest.mark.parametrize("hours", [-1, 1])
@pytest.mark.parametrize("whose", WHOSE)
async def test_a_clock_that_is_set_by_an_hour_for_good(
    clocks: Clocks, whose: str, hours: int
) -> None:
    """Of Redis's machine, the ingester's or the page's, while all of them run, and when they are
    started anew with it: every post is counted once, ticks go on, and are dated by Redis's clock;
    whoever watches is told the past once, if it is Redis's that was set; no source seems to be
    down, and nothing is missing but what was never counted."""
    redis = connect(clocks.redis.url)
    store = Store(redis)
    seen: list[Event] = []
    ingester, web = clocks.ingest(), clocks.serve()
    await eventually(lambda: clocks.x.open, "X is read")
    async with watched(web, seen):
        await clocks.tell(store, 10)
        await eventually(lambda: seen, "a page sees it")
        clocks.of[whose].set(hours)
        if whose == "redis":

            async def is_set() -> bool:
                return abs(await time_of(store) - (time.time() + hours * 3600) * 1000) < 5000

            await eventually(is_set, "Redis has the other clock")
        await clocks.tell(store, 10)
        await check(store, web, clocks)
        now = await time_of(store)
        await eventually(lambda: 0 <= seen[-1].data["at"] - now < 5000, "the page sees it")
    await eventually(lambda: seen[-1].data["sources"] == LIVE, "its sources work")
    assert [event.name for event in seen].count("history") == (whose == "redis")
    ingester.end()
    ingester = clocks.ingest()
    await clocks.tell(store, 10)
    web = clocks.serve()
    await check(store, web, clocks)
    assert "Traceback" not in ingester.output + web.output
    await redis.aclose()


LIVE = {"x": "live", "demo": "live"}


async def check(store: Store, web: App, clocks: Clocks) -> None:
    """What the page's process says is of now, by Redis's clock."""

    async def asked(path: str) -> Any:
        status, told = await get(f"{web.url}/{path}")
        assert status == 200, f"{told} {web.output}"
        return told

    async def ready() -> bool:
        return (await get(f"{web.url}/readyz"))[0] == 200

    async def of_now() -> Any:
        told = await asked("api/counts?by=source")
        return told if told["sources"] == LIVE else None

    await eventually(ready, "it is ready")
    told = await eventually(of_now, "its sources work")
    now = await time_of(store)
    assert abs(told["at"] - now) < 5000
    assert told["counts"]["science"]["x"] == clocks.posts
    for source in told["details"].values():
        assert now - 120_000 < source["since"] <= now + 1000
    assert abs((await asked("healthz"))["now"] - now) < 5000
    for span in ("15m", "1h", "24h"):
        told = await asked(f"api/history?range={span}&by=source")
        assert abs(told["at"] - now) < 5000
        line = told["series"]["science"]["x"]
        assert line[-1][0] == told["at"]
        # of the minute that begins just now nothing is known yet
        assert [total for _, total in line[-2:] if total is not None][-1] == clocks.posts
        since = max([gap["to"] for gap in told["gaps"]], default=0)
        assert now - 5 * 60_000 < since or not told["gaps"], told["gaps"]
        assert {gap["kind"] for gap in told["gaps"]} <= {"start", "ingester"}, told["gaps"]


async def time_of(store: Store) -> int:
    return (await store.load()).time


async def test_a_clock_that_was_ahead_once_leaves_nothing_of_the_future(clocks: Clocks) -> None:
    """What was written by it is of its future, and all that was to follow, too: the log, and what
    the sources did, begin anew with the clock that is right again."""
    redis = connect(clocks.redis.url)
    store = Store(redis)
    clocks.ingest()
    await eventually(lambda: clocks.x.open, "X is read")
    for ahead in (1, 0):
        clocks.of["redis"].set(ahead)
        await clocks.tell(store, 3)

        async def is_of_now() -> bool:
            newest = [await redis.xrevrange(key, count=1) for key in (LOG, STATES)]
            now = (time.time() + ahead * 3600) * 1000  # noqa: B023 - used at once
            return all(abs(int(found[0][0].split(b"-")[0]) - now) < 60_000 for found in newest)

        await eventually(is_of_now, "it is dated by the new clock")
    clocks.x.hang_up = True
    await eventually(lambda: clocks.x.connects == 2, "X is read again")
    await clocks.tell(store, 3)
    told = await store.states_since(0)
    assert [at for at, _ in told] == sorted(at for at, _ in told)
    assert len(told) > 1 and told[-1][0] <= await time_of(store)
    await redis.aclose()
