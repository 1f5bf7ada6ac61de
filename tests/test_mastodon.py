"""Mastodon against a local server, by the stream and by polling: every post once."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from mastodon_api import TOKEN, Clock, MastodonServer, status
from network import Counting, settings, truth, wire
from servers import RedisServer, eventually

from app.settings import SettingsError, read
from app.sources import SourceLost, mastodon
from app.sources.mastodon import Mastodon, parse, parse_status

FOLDER = "mastodon_client_fixtures"


@pytest.fixture
async def counting(redis_server: RedisServer) -> AsyncIterator[Counting]:
    opened = Counting(redis_server)
    yield opened
    await opened.aclose()


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


@pytest.fixture
def clock() -> Clock:
    return Clock()


def source_of(
    server: MastodonServer, tracked: Any = ("science",), token: str = "", silence: float = 45.0
) -> Mastodon:
    chosen = settings(tracked, mastodon_url=server.url, mastodon_token=token)
    return Mastodon(chosen, server.clock, silence=silence, pause=server.clock.pause)


def recorded(recordings: Path, renumber: bool = True) -> list[dict[str, Any]]:
    """The recorded posts; by their ids they are in no order, so they can get others."""
    posts = [json.loads(message["payload"]) for message in wire(recordings, FOLDER)]
    if renumber:
        posts = [post | {"id": status(n)["id"]} for n, post in enumerate(posts)]
    return posts


def polls(server: MastodonServer, rounds: int = 1, tags: int = 1) -> Callable[[], bool]:
    """Whether each of so many timelines was asked for so often from now on."""
    before = len(server.asked)

    def asked() -> bool:
        later = [tag for _, tag, _ in server.asked[before:]]
        return len(set(later)) == tags and min(map(later.count, set(later))) >= rounds

    return asked


async def test_the_stream_gives_the_recordings_true_counts(
    recordings: Path, counting: Counting, stack: AsyncExitStack, clock: Clock
) -> None:
    """Over a real stream into a real Redis; what the timelines repeat is dropped."""
    expected = truth(recordings, FOLDER)
    server = await stack.enter_async_context(MastodonServer(clock))
    source = source_of(server, expected, TOKEN)
    async with counting.of(source):
        await eventually(lambda: server.streams, "it is connected")
        server.post(recorded(recordings, renumber=False))
        await counting.reach(expected)
        await eventually(polls(server, tags=len(expected)), "the timelines have been asked for")
        await counting.reach(expected)
        assert (source.state, source.reason, source.bad) == ("live", "", 0)
    assert server.tokens == {f"Bearer {TOKEN}"}


async def test_no_cut_loses_or_doubles_a_post(
    recordings: Path, counting: Counting, stack: AsyncExitStack, clock: Clock
) -> None:
    """The stream has nothing of what came while we were away: the timelines have it."""
    expected, posts = some_of(truth(recordings, FOLDER)), recorded(recordings)
    faults = [("cut", 20), ("close", 10), ("half", 15), ("silent", 5)]
    server = await stack.enter_async_context(MastodonServer(clock, *faults))
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
    recordings: Path, counting: Counting, stack: AsyncExitStack, clock: Clock, token: str
) -> None:
    """A new process knows only the cursor; posts come before, between and after."""
    expected, posts = some_of(truth(recordings, FOLDER)), recorded(recordings)
    server = await stack.enter_async_context(MastodonServer(clock))
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
    counting: Counting, stack: AsyncExitStack, clock: Clock, token: str
) -> None:
    """The ingester goes back to a stored cursor while all is healthy."""
    server = await stack.enter_async_context(MastodonServer(clock))
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


async def test_polling_gives_the_recordings_true_counts(
    recordings: Path, counting: Counting, stack: AsyncExitStack, clock: Clock
) -> None:
    """Seventy hashtags in turn, a post in several timelines once; never more than is allowed."""
    expected = truth(recordings, FOLDER)
    server = await stack.enter_async_context(MastodonServer(clock))
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
    assert most_within(times, 300) <= 300
    assert len(paging) > 70
    assert most_within(paging, 900) <= 300


def most_within(times: list[float], seconds: float) -> int:
    return max(sum(begin <= time < begin + seconds for time in times) for begin in times)


async def test_the_past_is_not_counted(
    counting: Counting, stack: AsyncExitStack, clock: Clock
) -> None:
    """The first look at a timeline only learns where it ends."""
    server = await stack.enter_async_context(MastodonServer(clock))
    server.post([status(n) for n in range(100)])
    async with counting.of(source_of(server)):
        await eventually(polls(server, 2), "the timeline has been asked for twice")
        server.post([status(100)])
        await counting.reach({"science": 1})
    assert server.asked[0][2] == {"limit": "1"}
    assert server.asked[1][2] == {"limit": "40", "since_id": status(99)["id"]}


async def test_more_than_a_page_is_read_to_its_end(
    counting: Counting, stack: AsyncExitStack, clock: Clock
) -> None:
    """Upwards with min_id; errors and a restart in the middle lose nothing."""
    server = await stack.enter_async_context(MastodonServer(clock))
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


async def test_a_late_post_counts_too(
    counting: Counting, stack: AsyncExitStack, clock: Clock
) -> None:
    """From another server, with an id below what was there before it: once, also restarted."""
    server = await stack.enter_async_context(MastodonServer(clock))
    async with counting.of(source_of(server)):
        await eventually(polls(server), "it knows where the timeline ends")
        clock.stopped = True
        server.post([status(n) for n in range(10, 30)])
        await counting.reach({"science": 20})
        server.post([status(5), status(15, id=status(15)["id"][:-1] + "9")])
        await counting.reach({"science": 22})
    async with counting.of(source_of(server)):
        await eventually(polls(server), "it is read after a restart")
        server.post([status(6)])
        await counting.reach({"science": 23})


async def test_a_quiet_timeline_is_not_read_again_and_again(
    counting: Counting, stack: AsyncExitStack, clock: Clock
) -> None:
    """Ten minutes after the last post it is asked for what is newer than that one."""
    server = await stack.enter_async_context(MastodonServer(clock))
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
    counting: Counting, stack: AsyncExitStack, clock: Clock
) -> None:
    """Found in the first timeline, known in the second, by the cursor alone."""
    server = await stack.enter_async_context(MastodonServer(clock))
    tags = ("science", "football")
    async with counting.of(source_of(server, tags)):
        await eventually(polls(server, tags=2), "it knows where the timelines end")
        server.post([status(n, *tags) for n in range(3)])
        await eventually(lambda: counting.totals(), "they are counted")
    async with counting.of(source_of(server, tags)):
        await eventually(polls(server, 2, tags=2), "both are asked for again")
        await counting.reach({"science": 3, "football": 3})


@pytest.mark.parametrize("token", [TOKEN, ""])
async def test_edits_and_boosts_are_no_new_posts(
    counting: Counting, stack: AsyncExitStack, clock: Clock, token: str
) -> None:
    """Nor are deletions, notifications and events without a payload."""
    server = await stack.enter_async_context(MastodonServer(clock))
    async with counting.of(source_of(server, token=token)):
        await eventually(polls(server), "it knows where the timeline ends")
        server.post([status(1)])
        await counting.reach({"science": 1})
        edited = status(1, edited_at="2026-01-01T00:01:00.000Z")
        server.statuses[edited["id"]] = edited
        server.event("status.update", json.dumps(edited))
        server.post([status(2, reblog=status(1))])
        for name, payload in (("delete", "1"), ("filters_changed", "undefined"), ("update", "")):
            server.event(name, payload)
        await eventually(polls(server, 2), "the edit was there to be seen")
        server.post([status(3)])
        await counting.reach({"science": 2})


async def test_replies_count_though_the_stream_leaves_them_out(
    counting: Counting, stack: AsyncExitStack, clock: Clock
) -> None:
    """They are in the timelines, which are asked for beside the stream, once a minute."""
    server = await stack.enter_async_context(MastodonServer(clock))
    async with counting.of(source_of(server, token=TOKEN)):
        await eventually(polls(server), "it knows where the timeline ends")
        server.post([status(1)])
        server.post([status(2)], streamed=False)
        await counting.reach({"science": 2})
        await eventually(polls(server, 4), "some rounds")
    times = [time for time, _, _ in server.asked]
    assert all(later - time >= 60 for time, later in pairwise(times))


async def test_heartbeats_are_a_sign_of_life(
    counting: Counting, stack: AsyncExitStack, clock: Clock
) -> None:
    """A stream without posts stays; one without heartbeats is lost."""
    server = await stack.enter_async_context(MastodonServer(clock, thump=0.05))
    source = source_of(server, token=TOKEN, silence=0.5)
    async with counting.of(source):
        await eventually(lambda: clock.now > Clock().now + 4 * 30, "thirty heartbeats")
        assert (source.state, server.connects) == ("live", 1)
    server.faults.append(("silent", 0))
    with pytest.raises(SourceLost, match=r"was silent for 0\.2 s"):
        await drained(source_of(server, token=TOKEN, silence=0.2))
    assert server.fired == ["silent"]


async def drained(source: Mastodon, cursor: str = "") -> None:
    async for _ in source.posts(cursor):
        pass


async def test_trouble_with_the_timelines_leaves_the_stream_alone(
    counting: Counting, stack: AsyncExitStack, clock: Clock
) -> None:
    """The state says so; later it tries again."""
    server = await stack.enter_async_context(MastodonServer(clock))
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
    clock: Clock,
    token: str,
    code: int,
    headers: Any,
    wait: Any,
    for_good: bool,
) -> None:
    """Or to a stop with one sentence, where no waiting can mend it; the token is never said."""
    server = await stack.enter_async_context(MastodonServer(clock))
    (server.stream_answers if token else server.timeline_answers).append((code, headers, "no"))
    with pytest.raises(SourceLost, match=f"^127.0.0.1 answered {code}") as lost:
        await drained(source_of(server, token=token))
    assert (lost.value.wait, lost.value.for_good) == (wait, for_good)
    assert ("MASTODON_TOKEN" in str(lost.value)) == for_good
    assert TOKEN not in str(lost.value)


async def test_a_limit_is_kept_before_it_is_reached(stack: AsyncExitStack, clock: Clock) -> None:
    """With one request left and two minutes to go, the next one waits two minutes."""
    server = await stack.enter_async_context(MastodonServer(clock))
    told = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": RESET.isoformat()}
    server.timeline_answers.append((200, told, "[]"))
    posts = source_of(server).posts("")
    for _ in range(2):
        await anext(posts)
    assert clock.waits == [0.0, 120.0]
    await posts.aclose()


@pytest.mark.parametrize("body", ["<html>", "{}", '{"error":1}', "[", "5", "null", "[" * 50_000])
async def test_what_is_no_timeline_is_said(stack: AsyncExitStack, clock: Clock, body: str) -> None:
    """An address that is no Mastodon server's must not look as if it worked."""
    server = await stack.enter_async_context(MastodonServer(clock))
    server.timeline_answers.append((200, {}, body))
    with pytest.raises(SourceLost, match="no timeline"):
        await drained(source_of(server))


