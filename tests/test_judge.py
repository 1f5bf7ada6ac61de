"""The judge of the soak sees what is wrong: a gap, a repeat, a wrong total, a needless or a torn
history, and ticks that do not lead on from the one before."""

from typing import Any

import pytest
from judge import Judge, Ledger, Visit
from servers import Event

from app.messages import SourceState, Tick


def tick(n: int, previous: int, at: int = 0, /, live: int = 1, **fields: Any) -> Tick:
    """The n-th tick, half a second after the one before; 0 is before the first."""
    return Tick(
        id=f"{n}-0",
        previous=f"{previous}-0" if previous else "",
        at=at or n * 500,
        seconds=0.5,
        sources={"x": SourceState("live", live, "", True, live)},
        **fields,
    )


def changed(n: int, previous: int, at: int = 0, /, **posts: tuple[int, int]) -> Tick:
    """Hashtag to (total, how much of that is new)."""
    return tick(
        n,
        previous,
        at,
        counts={tag: {"x": total} for tag, (total, _) in posts.items()},
        added={tag: {"x": new} for tag, (_, new) in posts.items()},
    )


def ledger_of(*ticks: Tick) -> Ledger:
    ledger = Ledger()
    ledger.add(ticks)
    return ledger


TICKS = [
    # 1 2 3 4 are one branch, in which 3 has no news of #a; Redis forgot 4 and went on with 5, 6
    changed(1, 0, a=(1, 1)),
    changed(2, 1, a=(2, 1)),
    changed(3, 2, b=(1, 1)),
    changed(4, 3, a=(4, 2)),
    tick(5, 3),
    changed(6, 5, a=(5, 3)),
    # late posts, some of which are of the time of tick 2
    tick(7, 6, counts={"a": {"x": 9}}, added={"a": {"x": 4}}, late={"a": {"x": [(0, 3)]}}),
    changed(8, 7, a=(10, 1)),
    # nobody ticked for nine seconds, and the source is new after them; then for nine more, in
    # which it was read
    tick(9, 8, 13_000, live=13_000),
    tick(10, 9, 22_000, live=13_000),
    tick(11, 10, 22_500, gone=["a"]),
    changed(12, 11, 23_000, a=(1, 1)),
]
LEDGER = ledger_of(*TICKS)
TOTALS = {1: 1, 2: 2, 3: 2, 4: 4, 5: 2, 6: 5, 7: 9, 8: 10, 9: 10, 10: 10, 11: 0, 12: 1}


def at(n: int) -> int:
    return LEDGER.ticks[f"{n}-0"].at if f"{n}-0" in LEDGER.ticks else 0


def counts(n: int, total: int | None = None, **more: Any) -> Event:
    shown = {"a": TOTALS.get(n, 0) if total is None else total}
    return Event("counts", f"{n}-0", {"at": at(n), "counts": shown, **more})


def history(n: int, *points: tuple[int, int], tag: str = "a") -> Event:
    """A past up to the n-th tick: each point as time in half seconds and total."""
    series = {tag: [[half * 500, total] for half, total in points]}
    return Event("history", f"{n}-0", {"at": at(n), "series": series})


TO_5 = history(5, (1, 1), (2, 2), (5, 2))
TO_6 = history(6, (1, 1), (2, 2), (6, 5))
GAP = {"gap": {"from": 4_000, "to": 13_000}}


def judged(*events: Event) -> Judge:
    return Judge(LEDGER, ["a"]).read(events)


@pytest.mark.parametrize(
    "events",
    [
        [counts(1), counts(2), counts(3), counts(5), counts(6)],
        [counts(2), counts(5)],
        [counts(2), counts(4), TO_5, counts(5), counts(6)],
        [counts(2), TO_5, counts(5)][1:],
        [counts(6), counts(6)],
        [counts(6), history(7, (1, 4), (2, 5), (6, 8), (7, 9)), counts(7), counts(8)],
        [counts(8), counts(9, **GAP), counts(10)],
        [counts(10), history(11, (1, 0), (45, 0)), counts(11), counts(12)],
        [counts(10), history(12, (1, 0), (46, 1)), counts(12)],
    ],
)
def test_what_is_right(events: list[Event]) -> None:
    """A tick without news left out, a history after what Redis forgot, a heartbeat, late posts,
    a pause, a hashtag that was forgotten."""
    assert not judged(*events).wrong


