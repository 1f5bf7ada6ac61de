"""`python -m bench [PART ...]`, or `make bench`: measures, and prints one table.

    processes.py  programs that are started, their CPU and memory
    viewers.py    the load generator; viewers.c, answer.h and counting.h are its insides
    frame.py      what every server sends
    feeder.py     what feeds them
    servers.py    ours and the peers; peers/ has those that are our own programs
    report.py     the table
    turns.py      one server after the other, again and again
    frames.py     what a delivered frame costs
    scene.py      200 viewers, and a post is a frame to the others
    crowd.py      10,000 viewers for a minute, or SECONDS=600, and a restart under them
    selections.py many viewers with hashtags of their own choice
    ingest.py     what comes before the viewers; reading.py is run by it
    workers.py    two web processes against one
    ticks.py      ticks as our ingester commits them
    every.py      a day of every hashtag, and what is done to it; its insides are named there

Figures of different runs or machines do not compare; the ratios within a run do, because
the servers are measured in turns.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

from bench.crowd import crowd
from bench.day import DAY_MINUTES
from bench.every import every
from bench.frames import frames
from bench.ingest import ingest
from bench.processes import ROOT, Cannot, allow_files, elsewhere
from bench.report import Report
from bench.scene import scene
from bench.selections import selections
from bench.servers import SERVERS
from bench.workers import workers

PARTS = ["frames", "scene", "selections", "workers", "crowd", "ingest", "every"]
CONNECTIONS = 12_000
"""As many as a server has at once; the 2014 design has two for each viewer."""


def main() -> None:
    chosen = arguments()
    report = Report()
    try:
        allow_files(max(CONNECTIONS, 2 * max(chosen.viewers)))
        for part in chosen.parts or PARTS:
            run(part, report, chosen)
    except Cannot as cannot:
        sys.exit(f"bench: {cannot}")
    except KeyboardInterrupt:
        sys.stderr.write("ended early: the table has what was measured\n")
    report.write(chosen.out)
    sys.stdout.write(report.table() + "\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure, beside peers.",
        epilog="Each option may stand in the environment too: ROUNDS=3 make bench.",
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")

    def option(name: str, kind: Any, default: Any, meaning: str) -> None:
        default = os.environ.get(name.upper()) or default
        parser.add_argument(f"--{name}", type=kind, default=default, help=meaning)

    option("rounds", count, 5, "turns of each server")
    option("seconds", positive, None, "how long a turn is watched")
    option("viewers", counts, "500,5000", "a comma list, for frames")
    option("crowd", count, 10_000, "how many viewers, for crowd")
    option("rate", positive, 2, "frames a second, for frames")
    option("minutes", count, DAY_MINUTES, "how long the day is, for every")
    option("before", Path, None, "a checkout of an older version to compare with, for every")
    option("servers", names, ",".join(SERVERS), f"a comma list of {', '.join(SERVERS)}")
    option("out", Path, ROOT / "data" / "bench.json", "where the figures go as JSON")
    chosen = parser.parse_args()
    for name in chosen.parts:
        if name not in PARTS:
            parser.error(f"{name!r}: expected one of {', '.join(PARTS)}.")
    return chosen


def positive(text: str) -> float:
    number = float(text)
    if not 0 < number < 1e6:
        raise ValueError
    return number


def count(text: str) -> int:
    return int(positive(str(int(text))))


def counts(text: str) -> list[int]:
    return [count(part) for part in text.split(",")]


def names(text: str) -> list[str]:
    if unknown := set(text.split(",")) - set(SERVERS):
        raise argparse.ArgumentTypeError(f"{min(unknown)!r} is none of {', '.join(SERVERS)}.")
    return text.split(",")


def run(part: str, report: Report, chosen: argparse.Namespace) -> None:
    """One part; what it cannot measure is named, and the others go on."""
    rounds, seconds = chosen.rounds, chosen.seconds
    begun, others = time.monotonic(), elsewhere()
    try:
        if part == "frames":
            frames(report, chosen.viewers, rounds, seconds or 6, chosen.rate, chosen.servers)
        elif part == "scene":
            scene(report, rounds, seconds or 10)
        elif part == "selections":
            selections(report, rounds, seconds or 6)
        elif part == "crowd":
            crowd(report, chosen.crowd, seconds or 60)
        elif part == "ingest":
            ingest(report, rounds, seconds or 5)
        elif part == "workers":
            workers(report, rounds, seconds or 6)
        elif part == "every":
            every(report, rounds, seconds or 6, chosen.minutes, chosen.before)
    except Cannot as cannot:
        report.note(f"{part}: left out: {cannot}")
    busy = (elsewhere() - others) / (time.monotonic() - begun)
    report.note(f"{part}: other programs kept {max(0.0, busy):.2f} cores busy meanwhile.")


if __name__ == "__main__":
    main()
