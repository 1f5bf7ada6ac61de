"""X by counts: every whole minute once."""

import asyncio
import json
import time as wall_clock
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from itertools import pairwise

import pytest
from network import Counting
from servers import App, RedisServer, viewing
from x_server import TOKEN, x_server

from app.messages import Checkpoint, Message, MinuteCount
from app.settings import Settings, read
from app.sources import SourceLost
from app.sources.x.counts import XCounts

NOON = 1_795_478_400.0


def settings(url: str, **more: str) -> Settings:
    return read(
        {"SOURCES": "x", "X_BEARER_TOKEN": TOKEN, "X_API_URL": url, "X_MODE": "counts", **more}
    )


class Time:
    """A clock that moves only when the source sleeps."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


def made(url: str, time: Time, **more: str) -> XCounts:
    source = XCounts(settings(url, **more), time)
    source.sleep = time.sleep  # type: ignore[method-assign]
    return source


async def counted(source: XCounts, cursor: str, until: float) -> tuple[dict[str, int], str]:
    """Posts by hashtag up to a time, and the cursor that then stands."""
    posts: dict[str, int] = {}
    stream = source.posts(cursor)
    async for message in stream:
        if isinstance(message, MinuteCount):
            posts[message.hashtag] = posts.get(message.hashtag, 0) + message.posts
            continue
        assert isinstance(message, Checkpoint)
        cursor = message.cursor
        if min(upto(cursor).values()) >= until:
            break
    await stream.aclose()  # type: ignore[attr-defined]
    return posts, cursor


def upto(cursor: str) -> dict[str, int]:
    """Up to which second each hashtag is counted without a hole."""
    parts = json.loads(cursor)["tags"]
    return {tag: holes[0][0] if holes else end for tag, (end, _, holes, _) in parts.items()}


def in_minute(query: str, at: int) -> int:
    """A different number every minute, for each hashtag."""
    return at // 60 % 7 + len(query)


def truth(tag: str, begin: float, end: float) -> int:
    return sum(in_minute(f"#{tag}", at) for at in range(int(begin), int(end), 60))


async def test_every_whole_minute_counts_once() -> None:
    """From the minute of the start, one request a minute and hashtag, none twice."""
    async with x_server() as x:
        x.posts_in = in_minute
        posts, _ = await counted(made(x.url, Time(NOON + 20)), "", NOON + 600)
        spans = [(q["query"], q["start_time"], q["end_time"]) for _, _, q in x.asked]
    assert posts == {tag: truth(tag, NOON, NOON + 600) for tag in ("science", "football")}
    assert len(spans) == len(set(spans)) == 20


async def test_counts_are_asked_for_as_the_hashtag_was_typed() -> None:
    """X does not fold ß into ss, as our keys do."""
    async with x_server() as x:
        x.posts_in = in_minute
        source = made(x.url, Time(NOON + 20), HASHTAGS="Fußball")
        posts, _ = await counted(source, "", NOON + 120)
        assert {q["query"] for _, _, q in x.asked} == {"#Fußball"}
    assert posts == {"fussball": truth("Fußball", NOON, NOON + 120)}


async def test_a_restart_counts_what_was_missed_and_nothing_twice() -> None:
    """After hours away the minutes since the cursor are asked for, in spans that X answers."""
    async with x_server() as x:
        x.posts_in = in_minute
        first, cursor = await counted(made(x.url, Time(NOON + 20)), "", NOON + 180)
        back = NOON + 50 * 3600
        then, last = await counted(made(x.url, Time(back)), cursor, back - 60)
    for tag in ("science", "football"):
        assert first[tag] == truth(tag, NOON, NOON + 180)
        assert then[tag] == truth(tag, NOON + 180, upto(last)[tag])


async def test_each_minute_goes_where_it_belongs() -> None:
    """Also one without a post, so that it is no gap, and one that is just over."""
    async with x_server() as x:
        x.posts_in = lambda query, at: int(at // 60 % 3)
        source = made(x.url, Time(NOON + 3600 + 80), HASHTAGS="science")
        messages = [one async for one in taken(source, json.dumps({"science": NOON}))]
        assert source.public_state().unbroken_since == NOON * 1000
    *minutes, last = messages
    minutes_after = range(int(NOON), int(NOON) + 62 * 60, 60)
    assert minutes == [MinuteCount("x", "science", at * 1000, at // 60 % 3) for at in minutes_after]
    assert isinstance(last, Checkpoint) and upto(last.cursor) == {"science": NOON + 62 * 60}


async def taken(source: XCounts, cursor: str) -> AsyncIterator[Message]:
    """Messages up to the second checkpoint, but without the first."""
    async with aclosing(source.posts(cursor)) as messages:  # type: ignore[type-var]
        ends = 0
        async for message in messages:
            ends += isinstance(message, Checkpoint)
            if ends != 1 or not isinstance(message, Checkpoint):
                yield message
            if ends == 2:
                return


async def test_with_backfill_the_day_before_the_first_start_is_counted() -> None:
    """In two requests a hashtag; from then on one a minute, as ever."""
    async with x_server() as x:
        x.posts_in = in_minute
        source = made(x.url, Time(NOON + 20), X_BACKFILL="true", HASHTAGS="science")
        posts, cursor = await counted(source, "", NOON + 60)
        asked = len(x.asked)
    assert upto(cursor) == {"science": NOON + 60}
    assert posts == {"science": truth("science", NOON - 86_400, NOON + 60)}
    assert asked == 3


async def test_a_clock_that_is_ahead_does_not_end_it_for_good() -> None:
    """X refuses to tell of what is to come: that was said to be beyond mending, and nothing was
    counted any more, though the clock was set right a minute later."""
    now = wall_clock.time()
    begin = json.dumps({"science": now - 600})
    async with x_server() as x:
        x.posts_in, x.clock = in_minute, lambda: now
        time = Time(now + 3600)
        source = made(x.url, time, HASHTAGS="science")
        with pytest.raises(SourceLost, match="clock is 3,") as lost:
            await anext(source.posts(begin))
        assert (x.fired, lost.value.for_good) == ([400], False)
        time.now = now
        posts, cursor = await counted(source, begin, now - 120)
    first = int(now - 600) // 60 * 60
    assert posts == {"science": truth("science", first, upto(cursor)["science"])}


async def test_a_failure_and_a_hole_in_the_answer_count_nothing() -> None:
    """X's error has its wait; an answer that lacks a minute is not believed."""
    async with x_server() as x:
        x.failures.append(
            (429, {"x-rate-limit-reset": str(int(NOON + 500))}, {"title": "Too Many"})
        )
        source = made(x.url, Time(NOON + 90))
        with pytest.raises(SourceLost) as lost:
            await anext(source.posts(json.dumps({"science": NOON - 60, "football": NOON - 60})))
        assert lost.value.wait is not None
        assert lost.value.wait > 400
        x.failures.append((200, {}, {"data": [{"start": "2026-11-24T00:00:00Z"}]}))
        with pytest.raises(SourceLost, match="could not be read"):
            await anext(source.posts(json.dumps({"science": NOON - 60, "football": NOON - 60})))
        assert not x.failures


