"""A Redis with a past: what an ingester would have left there, written in a moment."""

import asyncio
import struct
import time
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from servers import App, RedisServer

from app.embedded import find_server
from app.sources.demo import SLOT_SECONDS, posts_in
from app.store import Store, connect

TICK = 0.5


@contextmanager
def app_with_past(
    folder: Path, tags: Sequence[str], seconds: int = 375, down: range = range(0), by: int = 1
) -> Iterator[App]:
    """All of it on the demo source, over a Redis that has such a past."""
    with RedisServer(find_server(), folder / "redis") as redis:
        remember(redis.url, tags, seconds, down, by)
        with App(folder, REDIS_URL=redis.url, HASHTAGS=",".join(tags)) as app:
            yield app.started()


def remember(
    url: str, tags: Sequence[str], seconds: int, down: range = range(0), by: int = 1
) -> None:
    """Ticks of the last seconds, counted from demo posts; none in the seconds `down`."""
    run(ticks(url, tuple(tags), seconds, down, by))


def remember_days(url: str, tag: str, days: int, a_minute: int) -> None:
    """A total for each minute of the last days, so many posts each."""
    run(minutes(url, tag, days, a_minute))


def run(work: Coroutine[Any, Any, None]) -> None:
    """In a thread of its own: Playwright has the event loop of this one."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


async def ticks(url: str, tags: tuple[str, ...], seconds: int, down: range, by: int) -> None:
    store = Store(connect(url))
    state = await store.load()
    begin = time.time() - seconds
    slot = int(begin / SLOT_SECONDS)
    for n in range(int(seconds / TICK)):
        at, increments = begin + n * TICK, {tag: {"demo": 0} for tag in tags}
        for each in range(slot, int(at / SLOT_SECONDS)):
            for post in posts_in(each, tags, 1):
                for tag in post.hashtags:
                    increments[tag]["demo"] += by
        slot = int(at / SLOT_SECONDS)
        if int(n * TICK) not in down:
            state = await store.commit(state, f"c{n}", tick(at, tags, increments), "tests/0/", 1)
    await store.redis.aclose()


def tick(at: float, tags: Sequence[str], increments: dict[str, dict[str, int]]) -> dict[str, Any]:
    return {
        "at": int(at * 1000),
        "tick": TICK,
        "tracked": tags,
        "increments": increments,
        "spellings": {},
        "cursors": {},
        "sources": {"demo": "live"},
        "details": {"demo": {"since": int(at * 1000), "reason": "demo data"}},
    }


async def minutes(url: str, tag: str, days: int, a_minute: int) -> None:
    redis, now = connect(url), int(time.time()) // 60
    for minute in range(now - days * 1440, now):
        total = (minute - now + days * 1440) * a_minute
        day, slot = divmod(minute, 1440)
        await redis.setrange(
            f"{{hashtag}}:minutes:{day}:{tag}", slot * 8, struct.pack(">d", total + 1)
        )
    await redis.hset("{hashtag}:totals", tag, days * 1440 * a_minute)
    await redis.aclose()
