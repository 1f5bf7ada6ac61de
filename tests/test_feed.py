"""The shared log and its viewers, tick by tick, with a clock that the test moves."""

import asyncio
import gc
import json
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Callable
from itertools import combinations, pairwise
from typing import Any

import msgspec
import pytest
from served import Writer, serving
from servers import App, RedisServer, eventually, get, viewing
from test_failover import peak

from app.messages import SourceState, Tick
from app.process import beside
from app.store import keys
from app.store.state import State
from app.store.store import Store, StoreLost
from app.web import fanout, shared, sse, watched
from app.web.fanout import FanOut
from app.web.feed import Feed
from app.web.history import Grid, short_answer
from app.web.sse import PIECE
from app.web.ticks import Ticks
from app.web.viewer import TICKS_AT_ONCE, Start, Viewer

LIVE = SourceState("live", 1, "", True)


def tick(
    n: int, previous: int | None = None, by: int = 1, at: int | None = None, /, **counts: int
) -> Tick:
    """The n-th tick of a run that began at 1-0, half a second each: the totals of what changed,
    each by so much."""
    before = n - 1 if previous is None else previous
    return Tick(
        id=f"{n}-0",
        previous=f"{before}-0" if before else "",
        at=n * 500 if at is None else at,
        seconds=0.5,
        counts={tag: {"x": total} for tag, total in counts.items()},
        added={tag: {"x": by} for tag in counts},
        names={tag: tag.upper() for tag in counts},
        sources={"x": LIVE},
    )


def changed(tick: Tick, **fields: Any) -> Tick:
    """The tick with other fields."""
    return Tick(**{**{name: getattr(tick, name) for name in Tick.__struct_fields__}, **fields})


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Reader:
    """A stream that is read by the test; what it got, as (event, id, data)."""

    def __init__(self, stream: AsyncIterator[bytes]) -> None:
        self.stream, self.raw = stream, b""

    async def read(self) -> list[tuple[str, str, Any]]:
        """What is sent at once, in pieces where it is long, as events."""
        self.raw = b""
        async with asyncio.timeout(5):
            return await self.read_on()

    async def begin(self) -> list[tuple[str, str, Any]]:
        """The same of a long past, which is made in turns, after what comes before it."""
        assert (await self.read(), self.raw[:7]) == ([], b"retry: ")
        return await self.read()

    async def read_on(self) -> list[tuple[str, str, Any]]:
        piece = self.raw
        while not piece or len(piece) == PIECE:
            piece = await anext(self.stream)
            self.raw += piece
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
            self.raw = await self.pending
            return await self.read_on()


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


def view(feed: Feed, *tags: str, **start: Any) -> Reader:
    return Reader(Viewer(feed, feed.watch(tags or ("a",), False), Start(**start)).stream())


async def test_a_new_viewer_gets_the_totals_at_once() -> None:
    """A retry, then the newest totals, with the newest tick's id after the data."""
    feed, _ = feed_with(tick(1, a=1), tick(2, None, 4, a=5))
    viewer = view(feed)
    [(name, id, told)] = await viewer.read()
    assert viewer.raw.startswith(b"retry: 2000\n\nevent: counts\ndata: {")
    assert viewer.raw.endswith(b"}\nid: 2-0\n\n")
    assert (name, id, told["counts"], told["at"]) == ("counts", "2-0", {"a": 5}, 1000)
    assert (told["names"], told["sources"]) == ({"a": "A"}, {"x": "live"})
    assert told["details"] == {"x": {"since": 1, "reason": ""}}


async def test_history_comes_before_the_totals() -> None:
    """As far back as asked, by the ticks' own times: the total then, each change, the last."""
    feed, _ = feed_with(*(tick(n, a=n) for n in range(1, 9)), tick(9), tick(10))
    history, now = await view(feed, history=2).read()
    assert history[:2] == ("history", "10-0")
    points = [[3000, 6], [3500, 7], [4000, 8], [5000, 8]]
    assert history[2] == {
        "at": 5000, "tick": 0.5, "series": {"a": points}, "names": {"a": "A"}, "gaps": [],
    }  # fmt: skip
    assert now[:2] == ("counts", "10-0")


