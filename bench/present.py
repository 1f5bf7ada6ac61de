"""An ingester at 600 posts a second, with all that is made of posts or with counting alone; run by
board.py.

present.py REDIS_URL SECONDS all|counting   answers as JSON: seconds, seconds of CPU, posts, and
bytes of memory in the end, without the posts that are made before
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from random import Random

from app.ingest.ingester import Ingester
from app.ingest.present import Present
from app.messages import Message, Post
from app.settings import read
from app.sources import Source
from app.store.posts import StoredPost
from app.store.state import State
from app.store.store import Store, connect
from bench.day import USES_A_POST, Stream, name
from bench.processes import memory
from bench.ticks import TICK_SECONDS

POSTS_A_SECOND = 600
TAGS = 3
"""Of a post that has any."""
PEOPLE = 200_000
"""Among whom a few write most of the posts."""
REMEMBERED = 600
"""Seconds of posts that are there when it begins."""
KNOWN = 100_000
"""Uses that came before all of them."""
STEP_SECONDS = 0.02
WARM_SECONDS = 6.0


def written(seconds: float, end: int) -> list[Post]:
    """The posts of so many seconds up to a moment: nine of ten have no hashtag."""
    chance, stream, found = Random(1), Stream(), []
    stream.take(KNOWN)
    number = int(POSTS_A_SECOND * seconds)
    for n in range(number):
        at = end - int(1000 * seconds) + n * int(1000 * seconds) // number
        is_tagged = chance.random() < USES_A_POST / TAGS
        tags = {name(use): "T" for use in stream.take(TAGS)} if is_tagged else {}
        links = (f"{int(chance.paretovariate(0.5))}.example",) if chance.random() < 0.3 else ()
        author = f"did:plc:{int(PEOPLE * chance.random() ** 3)}"
        found.append(Post("bluesky", f"at://{author}/{n}", at, author, tags, f"{n}", False, links))
    return found


class Steady(Source):
    """Posts at their pace."""

    name = "bluesky"
    complete = True

    def __init__(self, made: Sequence[Post]) -> None:
        super().__init__(read({}))
        self.made, self.handed, self.begun = made, 0, asyncio.Event()

    async def posts(self, cursor: str) -> AsyncIterator[Message]:
        self.say("live")
        self.begun.set()
        begun = time.monotonic()
        while True:
            due = int((time.monotonic() - begun) * POSTS_A_SECOND)
            for number in range(self.handed, min(due, len(self.made))):
                self.handed += 1
                yield self.made[number]
            await asyncio.sleep(STEP_SECONDS)


class Silent(Present):
    """Nothing is made of posts."""

    def __init__(self, *given: object) -> None:
        super().__init__(str, (), ())
        self.lately.add = lambda *given: None  # type: ignore[method-assign]

    async def run(self, store: Store, networks: Sequence[str], now: Callable[[], int]) -> None:
        await asyncio.Event().wait()


class Measured(Ingester):
    """With the posts of ten minutes from its beginning on, or with counting alone."""

    before: Sequence[Post] = ()
    makes_all = True

    def begin(self, stored: State) -> None:
        super().begin(stored)
        if not self.makes_all:
            self.present = Silent()

    async def recall_posts(self) -> None:
        now = self.clock.now()
        for each in self.before if self.makes_all else ():
            if each.hashtags:
                tags, at = tuple(each.hashtags), each.time
                stored = StoredPost(each.source, each.id, each.author, at, tags, each.domains)
                self.present.recall(stored, now)


async def measured(url: str, seconds: float, makes_all: bool) -> dict[str, float]:
    coming, empty = WARM_SECONDS + seconds + 5, memory(os.getpid())
    made = written(REMEMBERED + coming, int(1000 * (time.time() + coming)))
    begin = REMEMBERED * POSTS_A_SECOND
    source, store = Steady(made[begin:]), Store(connect(url))
    source.tells_authors = makes_all  # type: ignore[attr-defined]
    Measured.before, Measured.makes_all = made[:begin], makes_all
    own = memory(os.getpid()) - empty
    ingester = Measured([source], store, [], TICK_SECONDS, shows_posts=makes_all)
    running = asyncio.create_task(ingester.run())
    await source.begun.wait()
    await asyncio.sleep(WARM_SECONDS)
    before = spent(source)
    await asyncio.sleep(seconds)
    told = {name: value - before[name] for name, value in spent(source).items()}
    if running.done():
        running.result()  # what ended it
    running.cancel()
    await asyncio.wait([running])
    await store.redis.aclose()
    return {**told, "memory": memory(os.getpid()) - own}


def spent(source: Steady) -> dict[str, float]:
    cpu = time.process_time()
    return {"seconds": time.monotonic(), "cpu": cpu, "posts": source.handed}


def main(url: str, seconds: str, what: str) -> None:
    told = asyncio.run(measured(url, float(seconds), what == "all"))
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
