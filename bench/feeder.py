"""What feeds the servers from beside: a frame, a post or a tick so many times a second.

feeder.py store REDIS_URL RATE POSTS HASHTAGS   commits ticks through our own store
feeder.py nchan PORT RATE                       posts frames to nchan's publisher
feeder.py pubsub REDIS_URL RATE                 publishes frames in Redis
"""

import asyncio
import http.client
import sys
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import redis

from app.store import Store, connect
from bench.frame import frame, told


async def store(url: str, rate: float, posts: float, hashtags: list[str]) -> None:
    """Commit a tick at a time, so many posts a second spread over the hashtags."""
    opened = Store(connect(url))
    state = await opened.load()
    loop = asyncio.get_running_loop()
    begun, number = loop.time(), 0
    while True:
        await asyncio.sleep(begun + number / rate - loop.time())
        share = max(1, int(posts / rate / len(hashtags)))
        state = await opened.commit(state, uuid4().hex[:12], tick(hashtags, share), "bench")
        number += 1


def tick(hashtags: list[str], posts: int) -> dict[str, Any]:
    """One as the ingester makes it, with so many posts for each hashtag."""
    return {
        "at": time.time_ns() // 1_000_000,
        "tick": 0.5,
        "tracked": hashtags,
        "sources": {"demo": "live"},
        "details": {"demo": {"since": 1732390000000, "reason": ""}},
        "cursors": {"demo": "1"},
        "increments": {tag: {"demo": posts} for tag in hashtags},
        "spellings": {tag: {tag.title(): posts} for tag in hashtags},
    }


def nchan(port: int, rate: float) -> None:
    publisher = http.client.HTTPConnection("127.0.0.1", port)
    headers = {"X-EventSource-Event": "counts"}
    for number in at_rate(rate):
        publisher.request("POST", "/publish", told(number), headers)
        publisher.getresponse().read()


def pubsub(url: str, rate: float) -> None:
    channel = redis.Redis.from_url(url)
    for number in at_rate(rate):
        channel.publish("posts", frame(number))


def at_rate(rate: float) -> Iterator[int]:
    """0, 1, 2 ... so many a second, on average exactly."""
    begun, number = time.monotonic(), 0
    while True:
        time.sleep(max(0.0, begun + number / rate - time.monotonic()))
        yield number
        number += 1


def main(kind: str, where: str, rate: str, *more: str) -> None:
    if kind == "store":
        asyncio.run(store(where, float(rate), float(more[0]), more[1].split(",")))
    elif kind == "nchan":
        nchan(int(where), float(rate))
    else:
        pubsub(where, float(rate))


if __name__ == "__main__":
    main(*sys.argv[1:])