async def test_the_first_point_is_what_was_before_the_first_change() -> None:
    """Where the log begins: the total less what that tick added."""
    feed, _ = feed_with(tick(1), tick(2, None, 3, a=10), tick(3))
    [history, _] = await view(feed, history=900).read()
    assert history[2]["series"] == {"a": [[500, 7], [1000, 10], [1500, 10]]}


async def test_only_ticks_that_change_the_viewers_totals_are_sent() -> None:
    """Another hashtag's posts are not this viewer's news."""
    feed, _ = feed_with(tick(1, a=1, b=1))
    viewer = view(feed, "a")
    await viewer.read()
    assert await viewer.waits()
    feed.hear(tick(2, b=2))
    feed.hear(tick(3, a=2))
    [(_, id, told)] = await viewer.then()
    assert (id, told["counts"]) == ("3-0", {"a": 2})


async def test_an_event_has_all_totals_of_its_viewer() -> None:
    """Of the hashtags that changed in that tick, and of all others, as they were then."""
    feed, _ = feed_with(tick(1, a=1, b=1), tick(2, b=2), tick(3, a=2), tick(4, b=3))
    got = await view(feed, "b", "a", last_id="1-0").read()
    assert [(id, told["counts"]) for _, id, told in got] == [
        ("2-0", {"b": 2, "a": 1}),
        ("3-0", {"b": 2, "a": 2}),
        ("4-0", {"b": 3, "a": 2}),
    ]
    assert list(got[0][2]["counts"]) == ["b", "a"]


async def test_unchanged_totals_are_repeated_within_five_seconds() -> None:
    """So that silence means trouble; with ticks, and also when no more tick comes."""
    feed, clock = feed_with(tick(1, a=1))
    viewer = view(feed)
    await viewer.read()
    assert await viewer.waits()
    for n in range(2, 10):
        assert not viewer.pending.done()
        clock.now += 0.5
        feed.hear(tick(n))
        feed.beat()
    [(_, id, told)] = await viewer.then()
    assert (id, told["counts"]) == ("9-0", {"a": 1})
    assert await viewer.waits()
    clock.now += 4.5
    feed.beat()
    assert (await viewer.then())[0][1] == "9-0"


UNKNOWN = {"since": 1000, "reason": "nothing was heard since the last tick"}


async def test_a_repeat_after_three_silent_ticks_says_that_nothing_is_known() -> None:
    """Its totals are as old as its `at`, and a source that was live then may be down now: it is
    `unknown`, since the last tick, until the next one, of which everybody hears at once."""
    feed, clock = feed_with(tick(1, a=1))
    feed.hear(tick(2, a=2))
    viewer = view(feed)
    [(_, _, told)] = await viewer.read()
    assert told["sources"] == {"x": "live"}
    assert await viewer.waits()
    clock.now += 4.5
    feed.beat()
    [(name, id, told)] = await viewer.then()
    assert (name, id, told["counts"], told["at"]) == ("counts", "2-0", {"a": 2}, 1000)
    assert (told["sources"], told["details"]) == ({"x": "unknown"}, {"x": UNKNOWN})
    for start in ({}, {"last_id": "garbage"}):  # who comes in the meantime
        told = (await view(feed, **start).read())[-1][2]
        assert (told["sources"], told["details"]) == ({"x": "unknown"}, {"x": UNKNOWN})
    assert await viewer.waits()
    feed.hear(tick(3))
    [(_, id, told)] = await viewer.then()
    assert (id, told["counts"], told["sources"]) == ("3-0", {"a": 2}, {"x": "live"})
    assert [id for _, id, _ in await view(feed, last_id="2-0").read()] == ["3-0"]


