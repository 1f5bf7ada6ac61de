"""X by counts: every whole minute once; and the day's budget of the stream, to the post."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import pytest
from servers import App, RedisServer, eventually, get
from x_server import TOKEN, x_server

from app.messages import Post
from app.settings import Settings, read
from app.sources import SourceLost
from app.sources.budget import BLOCK, DAY, Budget
from app.sources.x_counts import XCounts
from app.store import Store, connect

NOON = 1_795_478_400.0


def settings(url: str, **more: str) -> Settings:
    return read(
        {"SOURCES": "x", "X_BEARER_TOKEN": TOKEN, "X_API_URL": url, "X_MODE": "counts", **more}
    )


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[Store]:
    redis = connect(redis_server.url)
    yield Store(redis)
    await redis.aclose()


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
    async for post in stream:
        for tag in post.hashtags:
            posts[tag] = posts.get(tag, 0) + post.posts
        cursor = post.cursor or cursor
        if post.cursor and min(upto(cursor).values()) >= until:
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


async def test_minutes_that_were_missed_go_where_they_belong() -> None:
    """Also such without a post, so that they are no gap; what is told in time is the present's."""
    async with x_server() as x:
        x.posts_in = lambda query, at: int(at // 60 % 3)
        source = made(x.url, Time(NOON + 3600 + 80), HASHTAGS="science")
        posts = [post async for post in taken(source, json.dumps({"science": NOON}), 58)]
    past = {post.at // 1000: post.posts for post in posts if post.past}
    all_of_it = {at: at // 60 % 3 for at in range(int(NOON), int(NOON) + 61 * 60, 60)}
    recent = int(NOON) + 56 * 60
    assert past == {at: n for at, n in all_of_it.items() if at < recent}
    present = {post.at // 1000: post.posts for post in posts if post.hashtags and not post.past}
    assert present == {at: n for at, n in all_of_it.items() if at >= recent and n}


async def taken(source: XCounts, cursor: str, least: int) -> AsyncIterator[Post]:
    """Posts up to the first after so many that moves the cursor."""
    async with aclosing(source.posts(cursor)) as posts:  # type: ignore[type-var]
        n = 0
        async for post in posts:
            yield post
            n += 1
            if post.cursor and n >= least:
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


async def test_the_budget_is_taken_before_posts_are_read(store: Store) -> None:
    """In blocks, up to the ceiling and not one more, for all who read together."""
    time = Time(NOON)
    budgets = [Budget(store, "x", 60, 0.005, time) for _ in range(2)]
    granted = 0
    with pytest.raises(SourceLost) as lost:
        while True:
            for budget in budgets:
                await budget.refill()
                granted += budget.left
    assert granted == 60
    assert lost.value.state == "budget"
    assert lost.value.wait == DAY - NOON % DAY
    time.now += DAY
    await budgets[0].refill()
    assert budgets[0].left == BLOCK


async def test_what_was_not_read_is_given_back(store: Store) -> None:
    """A clean end costs nothing."""
    budget = Budget(store, "x", 30, 0.005, Time(NOON))
    await budget.refill()
    await budget.spend()
    await budget.give_back()
    again = Budget(store, "x", 30, 0.005, Time(NOON))
    await again.refill()
    assert again.left == BLOCK
    await again.refill()
    assert again.left == 30 - BLOCK - 1


async def test_the_ceiling_holds_through_a_kill(
    redis_server: RedisServer, start_app: Callable[..., App]
) -> None:
    """kill -9 in the middle and a restart: together never more than the ceiling are counted."""
    lines = [
        json.dumps(
            {
                "data": {
                    "id": str(n),
                    "text": "",
                    "entities": {"hashtags": [{"start": 0, "end": 1, "tag": "science"}]},
                }
            }
        )
        for n in range(1000)
    ]
    chosen: dict[str, Any] = {
        "SOURCES": "x",
        "X_BEARER_TOKEN": TOKEN,
        "X_POSTS_PER_DAY": 120,
        "REDIS_URL": redis_server.url,
        "HASHTAGS": "science",
    }
    async with x_server() as x:
        x.connections.append(lines[:40])
        first = start_app(X_API_URL=x.url, **chosen).started()
        await eventually(lambda: total(first, 40), "forty posts are counted")
        first.end()
        x.connections.append(lines[40:])
        second = start_app(X_API_URL=x.url, **chosen).started()
        await eventually(lambda: state(second, "budget"), "the ceiling is reached")
        _, told = await get(f"{second.url}/api/counts")
        assert 120 - BLOCK <= told["counts"]["science"] <= 120
        assert told["details"]["x"]["reason"] == "budget reached until 00:00 UTC"
        assert "120 posts read today, about $0.60" in second.output
        connects = x.connects
        second.end()
        third = start_app(X_API_URL=x.url, **chosen).started()
        await eventually(lambda: state(third, "budget"), "the ceiling still holds")
        assert x.connects == connects, "a connect for nothing"


async def total(app: App, posts: int) -> bool:
    status, told = await get(f"{app.url}/api/counts")
    return status == 200 and told["counts"]["science"] == posts


async def state(app: App, wanted: str) -> bool:
    status, told = await get(f"{app.url}/api/counts")
    return status == 200 and told["sources"]["x"] == wanted
