"""What a delivered frame costs the server, ours and the peers, in turns."""

from pathlib import Path
from tempfile import TemporaryDirectory

from bench.processes import Cannot
from bench.report import Report, say
from bench.servers import OURS, SERVERS, Starting
from bench.viewers import Viewers, Window

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
        costs = in_turns(report, count, rounds, seconds, rate, names)
        what = f"{count:,} viewers: "
        for name, values in costs.items():
            report.add("frames", what + name, "µs/frame", values)
        for peer, most in MOST_OF.items():
            if OURS in costs and peer in costs:
                report.ratio("frames", f"{what}{OURS} / {peer}", costs[OURS], costs[peer], most)


def in_turns(
    report: Report, count: int, rounds: int, seconds: float, rate: float, names: list[str]
) -> dict[str, list[float]]:
    """Each server's costs, a turn after the other; one that cannot be had is named."""
    costs: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        for name in list(costs):
            try:
                window = measured(SERVERS[name], count, seconds, rate)
                costs[name].append(window.microseconds)
            except Cannot as cannot:
                report.note(f"{name}, {count} viewers: left out: {cannot}")
                del costs[name]
                continue
            say(f"turn {turn + 1}, {count} viewers, {name}: {costs[name][-1]:.2f} µs/frame")
            for trouble in troubles(window):
                report.note(f"{name}, {count} viewers: {trouble}")
    return costs


def measured(start: Starting, count: int, seconds: float, rate: float) -> Window:
    with TemporaryDirectory() as made:
        folder = Path(made)
        with (
            start(folder, rate) as server,
            Viewers(folder, server.port, count, [server.path]) as viewers,
        ):
            viewers.connect()
            return viewers.watch(server.pid, seconds)


def troubles(window: Window) -> list[str]:
    """Why a figure might not be what it seems."""
    found = [
        f"{getattr(window, name):,} {what}."
        for name, what in (
            ("missed", "frames were missed"),
            ("repeated", "frames came twice"),
            ("closed", "streams were ended"),
        )
        if getattr(window, name)
    ]
    if window.own > 0.8 * window.seconds:
        found.append("the load generator was at its limit.")
    return found