@pytest.mark.parametrize(("lasts", "silent"), [(0.1, 1.0), (0.5, 1.5), (10.0, 30.0)])
def test_how_long_nothing_is_heard_before_that_is_told(lasts: float, silent: float) -> None:
    """Three ticks of the length that they have, and a second at the least."""
    feed, clock = feed_with(tick(1, a=1))
    feed.hear(changed(tick(2, a=2), seconds=lasts))
    feed.seconds = feed.hearing.seconds = 0.1
    clock.now += silent - 0.01
    assert feed.present is feed.newest
    clock.now += 0.02
    assert feed.present and feed.present.sources["x"].state == "unknown"
    assert feed.newest and feed.newest.sources["x"].state == "live"


def test_a_web_process_that_has_just_begun_waits_for_a_tick_as_long() -> None:
    """All that it has is old, and it has not listened for longer."""
    feed, clock = feed_with()
    clock.now += 100
    for each in (tick(1, a=1), None):
        feed.hear(each)
    assert feed.present is feed.newest
    clock.now += 2
    assert feed.present and feed.present.sources["x"].state == "unknown"
    clock.now += 100
    assert not feed.hear(tick(9, a=9))  # the log is read anew, after an outage of Redis
    for each in (tick(8, a=8), tick(9, a=9), None):
        feed.hear(each)
    assert feed.present and feed.present.sources["x"].state == "unknown"


@pytest.mark.parametrize("lane", ["on", "off"])
async def test_everybody_is_told_that_nothing_is_known(
    redis_server: RedisServer, lane: str
) -> None:
    """Over real connections: the stream by either lane, and /api/counts."""
    async with serving(redis_server.url, lane) as site:
        await site.publish()
        await site.hears()
        url = f"http://127.0.0.1:{site.port}"
        at = site.feed.ticks.heads[-1].at
        async with viewing(f"{url}/events?tags=science") as stream:
            events = [await anext(stream) for _ in range(2)]
            assert events[1].data["sources"] == {"demo": "live"}
            site.clock.ahead += 10
            repeated = await anext(stream)
            status, told = await get(f"{url}/api/counts?tags=science")
            for data in (repeated.data, told):
                assert (data["sources"], data["at"]) == ({"demo": "unknown"}, at)
                assert data["details"]["demo"] == {**UNKNOWN, "since": at}
            assert (status, told["counts"]) == (200, repeated.data["counts"])
            await site.publish(science=0)
            assert (await anext(stream)).data["sources"] == {"demo": "live"}
        _, told = await get(f"{url}/api/counts?tags=science")
        assert told["sources"] == {"demo": "live"}


async def test_resume_gives_every_missed_change_in_order() -> None:
    """Then the stream goes on without a repeat."""
    feed, _ = feed_with(*(tick(n, **({"a": n} if n % 2 else {})) for n in range(1, 8)))
    viewer = view(feed, last_id="2-0")
    assert [id for _, id, _ in await viewer.read()] == ["3-0", "5-0", "7-0"]
    assert await viewer.waits()
    feed.hear(tick(8, a=100))
    assert [id for _, id, _ in await viewer.then()] == ["8-0"]


async def test_resume_with_nothing_missed_repeats_nothing() -> None:
    """The viewer has all: only a retry comes."""
    feed, _ = feed_with(tick(1, a=1), tick(2, a=2), tick(3))
    for last in ("2-0", "3-0"):
        viewer = view(feed, last_id=last)
        assert await viewer.read() == []
        assert await viewer.waits()


async def test_an_id_that_the_log_does_not_have_gets_one_history() -> None:
    """Too old, or garbage: the past once, the totals, no error."""
    feed, _ = feed_with(*(tick(n, a=n) for n in range(5, 8)))
    for bad in ("1-0", "4-0", "garbage", "5-1", "\n", "0" * 10_000):
        got = await view(feed, last_id=bad).read()
        assert [(name, id) for name, id, _ in got] == [("history", "7-0"), ("counts", "7-0")]
        assert [point[1] for point in got[0][2]["series"]["a"]] == [5, 6, 7]


