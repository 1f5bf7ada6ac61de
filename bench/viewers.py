"""The load generator: many viewers in small C programs (viewers.c), asked from here."""

import json
import resource
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import sub
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Self

from bench.processes import FILES_AN_ENDPOINT, Answering, Cannot, compiled, cpu

CONNECTS_A_SECOND = 800
PENDING = 200
Told = dict[str, Any]
"""What a generator answers."""


@dataclass(frozen=True)
class Window:
    """What the viewers saw between start and stop, and what it cost.

    server, own: seconds of CPU of the server and of all load generators, which are so many
    processes.
    quiet: whether nothing was on its way at the end; served: viewers that are connected.
    events: delivered frames; ids: how many different ones, from the first to the last.
    missed, repeated: ids, over all viewers; behind: viewers without the newest at the end.
    histories: events that told the past anew; closed: streams that the server ended.
    delays: milliseconds from an event's `at` to how many came so late.
    """

    seconds: float
    server: float
    own: float
    processes: int
    quiet: bool
    served: int
    events: int
    ids: int
    missed: int
    behind: int
    repeated: int
    histories: int
    closed: int
    refused: int
    bytes: int
    reads: int
    first: str
    last: str
    delays: Counter[int]

    @property
    def microseconds(self) -> float:
        """Of the server's CPU for a delivered frame."""
        if not self.events:
            raise Cannot("Not one frame was delivered.")
        return 1e6 * self.server / self.events

    @property
    def percent(self) -> float:
        """Of a core, that the server was busy."""
        return 100 * self.server / self.seconds

    @property
    def slowest(self) -> int:
        """Milliseconds, of the frame that came last after its `at`."""
        return max(self.delays, default=0)

    def within(self, part: float) -> int:
        """Milliseconds within which so great a part of the frames came."""
        wanted, passed = part * self.delays.total(), 0
        for delay in sorted(self.delays):
            passed += self.delays[delay]
            if passed >= wanted:
                return delay
        return 0

    def share(self, milliseconds: int) -> float:
        """Of the frames, those that came within so long."""
        early = sum(n for delay, n in self.delays.items() if delay <= milliseconds)
        return early / max(1, self.delays.total())


class Generator(Answering):
    """One process with viewers, the first of which has this number among all."""

    def __init__(self, folder: Path, port: int, count: int, paths: Path, first: int) -> None:
        self.count = count
        arguments = (str(port), str(count), paths, str(first))
        super().__init__(folder, compiled("viewers", folder), *arguments)


class Viewers:
    """So many viewers of the stream at a port, the paths given to them in turn.

    They are in as many processes as it takes, each with no more than may have an open file there.
    """

    def __init__(
        self,
        folder: Path,
        port: int,
        count: int,
        paths: Sequence[str],
        most: int | None = None,
    ) -> None:
        """most: viewers of one process."""
        self.count = count
        most = most or resource.getrlimit(resource.RLIMIT_NOFILE)[0] - FILES_AN_ENDPOINT
        number = -(-count // most)
        bounds = [count * n // number for n in range(number + 1)]
        with NamedTemporaryFile("w", dir=folder, prefix="paths-", delete=False) as listed:
            listed.writelines(path + "\n" for path in paths)
        self.parts = [
            Generator(folder, port, end - begin, Path(listed.name), begin)
            for begin, end in pairwise(bounds)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for part in self.parts:
            part.stop()

    def ask(self, line: str) -> list[Told]:
        """What each answers; they are asked all at once."""
        return self.ask_each([line] * len(self.parts))

    def ask_each(self, lines: Sequence[str]) -> list[Told]:
        for part, line in zip(self.parts, lines, strict=True):
            part.tell(line)
        return [json.loads(part.answer()) for part in self.parts]

    def connect(
        self, rate: float = CONNECTS_A_SECOND, pending: int = PENDING, seconds: float = 120
    ) -> Told:
        """Open all that are closed; done when each has had an event. Raises Cannot.

        rate: connects a second, 0 for as fast as it goes; pending: so many wait for their first
        event at most. The answer: how many are served, how many connects were refused, the
        events that came meanwhile, and the seconds that it took.
        """
        shares = [part.count / self.count for part in self.parts]
        lines = [f"connect {rate * s} {max(1, round(pending * s))} {seconds}" for s in shares]
        told = self.ask_each(lines)
        found = {name: total(told, name) for name in ("served", "refused", "events")}
        if found["served"] < self.count:
            raise Cannot(f"Only {found['served']} of {self.count} viewers were served: {found}.")
        return {**found, "seconds": max(one["seconds"] for one in told)}

    def leave(self) -> None:
        """Hang up, all of them."""
        self.ask("leave")

    def served(self) -> int:
        """How many are connected and had an event."""
        return total(self.ask("served"), "served")

    def start(self, server: int) -> None:
        """Count from nothing, from a quiet moment on; server is the pid to count CPU of."""
        self.ask("start")
        self.server, self.begun = server, self.spent(server)

    def stop_counting(self, patience: float = 3) -> Window:
        """Until a quiet moment, and until all have the newest that any of them had then, or for
        so many seconds: a server that rests amid its work is not done."""
        quiet = self.ask("quiet")
        newest = max((one["newest"] for one in quiet), key=place)
        told = self.ask(f"stop {newest} {patience}")
        seconds, server, own = map(sub, self.spent(self.server), self.begun)
        is_quiet = all(one["quiet"] for one in quiet)
        return Window(seconds, server, own, len(told), quiet=is_quiet, **of_all(told, newest))

    def spent(self, server: int) -> tuple[float, float, float]:
        return time.monotonic(), cpu(server), sum(cpu(part.pid) for part in self.parts)

    def watch(self, server: int, seconds: float) -> Window:
        self.start(server)
        time.sleep(seconds)
        return self.stop_counting()


def of_all(told: Sequence[Told], newest: str) -> Told:
    """What the generators counted, as if they were one: an id that one of them never saw, though
    it saw later ones, was missed by all of its viewers."""
    after, end = max(place(one["after"]) for one in told), place(newest)
    known = [{each for each in map(place, one["known"]) if after < each <= end} for one in told]
    every = sorted({each for some in known for each in some})
    sums = ("served", "events", "missed", "behind", "repeated", "histories")
    sums += ("closed", "refused", "bytes", "reads")
    found: Told = {name: total(told, name) for name in sums}
    for one, ids in zip(told, known, strict=True):
        last = max(ids, default=after)
        found["missed"] += one["served"] * sum(each < last and each not in ids for each in every)
    ends = [f"{time}-{number}" for time, number in (every[:1] + every[-1:])] or ["0-0", "0-0"]
    delays = Counter[int]()
    for one in told:
        delays.update(dict(one["delays"]))
    return {**found, "ids": len(every), "first": ends[0], "last": ends[1], "delays": delays}


def place(number: str) -> tuple[int, int]:
    """Where an id, "NUMBER-NUMBER", stands among others."""
    time, _, rest = number.partition("-")
    return int(time), int(rest)


def total(told: Sequence[Told], name: str) -> int:
    return sum(one[name] for one in told)
