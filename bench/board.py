"""What the board costs the ingester: ten minutes of 600 posts a second, ten times Bluesky."""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from app.ingest.board import BoardMaker
from app.messages import HOUR, MINUTE, Post
from app.store import keys
from app.store.store import Store, connect
from bench.day import USES_A_POST, Stream, name
from bench.processes import HERE, ROOT, Answering, memory
from bench.report import Report
from bench.servers import redis_server

POSTS_A_SECOND = 600
SECONDS = 660
"""A minute more than are remembered."""
PEOPLE = 200_000
"""Among whom a few write most of the posts."""
Posts = list[tuple[int, Post]]
"""When each came, and what it is."""
MOST_MEMORY = 150
"""Megabytes of an ingester with all of it."""
PRESENT_SECONDS = 40.0
"""So long an ingester is watched; a board is made eight times, and pairs are counted once."""


def board(report: Report, rounds: int) -> None:
    with TemporaryDirectory() as made, redis_server(Path(made)) as url:
        asyncio.run(measured(report, url, rounds))
    present(report, rounds)


def present(report: Report, rounds: int) -> None:
    """The ingester with board, alerts, pairs, people and posts, against counting alone."""
    told = {what: [ingested(what) for _ in range(rounds)] for what in ("all", "counting")}
    at = f"{POSTS_A_SECOND} posts/s"
    used = {
        what: [100 * one["cpu"] / one["seconds"] for one in found] for what, found in told.items()
    }
    report.add("board", f"an ingester at {at}, with all of it", "% of a core", used["all"])
    report.add("board", f"an ingester at {at}, counting alone", "% of a core", used["counting"])
    ratio = f"the ingester's CPU at {at}, all of it / counting alone"
    report.ratio("board", ratio, used["all"], used["counting"], most=1.5)
    megabytes = [one["memory"] / 1e6 for one in told["all"]]
    report.add("board", f"its memory at {at}", "MB", megabytes, most=MOST_MEMORY)
    least = 0.99 * POSTS_A_SECOND
    handed = [one["posts"] / one["seconds"] for one in told["all"]]
    report.add("board", f"counted at {at}", "posts/s", handed, least=least)


def ingested(what: str) -> dict[str, float]:
    with TemporaryDirectory() as made, redis_server(Path(made)) as url:
        command = (sys.executable, HERE / "present.py", url, str(PRESENT_SECONDS), what)
        with Answering(Path(made), *command, PYTHONPATH=str(ROOT)) as program:
            told: dict[str, float] = json.loads(program.answer())
    return told


async def measured(report: Report, url: str, rounds: int) -> None:
    redis, now = connect(url), time.time_ns() // 1_000_000
    store = Store(redis)
    posts = written(now)
    await remember(store, posts, now)
    made = BoardMaker(str)
    before, begun = memory(os.getpid()), time.process_time()
    for at, post in posts:
        made.lately.add(post, post.hashtags.keys(), at, at)
    used = time.process_time() - begun
    report.add("board", "to take in a post with hashtags", "µs of CPU", [1e6 * used / len(posts)])
    report.add("board", "memory of ten minutes", "MB", [(memory(os.getpid()) - before) / 1e6])
    report.add("board", "hashtags of ten minutes", "", [len(made.lately.tags)])
    report.add("board", "of at least five people", "", [len(made.lately.crowded)])
    reads = []
    while len(made.usual) < len(made.lately.crowded):
        reads.append(await cost(made, store, now))
    report.add("board", "a board that reads what is usual of 200 hashtags", "ms of CPU", reads)
    boards = [await cost(made, store, now) for _ in range(max(10, rounds))]
    report.add("board", "a board", "ms of CPU", boards, most=5)
    report.add("board", "a board's size", "KB", [len(made.text.encode()) / 1000])
    await redis.aclose()


async def cost(made: BoardMaker, store: Store, now: int) -> float:
    """Milliseconds of our CPU for one board."""
    begun = time.process_time()
    await made.make(store, ["bluesky"], now)
    return 1000 * (time.process_time() - begun)


def written(now: int) -> Posts:
    """The posts with hashtags: some three hashtags each."""
    chance, stream, found = Random(1), Stream(), []
    stream.take(100_000)
    number = int(POSTS_A_SECOND * SECONDS * USES_A_POST / 3)
    for n in range(number):
        at = now - SECONDS * 1000 + n * SECONDS * 1000 // number
        tags = {name(use): "T" for use in stream.take(3)}
        author = f"did:plc:{int(PEOPLE * chance.random() ** 3)}"
        found.append((at, Post("bluesky", str(n), at, author, tags)))
    return found


async def remember(store: Store, posts: Posts, now: int) -> None:
    """Two days in Redis in which these ten minutes came again and again."""
    often = Counter(tag for _, post in posts for tag in post.hashtags)
    fields: dict[Any, Any] = {
        tag: keys.Past(n, dict.fromkeys(range(min(60, 6 * n)), -(-n // 10))).pack()
        for tag, n in often.items()
        if n > 1
    }
    for hour in range(now // HOUR - 48, now // HOUR + 1):
        last = min(59, now // MINUTE - hour * 60)
        counted = keys.Past(0, dict.fromkeys(range(last + 1), 1)).pack()
        await store.redis.hset(keys.hour(hour, "bluesky"), mapping=fields | {"": counted})
