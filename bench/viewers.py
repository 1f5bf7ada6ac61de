"""The load generator: many viewers in one small C program (viewers.c), asked from here."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from operator import sub
from pathlib import Path
from typing import Any

from bench.processes import Answering, Cannot, compiled, cpu

CONNECTS_A_SECOND = 800
PENDING = 200


@dataclass(frozen=True)
class Window:
    """What the viewers saw between start and stop, and what it cost.

    server, own: seconds of CPU of the server and of the load generator.
    quiet: whether nothing was on its way at the end; served: viewers that are connected.
    events: delivered frames; ids: how many different ones, from the first to the last.
    missed, repeated: ids, over all viewers; behind: viewers without the newest at the end.
    histories: events that told the past anew; closed: streams that the server ended.
    p50, p99, slowest: milliseconds from an event's `at`.
    """

    seconds: float
    server: float
    own: float
    quiet: int
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
    p50: int
    p99: int
    slowest: int

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


class Viewers(Answering):
    """So many viewers of the stream at a port, the paths given to them in turn."""

    def __init__(self, folder: Path, port: int, count: int, paths: Sequence[str]) -> None:
        self.count = count
        listed = folder / f"paths-{port}"
        listed.write_text("".join(path + "\n" for path in paths))
        super().__init__(folder, compiled("viewers", folder), str(port), str(count), listed)

    def connect(
        self, rate: float = CONNECTS_A_SECOND, pending: int = PENDING, seconds: float = 120
    ) -> dict[str, Any]:
        """Open all that are closed; done when each has had an event. Raises Cannot."""
        told = json.loads(self.ask(f"connect {rate} {pending} {seconds}"))
        if told["served"] < self.count:
            raise Cannot(f"Only {told['served']} of {self.count} viewers were served: {told}.")
        return dict(told)

    def served(self) -> int:
        """How many are connected and had an event."""
        return int(self.ask("served"))

    def start(self, server: int) -> None:
        """Count from nothing, from a quiet moment on; server is the pid to count CPU of."""
        self.ask("start")
        self.server, self.begun = server, self.spent(server)

    def stop_counting(self) -> Window:
        """Until a quiet moment."""
        told = json.loads(self.ask("stop"))
        return Window(*map(sub, self.spent(self.server), self.begun), **told)

    def spent(self, server: int) -> tuple[float, float, float]:
        return time.monotonic(), cpu(server), cpu(self.pid)

    def watch(self, server: int, seconds: float) -> Window:
        self.start(server)
        time.sleep(seconds)
        return self.stop_counting()
