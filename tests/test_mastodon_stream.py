"""Mastodon with a token: the stream of a local server, and the timelines beside it."""

import asyncio
import json
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
from mastodon_api import (
    TOKEN,
    Clock,
    MastodonServer,
    drained,
    polls,
    source_of,
    status,
)
from network import Counting
from servers import eventually
from yarl import URL

from app.messages import Post
from app.settings import read
from app.sources import SourceLost
from app.sources.mastodon.source import Mastodon


async def test_replies_count_though_the_stream_leaves_them_out(
    counting: Counting, stack: AsyncExitStack
) -> None:
    """They are in the timelines, which are asked for beside the stream, once a minute."""
    server = await stack.enter_async_context(MastodonServer())
    async with counting.of(source_of(server, token=TOKEN)):
        await eventually(polls(server), "it knows where the timeline ends")
        server.post([status(1)])
        server.post([status(2)], streamed=False)
        await counting.reach({"science": 2})
        await eventually(polls(server, 4), "some rounds")
    times = [time for time, _, _ in server.asked]
    assert all(later - time >= 60 for time, later in pairwise(times))


async def test_what_a_timeline_alone_has_counts_for_what_is_tracked(stack: AsyncExitStack) -> None:
    """What else such posts name is a biased sample; when the stream brings one later, it has
    all of its hashtags, each once."""
    server = await stack.enter_async_context(MastodonServer())
    source, uses = source_of(server, token=TOKEN), list[tuple[str, str]]()

    async def read() -> None:
        async for message in source.posts(""):
            if isinstance(message, Post):
                uses.extend((message.id, tag) for tag in message.hashtags)

    reading = asyncio.create_task(read())
    await eventually(polls(server), "it knows where the timeline ends")
    reply, late = status(1, "science", "other"), status(2, "science", "other")
    server.post([reply, late], streamed=False)
    await eventually(lambda: len(uses) >= 2, "the timeline has brought them")
    server.event("update", json.dumps(late))
    server.event("update", json.dumps(late))
    server.post([status(3, "other")])
    await eventually(lambda: (status(3)["id"], "other") in uses, "the stream has brought it")
    reading.cancel()
    await asyncio.wait([reading])
    expected = [(reply, "science"), (late, "science"), (late, "other"), (status(3), "other")]
    assert uses == [(post["id"], tag) for post, tag in expected]


async def test_heartbeats_are_a_sign_of_life(counting: Counting, stack: AsyncExitStack) -> None:
    """A stream without posts stays; one without heartbeats is lost."""
    server = await stack.enter_async_context(MastodonServer(thump=0.05))
    source = source_of(server, token=TOKEN, silence=3.0)
    async with counting.of(source):
        await eventually(lambda: server.clock.now > Clock().now + 4 * 30, "thirty heartbeats")
        assert (source.state, server.connects) == ("live", 1)
    server.faults.append(("silent", 0))
    with pytest.raises(SourceLost, match=r"was silent for 0\.2 s"):
        await drained(source_of(server, token=TOKEN, silence=0.2))
    assert server.fired == ["silent"]


async def test_trouble_with_the_timelines_leaves_the_stream_alone(
    counting: Counting, stack: AsyncExitStack
) -> None:
    """The state says so; later it tries again."""
    server = await stack.enter_async_context(MastodonServer())
    server.timeline_answers.append((401, {}, '{"error":"The access token is invalid"}'))
    source = source_of(server, token=TOKEN)
    async with counting.of(source):
        await eventually(lambda: "answered 401" in source.reason, "it is said")
        assert source.state == "live"
        server.post([status(1)])
        await counting.reach({"science": 1})
        await eventually(lambda: not source.reason, "it has tried again")
    assert server.connects == 1
    assert server.asked[1][0] - server.asked[0][0] >= 300


async def test_a_post_that_the_stream_repeats_counts_once(
    counting: Counting, stack: AsyncExitStack
) -> None:
    """Also after a cut, and where there are no timelines by which to know."""
    server = await stack.enter_async_context(MastodonServer(("cut", 3)))
    server.timeline_answers.extend([(500, {}, "")] * 100)
    source = source_of(server, token=TOKEN)
    async with counting.of(source):
        await eventually(lambda: "answered 500" in source.reason, "there are no timelines")
        server.post([status(n) for n in (1, 2, 2)])
        await eventually(lambda: server.fired and server.streams, "it is connected again")
        server.post([status(n) for n in (2, 1, 3)])
        await counting.reach({"science": 3})


