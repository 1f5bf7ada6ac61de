"""The timelines of hashtags, without a network: what is known of them, and in what order."""

import asyncio
import json
from collections import deque
from contextlib import suppress
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mastodon_api import Clock

from app.messages import Post
from app.sources import SourceLost
from app.sources.mastodon.timelines import (
    KNOWN_AT_MOST,
    LATE_POSTS,
    LATE_SECONDS,
    PAGE,
    SEEN_AT_MOST,
    Page,
    RequestPace,
    Timelines,
    Window,
    Windows,
)
from app.sources.mastodon.wire import order

SERVER = "https://a.example"


def post(number: int, *tags: str) -> Post:
    return Post("mastodon", str(10**9 + number), 0, "", {tag: tag for tag in tags or ("science",)})


def page_of(posts: list[Post]) -> Page:
    """One on which every status could be read."""
    return Page(posts, posts[-1].id if posts else "", len(posts))


class Server:
    """Timelines as a Mastodon server has them."""

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.requests = 0

    async def get(self, tag: str, limit: int, since_id: str = "", min_id: str = "") -> Page:
        self.requests += 1
        above = [p for p in self.posts if tag in p.hashtags and p.id > (min_id or since_id)]
        above.sort(key=lambda p: order(p.id))
        return page_of(above[:limit] if min_id else above[-limit:])


async def read(timelines: Timelines, rounds: int = 1) -> list[str]:
    """The ids of what some rounds bring."""
    begin, got = timelines.first_round, list[str]()
    while timelines.first_round > begin - rounds * len(timelines.turn):
        got += [found.id async for found in timelines.step()]
    return got


def test_ids_compare_by_length_first() -> None:
    """As text "9" would come after "10"."""
    assert order("9") < order("10") < order("11") < order("100")
    assert order("AKzeAv1") < order("AKzeAv2")


@hypothesis.settings(max_examples=60)
@given(
    arrivals=st.lists(
        st.tuples(
            st.sampled_from([(), ("a",), ("b",), ("a", "b")]), st.integers(0, 25), st.booleans()
        ),
        max_size=150,
    )
)
def test_every_post_once_however_late_and_after_any_restart(
    arrivals: list[tuple[tuple[str, ...], int, bool]],
) -> None:
    """Posts appear below others, in one timeline or two; now and then all is read, or restarted."""

    async def play() -> tuple[list[str], list[str]]:
        server, clock, got = Server(), Clock(), list[str]()
        windows = Windows(SERVER, ("a", "b"), "", clock())
        timelines = Timelines(deque(("a", "b")), windows, server.get, clock)
        got += await read(timelines)
        for n, (tags, late, restart) in enumerate(arrivals):
            if tags:
                server.posts.append(post(n * 100 - late * 100 + late, *tags))
            else:
                got += await read(timelines)
            if restart:
                windows = Windows(SERVER, ("a", "b"), windows.mark(0), clock())
                timelines = Timelines(deque(("a", "b")), windows, server.get, clock)
        return [p.id for p in server.posts], got + await read(timelines, 2)

    posted, got = asyncio.run(play())
    assert sorted(got) == sorted(set(posted))


async def test_a_round_is_one_request_for_each_timeline() -> None:
    """Where it is not busy: what was seen and is asked for again fits on the same page."""
    server, clock = Server(), Clock()
    timelines = Timelines(deque(("a", "b")), Windows(SERVER, ("a", "b"), "", 0), server.get, clock)
    await read(timelines)
    for n in range(100):
        server.posts.append(post(n, "a"))
        server.requests = 0
        assert await read(timelines) == [post(n).id]
        assert server.requests == 2


async def test_a_burst_is_read_upwards_page_by_page() -> None:
    """The cursor grows no longer by it, and each step is one request."""
    server, clock = Server(), Clock()
    windows = Windows(SERVER, ("a",), "", 0)
    timelines = Timelines(deque(("a",)), windows, server.get, clock)
    await read(timelines)
    server.posts += [post(n, "a") for n in range(1000)]
    got, longest = list[str](), 0
    while len(got) < 1000:
        server.requests = 0
        got += [found.id async for found in timelines.step()]
        assert server.requests == 1
        longest = max(longest, len(json.loads(windows.mark(0))[1]["a"]))
    assert got == [one.id for one in server.posts]
    assert longest <= PAGE + LATE_POSTS + 1


async def test_a_server_that_ignores_min_id_is_no_trap() -> None:
    """It gives the same page again: then the next timeline has its turn."""
    clock = Clock()
    same = [post(n, "a") for n in range(PAGE)]

    async def get(tag: str, limit: int, **_: Any) -> Page:
        return page_of(same[-limit:])

    timelines = Timelines(deque(("a",)), Windows(SERVER, ("a",), "", 0), get, clock)
    timelines.windows.of["a"] = Window("0")
    assert await read(timelines) == [one.id for one in same]
    assert await read(timelines) == []


