"""Many viewers, each with hashtags of its own choice, against as many that all chose alike."""

from functools import partial
from itertools import combinations

from bench.report import Report
from bench.servers import ours
from bench.turns import Candidate, in_turns

VIEWERS = 2000
HASHTAGS = [f"tag{number}" for number in range(64)]
DIFFERENT = [f"/events?tags={one},{other}" for one, other in combinations(HASHTAGS, 2)]
MOST = 3.0


def selections(report: Report, rounds: int, seconds: float) -> None:
    """Every selection has two of 64 hashtags, so that all frames are of one size."""
    start = partial(ours, rate=2, hashtags=",".join(HASHTAGS))
    servers = {
        "all different": Candidate(start, VIEWERS, DIFFERENT[:VIEWERS]),
        "all the same": Candidate(start, VIEWERS, DIFFERENT[:1]),
    }
    seen = in_turns(report, servers, rounds, seconds)
    costs = {name: [window.microseconds for window in seen[name]] for name in seen}
    for name, values in costs.items():
        report.add("selections", f"{VIEWERS:,} viewers, {name}", "µs/frame", values)
    if len(costs) == 2:
        report.ratio("selections", "different / same", *costs.values(), MOST)