class Gate(Time):
    """Goes on as soon as it may, up to its end."""

    def __init__(self, now: float, end: float) -> None:
        super().__init__(now)
        self.end, self.free = end, asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        await self.free.wait()
        if self.now + seconds > self.end:
            await asyncio.Event().wait()
        await super().sleep(seconds)


async def test_no_open_page_sees_a_spike(
    redis_server: RedisServer, start_app: Callable[..., App]
) -> None:
    """A minute's posts are known when it is over; the line rises through all of that minute."""
    minutes, now = 9, wall_clock.time()
    begin = now // 60 * 60 - 60 * (minutes + 1)
    counting, time = Counting(redis_server), Gate(begin + 20, now)
    app = start_app("web", REDIS_URL=redis_server.url, HASHTAGS="science").started()
    async with x_server() as x:
        x.posts_in = lambda query, at: 36
        source = made(x.url, time, HASHTAGS="science")
        async with counting.of(source), viewing(f"{app.url}/events") as events:
            drawn, told = 0, 0
            async for event in events:
                if event.name == "history":
                    line = event.data["series"]["science"]
                    assert all(0 <= later[1] - one[1] <= 36 / 6 for one, later in pairwise(line))
                    drawn, told = line[-1][1], told + (line[-1][1] > 0)
                elif event.name == "counts":
                    assert event.data["counts"] == {"science": drawn}
                    time.free.set()
                if drawn >= 36 * minutes:
                    break
    assert told
    await counting.aclose()
