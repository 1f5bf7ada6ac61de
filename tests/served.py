"""The web app on a real socket in the test's own process, for tests that look inside."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from hypercorn.asyncio import serve
from servers import eventually, free_port

from app.feed import Feed
from app.server import ServerConfig, server_config
from app.settings import read
from app.store import State, Store, connect
from app.viewer import Viewer
from app.web import create_app


class Clock:
    """The time, and what a test adds to it."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


class Site:
    """The web app on a real socket, in this process; a test publishes its ticks one by one."""

    def __init__(self, store: Store, redis_url: str, lane: str) -> None:
        self.port = free_port()
        chosen = {"REDIS_URL": redis_url, "BIND": f"127.0.0.1:{self.port}", "EXPRESS_LANE": lane}
        self.settings = read(chosen)
        self.config: ServerConfig = server_config(self.settings)
        self.config.graceful_timeout = 0.2
        self.clock = Clock()
        self.feed, self.store, self.state = Feed(0.5, clock=self.clock), store, State()

    async def run(self, stop: asyncio.Event) -> None:
        async def stopped() -> None:
            await stop.wait()
            self.feed.close()
            asyncio.get_running_loop().call_later(0.1, self.config.cut)

        await serve(create_app(self.settings, self.feed), self.config, shutdown_trigger=stopped)

    async def publish(self, science: int = 1) -> None:
        tick: dict[str, Any] = {
            "at": int(time.time() * 1000),
            "tick": 0.5,
            "tracked": ["science", "football"],
            "increments": {"science": {"demo": science}} if science else {},
            "cursors": {},
            "sources": {"demo": "live"},
            "details": {},
        }
        name = f"commit {int(self.state.version) + 1}"
        self.state = await self.store.commit(self.state, name, tick)

    async def hears(self) -> None:
        """Return once the feed has what was published."""
        names = await self.store.ticks_after("")
        await eventually(lambda: self.feed.newest == names[-1], "the feed heard the tick")

    @property
    def riders(self) -> list[Viewer]:
        """The viewers on the express lane."""
        found = [selection.riders | selection.behind for selection in self.feed.selections.values()]
        return [rider for riders in found for rider in riders if isinstance(rider, Viewer)]

    @property
    def connections(self) -> int:
        """How many are open; closed ones may stay in memory for a while."""
        accepted = [one for listener in self.config.listeners for one in listener.accepted]
        return sum(one.fileno() >= 0 for one in accepted)


@asynccontextmanager
async def serving(redis_url: str, lane: str = "on") -> AsyncIterator[Site]:
    redis = connect(redis_url)
    site, stop = Site(Store(redis), redis_url, lane), asyncio.Event()
    await site.publish()
    async with asyncio.TaskGroup() as group:
        feed = group.create_task(site.feed.run(site.store))
        server = group.create_task(site.run(stop))
        try:
            await eventually(lambda: site.feed.loaded, "the feed is loaded")
            yield site
        finally:
            stop.set()
            await asyncio.wait([server], timeout=10)
            while not feed.done():  # before Python 3.12 a wait_for inside may swallow a cancel
                feed.cancel()
                await asyncio.wait([feed], timeout=1)
    await redis.aclose()
