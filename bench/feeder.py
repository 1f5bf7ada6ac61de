"""What feeds the servers from beside: a frame, a post or a tick so many times a second.

feeder.py store REDIS_URL RATE POSTS HASHTAGS CHANGED   commits ticks as our ingester does
feeder.py nchan PORT RATE                               posts frames to nchan's publisher
feeder.py pubsub REDIS_URL RATE                         publishes frames in Redis
"""

import asyncio
import http.client
import sys
import time
from collections.abc import Iterator
from itertools import cycle, islice

import redis

from app.store.store import Store, connect
from bench.frame import frame, told
from bench.ticks import Ticks


async def store(url: str, rate: float, posts: float, hashtags: list[str], changed: int) -> None:
    """Commit a tick at a time, so many posts a second spread over the hashtags that change in
    it: the next so many of them, round and round."""
    ticks = await Ticks.begun(Store(connect(url)))
    loop, following = asyncio.get_running_loop(), cycle(hashtags)
    share = max(1, int(posts / rate / max(1, changed)))
    begun, number = loop.time(), 0
    while True:
        await asyncio.sleep(begun + number / rate - loop.time())
        await ticks.write(ticks.cut(list(islice(following, changed)), share))
        number += 1


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
        posts, hashtags, changed = more
        asyncio.run(store(where, float(rate), float(posts), hashtags.split(","), int(changed)))
    elif kind == "nchan":
        nchan(int(where), float(rate))
    else:
        pubsub(where, float(rate))


if __name__ == "__main__":
    main(*sys.argv[1:])
