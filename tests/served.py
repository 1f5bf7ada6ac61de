"""The web app on a real socket in the test's own process, for tests that look inside."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import msgspec
from hypercorn.asyncio import serve
from servers import eventually, free_port

from app.messages import SourceState, dumps
from app.process import beside
from app.settings import read
from app.store import keys
from app.store.state import Commit, State, Write
from app.store.store import Store, connect
from app.web.app import create_app
from app.web.feed import Feed
from app.web.frontdoor import open_front_door
from app.web.server import ServerConfig, server_config
from app.web.taken import Taken
from app.web.viewer import Viewer


class Clock:
    """The time, and what a test adds to it."""

    ahead = 0.0
    stopped = 0.0

    def __call__(self) -> float:
        return (self.stopped or time.monotonic()) + self.ahead

    def stop(self) -> None:
        """Nothing is repeated because the machine is busy, and time passed."""
        self.stopped = time.monotonic()


class Writer:
    """Commits ticks as an ingester does, with whatever the test says was counted."""

    def __init__(self, store: Store, source: str = "demo") -> None:
        self.store, self.source, self.state = store, source, State()
        self.totals: dict[str, int] = {}
        self.sources = {source: SourceState("live", 1, "", True, 1)}

    async def open(self) -> "Writer":
        """Go on from what is stored."""
        self.state = await self.store.load()
        found: Any = await self.store.redis.hgetall(keys.totals(self.source))
        self.totals = {tag.decode(): keys.read_posts(value)[0] for tag, value in found.items()}
        return self

    async def commit(self, added: Mapping[str, int], **more: Any) -> None:
        """One tick: how many posts each hashtag got; more: other fields of the tick."""
        number = self.state.number + 1
        for tag in more.get("gone", ()):
            self.totals.pop(tag, None)
        for tag, posts in added.items():
            self.totals[tag] = self.totals.get(tag, 0) + posts
        tick = {
            "at": int(time.time() * 1000),
            "seconds": 0.5,
            "counts": {tag: {self.source: self.totals[tag]} for tag in added},
            "added": {tag: {self.source: posts} for tag, posts in added.items()},
            "sources": msgspec.to_builtins(self.sources),
            **more,
        }
        state = {
            "schema": str(keys.SCHEMA),
            "version": f"{keys.SCHEMA}.{number}",
            "networks": self.source,
        }
        oldest = f"{tick['at'] - 900_000}-0" if self.state.tick else ""
        await self.write(
            Commit(f"commit {number}", dumps(tick), state, self.values(tick), oldest=oldest)
        )

    async def lose_log(self) -> None:
        """The log is gone: the next tick is the first of another one, with a later id."""
        last = int(self.state.tick.split("-")[0])
        await eventually(lambda: time.time() * 1000 > last + 1, "the next id is a later one")
        await self.store.redis.delete(keys.LOG)
        self.state = replace(self.state, tick="")

    def values(self, tick: Mapping[str, Any]) -> list[Write]:
        hour = keys.hour_of(tick["at"])
        tags = list(tick["counts"])
        values = [keys.written_posts(self.totals[tag], hour) for tag in tags]
        key = keys.totals(self.source)
        writes = [Write("hash", key, tags, values)]
        if gone := list(tick.get("gone", ())):
            writes.insert(0, Write("forget", key, gone))
        return [write for write in writes if write.names]

    async def write(self, commit: Commit) -> None:
        stored = await self.store.commit(self.state, commit, "the test")
        assert stored.commit == commit.name
        self.state = replace(stored, version=commit.state["version"])


class Site:
    """The web app on a real socket, in this process; a test publishes its ticks one by one."""

    def __init__(self, store: Store, redis_url: str, lane: str, **settings: str) -> None:
        self.port = free_port()
        chosen = {"REDIS_URL": redis_url, "BIND": f"127.0.0.1:{self.port}", "EXPRESS_LANE": lane}
        chosen |= settings
        self.settings = read(chosen)
        self.config: ServerConfig = server_config(self.settings)
        self.config.graceful_timeout = 0.2
        self.clock = Clock()
        self.feed = Feed(0.5, self.settings.hashtags, clock=self.clock)
        self.store, self.writer = store, Writer(store)
        self.app = create_app(self.settings, self.feed)

    async def run(self, stop: asyncio.Event) -> None:
        async def stopped() -> None:
            await stop.wait()
            self.feed.close()
            asyncio.get_running_loop().call_later(0.1, self.config.cut)

        open_front_door(self.app, self.config, self.settings, self.feed)
        await serve(self.app, self.config, shutdown_trigger=stopped)

    async def publish(self, science: int = 1, **more: Any) -> None:
        await self.writer.commit({"science": science} if science else {}, **more)

    async def hears(self) -> None:
        """Return once the feed has what was published."""
        last = self.writer.state.tick
        await eventually(
            lambda: self.feed.newest and self.feed.newest.id == last, "the feed heard the tick"
        )

    @property
    def taken(self) -> list[Viewer]:
        """The viewers whose connection is ours."""
        found: Taken = self.app.extensions["taken"]
        return list(found.viewers.values())

    @property
    def connections(self) -> int:
        """How many are open, Hypercorn's and ours; closed ones may stay in memory for a while."""
        accepted = [one for listener in self.config.listeners for one in listener.accepted]
        return sum(one.fileno() >= 0 for one in accepted) + len(self.taken)


@asynccontextmanager
async def serving(redis_url: str, lane: str = "on", **settings: str) -> AsyncIterator[Site]:
    redis = connect(redis_url)
    site, stop = Site(Store(redis), redis_url, lane, **settings), asyncio.Event()
    await site.writer.open()
    await site.publish()
    async with beside(site.feed.run(site.store), "the feed"), asyncio.TaskGroup() as group:
        server = group.create_task(site.run(stop))
        try:
            await eventually(lambda: site.feed.loaded, "the feed is loaded")
            yield site
        finally:
            stop.set()
            await asyncio.wait([server], timeout=10)
    await redis.aclose()
