"""The shared log and its viewers, tick by tick, with a clock that the test moves."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import combinations, pairwise
from typing import Any

import pytest
from servers import RedisServer

from app import selection, sse
from app.feed import Feed
from app.messages import Tick
from app.selection import JOINED_KEPT, Selection
from app.store import State, Store, connect
from app.viewer import Viewer


def tick(n: int, previous: int | None = None, **counts: int) -> Tick:
    """The n-th tick of a run that began at 1-0, half a second each."""
    before = n - 1 if previous is None else previous
    return Tick(
        id=f"{n}-0",
        previous=f"{before}-0" if before else "",
        at=n * 500,
        seconds=0.5,
        counts=counts,
        by_source={tag: {"x": total} for tag, total in counts.items()},
        names={tag: tag.upper() for tag in counts},
        sources={"x": "live"},
        details={},
    )


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Reader:
    """A stream that is read by the test; what it got, as (event, id, data)."""

    def __init__(self, stream: AsyncIterator[bytes]) -> None:
        self.stream, self.raw = stream, b""

    async def read(self) -> list[tuple[str, str, Any]]:
        """The next piece, as events."""
        async with asyncio.timeout(5):
            self.raw = await anext(self.stream)
        return events(self.raw)

    async def waits(self) -> bool:
        """Whether there is nothing to read now."""
        self.pending = asyncio.ensure_future(anext(self.stream))
        for _ in range(5):
            await asyncio.sleep(0)
        return not self.pending.done()

    async def then(self) -> list[tuple[str, str, Any]]:
        """What the read that waits() began comes to."""
        async with asyncio.timeout(5):
            return events(await self.pending)


def events(raw: bytes) -> list[tuple[str, str, Any]]:
    found = []
    for block in raw.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if line)
        if "data" in fields:
            found.append((fields["event"], fields["id"], json.loads(fields["data"])))
    return found


def feed_with(*ticks: Tick) -> tuple[Feed, Clock]:
    clock = Clock()
    feed = Feed(0.5, clock=clock, chance=lambda: 0.5)
    for each in ticks:
        feed.hear(each)
    if ticks:
        feed.hear(None)
    return feed, clock


def view(feed: Feed, *tags: str, last_id: str = "", history: float = 0) -> Reader:
    selection = feed.selection(tags or ("a",), False)
    return Reader(Viewer(feed, selection, last_id, history).stream())


async def test_a_new_viewer_gets_the_totals_at_once() -> None:
    """A retry, then the newest totals, with the newest tick's id."""
    feed, _ = feed_with(tick(1, a=1), tick(2, a=5))
    viewer = view(feed)
    [(name, id, told)] = await viewer.read()
    assert viewer.raw.startswith(b"retry: 2000\n\nid: 2-0\n")
    assert (name, id, told["counts"], told["at"]) == ("counts", "2-0", {"a": 5}, 1000)


async def test_history_comes_before_the_totals() -> None:
    """As far back as asked, oldest first, by the ticks' own times."""
    feed, _ = feed_with(*(tick(n, a=n) for n in range(1, 11)))
    history, now = await view(feed, history=2).read()
    assert history[:2] == ("history", "10-0")
    assert history[2]["series"] == {"a": [[n * 500, n] for n in range(6, 11)]}
    assert (history[2]["at"], history[2]["tick"]) == (5000, 0.5)
    assert now[:2] == ("counts", "10-0")


async def test_only_ticks_that_change_the_viewers_totals_are_sent() -> None:
    """Another hashtag's posts are not this viewer's news."""
    feed, _ = feed_with(tick(1, a=1, b=1))
    viewer = view(feed, "a")
    await viewer.read()
    assert await viewer.waits()
    feed.hear(tick(2, a=1, b=2))
    feed.hear(tick(3, a=2, b=2))
    [(_, id, told)] = await viewer.then()
    assert (id, told["counts"]) == ("3-0", {"a": 2})


async def test_unchanged_totals_are_repeated_within_five_seconds() -> None:
    """So that silence means trouble; with ticks, and also when no more tick comes."""
    feed, clock = feed_with(tick(1, a=1))
    viewer = view(feed)
    await viewer.read()
    for n in range(2, 9):
        clock.now += 0.5
        feed.hear(tick(n, a=1))
    assert await viewer.waits()
    clock.now += 0.5
    feed.hear(tick(9, a=1))
    [(_, id, told)] = await viewer.then()
    assert (id, told["counts"]) == ("9-0", {"a": 1})
    assert await viewer.waits()
    clock.now += 4.5
    feed.beat()
    assert (await viewer.then())[0][1] == "9-0"


