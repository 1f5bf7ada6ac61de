"""Viewers of the same hashtags share what is made for them; how streams begin and end."""

import asyncio
import gc
import json
from collections import Counter
from itertools import combinations, pairwise
from typing import Any

import pytest
from test_feed import Clock, changed, events, feed_with, tick, view

from app.messages import SourceState
from app.web import fanout, shared, sse, watched
from app.web.fanout import FanOut
from app.web.feed import Feed
from app.web.viewer import Viewer


async def test_viewers_with_the_same_hashtags_share_the_bytes() -> None:
    """A tick is encoded once for them all, and a fan-out that nobody has is forgotten, with all
    that only it showed."""
    feed, _ = feed_with(tick(1, a=1))
    viewers = [view(feed, "a", "b") for _ in range(3)]
    for viewer in viewers:
        feed.watched["b"].totals = {}
        await viewer.read()
        assert await viewer.waits()
    feed.hear(tick(2, a=2))
    await asyncio.gather(*(viewer.pending for viewer in viewers))
    first, *others = (viewer.pending.result() for viewer in viewers)
    assert all(other is first or other == first for other in others)
    assert len(feed.fanouts) == len(feed.order) == 1
    alone = view(feed, "a")
    await alone.read()
    for viewer in viewers:
        await viewer.stream.aclose()  # type: ignore[attr-defined]
    viewers.clear()
    viewer = None  # type: ignore[assignment]
    gc.collect()
    assert len(feed.fanouts) == len(feed.order) == 1
    assert set(feed.watched) == {"a"} and len(feed.watched["a"].fanouts) == 1
    await alone.stream.aclose()  # type: ignore[attr-defined]
    del alone
    gc.collect()
    assert not feed.fanouts and not feed.order and not feed.watched


