"""Mastodon without a token: the timelines of a local server, asked for in turn."""

import json
import tracemalloc
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from mastodon_api import (
    FOLDER,
    TOKEN,
    MastodonServer,
    drained,
    first,
    polls,
    recorded,
    source_of,
    status,
)
from network import Counting, settings, truth
from servers import eventually

from app.hashtags import typed_list
from app.messages import Post
from app.sources import SourceLost
from app.sources.mastodon import source as module
from app.sources.mastodon.source import Mastodon
from app.sources.mastodon.wire import PAGE_BYTES


@pytest.mark.parametrize("tells_limits", [True, False])
async def test_polling_gives_the_recordings_true_counts(
    recordings: Path, counting: Counting, stack: AsyncExitStack, tells_limits: bool
) -> None:
    """Seventy hashtags in turn, a post in several timelines once; never more than is allowed."""
    expected = truth(recordings, FOLDER)
    server = await stack.enter_async_context(MastodonServer())
    server.tells_limits = tells_limits
    source = source_of(server, expected)
    async with counting.of(source):
        await eventually(polls(server, tags=len(expected)), "it knows where the timelines end")
        server.post(recorded(recordings))
        await counting.reach(expected)
        await eventually(polls(server, tags=len(expected)), "all were asked for again")
        await counting.reach(expected)
        assert (source.state, source.bad) == ("polling", 0)
    assert server.tokens == {""}
    times = [time for time, _, _ in server.asked]
    paging = [time for time, _, query in server.asked if "since_id" in query or "min_id" in query]
    assert len(paging) > 70
    assert min(later - time for time, later in pairwise(times)) > 1, "300 in 5 minutes"
    assert min(later - time for time, later in pairwise(paging)) > 3, "300 in 15 minutes"


async def test_the_past_is_not_counted(counting: Counting, stack: AsyncExitStack) -> None:
    """The first look at a timeline only learns where it ends."""
    server = await stack.enter_async_context(MastodonServer())
    server.post([status(n) for n in range(100)])
    async with counting.of(source_of(server)):
        await eventually(polls(server, 2), "the timeline has been asked for twice")
        server.post([status(100)])
        await counting.reach({"science": 1})
    assert server.asked[0][2] == {"limit": "1"}
    assert server.asked[1][2] == {"limit": "40", "since_id": status(99)["id"]}


async def test_timelines_are_asked_for_as_the_hashtag_was_typed(
    counting: Counting, stack: AsyncExitStack
) -> None:
    """Mastodon does not fold ß into ss, as our keys do."""
    server = await stack.enter_async_context(MastodonServer())
    async with counting.of(source_of(server, typed_list("#Fußball"))):
        await eventually(lambda: len(server.asked) > 1, "the timeline has been asked for twice")
    assert {tag for _, tag, _ in server.asked} == {"Fußball"}


async def test_more_than_a_page_is_read_to_its_end(
    counting: Counting, stack: AsyncExitStack
) -> None:
    """Upwards with min_id; errors and a restart in the middle lose nothing."""
    server = await stack.enter_async_context(MastodonServer())
    async with counting.of(source_of(server)):
        await eventually(polls(server), "it knows where the timeline ends")
    server.post([status(n) for n in range(500)])
    server.timeline_answers.extend([None] * 3 + [(500, {}, "oops")] * 1000)
    async with counting.of(source_of(server)):
        await counting.reach({"science": 80})
    server.timeline_answers.clear()
    async with counting.of(source_of(server)):
        await counting.reach({"science": 500})
    assert sum("min_id" in query for _, _, query in server.asked) >= 12


@pytest.mark.parametrize("odd", [{"tags": 5}, {"account": "x"}, {"tags": [{}]}, {"id": "no id!"}])
@pytest.mark.parametrize("where", [0, 50, 99])
async def test_a_page_with_a_status_that_cannot_be_read_is_full(
    counting: Counting, stack: AsyncExitStack, where: int, odd: Any
) -> None:
    """Of 100 posts with one such, 39 were counted: the page looked as if there were no more."""
    server = await stack.enter_async_context(MastodonServer())
    source = source_of(server)
    async with counting.of(source):
        await eventually(polls(server), "it knows where the timeline ends")
        posts = [status(n) for n in range(100)]
        server.post(posts)
        server.odd = {posts[where]["id"]: odd}
        await counting.reach({"science": 99})
        assert source.state == "polling"
    assert source.bad


