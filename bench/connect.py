"""What a connect costs, and what a viewer takes while it is there: by each of our doors, beside
nchan in turns."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.processes import Cannot, cpu, memory
from bench.report import Report, say
from bench.selections import of_their_own
from bench.servers import Server, nchan, ours
from bench.turns import troubles
from bench.viewers import Viewers

RATE, WATCHED_SECONDS = 1 / 3, 4.0
"""Frames a second: so few that they hardly count, and enough that nothing is repeated meanwhile;
and long enough for one of them."""
WARM = 200
"""So many come and go before, so that what is loaded or made once is there."""
CONNECT_SECONDS = 600
NCHAN, FRONT_DOOR, TAKEOVER, ORDINARY = "nchan", "front door", "takeover", "ordinary way"
DIFFERENT, BEFORE = "front door, all different", "the version before"
ABSOLUTE = ["http://127.0.0.1/events"]
"""As to a proxy: our front door leaves it to the server, from which the takeover takes it."""


@dataclass(frozen=True)
class Way:
    """A way to be served; its limits."""

    start: Callable[[Path], AbstractContextManager[Server]]
    paths: Sequence[str] = ("/events",)
    most_of_nchan: float | None = None
    """How many times nchan's CPU a connect may cost."""
    kilobytes: float | None = None
    """How much a viewer may take."""
    is_alike: bool = True
    """Whether each viewer is to get every frame that another one gets."""


@dataclass(frozen=True)
class Cost:
    """Milliseconds of CPU of a connect, connects a second, and the kilobytes of a viewer."""

    cpu: float
    rate: float
    kilobytes: float


def ways(viewers: int, before: Path | None) -> dict[str, Way]:
    hashtags, paths = of_their_own(viewers)
    found = {
        NCHAN: Way(partial(nchan, rate=RATE)),
        FRONT_DOOR: Way(partial(ours, rate=RATE), most_of_nchan=1.5, kilobytes=0.5),
        TAKEOVER: Way(partial(ours, rate=RATE), ABSOLUTE, kilobytes=1),
        ORDINARY: Way(partial(ours, rate=RATE, EXPRESS_LANE="false")),
        DIFFERENT: Way(
            partial(ours, rate=RATE, hashtags=",".join(hashtags)), paths, None, 3, is_alike=False
        ),
    }
    if before:
        found[BEFORE] = Way(partial(ours, rate=RATE, root=before))
    return found


def connect(report: Report, viewers: int, rounds: int, before: Path | None) -> None:
    """The CPU is the server's alone. before: a checkout of the version to compare with."""
    report.note(f"connect: {viewers:,} viewers of each, as fast as they are let in.")
    candidates = ways(viewers, before)
    seen: dict[str, list[Cost]] = {name: [] for name in candidates}
    for turn in range(rounds):
        for name in list(seen):
            try:
                cost, trouble = measured(candidates[name], viewers)
            except Cannot as cannot:
                report.note(f"connect: {name}: left out: {cannot}")
                del seen[name]
                continue
            seen[name].append(cost)
            say(f"turn {turn + 1}: {name}: {cost}")
            for each in trouble:
                report.note(f"connect: {name}: {each}")
    for name, costs in seen.items():
        tell(report, name, candidates[name], costs)
    compare(report, candidates, seen)


def measured(way: Way, viewers: int) -> tuple[Cost, list[str]]:
    """In a server of its own; and why the figures might not be what they seem.

    What frames cost that came while others were still connecting is not a connect's.
    """
    with TemporaryDirectory() as made, way.start(Path(made)) as server:
        with Viewers(Path(made), server.port, WARM, way.paths) as warm:
            warm.connect()
        empty, begun = memory(server.pid), cpu(server.pid)
        with Viewers(Path(made), server.port, viewers, way.paths) as all_of_them:
            told = all_of_them.connect(rate=0, seconds=CONNECT_SECONDS)
            spent = cpu(server.pid) - begun
            window = all_of_them.watch(server.pid, WATCHED_SECONDS)
            taken = (memory(server.pid) - empty) / viewers
    frames = (told["events"] - viewers) * window.microseconds / 1e6
    window = replace(window, refused=told["refused"])
    cost = Cost(1000 * (spent - frames) / viewers, viewers / told["seconds"], taken / 1000)
    return cost, troubles(window, way.is_alike)


def tell(report: Report, name: str, way: Way, costs: Sequence[Cost]) -> None:
    report.add("connect", f"{name}: CPU of a connect", "ms", [cost.cpu for cost in costs])
    report.add("connect", f"{name}: connects", "a second", [cost.rate for cost in costs])
    taken = [cost.kilobytes for cost in costs]
    report.add("connect", f"{name}: memory of a viewer", "KB", taken, most=way.kilobytes)


def compare(report: Report, ways: dict[str, Way], seen: dict[str, list[Cost]]) -> None:
    """Each with nchan, or with the version before, in the same turns."""
    cpu_of = {name: [cost.cpu for cost in costs] for name, costs in seen.items()}
    for name, way in ways.items():
        if name != NCHAN and name in seen and NCHAN in seen:
            what = f"CPU of a connect, {name} / {NCHAN}"
            report.ratio("connect", what, cpu_of[name], cpu_of[NCHAN], way.most_of_nchan)
    if BEFORE in seen and FRONT_DOOR in seen:
        what = f"CPU of a connect, {FRONT_DOOR} / {BEFORE}"
        report.ratio("connect", what, cpu_of[FRONT_DOOR], cpu_of[BEFORE], 1)
