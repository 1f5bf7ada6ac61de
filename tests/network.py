"""What tests of the networks' sources share: recordings, their truth, and a real counting."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import stored
from aiohttp import web
from servers import RedisServer, eventually

from app.ingest.ingester import Ingester
from app.settings import Settings, read
from app.sources import Source
from app.store.keys import STATE
from app.store.store import Store, connect

TICK = 0.02


class Server:
    """An aiohttp application on a free loopback port, up as long as its block."""

    def __init__(self) -> None:
        self.app = web.Application()
        self.port = 0

    async def __aenter__(self) -> Self:
        self.runner = web.AppRunner(self.app, shutdown_timeout=0.1, access_log=None)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", self.port).start()
        self.port = self.runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.runner.cleanup()


def settings(tracked: Sequence[str], **values: str) -> Settings:
    """Settings with these hashtags, also such as nobody could type."""
    return replace(
        read({name.upper(): value for name, value in values.items()}), hashtags=tuple(tracked)
    )


def wire(recordings: Path, *folders: str) -> list[dict[str, Any]]:
    """The messages of these recordings."""
    files = [recordings / folder / "wire_reduced.jsonl" for folder in folders]
    return [json.loads(line) for file in files for line in file.read_bytes().splitlines()]


def truth(recordings: Path, *folders: str) -> dict[str, int]:
    """How many posts of these recordings name each hashtag."""
    counts: dict[str, int] = {}
    for folder in folders:
        rows = (recordings / folder / "expected_counts.tsv").read_text().splitlines()[1:]
        for tag, posts, *_ in (row.split("\t") for row in rows):
            counts[tag] = counts.get(tag, 0) + int(posts)
    return counts


class Counting:
    """Sources counted through a real ingester into a real Redis."""

    def __init__(self, server: RedisServer) -> None:
        self.store = Store(connect(server.url))
        self.ingester: Ingester

    @asynccontextmanager
    async def of(self, source: Source) -> AsyncIterator[None]:
        """Ingest this source; the end is a clean stop of the process."""
        self.ingester = Ingester([source], self.store, source.settings.hashtags, TICK)
        task = asyncio.create_task(self.ingester.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
        if not task.cancelled():
            task.result()

    async def totals(self) -> dict[str, int]:
        return await stored.totals(self.store)

    async def reach(self, expected: Mapping[str, int], ticks: int = 3) -> None:
        """Wait for these totals, and see that they stay so over some more ticks."""

        async def reached() -> bool:
            return sum((await self.totals()).values()) >= sum(expected.values())

        await eventually(reached, f"totals of {sum(expected.values())}")
        await self.commits(ticks)
        assert await self.totals() == expected

    async def commits(self, more: int) -> None:
        """Wait for so many."""
        number = (await self.store.load()).number

        async def came() -> bool:
            return (await self.store.load()).number >= number + more

        await eventually(came, "some more commits")

    async def copy(self) -> dict[bytes, bytes]:
        keys = await self.store.redis.keys()
        return {key: await self.store.redis.dump(key) for key in keys}

    async def rewind(self, copied: Mapping[bytes, bytes]) -> None:
        """Make Redis what it was, as if another ingester had written it: all is read again."""
        async with self.store.redis.pipeline(transaction=True) as pipe:
            pipe.flushall()
            for key, value in copied.items():
                pipe.restore(key, 0, value)
            pipe.hset(STATE, "commit", "a stranger's")
            pipe.hdel(STATE, "recent")
            await pipe.execute()

    async def aclose(self) -> None:
        await self.store.redis.aclose()
