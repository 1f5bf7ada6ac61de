"""What storing a tick costs, against a bare pipeline of the same reads and writes."""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from redis.asyncio import Redis

from app.ingest.counter import MOST_ENTRIES, Cut
from app.ingest.ledger import Pages
from app.store.store import Fields, Store, connect
from bench.day import Stream, name
from bench.processes import Answering
from bench.report import Report
from bench.servers import redis_server
from bench.ticks import Ticks

SIZES = {10: (200, 3.0), 500: (60, 2.5), 5000: (10, 2.5)}
"""Hashtags that change in a tick, to how often it is stored in a round, and to how many times a
bare pipeline it may take."""
BEFORE_SIZE = 500
BEFORE_MOST = {False: 0.5, True: 0.75}
"""Without people, which that version did not count, and with them."""
BEFORE_CODE = """
import asyncio, json, sys
from bench.ingest import committed
for url in sys.stdin:
    print(json.dumps(asyncio.run(committed(url.strip()))), flush=True)
"""
"""What asks the version before how many milliseconds its commit of 500 hashtags takes."""


def storing(
    report: Report, url: str, stream: Stream, rounds: int, before: Path | None = None
) -> None:
    """In a Redis that has the stream's hashtags. Each tick has others, drawn as they are used.

    before: a checkout of the version to compare with. The bare pipeline is redis-py's as it comes,
    in MULTI, as ours in scripts, because without it neither the values read nor those written are
    of one moment; it is handed what to read and write, of as many hashtags.
    """
    spent: dict[int, list[tuple[float, float]]] = {size: [] for size in SIZES}
    theirs: list[float] = []
    alone: dict[bool, list[float]] = {has_people: [] for has_people in BEFORE_MOST}
    with version_before(before) as ask:
        for _ in range(rounds):
            for size in SIZES:
                spent[size].append(asyncio.run(measured(url, stream, size)))
            if found := ask():
                theirs += found
                for has_people, of in alone.items():
                    of.append(stored_alone(has_people))
    for size, (_, most) in SIZES.items():
        ours, bare = [own for own, _ in spent[size]], [other for _, other in spent[size]]
        what = f"a tick of {size:,} changed hashtags"
        report.add("every", f"storing {what}", "ms", ours)
        report.add("every", f"a bare pipeline of {what}", "ms", bare)
        report.ratio("every", f"storing {what} / a bare pipeline", ours, bare, most)
    if not theirs:
        report.note("every: the version before: left out: BEFORE=FOLDER names a checkout of it.")
        return
    what = f"a commit of {BEFORE_SIZE} hashtags by the version before"
    report.add("every", what, "ms", theirs)
    for has_people, ours in alone.items():
        stored = f"storing {BEFORE_SIZE} {'with' if has_people else 'without'} people, alone"
        report.add("every", stored, "ms", ours)
        report.ratio("every", f"{stored} / {what}", ours, theirs, BEFORE_MOST[has_people])


def stored_alone(has_people: bool) -> float:
    """Milliseconds as the version before has them: the same hashtags again and again, in a Redis of
    their own."""
    with TemporaryDirectory() as made, redis_server(Path(made)) as url:
        return asyncio.run(stored_again(url, has_people))


async def stored_again(url: str, has_people: bool) -> float:
    store, tags = Store(connect(url)), [name(number) for number in range(BEFORE_SIZE)]
    ticks, spent = await Ticks.begun(store, has_people), []
    for _ in range(SIZES[BEFORE_SIZE][0]):
        cut, begun = ticks.cut(tags), time.perf_counter()
        await ticks.write(cut)
        spent.append(time.perf_counter() - begun)
    await store.redis.aclose()
    return 1000 * median(spent)


@contextmanager
def version_before(folder: Path | None) -> Iterator[Callable[[], list[float]]]:
    """What asks its own bench for the milliseconds of a commit, in a Redis of its own; nothing
    where there is no such folder."""
    if not folder:
        yield list
        return
    with (
        TemporaryDirectory() as made,
        redis_server(Path(made)) as url,
        Answering(
            Path(made), sys.executable, "-c", BEFORE_CODE, PYTHONPATH=str(folder.resolve())
        ) as program,
    ):
        yield lambda: [float(json.loads(program.ask(url))[0])]


async def measured(url: str, stream: Stream, size: int) -> tuple[float, float]:
    """Milliseconds of the median tick, ours and bare, in turns."""
    store, bare, spent = Store(connect(url)), Redis.from_url(url), []
    ticks = await Ticks.begun(store)
    await stored(ticks, stream, size)  # the first one of a writer tells of more
    for _ in range(SIZES[size][0]):
        spent.append((await stored(ticks, stream, size), await piped(ticks, bare, stream, size)))
    await store.redis.aclose()
    await bare.aclose()
    ours, theirs = (1000 * median(way) for way in zip(*spent, strict=True))
    return ours, theirs


def cuts(ticks: Ticks, stream: Stream, size: int) -> list[Cut]:
    """A tick's hashtags, in as many commits as the ingester would have."""
    tags = stream.different(size)
    parts = [tags[n : n + MOST_ENTRIES] for n in range(0, len(tags), MOST_ENTRIES)]
    return [ticks.cut(part) for part in parts]


async def stored(ticks: Ticks, stream: Stream, size: int) -> float:
    """Seconds for reading and committing a tick."""
    waiting = cuts(ticks, stream, size)
    begun = time.perf_counter()
    for cut in waiting:
        await ticks.write(cut)
    return time.perf_counter() - begun


async def piped(ticks: Ticks, bare: Redis, stream: Stream, size: int) -> float:
    """Seconds for the same of other hashtags, of which we have worked out everything already."""
    spent = 0.0
    for cut in cuts(ticks, stream, size):
        wanted, hashes = await worked_out(ticks, cut)
        begun = time.perf_counter()
        await pipe(bare, wanted, hashes)
        spent += time.perf_counter() - begun
    return spent


async def worked_out(ticks: Ticks, cut: Cut) -> tuple[Fields, dict[str, list[Any]]]:
    """The fields that a commit needs, and what it would write: key to name, value, name ..."""
    plan = await ticks.writer.plan(cut, ticks.state, ticks.sources)
    wanted = ticks.writer.wanted(plan)
    state, values = await ticks.store.read(wanted)
    commit = ticks.writer.worked_out(plan, state, Pages(values), 0.5)
    pairs = {w.key: zip(w.names, w.values, strict=True) for w in commit.writes if w.kind == "hash"}
    return wanted, {key: list(chain.from_iterable(of)) for key, of in pairs.items()}


async def pipe(bare: Redis, wanted: Fields, hashes: dict[str, list[Any]]) -> None:
    """The HMGETs, then the HSETs."""
    async with bare.pipeline(transaction=True) as reading:
        for key, names in wanted.items():
            if names:
                reading.hmget(key, list(names))
        await reading.execute()
    async with bare.pipeline(transaction=True) as writing:
        for key, items in hashes.items():
            writing.hset(key, items=items)
        await writing.execute()
