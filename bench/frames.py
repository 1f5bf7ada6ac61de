"""What a delivered frame costs the server, ours and the peers."""

from functools import partial
from pathlib import Path

from bench.report import Report
from bench.servers import OURS, SERVERS, ours
from bench.turns import Candidate, in_turns

BEFORE = "the version before"
MANY = 5000


def most_of(viewers: int) -> dict[str, float]:
    """How many times a peer's cost ours may be."""
    return {"nchan": 1, "C loop": 1.25 if viewers >= MANY else 1.7, BEFORE: 1.05}


def frames(
    report: Report,
    viewers: list[int],
    rounds: int,
    seconds: float,
    rate: float,
    names: list[str],
    before: Path | None = None,
) -> None:
    """Microseconds of CPU for a frame: user and system time of all of the server's processes.

    That includes what the server does whether frames come or not, and the kernel's work of
    sending; on loopback that is receiving too, alike for all. Redis, feeder and viewers are
    processes of their own and not in it. before: a checkout of the version to compare with.
    """
    chosen = {name: partial(SERVERS[name], rate=rate) for name in names}
    if before:
        chosen[BEFORE] = partial(ours, rate=rate, root=before)
    for count in viewers:
        servers = {name: Candidate(start, count) for name, start in chosen.items()}
        seen = in_turns(report, servers, rounds, seconds)
        costs = {name: [window.microseconds for window in seen[name]] for name in seen}
        for name, values in costs.items():
            report.add("frames", f"{count:,} viewers: {name}", "µs/frame", values)
        for peer, most in most_of(count).items():
            if OURS in costs and peer in costs:
                what = f"{count:,} viewers: {OURS} / {peer}"
                report.ratio("frames", what, costs[OURS], costs[peer], most)
