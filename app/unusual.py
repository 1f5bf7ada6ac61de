"""How unlikely a count of posts is, given what is usual at that time; pure.

A count is taken for a draw of a negative binomial distribution: counts of posts vary more than a
Poisson distribution allows, as people answer each other. Its mean is what was counted in the same
hour of the same weekday, its shape r follows from the mean, and its variance is mean + mean²/r.
`bench/unusual.py` measures how often it is wrong.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

LEAST_SHAPE, MOST_SHAPE = 0.5, 8
MEAN_PER_SHAPE = 3
"""The shape is a third of the mean, held between the two. While it is not held, a bin's variance is
four times its mean; a hashtag of many posts may still double by chance."""
FLOOR = 0.05
"""Posts in a bin, at the least: a hashtag that was never used may be used."""
BAND = (0.05, 0.5, 0.95)
"""The parts of all counts that do not exceed the band's low end, its middle, and its high end."""
WEEKS = 4
"""Weeks before, at most, that are looked at."""
LEAST_MINUTES = 30
"""Of the last 48 hours; of a source that was counted for less, nobody knows what is usual."""
MOST_STEPS = 60
"""Of the continued fraction: below a mean of 24 it takes 20 at most, whatever the count."""


def usual(weeks: Sequence[float], posts: float, minutes: int) -> float | None:
    """How many posts an hour a source usually has of a hashtag; None where nobody can say.

    weeks: posts in the same hour of the same weekday, of each of the last four weeks that was
    counted: of these the median, so that one burst does not become the rule. Where there are
    none: posts in so many minutes that were counted in the last 48 hours.
    """
    if weeks:
        return median(weeks)
    return posts * 60 / minutes if minutes >= LEAST_MINUTES else None


def median(values: Sequence[float]) -> float:
    """Python's own is in a module that takes longer to load than any of ours."""
    ordered, middle = sorted(values), len(values) // 2
    return (ordered[middle] + ordered[-1 - middle]) / 2


def tail(count: int, mean: float) -> float:
    """How likely so many posts, or more, are in a bin that usually has `mean`; from 0 to 1."""
    return math.exp(log_tail(count, mean))


def log_tail(count: int, mean: float) -> float:
    """The natural logarithm of the tail, which itself may be less than a float can be.

    Right to twelve digits (test_unusual.py has the exact sums), and quick for any count and any
    mean: from a mean of 24 on the shape is 8, and the tail is a sum of 8 terms; below, a fraction
    of a few steps.
    """
    if count <= 0:
        return 0.0
    mean = max(mean, FLOOR)
    shape = shape_of(mean)
    summed = tail_of_whole if shape == MOST_SHAPE else tail_of_any
    return min(0.0, summed(count, mean, shape))


def shape_of(mean: float) -> float:
    return min(max(mean / MEAN_PER_SHAPE, LEAST_SHAPE), MOST_SHAPE)


def tail_of_whole(count: int, mean: float, shape: float) -> float:
    """The logarithm for a shape that is a whole number r: of the first count + r - 1 trials fewer
    than r failed, where one fails with probability r/(mean + r).

    https://en.wikipedia.org/wiki/Negative_binomial_distribution, "relation to the binomial".
    """
    trials, odds = count + shape - 1, shape / mean
    term = total = 1.0
    for failed in range(1, int(shape)):
        term *= (trials - failed + 1) / failed * odds
        total += term
    return math.log(total) - trials * math.log1p(odds)


def tail_of_any(count: int, mean: float, shape: float) -> float:
    """The logarithm for any shape: an incomplete beta function, or what is left of the other one
    where that has the faster fraction.

    https://dlmf.nist.gov/8.17, (8.17.22).
    """
    success = mean / (mean + shape)
    scale = math.lgamma(count + shape) - math.lgamma(shape) - math.lgamma(count)
    scale += count * math.log(success) + shape * math.log1p(-success)
    if success < (count + 1) / (count + shape + 2):
        return scale + math.log(fraction(count, shape, success) / count)
    return math.log1p(-math.exp(scale) * fraction(shape, count, 1 - success) / shape)


def fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function I_x(a, b), by Lentz's method."""
    above, below = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    value = below
    for step in range(1, MOST_STEPS):
        even = a + 2 * step
        part = step * (b - step) * x / ((even - 1) * even)
        above, below = 1 + part / above, 1 / (1 + part * below)
        value *= above * below
        part = -(a + step) * (a + b + step) * x / (even * (even + 1))
        above, below = 1 + part / above, 1 / (1 + part * below)
        value *= above * below
        if abs(above * below - 1) < 1e-16:
            break
    return value


def band(mean: float) -> tuple[int, int, int]:
    """Between which counts a bin usually is that has `mean`, and its median: low, median, high.

    Of the mean three digits count; nobody sees more of a band.
    """
    return rounded_band(float(f"{max(mean, FLOOR):.3g}"))


@lru_cache(4096)
def rounded_band(mean: float) -> tuple[int, int, int]:
    find = searched if mean >= MEAN_PER_SHAPE * MOST_SHAPE else walked
    low, middle, high = find(mean)
    return low, middle, high


def walked(mean: float) -> list[int]:
    """For a mean of a few posts: from no post on, until each part of all counts is passed."""
    shape = shape_of(mean)
    success = mean / (mean + shape)
    passed = here = (1 - success) ** shape
    count, found = 0, []
    for part in BAND:
        while passed < part:
            here *= success * (count + shape) / (count + 1)
            passed += here
            count += 1
        found.append(count)
    return found


def searched(mean: float) -> list[int]:
    """For any other: the least count that each part does not exceed, by halves. None is twice the
    mean: of a shape of 8, no more than 2.1 % of all counts exceed that."""
    found = []
    for part in BAND:
        limit, below, least = math.log1p(-part), -1, math.ceil(2 * mean)
        while least - below > 1:
            middle = (below + least) // 2
            if log_tail(middle + 1, mean) > limit:
                below = middle
            else:
                least = middle
        found.append(least)
    return found
