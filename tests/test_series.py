"""The past as JSON is what it would be if it were written anew each time, and costs a turn little."""

import asyncio
import json
import random
import tracemalloc
from collections import Counter
from typing import Any

import pytest
from raw import unchunked
from servers import eventually
from test_costs import Turns as Counted
from test_feed import Reader, feed_with, view

from app.messages import SourceState, Tick, added_up
from app.web import series
from app.web.fanout import Due, FanOut
from app.web.feed import Feed
from app.web.series import BLOCK, Series
from app.web.sse import PIECE
from app.web.turns import A_TURN, Turns
from app.web.viewer import TICKS_AT_ONCE, Start, Viewer

SOURCES = {
    "x": SourceState("live", 1, "", False, 1),
    "bluesky": SourceState("live", 1, "", True, 1),
}


def expected(feed: Feed, shown: FanOut, begin: int, end: int) -> dict[str, list[Any]]:
    """The first point, each in which the total changed, and the last one; from each tick's own."""
    found: dict[str, list[Any]] = {}
    for each in shown.watched:
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
def test_what_is_written_is_what_the_lines_have(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever came: late posts, forgotten hashtags, ticks that left, other sources; in parts, in
    blocks of any size, and for any time."""
    monkeypatch.setattr(series, "BLOCK", (1, 2, 7, 64, 1000)[seed])
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
                for each in shown.watched:
                    feed.past.prepare(each, shown.sources, chance.randrange(9))
            if chance.random() < 0.2:
                head = chance.choice(feed.ticks.heads)
                begin = head.at - chance.randrange(900) * 1000
                told = b"".join(shown.history(head, (head.at - begin) / 1000)).decode()
                data = json.loads(told.partition("data: ")[2].partition("\n")[0])
                assert data["series"] == expected(feed, shown, begin, head.at)


def turns_of(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Each turn that is asked for comes at once; how often one was."""
    asked: list[int] = []

    def wait(self: Turns, fanout: FanOut) -> None:
        asked.append(1)
        self.left = A_TURN

    monkeypatch.setattr(Turns, "wait", wait)
    return asked


def count_told(monkeypatch: pytest.MonkeyPatch, wrote: Any) -> None:
    """Call wrote() for each total that is written."""
    told = Series.total_as_json

    def count(self: Series, totals: Any) -> str:
        wrote()
        return told(self, totals)

    monkeypatch.setattr(Series, "total_as_json", count)


def tick_of(n: int, tags: list[str]) -> Tick:
    counts = {tag: {"x": n} for tag in tags}
    previous = f"{n - 1}-0" if n > 1 else ""
    return Tick(
        id=f"{n}-0", previous=previous, at=n * 500, seconds=0.5, counts=counts, added={}, sources=SOURCES
    )  # fmt: skip


@pytest.mark.parametrize("by_source", [False, True])
async def test_a_turn_writes_so_much_of_the_past_and_no_more(
    monkeypatch: pytest.MonkeyPatch, by_source: bool
) -> None:
    """20 hashtags that change in each of 1,800 ticks are written in turns of so many, once; then only
    what is new."""
    tags = [f"tag{n:02}" for n in range(20)]
    feed, _ = feed_with(*(tick_of(n, tags) for n in range(1, 1801)))
    shown = feed.watch(tags, by_source)
    asked, wrote = turns_of(monkeypatch), Counter[str]()
    count_told(monkeypatch, lambda: wrote.update(points=1))
    turns = []
    viewer = Viewer(feed, shown, Start(history=900))
    while not (first := viewer.due()):
        turns.append(wrote.pop("points"))
    assert len(asked) == len(turns) == 36_000 // A_TURN
    assert max(turns) <= A_TURN + 20
    assert viewer.has_all and first.count(b"],[") > 35_000
    for seconds in range(1, 901, 31):  # who asks for another time has it cut from what is written
        wrote.clear()
        viewer = Viewer(feed, shown, Start(history=seconds))
        while not (other := viewer.due()):
            pass
        assert other.count(b"],[") in range(40 * seconds - 60, 40 * seconds + 1)
        assert wrote["points"] <= len(tags)
    feed.hear(tick_of(1801, tags))
    wrote.clear()
    viewer = Viewer(feed, shown, Start(history=900))
    while not viewer.due():
        pass
    assert wrote["points"] <= 4 * len(tags)


async def test_those_who_come_together_share_the_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever hashtags each of them wants: in a turn of the loop no more is written and joined
    than A_TURN, but for the longest one; each is served, and those who want the same at once."""
    tags = [f"tag{n:02}" for n in range(21)]
    feed, _ = feed_with(*(tick_of(n, tags) for n in range(1, 401)))
    turns, write, joined = Counted(), FanOut.write, list[int]()
    count_told(monkeypatch, turns.count)

    def noted(self: FanOut, *args: Any) -> bytes:
        data = write(self, *args)
        turns.count(len(data) // 1024)
        joined.append(len(data))
        return data

    monkeypatch.setattr(FanOut, "write", noted)
    sets = [[tag for tag in tags if tag != without] for without in tags]
    viewers = [
        Viewer(feed, feed.watch(some, True), Start(history=900)) for some in sets for _ in range(3)
    ]
    readers = [Reader(viewer.stream()) for viewer in viewers]
    others = asyncio.create_task(turns.others())
    first = await asyncio.gather(*(reader.read() for reader in readers))
    told = [got or await reader.read() for got, reader in zip(first, readers, strict=True)]
    others.cancel()
    assert [[event for event, _, _ in got] for got in told] == [["history", "counts"]] * 63
    assert len(joined) == len(sets)
    assert turns.most <= A_TURN + max(joined) // 1024 + 2 * len(tags) < sum(joined) // 1024


class Stalled:
    """A connection that takes a few bytes, and then nothing."""

    def __init__(self) -> None:
        self.taken = 0

    def send(self, data: bytes, _: int = 0) -> int:
        took, self.taken = min(len(data), 1000 - self.taken), 1000
        return took


@pytest.mark.parametrize("viewers", [10, 300])
async def test_those_who_want_pasts_of_their_own_are_looked_at_few_times(
    monkeypatch: pytest.MonkeyPatch, viewers: int
) -> None:
    """However many wait for their turn, each another part of the same hashtags: who has none yet
    costs the turns of the others nothing, so that a tick waits for no more than one."""
    tags = [f"tag{n:02}" for n in range(20)]
    feed, _ = feed_with(*(tick_of(n, tags) for n in range(1, 801)))
    shown, looked = feed.watch(tags, False), Counter[str]()
    due = Viewer.due
    monkeypatch.setattr(Viewer, "due", lambda *a: looked.update(due=1) or due(*a))
    came = [Viewer(feed, shown, Start(history=400 - n)) for n in range(viewers)]
    for each in came:
        each.connection = Stalled()  # type: ignore[assignment]
        shown.join(each)
    await eventually(lambda: not any(each.start for each in came), "each has its past")
    turns = 800 * len(tags) // A_TURN + viewers
    assert all(each.owed for each in came)
    assert looked["due"] <= 2 * viewers + 2 * turns


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_long_past_is_copied_once(chunked: bool) -> None:
    """Whichever body it goes into: joining it takes no more memory than it has itself, but for the
    texts of the first and the last points."""
    tags = [f"tag{n:02}" for n in range(20)]
    feed, _ = feed_with(*(tick_of(n, tags) for n in range(1, 1801)))
    shown, head = feed.watch(tags, True), feed.newest
    assert head
    due = Due((head, 900, ()), None, None)
    whole = shown.write(due, head, b"", False)
    tracemalloc.start()
    data = shown.write(due, head, b"", chunked)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(data) > 50 * BLOCK * len(tags)
    assert peak < 1.5 * len(data)
    chunks, rest = unchunked(data + b"0\r\n\r\n") if chunked else ([data], b"")
    assert b"".join(chunks) == whole and not rest
    assert not chunked or {len(each) for each in chunks[:-1]} == {PIECE}


async def test_what_is_written_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked for longest ago is forgotten, at the next tick."""
    tags = [f"tag{n:02}" for n in range(20)]
    feed, _ = feed_with(*(tick_of(n, tags) for n in range(1, 101)))
    monkeypatch.setattr(series, "MOST_TEXTS", 1000)
    turns_of(monkeypatch)
    for tag in tags:
        viewer = Viewer(feed, feed.watch((tag,), False), Start(history=900))
        while not viewer.due():
            pass
    feed.hear(tick_of(101, tags))
    assert [tag for tag, _ in feed.past.kept] == tags[12:], "100 points and 20 for itself, each"


async def test_hashtags_of_few_points_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for thousands has none of them kept for nothing; and with another log, none of
    the lines of the one before is."""
    tags = [f"tag{n:04}" for n in range(3000)]
    monkeypatch.setattr(series, "MOST_TEXTS", 100 * (series.A_SERIES + 1))
    feed, _ = feed_with(tick_of(1, tags))
    sizes = []
    for n in range(3):
        asked = tags[1000 * n : 1000 * n + 1000]
        watched = [feed.watch((tag,), False).watched[0] for tag in asked]
        tracemalloc.start()
        for each in watched:
            feed.past.prepare(each, None, 9)
        sizes.append(tracemalloc.get_traced_memory()[0] / len(watched))
        tracemalloc.stop()
        feed.hear(tick_of(n + 2, []))
        assert [tag for tag, _ in feed.past.kept] == asked[900:]
    assert max(sizes) < 100 * (series.A_SERIES + 1), "a point's text takes at most 100 bytes"
    feed.begin_anew()
    assert not feed.past.kept and not feed.past.weight


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


async def test_silent_ticks_are_passed_over_at_once() -> None:
    """A viewer that missed a thousand of which none is news to it is up to date in one turn."""
    feed, _ = feed_with(*(tick_of(n, ["other"]) for n in range(1, 1001)))
    shown = feed.watch(("mine",), False)
    shown.watched[0].totals = {}
    viewer = Viewer(feed, shown, Start(last_id="5-0"))
    assert viewer.due() == b"" and viewer.has_all