async def test_a_newest_status_that_cannot_be_read_is_no_beginning(
    counting: Counting, stack: AsyncExitStack
) -> None:
    """Its id tells where the timeline ends; where that is none, it is asked for once more."""
    server = await stack.enter_async_context(MastodonServer())
    server.post([status(n) for n in range(50)])
    server.odd = {status(49)["id"]: {"id": None}}
    source = source_of(server)
    async with counting.of(source):
        await eventually(lambda: source.bad, "it has looked")
        server.odd = {status(49)["id"]: {"tags": 5}}
        await eventually(polls(server, 2), "it knows where the timeline ends")
        server.post([status(50)])
        await counting.reach({"science": 1})
    assert source.bad >= 2


@pytest.mark.parametrize("packed", [False, True])
async def test_an_answer_is_read_up_to_a_limit(stack: AsyncExitStack, packed: bool) -> None:
    """Four MiB, also where it is sent as a few packed kilobytes; then it is said."""
    server = await stack.enter_async_context(MastodonServer())
    server.endless = "gzip" if packed else "identity"
    tracemalloc.start()
    try:
        with pytest.raises(SourceLost, match="it answered with more than 4194304 bytes"):
            await drained(source_of(server))
        assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    finally:
        tracemalloc.stop()
    assert server.endless == ""


@pytest.mark.parametrize("token", ["", TOKEN])
async def test_very_long_statuses_hide_no_other(
    counting: Counting, stack: AsyncExitStack, token: str
) -> None:
    """Five of a megabyte in one timeline, and its page was longer than is read, for ever: nothing
    of that hashtag counted any more. One that alone is too long is stepped over."""
    server = await stack.enter_async_context(MastodonServer())
    source = source_of(server, ("science", "art"), token)
    async with counting.of(source):
        await eventually(polls(server, tags=2), "it knows where the timelines end")
        posts = [status(n, "art" if n % 7 == 0 else "science") for n in range(100)]
        for n in (*range(20, 40, 4), *range(80, 90, 2)):
            posts[n]["content"] = "x" * 10**6
        posts[60]["content"] = "x" * PAGE_BYTES
        server.post(posts, streamed=False)
        await counting.reach({"science": 84, "art": 15})
        assert source.bad
        server.post([status(100)], streamed=False)
        await counting.reach({"science": 85, "art": 15})
    lengths = [int(query["limit"]) for _, tag, query in server.asked if tag == "science"]
    assert {40, 4, 1} <= set(lengths)


@pytest.mark.parametrize("text", [r"\ud83d", "x"])
async def test_what_is_beside_an_unreadable_status_counts(stack: AsyncExitStack, text: str) -> None:
    """Half an emoji, in a text that we do not want; a status of a million brackets, or none."""
    server = await stack.enter_async_context(MastodonServer())
    good = [json.dumps(status(n) | {"content": "@"}).replace("@", text) for n in (1, 2)]
    bad = ["5", "null", "[]", "[[[[]]]]", '{"id":"7"}', '{"id":"' + "7" * 1000 + '","tags":[]}']
    server.timeline_answers.extend([None, (200, {}, f"[{','.join([good[0], *bad, good[1]])}]")])
    source = source_of(server)
    found = [one for one in await first(source, 5) if isinstance(one, Post)]
    assert [post.id for post in found if post.hashtags] == [status(n)["id"] for n in (1, 2)]
    assert source.bad == len(bad) - 1, "one without tags is a post"


async def test_a_late_post_counts_too(counting: Counting, stack: AsyncExitStack) -> None:
    """From another server, with an id below what was there before it: once, also restarted."""
    server = await stack.enter_async_context(MastodonServer())
    async with counting.of(source_of(server)):
        await eventually(polls(server), "it knows where the timeline ends")
        server.clock.stopped = True
        server.post([status(n) for n in range(10, 30)])
        await counting.reach({"science": 20})
        server.post([status(5), status(15, id=status(15)["id"][:-1] + "9")])
        await counting.reach({"science": 22})
    async with counting.of(source_of(server)):
        await eventually(polls(server), "it is read after a restart")
        server.post([status(6)])
        await counting.reach({"science": 23})


async def test_a_quiet_timeline_is_not_read_again_and_again(
    counting: Counting, stack: AsyncExitStack
) -> None:
    """Ten minutes after the last post it is asked for what is newer than that one."""
    server = await stack.enter_async_context(MastodonServer())
    async with counting.of(source_of(server)):
        await eventually(polls(server), "it knows where the timeline ends")
        server.post([status(n) for n in range(5)])
        await counting.reach({"science": 5})
        newest = status(4)["id"]
        await eventually(
            lambda: server.asked[-1][2].get("since_id") == newest, "the end is reached"
        )
        server.post([status(5)])
        await counting.reach({"science": 6})


