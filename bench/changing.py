"""Many viewers, each with a hashtag of its own: a tick costs by what changes in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.processes import free_port
from bench.report import Report
from bench.servers import HASHTAGS, Server, feeder, redis_server, web
from bench.turns import Candidate, in_turns

VIEWERS, FEW = 2000, 10
RATE = 2
TAGS = [f"tag{number}" for number in range(VIEWERS)]
NONE_CHANGE, FEW_CHANGE, ALL_CHANGE = "none changes", f"{FEW} change", "all change"
MOST = 1 / 10


@contextmanager
def fed(folder: Path, changed: int) -> Iterator[Server]:
    """A web process, with ticks in each of which so many of the hashtags change."""
    port = free_port()
    with (
        redis_server(folder) as url,
        web(folder, url, RATE, HASHTAGS, port) as program,
        feeder(folder, "store", url, RATE, 0, ",".join(TAGS), changed),
    ):
        yield Server(program.pid, port, redis=url)


def changing(report: Report, rounds: int, seconds: float) -> None:
    """What none changes costs is what a web process does anyway, and the repeats every few
    seconds; what few change costs beyond that is compared."""
    paths = [f"/events?tags={tag}" for tag in TAGS]
    servers = {
        what: Candidate(partial(fed, changed=changed), VIEWERS, paths, is_alike=False)
        for what, changed in ((NONE_CHANGE, 0), (FEW_CHANGE, FEW), (ALL_CHANGE, VIEWERS))
    }
    seen = in_turns(report, servers, rounds, seconds)
    costs = {what: [window.percent for window in seen[what]] for what in seen}
    for what, values in costs.items():
        about = f"{VIEWERS:,} viewers, a hashtag each: {what} in a tick"
        report.add("every", about, "% of a core", values)
    if len(costs) == len(servers):
        pairs = zip(costs[FEW_CHANGE], costs[NONE_CHANGE], strict=True)
        beyond = [few - none for few, none in pairs]
        report.ratio("every", f"({FEW} - none) / all", beyond, costs[ALL_CHANGE], MOST)
