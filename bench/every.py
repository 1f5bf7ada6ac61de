"""What it takes to count every hashtag: a day of all of Bluesky in Redis, and what is done to it.

In the order of reading:

    day.py       makes the day
    storing.py   storing a tick, against a bare pipeline
    flood.py     ten thousand posts a second into an ingester
    asking.py    the past of hashtags that nobody asked for before
    changing.py  many viewers, of whose hashtags few change
    steady.py    Redis' memory after 400 days
"""

import asyncio
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import HTTPError
from urllib.request import urlopen

from redis import Redis

from app.store.store import Store, connect
from bench.asking import A_SECOND, asking
from bench.changing import changing
from bench.day import Stream, fill
from bench.flood import DIFFERENT, POSTS
from bench.processes import HERE, ROOT, Answering, Cannot, free_port, memory, wait_until
from bench.report import Report, say
from bench.servers import HASHTAGS, feeder, redis_server, web
from bench.steady import steady
from bench.storing import storing

DAY_MOST, WEB_MOST = 120, 70
"""Megabytes."""
FLOOD_SECONDS = 10.0
ASK_SECONDS = 10
CHANGED = 10
"""Hashtags that change in a tick, at all of Bluesky's rate."""


def every(
    report: Report, rounds: int, seconds: float, minutes: int, before: Path | None = None
) -> None:
    """minutes: how long the day is; before: a checkout of the version to compare with."""
    with TemporaryDirectory() as made, redis_server(Path(made)) as url:
        stream = filled(report, url, minutes)
        with_web(report, Path(made), url, stream, rounds)  # first: the others fill the log
        storing(report, url, stream, rounds, before)
        flooded(report, url, rounds, max(seconds, FLOOD_SECONDS))
    changing(report, rounds, seconds)
    steady(report)


def filled(report: Report, url: str, minutes: int) -> Stream:
    say(f"writing a day of {minutes:,} minutes")
    with Redis.from_url(url) as redis:
        empty = redis.info("memory")["used_memory"]
        stream = asyncio.run(written(url, minutes))
        used = redis.info("memory")["used_memory"] - empty
    what = f"Redis with a day of {len(stream.uses):,} uses, {stream.kinds:,} hashtags"
    report.add("every", what, "MB", [used / 1e6], most=DAY_MOST)
    return stream


async def written(url: str, minutes: int) -> Stream:
    store = Store(connect(url))
    stream = await fill(store, minutes)
    await store.redis.aclose()
    return stream


def flooded(report: Report, url: str, rounds: int, seconds: float) -> None:
    """The CPU of a process that has ingester and source in it."""
    told = [flood(url, seconds) for _ in range(rounds)]
    at = f"{POSTS:,} posts/s, {DIFFERENT:,} hashtags"
    share = [100 * one["cpu"] / one["seconds"] for one in told]
    report.add("every", f"ingest of {at}", "% of a core", share, most=50)
    handed = [one["posts"] / one["seconds"] for one in told]
    report.add("every", f"ingest of {at}: counted", "posts/s", handed, least=0.99 * POSTS)


def flood(url: str, seconds: float) -> dict[str, float]:
    command = (sys.executable, HERE / "flood.py", url, str(seconds))
    with (
        TemporaryDirectory() as made,
        Answering(Path(made), *command, PYTHONPATH=str(ROOT)) as program,
    ):
        told: dict[str, float] = json.loads(program.answer())
    return told


def with_web(report: Report, folder: Path, url: str, stream: Stream, rounds: int) -> None:
    """A web process that has read the log, before and after it was asked for thousands."""
    port = free_port()
    asked = stream.different(rounds * ASK_SECONDS * A_SECOND)
    tags = ",".join(stream.different(1000))
    with (
        web(folder, url, 2, HASHTAGS, port) as program,
        feeder(folder, "store", url, 2, 0, tags, CHANGED),
    ):
        wait_until(lambda: is_ready(port), "the web process has read the log")
        what = "a web process with 15 minutes in its log"
        report.add("every", what, "MB", [memory(program.pid) / 1e6], most=WEB_MOST)
        try:
            asking(report, url, port, asked, rounds)
        except Cannot as cannot:
            report.note(f"every: asking: left out: {cannot}")
        told = f"{what}, and {len(asked):,} hashtags asked for"
        report.add("every", told, "MB", [memory(program.pid) / 1e6], most=WEB_MOST)


def is_ready(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10):
            return True
    except HTTPError:
        return False
