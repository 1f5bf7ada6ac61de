"""The feed's log of ticks: what begins it anew, its pauses and gaps, and its bounds."""

import gc
import json
import tracemalloc

import msgspec
import pytest
from test_feed import LIVE, changed, feed_with, flood, tick, view

from app.messages import SourceState, Tick
from app.web.history import Grid, short_answer
from app.web.ticks import Ticks


async def test_a_log_that_begins_anew_brings_one_history_and_no_old_ticks() -> None:
    """Redis forgot some, or all, or the log was cut before it could be read: however many ticks
    are read again, each viewer is told the past once, when all of it is read."""
    for first, last in ((9, 9), (9, 900), (2, 400)):
        feed, _ = feed_with(*(tick(n, a=n) for n in range(1, 4)))
        viewers = [view(feed), view(feed, last_id="1-0")]
        for viewer in viewers:
            await viewer.read()
            assert await viewer.waits()
        assert not feed.hear(tick(last, a=last))
        for n in range(first, last + 1):
            assert feed.hear(tick(n, a=n))
            feed.beat()
        assert await view(feed).read() == [], "who comes meanwhile waits, too"
        for viewer in viewers:
            assert not viewer.pending.done()
        feed.hear(None)
        for viewer in viewers:
            got = await viewer.then()
            assert [(n, id) for n, id, _ in got] == [
                ("history", f"{last}-0"),
                ("counts", f"{last}-0"),
            ]
            assert got[1][2]["counts"] == {"a": last}
            assert await viewer.waits()
        feed.hear(tick(last + 1, a=last + 1))
        assert [name for name, _, _ in await viewers[0].then()] == ["counts"]


async def test_a_position_from_before_the_log_began_anew_leads_nowhere() -> None:
    """Also the last one before: what came then is not what follows."""
    feed, _ = feed_with(tick(1, a=1))
    viewer = view(feed)
    await viewer.read()
    for _ in range(2):
        feed.hear(tick(7, 6, a=1))
    feed.hear(None)
    assert [name for name, _, _ in await viewer.read()] == ["history", "counts"]


async def test_a_log_that_begins_anew_while_it_is_read_is_read_from_its_start() -> None:
    """Of the one before it nothing is left."""
    feed, _ = feed_with(tick(1, a=1))
    assert not feed.hear(tick(9, a=9))
    for each in (tick(9, a=9), tick(10, b=7), tick(1, None, 2, 9000, a=2), tick(2, None, 1, 9500)):
        assert feed.hear(each)
    feed.hear(None)
    assert set(feed.ticks.lines) == {"a"}
    assert feed.points("a", 0) == [] and feed.ticks.points("a", {}, 0) == [(9000, {"x": 2})]


async def test_a_tick_in_the_log_that_cannot_be_read_is_left_out() -> None:
    """It is missing before and after the log was read again, which ends nothing."""
    feed, _ = feed_with(tick(1, a=1), tick(3, a=3))
    assert feed.hear(tick(4, a=4))
    assert not feed.hear(tick(6, a=6))
    for n in (1, 3, 4, 6):
        assert feed.hear(tick(n, a=n))
    feed.hear(None)
    assert feed.loaded
    [history, _] = await view(feed, history=900).read()
    assert [total for _, total in history[2]["series"]["a"]] == [0, 1, 3, 4, 6][1:]


async def test_a_pause_of_the_ingester_is_told_to_all() -> None:
    """Who resumes hears of it as well, though none of their totals changed in it."""
    feed, _ = feed_with(tick(1, a=1), tick(2, b=1))
    viewer = view(feed)
    await viewer.read()
    assert await viewer.waits()
    feed.hear(changed(tick(3, None, 1, 60_000, b=2), sources={"x": SourceState("live", 60_000)}))
    feed.hear(changed(tick(4, None, 1, 60_500, b=3), sources={"x": SourceState("live", 60_000)}))
    gap = {"from": 1000, "to": 60_000, "reason": "ingester was down", "kind": "ingester"}
    for got in (await viewer.then(), await view(feed, last_id="1-0").read()):
        assert [(id, told["counts"]) for _, id, told in got] == [("3-0", {"a": 1})]
        assert got[0][2]["gap"] == {**gap, "all": True}
    [history, _] = await view(feed, history=900).read()
    start, paused = history[2]["gaps"]
    assert (start["kind"], start["to"], paused) == ("start", 500, {**gap, "all": True})
    assert history[2]["series"] == {"a": [[500, 1], [60_500, 1]]}


