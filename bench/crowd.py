"""Fifty thousand viewers on one machine, with Redis, ingester and load generators beside them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from redis import Redis

from app.store.keys import LOG
from app.web.limits import allowed_by_open_files
from bench.posts import recording
from bench.processes import Program, cpu, free_port, kernel_memory, memory, wait_until
from bench.report import Report
from bench.servers import HASHTAGS, ingester, redis_server, web
from bench.viewers import Viewers, Window

POSTS_A_SECOND = 100
SPARE_SECONDS = 400
"""For connecting and waiting, while posts must go on."""
UNEVEN = 0.97
"""So full are the web processes planned to be: the kernel shares viewers out by chance."""
STEPS = (50, 100, 200, 500, 1000)
"""Milliseconds; how many frames came within them is told."""
CONNECT_SECONDS = 300
END_MOST = 2
"""Seconds, until the web processes have ended with all their viewers."""


@dataclass
class Crowd:
    """Redis, the pids of ingester and web process, and the viewers."""

    report: Report
    redis: Redis
    ingester: int
    viewers: Viewers
    web: int

    def add(self, what: str, unit: str, value: float, most: float | None = None) -> None:
        self.report.add("crowd", what, unit, [value], most)

    def connect(self) -> None:
        """All of them, as fast as they are let in."""
        kernel, begun = kernel_memory(), cpu(self.web)
        self.idle_memory = memory(self.web)
        told = self.viewers.connect(rate=0, seconds=CONNECT_SECONDS)
        self.add(f"{self.viewers.count:,} connects", "s", told["seconds"], most=30)
        self.add("connects that were refused at first", "", told["refused"])
        self.add("a connect: CPU", "ms", 1000 * (cpu(self.web) - begun) / self.viewers.count)
        self.remember("just connected")
        kept = (kernel_memory() - kernel) / self.viewers.count / 1000
        self.add("the kernel's memory for a viewer, both ends of its connection", "KB", kept)

    def remember(self, when: str) -> None:
        """What a viewer costs in memory; the kernel's buffers are not in it."""
        grown = (memory(self.web) - self.idle_memory) / self.viewers.count
        self.add(f"memory of a viewer, {when}", "KB", grown / 1000, most=1)

    def stay(self, seconds: float) -> None:
        redis, ingester = cpu(self.redis_pid()), cpu(self.ingester)
        window = self.viewers.watch(self.web, seconds)
        self.remember(f"after {window.seconds:.0f} s")
        ticks, lacking = judged(window, self.redis, self.viewers)
        self.add("ticks", "", ticks)
        self.add("ticks that viewers missed", "", lacking, most=0)
        self.add("ticks that came twice", "", window.repeated, most=0)
        self.tell_delays(window)
        self.add("a frame", "µs", window.microseconds)
        spent = {
            "web process": window.server,
            "load generator": window.own,
            "Redis": cpu(self.redis_pid()) - redis,
            "ingester": cpu(self.ingester) - ingester,
        }
        for who, used in spent.items():
            self.add(f"CPU of the {who}", "% of a core", 100 * used / window.seconds)

    def tell_delays(self, window: Window) -> None:
        self.add("half of the frames within", "ms", window.within(0.5))
        self.add("99 % of the frames within", "ms", window.within(0.99), most=1000)
        self.add("all of the frames within", "ms", window.slowest)
        told = ", ".join(f"{100 * window.share(step):.4g} % in {step} ms" for step in STEPS)
        self.report.note(f"crowd: of the frames came {told}.")

    def end(self, served: Program) -> None:
        """Tell the web processes to end."""
        begun = time.monotonic()
        served.stop()
        self.add("all have ended within", "s", time.monotonic() - begun, most=END_MOST)

    def redis_pid(self) -> int:
        return int(self.redis.info("server")["process_id"])


def crowd(report: Report, viewers: int, rate: float, seconds: float) -> None:
    """As few web processes as may have so many open files; and generators alike (viewers.py)."""
    processes = -(-viewers // int(UNEVEN * allowed_by_open_files()))
    report.note(f"crowd: {viewers:,} viewers, {rate:g} ticks a second, {processes} web processes.")
    with (
        TemporaryDirectory() as made,
        beside(Path(made), rate, seconds + SPARE_SECONDS) as (url, redis, ingester),
    ):
        folder, port = Path(made), free_port()
        with (
            Viewers(folder, port, viewers, ["/events"]) as started,
            web(folder, url, rate, HASHTAGS, port, processes) as served,
        ):
            all_of_it = Crowd(report, redis, ingester, started, served.pid)
            all_of_it.connect()
            all_of_it.stay(seconds)
            all_of_it.end(served)
            tell_overload(report, "crowd", served)


def judged(window: Window, redis: Redis, viewers: Viewers) -> tuple[int, int]:
    """How many ticks Redis has of that time, and how many of them viewers missed, in all."""
    ticks = len(redis.xrange(LOG, window.first, window.last))
    lacking = window.missed + window.behind + (ticks - window.ids) * viewers.count
    return ticks, lacking


def tell_overload(report: Report, part: str, served: Program) -> None:
    """By its log: a process that cannot keep up leaves ticks out."""
    times = served.log.read_text(errors="replace").count("overload: ")
    if times:
        report.note(f"{part}: {times} times a web process could not keep up, and left ticks out.")


@contextmanager
def beside(folder: Path, rate: float, seconds: float) -> Iterator[tuple[str, Redis, int]]:
    """Redis and ingester with posts for so long: the URL, a client, and the ingester's pid."""
    posts = recording(folder / "posts.jsonl", POSTS_A_SECOND, int(seconds))
    with (
        redis_server(folder) as url,
        Redis.from_url(url) as redis,
        ingester(folder, url, rate, posts) as running,
    ):
        wait_until(lambda: bool(redis.exists(LOG)), "the ingester commits ticks")
        yield url, redis, running.pid
