"""The shared log and its viewers, tick by tick, with a clock that the test moves."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from servers import eventually

from app.messages import MINUTE, SourceState, Tick
from app.web.feed import Feed
from app.web.sse import PIECE
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


async def test_a_beat_goes_with_a_tick_and_is_made_by_the_timer_where_none_comes() -> None:
    """To wake up for it alone costs more than all that it does; of many ticks not each has one."""
    feed, clock = feed_with(tick(1, a=1))
    timing = asyncio.create_task(feed.repeat())
    timer = await eventually(lambda: feed.timer, "the timer runs")
    when, beats = timer.when(), []
    for n in range(2, 12):
        clock.now += 0.25
        feed.hear(tick(n))
        beats.append(feed.beaten == clock.now)
    assert beats == [True, False] * 5
    assert timer.when() > when and not timer.expired(), "it is put off"
    clock.now += 9
    await eventually(lambda: feed.beaten == clock.now, "the timer has made one")
    await eventually(lambda: feed.timer not in (None, timer), "it runs on")
    timing.cancel()


async def test_unchanged_totals_are_repeated_within_five_seconds() -> None:
    """So that silence means trouble; with ticks, and also when no more tick comes."""
    feed, clock = feed_with(tick(1, a=1))
    viewer = view(feed)
    await viewer.read()
    assert await viewer.waits()
    for n in range(2, 9):
        assert not viewer.pending.done()
        clock.now += 0.5
        feed.hear(tick(n))
        feed.beat()
    [(_, id, told)] = await viewer.then()
    assert (id, told["counts"]) == ("8-0", {"a": 1})
    assert await viewer.waits()
    clock.now += 4.5
    feed.beat()
    assert (await viewer.then())[0][1] == "8-0"


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


async def blocked(late: dict[int, Any]) -> tuple[Feed, Reader]:
    """A viewer that takes nothing while 27 ticks come; late: what they have of the past, by number."""
    feed, clock = feed_with(tick(1, a=1))
    viewer = view(feed)
    await viewer.read()
    feed.hear(tick(2, a=2))
    await viewer.read()
    for n in range(3, 30):  # while this piece is written
        feed.hear(changed(tick(n, a=n), late=late.get(n, {})))
        clock.now += 0.5
    return feed, viewer


async def test_a_viewer_that_was_blocked_gets_the_newest_totals() -> None:
    """Skipping is right for who cannot keep up; its memory is one position."""
    feed, viewer = await blocked({})
    assert [id for _, id, _ in await viewer.read()] == ["29-0"]
    feed.hear(tick(30, a=30))
    assert [id for _, id, _ in await viewer.read()] == ["30-0"]


async def test_a_viewer_that_was_blocked_is_told_of_a_past_that_was_written_anew() -> None:
    """Totals alone would leave its line as it was."""
    _, viewer = await blocked({9: {"a": {"x": [(2 * MINUTE, 1)]}}})
    told = [(name, id) for name, id, _ in await viewer.read()]
    assert told == [("history", "29-0"), ("counts", "29-0")]


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


def flood(n: int, hashtags: int = 500) -> Tick:
    """The n-th tick, with as many hashtags that nobody has used before."""
    return tick(n, **{f"tag{n:06}x{m:06}{'語' * 20}": 1 for m in range(hashtags)})