async def test_new_hashtags_get_their_past_where_the_others_are_resumed() -> None:
    """As of the event that the page has, and with its id: whatever is cut then is not lost."""
    feed, _ = feed_with(*(tick(n, a=n, b=10 * n) for n in range(1, 6)))
    got = await view(feed, "a", "b", last_id="3-0", new=("b",)).read()
    assert [(name, id) for name, id, _ in got] == [
        ("history", "3-0"), ("counts", "4-0"), ("counts", "5-0"),
    ]  # fmt: skip
    assert got[0][2]["series"] == {"b": [[500, 10], [1000, 20], [1500, 30]]}
    assert got[1][2]["counts"] == {"a": 4, "b": 40}


async def test_new_hashtags_get_as_much_past_as_is_asked() -> None:
    """`history` says how much; one that begins where nothing can be resumed gets it all."""
    feed, _ = feed_with(*(tick(n, a=n, b=n) for n in range(1, 6)))
    [history, *_] = await view(feed, "a", "b", last_id="5-0", new=("b",), history=1).read()
    assert history[2]["series"] == {"b": [[1500, 3], [2000, 4], [2500, 5]]}
    for last_id in ("garbage", ""):
        got = await view(feed, "a", "b", last_id=last_id, new=("b",)).read()
        assert [(name, id) for name, id, _ in got] == [("history", "5-0"), ("counts", "5-0")]
        assert set(got[0][2]["series"]) == ({"a", "b"} if last_id else {"b"})


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
        feed.hear(None)
        assert [id for _, id, _ in await viewer.then()] == ["8-0", "9-0"]


async def test_a_tick_that_nobody_else_has_is_not_awaited_for_long() -> None:
    """An id from the future, or of a tick that Redis forgot: after a moment the past is told, as for
    an id that is too old, or as much of it as is asked for."""
    feed, clock = feed_with(*(tick(n, a=n) for n in range(5, 8)))
    viewer, other = view(feed, last_id="99-0"), view(feed, last_id="99-0", history=60)
    for each in (viewer, other):
        assert await each.read() == []
        assert await each.waits()
    clock.now += 4.5
    feed.beat()
    for each in (viewer, other):
        got = await each.then()
        assert [(name, id) for name, id, _ in got] == [("history", "7-0"), ("counts", "7-0")]
        assert await each.waits()


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
    for _ in range(2):  # so many at a time
        assert len(got) % TICKS_AT_ONCE == 0
        got += [id for _, id, _ in await viewer.read()]
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


def flood(n: int, hashtags: int = 500) -> Tick:
    """The n-th tick, with as many hashtags that nobody has used before."""
    return tick(n, **{f"tag{n:06}x{m:06}{'語' * 20}": 1 for m in range(hashtags)})


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
    clock.now += 3.5  # those that heard nothing for 4 s are told again, and no others
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


class Shelf:
    """A store with these totals as of one tick; reading may be held up."""

    def __init__(self, tick: str, **values: bytes) -> None:
        self.state = State(tick=tick, networks=("x", "y"))
        self.values = values
        self.asked: list[list[str]] = []
        self.meanwhile: list[Any] = []
        self.skipped: list[str] = []

    def skip(self, why: str) -> None:
        self.skipped.append(why)

    async def load(self) -> State:
        return State(networks=("x",))

    async def read(self, fields: dict[str, list[str]]) -> tuple[State, dict[str, Any]]:
        self.asked.append(sorted(fields))
        tags = fields[keys.totals("x")]
        found = {tag: self.values[tag] for tag in tags if tag in self.values}
        answer = self.state, {keys.totals("x"): found}
        for each in self.meanwhile:
            each()
        return answer


def feed_on(shelf: Shelf, *ticks: Tick) -> Feed:
    feed, _ = feed_with(*ticks)
    feed.store = shelf  # type: ignore[assignment]
    return feed


