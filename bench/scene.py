"""An evening's scene: 200 viewers of two hashtags, 100 posts a second, and then 10,000."""

from functools import partial

from bench.report import Report
from bench.servers import design_2014, nchan, ours
from bench.turns import Candidate, in_turns

VIEWERS = 200
FEW, MANY = 100, 10_000
"""Posts a second."""
OURS, OURS_MANY = f"ours, {FEW} posts/s", f"ours, {MANY:,} posts/s"
NCHAN, DESIGN_2014 = f"nchan, {FEW} posts/s", f"2014 design, {FEW} posts/s"
LIMITS = ((OURS, DESIGN_2014, 1 / 50), (OURS, NCHAN, 1 / 15), (OURS_MANY, OURS, 1.1))


def scene(report: Report, rounds: int, seconds: float) -> None:
    """How much of a core the viewers cost: ours sends totals twice a second, the others a
    frame for every post."""
    servers = {
        OURS: partial(ours, rate=2, posts=FEW),
        OURS_MANY: partial(ours, rate=2, posts=MANY),
        NCHAN: partial(nchan, rate=FEW),
        DESIGN_2014: partial(design_2014, rate=FEW),
    }
    candidates = {name: Candidate(start, VIEWERS) for name, start in servers.items()}
    seen = in_turns(report, candidates, rounds, seconds)
    costs = {name: [window.percent for window in seen[name]] for name in seen}
    for name, values in costs.items():
        report.add("scene", f"{VIEWERS} viewers: {name}", "% of a core", values)
    for over, under, most in LIMITS:
        if over in costs and under in costs:
            report.ratio("scene", f"{over} / {under}", costs[over], costs[under], most)