async def test_slow_ticks_are_no_pauses() -> None:
    """Where a tick takes ten seconds, nothing is missing between two."""
    slow = [changed(tick(n, None, 1, n * 10_000, a=n), seconds=10.0) for n in range(1, 9)]
    feed, _ = feed_with(*slow)
    assert feed.gaps(0, 80_000) == []


def test_a_pause_that_was_read_later_is_no_gap() -> None:
    """Every source that is read whole went back as far: then nothing is missing."""
    feed, _ = feed_with(tick(1), tick(2, None, 1, 60_000))
    whole = SourceState("live", 60_000, "", True, 900)
    asked = SourceState("live", 60_000)
    feed.hear(changed(tick(3, None, 1, 60_500), sources={"x": whole, "y": asked}))
    assert feed.gaps(0, 60_500) == []
    feed, _ = feed_with(tick(1), tick(2, None, 1, 60_000))
    half = SourceState("live", 60_000, "", True, 20_000)
    feed.hear(changed(tick(3, None, 1, 60_500), sources={"x": whole, "y": half}))
    [gap] = feed.gaps(0, 60_500)
    assert (gap["from"], gap["to"]) == (500, 20_000)


async def test_a_source_that_does_something_else_is_told_to_all() -> None:
    """Also to those whose totals stand still, at once and when they resume."""
    down = {"x": SourceState("down", 1000, "gone", True)}
    feed, _ = feed_with(tick(1, a=1), tick(2))
    reader = view(feed, "a")
    await reader.read()
    assert await reader.waits()
    feed.hear(changed(tick(3), sources=down))
    [(name, id, data)] = await reader.then()
    assert (name, id, data["sources"]) == ("counts", "3-0", {"x": "down"})
    feed.hear(tick(4, 3))
    assert [id for _, id, _ in await view(feed, "a", last_id="2-0").read()] == ["3-0", "4-0"]


async def test_a_gap_that_is_filled_later_is_taken_back_for_all() -> None:
    """A source that went back says so: each viewer is told the past again, without the gap."""
    missing = SourceState("live", 20_000, "", True, 20_000)
    feed, _ = feed_with(tick(1, a=1), tick(2))
    reader = view(feed, "a")
    await reader.read()
    feed.hear(changed(tick(3, 2, 1, 20_000), sources={"x": missing}))
    [(_, _, paused)] = await reader.read()
    assert paused["gap"]["from"] == 1000
    filled = SourceState("live", 20_000, "", True, 900)
    feed.hear(changed(tick(4, 3, 1, 20_500), sources={"x": filled}))
    (name, _, past), (_, _, now) = await reader.read()
    assert (name, [gap["kind"] for gap in past["gaps"]]) == ("history", ["start"])
    assert now["counts"] == {"a": 1}


def states(**sources: SourceState) -> dict[str, SourceState]:
    return sources


def test_sources_that_do_not_work_are_gaps() -> None:
    """From when to when, which ones, why, and whether all of them: those of 5 s and more."""
    down = SourceState("down", 1000, "refused")
    feed, _ = feed_with(tick(1))
    for n in range(2, 60):
        both = states(x=down if 10 <= n < 30 or n == 50 else LIVE, y=down if 20 <= n < 30 else LIVE)
        feed.hear(changed(tick(n), sources=both))
    one = {"x": {"state": "down", "reason": "refused"}}
    told = {"kind": "sources", "reason": "x: refused", "all": False, "sources": one}
    # what y does for 5 s begins where x alone was down for 5 s
    assert feed.gaps(0, 60_000) == [
        {"from": 5000, "to": 10_000, **told},
        {
            "from": 10_000, "to": 15_000, "kind": "sources", "all": True,
            "reason": "x: refused; y: refused", "sources": {**one, "y": one["x"]},
        },
    ]  # fmt: skip
    assert [(gap["from"], gap["to"]) for gap in feed.gaps(7000, 12_000)] == [
        (7000, 10_000), (10_000, 12_000),
    ]  # fmt: skip


