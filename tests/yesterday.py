"""A Redis with a past: what an ingester would have left there, written in a moment."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from redis.asyncio import Redis
from servers import App, RedisServer

from app.messages import DAY, HOUR, MINUTE, SourceState
from app.sources.demo.posts import SLOT, posts_in
from app.store import keys
from app.store.connection import connect
from app.store.embedded import find_server

TICK = 0.5
LIVE = SourceState("live", since=1, complete=True)

Posts = Mapping[str, Mapping[str, Mapping[int, int]]]
"""Source to hashtag to minute since 1970 to posts."""
Minutes = Mapping[str, Iterable[int]]
"""Source to the minutes since 1970 in which it was counted."""
Fields = dict[str, dict[str, bytes]]
"""Key of a hash to its fields."""


def fields_of(
    posts: Posts,
    counted: Minutes,
    now: int,
    tracked: Sequence[str] = (),
    is_kept: Callable[[str, int], bool] = lambda tag, hour: False,
) -> Fields:
    """What the ingester has in Redis at this moment (milliseconds since 1970), of these posts.

    is_kept: whether a hashtag that is not tracked is one of an hour's most used.
    """
    fields: Fields = {}
    for source, minutes in counted.items():
        put_slots(fields, source, "", dict.fromkeys(minutes, 1), {}, now, lambda tag, hour: True)
        hours = {minute // 60 for minute in minutes}
        for tag in tracked:
            found = posts.get(source, {}).get(tag, {})
            put_slots(fields, source, tag, found, hours, now, lambda tag, hour: True)
            total = keys.written_posts(sum(found.values()), now // HOUR).encode()
            fields.setdefault(keys.totals(source), {})[tag] = total
    for source, tags in posts.items():
        for tag in tags.keys() - set(tracked):
            put_slots(fields, source, tag, tags[tag], {}, now, is_kept)
            last = max(tags[tag], default=0) // 60
            total = keys.written_posts(sum(tags[tag].values()), last).encode()
            fields.setdefault(keys.totals(source), {})[tag] = total
    return fields


def put_slots(
    fields: Fields,
    source: str,
    tag: str,
    posts: Mapping[int, int],
    hours: Iterable[int],
    now: int,
    is_kept: Callable[[str, int], bool],
) -> None:
    """The fields of one hashtag, or of the empty name, also of these hours without posts."""
    by_hour: dict[int, Counter[int]] = {hour: Counter() for hour in hours}
    for minute, n in posts.items():
        by_hour.setdefault(minute // 60, Counter())[minute % 60] += n
    total, days = 0, dict[int, keys.Past]()
    for hour, slots in sorted(by_hour.items()):
        total += slots.total()
        packed = keys.Past(total if tag else 0, dict(slots)).pack()
        if now // HOUR - hour < keys.HOUR_HOURS:
            fields.setdefault(keys.hour(hour, source), {})[tag] = packed
        if is_kept(tag, hour):
            fields.setdefault(keys.kept(hour, source), {})[tag] = packed
            day = days.setdefault(hour // 24, keys.Past())
            day.total = total if tag else 0
            day.slots |= {hour % 24: slots.total() if tag else 1} if slots else {}
    for number, past in days.items():
        fields.setdefault(keys.day(number, source), {})[tag] = past.pack()


async def write(redis: Redis, fields: Fields, networks: Sequence[str] = ("demo",)) -> None:
    """Put them into Redis, with a state that knows of these sources."""
    async with redis.pipeline(transaction=False) as pipe:
        for key, values in fields.items():
            pipe.hset(key, mapping=dict[Any, Any](values))
        state: dict[Any, Any] = {
            "schema": keys.SCHEMA,
            "version": f"{keys.SCHEMA}.1",
            "commit": "yesterday",
            "networks": " ".join(networks),
            "moved": int(time.time() * 1000) // HOUR - 1,
        }
        pipe.hset(keys.STATE, mapping=state)
        await pipe.execute()


async def asked_of(redis: Redis) -> Counter[str]:
    """How often Redis was asked what."""
    stats: Any = await redis.info("commandstats")
    return Counter({name.removeprefix("cmdstat_"): of["calls"] for name, of in stats.items()})


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
    url: str,
    tags: Sequence[str],
    seconds: int,
    down: range = range(0),
    by: int = 1,
    every: float = TICK,
) -> None:
    """Ticks of the last seconds, counted from demo posts; none in the seconds `down`. every: how
    long each lasts, in seconds."""
    run(ticks(url, tuple(tags), seconds, down, by, every))


def remember_days(url: str, tag: str, days: int, a_minute: int) -> None:
    """So many posts in each minute of the last days, of a tracked hashtag."""
    run(days_of(url, tag, days, a_minute))


def run(work: Coroutine[Any, Any, None]) -> None:
    """In a thread of its own: Playwright has the event loop of this one."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


async def ticks(
    url: str, tags: tuple[str, ...], seconds: int, down: range, by: int, every: float
) -> None:
    redis, begin, last = connect(url), time.time() - seconds, ""
    posts: dict[str, Counter[int]] = {tag: Counter() for tag in tags}
    counted: set[int] = set()
    slot = int(begin * 1000) // SLOT
    async with redis.pipeline(transaction=False) as pipe:
        for n in range(int(seconds / every)):
            at, added = begin + n * every, Counter[str]()
            for each in range(slot, int(at * 1000) // SLOT):
                for post in posts_in(each, tags, 1):
                    added.update(dict.fromkeys(post.hashtags.keys() & set(tags), by))
            slot = int(at * 1000) // SLOT
            if int(n * every) in down:
                continue
            for tag in tags:
                posts[tag][int(at // 60)] += added[tag]
            counted.add(int(at // 60))
            totals = {tag: {"demo": posts[tag].total()} for tag in tags}
            text = tick(int(at * 1000), every, last, totals, added, n == 0)
            last = f"{int(at * 1000)}-{n}"
            pipe.xadd(keys.LOG, {"tick": text}, id=last)
        pipe.xadd(keys.STATES, {"sources": sources()}, id=f"{int(begin * 1000)}-0")
        await pipe.execute()
    await write(redis, fields_of({"demo": posts}, {"demo": counted}, int(time.time() * 1000), tags))
    await redis.hset(keys.STATE, mapping={"tick": last, "sources": sources()})
    await redis.aclose()


def tick(
    at: int,
    seconds: float,
    previous: str,
    totals: Mapping[str, Mapping[str, int]],
    added: Counter[str],
    first: bool,
) -> bytes:
    """What changed; the first tick tells of all."""
    told = {
        "previous": previous,
        "at": at,
        "seconds": seconds,
        "counts": {tag: of for tag, of in totals.items() if first or added[tag]},
        "added": {tag: {"demo": n} for tag, n in added.items() if n},
        "sources": {"demo": LIVE},
    }
    return msgspec.json.encode(told)


def sources(**states: SourceState) -> str:
    """As in an entry of `states`; the demo source where nothing is said."""
    return msgspec.json.encode(states or {"demo": LIVE}).decode()


async def days_of(url: str, tag: str, days: int, a_minute: int) -> None:
    redis, now = connect(url), int(time.time() * 1000)
    minutes = range((now - days * DAY) // MINUTE, now // MINUTE)
    posts = {"demo": {tag: dict.fromkeys(minutes, a_minute)}}
    await write(redis, fields_of(posts, {"demo": minutes}, now, [tag]))
    await redis.aclose()
