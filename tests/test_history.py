"""Totals of the past as a page asks for them: points, steps, and what explains a gap."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from app.messages import HOUR, MINUTE, SourceState
from app.store.past import HashtagPast, Running
from app.store.source_log import SourceLog
from app.store.spans import Spans
from app.web.history import (
    MOST_POINTS,
    RANGES,
    Grid,
    GridLine,
    as_csv,
    long_answer,
    short_answer,
)

NOW = 494_000 * HOUR + 20 * MINUTE
AGO = NOW - HOUR
LIVE = SourceState("live", since=1, complete=True)
BUDGET = SourceState("budget", since=1, reason="budget reached")
DOWN = SourceState("down", since=1, reason="no answer")


def running(*counted: tuple[int, int], before: int = 0, **changes: int) -> Running:
    """Counted in these minutes of the last hour; m5=7 says that the total was 7 at its end."""
    spans = [(AGO + begin * MINUTE, AGO + end * MINUTE) for begin, end in counted]
    times = [(AGO + int(name[1:]) * MINUTE, total) for name, total in changes.items()]
    return Running(before, times, spans)


def told(
    *pasts: HashtagPast,
    seen: SourceLog | None = None,
    by_source: bool = False,
    **newest: SourceState,
) -> dict[str, Any]:
    """The answer about the last hour, of the hashtags x, y ..."""
    newest = newest or {"a": LIVE}
    seen = [(AGO - HOUR, dict.fromkeys(newest, LIVE))] if seen is None else seen
    named = dict(zip("xyz", pasts, strict=False))
    return asyncio.run(long_answer(Grid.of("1h", NOW), named, seen, newest, by_source))


def one(running: Running, name: str = "a") -> HashtagPast:
    return HashtagPast({name: running}, [])


def minutes(answer: Mapping[str, Any], kind: str) -> Spans:
    """The gaps of this kind, in minutes of the last hour."""
    return [
        ((gap["from"] - AGO) // MINUTE, (gap["to"] - AGO) // MINUTE)
        for gap in answer["gaps"]
        if gap.get("kind", "partly") == kind
    ]


def test_a_range_has_at_most_600_points() -> None:
    """Whatever its length, in whole slots."""
    steps = {span: Grid.of(span, NOW).step for span in RANGES}
    assert steps == {"15m": 1500, "1h": 60_000, "24h": 180_000, "7d": 1_020_000, "30d": 7_200_000}
    for span, (seconds, _) in RANGES.items():
        assert seconds * 1000 / steps[span] <= MOST_POINTS


@given(some.sampled_from(sorted(RANGES)), some.integers(0, 2 * 10**12))
def test_the_last_step_has_the_present_moment_in_it(span: str, now: int) -> None:
    """And the first one is as long ago as the range is long."""
    grid = Grid.of(span, now)
    assert grid.end - grid.step < now <= grid.end
    assert grid.begin <= now - RANGES[span][0] * 1000 + grid.step
    assert len(grid.steps) <= MOST_POINTS


def test_a_step_shows_its_last_total() -> None:
    """At the step's end; one with nothing counted is null, and the last is of now."""
    grid = Grid("1h", 0, 4000, 1000, 3300)
    past = one(Running(1, [(400, 2), (999, 3), (2500, 9)], [(0, 1000), (2100, 4000)]))
    assert GridLine(grid, past).points() == [(1000, 3), (2000, None), (3000, 9), (3300, 9)]


def test_silence_goes_on_flat_and_what_was_not_counted_is_null() -> None:
    """A total without a post stays as it is."""
    line = told(one(running((0, 30), (40, 60), before=5, m10=7)))["series"]["x"]
    assert [total for _, total in line] == [5] * 10 + [7] * 20 + [None] * 10 + [7] * 20


def test_the_totals_of_sources_add_up() -> None:
    """And by source each has its own, null where that source was not counted."""
    past = HashtagPast(
        {"a": running((0, 60), before=5, m10=7), "b": running((30, 60), m40=100)}, []
    )
    both = told(past, a=LIVE, b=LIVE)["series"]["x"]
    assert [both[n][1] for n in (9, 10, 39, 40, 59)] == [5, 7, 7, 107, 107]
    parts = told(past, a=LIVE, b=LIVE, by_source=True)["series"]["x"]
    assert [parts["b"][n][1] for n in (29, 30, 40)] == [None, 0, 100]
    assert [parts["a"][n][1] for n in (0, 10, 59)] == [5, 7, 7]


