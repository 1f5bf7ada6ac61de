"""What feeds the servers from beside: a frame, a post or a tick so many times a second.

feeder.py store REDIS_URL RATE POSTS HASHTAGS   commits ticks through our own store
feeder.py nchan PORT RATE                       posts frames to nchan's publisher
feeder.py pubsub REDIS_URL RATE                 publishes frames in Redis
"""

import asyncio
import http.client
import sys
import time
from uuid import uuid4

import redis

from app.store import Store, connect
from bench.frame import frame, told


async def store(url: str, rate: float, posts: float, hashtags: list[str]) -> None:
    """Commit a tick at a time, so many posts a second spread over the hashtags."""
    opened = Store(connect(url))
    state = await opened.load()
    loop = asyncio.get_running_loop()
    begun, number, counted = loop.time(), 0, 0
    while True:
        await asyncio.sleep(begun + number / rate - loop.time())
        number += 1
        due = max(int(number * posts / rate), number * len(hashtags))
        share, counted = (due - counted) // len(hashtags), due
        tick = {
            "at": time.time_ns() // 1_000_000,
            "tick": 1 / rate,
            "tracked": hashtags,
            "sources": {"demo": "live"},
            "details": {"demo": {"since": 1732390000000, "reason": ""}},
            "cursors": {"demo": str(number)},
            "increments": {tag: {"demo": share} for tag in hashtags},
            "spellings": {},
        }
        state = await opened.commit(state, uuid4().hex[:12], tick, "bench")


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


def at_rate(rate: float):
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