async def test_resume_gives_every_missed_tick_in_order() -> None:
    """Changed or not; then the stream goes on without a repeat."""
    feed, _ = feed_with(*(tick(n, a=n // 2) for n in range(1, 8)))
    viewer = view(feed, last_id="3-0")
    assert [id for _, id, _ in await viewer.read()] == ["4-0", "5-0", "6-0", "7-0"]
    assert await viewer.waits()
    feed.hear(tick(8, a=100))
    assert [id for _, id, _ in await viewer.then()] == ["8-0"]


async def test_resume_with_nothing_missed_repeats_nothing() -> None:
    """The viewer has all: only a retry comes."""
    feed, _ = feed_with(tick(1, a=1))
    viewer = view(feed, last_id="1-0")
    assert await viewer.read() == []
    assert await viewer.waits()


async def test_an_id_that_the_log_does_not_have_gets_one_history() -> None:
    """Too old, or garbage: the past once, the totals, no error."""
    feed, _ = feed_with(*(tick(n, a=n) for n in range(5, 8)))
    for bad in ("1-0", "garbage", "5-1", "\n", "0" * 10_000):
        got = await view(feed, last_id=bad).read()
        assert [(name, id) for name, id, _ in got] == [("history", "7-0"), ("counts", "7-0")]
        assert [point[1] for point in got[0][2]["series"]["a"]] == [5, 6, 7]


async def test_a_viewer_that_knows_more_than_we_resumes_when_we_have_caught_up() -> None:
    """It was at another web process, which heard the tick first, or we have just started and
    have not read the log: what it has is not sent again, what follows is."""
    for known in (0, 5):
        feed, _ = feed_with(*(tick(n, a=n) for n in range(1, known + 1)))
        viewer = view(feed, last_id="7-0")
        assert await viewer.read() == []
        assert await viewer.waits()
        for n in range(known + 1, 10):
            feed.hear(tick(n, a=n))
        assert [id for _, id, _ in await viewer.then()] == ["8-0", "9-0"]


async def test_a_tick_that_nobody_else_has_is_not_awaited_for_long() -> None:
    """An id from the future, or of a tick that Redis forgot: after a moment the past once."""
    feed, clock = feed_with(*(tick(n, a=n) for n in range(5, 8)))
    viewer = view(feed, last_id="99-0")
    assert await viewer.read() == []
    assert await viewer.waits()
    clock.now += 4.5
    feed.beat()
    got = await viewer.then()
    assert [(name, id) for name, id, _ in got] == [("history", "7-0"), ("counts", "7-0")]
    assert await viewer.waits()


async def test_a_viewer_that_came_before_the_log_gets_the_totals_once() -> None:
    """The web process has just started: of the log that it then reads, the newest tick is news."""
    feed, _ = feed_with()
    viewer, past = view(feed), view(feed, history=100)
    for each in (viewer, past):
        assert await each.read() == []
        assert await each.waits()
    for n in range(1, 200):
        feed.hear(tick(n, a=n))
    feed.hear(None)
    assert [(name, id) for name, id, _ in await viewer.then()] == [("counts", "199-0")]
    assert [name for name, _, _ in await past.then()] == ["history", "counts"]


async def test_a_burst_of_ticks_reaches_a_viewer_whole() -> None:
    """After an outage many ticks come at once: none is skipped."""
    feed, _ = feed_with(tick(1, a=1))
    viewer = view(feed)
    await viewer.read()
    assert await viewer.waits()
    for n in range(2, 302):
        feed.hear(tick(n, a=n))
    got = [id for _, id, _ in await viewer.then()]
    assert got == [f"{n}-0" for n in range(2, 302)]


async def test_a_viewer_that_was_blocked_gets_the_newest_totals() -> None:
    """Skipping is right for who cannot keep up; its memory is one position."""
    feed, clock = feed_with(tick(1, a=1))
    viewer = view(feed)
    await viewer.read()
    feed.hear(tick(2, a=2))
    await viewer.read()
    for n in range(3, 30):  # while this piece is written
        feed.hear(tick(n, a=n))
        clock.now += 0.5
    assert [id for _, id, _ in await viewer.read()] == ["29-0"]
    feed.hear(tick(30, a=30))
    assert [id for _, id, _ in await viewer.read()] == ["30-0"]


async def test_a_web_process_that_was_stopped_skips_nothing() -> None:
    """Its viewers were not slow: all ticks that came when it went on are theirs."""
    feed, clock = feed_with(tick(1, a=1))
    viewer = view(feed)
    await viewer.read()
    feed.hear(tick(2, a=2))
    await viewer.read()
    clock.now += 10  # SIGSTOP while this piece was written
    for n in range(3, 30):
        feed.hear(tick(n, a=n))
    assert [id for _, id, _ in await viewer.read()] == [f"{n}-0" for n in range(3, 30)]


async def test_totals_that_fall_bring_a_fresh_history() -> None:
    """Redis lost its data: no negative line, but a new beginning."""
    feed, _ = feed_with(*(tick(n, a=100 + n) for n in range(1, 4)))
    viewer = view(feed)
    await viewer.read()
    assert await viewer.waits()
    feed.hear(tick(4, a=2))
    got = await viewer.then()
    assert [(name, id) for name, id, _ in got] == [("history", "4-0"), ("counts", "4-0")]
    assert got[0][2]["series"] == {"a": [[2000, 2]]}


async def test_a_gap_that_cannot_be_filled_brings_a_fresh_history() -> None:
    """The log in Redis was cut before it could be read: better a new line than a hole."""
    feed, _ = feed_with(tick(1, a=1), tick(2, a=2))
    viewer = view(feed, last_id="1-0")
    await viewer.read()
    assert await viewer.waits()
    feed.hear(tick(9, previous=8, a=9))
    assert [name for name, _, _ in await viewer.then()] == ["history", "counts"]


async def test_the_log_keeps_fifteen_minutes() -> None:
    """By the ticks' own times, so its memory has a bound."""
    feed, _ = feed_with(*(tick(n, a=n) for n in range(1, 2500)))
    assert len(feed.ticks) == 1801
    assert feed.ticks[-1].at - feed.ticks[0].at == 900_000


async def test_the_log_is_bounded_though_a_clock_stands_still() -> None:
    """Or goes back by an hour: no times that ticks have can fill the memory."""
    feed, _ = feed_with(*(replace(tick(n, a=n), at=5) for n in range(1, 9500)))
    assert len(feed.ticks) == len(feed.arrived) == 9001
    assert feed.ticks[-1].id == tick(9499).id


async def test_viewers_with_the_same_hashtags_share_the_bytes() -> None:
    """A tick is encoded once for them all, and a selection nobody has is forgotten."""
    feed, _ = feed_with(tick(1, a=1))
    viewers = [view(feed) for _ in range(3)]
    for viewer in viewers:
        await viewer.read()
        assert await viewer.waits()
    feed.hear(tick(2, a=2))
    await asyncio.gather(*(viewer.pending for viewer in viewers))
    first, *others = (viewer.pending.result() for viewer in viewers)
    assert all(other is first or other == first for other in others)
    assert len(feed.selections) == 1
    for viewer in viewers:
        await viewer.stream.aclose()  # type: ignore[attr-defined]
    viewers.clear()
    viewer = None  # type: ignore[assignment]
    assert len(feed.selections) == 0


async def test_viewers_that_come_back_after_long_share_the_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What many missed is encoded once, however much it is, and forgotten with the next tick."""
    feed, _ = feed_with(*(tick(n, a=n) for n in range(1, 1001)))
    encode, encoded = sse.event, []
    monkeypatch.setattr(sse, "event", lambda *told: encoded.append(told) or encode(*told))
    shared = feed.selection(("a",), False)
    for _ in range(20):
        got = await view(feed, last_id="100-0").read()
        assert [id for _, id, _ in got] == [f"{n}-0" for n in range(101, 1001)]
        assert (await view(feed, history=900).read())[0][0] == "history"
    assert len(encoded) <= 902
    for n in range(200, 300):
        await view(feed, last_id=f"{n}-0").read()
    assert len(shared.joined) == JOINED_KEPT
    feed.hear(tick(1001, a=1001))
    assert not shared.joined


def test_many_selections_share_the_texts_of_a_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A total is written once, for however many different sets of hashtags it is shown in."""
    write, wrote = selection.dumps, []
    monkeypatch.setattr(selection, "dumps", lambda told: wrote.append(told) or write(told))
    tags, costs = [f"tag{n}" for n in range(20)], []
    for n, many in enumerate((1, 190)):
        told = tick(10_000 + n, **dict.fromkeys(tags, 7))
        wrote.clear()
        chosen = [Selection(pair) for pair in combinations(tags, 2)][:many]
        assert len({each.frame(told) for each in chosen}) == many
        costs.append(len(wrote))
    assert 0 < costs[0] == costs[1]


async def test_close_ends_every_stream_with_a_jittered_retry() -> None:
    """Pages come back each at a time of its own."""
    clock, chances = Clock(), iter([0.5, 0.5, 0.5, 0.0, 0.5, 0.999])
    feed = Feed(0.5, clock=clock, chance=lambda: next(chances))
    feed.hear(tick(1, a=1))
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


def test_a_selection_by_source_shows_the_parts() -> None:
    """Grouped by source, totals are split."""
    assert Selection(("a",), by_source=True).totals(tick(1, a=3)) == {"a": {"x": 3}}


async def test_others_get_a_turn_between_ticks_that_come_at_once(
    redis_server: RedisServer,
) -> None:
    """After an outage of Redis the process answers also while it hands on what was missed."""
    store, state, turn = Store(connect(redis_server.url)), State(), 0
    for n in range(30):
        made = {"at": n, "tick": 0.5, "tracked": ["a"], "increments": {}, "cursors": {}}
        told = {**made, "sources": {}, "details": {}}
        state = await store.commit(state, f"commit {n}", told)
    feed = Feed(0.5)
    feed.hear((await store.ticks_after(""))[0])
    feed.hear(None)
    turns: list[int] = []
    hear = feed.hear

    def heard(tick: Tick | None) -> None:
        turns.append(turn)
        hear(tick)

    feed.hear = heard  # type: ignore[method-assign]
    following = asyncio.create_task(feed.follow(store))
    async with asyncio.timeout(10):
        while len(turns) < 29:
            turn += 1
            await asyncio.sleep(0)
    while not following.done():  # before Python 3.12 a wait_for inside may swallow a cancel
        following.cancel()
        await asyncio.wait([following], timeout=1)
    await store.redis.aclose()
    assert len(set(turns)) == len(turns)
