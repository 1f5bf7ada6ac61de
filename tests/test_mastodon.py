"""Mastodon against a local server, by the stream and by polling: every post once."""

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from mastodon_api import (
    FOLDER,
    TOKEN,
    MastodonServer,
    drained,
    polls,
    recorded,
    source_of,
    status,
)
from network import Counting, truth
from servers import eventually

from app.settings import SettingsError, read
from app.sources import check_sources
from app.sources.mastodon.wire import parse, parse_status


async def test_the_stream_gives_the_recordings_true_counts(
    recordings: Path, counting: Counting, stack: AsyncExitStack
) -> None:
    """All hashtags, over a real stream into a real Redis; what the timelines of the few that
    are tracked repeat is dropped."""
    expected = truth(recordings, FOLDER)
    tracked = some_of(expected)
    server = await stack.enter_async_context(MastodonServer())
    source = source_of(server, tracked, TOKEN)
    async with counting.of(source):
        await eventually(lambda: server.streams, "it is connected")
        server.post(recorded(recordings, renumber=False))
        await counting.reach(expected)
        await eventually(polls(server, tags=len(tracked)), "the timelines have been asked for")
        await counting.reach(expected)
        assert (source.state, source.reason, source.bad) == ("live", "", 0)
    assert server.tokens == {f"Bearer {TOKEN}"}


async def test_no_cut_loses_or_doubles_a_post(
    recordings: Path, counting: Counting, stack: AsyncExitStack
) -> None:
    """The stream has nothing of what came while we were away: the timelines have it."""
    expected = some_of(truth(recordings, FOLDER))
    posts = recorded(recordings, only=expected)
    faults = [("cut", 20), ("close", 10), ("half", 15), ("silent", 5)]
    server = await stack.enter_async_context(MastodonServer(*faults))
    source = source_of(server, expected, TOKEN, silence=0.3)
    async with counting.of(source):
        await eventually(lambda: server.streams, "it is connected")
        await eventually(polls(server, tags=len(expected)), "it knows where the timelines end")
        for n in range(len(faults)):
            await eventually(lambda: server.streams, "it is connected again")
            server.post(posts[n * 30 : n * 30 + 30])
            await eventually(lambda n=n: len(server.fired) > n, "the fault fired")
        server.post(posts[120:])
        await counting.reach(expected)
    assert server.fired == [name for name, _ in faults]


def some_of(counts: dict[str, int]) -> dict[str, int]:
    return dict(list(counts.items())[:9])


@pytest.mark.parametrize("token", [TOKEN, ""])
async def test_a_restart_goes_on_without_loss_or_repetition(
    recordings: Path, counting: Counting, stack: AsyncExitStack, token: str
) -> None:
    """A new process knows only the cursor; posts come before, between and after."""
    expected = some_of(truth(recordings, FOLDER))
    posts = recorded(recordings, only=expected)
    server = await stack.enter_async_context(MastodonServer())
    for begin in range(0, len(posts), 50):
        known = polls(server, tags=len(expected))
        async with counting.of(source_of(server, expected, token)):
            await eventually(lambda: not token or server.streams, "it is connected")
            await eventually(known, "it knows where the timelines end")
            before = await counting.totals()
            server.post(posts[begin : begin + 25])
            await eventually(lambda b=before: more_than(counting, b), "some of them are stored")
        server.post(posts[begin + 25 : begin + 50])
    again = polls(server, rounds=2, tags=len(expected))
    async with counting.of(source_of(server, expected, token)):
        await counting.reach(expected)
        await eventually(again, "the timelines have been asked for")
        await counting.reach(expected)


async def more_than(counting: Counting, before: dict[str, int]) -> bool:
    return await counting.totals() != before


@pytest.mark.parametrize("token", [TOKEN, ""])
async def test_a_rewind_reads_again_what_redis_lost(
    counting: Counting, stack: AsyncExitStack, token: str
) -> None:
    """The ingester goes back to a stored cursor while all is healthy."""
    server = await stack.enter_async_context(MastodonServer())
    async with counting.of(source_of(server, token=token)):
        await eventually(polls(server), "it knows where the timeline ends")
        server.post([status(n) for n in range(10)])
        await counting.reach({"science": 10})
        copied = await counting.copy()
        server.post([status(n) for n in range(10, 25)])
        await counting.reach({"science": 25})
        await counting.rewind(copied)
        server.post([status(25)])
        await counting.reach({"science": 26})