async def test_a_post_with_several_hashtags_counts_once_across_a_restart(
    counting: Counting, stack: AsyncExitStack
) -> None:
    """Found in the first timeline, known in the second, by the cursor alone."""
    server = await stack.enter_async_context(MastodonServer())
    tags = ("science", "football")
    async with counting.of(source_of(server, tags)):
        await eventually(polls(server, tags=2), "it knows where the timelines end")
        server.post([status(n, *tags) for n in range(3)])
        await eventually(lambda: counting.totals(), "they are counted")
    async with counting.of(source_of(server, tags)):
        await eventually(polls(server, 2, tags=2), "both are asked for again")
        await counting.reach({"science": 3, "football": 3})


async def test_a_hashtag_that_nobody_has_used_is_empty(stack: AsyncExitStack) -> None:
    """Older servers answer 404 for it, in JSON; another 404 is no Mastodon server."""
    server = await stack.enter_async_context(MastodonServer())
    server.timeline_answers.append((404, {}, '{"error":"Record not found"}'))
    posts = source_of(server).posts("")
    await anext(posts)
    server.post([status(1)])
    post = await anext(posts)
    assert isinstance(post, Post) and post.id == status(1)["id"]
    await posts.aclose()


async def test_what_came_meanwhile_is_the_pasts(stack: AsyncExitStack) -> None:
    """Until each timeline was asked for once: then nothing is missing since the cursor."""
    server = await stack.enter_async_context(MastodonServer())
    tags = ("science", "football")
    left = (await first(source_of(server, tags), 2))[-1].cursor  # type: ignore[union-attr]
    left_at = int(server.clock.now)
    server.clock.now += 3600
    server.post([status(n, *tags) for n in range(3)])
    source, past = source_of(server, tags), list[bool]()
    posts = source.posts(left)
    for n in range(7):
        if n == 6:
            server.post([status(6)])
        while not isinstance(await anext(posts), Post):
            pass
        past.append(source.catching_up)
        if n == 2:
            assert source.unbroken_since == source.since > left_at
            server.post([status(n) for n in range(3, 6)])
            for _ in range(2):  # the rest of the first round
                await anext(posts)
            assert source.unbroken_since == left_at
    assert past == [True] * 3 + [False] * 4
    await posts.aclose()  # type: ignore[attr-defined]


async def test_no_cookie_is_kept(stack: AsyncExitStack) -> None:
    """Else a server could have us remember, and send, more with each answer of a connection that
    may last for months."""
    server = await stack.enter_async_context(MastodonServer())
    told = [(200, {"Set-Cookie": f"much{n}=more"}, "[]") for n in range(3)]
    server.timeline_answers.extend(told)
    url = server.url.replace("127.0.0.1", "localhost")  # of an address none would be kept anyway
    chosen = settings(("science",), mastodon_url=url)
    await first(Mastodon(chosen, server.clock, pause=server.clock.pause, elapsed=server.clock), 4)
    assert len(server.asked) >= 4 and not server.timeline_answers
    assert server.cookies == set()


async def test_a_limit_is_kept_before_it_is_reached(stack: AsyncExitStack) -> None:
    """With one request left and two minutes to go, the next one waits two minutes."""
    server = await stack.enter_async_context(MastodonServer())
    reset = datetime.fromtimestamp(server.clock.now + 120, UTC)
    told = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset.isoformat()}
    server.timeline_answers.append((200, told, "[]"))
    posts = source_of(server).posts("")
    for _ in range(2):
        await anext(posts)
    assert server.clock.waits == [0.0, 120.0]
    await posts.aclose()


@pytest.mark.parametrize("body", ["<html>", "{}", '{"error":1}', "[", "5", "null", "[" * 50_000])
async def test_what_is_no_timeline_is_said(stack: AsyncExitStack, body: str) -> None:
    """An address that is no Mastodon server's must not look as if it worked."""
    server = await stack.enter_async_context(MastodonServer())
    server.timeline_answers.append((200, {}, body))
    with pytest.raises(SourceLost, match="no timeline"):
        await drained(source_of(server))


async def test_a_server_that_hangs_is_lost(
    stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that does not come is no reason to wait for ever."""
    monkeypatch.setattr(module, "PAGE_SECONDS", 0.2)
    server = await stack.enter_async_context(MastodonServer())
    server.timeline_answers.append((0, {}, ""))
    with pytest.raises(SourceLost, match="does not answer"):
        await drained(source_of(server))
    assert not server.timeline_answers