RESET = datetime.fromtimestamp(Clock().now + 120, UTC)
ANSWERS: list[Any] = [
    (401, {}, None, True), (403, {}, None, True),
    (404, {}, None, False), (500, {}, None, False), (502, {}, None, False),
    (503, {"Retry-After": "30"}, 30.0, False),
    (503, {"Retry-After": RESET.strftime("%a, %d %b %Y %H:%M:%S GMT")}, 120.0, False),
    (503, {"Retry-After": "soon"}, None, False),
    (429, {}, 60.0, False),
    (429, {"X-RateLimit-Reset": RESET.isoformat().replace("+00:00", "Z")}, 120.0, False),
    (429, {"X-RateLimit-Reset": str(int(RESET.timestamp()))}, 120.0, False),
    (429, {"X-RateLimit-Reset": "2026-01-01T00:00:00Z", "Retry-After": "5"}, 5.0, False),
    (429, {"Retry-After": "999999999"}, 3600.0, False),
]  # fmt: skip


@pytest.mark.parametrize("token", [TOKEN, ""])
@pytest.mark.parametrize(("code", "headers", "wait", "for_good"), ANSWERS)
async def test_a_refusal_leads_to_the_right_wait(
    stack: AsyncExitStack,
    token: str,
    code: int,
    headers: Any,
    wait: Any,
    for_good: bool,
) -> None:
    """Or to a stop with one sentence, where no waiting can mend it; the token is never said."""
    server = await stack.enter_async_context(MastodonServer())
    (server.stream_answers if token else server.timeline_answers).append((code, headers, "no"))
    with pytest.raises(SourceLost, match=f"^{server.url}: it answered {code}") as lost:
        await drained(source_of(server, token=token))
    assert (lost.value.wait, lost.value.for_good) == (wait, for_good)
    assert ("MASTODON_TOKEN" in str(lost.value)) == for_good
    assert TOKEN not in str(lost.value)


async def test_the_stream_may_be_on_another_host(counting: Counting, stack: AsyncExitStack) -> None:
    """The server redirects to it, and names it where it says what it is: the token goes along."""
    server = await stack.enter_async_context(MastodonServer())
    other = await stack.enter_async_context(MastodonServer())
    there = f"{other.url}/api/v1/streaming/public"
    server.stream_answers.append((301, {"Location": there}, ""))
    server.streaming = other.url.replace("http:", "ws:")
    async with counting.of(source_of(server, token=TOKEN)):
        await eventually(lambda: other.streams, "it is connected there")
        other.post([status(1)])
        await counting.reach({"science": 1})


@pytest.mark.parametrize(
    "named", ["", "ws://127.0.0.1:1", "https://[", None, 5, ["ws://127.0.0.1"]]
)
async def test_no_other_host_gets_the_token(stack: AsyncExitStack, named: Any) -> None:
    """A redirect alone is not followed there: whoever it leads to would have the token."""
    server = await stack.enter_async_context(MastodonServer())
    other = await stack.enter_async_context(MastodonServer())
    there = f"{other.url}/api/v1/streaming/public?secret=x"
    server.streaming = named
    server.stream_answers.append((302, {"Location": there}, ""))
    with pytest.raises(
        SourceLost, match=r"sends us to 127\.0\.0\.1, which MASTODON_URL does not"
    ) as lost:
        await drained(source_of(server, token=TOKEN))
    assert (other.connects, other.tokens) == (0, set())
    assert "secret" not in str(lost.value) and lost.value.public == str(lost.value.public)
    server.timeline_answers.append(
        (301, {"Location": f"{other.url}/api/v1/timelines/tag/science"}, "")
    )
    with pytest.raises(SourceLost, match="which MASTODON_URL does not name"):
        await drained(source_of(server))
    assert (other.asked, other.tokens) == ([], set())


@pytest.mark.parametrize("location", ["", "https://[", "ftp://127.0.0.1", "//", "http://a b"])
async def test_a_redirect_to_nowhere_is_said(stack: AsyncExitStack, location: str) -> None:
    """In a sentence, whatever it is."""
    server = await stack.enter_async_context(MastodonServer())
    server.stream_answers.extend([(301, {"Location": location}, "")] * 2)
    with pytest.raises(SourceLost, match=r": it (sends us to|redirects to|answered 301)"):
        await drained(source_of(server, token=TOKEN))