async def test_a_hashtag_that_nobody_asked_is_learnt() -> None:
    """Its total, and its past as a flat line; one that nobody used has 0; of all the sources
    that there are by now."""
    shelf = Shelf("2-0", old=b"70 1")
    feed = feed_on(shelf, tick(1, a=1), tick(2, a=2))
    shown = await feed.fanout(("old", "never", "a"), False)
    assert shown.totals() == {"old": 70, "never": 0, "a": 2}
    both = sorted(map(keys.totals, "xy"))
    assert shelf.asked == [both[:1], both]
    got = await view(feed, "old", "never", "a", history=900).read()
    assert got[0][2]["series"] == {
        "old": [[500, 70], [1000, 70]], "never": [[500, 0], [1000, 0]], "a": [[500, 1], [1000, 2]],
    }  # fmt: skip
    assert await feed.fanout(("old", "a"), True) is not shown
    assert shelf.asked == [both[:1], both], "what is watched is known"


async def test_a_value_waits_for_the_tick_that_it_belongs_to() -> None:
    """Redis is a tick ahead of what we heard: the value is taken when we have that tick."""
    feed = feed_on(Shelf("3-0", old=b"70 1"), tick(1, a=1), tick(2, a=2))
    asking = asyncio.ensure_future(feed.fanout(("old",), False))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not asking.done()
    feed.hear(tick(3, None, 20, old=70))
    assert (await asking).totals() == {"old": 70}
    assert feed.points("old", 0) == [(500, {"x": 50}), (1500, {"x": 70})]


async def test_a_newer_tick_wins_over_the_value_read() -> None:
    """It came while Redis was asked: its totals are those of later."""
    for newer, total in ((tick(3, old=71), 71), (changed(tick(3), gone=["old"]), 0)):
        shelf = Shelf("2-0", old=b"70 1")
        feed = feed_on(shelf, tick(1, a=1), tick(2, a=2))
        shelf.meanwhile = [
            lambda feed=feed, newer=newer: feed.newest.number < 3 and feed.hear(newer)
        ]
        assert (await feed.fanout(("old",), False)).totals() == {"old": total}


async def test_a_tick_that_does_not_come_is_not_awaited_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One sentence, and nothing is left of the hashtag."""
    monkeypatch.setattr("app.web.feed.WAIT_SECONDS", 0.05)
    feed = feed_on(Shelf("9-0", old=b"70 1"), tick(1, a=1))
    with pytest.raises(StoreLost, match="running"):
        await feed.fanout(("old",), False)
    gc.collect()
    assert not feed.watched and not feed.order
    feed.hear(tick(2, a=2))
    with pytest.raises(StoreLost, match="lag behind"):
        await feed.fanout(("old",), False)
    feed = feed_on(Shelf("garbage", old=b"70 1"), tick(1, a=1))
    with pytest.raises(StoreLost, match="not a stream id"):
        await feed.fanout(("old",), False)


async def test_a_log_that_begins_anew_while_redis_is_asked_is_no_answer() -> None:
    """The value is from before it, so it is read again."""
    shelf = Shelf("1-0", old=b"70 1")
    feed = feed_on(shelf, tick(1, a=1))

    def anew() -> None:
        shelf.meanwhile, shelf.values = [], {"old": b"71 1"}
        feed.hear(tick(7, 6, a=1))
        feed.hear(tick(1, 0, a=1))
        feed.settle()  # as if all else that is watched had been learnt already

    shelf.meanwhile = [anew]
    fanout = await feed.fanout(("old",), False)
    assert fanout.totals() == {"old": 71}
    assert len(shelf.asked) == 3  # once for the networks


async def test_a_value_that_is_no_total_is_skipped() -> None:
    """Counted, said, and 0."""
    shelf = Shelf("1-0", a=b"many", b=b"-1 1", c=b"1")
    feed = feed_on(shelf, tick(1))
    assert (await feed.fanout(("a", "b", "c"), False)).totals() == dict.fromkeys("abc", 0)
    assert len(shelf.skipped) == 3
    assert "'b' in the Redis key" in shelf.skipped[1]


async def test_before_the_log_is_read_nothing_is_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that wants totals at once is told so."""
    monkeypatch.setattr("app.web.feed.WAIT_SECONDS", 0.05)
    feed = feed_on(Shelf("1-0"))
    with pytest.raises(StoreLost, match="No tick has come yet"):
        await feed.fanout(("a",), False)