def test_what_comes_by_a_clock_ahead_is_in_the_last_point() -> None:
    """The newest point is the present total, whatever the web process's own clock says."""
    line = told(one(running((0, 60), m61=8)))["series"]["x"]
    assert line[-1] == (NOW, 8)
    assert line[-2][1] == 0


def test_a_hashtag_that_is_counted_later_makes_no_gap() -> None:
    """Nothing was counted only where no hashtag was."""
    later, sooner = one(running((30, 60))), one(running((10, 60)))
    answer = told(later, sooner, seen=[])
    assert minutes(answer, "start") == [(0, 10)]
    assert [gap["reason"] for gap in answer["gaps"]] == ["not counted yet"]
    assert answer["series"]["x"][20][1] is None
    assert answer["series"]["y"][20][1] == 0


@pytest.mark.parametrize("span", ["1h", "24h", "7d"])
def test_when_counting_began_is_one_moment_in_every_range(span: str) -> None:
    """However long its steps are."""
    past = one(running((10, 60)))
    made = long_answer(Grid.of(span, NOW), {"x": past}, [], {"a": LIVE}, False)
    [gap] = asyncio.run(made)["gaps"]
    assert (gap["kind"], gap["to"]) == ("start", AGO + 10 * MINUTE)


def test_time_without_an_ingester_is_said_to_be_so() -> None:
    """A stretch of null between totals is the ingester's; before the first, nothing counted;
    the step that has just begun is neither."""
    answer = told(one(running((10, 20), (30, 59))), seen=[])
    assert [gap["kind"] for gap in answer["gaps"]] == ["start", "ingester"]
    assert answer["gaps"][1] == {
        "from": AGO + 20 * MINUTE,
        "to": AGO + 30 * MINUTE,
        "reason": "ingester was down",
        "kind": "ingester",
        "all": True,
    }
    assert answer["series"]["x"][-1][1] is None


@pytest.mark.parametrize("before", [0, 7])
def test_who_counted_before_the_range_was_down_in_its_beginning(before: int) -> None:
    """By the total, or by what the source was said to do, it is no new hashtag."""
    seen = [(AGO - HOUR, {"a": LIVE})] if not before else []
    answer = told(one(running((10, 60), before=before)), seen=seen)
    assert minutes(answer, "ingester") == [(0, 10)]
    assert minutes(answer, "start") == []


def test_time_before_the_range_touches_none_of_its_steps() -> None:
    """The hour in which a range begins has minutes before it, with pauses between them; and time
    after it is no part of it either."""
    grid = Grid.of("1h", NOW)
    outside = [(AGO - 9 * MINUTE, AGO - 5 * MINUTE), (NOW + MINUTE, NOW + 5 * MINUTE)]
    assert grid.touched(outside) == 0
    assert grid.touched([outside[0], (AGO - 3 * MINUTE, AGO + 1)]) == 1


def test_a_gap_up_to_now_ends_now() -> None:
    """Not where its last step will end."""
    grid = Grid.of("24h", NOW + 30_000)
    answer = asyncio.run(long_answer(grid, {"x": one(running(before=4))}, [], {"a": LIVE}, False))
    assert [gap["to"] for gap in answer["gaps"]] == [NOW + 30_000]


def test_time_without_a_source_is_null_and_says_why() -> None:
    """Flat totals while the only source was out of budget are no zeros: they are a gap."""
    seen = [(AGO - HOUR, {"a": LIVE}), (AGO + 20 * MINUTE + 300, {"a": BUDGET})]
    answer = told(one(running((0, 20), before=3)), seen=seen, a=BUDGET)
    [gap] = answer["gaps"]
    assert gap == {
        "from": AGO + 20 * MINUTE + 300,
        "to": NOW,
        "reason": "a: budget reached",
        "kind": "sources",
        "sources": {"a": {"state": "budget", "reason": "budget reached"}},
        "all": True,
    }
    assert [total for _, total in answer["series"]["x"]] == [3] * 20 + [None] * 40


def test_a_gap_of_one_source_is_not_all() -> None:
    """The other went on, and its totals are the line."""
    seen = [(AGO - HOUR, {"a": LIVE, "b": DOWN}), (AGO + 20 * MINUTE, {"a": LIVE, "b": LIVE})]
    past = HashtagPast({"a": running((0, 60), before=3), "b": running((20, 60))}, [])
    answer = told(past, seen=seen, a=LIVE, b=LIVE)
    [gap] = answer["gaps"]
    assert (gap["all"], list(gap["sources"]), gap["to"]) == (False, ["b"], AGO + 20 * MINUTE)
    assert all(total == 3 for _, total in answer["series"]["x"])