async def test_a_hashtag_that_nobody_has_used_is_empty(
    counting: Counting, stack: AsyncExitStack, clock: Clock
) -> None:
    """Older servers answer 404 for it, in JSON; another 404 is no Mastodon server."""
    server = await stack.enter_async_context(MastodonServer(clock))
    server.timeline_answers.append((404, {}, '{"error":"Record not found"}'))
    async with counting.of(source_of(server)):
        await eventually(polls(server, 2), "it goes on")
        server.post([status(n) for n in range(45)])
        await counting.reach({"science": 45})


async def test_a_server_that_hangs_is_lost(
    stack: AsyncExitStack, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that does not come is no reason to wait for ever."""
    monkeypatch.setattr(mastodon, "PAGE_SECONDS", 0.2)
    server = await stack.enter_async_context(MastodonServer(clock))
    server.timeline_answers.append((0, {}, ""))
    with pytest.raises(SourceLost, match="was silent"):
        await drained(source_of(server))
    assert not server.timeline_answers


async def test_the_stream_may_be_on_another_host(
    counting: Counting, stack: AsyncExitStack, clock: Clock
) -> None:
    """The server redirects to it; the token goes along, but never from https to http."""
    server = await stack.enter_async_context(MastodonServer(clock))
    other = await stack.enter_async_context(MastodonServer(clock))
    there = f"{other.url}/api/v1/streaming/public"
    server.stream_answers.append((301, {"Location": there}, ""))
    async with counting.of(source_of(server, token=TOKEN)):
        await eventually(lambda: other.streams, "it is connected there")
        other.post([status(1)])
        await counting.reach({"science": 1})
    safe = Mastodon(read({"MASTODON_URL": "https://a.example", "MASTODON_TOKEN": TOKEN}))
    assert str(safe.elsewhere("https://b.example/x")) == "https://b.example/x"
    for location in (there, "", "/x", "https://[", "ftp://b.example"):
        with pytest.raises(SourceLost, match=r"^a\.example sends us to"):
            safe.elsewhere(location)


BAD = [
    "", "{", "null", "[]", "5", '"x"', '{"tags":[]}', "[" * 50_000,
    '{"id":null,"tags":[]}', '{"id":"1 or more","tags":[]}', '{"id":"\\ud800","tags":[]}',
    '{"id":"7","tags":[{}]}', '{"id":"7","tags":["science"]}', '{"id":"7","tags":[{"name":5}]}',
    '{"id":"7","tags":5}', '{"id":"7","account":"x","tags":[]}',
]  # fmt: skip


async def test_bad_messages_are_skipped_and_harm_no_neighbour(
    counting: Counting, stack: AsyncExitStack, clock: Clock
) -> None:
    """Not JSON, not UTF-8, not a status: the posts around them are counted."""
    server = await stack.enter_async_context(MastodonServer(clock))
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


async def test_a_line_without_an_end_ends_the_stream(stack: AsyncExitStack, clock: Clock) -> None:
    """It must not fill the memory."""
    server = await stack.enter_async_context(MastodonServer(clock))
    posts = source_of(server, token=TOKEN).posts("")
    server_writes = asyncio.create_task(endless(server))
    with pytest.raises(SourceLost, match="more than 1048576 bytes"):
        await anext(posts)
    await server_writes


async def endless(server: MastodonServer) -> None:
    await eventually(lambda: server.streams, "it is connected")
    server.raw(b"data: " + b"x" * 3_000_000)


@pytest.mark.parametrize("token", [TOKEN, ""])
async def test_what_is_received_can_be_replayed(
    stack: AsyncExitStack, clock: Clock, token: str
) -> None:
    """A recording gets each new post once, in the stream's form, whichever way it came."""
    server = await stack.enter_async_context(MastodonServer(clock))
    source, lines = source_of(server, token=token), list[str]()
    source.tap = lines.append  # type: ignore[assignment]
    reading = asyncio.create_task(drained(source))
    await eventually(polls(server), "it knows where the timeline ends")
    server.post([status(n, "Science", "サッカー") for n in range(45)])
    await eventually(lambda: len(lines) >= 45, "all came")
    await eventually(polls(server, 2), "the timeline was read again")
    reading.cancel()
    await asyncio.wait([reading])
    posts = [parse(json.loads(line)) for line in lines]
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
    assert post and (post.at, list(post.hashtags)) == (0, ["science"])


def test_trap_a_post_without_tags() -> None:
    """Without the member, or with null in it: no hashtag, no error."""
    for tags in ({}, {"tags": None}, {"tags": []}):
        post = parse_status({"id": "7", **tags})
        assert post and not post.hashtags


def test_an_address_is_needed_and_the_token_is_secret() -> None:
    """The sentence names the setting; no repr shows the token."""
    with pytest.raises(SettingsError, match=r"^MASTODON_URL is not set"):
        read({"SOURCES": "mastodon"})
    with pytest.raises(SettingsError, match=r"^MASTODON_URL='mastodon\.social'"):
        read({"SOURCES": "mastodon", "MASTODON_URL": "mastodon.social"})
    given = read({"MASTODON_URL": "https://mastodon.social/", "MASTODON_TOKEN": TOKEN})
    assert given.mastodon_url == "https://mastodon.social"
    assert TOKEN not in repr(given)