async def test_a_log_of_a_flood_is_read_with_little(
    store: Store, redis_server: RedisServer, start_app: Callable[..., App]
) -> None:
    """A real web process finds 31 MB of ticks in Redis, of hashtags that nobody used before:
    with that it took 520 MiB, and 358 MB with another such log. Nothing that it is asked
    meanwhile is answered with what is half read."""
    for n in range(100):
        text = json.dumps(msgspec.to_builtins(flood(n + 1, 3000)))
        last = await store.redis.xadd(keys.LOG, {"tick": text}, id=f"{(n + 1) * 500}-0")
    state = {"schema": "2", "version": "2.1", "tick": last, "networks": "x"}
    await store.redis.hset(keys.STATE, mapping=state)
    await store.redis.hset(keys.totals("x"), flooded := next(iter(flood(100, 1).counts)), "1 1")
    web = await asyncio.to_thread(start_app("web", REDIS_URL=redis_server.url).started)
    before, answers = peak(web), []

    async def answered() -> bool:
        status, told = await get(f"{web.url}/api/counts?tags={flooded}")
        answers.append(told)
        return status == 200

    await eventually(answered, "all of it is read")
    assert answers[-1]["counts"] == {flooded: 1}
    assert answers[-1]["at"] == 50_000
    assert peak(web) - before < 200  # python -X dev takes more for each object


async def test_totals_are_learnt_again_when_the_log_begins_anew(store: Store) -> None:
    """A hashtag that is in no tick of the new log: its viewers get the total of now, once."""
    writer, feed = Writer(store), Feed(0.5)
    await writer.commit({"old": 70})
    for n in range(3):
        await writer.commit({"a": n})
    async with beside(feed.run(store), "the feed"):
        await eventually(lambda: feed.loaded, "the feed is loaded")
        viewer = view(feed, "old")
        [(_, _, told)] = await viewer.read()
        assert told["counts"] == {"old": 70}
        assert await viewer.waits()
        await store.redis.hset(keys.totals("demo"), "old", b"60 1")
        await writer.lose_log()
        for n in range(40):
            await writer.commit({"a": n})
            await asyncio.sleep(0)
        got = await viewer.then()
        assert [name for name, _, _ in got] == ["history", "counts"]
        assert got[1][2]["counts"] == {"old": 60}
        assert await viewer.waits()


@pytest.mark.parametrize("lasts", [0.0, 0.002, 0.02])
async def test_others_get_a_turn_between_ticks_that_come_at_once(
    store: Store, lasts: float
) -> None:
    """After an outage of Redis the process answers also while it hands on what was missed: after
    each tick that takes long, and after several that take little."""
    writer, turn = Writer(store), 0
    for n in range(30):
        await writer.commit({"a": n})
    clock = Clock()
    feed = Feed(0.5, clock=clock)
    feed.hear((await store.ticks_after(""))[0])
    feed.hear(None)
    turns: list[int] = []
    hear = feed.hear

    def heard(tick: Tick | None) -> bool:
        turns.append(turn)
        clock.now += lasts
        return hear(tick)

    feed.hear = heard  # type: ignore[method-assign]
    async with beside(feed.follow(store), "the feed"), asyncio.timeout(10):
        while len(turns) < 29:
            turn += 1
            await asyncio.sleep(0)
    at_once = max(Counter(turns).values())
    assert at_once in {0.0: range(10, 30), 0.002: (5, 6), 0.02: (1,)}[lasts]
