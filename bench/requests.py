"""What a single request may cost: the longest time for which it lets nobody else have a turn, and
all of its CPU, beside /healthz, which asks for nothing.

In a process of its own with the app in it, over a real Redis with a month of three sources: only
from inside it is seen how long the loop is kept. CPU is counted, so that other programs do not.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlencode

import msgspec

from app.messages import HOUR, SourceState, Tick, dumps
from app.settings import read
from app.store import keys
from app.store.connection import connect
from app.store.keys import LOG_SECONDS, Past
from app.store.store import Store
from app.web.app import create_app
from app.web.feed import Feed
from app.web.server import prepare_for_many
from app.web.viewer import Start, Viewer
from bench.processes import ROOT, Cannot
from bench.report import Report
from bench.servers import redis_server

TAGS = [f"hashtag{number}" for number in range(20)]
NETWORKS = ["bluesky", "mastodon", "x"]
LIVE = SourceState("live", since=1, complete=True)
TURN_MILLISECONDS = 10
"""The loop is another's again after so long."""
NO_TURN = 50e-6
"""Seconds; so short a turn is that of who measures alone, while the request waits for Redis."""
DAYS = 31
MANY = urlencode({"tags": ",".join(TAGS), "by": "source"})
HEALTH, STREAM = "/healthz", "/events"
ASKED = {
    "the page": "/",
    "the page, 20 hashtags": f"/?{MANY}",
    "a file": "/static/page.js",
    "completion": "/api/hashtags?q=",
    "a stream with 15 minutes of 20 hashtags": STREAM,
    "15 minutes of 20 hashtags": f"/api/history?range=15m&{MANY}",
    "24 hours of 20 hashtags": f"/api/history?range=24h&{MANY}",
    "7 days of 20 hashtags": f"/api/history?range=7d&{MANY}",
    "30 days of 20 hashtags": f"/api/history?range=30d&{MANY}",
    "7 days of 20 hashtags, as a table": f"/api/history?range=7d&format=csv&{MANY}",
}
"""Each by source, of three sources."""


def requests(report: Report, rounds: int) -> None:
    """Raises Cannot."""
    command = [sys.executable, "-m", "bench.requests", str(rounds)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Cannot(f"the app in a process of its own: {done.stderr.splitlines()[-1:]}")
    found: dict[str, list[tuple[float, float]]] = msgspec.json.decode(done.stdout)
    _, idle = zip(*found.pop(HEALTH), strict=True)
    report.add("requests", HEALTH, "ms of CPU", idle)
    for what, each in found.items():
        turns, costs = zip(*each, strict=True)
        report.add("requests", f"{what}: longest turn", "ms", turns, TURN_MILLISECONDS)
        report.ratio("requests", f"{what} / {HEALTH}", costs, idle)


async def measured(url: str, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Of each request the longest turn and all CPU, in milliseconds, in each round; the tick is
    another one each time, so nothing is answered from what is kept."""
    redis, now = connect(url), time.time_ns() // 1_000_000
    async with redis.pipeline(transaction=False) as pipe:
        for key, values in fields(now // HOUR):
            pipe.hset(key, mapping=dict[Any, Any](values))
        pipe.hset(keys.STATE, mapping={"schema": keys.SCHEMA, "networks": " ".join(NETWORKS)})
        pipe.set(keys.POPULAR, dumps([(f"{n}th", f"{n}th", n) for n in range(keys.POPULAR_MOST)]))
        await pipe.execute()
    settings = read({"HASHTAGS": ",".join(TAGS)})
    feed = Feed(0.5, settings.hashtags)
    feed.store, last = Store(redis), ""
    client = create_app(settings, feed).test_client()
    for at in range(now - LOG_SECONDS * 1000, now, 500):
        last = hear(feed, last, at)
    prepare_for_many()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in (HEALTH, *ASKED)}
    for number in range(-1, rounds):
        for name, path in [(HEALTH, HEALTH), *ASKED.items()]:
            last = hear(feed, last, time.time_ns() // 1_000_000)
            cost = await asked(client, path)
            if number >= 0:  # the first round warms up
                found[name].append(cost)
    await redis.aclose()
    return found


def hear(feed: Feed, last: str, at: int) -> str:
    """A tick of this time, or the next after the last one; its id."""
    at = max(at, int(last.partition("-")[0] or 0) + 1)
    counts = {tag: dict.fromkeys(NETWORKS, at % 1_000_000) for tag in TAGS}
    sources = dict.fromkeys(NETWORKS, LIVE)
    feed.hear(Tick(f"{at}-0", last, at, 0.5, counts=counts, added=counts, sources=sources))
    feed.hear(None)
    return f"{at}-0"


async def asked(client: Any, path: str) -> tuple[float, float]:
    """The longest turn and all of its CPU, in milliseconds."""
    turns: list[float] = []

    async def others() -> None:
        while True:
            begun = time.thread_time()
            await asyncio.sleep(0)
            turns.append(time.thread_time() - begun)

    task, begun = asyncio.create_task(others()), time.process_time()
    body = await got(client, path)
    await asyncio.sleep(0)  # so that the last turn is counted
    spent = time.process_time() - begun - sum(turn for turn in turns if turn < NO_TURN)
    task.cancel()
    if not body:
        raise Cannot(f"{path} has no answer")
    return 1000 * max(turns), 1000 * spent


async def got(client: Any, path: str) -> bytes:
    """The body of an answer; of a stream all up to its first totals. Raises Cannot."""
    if path == STREAM:
        return await beginning(client.app.extensions["feed"])
    answer = await client.get(path, headers={"Accept-Encoding": "gzip"})
    if answer.status_code != 200:
        raise Cannot(f"{path} answered {answer.status_code}")
    body: bytes = await answer.get_data()
    return body


async def beginning(feed: Feed) -> bytes:
    """What a stream of TAGS by source has first, made as the front door and the takeover have it
    made."""
    viewer = Viewer(feed, feed.watch(TAGS, True), Start(history=LOG_SECONDS))
    viewer.chunked = True
    made = b""
    while not made:
        await asyncio.sleep(0)
        made = viewer.due()
    return made


def fields(present: int) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Keys and their fields: every minute of DAYS days has posts, of each hashtag in each source.

    present: the hour, numbered since 1970.
    """
    minutes = dict.fromkeys(range(60), 3)
    for network in NETWORKS:
        hours = DAYS * 24
        values = [keys.written_posts(180 * hours, present)] * len(TAGS)
        yield keys.totals(network), dict(zip(TAGS, values, strict=True))
        for number in range(present - hours + 1, present + 1):
            total = 180 * (number - present + hours)
            key = keys.hour if present - number < keys.HOUR_HOURS else keys.kept
            if present - number < keys.KEPT_HOURS:
                yield key(number, network), all_tags(Past(total, minutes))
            if number % 24 == 23 or number == present:
                slots = dict.fromkeys(range(number % 24 + 1), 180)
                yield keys.day(number // 24, network), all_tags(Past(total, slots))


def all_tags(past: Past) -> dict[str, bytes]:
    counted = Past(0, dict.fromkeys(past.slots, 1)).pack()
    return dict.fromkeys(TAGS, past.pack()) | {"": counted}


def main() -> None:
    rounds = int(sys.argv[1])
    with TemporaryDirectory() as made, redis_server(Path(made)) as url:
        sys.stdout.write(dumps(asyncio.run(measured(url, rounds))))


if __name__ == "__main__":
    main()
