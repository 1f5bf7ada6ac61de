"""Ten thousand viewers on one machine, with Redis, ingester and load generator beside them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from redis import Redis

from app.store.keys import LOG
from bench.posts import recording
from bench.processes import cpu, free_port, memory, wait_until
from bench.report import Report
from bench.servers import HASHTAGS, ingester, redis_server, web
from bench.viewers import Viewers, Window

RATE, POSTS_A_SECOND = 2, 100
SPARE_SECONDS = 400
"""For connecting, coming back and waiting, while posts must go on."""
AFTER_SECONDS = 3.0
"""How long those that came back are watched."""


@dataclass
class Crowd:
    """Redis and ingester, which run all the time; viewers; and the web process of the moment."""

    report: Report
    redis: Redis
    ingester: int
    viewers: Viewers
    web: int = 0
    idle_memory: float = 0
    calls_a_tick: float = 0

    def add(self, what: str, unit: str, value: float, most: float | None = None) -> None:
        self.report.add("crowd", what, unit, [value], most)

    def connect(self) -> None:
        """All of them, as fast as they are let in."""
        self.idle_memory, begun = memory(self.web), cpu(self.web)
        told = self.viewers.connect(rate=0)
        self.add(f"{self.viewers.count:,} connects", "s", told["seconds"], most=30)
        self.add("connects that were refused at first", "", told["refused"])
        self.add("a connect: CPU", "ms", 1000 * (cpu(self.web) - begun) / self.viewers.count)
        self.remember("just connected")

    def remember(self, when: str) -> None:
        """What a viewer costs in memory; the kernel's buffers are not in it."""
        grown = (memory(self.web) - self.idle_memory) / self.viewers.count
        self.add(f"memory of a viewer, {when}", "KB", grown / 1000, most=25)

    def stay(self, seconds: float) -> None:
        calls, ticks = self.calls()
        redis, ingester = cpu(self.redis_pid()), cpu(self.ingester)
        window = self.viewers.watch(self.web, seconds)
        self.remember(f"after {window.seconds:.0f} s")
        self.judge(window, f"{window.seconds:.0f} s")
        self.add("half of the frames within", "ms", window.p50)
        self.add("99 % of the frames within", "ms", window.p99, most=300)
        self.add("all of the frames within", "ms", window.slowest)
        self.add("a frame", "µs", window.microseconds)
        spent = {
            "web process": window.server,
            "load generator": window.own,
            "Redis": cpu(self.redis_pid()) - redis,
            "ingester": cpu(self.ingester) - ingester,
        }
        for who, used in spent.items():
            self.add(f"CPU of the {who}", "% of a core", 100 * used / window.seconds)
        self.calls_a_tick = (self.calls()[0] - calls) / max(1, self.calls()[1] - ticks)

    def judge(self, window: Window, when: str) -> None:
        """Whether each got every tick that Redis has, once."""
        ticks = len(self.redis.xrange(LOG, window.first, window.last))
        lacking = window.missed + window.behind + (ticks - window.ids) * self.viewers.count
        self.add(f"{when}: ticks", "", ticks)
        self.add(f"{when}: ticks that viewers missed", "", lacking, most=0)
        self.add(f"{when}: ticks that came twice", "", window.repeated, most=0)

    def come_back(self, stopped: float) -> None:
        """All at once, with their last ids, to a web process that just began."""
        calls, ticks = self.calls()
        told = self.viewers.connect(rate=0, pending=self.viewers.count)
        passed = time.monotonic() - stopped
        reads = self.calls()[0] - calls - self.calls_a_tick * (self.calls()[1] - ticks)
        time.sleep(AFTER_SECONDS)
        window = self.viewers.stop_counting()
        self.add("after a restart: all served again", "s", told["seconds"], most=30)
        self.add("after a restart: since it was told to stop", "s", passed)
        self.judge(window, "after a restart")
        self.add("after a restart: told the past anew", "viewers", window.histories, most=0)
        a_viewer = max(0.0, reads) / window.served
        self.add("Redis commands for one that came back", "", a_viewer, most=0.01)

    def calls(self) -> tuple[int, int]:
        """All commands that Redis has carried out, scripts' too, and the ticks among them."""
        stats = self.redis.info("commandstats")
        return sum(of["calls"] for of in stats.values()), stats["cmdstat_publish"]["calls"]

    def redis_pid(self) -> int:
        return int(self.redis.info("server")["process_id"])


def crowd(report: Report, viewers: int, seconds: float) -> None:
    with TemporaryDirectory() as made, beside(Path(made), seconds) as (url, redis, ingester):
        folder, port = Path(made), free_port()
        with Viewers(folder, port, viewers, ["/events"]) as started:
            all_of_it = Crowd(report, redis, ingester, started)
            with web(folder, url, RATE, HASHTAGS, port) as served:
                all_of_it.web = served.pid
                all_of_it.connect()
                all_of_it.stay(seconds)
                started.start(served.pid)
                stopped = time.monotonic()
            wait_until(lambda: started.served() == 0, "all streams have ended", 30)
            with web(folder, url, RATE, HASHTAGS, port) as served:
                all_of_it.come_back(stopped)


@contextmanager
def beside(folder: Path, seconds: float) -> Iterator[tuple[str, Redis, int]]:
    """Redis and ingester: the URL, a client, and the ingester's pid."""
    posts = recording(folder / "posts.jsonl", POSTS_A_SECOND, int(seconds) + SPARE_SECONDS)
    with (
        redis_server(folder) as url,
        Redis.from_url(url) as redis,
        ingester(folder, url, RATE, posts) as running,
    ):
        wait_until(lambda: bool(redis.exists(LOG)), "the ingester commits ticks")
        yield url, redis, running.pid
