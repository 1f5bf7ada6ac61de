"""What a delivered frame costs the server, ours and the peers."""

from functools import partial

from bench.report import Report
from bench.servers import OURS, SERVERS
from bench.turns import Candidate, in_turns

MOST_OF = {"nchan": 1.0, "C loop": 1.7}
"""How many times a peer's cost ours may be."""


def frames(
    report: Report, viewers: list[int], rounds: int, seconds: float, rate: float, names: list[str]
) -> None:
    """Microseconds of CPU for a frame: user and system time of all of the server's processes.

    That includes what the server does whether frames come or not, and the kernel's work of
    sending; on loopback that is receiving too, alike for all. Redis, feeder and viewers are
    processes of their own and not in it.
    """
    for count in viewers:
        servers = {name: Candidate(partial(SERVERS[name], rate=rate), count) for name in names}
        seen = in_turns(report, servers, rounds, seconds)
        costs = {name: [window.microseconds for window in seen[name]] for name in seen}
        for name, values in costs.items():
            report.add("frames", f"{count:,} viewers: {name}", "µs/frame", values)
        for peer, most in MOST_OF.items():
            if OURS in costs and peer in costs:
                what = f"{count:,} viewers: {OURS} / {peer}"
                report.ratio("frames", what, costs[OURS], costs[peer], most)
