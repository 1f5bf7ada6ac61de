"""Bluesky against local Jetstream servers: every post once, whatever breaks."""

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jetstream import BEGIN, Jetstream, Network
from network import Counting, settings, truth, wire
from servers import App, RedisServer, eventually

from app.messages import Post
from app.settings import SettingsError, read
from app.sources import SourceLost
from app.sources.bluesky import (
    KEEP,
    MOST,
    REREAD,
    UNREAD_AT_MOST,
    Bluesky,
    Counted,
    may_have_hashtags,
    parse,
)

FOLDER = "bsky_posts_wrapped"
SECOND = 1_000_000


def create(*tags: str, did: str = "did:plc:a", rkey: str = "r", **record: Any) -> dict[str, Any]:
    """A new post with these hashtags in facets."""
    features = [{"$type": "app.bsky.richtext.facet#tag", "tag": tag} for tag in tags]
    facets = [{"index": {"byteStart": 0, "byteEnd": 9}, "features": [one]} for one in features]
    commit = {
        "rev": "3l", "operation": "create", "collection": "app.bsky.feed.post", "rkey": rkey,
        "record": {"$type": "app.bsky.feed.post", "text": "x", "facets": facets, **record},
    }  # fmt: skip
    return {"did": did, "kind": "commit", "commit": commit}


def numbered(posts: int, *tags: str, begin: int = 0) -> list[dict[str, Any]]:
    return [create(*(tags or ("science",)), rkey=f"r{n}") for n in range(begin, begin + posts)]


@pytest.fixture
async def counting(redis_server: RedisServer) -> AsyncIterator[Counting]:
    opened = Counting(redis_server)
    yield opened
    await opened.aclose()


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


def source_of(*hosts: Jetstream, tracked: Any = ("science",), silence: float = 20.0) -> Bluesky:
    urls = ",".join(host.url for host in hosts)
    return Bluesky(settings(tracked, jetstream_url=urls), silence=silence)


@pytest.mark.parametrize("folder", [FOLDER, "bsky_jetstream_misc"])
async def test_a_recording_gives_its_true_counts(
    recordings: Path, counting: Counting, stack: AsyncExitStack, folder: str
) -> None:
    """Over a real websocket into a real Redis, with the collection that we ask for."""
    network, expected = Network(), truth(recordings, folder)
    host = await stack.enter_async_context(Jetstream(network))
    async with counting.of(source_of(host, tracked=expected)):
        await eventually(lambda: host.open, "it is connected")
        network.put(wire(recordings, folder))
        await counting.reach(expected)
    assert host.asked == [{"wantedCollections": "app.bsky.feed.post"}]


@pytest.mark.parametrize("step", [40_000, SECOND])
async def test_no_cut_loses_or_doubles_a_post(
    recordings: Path, counting: Counting, stack: AsyncExitStack, step: int
) -> None:
    """Cut, closed, cut within a frame, gone silent, refused: each comes, the totals are true."""
    network, expected = Network(step), truth(recordings, FOLDER)
    faults = [("cut", 150), ("refuse", 503), ("close", 190), ("half", 230), ("silent", 300)]
    host = await stack.enter_async_context(Jetstream(network, *faults))
    source = source_of(host, tracked=expected, silence=0.3)
    async with counting.of(source):
        await eventually(lambda: host.open, "it is connected")
        network.put(wire(recordings, FOLDER))
        await eventually(lambda: len(host.fired) == len(faults), "every fault fired")
        await counting.reach(expected)
        assert source.state == "live"
    assert host.fired == [name for name, _ in faults]
    assert all(int(query["cursor"]) >= BEGIN for query in host.asked[1:])


