"""What Redis needs for every hashtag when it has run for long, calculated from measured parts.

An hour, a day and all totals are written as the ingester leaves them, and weighed; what is kept
of them makes the rest. The log and what else does not grow is of 15 minutes by the real Writer.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from heapq import nlargest
from itertools import islice
from math import exp, lgamma
from pathlib import Path
from tempfile import TemporaryDirectory

from redis import Redis

from app.messages import HOUR
from app.store import keys
from app.store.keys import Past
from app.store.store import Store, connect
from bench.day import CONCENTRATION, DISCOUNT, LOG_MINUTES, USES_A_POST, Stream, fill, name
from bench.report import Report, say
from bench.servers import redis_server
from bench.ticks import MOST

RATES = (1, 60, 600)
"""Posts a second."""
DAY_HOURS = 24
WEIGHED = 250_000
"""Totals that are written; more of them are taken to weigh as much each."""
PAGE = 10_000
Megabytes = dict[str, float]
"""What it is to how much."""


def steady(report: Report) -> None:
    """A row for each part and rate. It is the same however often it is done, so it is once."""
    for rate in RATES:
        say(f"weighing {rate} posts a second")
        parts = weighed(rate)
        at = f"Redis at {rate} posts/s"
        for what, size in parts.items():
            report.add("every", f"{at}: {what} (calculated)", "MB", [size])
        report.add("every", f"{at}: all after 400 days (calculated)", "MB", [sum(parts.values())])


def weighed(rate: float) -> Megabytes:
    stream = Stream()
    hours = [Counter(stream.take(uses(rate, 1))) for _ in range(DAY_HOURS - 1)]
    minutes = [Counter(stream.take(uses(rate, 1 / 60))) for _ in range(60)]
    hours.append(sum_of(minutes))
    known = min(MOST, different(uses(rate, keys.HOUR_HOURS)))
    with (
        TemporaryDirectory() as made,
        redis_server(Path(made)) as url,
        Redis.from_url(url) as redis,
    ):
        size = {
            kind: weight(redis, kind, fields)
            for kind, fields in fields_of(hours, minutes, Counter(stream.uses)).items()
        }
        redis.flushall()
        asyncio.run(fifteen_minutes(url, rate))
        rest = sum(redis.memory_usage(key, samples=0) or 0 for key in unchanging(redis))
    return {
        f"totals of {known:,} hashtags": size["totals"] / min(WEIGHED, stream.kinds) * known / 1e6,
        f"{keys.HOUR_HOURS} hours": size["hour"] * keys.HOUR_HOURS / 1e6,
        f"{keys.KEPT_HOURS} hours of the most used": size["kept"] * keys.KEPT_HOURS / 1e6,
        f"{keys.DAY_DAYS} days of those": size["day"] * keys.DAY_DAYS / 1e6,
        "the log and the rest, which do not grow": rest / 1e6,
    }


def uses(rate: float, hours: float) -> int:
    """How many uses of hashtags so many hours have."""
    return int(rate * USES_A_POST * hours * 3600)


def different(number: int) -> int:
    """How many different hashtags the first so many uses have, on average (day.py)."""
    theta, d = CONCENTRATION, DISCOUNT
    ratio = lgamma(theta + d + number) - lgamma(theta + number) - lgamma(theta + d) + lgamma(theta)
    return int(theta / d * (exp(ratio) - 1))


def sum_of(counters: list[Counter[int]]) -> Counter[int]:
    found: Counter[int] = Counter()
    for each in counters:
        found.update(each)
    return found


def fields_of(
    hours: list[Counter[int]], minutes: list[Counter[int]], totals: Counter[int]
) -> Mapping[str, Mapping[str, bytes]]:
    """Fields of the last hour, of the most used in it, of the day that it ends, of totals.

    hours, minutes: the posts of each of the day, and of its last hour.
    """
    last = int(time.time() * 1000) // HOUR
    most = [nlargest(keys.KEPT_MOST, hour, key=hour.__getitem__) for hour in hours]
    of_hour = packed(minutes, totals)
    in_day = [{tag: hour[tag] for tag in tags} for hour, tags in zip(hours, most, strict=True)]
    return {
        "hour": of_hour,
        "kept": {name(tag): of_hour[name(tag)] for tag in most[-1]},
        "day": packed(in_day, totals),
        "totals": {
            name(tag): keys.written_posts(posts, last)
            for tag, posts in list(totals.items())[:WEIGHED]
        },
    }


def packed(slots: Sequence[Mapping[int, int]], totals: Mapping[int, int]) -> dict[str, bytes]:
    """Fields of an hour or a day, of which each slot's posts are given, as they lie in Redis."""
    pasts: dict[int, Past] = {}
    for number, posts in enumerate(slots):
        for tag, n in posts.items():
            pasts.setdefault(tag, Past(totals[tag])).slots[number] = n
    every = Past(0, dict.fromkeys(range(len(slots)), 1))
    return {"": every.pack(), **{name(tag): past.pack() for tag, past in pasts.items()}}


def weight(redis: Redis, key: str, fields: Mapping[str, bytes]) -> int:
    """Bytes of a hash with these fields, when Redis has moved all to where they stay: it does
    so bit by bit as fields are asked for."""
    waiting, written = iter(fields.items()), iter(fields)
    while page := list(islice(waiting, PAGE)):
        redis.hset(key, items=[part for item in page for part in item])
    while names := list(islice(written, PAGE)):
        redis.hmget(key, names)
    return redis.memory_usage(key, samples=0) or 0


async def fifteen_minutes(url: str, rate: float) -> None:
    store = Store(connect(url))
    await fill(store, LOG_MINUTES, rate)
    await store.redis.aclose()


def unchanging(redis: Redis) -> Iterator[bytes]:
    """The keys that do not grow with what is known."""
    for key in redis.scan_iter(count=1000):
        if key.split(b":")[1] not in (b"totals", b"hour", b"kept", b"day"):
            yield key