def test_a_source_that_fails_again_and_again_is_one_gap() -> None:
    """Its states change every second; it works in none of them."""
    feed, _ = feed_with(tick(1))
    for n in range(2, 42):
        state = SourceState("down" if n // 2 % 2 else "connecting", n, "no route")
        feed.hear(changed(tick(n), sources={"x": state if n < 32 else LIVE}))
    [gap] = feed.gaps(0, 60_000)
    assert (gap["from"], gap["to"]) == (1000, 16_000)


def test_what_a_source_read_later_cuts_its_gap() -> None:
    """From when on nothing is missing: that is its own word, `unbroken_since`."""
    for since, left in ((1000, []), (8000, [(2500, 8000)]), (25_000, [(2500, 20_000)])):
        feed, _ = feed_with(tick(1))
        back = SourceState("live", 20_000, "", True, since)
        for n in range(2, 60):
            state = SourceState("connecting", 2500) if 5 <= n < 40 else back if n >= 40 else LIVE
            feed.hear(changed(tick(n), sources={"x": state}))
        assert [(gap["from"], gap["to"]) for gap in feed.gaps(0, 60_000)] == left


async def test_a_forgotten_hashtag_begins_anew() -> None:
    """Its total is 0 again, and who watches it, or comes back, is told the past afresh."""
    feed, _ = feed_with(*(tick(n, a=n, b=n) for n in range(1, 6)))
    viewer, other = view(feed), view(feed, "b")
    for each in (viewer, other):
        await each.read()
        assert await each.waits()
    feed.hear(changed(tick(6), gone=["a"]))
    for got in (await viewer.then(), await view(feed, last_id="3-0").read()):
        assert [(name, id) for name, id, _ in got] == [("history", "6-0"), ("counts", "6-0")]
        assert got[0][2]["series"] == {"a": [[500, 0], [3000, 0]]}
        assert got[1][2]["counts"] == {"a": 0}
    assert not other.pending.done()
    assert await viewer.waits()
    feed.hear(tick(7, a=1))
    assert [(name, told["counts"]) for name, _, told in await viewer.then()] == [
        ("counts", {"a": 1})
    ]


async def test_a_hashtag_that_is_forgotten_and_used_in_one_tick_has_what_is_new() -> None:
    """It begins at 0, and the posts count."""
    feed, _ = feed_with(tick(1, None, 5, a=50), changed(tick(2, a=2), gone=["a"]))
    [(_, _, told)] = await view(feed).read()
    assert told["counts"] == {"a": 2}


async def test_the_log_keeps_fifteen_minutes() -> None:
    """By the ticks' own times, so its memory has a bound."""
    feed, _ = feed_with(*(tick(n, a=n) for n in range(1, 2500)))
    heads, line = feed.ticks.heads, feed.ticks.lines["a"]
    assert len(heads) == len(line.points) == len(feed.ticks.numbers) == 1801
    assert heads[-1].at - heads[0].at == 900_000
    assert line.before == {"x": heads[0].number - 1}


async def test_the_log_is_bounded_though_a_clock_stands_still() -> None:
    """Or goes back by an hour: no times that ticks have can fill the memory."""
    feed, _ = feed_with(*(tick(n, None, 1, 5, a=n) for n in range(1, 9500)))
    assert len(feed.ticks.heads) == len(feed.ticks.lines["a"].points) == 9001
    assert feed.newest and feed.newest.id == tick(9499).id


@pytest.mark.parametrize("kind", ["new", "the same", "late", "forgotten", "told much of a source"])
def test_what_the_log_takes_is_known(kind: str) -> None:
    """As ticks come and go, it is nearly what Python says that was taken; and nothing is left of
    it when all are gone."""
    tags = {f"tag{m:06}": 1 for m in range(200)}

    def make(n: int) -> Tick:
        if kind == "new":
            return flood(n, 200)
        if kind == "late":
            late = {tag: {"x": [(n * 500 - 30_000, 1)]} for tag in list(tags)[:20]}
            return changed(tick(n, None, 1, n * 500, **tags), late=late if n > 80 else {})
        if kind == "forgotten":
            return changed(tick(n), gone=list(tags))
        if kind == "told much of a source":
            return changed(tick(n), sources={"x": SourceState("down", n, f"{n:06}" * 500)})
        return tick(n, **tags)

    texts = [json.dumps(msgspec.to_builtins(make(n))) for n in range(1, 101)]
    ticks = Ticks()
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for text in texts:
        ticks.hear(Tick.from_json(text), 0.5, 0.0)
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert 0.75 < ticks.bytes / taken < 1.5
    ticks.hear(tick(10_000), 0.5, 0.0)
    assert len(ticks.heads) == 1 and not ticks.lines
    assert ticks.bytes < 2000


async def test_the_log_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of new hashtags: the oldest ticks go, and a history then begins later, and says so,
    instead of the 358 MB that a log of such ticks once took. Who comes back to a tick that went
    is told the past once."""
    monkeypatch.setattr("app.web.ticks.LOG_BYTES", 4 * 2**20)
    feed, _ = feed_with(tick(1, a=1))
    watched = feed.watch(("a",), False)
    for n in range(2, 40):
        feed.hear(flood(n))
    assert 3 * 2**20 < feed.ticks.bytes <= 4 * 2**20
    assert feed.ticks.cut == feed.ticks.heads[0].at - 500
    first = feed.ticks.heads[0].at
    [history, _] = await view(feed, history=900).read()
    assert history[2]["series"] == {"a": [[first, 1], [19_500, 1]]}
    [gap] = history[2]["gaps"]
    assert (gap["from"], gap["to"], gap["kind"]) == (19_500 - 900_000, first, "kept")
    assert "15 minutes" in gap["reason"]
    grid = Grid.of("15m", 20_000)
    points, told = {"a": feed.points("a", grid.begin)}, feed.gaps(grid.begin, grid.now)
    answer = await short_answer(grid, points, told, 19_500, 0.5, False)
    assert [(gap["kind"], gap["to"]) for gap in answer["gaps"]] == [("kept", first)]
    assert answer["series"]["a"][-1] == (20_000, 1)
    assert answer["series"]["a"][0][1] is None
    assert [name for name, _, _ in await view(feed, last_id="1-0").read()] == ["history", "counts"]
    for n in range(40, 2000):  # and when the flood is over, all is as before
        feed.hear(tick(n, a=n))
    [history, _] = await view(feed, history=900).begin()
    assert (history[2]["gaps"], len(feed.ticks.heads)) == ([], 1801)
    assert watched.is_known


def test_one_tick_that_is_larger_than_the_log_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest totals are what everybody wants."""
    monkeypatch.setattr("app.web.ticks.LOG_BYTES", 100_000)
    feed, _ = feed_with(*(flood(n) for n in range(1, 5)))
    assert [head.id for head in feed.ticks.heads] == ["4-0"]


async def test_a_hashtag_that_is_silent_for_long_costs_nothing() -> None:
    """Its line goes; what is watched keeps its total, and its past is flat."""
    feed, _ = feed_with(tick(1, a=7, **{f"tag{n}": 1 for n in range(500)}))
    viewer = view(feed, history=900)
    await viewer.read()
    for n in range(2, 2000):
        feed.hear(changed(tick(n, b=n), sources={"x": SourceState("live", 1, "", True, 1)}))
    assert set(feed.ticks.lines) == {"b"}
    assert len({id(head.sources) for head in feed.ticks.heads}) == 1
    [history, now] = await view(feed, history=900).read()
    assert history[2]["series"] == {"a": [[feed.ticks.heads[0].at, 7], [999_500, 7]]}
    assert (now[2]["counts"], now[2]["names"]) == ({"a": 7}, {"a": "A"})
