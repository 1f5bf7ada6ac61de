"""How unlikely a count is: against sums of as many digits as it takes, and what must hold for any count."""

import math
from decimal import localcontext
from math import inf

import pytest
from exact import digits, exact
from hypothesis import given
from hypothesis import strategies as some

from app.unusual import BAND, FLOOR, MOST_STEPS, band, fraction, log_tail, tail, usual

ALARM = 1e-4
means = some.floats(0, 1e9)
counts = some.integers(0, 10**9)


@pytest.mark.parametrize("mean", [0.05, 0.1, 0.7, 1.5, 1.6, 3, 7.3, 23.9, 24, 100, 1000.5])
@pytest.mark.parametrize("count", [0, 1, 2, 5, 19, 50, 295])
def test_the_tail_is_that_of_an_exact_sum(count: int, mean: float) -> None:
    """Also where it is far less than a float's last digit of 1, and than any float."""
    with localcontext(prec=digits(count)):
        assert log_tail(count, mean) == pytest.approx(float(exact(count, mean).ln()), rel=1e-12)


def test_the_smallest_tails_are_right_too() -> None:
    """What is left is no rounding error of a sum."""
    assert tail(700, 200) == pytest.approx(float(exact(700, 200)), rel=1e-12)
    assert tail(250, 3) == pytest.approx(float(exact(250, 3)), rel=1e-10, abs=0)
    assert 0 < tail(250, 3) < 1e-29
    assert -inf < log_tail(10**9, 0) < -2e9
    assert tail(10**9, 0) == 0


@pytest.mark.parametrize(
    ("mean", "threshold"), [(0.1, 5), (1, 19), (10, 50), (100, 295), (1000, 2879)]
)
def test_from_which_count_on_it_is_an_alarm(mean: float, threshold: int) -> None:
    """One in ten thousand."""
    assert tail(threshold, mean) <= ALARM < tail(threshold - 1, mean)


@given(counts, means)
def test_more_posts_are_less_likely(count: int, mean: float) -> None:
    """And more likely where more are usual; never more than certain."""
    here = log_tail(count, mean)
    assert -inf < log_tail(count + 1, mean) <= here + 1e-12 * max(1, -here)
    assert here <= 0
    assert log_tail(count, mean * 1.01 + 0.001) >= here - 1e-12 * max(1, -here)


@pytest.mark.parametrize("count", [1, 2, 10, 30, 1000, 10**9])
def test_nothing_jumps_where_the_shape_begins_to_be_held(count: int) -> None:
    """There another sum begins."""
    for mean in (FLOOR, 1.5, 24):
        assert log_tail(count, mean * (1 - 1e-12)) == pytest.approx(log_tail(count, mean), rel=1e-9)


def test_no_count_is_certain() -> None:
    """And one post of a hashtag that nobody ever used is nothing."""
    assert tail(0, 0) == tail(-1, 5) == 1
    assert tail(1, 0) == tail(1, FLOOR) > 0.01
    assert tail(4, 0) < ALARM < tail(3, 0)


@given(some.floats(0.05, 24, exclude_max=True), counts.filter(bool))
def test_the_fraction_ends_early(mean: float, count: int) -> None:
    """Whatever strangers count: half of the steps that it may take are enough."""
    shape = min(max(mean / 3, 0.5), 8)
    success = mean / (mean + shape)
    steps = [0]

    class Counted(float):
        def __rmul__(self, other: float) -> float:
            steps[0] += 1
            return other * float(self)

    if success < (count + 1) / (count + shape + 2):
        fraction(count, shape, Counted(success))
        assert 0 < steps[0] <= MOST_STEPS  # two a step


@pytest.mark.parametrize("mean", [0, 0.05, 0.4, 1, 3, 10, 23.9, 24, 100, 5000, 10**9])
def test_a_band_is_where_most_counts_are(mean: float) -> None:
    """Each of the three is the least count that its part does not exceed."""
    for part, count in zip(BAND, band(mean), strict=True):
        assert tail(count + 1, mean) <= 1 - part + 1e-12
        assert count == 0 or tail(count, mean) > 1 - part


@given(means, means)
def test_a_band_rises_with_what_is_usual(one: float, two: float) -> None:
    """And is never upside down."""
    lower, higher = sorted((one, two))
    assert all(a <= b for a, b in zip(band(lower), band(higher), strict=True))
    low, middle, high = band(one)
    assert 0 <= low <= middle <= high


def test_a_band_follows_the_mean() -> None:
    """Of three digits of it."""
    assert band(0) == (0, 0, 0)
    assert band(1) == (0, 0, 4)
    assert band(100) == band(100.2) == (48, 96, 167)


def test_what_is_usual_is_the_median_of_weeks() -> None:
    """One burst is not what is usual; without weeks it is the last 48 hours; without those too,
    nobody knows."""
    assert usual([10, 12, 900, 11], 0, 0) == 11.5
    assert usual([7], 99, 2880) == 7
    assert usual([0, 0, 0, 300], 0, 0) == 0
    assert usual([], 480, 2880) == 10
    assert usual([], 5, 30) == 10
    assert usual([], 5, 29) is None


def test_a_weekday_hashtag_is_usual_on_its_day() -> None:
    """It had as many posts on the last four of these days; on another day it is unusual."""
    its_day, another = usual([600, 540, 660, 610], 3, 2880), usual([2, 0, 1, 3], 3, 2880)
    assert its_day and another
    assert tail(160, its_day / 6) > 0.05
    assert tail(160, another / 6) < 1e-30


def test_the_logarithm_is_that_of_the_tail() -> None:
    assert tail(50, 10) == pytest.approx(math.exp(log_tail(50, 10)))
