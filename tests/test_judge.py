"""The judge of the soak sees what is wrong: a gap, a repeat, a needless or a torn history."""

from typing import Any

import pytest
from judge import Judge, Ledger
from servers import Event
from test_feed import tick as any_tick

from app.messages import Tick


def tick(n: int, previous: int, posts: int, other: int = 0) -> Tick:
    """The n-th tick; 0 is before the first."""
    return any_tick(n, previous, a=posts, b=other)


LEDGER = Ledger()
# 1 2 3 4 are one branch, in which 3 has no news of #a; Redis forgot 4 and went on with 5 and 6
LEDGER.add(
    [tick(1, 0, 1), tick(2, 1, 2), tick(3, 2, 2, 1), tick(4, 3, 4), tick(5, 3, 4), tick(6, 5, 5)]
)


def counts(n: int) -> Event:
    return Event("counts", f"{n}-0", {"counts": {"a": LEDGER.ticks[f"{n}-0"].counts["a"]}})


def history(*numbers: int) -> Event:
    points: list[Any] = [[n * 500, LEDGER.ticks[f"{n}-0"].counts["a"]] for n in numbers]
    return Event("history", f"{numbers[-1]}-0", {"series": {"a": points}})


def judged(*events: Event) -> Judge:
    return Judge(LEDGER, ["a"]).read(events)


@pytest.mark.parametrize(
    "events",
    [
        [counts(1), counts(2), counts(3), counts(5), counts(6)],
        [counts(2), counts(5)],
        [counts(2), counts(4), history(1, 2, 3, 5), counts(5), counts(6)],
        [counts(6), counts(6)],
    ],
)
def test_what_is_right(events: list[Event]) -> None:
    """A tick without news left out, a history after what Redis forgot, a heartbeat."""
    assert not judged(*events).wrong


@pytest.mark.parametrize(
    ("events", "what"),
    [
        ([counts(1), counts(3)], "leaves out 2-0"),
        ([counts(1), counts(2), counts(1)], "does not follow"),
        ([counts(2), counts(4), counts(5)], "does not follow"),
        ([counts(5), history(1, 2, 3, 5, 6), counts(6)], "though the log has"),
        ([counts(4), history(2, 3, 5), counts(5)], "has 3 of 4 ticks"),
        ([Event("counts", "9-0", {"counts": {"a": 1}})], "no tick that ever was"),
        ([Event("counts", "1-0", {"counts": {"a": 7}})], "has {'a': 7}"),
    ],
)
def test_what_is_wrong(events: list[Event], what: str) -> None:
    """Each is named once."""
    [wrong] = judged(*events).wrong
    assert what in wrong


def test_repeats_of_the_newest_tick_are_counted() -> None:
    """So that the soak can bound them; the one right after a history is no repeat."""
    judge = judged(counts(4), history(1, 2, 3, 5), counts(5), counts(5), counts(5))
    assert (judge.heartbeats, judge.histories) == (2, 1)
