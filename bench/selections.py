"""Many viewers, each with hashtags of its own choice, against as many that all chose alike."""

from functools import partial
from itertools import combinations, count, islice
from math import comb

from bench.report import Report
from bench.servers import ours
from bench.turns import Candidate, in_turns

VIEWERS = 2000
MOST = 3.0


def of_their_own(viewers: int) -> tuple[list[str], list[str]]:
    """So few hashtags that so many viewers can each have two that no other one has; the paths.

    All frames are of one size.
    """
    hashtags = [f"tag{n}" for n in range(next(n for n in count(2) if comb(n, 2) >= viewers))]
    pairs = islice(combinations(hashtags, 2), viewers)
    return hashtags, [f"/events?tags={one},{other}" for one, other in pairs]


def selections(report: Report, rounds: int, seconds: float) -> None:
    hashtags, paths = of_their_own(VIEWERS)
    start = partial(ours, rate=2, hashtags=",".join(hashtags))
    servers = {
        "all different": Candidate(start, VIEWERS, paths),
        "all the same": Candidate(start, VIEWERS, paths[:1]),
    }
    seen = in_turns(report, servers, rounds, seconds)
    costs = {name: [window.microseconds for window in seen[name]] for name in seen}
    for name, values in costs.items():
        report.add("selections", f"{VIEWERS:,} viewers, {name}", "µs/frame", values)
    if len(costs) == 2:
        report.ratio("selections", "different / same", *costs.values(), MOST)
