"""What comes before the viewers: recorded posts through parser and counter, a commit, Redis."""

import asyncio
import json
import sys
import sysconfig
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from redis import Redis

from app.store.store import Store, connect
from bench.posts import recording
from bench.processes import ROOT, Answering, cpu, wait_until
from bench.report import Report
from bench.servers import BENCH_PYTHON, ingester, redis_server
from bench.ticks import Ticks

RECORDINGS = ROOT.parent / "shared" / "recordings"
COMMITS, HASHTAGS = 50, [f"tag{number}" for number in range(500)]
RATE, FEW, MANY = 2, 100, 10_000
"""Ticks a second, and posts a second."""
Ways = dict[str, list[float]]
WARM_SECONDS = 2.0


def ingest(report: Report, rounds: int, seconds: float) -> None:
    reading(report, rounds, seconds)
    with TemporaryDirectory() as made, redis_server(Path(made)) as url:
        commits = [asyncio.run(committed(url)) for _ in range(rounds)]
    answered, used = zip(*commits, strict=True)
    report.add("ingest", f"a commit of {len(HASHTAGS)} hashtags", "ms", answered)
    report.add("ingest", "of it Redis's CPU", "ms", used)
    redis_load(report, rounds, seconds)


def reading(report: Report, rounds: int, seconds: float) -> None:
    """Recorded messages of all networks; a decoder that is not there is named."""
    folders = sorted(file.parent for file in RECORDINGS.glob("*/wire_reduced.jsonl"))
    if not folders:
        report.note("ingest: reading was left out: the recordings are not here.")
        return
    told = [messages(seconds, folders) for _ in range(rounds)]
    for network in told[0]:
        compared = [compare([one[network]]) for one in told]
        report.ratio(
            "ingest", f"time, ours / bare decoding, {network}", *zip(*compared, strict=True)
        )
    compared = [compare(list(one.values())) for one in told]
    mine, bare = ([1e6 / each for each in way] for way in zip(*compared, strict=True))
    report.add("ingest", "parser and counter", "posts/s of CPU", mine, least=50_000)
    report.add("ingest", "bare JSON decoding, the fastest", "posts/s of CPU", bare)
    report.ratio("ingest", "time, ours / bare decoding", *zip(*compared, strict=True), most=2)
    if "orjson" not in told[0]["x"]:
        report.note("orjson: left out: it is not installed: make bench does it, if it can.")


def messages(seconds: float, folders: list[Path]) -> dict[str, Ways]:
    """Network to way to how many messages were read and the seconds of CPU that it took."""
    elsewhere = sysconfig.get_path("purelib", "venv", {"base": str(BENCH_PYTHON.parent.parent)})
    command = [sys.executable, "-m", "bench.reading", str(seconds), elsewhere, *folders]
    with (
        TemporaryDirectory() as made,
        Answering(Path(made), *command, PYTHONPATH=str(ROOT)) as program,
    ):
        told: dict[str, Ways] = json.loads(program.answer())
    return told


def compare(networks: list[Ways]) -> tuple[float, float]:
    """Microseconds a message: ours, and the fastest decoder's."""

    def a_message(way: str) -> float:
        read, spent = (sum(one[way][n] for one in networks) for n in (0, 1))
        return 1e6 * spent / read

    return a_message("ours"), min(a_message(way) for way in networks[0] if way != "ours")


async def committed(url: str) -> tuple[float, float]:
    """Milliseconds for one commit, reading and writing; and what Redis used for it."""
    store, spent = Store(connect(url)), []
    ticks = await Ticks.begun(store)
    server = (await store.redis.info("server"))["process_id"]
    before = cpu(server)
    for _ in range(COMMITS):
        cut, begun = ticks.cut(HASHTAGS, 10), time.perf_counter()
        await ticks.write(cut)
        spent.append(1000 * (time.perf_counter() - begun))
    await store.redis.aclose()
    return median(spent), 1000 * (cpu(server) - before) / COMMITS


def redis_load(report: Report, rounds: int, seconds: float) -> None:
    """What a tick asks of Redis, of the real ingester, with few posts and with many."""
    commands: dict[int, list[float]] = {FEW: [], MANY: []}
    used: dict[int, list[float]] = {FEW: [], MANY: []}
    for _ in range(rounds):
        for posts in commands:
            a_tick, milliseconds = load_of(posts, seconds)
            commands[posts].append(a_tick)
            used[posts].append(milliseconds)
    for posts in commands:
        at = f"at {posts:,} posts/s"
        report.add("ingest", f"Redis commands a tick, {at}", "", commands[posts])
        report.add("ingest", f"Redis's CPU a tick, {at}", "ms", used[posts])
    what = f"Redis commands, at {MANY:,} / {FEW:,} posts/s"
    report.ratio("ingest", what, commands[MANY], commands[FEW])


def load_of(posts: int, seconds: float) -> tuple[float, float]:
    """Commands and milliseconds of CPU for a tick, scripts' inner commands too."""
    with TemporaryDirectory() as made:
        folder = Path(made)
        file = recording(folder / "posts.jsonl", posts, int(seconds + WARM_SECONDS) + 5)
        with (
            redis_server(folder) as url,
            Redis.from_url(url) as redis,
            ingester(folder, url, RATE, file),
        ):
            wait_until(lambda: "cmdstat_publish" in redis.info("commandstats"), "a tick is there")
            time.sleep(WARM_SECONDS)
            before = spent_by(redis)
            time.sleep(seconds)
            commands, ticks, used = (b - a for a, b in zip(before, spent_by(redis), strict=True))
            return commands / ticks, 1000 * used / ticks


def spent_by(redis: Redis) -> tuple[float, float, float]:
    """Commands so far but for our asking, ticks, and seconds of CPU."""
    stats = redis.info("commandstats")
    commands = sum(of["calls"] for name, of in stats.items() if name != "cmdstat_info")
    return commands, stats["cmdstat_publish"]["calls"], cpu(redis.info("server")["process_id"])
