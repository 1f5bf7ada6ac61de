"""What the stream and X's counts tell together is the truth, wherever the stream breaks."""

from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.sources.x.budget import ROUND_SECONDS
from app.sources.x.coverage import (
    FIRST_SPAN,
    HOLD_SECONDS,
    LATE_SECONDS,
    Coverage,
)
from app.sources.x.minutes import LONGEST_SPAN, MINUTE, REACH, SETTLE_SECONDS, minute_of

NOON = 1_795_478_400
DAY = 86_400


@dataclass
class X:
    """Posts as they were written and arrive; what is counted of them, and what is stored of that."""

    posts: list[tuple[int, int]]
    """When each was written, and how many seconds later it comes."""
    coverage: Coverage = field(default_factory=lambda: Coverage("", ["a"], True))
    counted: Counter[int] = field(default_factory=Counter)
    stored: tuple[str, Counter[int]] = ("", Counter())
    questions: int = 0

    def stand(self, begin: int, end: int, fills: bool, crash: bool) -> None:
        """A connection from begin to end. A crash forgets what was not stored half-way."""
        cursor, self.counted = self.stored[0], Counter(self.stored[1])
        self.coverage = Coverage(cursor, ["a"], True)
        self.coverage.connect(begin)
        half = (begin + end) // 2
        self.stream(begin, half)
        self.store()
        if fills and half >= self.coverage.due():
            self.fill(half)
        self.stream(half, end)
        if not crash:
            self.store()

    def stream(self, begin: int, end: int) -> None:
        for moment, written in sorted((at + late, at) for at, late in self.posts):
            if begin <= moment < end:
                self.coverage.advance(moment)
                if self.coverage.add("a", written):
                    self.counted[minute_of(written)] += 1
        self.coverage.advance(end)

    def fill(self, now: int) -> None:
        while hole := self.coverage.next_hole(now):
            self.questions += 1
            tag, begin, end = hole
            end = min(end, begin + LONGEST_SPAN)
            truth = [(at, at + MINUTE, self.truth(at)) for at in range(begin, end, MINUTE)]
            self.counted.update(self.coverage.fill(tag, truth, now))

    def truth(self, minute: int) -> int:
        return sum(minute_of(at) == minute for at, _ in self.posts)

    def store(self) -> None:
        self.stored = self.coverage.cursor(), Counter(self.counted)


connections = st.lists(
    st.tuples(st.integers(1, 400), st.integers(1, 1400), st.booleans(), st.booleans()), max_size=12
)


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(-7200, 7200), st.integers(0, 40)), max_size=60), connections)
def test_every_post_counts_once_and_in_its_minute(
    posts: list[tuple[int, int]], connections: list[tuple[int, int, bool, bool]]
) -> None:
    """However often the stream breaks, the process dies, and X does not answer."""
    x, now = X([(NOON + at, late) for at, late in posts]), NOON
    for pause, seconds, fills, crash in connections:
        now += pause
        x.stand(now, now + seconds, fills, crash)
        now += seconds
    end = now + 6 * ROUND_SECONDS
    x.stand(now + 1, end, fills=True, crash=False)
    assert x.coverage.next_hole(end) is None
    upto = minute_of(end) - 2 * MINUTE
    expected = Counter(minute_of(at) for at, _ in x.posts if minute_of(at) < upto)
    assert {at: n for at, n in x.counted.items() if n and at < upto} == dict(expected)


def test_a_stream_that_always_breaks_asks_once_in_five_minutes() -> None:
    """Each hole joins the one before: the bill has a bound."""
    x = X([])
    for n in range(40):
        x.stand(NOON + n * 250, NOON + n * 250 + 249, fills=True, crash=False)
    first_day = FIRST_SPAN // LONGEST_SPAN + 1
    assert first_day + 10 <= x.questions <= first_day + 40 * 250 / ROUND_SECONDS


def test_a_cursor_stays_small() -> None:
    """Of a stream that stands it has some minutes only; also while X's counts fail for a day."""
    x = X([(NOON + n, 7) for n in range(0, 7200, 10)])
    x.coverage.connect(NOON)
    x.stream(NOON, NOON + 7200)
    assert x.coverage.next_hole(NOON + 7200)
    assert len(x.coverage.of["a"].streamed) <= (HOLD_SECONDS + LATE_SECONDS) / MINUTE + 2
    x.fill(NOON + 7200)
    x.coverage.advance(NOON + 7201)
    assert len(x.coverage.of["a"].streamed) <= LATE_SECONDS / MINUTE + 1