@pytest.mark.parametrize(
    ("events", "what"),
    [
        ([counts(1), counts(3)], "leaves out 2-0"),
        ([counts(1), counts(2), counts(1)], "does not follow"),
        ([counts(2), counts(4), counts(5)], "does not follow"),
        ([counts(8), counts(10)], "leaves out 9-0"),
        ([counts(2), TO_5, counts(5)], "though the log has"),
        ([counts(5), TO_6, counts(6)], "though the log has"),
        ([counts(4), history(5, (2, 2), (5, 2)), counts(5)], "begins 500 ms late"),
        ([counts(4), history(5, (1, 1), (5, 2)), counts(5)], "has [[500, 1], [2500, 2]] for a"),
        ([counts(4), history(5, (1, 1), (2, 2)), counts(5)], "has [[500, 1], [1000, 2]] for a"),
        ([counts(4), history(5, (1, 1), (2, 2), (3, 2), (5, 2)), counts(5)], "[1500, 2]"),
        ([counts(4), history(5), counts(5)], "has 0 points of a"),
        ([counts(4), history(5, (1, 1), (2, 2), (5, 2), tag="b"), counts(5)], "is of ['b']"),
        ([counts(6), history(7, (1, 1), (2, 5), (6, 4), (7, 9)), counts(7)], "falls for a"),
        ([counts(6), history(7, (1, 1), (2, 5), (6, 8), (7, 8)), counts(7)], "ends with [3500, 8]"),
        ([counts(6), history(7, (1, 0), (2, 5), (6, 8), (7, 9)), counts(7)], "too little at 500"),
        ([counts(10), history(11, (1, 1), (45, 0)), counts(11)], "has [[500, 1], [22500, 0]]"),
        ([Event("counts", "99-0", {"counts": {"a": 1}})], "no tick that ever was"),
        ([Event("counts", "1-0", {"at": 501, "counts": {"a": 1}})], "is dated 501, and not 500"),
        ([counts(1, 7)], "has {'a': 7}"),
        ([counts(5, 1)], "has {'a': 1}"),
        ([counts(8), counts(9)], "tells of no gap after 9000 ms"),
        ([counts(5), counts(6, **GAP)], "a gap that was none"),
    ],
)
def test_what_is_wrong(events: list[Event], what: str) -> None:
    """Each is named."""
    wrong = judged(*events).wrong
    assert any(what in each for each in wrong), wrong
    assert len(wrong) == 1 or "history" in wrong[0]


def visited(*visits: Visit) -> Judge:
    return Judge(LEDGER).visits(visits)


B = history(3, (1, 0), (3, 1), tag="b")
BOTH = Event("counts", "5-0", {"at": 2_500, "counts": {"a": 2, "b": 1}})


@pytest.mark.parametrize(
    "visit",
    [
        Visit(["a", "b"], ["b"], "3-0", events=[B, BOTH]),
        Visit(["b"], ["b"], "3-0", events=[B]),
        Visit(["a", "b"], [], "3-0", events=[BOTH]),
        Visit(["a"], history=900, events=[TO_6, counts(6)]),
        Visit(["a"], ["a"], "4-0", events=[TO_5, counts(5)]),
        Visit(["a"], events=[counts(6)]),
        Visit(["b"], [], "3-0", events=[B]),
        Visit(["a"], history=1, events=[history(8, (6, 8), (7, 9), (8, 10))]),
    ],
)
def test_what_is_right_for_one_that_comes_again(visit: Visit) -> None:
    """With other hashtags than before, whose past it asks for, or with nothing at all."""
    assert not visited(Visit(["a"], events=[counts(3)]), visit).wrong


@pytest.mark.parametrize(
    ("visit", "what"),
    [
        (Visit(["a", "b"], ["b"], "3-0", events=[BOTH]), "came before the past of ['b']"),
        (Visit(["a", "b"], [], "3-0", events=[B, BOTH]), "is of ['b'], not of ['a', 'b']"),
        (Visit(["a", "b"], ["b"], "3-0", events=[B, B, BOTH]), "though the log has"),
        (Visit(["a", "b"], ["b"], "2-0", events=[B, BOTH]), "though the log has"),
        (Visit(["a"], history=900, events=[counts(6)]), "came before the past of ['a']"),
        (Visit(["b"], [], "2-0", events=[history(6, (1, 0), (3, 1), (6, 1), tag="b")]), "though"),
        (Visit(["a"], history=1, events=[TO_6]), "begins -1500 ms late"),
    ],
)
def test_what_is_wrong_for_one_that_comes_again(visit: Visit, what: str) -> None:
    wrong = visited(Visit(["a"], events=[counts(3)]), visit).wrong
    assert any(what in each for each in wrong), wrong


def test_repeats_of_the_newest_tick_are_counted() -> None:
    """So that the soak can bound them; the one right after a history is no repeat."""
    judge = judged(counts(4), TO_5, counts(5), counts(5), counts(5))
    assert (judge.heartbeats, judge.histories) == (2, 1)


@pytest.mark.parametrize(
    ("ticks", "what"),
    [
        (TICKS, ""),
        ([*TICKS[:2], changed(3, 2, a=(4, 1))], "tick 3-0 has {'x': 4} of a, not {'x': 3}"),
        ([*TICKS[:4], changed(5, 3, a=(5, 1))], "tick 5-0 has {'x': 5} of a, not {'x': 3}"),
        ([*TICKS[:2], tick(3, 2, 900)], "tick 3-0 is dated 100 ms before the last"),
    ],
)
def test_ticks_that_do_not_lead_on_are_seen(ticks: list[Tick], what: str) -> None:
    """Totals that are not those before and what was added, also after a branch; and dates."""
    assert (ledger_of(*ticks).wrong() or [""]) == [what]