async def test_viewers_that_come_back_after_long_share_the_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What many missed is encoded once, however much it is, and forgotten with the next tick."""
    feed, _ = feed_with(*(tick(n, a=n) for n in range(1, 1001)))
    encode, encoded = sse.event, []
    monkeypatch.setattr(sse, "event", lambda *told: encoded.append(told) or encode(*told))
    for _ in range(20):
        viewer = view(feed, last_id="100-0")
        got = [id for _ in range(9) for _, id, _ in await viewer.read()]
        assert got == [f"{n}-0" for n in range(101, 1001)]
        viewer = view(feed, history=900)
        assert (await viewer.read() or await viewer.read())[0][0] == "history"
    assert len(encoded) <= 902
    kept = feed.shared.kept
    assert len(kept) <= 11, "the past once more, without what stands before it for who had to wait"
    assert feed.shared.size == sum(map(len, kept.values()))
    monkeypatch.setattr(shared, "MOST_KEPT", feed.shared.size)
    for n in range(200, 300):
        await view(feed, last_id=f"{n}-0").read()
    assert 0 < sum(map(len, kept.values())) == feed.shared.size <= shared.MOST_KEPT
    feed.hear(tick(1001, a=1001))
    assert not kept and not feed.shared.size


@pytest.mark.parametrize("by_source", [False, True])
def test_many_fanouts_share_the_texts_of_a_tick(
    monkeypatch: pytest.MonkeyPatch, by_source: bool
) -> None:
    """A total is written once, for however many different sets of hashtags it is shown in."""
    tags, costs = [f"tag{n}" for n in range(20)], []
    for many in (1, 190):
        feed, _ = feed_with(tick(1, **dict.fromkeys(tags, 7)))
        chosen = [feed.watch(pair, by_source) for pair in combinations(tags, 2)][:many]
        wrote: list[object] = []

        def write(told: object, wrote: list[object] = wrote) -> str:
            wrote.append(told)
            return json.dumps(told)

        monkeypatch.setattr(fanout, "dumps", write)
        for name in ("added_up", "by_source"):
            monkeypatch.setattr(watched, name, write)
        feed.hear(tick(2, **dict.fromkeys(tags, 8)))
        assert feed.newest
        assert len({each.frame(feed.newest) for each in chosen}) == many
        costs.append(len(wrote))
        monkeypatch.undo()
    assert costs[0] > 0 and costs[1] - costs[0] <= len(tags)


class Sink:
    """A connection that takes everything."""

    def __init__(self) -> None:
        self.got = Counter[bytes]()

    def send(self, data: bytes, _: int = 0) -> int:
        self.got[data] += 1
        return len(data)


async def test_a_tick_costs_by_what_changed_and_who_watches_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """2,000 viewers of as many hashtags, of which ten change: ten frames, ten fan-outs touched."""
    tags = [f"tag{n}" for n in range(2000)]
    feed, clock = feed_with(tick(1, **dict.fromkeys(tags, 1)))
    fanouts = [feed.watch([tag], False) for tag in tags]
    sinks: list[Any] = [Sink() for _ in tags]
    for each, sink in zip(fanouts, sinks, strict=True):
        viewer = Viewer(feed, each)
        viewer.connection = sink
        each.join(viewer)
        sink.got.clear()
    counted: Counter[str] = Counter()
    for name in ("hear", "frame", "catch_up", "begin_anew", "look_behind", "repeat"):
        real = getattr(FanOut, name)

        def count(self: FanOut, *given: Any, name: str = name, real: Any = real) -> Any:
            counted[name] += 1
            return real(self, *given)

        monkeypatch.setattr(FanOut, name, count)
    clock.now += 1
    feed.hear(tick(2, **dict.fromkeys(tags[:10], 2)))
    feed.beat()
    assert counted == {"hear": 10, "frame": 10, "catch_up": 10}
    assert [sum(sink.got.values()) for sink in sinks] == [1] * 10 + [0] * 1990
    clock.now += 3  # those that heard nothing for 3.5 s are told again, and no others
    feed.beat()
    assert counted["repeat"] == 1990
    assert [sum(sink.got.values()) for sink in sinks] == [1] * 2000


async def test_close_ends_every_stream_with_a_jittered_retry() -> None:
    """Pages come back each at a time of its own."""
    clock, chances = Clock(), iter([0.5, 0.5, 0.5, 0.0, 0.5, 0.999])
    feed = Feed(0.5, clock=clock, chance=lambda: next(chances))
    feed.hear(tick(1, a=1))
    feed.hear(None)
    viewers = [view(feed) for _ in range(3)]
    for viewer in viewers:
        await viewer.read()
        assert await viewer.waits()
    feed.close()
    last = [await viewer.pending for viewer in viewers]
    waits = [int(raw.removeprefix(b"retry: ")) for raw in last]
    assert all(0 < one < other for one, other in pairwise(waits))
    for viewer in viewers:
        assert [piece async for piece in viewer.stream] == []


async def test_a_stream_ends_after_about_an_hour() -> None:
    """With a retry, so that the viewer comes back and resumes; not before 45 minutes."""
    feed, clock = feed_with(tick(1, a=1))
    viewer = view(feed)
    await viewer.read()
    clock.now = 2600
    feed.hear(tick(2, a=2))
    assert [id for _, id, _ in await viewer.read()] == ["2-0"]
    clock.now = 4600
    feed.hear(tick(3, a=3))
    pieces = [piece async for piece in viewer.stream]
    assert pieces[-1].startswith(b"retry: ")
    assert sum(b"id: 3-0" in piece for piece in pieces) <= 1
    last_seen = "3-0" if any(b"id: 3-0" in piece for piece in pieces) else "2-0"
    resumed = await view(feed, last_id=last_seen).read()
    assert [id for _, id, _ in resumed] == ([] if last_seen == "3-0" else ["3-0"])


async def test_before_the_first_tick_a_viewer_waits_alive() -> None:
    """Bytes at once, so that a proxy does not give up; the first tick when it comes."""
    feed, _ = feed_with()
    viewer = view(feed, history=10)
    assert await viewer.read() == []
    assert viewer.raw == b"retry: 2000\n\n"
    assert await viewer.waits()
    feed.hear(None)
    feed.hear(tick(1, a=1))
    got = await viewer.then()
    assert got[-1][:2] == ("counts", "1-0")


def test_readiness_is_about_ticks_that_arrive() -> None:
    """Old ticks read from the log at the start are no sign of a working ingester."""
    feed, clock = feed_with()
    feed.hear(tick(1, a=1))
    feed.hear(tick(2, a=2))
    assert "is an ingester running?" in feed.why_not_ready()
    feed.hear(None)
    assert feed.why_not_ready()
    feed.hear(tick(3, a=3))
    assert feed.why_not_ready() == ""
    clock.now += 60
    assert feed.why_not_ready() == "The last tick came 60 s ago: is an ingester running?"
    feed.complain("Redis: gone.")
    assert feed.why_not_ready() == "Redis: gone."


def test_by_source_shows_every_source_that_was_asked() -> None:
    """Those that counted it; 0 for a source that counts everything; a source that counts only
    what it is asked for has a 0 only where the hashtag is tracked."""
    feed = Feed(0.5, ["kept"])
    sources = {"x": SourceState("live"), "y": SourceState("live", 1, "", True)}
    told = {"stray": {"y": 3}, "kept": {"y": 4}, "both": {"x": 1, "y": 2}}
    feed.hear(changed(tick(1), counts=told, sources=sources))
    feed.hear(None)
    shown = feed.watch(["stray", "kept", "both"], True)
    split = {"stray": {"y": 3}, "kept": {"x": 0, "y": 4}, "both": {"x": 1, "y": 2}}
    assert shown.totals() == split
    assert events(shown.frame(feed.ticks.heads[-1]))[0][2]["counts"] == split
    assert feed.points("kept", 0) == [(500, {"x": 0, "y": 4})]


def test_a_name_is_the_one_most_used_or_as_typed() -> None:
    """The tick's spelling; the key where that is most used; else what the settings say."""
    from app.hashtags import typed

    feed = Feed(0.5, [typed("ScienceFair"), typed("Straße")])
    feed.hear(changed(tick(1, a=1, b=1), names={"a": "Ａ"}))
    feed.hear(None)
    assert feed.watch(["a", "b", "sciencefair", "strasse", "new"], False).names() == {
        "a": "Ａ", "sciencefair": "ScienceFair", "strasse": "Straße",
    }  # fmt: skip
    feed.hear(changed(tick(2, sciencefair=1), names={}))
    assert feed.name_of("sciencefair") == "sciencefair"
