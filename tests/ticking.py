"""An ingester that does as a test says, in a thread of its own: Playwright has the event loop
of the test's."""

import asyncio
import threading
import time
from collections.abc import Mapping
from typing import Any, Self

from served import Writer

from app.process import end_of
from app.store import keys
from app.store.store import Store, connect

BEAT_SECONDS = 0.2


class Ticking:
    """Commits a tick five times a second, until it is told to pause."""

    def __init__(self, redis_url: str, source: str = "demo") -> None:
        self.url, self.source = redis_url, source
        self.going = asyncio.Event()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self.thread.start()
        self.run(self.open())
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.run(self.close())
        finally:
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join()
            self.loop.close()

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    async def open(self) -> None:
        self.lock = asyncio.Lock()
        self.writer = await Writer(Store(connect(self.url)), self.source).open()
        self.going.set()
        self.beats = asyncio.create_task(self.beat())

    async def close(self) -> None:
        await end_of(self.beats)
        await self.writer.store.redis.aclose()

    async def beat(self) -> None:
        while True:
            await self.going.wait()
            await self.commit({})
            await asyncio.sleep(BEAT_SECONDS)

    async def commit(self, added: Mapping[str, int], **more: Any) -> None:
        async with self.lock:
            await self.writer.commit(added, **more)

    def post(self, tag: str, posts: int = 1, **more: Any) -> None:
        """So many posts with this hashtag, in a tick of their own; more: its other fields."""
        self.run(self.commit({tag: posts}, **more))

    def used_before(self, tag: str, posts: int) -> None:
        """A hashtag that was used before all ticks of the log."""

        async def remember() -> None:
            async with self.lock:
                self.writer.totals[tag] = posts
                value = keys.written_posts(posts, keys.hour_of(int(time.time() * 1000)))
                await self.writer.store.redis.hset(keys.totals(self.source), tag, value)

        self.run(remember())

    def pause(self) -> None:
        """As if the process were gone."""

        async def stand() -> None:
            async with self.lock:
                self.going.clear()

        self.run(stand())

    def go_on(self, **sources: Any) -> None:
        """As if it were there again; sources: what they say of themselves from now on."""

        async def go() -> None:
            self.writer.sources.update(sources)
            self.going.set()

        self.run(go())