def test_what_is_older_than_x_can_tell_is_given_up() -> None:
    """A stream that comes back after weeks asks about seven days, and so do old holes."""
    x = X([])
    x.stand(NOON, NOON + 100, fills=False, crash=False)
    later = NOON + 30 * DAY
    x.coverage = Coverage(x.stored[0], ["a"], True)
    x.coverage.connect(later)
    hole = x.coverage.next_hole(later)
    assert hole
    assert later - REACH < hole[1] <= later - REACH + 2 * MINUTE
    assert hole[2] == later
    assert x.coverage.next_hole(later + 30 * DAY) is None


def test_a_hashtag_that_was_not_tracked_for_a_while_counts_nothing_twice() -> None:
    """It stays in the cursor as long as X could tell of it; a new one begins a day before."""
    x = X([])
    x.stand(NOON, NOON + 300, fills=True, crash=False)
    without = Coverage(x.stored[0], ["b"], True)
    without.connect(NOON + 3600)
    assert without.next_hole(NOON + 3600) == ("b", NOON + 3600 - FIRST_SPAN, NOON + 3600)
    again = Coverage(without.cursor(), ["a"], True)
    again.connect(NOON + 7200)
    assert again.next_hole(NOON + 7200) == ("a", NOON + 240, NOON + 7200)
    gone = Coverage(without.cursor(), ["b"], True)
    gone.connect(NOON + 8 * DAY)
    assert '"a"' not in gone.cursor()


def test_what_was_filled_is_whole_since_its_earliest_hole() -> None:
    """Of whichever hashtag; before anything was filled nothing is said."""
    x = X([])
    x.stand(NOON, NOON + 300, fills=False, crash=False)
    x.coverage = Coverage(x.stored[0], ["a"], True)
    x.coverage.connect(NOON + 3600)
    assert x.coverage.filled_since is None
    x.fill(NOON + 3700)
    assert x.coverage.filled_since == NOON - FIRST_SPAN


def test_holes_are_asked_for_when_they_are_settled() -> None:
    """Not before X answers, and not again within five minutes."""
    coverage = Coverage("", ["a"], True)
    coverage.connect(NOON + 1)
    assert coverage.due() == NOON + MINUTE + SETTLE_SECONDS
    coverage.fill("a", [(NOON - FIRST_SPAN, NOON - FIRST_SPAN + MINUTE, 1)], NOON + 80)
    assert coverage.due() == NOON + 80 + ROUND_SECONDS


@pytest.mark.parametrize(
    "cursor", ["stream", "[]", "1", "{", '{"tags":{}}', '{"a":"x"}', '{"a":[1]}']
)
def test_after_a_cursor_that_tells_nothing_the_past_is_not_counted(cursor: str) -> None:
    """It may be counted already; from now on all is as ever."""
    coverage = Coverage(cursor, ["a"], True)
    coverage.connect(NOON + 1)
    assert coverage.next_hole(NOON + 1) is None
    assert coverage.add("a", NOON + MINUTE)
    assert Coverage(coverage.cursor(), ["a"], True).cursor() == coverage.cursor()


def test_the_cursor_of_counts_by_the_minute_is_understood() -> None:
    """Also its older form: what it says is counted, the rest is a hole."""
    coverage = Coverage('{"a":%d}' % (NOON - 600), ["a"], True)  # noqa: UP031
    coverage.connect(NOON)
    assert coverage.next_hole(NOON) == ("a", NOON - 600, NOON)


def test_without_backfill_nothing_from_before_the_start_is_counted() -> None:
    """As X_MODE=counts has it."""
    coverage = Coverage("", ["a"], False)
    coverage.open_holes(NOON + 70, NOON)
    assert coverage.next_hole(NOON + 70) is None
    coverage.open_holes(NOON + 140, NOON + 2 * MINUTE)
    assert coverage.next_hole(NOON + 140) == ("a", NOON + MINUTE, NOON + 2 * MINUTE)
