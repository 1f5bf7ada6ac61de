"""Servers measured in turns, A B C A B C ..., so that what disturbs one disturbs all alike."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.processes import Cannot
from bench.report import Report, say
from bench.servers import Server
from bench.viewers import Viewers, Window


@dataclass(frozen=True)
class Candidate:
    """A server and who watches it: so many viewers, given the paths in turn."""

    start: Callable[[Path], AbstractContextManager[Server]]
    viewers: int
    paths: Sequence[str] = ("/events",)
    is_alike: bool = True
    """Whether each viewer is to get every frame that another one gets."""


def in_turns(
    report: Report, candidates: Mapping[str, Candidate], rounds: int, seconds: float
) -> dict[str, list[Window]]:
    """What the viewers of each saw in each turn; one that cannot be had is named instead."""
    seen: dict[str, list[Window]] = {name: [] for name in candidates}
    for turn in range(rounds):
        for name in list(seen):
            about = f"{name}, {candidates[name].viewers:,} viewers"
            try:
                window = watched(candidates[name], seconds)
                cost = f"{window.microseconds:.2f} µs/frame, {window.percent:.2f} % of a core"
            except Cannot as cannot:
                report.note(f"{about}: left out: {cannot}")
                del seen[name]
                continue
            say(f"turn {turn + 1}: {about}: {cost}")
            seen[name].append(window)
            for trouble in troubles(window, candidates[name].is_alike):
                report.note(f"{about}: {trouble}")
    return seen


def watched(candidate: Candidate, seconds: float) -> Window:
    with TemporaryDirectory() as made:
        folder = Path(made)
        with (
            candidate.start(folder) as server,
            Viewers(folder, server.port, candidate.viewers, candidate.paths) as viewers,
        ):
            viewers.connect()
            return viewers.watch(server.pid, seconds)


def troubles(window: Window, is_alike: bool) -> list[str]:
    """Why a figure might not be what it seems."""
    counted = (
        (window.missed * is_alike, "frames were missed."),
        (window.repeated * is_alike, "frames came twice."),
        (window.closed, "streams were ended by the server."),
        (window.refused, "connects were refused at first."),
    )
    found = [f"{number:,} {what}" for number, what in counted if number]
    if window.own > 0.8 * window.seconds * window.processes:
        found.append("the load generator was at its limit.")
    return found
