"""An ingester under a flood of posts that a source in its own process hands over; run by every.py.

flood.py REDIS_URL SECONDS   answers as JSON, of that time: seconds, seconds of CPU, posts, ticks
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from random import Random

from app.ingest.ingester import Ingester
from app.messages import Message, Post
from app.settings import read
from app.sources import Source
from app.store.store import Store, connect
from bench.day import Stream
from bench.ticks import TICK_SECONDS

POSTS, DIFFERENT = 10_000, 3_000
"""Posts a second, and different hashtags among them."""
SECONDS_MADE = 5
"""So many seconds of posts are made beforehand, and come again and again."""
KNOWN = 200_000
"""Uses that the hashtags are drawn from."""
STEP_SECONDS = 0.01
WARM_SECONDS = 3.0
LEASE_SECONDS = 20.0


def posts_of(tags: Sequence[str], second: int) -> list[Post]:
    """A second's posts, each with one hashtag, of which each is named at least once."""
    chance = Random(second)
    named = [*tags, *chance.choices(tags, k=POSTS - len(tags))]
    chance.shuffle(named)
    return [
        Post("flood", f"{second}-{n}", 0, f"author{n % 997}", {tag: tag}, f"{second} {n}")
        for n, tag in enumerate(named)
    ]


class Flood(Source):
    """Ten thousand posts a second."""

    name = "flood"
    complete = True

    def __init__(self) -> None:
        super().__init__(read({}))
        stream = Stream()
        stream.take(KNOWN)
        self.made = [
            post
            for second in range(SECONDS_MADE)
            for post in posts_of(stream.different(DIFFERENT), second)
        ]
        self.handed, self.begun = 0, asyncio.Event()

    async def posts(self, cursor: str) -> AsyncIterator[Message]:
        """Those that are due, every hundredth of a second."""
        self.say("live")
        self.begun.set()
        begun = time.monotonic()
        while True:
            due = int((time.monotonic() - begun) * POSTS)
            for number in range(self.handed, due):
                self.handed += 1
                yield self.made[number % len(self.made)]
            await asyncio.sleep(STEP_SECONDS)


async def flooded(url: str, seconds: float) -> dict[str, float]:
    """What the ingester spends on so many seconds, after the first few."""
    source, store = Flood(), Store(connect(url))
    ingester = Ingester([source], store, [], TICK_SECONDS)
    running = asyncio.create_task(ingester.run())
    async with asyncio.timeout(LEASE_SECONDS + WARM_SECONDS):
        await source.begun.wait()  # until nobody else is the writer
    await asyncio.sleep(WARM_SECONDS)
    before = await spent(source, store)
    await asyncio.sleep(seconds)
    after = await spent(source, store)
    if running.done():
        running.result()  # what ended it
    running.cancel()
    await asyncio.wait([running])
    await store.redis.aclose()
    return {name: after[name] - before[name] for name in after}


async def spent(source: Flood, store: Store) -> dict[str, float]:
    return {
        "seconds": time.monotonic(),
        "cpu": time.process_time(),
        "posts": source.handed,
        "ticks": (await store.load()).number,
    }


def main(url: str, seconds: str) -> None:
    told = asyncio.run(flooded(url, float(seconds)))
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
