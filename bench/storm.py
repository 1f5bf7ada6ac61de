"""Ten thousand viewers that come back at once: after a restart, and to a process that others
are watching."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from redis import Redis

from bench.crowd import beside, judged, tell_overload
from bench.processes import cpu, free_port, wait_until
from bench.report import Report
from bench.servers import HASHTAGS, web
from bench.viewers import Viewers, Window

RATE, OTHERS = 2, 200
BACK_MOST, END_MOST = 2.0, 2.0
"""Seconds, on a quiet machine."""
AFTER_SECONDS = 3.0
"""How long those that came back are watched."""
ROUND_SECONDS, SPARE_SECONDS = 60, 200
"""Posts are made for so long."""


@dataclass
class Storm:
    """What was measured in each round, beside Redis, viewers, and others that watch already.

    ended: seconds from when a web process is told to end until it has, with all its viewers.
    listens, back: seconds from the process's start until it listened, until all were served.
    begins, each: its CPU in seconds until then, and then in milliseconds for each of them.
    commands: of Redis, for one that came back. again: seconds for all to come to a process that
    others watch; late: milliseconds of the others' latest tick meanwhile.
    missed, twice: ticks of all viewers; histories: viewers that were told the past anew.
    """

    redis: Redis
    viewers: Viewers
    others: Viewers
    usual: float = 0
    """Redis's commands a tick, whoever watches."""
    ended: list[float] = field(default_factory=list)
    listens: list[float] = field(default_factory=list)
    back: list[float] = field(default_factory=list)
    begins: list[float] = field(default_factory=list)
    each: list[float] = field(default_factory=list)
    commands: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    missed: int = 0
    twice: int = 0
    histories: int = 0

    def look(self) -> None:
        """What is usual."""
        before = self.calls()
        time.sleep(AFTER_SECONDS)
        commands, ticks = (b - a for a, b in zip(before, self.calls(), strict=True))
        self.usual = commands / max(1, ticks)

    def restarted(self, begun: float, server: int) -> None:
        """All at once, with their last ids, to a web process that was begun then."""
        before = self.calls()
        self.listens.append(time.monotonic() - begun)
        self.begins.append(cpu(server))
        self.viewers.connect(rate=0, pending=self.viewers.count)
        self.back.append(time.monotonic() - begun)
        self.each.append(1000 * (cpu(server) - self.begins[-1]) / self.viewers.count)
        commands, ticks = (b - a for a, b in zip(before, self.calls(), strict=True))
        self.commands.append(max(0.0, commands - self.usual * ticks) / self.viewers.count)
        time.sleep(AFTER_SECONDS)
        window = self.viewers.stop_counting()
        self.judge(window, self.viewers)
        self.histories += window.histories

    def beside_others(self, server: int) -> None:
        """All at once, to a web process that others are watching."""
        self.others.connect()
        self.viewers.leave()
        self.others.start(server)
        told = self.viewers.connect(rate=0, pending=self.viewers.count)
        time.sleep(2 / RATE)
        window = self.others.stop_counting()
        self.judge(window, self.others)
        self.again.append(told["seconds"])
        self.late.append(window.slowest)

    def judge(self, window: Window, viewers: Viewers) -> None:
        self.missed += judged(window, self.redis, viewers)[1]
        self.twice += window.repeated

    def calls(self) -> tuple[float, float]:
        """All commands that Redis has carried out, scripts' too, and the ticks among them."""
        stats = self.redis.info("commandstats")
        return sum(of["calls"] for of in stats.values()), stats["cmdstat_publish"]["calls"]


def storm(report: Report, viewers: int, rounds: int) -> None:
    seconds = rounds * ROUND_SECONDS + SPARE_SECONDS
    with TemporaryDirectory() as made, beside(Path(made), RATE, seconds) as (url, redis, _):
        folder, port = Path(made), free_port()
        with (
            Viewers(folder, port, viewers, ["/events"]) as back,
            Viewers(folder, port, OTHERS, ["/events"]) as others,
            ExitStack() as running,
        ):
            found = Storm(redis, back, others)
            served = running.enter_context(web(folder, url, RATE, HASHTAGS, port))
            back.connect(rate=0)
            found.look()
            for _ in range(rounds):
                back.start(served.pid)
                found.ended.append(seconds_of(running.close))
                wait_until(lambda: back.served() == 0, "all streams have ended", 30)
                begun = time.monotonic()
                served = running.enter_context(web(folder, url, RATE, HASHTAGS, port))
                found.restarted(begun, served.pid)
                found.beside_others(served.pid)
                tell_overload(report, "storm", served)
    tell(report, f"{viewers:,}", found)


def seconds_of(what: Callable[[], None]) -> float:
    begun = time.monotonic()
    what()
    return time.monotonic() - begun


def tell(report: Report, viewers: str, found: Storm) -> None:
    report.add("storm", f"a web process with {viewers} ends within", "s", found.ended, END_MOST)
    report.add("storm", "a web process listens after", "s", found.listens)
    report.add("storm", "CPU of it until then", "s", found.begins)
    report.add("storm", f"{viewers} are back after", "s", found.back, most=BACK_MOST)
    report.add("storm", "CPU for one of them", "ms", found.each)
    report.add("storm", "Redis commands for one of them", "", found.commands, most=0.01)
    report.add("storm", "of them told the past anew", "viewers", [found.histories], most=0)
    report.add("storm", f"{viewers} come to a process that {OTHERS} watch", "s", found.again)
    report.add("storm", "those have each tick within", "ms", found.late, most=1000 / RATE)
    report.add("storm", "ticks missed, of all", "", [found.missed], most=0)
    report.add("storm", "ticks told twice, of all", "", [found.twice], most=0)
