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
    selections.py many viewers with hashtags of their own choice
    workers.py    two web processes against one
    connect.py    what a connect costs, and a viewer that is there: by each door, beside nchan
    crowd.py      50,000 viewers for ten minutes, or CROWD=10000 CROWD_SECONDS=60
    storm.py      10,000 viewers that come back at once
    leaks.py      125,000 connects and ends, half of them rude
    slow.py       2,000 readers that take nothing of 15 minutes of 20 hashtags
    ingest.py     what comes before the viewers; reading.py is run by it
    ticks.py      ticks as our ingester commits them
    every.py      a day of every hashtag, and what is done to it; its insides are named there
    board.py      what the board costs, and all that is made of posts; present.py is run by it
    unusual.py    how often what is usual is called unusual

Figures of different runs or machines do not compare; the ratios within a run do, because
the servers are measured in turns.
"""

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from app.web.limits import allowed_by_open_files
from bench.board import board
from bench.connect import connect
from bench.crowd import crowd
from bench.day import DAY_MINUTES
from bench.every import every
from bench.frames import frames
from bench.ingest import ingest
from bench.leaks import leaks
from bench.processes import ROOT, Cannot, allow_files, elsewhere
from bench.report import Report
from bench.requests import requests
from bench.scene import scene
from bench.selections import selections
from bench.servers import SERVERS
from bench.slow import slow
from bench.storm import storm
from bench.unusual import unusual
from bench.workers import workers

PARTS = [
    "frames", "scene", "selections", "workers", "connect", "crowd", "storm", "leaks", "slow",
    "requests", "ingest", "every", "board", "unusual",
]  # fmt: skip


def main() -> None:
    chosen = arguments()
    report = Report()
    for end in (signal.SIGINT, signal.SIGTERM):  # also where a shell left the first to be ignored
        signal.signal(end, signal.default_int_handler)
    try:
        allow_files()
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
    option("subscribers", count, 18_000, "how many viewers, for connect")
    option("crowd", count, 50_000, "how many viewers, for crowd")
    option("crowd_rate", positive, 1, "ticks a second, for crowd")
    option("crowd_seconds", positive, 600, "how long the crowd is watched; 800 at most")
    option("storm", count, 10_000, "how many viewers come back, for storm")
    option("ends", count, 125_000, "how many connects and ends, for leaks")
    option("rate", positive, 2, "frames a second, for frames")
    option("minutes", count, DAY_MINUTES, "how long the day is, for every")
    option("before", Path, None, "a checkout of an older version to compare with")
    option("servers", names, ",".join(SERVERS), f"a comma list of {', '.join(SERVERS)}")
    option("out", Path, ROOT / "data" / "bench.json", "where the figures go as JSON")
    chosen = parser.parse_args()
    chosen.parts = [name for part in chosen.parts for name in part.split(",") if name]
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
    begun, others = time.monotonic(), elsewhere()
    try:
        measure(part, report, chosen)
    except Cannot as cannot:
        report.note(f"{part}: left out: {cannot}")
    busy = (elsewhere() - others) / (time.monotonic() - begun)
    report.note(f"{part}: other programs kept {max(0.0, busy):.2f} cores busy meanwhile.")


def measure(part: str, report: Report, chosen: argparse.Namespace) -> None:
    """Raises Cannot."""
    rounds, seconds, before = chosen.rounds, chosen.seconds, chosen.before
    if part == "frames":
        viewers, rate, servers = chosen.viewers, chosen.rate, chosen.servers
        frames(report, viewers, rounds, seconds or 6, rate, servers, before)
    elif part == "scene":
        scene(report, rounds, seconds or 10)
    elif part == "selections":
        selections(report, rounds, seconds or 6)
    elif part == "workers":
        workers(report, rounds, seconds or 6)
    elif part == "connect":
        connect(report, within_files(report, chosen.subscribers), rounds, before)
    elif part == "crowd":
        crowd(report, chosen.crowd, chosen.crowd_rate, chosen.crowd_seconds)
    elif part == "storm":
        storm(report, within_files(report, chosen.storm), rounds)
    elif part == "leaks":
        leaks(report, chosen.ends)
    elif part == "slow":
        slow(report)
    elif part == "requests":
        requests(report, rounds)
    elif part == "ingest":
        ingest(report, rounds, seconds or 5)
    elif part == "every":
        every(report, rounds, seconds or 6, chosen.minutes, before)
    elif part == "board":
        board(report, rounds)
    elif part == "unusual":
        unusual(report)


def within_files(report: Report, viewers: int) -> int:
    """As many as one server may have here."""
    most = allowed_by_open_files()
    if viewers > most:
        report.note(f"{most:,} viewers instead of {viewers:,}: so many files may be open here.")
    return min(viewers, most)


if __name__ == "__main__":
    main()
