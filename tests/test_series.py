"""The past as JSON is what it would be if it were written anew each time, and costs a turn little."""

import json
import random
from collections import Counter
from typing import Any

import pytest
from test_feed import feed_with, view

from app.messages import SourceState, Tick, added_up
from app.web import fanout, series
from app.web.fanout import FanOut
from app.web.feed import Feed
from app.web.series import Series
from app.web.viewer import TICKS_AT_ONCE, Start, Viewer

SOURCES = {
    "x": SourceState("live", 1, "", False, 1),
    "bluesky": SourceState("live", 1, "", True, 1),
}


def expected(feed: Feed, shown: FanOut, begin: int, end: int) -> dict[str, list[Any]]:
    """The first point, each in which the total changed, and the last one; from each tick's own."""
    found: dict[str, list[Any]] = {}
    for each in shown.shown:
        line: list[Any] = []
        for at, totals in feed.ticks.points(each.tag, each.totals or {}, begin):
            head = feed.newest
            assert head
            by_source = each.split(totals, head.sources)
            value = by_source if shown.by_source else added_up(totals)
            if at <= end and (not line or value != line[-1][1]):
                line.append([at, value])
        if line and line[-1][0] < end:
            line.append([end, line[-1][1]])
        found[each.tag] = line
    return found


def random_tick(chance: random.Random, n: int, totals: dict[str, Counter[str]]) -> Tick:
    """Some of three hashtags, of either source, sometimes late or forgotten; more sources later."""
    gone = [tag for tag in totals if chance.random() < 0.005]
    for tag in gone:
        totals[tag].clear()
    changed = [tag for tag in totals if chance.random() < 0.5]
    added = {tag: {chance.choice(["x", "bluesky"]): chance.randrange(3)} for tag in changed}
    for tag, parts in added.items():
        totals[tag].update(parts)
    late = {
        tag: {source: [((n * 5000 - 90_000) // 60_000 * 60_000, posts)]}
        for tag, parts in added.items()
        for source, posts in parts.items()
        if posts and chance.random() < 0.03
    }
    sources = SOURCES if n % 90 < 60 else {"bluesky": SOURCES["bluesky"]}
    return Tick(
        id=f"{n}-0", previous=f"{n - 1}-0" if n > 1 else "", at=n * 5000, seconds=5.0,
        counts={tag: dict(totals[tag]) for tag in changed}, added=added,
        sources=sources, gone=gone, late=late,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_what_is_written_is_what_the_lines_have(seed: int) -> None:
    """Whatever came: late posts, forgotten hashtags, ticks that left, other sources; in parts, and
    for any time."""
    chance, totals = random.Random(seed), {tag: Counter[str]() for tag in "abc"}
    feed, _ = feed_with()
    feed.hear(None)
    fanouts = [feed.watch(("a", "b", "c", "never"), by_source) for by_source in (False, True)]
    for each in feed.watched.values():
        each.totals = {}
    for n in range(1, 400):
        feed.hear(random_tick(chance, n, totals))
        for shown in fanouts:
            if chance.random() < 0.3:
                for each in shown.shown:
                    feed.past.prepare(each, shown.told_sources, chance.randrange(9))
            if chance.random() < 0.2:
                head = chance.choice(feed.ticks.heads)
                begin = head.at - chance.randrange(900) * 1000
                told = shown.history(head, (head.at - begin) / 1000).decode()
                data = json.loads(told.partition("data: ")[2].partition("\n")[0])
                assert data["series"] == expected(feed, shown, begin, head.at)


def loop_of(monkeypatch: pytest.MonkeyPatch, shown: FanOut) -> list[int]:
    """What would be done in the next turns is left to the test; how often it was asked for."""
    asked: list[int] = []
    monkeypatch.setattr(FanOut, "go_on_soon", lambda self: asked.append(1))
    return asked


def tick_of(n: int, tags: list[str]) -> Tick:
    counts = {tag: {"x": n} for tag in tags}
    previous = f"{n - 1}-0" if n > 1 else ""
    return Tick(
        id=f"{n}-0", previous=previous, at=n * 500, seconds=0.5, counts=counts, added={}, sources=SOURCES
    )  # fmt: skip


@pytest.mark.parametrize("by_source", [False, True])
def test_a_turn_writes_so_much_of_the_past_and_no_more(
    monkeypatch: pytest.MonkeyPatch, by_source: bool
) -> None:
    """20 hashtags that change in each of 1,800 ticks are written in turns of so many, once; then only
    what is new."""
    tags = [f"tag{n:02}" for n in range(20)]
    feed, _ = feed_with(*(tick_of(n, tags) for n in range(1, 1801)))
    shown = feed.watch(tags, by_source)
    asked, wrote = loop_of(monkeypatch, shown), Counter[str]()
    told = Series.told

    def count(self: Series, totals: Any) -> str:
        wrote["points"] += 1
        return told(self, totals)

    monkeypatch.setattr(Series, "told", count)
    turns = []
    viewer = Viewer(feed, shown, Start(history=900))
    while not (first := viewer.due()):
        turns.append(wrote.pop("points"))
    assert len(asked) == len(turns) == 36_000 // fanout.PREPARED_AT_ONCE
    assert max(turns) <= fanout.PREPARED_AT_ONCE + 20
    assert viewer.has_all and first.count(b"],[") > 35_000
    feed.hear(tick_of(1801, tags))
    wrote.clear()
    assert Viewer(feed, shown, Start(history=900)).due()
    assert wrote["points"] <= 4 * len(tags)


def test_what_is_written_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked for longest ago is forgotten, at the next tick."""
    tags = [f"tag{n:02}" for n in range(20)]
    feed, _ = feed_with(*(tick_of(n, tags) for n in range(1, 101)))
    monkeypatch.setattr(series, "MOST_TEXTS", 1000)
    for tag in tags:
        assert Viewer(feed, feed.watch((tag,), False), Start(history=900)).due()
    feed.hear(tick_of(101, tags))
    assert [tag for tag, _ in feed.past.kept] == tags[10:]


async def test_a_turn_sends_so_many_missed_ticks_and_no_more() -> None:
    """All of them, in order, a part in each turn; others have theirs in between."""
    tags = [f"tag{n:02}" for n in range(20)]
    feed, _ = feed_with(*(tick_of(n, tags) for n in range(1, 1001)))
    reader = view(feed, *tags, last_id="100-0")
    seen: list[str] = []
    while len(seen) < 900:
        part = [id for _, id, _ in await reader.read()]
        assert 0 < len(part) <= TICKS_AT_ONCE
        seen += part
    assert seen == [f"{n}-0" for n in range(101, 1001)]
    assert await reader.waits()
    reader.pending.cancel()


def test_silent_ticks_are_passed_over_at_once() -> None:
    """A viewer that missed a thousand of which none is news to it is up to date in one turn."""
    feed, _ = feed_with(*(tick_of(n, ["other"]) for n in range(1, 1001)))
    shown = feed.watch(("mine",), False)
    shown.shown[0].totals = {}
    viewer = Viewer(feed, shown, Start(last_id="5-0"))
    assert viewer.due() == b"" and viewer.has_all