async def test_a_restart_goes_on_without_loss_or_repetition(
    recordings: Path, counting: Counting, stack: AsyncExitStack
) -> None:
    """A new process knows only the cursor: it holds what was counted in what is read again."""
    network, expected = Network(), truth(recordings, FOLDER)
    host = await stack.enter_async_context(Jetstream(network))
    messages = wire(recordings, FOLDER)
    for begin in range(0, len(messages), 200):
        async with counting.of(source_of(host, tracked=expected)):
            await eventually(lambda n=begin: len(host.asked) > n // 200 and host.open, "connected")
            network.put(messages[begin : begin + 100])
            await eventually(lambda: tail_is_read(counting, network), "the middle is reached")
        network.put(messages[begin + 100 : begin + 200])
    async with counting.of(source_of(host, tracked=expected)):
        await counting.reach(expected)
    assert len(host.asked) == 6


async def tail_is_read(counting: Counting, network: Network) -> bool:
    """Whether the stored cursor is within the last messages."""
    cursor = (await counting.store.load()).cursors.get("bluesky", "")
    return Counted(cursor).last > BEGIN + (len(network.events) - 101) * network.step


async def test_a_killed_process_loses_nothing(
    recordings: Path,
    redis_server: RedisServer,
    counting: Counting,
    stack: AsyncExitStack,
    start_app: Callable[..., App],
) -> None:
    """kill -9 in the middle of a stream, twice; the process after it makes the totals true."""
    tracked = ("rstats", "hceres", "esr", "lackadaisy", "quarto", "fórmula1")
    expected = {tag: truth(recordings, FOLDER)[tag] for tag in tracked}
    network = Network()
    host = await stack.enter_async_context(Jetstream(network))
    chosen = {"SOURCES": "bluesky", "HASHTAGS": ",".join(tracked), "TICK_SECONDS": 0.1}
    where = {"JETSTREAM_URL": host.url, "REDIS_URL": redis_server.url}
    messages = wire(recordings, FOLDER)
    for begin in (0, 300, 600):
        app = start_app("ingest", **chosen, **where)
        await eventually(lambda n=begin: len(host.asked) > n // 300 and host.open, "connected")
        network.put(messages[begin : begin + 100])
        await eventually(lambda: tail_is_read(counting, network), "a part of it is stored")
        network.put(messages[begin + 100 : begin + 300])
        if begin < 600:
            app.signal(signal.SIGKILL)
            assert app.wait() == -signal.SIGKILL
            await eventually(lambda: not host.open, "its connection is gone")
    await counting.reach(expected, ticks=1)


async def test_a_rewind_reads_again_what_redis_lost(
    recordings: Path, counting: Counting, stack: AsyncExitStack
) -> None:
    """The ingester goes back to a stored cursor while the connection is healthy."""
    network, expected = Network(), truth(recordings, FOLDER)
    messages = wire(recordings, FOLDER)
    host = await stack.enter_async_context(Jetstream(network))
    async with counting.of(source_of(host, tracked=expected)):
        await eventually(lambda: host.open, "it is connected")
        network.put(messages[:300])
        await eventually(lambda: tail_is_read(counting, network), "a part is stored")
        copied = await counting.copy()
        network.put(messages[300:600])
        await eventually(lambda: tail_is_read(counting, network), "more is stored")
        await counting.rewind(copied)
        await eventually(lambda: len(host.asked) == 2, "it is read again")
        network.put(messages[600:])
        await counting.reach(expected)


@pytest.mark.parametrize("late", [0, 30 * SECOND, -30 * SECOND])
async def test_another_host_goes_on_where_one_broke(
    recordings: Path, counting: Counting, stack: AsyncExitStack, late: int
) -> None:
    """Hosts in turn, each with a clock of its own: still every post once."""
    network, expected = Network(SECOND), truth(recordings, FOLDER)
    one = await stack.enter_async_context(Jetstream(network, ("cut", 300), ("refuse", 503)))
    two = await stack.enter_async_context(Jetstream(network, ("close", 200), late=late))
    async with counting.of(source_of(one, two, tracked=expected)):
        await eventually(lambda: one.open, "it is connected")
        network.put(wire(recordings, FOLDER))
        await counting.reach(expected)
    assert (one.fired, two.fired) == (["cut", "refuse"], ["close"])
    assert [len(one.asked), len(two.asked)] == [2, 2]


async def test_a_cursor_that_is_too_old_is_told(counting: Counting, stack: AsyncExitStack) -> None:
    """A server starts silently at the oldest that it has; the state says what is missing."""
    network = Network(SECOND)
    host = await stack.enter_async_context(Jetstream(network))
    async with counting.of(source_of(host)):
        await eventually(lambda: host.open, "it is connected")
        network.put(numbered(5))
        await counting.reach({"science": 5})
    network.put(numbered(7000, begin=5))
    host.oldest = 4000
    source = source_of(host)
    async with counting.of(source):
        await counting.reach({"science": 5 + 3005})
    assert (source.state, source.reason) == ("live", "the posts of 1:06:36 are missing")


async def test_no_gap_is_told_where_none_is(counting: Counting, stack: AsyncExitStack) -> None:
    """After an hour away the server still has everything: nothing is missing."""
    network = Network(SECOND)
    host = await stack.enter_async_context(Jetstream(network))
    async with counting.of(source_of(host)):
        await eventually(lambda: host.open, "it is connected")
        network.put(numbered(5))
        await counting.reach({"science": 5})
    network.put(numbered(3600, begin=5))
    source = source_of(host)
    async with counting.of(source):
        await counting.reach({"science": 3605})
    assert (source.state, source.reason) == ("live", "")


@pytest.mark.parametrize("fault", ["silent", "pings", "hang"])
async def test_silence_counts_as_lost(stack: AsyncExitStack, fault: str) -> None:
    """Pings are no sign of life: a server whose source is dead pings on."""
    network = Network()
    host = await stack.enter_async_context(Jetstream(network, (fault, 0)))
    with pytest.raises(SourceLost, match=r"sent no message for 0\.2 s") as lost:
        async for _ in source_of(host, silence=0.2).posts(""):
            pass
    assert host.fired == [fault]
    assert (lost.value.wait, lost.value.for_good) == (None, False)


async def test_a_host_that_is_not_there_is_said(stack: AsyncExitStack) -> None:
    """The reason names the host; a later try takes the next one."""
    network = Network()
    host = await stack.enter_async_context(Jetstream(network))
    gone = Jetstream(network)
    gone.port = 1
    source = source_of(gone, host)
    with pytest.raises(SourceLost, match=r"^127\.0\.0\.1:1: "):
        await anext(aiter(source.posts("")))
    network.put(numbered(1))
    cursor = f"{BEGIN}:{BEGIN}:"
    assert (await anext(aiter(source.posts(cursor)))).id == "did:plc:a/r0"


BAD: list[bytes] = [
    b"", b"{", b"null", b"[]", b'"#tag"', b"\xff\xfe", b"[" * 50_000,
    b'{"time_us":1e999,"commit":{}, "x":"\\u0061"}',
    b'{"did":"a","time_us":"x","commit":{"operation":"create","collection":"app.bsky.feed.post","rkey":"r","record":{"tags":["science"]}}}',
    b'{"did":"a","time_us":1,"commit":{"operation":"create","collection":"app.bsky.feed.post","rkey":"r","record":{"tags":5}}}',
    b'{"did":"a","time_us":1,"commit":{"operation":"create","collection":"app.bsky.feed.post","rkey":"r","x":"\\u0061"}}',
    b'{"time_us":1,"commit":{"operation":"create","collection":"app.bsky.feed.post","rkey":"r","record":{"facets":[{"features":["facet#tag"]}]}}}',
]  # fmt: skip


async def test_bad_messages_are_skipped_and_harm_no_neighbour(
    counting: Counting, stack: AsyncExitStack
) -> None:
    """Not JSON, not UTF-8, not of the wire form: the posts around them are counted."""
    network = Network()
    host = await stack.enter_async_context(Jetstream(network))
    source = source_of(host)
    async with counting.of(source):
        await eventually(lambda: host.open, "it is connected")
        for n, bad in enumerate(BAD):
            network.put([create("science", rkey=f"r{n}"), bad])
        await counting.reach({"science": len(BAD)})
    assert source.bad == sum(map(may_have_hashtags, BAD)), "the others pass unread"
    assert len(host.asked) == 1, "none of them ended the connection"


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_message_is_never_an_error(bad: bytes) -> None:
    """Nor a post: it is skipped and counted, also as the first of a connection."""
    source = Bluesky(read({}))
    source.unread = UNREAD_AT_MOST
    assert source.read(bad, Counted("")) is None
    assert (source.bad, source.state) == (1, "connecting")


def test_trap_a_tag_facet_without_a_tag() -> None:
    """Real posts have it, with the hashtag elsewhere or nowhere: the other facets count."""
    message = create("science") | {"time_us": 1}
    message["commit"]["record"]["facets"] += [
        {"features": [{"$type": "app.bsky.richtext.facet#tag", "text": "#one #two"}]},
        {"features": [{"$type": "app.bsky.richtext.tag#tag"}]},
    ]
    assert hashtags(message) == ["science"]


def test_trap_a_delete_event_has_no_record() -> None:
    """Neither a delete nor an update is a new post, with or without a record."""
    message = create("science") | {"time_us": 1}
    for operation in ("delete", "update"):
        message["commit"]["operation"] = operation
        assert parse(message) is None
    del message["commit"]["record"]
    assert parse(message) is None
    assert parse({"did": "a", "time_us": 1, "kind": "identity", "identity": {}}) is None


def test_trap_a_facet_as_long_as_a_sentence() -> None:
    """Its byte range covers a sentence; its tags are believed, not the text under it."""
    message = create(text="Tsunami warning after the quake")
    features = [{"$type": "app.bsky.richtext.facet#tag", "tag": t} for t in ("Tsunami", "Quake")]
    index = {"byteStart": 0, "byteEnd": 31}
    message["commit"]["record"]["facets"] = [{"index": index, "features": features}]
    assert hashtags(message | {"time_us": 1}) == ["tsunami", "quake"]


@pytest.mark.parametrize("created", ["0000-01-01T00:00:00.000Z", None, "yesterday", 5])
def test_trap_a_post_of_the_year_0000(created: Any) -> None:
    """Clients write what they like; the time is the server's."""
    post = parse(create("science", createdAt=created) | {"time_us": 5_000_000})
    assert post and post.at == 5000


def test_trap_ten_spellings_and_repetitions_are_one_hashtag() -> None:
    """Full-width too, in facets and in the record's tags: it counts once in a post."""
    spellings = ("Science", "SCIENCE", "ｓｃｉｅｎｃｅ", "science", "#science")
    message = create(*spellings, tags=["sCience", "サッカー"])
    assert hashtags(message | {"time_us": 1}) == ["science", "サッカー"]


def hashtags(message: dict[str, Any]) -> list[str]:
    post = parse(message)
    assert post
    return list(post.hashtags)


def test_only_what_can_have_no_hashtag_passes_unread(recordings: Path) -> None:
    """Also letters that JSON escapes are seen through."""
    for folder in (FOLDER, "bsky_jetstream_misc"):
        for line in (recordings / folder / "wire_reduced.jsonl").read_bytes().splitlines():
            post = Bluesky(read({})).read(line, Counted(""))
            assert may_have_hashtags(line) or not (post and post.hashtags)
    escaped = b'{"record":{"\\u0074ags":["science"]}}'
    assert may_have_hashtags(escaped)


def test_a_cursor_stays_small() -> None:
    """However many posts count: then less is read again, and none of it is counted twice."""
    counted, tracked = Counted(""), frozenset({"science"})
    for n in range(5 * MOST):
        counted.move(BEGIN + n)
        assert counted.is_new(Post("bluesky", f"a/{n}", 0, "", {"science": ""}), tracked)
    assert len(counted.cursor()) == 2 * 17 + 8 * MOST
    again = Counted(counted.cursor())
    assert BEGIN + 4 * MOST <= again.resume < again.last == BEGIN + 5 * MOST - 1
    for n in range(again.resume - BEGIN, 5 * MOST):
        assert not again.is_new(Post("bluesky", f"a/{n}", 0, "", {"science": ""}), tracked)


@given(st.text(alphabet="0123456789:abc-_é", max_size=80))
def test_any_text_is_a_cursor_or_none(text: str) -> None:
    """What is no cursor of ours starts at now, as an empty one does."""
    counted = Counted(text)
    assert counted.cursor() == text or not counted.resume


@hypothesis.settings(deadline=None)
@given(
    gaps=st.lists(st.integers(1, 20 * SECOND), min_size=30, max_size=120),
    cuts=st.lists(st.tuples(st.integers(1, 40), st.integers(-REREAD, REREAD)), max_size=12),
)
def test_every_post_once_whatever_the_cuts_and_clocks(
    gaps: list[int], cuts: list[tuple[int, int]]
) -> None:
    """Hosts that differ by up to a minute, cuts anywhere, a new process after each of them."""
    times, now = [], BEGIN + KEEP
    for gap in gaps:
        times.append(now := now + gap)
    got: list[int] = []
    cursor = f"{BEGIN}:{BEGIN}:"
    for posts, late in [*cuts, (len(times), 0)]:
        counted = Counted(cursor)
        due = [n for n, time in enumerate(times) if time + late >= counted.resume]
        for n in due[:posts]:
            counted.move(times[n] + late)
            if counted.is_new(
                Post("bluesky", f"a/{n}", 0, "", {"science": ""}), frozenset({"science"})
            ):
                got.append(n)
        cursor = counted.cursor()
    assert len(set(got)) == len(got), "counted twice"
    assert sorted(got) == list(range(len(times))), "lost"


def test_wrong_addresses_are_refused() -> None:
    """The sentence names the setting; a list is taken apart."""
    assert read({"JETSTREAM_URL": "ws://a, wss://b/x/"}).jetstream_url == ("ws://a", "wss://b/x")
    for wrong in ("http://a", "ws://a,b", ","):
        with pytest.raises(SettingsError, match=r"^JETSTREAM_URL="):
            read({"JETSTREAM_URL": wrong})
