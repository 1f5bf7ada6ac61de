"""How often what is usual is called unusual: no server, only sums.

A simulated week has ten-minute bins whose mean swings with the hour and the weekday, and whose
variance is 1, 2, 3 and 5 times that mean; what is usual of it is worked out as the app does, of
four weeks before it or of the 48 hours before it alone. The recordings' minutes are shuffled:
whatever rose in them rises no more, so an alarm is a false one there too.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random

from app.messages import MINUTE
from app.sources.replay import Parser
from app.unusual import WEEKS, tail, usual
from bench.ingest import RECORDINGS
from bench.report import Report

ALARM = 1e-4
MEANS = (0.1, 1, 10, 100, 1000)
"""Posts in ten minutes, over the week."""
DISPERSIONS = (1, 2, 3, 5)
"""Variance over mean."""
WEEK_HOURS, BINS, BIN_MINUTES = 168, 6, 10
HASHTAGS = 25
"""For each mean and dispersion: so many weeks of 1,008 bins."""
SHUFFLES, LEAST_POSTS = 20, 20
"""Of a recording; and posts that a hashtag of it has at the least."""


def unusual(report: Report) -> None:
    for mean in MEANS:
        for way in ("four weeks", "48 hours"):
            weeks = [simulated(mean, dispersion, way) for dispersion in DISPERSIONS]
            add(report, f"mean {mean:g}, after {way}", weeks)
    files = sorted(RECORDINGS.glob("*/wire_reduced.jsonl"))
    if not files:
        report.note("unusual: the recordings are not here.")
        return
    add(report, "recorded minutes, shuffled", [shuffled(file) for file in files])


def add(report: Report, what: str, found: Sequence[tuple[int, int, int]]) -> None:
    """found: bins, alarms in one of them, and in two in a row; of each dispersion or file."""
    known = [each for each in found if each[0]]
    once = [10_000 * one / bins for bins, one, _ in known]
    twice = [10_000 * two / bins for bins, _, two in known]
    report.add("unusual", f"{what}: bins below 1e-4", "in 10,000", once)
    report.add("unusual", f"{what}: two in a row", "in 10,000", twice, most=1)


def simulated(mean: float, dispersion: float, way: str) -> tuple[int, int, int]:
    """Bins, alarms, and two in a row, of some hashtags' weeks."""
    chance = Random(f"{mean} {dispersion} {way}")
    alarms = []
    for _ in range(HASHTAGS):
        before = [
            [drawn(BINS * mean * swing(hour), dispersion, chance) for hour in range(WEEK_HOURS)]
            for _ in range(WEEKS)
        ]
        hours = list(before[-1])
        for hour in range(WEEK_HOURS):
            counts = [drawn(mean * swing(hour), dispersion, chance) for _ in range(BINS)]
            weeks = [week[hour] for week in before] if way == "four weeks" else []
            hourly = usual(weeks, sum(hours[-48:]), 48 * 60) or 0
            alarms += [tail(count, hourly / BINS) < ALARM for count in counts]
            hours.append(sum(counts))
    return told(alarms)


def swing(hour: int) -> float:
    """Of an hour of the week, how much of the mean: three times as much by day as at night, and
    half as much again on two days."""
    day = 1 + 0.5 * math.sin(math.tau * hour / 24)
    return day * (1.3 if hour >= 5 * 24 else 0.88)


def drawn(mean: float, dispersion: float, chance: Random) -> int:
    """A count of this mean, whose variance is so many times the mean."""
    if dispersion > 1:
        mean = chance.gammavariate(mean / (dispersion - 1), dispersion - 1)
    if mean > 50:  # a normal distribution is near enough
        return max(0, round(chance.gauss(mean, math.sqrt(mean))))
    count, product, limit = 0, chance.random(), math.exp(-mean)
    while product > limit:
        product *= chance.random()
        count += 1
    return count


def told(alarms: Sequence[bool]) -> tuple[int, int, int]:
    return len(alarms), sum(alarms), sum(one and two for one, two in pairwise(alarms))


def shuffled(file: Path) -> tuple[int, int, int]:
    """The same of a recording: half of its minutes, in any order, say what is usual in the
    others."""
    minutes: dict[int, Counter[str]] = {}
    for minute, tags in recorded(file):
        minutes.setdefault(minute, Counter()).update(tags)
    tags = Counter[str]()
    for counted in minutes.values():
        tags.update(counted)
    chance, order, totals = Random(1), sorted(minutes), (0, 0, 0)
    half = len(order) // 2
    for _ in range(SHUFFLES if half >= 30 else 0):
        chance.shuffle(order)
        for tag, posts in tags.items():
            if posts >= LEAST_POSTS:
                line = [minutes[minute][tag] for minute in order]
                hourly = usual([], sum(line[:half]), half) or 0
                bins = [
                    sum(line[n : n + BIN_MINUTES])
                    for n in range(half, len(line) - BIN_MINUTES + 1, BIN_MINUTES)
                ]
                found = told([tail(count, hourly / BINS) < ALARM for count in bins])
                totals = tuple(map(sum, zip(totals, found, strict=True)))  # type: ignore[assignment]
    return totals


def recorded(file: Path) -> Iterator[tuple[int, list[str]]]:
    """The minute since 1970 and the hashtags of each post that says its time."""
    parser = Parser()
    with file.open("rb") as lines:
        for line in lines:
            post = parser.parse(line) if line.strip() else None
            if post and post.time:
                yield post.time // MINUTE, list(post.hashtags)