@pytest.mark.parametrize("token", [TOKEN, ""])
async def test_a_redis_that_lost_everything_gets_it_back_from_memory(
    counting: Counting, stack: AsyncExitStack, token: str
) -> None:
    """And the process after it knows where the timelines end."""
    server = await stack.enter_async_context(MastodonServer())
    async with counting.of(source_of(server, token=token)):
        await eventually(polls(server), "it knows where the timeline ends")
        server.post([status(n) for n in range(10)])
        await counting.reach({"science": 10})
        await counting.store.redis.flushall()
        await counting.reach({"science": 10})
    server.post([status(n) for n in range(10, 15)])
    async with counting.of(source_of(server, token=token)):
        await counting.reach({"science": 15})


@pytest.mark.parametrize("token", [TOKEN, ""])
async def test_edits_and_boosts_are_no_new_posts(
    counting: Counting, stack: AsyncExitStack, token: str
) -> None:
    """Nor are deletions, notifications and events without a payload."""
    server = await stack.enter_async_context(MastodonServer())
    async with counting.of(source_of(server, token=token)):
        await eventually(polls(server), "it knows where the timeline ends")
        server.post([status(1)])
        await counting.reach({"science": 1})
        edited = status(1, edited_at="2026-01-01T00:01:00.000Z")
        server.statuses[edited["id"]] = edited
        for post in (edited, status(0, edited_at=edited["edited_at"])):
            server.event("status.update", json.dumps(post))
        server.post([status(2, reblog=status(1))])
        for name, payload in (("delete", "1"), ("filters_changed", "undefined"), ("update", "")):
            server.event(name, payload)
        await eventually(polls(server, 2), "the edit was there to be seen")
        server.post([status(3)])
        await counting.reach({"science": 2})


@pytest.mark.parametrize("token", [TOKEN, ""])
async def test_what_is_received_can_be_replayed(stack: AsyncExitStack, token: str) -> None:
    """A recording gets each new post once, in the stream's form, whichever way it came."""
    server = await stack.enter_async_context(MastodonServer())
    source, lines = source_of(server, token=token), list[str]()
    source.tap = lines.append  # type: ignore[assignment]
    reading = asyncio.create_task(drained(source))
    await eventually(polls(server), "it knows where the timeline ends")
    server.post([status(n, "Science", "サッカー") for n in range(45)])
    await eventually(lambda: len(lines) >= 45, "all came")
    await eventually(polls(server, 2), "the timeline was read again")
    reading.cancel()
    await asyncio.wait([reading])
    posts = [parse(line) for line in lines]
    assert [post.id for post in posts if post] == [status(n)["id"] for n in range(45)]
    assert posts[0] and posts[0].hashtags == {"science": "Science", "サッカー": "サッカー"}


def test_trap_spellings_of_a_hashtag() -> None:
    """Full-width, capitals, repeated: a post names it once."""
    post = parse_status(
        status(1, "Science", "ｓｃｉｅｎｃｅ", "SCIENCE", "#science", "ไทย", "한국")
    )
    assert post and list(post.hashtags) == ["science", "ไทย", "한국"]


@pytest.mark.parametrize("created", ["0000-01-01T00:00:00.000Z", None, "yesterday", 5])
def test_trap_a_post_of_the_year_0000(created: Any) -> None:
    """A time that is none is no reason to drop a post."""
    post = parse_status(status(1, created_at=created))
    assert post and (post.time, list(post.hashtags)) == (0, ["science"])


def test_trap_a_post_without_tags() -> None:
    """Without the member, or with null in it: no hashtag, no error."""
    for tags in ({}, {"tags": None}, {"tags": []}):
        post = parse_status({"id": "7", **tags})
        assert post and not post.hashtags


def test_an_address_is_needed_and_the_token_is_secret() -> None:
    """The sentence names the setting; no repr shows the token."""
    with pytest.raises(SettingsError, match=r"^MASTODON_URL is not set"):
        check_sources(read({"SOURCES": "mastodon"}))
    with pytest.raises(SettingsError, match=r"^MASTODON_URL='mastodon\.social'"):
        read({"SOURCES": "mastodon", "MASTODON_URL": "mastodon.social"})
    given = read({"MASTODON_URL": "https://mastodon.social/", "MASTODON_TOKEN": TOKEN})
    assert given.mastodon_url == "https://mastodon.social"
    assert TOKEN not in repr(given)