def test_a_timeline_may_have_posts_that_spell_its_hashtag_otherwise() -> None:
    """Mastodon's timeline of café has cafe as well: such a post is known there, too."""
    windows = Windows(SERVER, ("café", "cafe"), "", 0)
    windows.of = {"café": Window("0"), "cafe": Window("0")}
    assert windows.is_new(post(1, "cafe"), 0, asked="cafe")
    assert not windows.is_new(post(1, "cafe"), 0, asked="café")
    assert windows.is_new(post(2, "Kaffee"), 0, asked="café")
    again = Windows(SERVER, ("café",), windows.mark(0), 0)
    assert list(again.of["café"].seen) == [post(1).id, post(2).id]


def test_what_is_known_is_bounded() -> None:
    """Also where a timeline cannot be read, and so never comes to an end."""
    windows = Windows(SERVER, ("a",), "", 0)
    windows.of["a"] = Window("0")
    for n in range(KNOWN_AT_MOST + SEEN_AT_MOST):
        assert windows.is_new(post(n, "a" if n < 2 * SEEN_AT_MOST else "b"), 0)
    assert len(windows.known) == KNOWN_AT_MOST
    assert len(windows.of["a"].seen) == SEEN_AT_MOST
    assert len(windows.mark(0)) < 20_000


def test_what_the_stream_brought_long_ago_is_not_new_in_a_timeline() -> None:
    """One that could not be read for long: meanwhile more posts came than are known by their ids
    alone."""
    windows = Windows(SERVER, ("a",), "", 0)
    windows.of["a"] = Window("0")
    assert windows.is_new(post(1, "a"), 0)
    for n in range(KNOWN_AT_MOST):
        windows.is_new(post(2 + n, "b"), 0)
    assert post(1).id not in windows.known
    assert not windows.is_new(post(1, "a"), 0, asked="a")


async def test_each_timeline_has_its_turn_however_short_the_connections() -> None:
    """A connection that was lost after a request leaves the next one to the timeline after it."""
    asked, turn, windows = list[str](), deque("abc"), Windows(SERVER, ("a", "b", "c"), "", 0)

    async def get(tag: str, **query: Any) -> Page:
        asked.append(tag)
        return Page([], "", 0)

    for _ in range(6):
        assert [found async for found in Timelines(turn, windows, get, Clock()).step()] == []
    assert asked == [*"abcabc"]


async def test_a_timeline_that_cannot_be_had_keeps_no_other_from_its_turn() -> None:
    asked, windows = list[str](), Windows(SERVER, ("a", "b", "c"), "", 0)

    async def get(tag: str, **query: Any) -> Page:
        asked.append(tag)
        if tag == "b":
            raise SourceLost("it answered 500")
        return Page([], "", 0)

    timelines = Timelines(deque("abc"), windows, get, Clock())
    for _ in range(6):
        with suppress(SourceLost):
            assert [found async for found in timelines.step()] == []
    assert asked == [*"abcabc"]


def test_what_is_old_is_done() -> None:
    """Ten minutes after it was seen a post is not asked for again; what was not read, is."""
    window = Window("1000000000")
    window.add("999999999", 0)
    assert not window.seen, "below what is done nothing is asked for"
    for n in range(1, 9):
        window.add(post(n).id, n)
    window.trim(LATE_SECONDS + 5, read_to=post(3).id)
    assert window.since == post(3).id
    window.trim(LATE_SECONDS + 5, read_to=post(8).id)
    assert (window.since, list(window.seen)) == (post(5).id, [post(n).id for n in (6, 7, 8)])


@pytest.mark.parametrize("url", [SERVER, "https://b.example"])
def test_a_cursor_is_one_server_s(url: str) -> None:
    """Another server has other ids: there it begins anew."""
    windows = Windows(SERVER, ("a", "b"), "", 0)
    windows.of["a"] = Window("5")
    windows.is_new(post(7, "a"), 0)
    again = Windows(url, ("a",), windows.mark(0), 9)
    mine = {"a": Window("5", {post(7).id: 9})}
    assert again.of == (mine if url == SERVER else {})
    assert list(again.known) == ([post(7).id] if url == SERVER else [])
    assert not Windows(url, ("b",), windows.mark(0), 9).of


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
)


@given(st.text(max_size=20) | st.tuples(st.just(SERVER), JSON).map(json.dumps))
def test_any_text_is_a_cursor_or_none(text: str) -> None:
    """What is no cursor of ours is as good as none."""
    windows = Windows(SERVER, ("a",), text, 0)
    assert set(windows.of) <= {"a"}


def test_requests_are_spread_over_what_the_limit_leaves() -> None:
    """Ten requests left for a minute: one every six seconds; nothing said: the plain pace."""
    clock = Clock()
    pace = RequestPace(clock)
    assert pace.wait() == 0
    pace.sent(3.0, {}, clock.now)
    assert pace.wait() == 3.0
    clock.now += 3
    reset = str(int(clock.now) + 60)
    pace.sent(3.0, {"X-RateLimit-Remaining": "10", "X-RateLimit-Reset": reset}, clock.now)
    assert pace.wait() == 6.0
    clock.now += 6
    odd_ones = [("x", reset), ("5", "soon"), ("5", ""), ("", reset), ("9" * 5000, reset)]
    for remaining, odd in odd_ones:
        headers = {"X-RateLimit-Remaining": remaining, "X-RateLimit-Reset": odd}
        pace.sent(3.0, headers, clock.now)
        assert pace.wait() == 3.0