def test_a_source_that_was_not_asked_has_no_gap() -> None:
    """X is out of budget, and was never asked for this one."""
    seen = [(AGO - HOUR, {"a": LIVE, "x": BUDGET})]
    assert told(one(running((0, 60))), seen=seen, a=LIVE, x=BUDGET)["gaps"] == []


@pytest.mark.parametrize("states", [["polling"], ["connecting", "live"], ["down", "polling"]])
def test_a_source_that_works_or_is_soon_back_has_no_gap(states: list[str]) -> None:
    """Polling is work, and a pause of less than five seconds cannot be seen."""
    changes = [(AGO + n * 4000, {"a": SourceState(state)}) for n, state in enumerate(states)]
    seen = [(AGO - HOUR, {"a": LIVE}), *changes]
    newest = SourceState(states[-1])
    assert told(one(running((0, 60))), seen=seen, a=newest)["gaps"] == []


@pytest.mark.parametrize(
    ("unbroken", "gap"), [(0, (10, 20)), (15, (10, 15)), (10, None), (5, None)]
)
def test_a_gap_that_a_source_went_back_to_is_none_any_more(
    unbroken: int, gap: tuple[int, int] | None
) -> None:
    """As far as nothing is missing by now."""
    since = AGO + unbroken * MINUTE if unbroken else 0
    seen = [
        (AGO - HOUR, {"a": LIVE}),
        (AGO + 10 * MINUTE, {"a": DOWN}),
        (AGO + 20 * MINUTE, {"a": SourceState("live", complete=True, unbroken_since=since)}),
    ]
    counted = [(0, 10), (unbroken or 20, 60)] if gap else [(0, 60)]
    answer = told(one(running(*counted)), seen=seen, a=seen[-1][1]["a"])
    assert minutes(answer, "sources") == ([gap] if gap else [])
    assert minutes(answer, "ingester") == []


def test_an_outage_and_a_pause_of_the_ingester_share_the_time() -> None:
    """Each explains what it can; moments at their seam are nobody's."""
    seen = [
        (AGO - HOUR, {"a": LIVE}),
        (AGO + 10 * MINUTE + 300, {"a": DOWN}),
        (AGO + 20 * MINUTE, {"a": LIVE}),
    ]
    answer = told(one(running((0, 10), (40, 60))), seen=seen)
    assert minutes(answer, "sources") == [(10, 20)]
    assert minutes(answer, "ingester") == [(20, 40)]


def test_time_that_one_source_alone_fills_is_said_to_be_so() -> None:
    """The ingester was down, and what the others had then nobody knows; a single source has
    no others, and one that did not work, or did not run yet, is another matter."""
    past = HashtagPast({"a": running((0, 60)), "b": running((0, 20), (30, 60))}, [])
    answer = told(past, a=LIVE, b=LIVE)
    assert answer["gaps"] == [
        {
            "from": AGO + 20 * MINUTE,
            "to": AGO + 30 * MINUTE,
            "reason": "only a was counted",
            "all": False,
        }
    ]
    down = [
        (AGO - HOUR, {"a": LIVE}),
        (AGO + 20 * MINUTE, {"a": LIVE, "b": DOWN}),
        (AGO + 30 * MINUTE, {"a": LIVE, "b": LIVE}),
    ]
    assert minutes(told(past, seen=down, a=LIVE, b=LIVE), "partly") == []
    assert minutes(told(one(running((0, 60)))), "partly") == []
    begun = HashtagPast({"a": running((0, 60)), "b": running((0, 59))}, [])
    assert minutes(told(begun, a=LIVE, b=LIVE), "partly") == []


def test_what_is_not_kept_is_a_gap_of_its_own() -> None:
    """Never zeros; with the hashtags where it is not so for all, and a sentence."""
    lost = [(AGO, AGO + 20 * MINUTE)]
    half = HashtagPast({"a": running((20, 60), before=9)}, lost)
    whole = one(running((0, 60)))
    reason = "a hashtag that is not tracked is kept for 48 hours"
    kept = {"from": AGO, "to": AGO + 20 * MINUTE, "reason": reason, "kind": "kept", "all": True}
    assert told(half)["gaps"] == told(half, half)["gaps"] == [kept]
    assert told(whole, half)["gaps"] == [kept | {"tags": ["y"]}]
    assert told(half)["series"]["x"][19][1] is None
    assert told(half)["series"]["x"][20][1] == 9


