"""Two web processes on one port against one."""

import subprocess
import sys
from functools import partial

from bench.processes import ROOT, Cannot
from bench.report import Report
from bench.servers import ours
from bench.turns import Candidate, in_turns

VIEWERS = 5000
ONE, TWO = "1 worker", "2 workers"


def workers(report: Report, rounds: int, seconds: float) -> None:
    """What a frame costs and how late it is; the viewers and Redis use the same cores."""
    asked = [sys.executable, "-m", "app", "web", "--help"]
    told = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    if "--workers" not in told.stdout:
        raise Cannot("`python -m app web` has no --workers.")
    servers = {
        ONE: Candidate(partial(ours, rate=2), VIEWERS),
        TWO: Candidate(partial(ours, rate=2, workers=2), VIEWERS),
    }
    seen = in_turns(report, servers, rounds, seconds)
    for name, windows in seen.items():
        what = f"{VIEWERS:,} viewers, {name}"
        report.add("workers", what, "µs/frame", [window.microseconds for window in windows])
        report.add(
            "workers", f"{what}: 99 % within", "ms", [window.within(0.99) for window in windows]
        )
    if len(seen) == 2:
        costs = [[window.microseconds for window in seen[name]] for name in (TWO, ONE)]
        report.ratio("workers", f"a frame, {TWO} / {ONE}", *costs, most=1.15)