def test_a_redirect_may_stay_or_begin_to_use_tls() -> None:
    """At the same server; but never the other way, nor to another port."""
    plain = Mastodon(read({"MASTODON_URL": "http://u:p@a.example", "MASTODON_TOKEN": TOKEN}))
    for url in ("http://a.example/x", "https://a.example/y"):
        assert plain.is_here(URL(url))
    safe = Mastodon(read({"MASTODON_URL": "https://a.example", "MASTODON_TOKEN": TOKEN}))
    assert safe.is_here(URL("https://a.example/z"))
    for url in (
        "http://a.example",
        "https://a.example:444",
        "https://b.a.example",
        "https://example",
    ):
        assert not safe.is_here(URL(url))


@pytest.mark.parametrize("fault", ["drip", "lines"])
async def test_bytes_are_no_sign_of_life(stack: AsyncExitStack, fault: str) -> None:
    """A line that goes on a byte at a time, an event that goes on a line at a time: no event
    comes, and so the stream is as good as silent."""
    server = await stack.enter_async_context(MastodonServer((fault, 0)))
    with pytest.raises(SourceLost, match=r"was silent for 0\.3 s"):
        await drained(source_of(server, token=TOKEN, silence=0.3))
    assert server.fired == [fault]


BAD = [
    "", "{", "null", "[]", "5", '"x"', '{"tags":[]}', "[" * 50_000,
    '{"id":null,"tags":[]}', '{"id":"1 or more","tags":[]}', '{"id":"\\ud800","tags":[]}',
    '{"id":"7","tags":[{}]}', '{"id":"7","tags":["science"]}', '{"id":"7","tags":[{"name":5}]}',
    '{"id":"7","tags":5}', '{"id":"7","account":"x","tags":[]}',
]  # fmt: skip


async def test_bad_messages_are_skipped_and_harm_no_neighbour(
    counting: Counting, stack: AsyncExitStack
) -> None:
    """Not JSON, not UTF-8, not a status: the posts around them are counted."""
    server = await stack.enter_async_context(MastodonServer())
    source = source_of(server, token=TOKEN)
    async with counting.of(source):
        await eventually(lambda: server.streams, "it is connected")
        for n, bad in enumerate(BAD):
            server.post([status(n)])
            server.event("update", bad)
        server.raw(b"nonsense\n\ndata: {}\n\nevent: \xff\ndata: \xff\n\n: \xff\n")
        server.raw(b"event: update\r\ndata: " + json.dumps(status(99)).encode() + b"\r\n\r\n")
        await counting.reach({"science": len(BAD) + 1})
    assert (source.bad, server.connects) == (len(BAD), 1)


async def test_a_line_that_is_too_long_is_stepped_over(
    counting: Counting, stack: AsyncExitStack
) -> None:
    """Three megabytes of a stranger's post: it is counted as bad, and the stream, which cannot go
    back, goes on with the next one."""
    server = await stack.enter_async_context(MastodonServer())
    source = source_of(server, token=TOKEN)
    async with counting.of(source):
        await eventually(lambda: server.streams, "it is connected")
        server.post([status(1), status(2, content="x" * 3_000_000), status(3)])
        await counting.reach({"science": 2})
    assert (source.bad, server.connects) == (1, 1)


async def test_a_line_without_an_end_is_no_sign_of_life(stack: AsyncExitStack) -> None:
    """Nor does it fill the memory."""
    server = await stack.enter_async_context(MastodonServer(thump=60))
    writing = asyncio.create_task(endless(server))
    with pytest.raises(SourceLost, match=r"0\.5 s"):
        await drained(source_of(server, token=TOKEN, silence=0.5))
    await writing


async def endless(server: MastodonServer) -> None:
    await eventually(lambda: server.streams, "it is connected")
    server.raw(b"data: " + b"x" * 3_000_000)


async def test_a_server_that_takes_no_connection_does_not_answer(
    stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is not the silence of one that did."""
    server = await stack.enter_async_context(MastodonServer())

    async def refuse(*arguments: object) -> None:
        raise aiohttp.ConnectionTimeoutError

    monkeypatch.setattr(Mastodon, "open_stream", refuse)
    with pytest.raises(SourceLost, match="does not answer"):
        await drained(source_of(server, token=TOKEN))