@given(
    some.dictionaries(some.integers(0, 58), some.integers(1, 99)),
    some.sampled_from(["1h", "24h", "7d", "30d"]),
)
def test_the_points_sum_up_to_the_posts(posts: dict[int, int], span: str) -> None:
    """In every range: the last less the first is what came between."""
    grid, total, changes = Grid.of(span, NOW), 1000, []
    for minute, n in sorted(posts.items()):
        total += n
        changes.append((AGO + (minute + 1) * MINUTE, total))
    past = one(Running(1000, changes, [(grid.begin, grid.end)]))
    told = asyncio.run(long_answer(grid, {"x": past}, [], {"a": LIVE}, False))
    line = told["series"]["x"]
    assert line[-1][1] - line[0][1] == sum(
        n for minute, n in posts.items() if AGO + (minute + 1) * MINUTE >= grid.begin + grid.step
    )
    assert line[-1] == (NOW, 1000 + sum(posts.values()))


def short(points: Mapping[str, Any], gaps: Sequence[Any] = (), newest: int = NOW) -> Any:
    return asyncio.run(short_answer(Grid.of("15m", NOW), points, gaps, newest, 0.5, False))


def test_the_last_15_minutes_come_from_the_feed() -> None:
    """From where its log begins, flat until the total changes, null in a gap of all."""
    begin = NOW - 600_000
    gap = {"from": begin + 60_000, "to": begin + 120_000, "all": True, "kind": "ingester"}
    partly = {"from": begin + 300_000, "to": begin + 400_000, "all": False, "kind": "sources"}
    answer = short({"x": [(begin, {"a": 5}), (begin + 30_000, {"a": 5, "b": 2})]}, [gap, partly])
    line = {at - begin: total for at, total in answer["series"]["x"]}
    assert [line[at] for at in (-1500, 1500, 28_500, 30_000, 31_500)] == [None, 5, 5, 5, 7]
    assert [line[at] for at in (60_000, 61_500, 120_000, 121_500, 600_000)] == [7, None, None, 7, 7]
    assert [each["kind"] for each in answer["gaps"]] == ["start", "ingester", "sources"]
    assert (answer["gaps"][0]["from"], answer["gaps"][0]["to"]) == (NOW - 900_000, begin)


def test_the_last_15_minutes_by_source() -> None:
    """Each from 0 where it had none yet."""
    points = {"x": [(NOW - 900_000, {"a": 5}), (NOW - 30_000, {"a": 5, "b": 2})]}
    answer = asyncio.run(short_answer(Grid.of("15m", NOW), points, [], NOW, 0.5, True))
    line = answer["series"]["x"]
    assert [line["a"][n][1] for n in (0, -1)] == [5, 5]
    assert [line["b"][n][1] for n in (0, -1)] == [0, 2]
    assert answer["gaps"] == []


def test_an_ingester_that_is_gone_leaves_null_up_to_now() -> None:
    """What is not told is not known, however flat the line was."""
    answer = short({"x": [(NOW - 900_000, {"a": 5})]}, newest=NOW - 60_000)
    assert [gap["kind"] for gap in answer["gaps"]] == ["ingester"]
    assert [total for _, total in answer["series"]["x"]][-41:] == [5] + [None] * 40


def table(answer: Mapping[str, Any]) -> str:
    return asyncio.run(as_csv(dict(answer))).decode()


def test_a_table_for_a_spreadsheet() -> None:
    """A row a time, empty where there is no total; a column for each hashtag and source."""
    past, none = one(running((0, 20), (30, 60), before=3)), HashtagPast({}, [])
    rows = table(told(past, none)).split("\r\n")
    assert rows[0] == "time,x,y"
    assert rows[1] == f"{AGO + MINUTE},3,"
    assert rows[21] == f"{AGO + 21 * MINUTE},,"
    assert rows[61:] == [""]
    parts = table(told(past, one(running((0, 60)), "b"), by_source=True)).split("\r\n")
    assert parts[0] == "time,x/a,y/b"
    assert parts[1] == f"{AGO + MINUTE},3,0"
