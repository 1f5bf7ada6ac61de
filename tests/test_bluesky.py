"""Bluesky against local Jetstream servers: every post once, whatever breaks."""

import asyncio
import json
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from jetstream import BAD, BEGIN, SECOND, Jetstream, Network, create, numbered, source_of
from network import Counting, settings, truth, wire
from servers import App, RedisServer, eventually

from app.messages import Post
from app.sources import SourceLost
from app.sources.bluesky import Bluesky
from app.sources.bluesky.place import ENOUGH, REREAD
from app.sources.bluesky.wire import may_have_hashtags

FOLDER = "bsky_posts_wrapped"


@pytest.mark.parametrize("folder", [FOLDER, "bsky_jetstream_misc"])
async def test_a_recording_gives_its_true_counts(
    recordings: Path, counting: Counting, stack: AsyncExitStack, folder: str
) -> None:
    """All hashtags, over a real websocket into a real Redis, with the collection that we ask for."""
    network, expected = Network(), truth(recordings, folder)
    host = await stack.enter_async_context(Jetstream(network))
    async with counting.of(source_of(host)):
        await eventually(lambda: host.open, "it is connected")
        network.put(wire(recordings, folder))
        await counting.reach(expected)
    asked = {"wantedCollections": "app.bsky.feed.post", "maxMessageSizeBytes": str(2**20)}
    assert host.asked == [asked]


@pytest.mark.parametrize("step", [40_000, SECOND])
async def test_no_cut_loses_or_doubles_a_post(
    recordings: Path, counting: Counting, stack: AsyncExitStack, step: int
) -> None:
    """Cut, closed, cut within a frame, gone silent, refused: each comes, the totals are true."""
    network, expected = Network(step), truth(recordings, FOLDER)
    messages = wire(recordings, FOLDER)
    faults = [("cut", 150), ("refuse", 503), ("close", 190), ("half", 230), ("silent", 300)]
    host = await stack.enter_async_context(Jetstream(network, *faults))
    source = source_of(host, silence=2.0)
    async with counting.of(source):
        await eventually(lambda: host.open, "it is connected")
        network.put(messages[:100])
        await eventually(lambda: tail_is_read(counting, network), "it has a cursor")
        network.put(messages[100:])
        await eventually(lambda: len(host.fired) == len(faults), "every fault fired")
        await counting.reach(expected)
        await eventually(lambda: source.state == "live", "it is live")
    assert host.fired == [name for name, _ in faults]
    assert all(int(query["cursor"]) >= BEGIN - REREAD for query in host.asked[1:])


async def test_a_restart_goes_on_without_loss_or_repetition(
    recordings: Path, counting: Counting, stack: AsyncExitStack
) -> None:
    """A new process knows only the cursor, and Redis what was counted of what is read again."""
    network, expected = Network(), truth(recordings, FOLDER)
    host = await stack.enter_async_context(Jetstream(network))
    messages = wire(recordings, FOLDER)
    for begin in range(0, len(messages), 200):
        async with counting.of(source_of(host)):
            await eventually(lambda n=begin: len(host.asked) > n // 200 and host.open, "connected")
            network.put(messages[begin : begin + 100])
            await eventually(lambda: tail_is_read(counting, network), "the middle is reached")
        network.put(messages[begin + 100 : begin + 200])
    async with counting.of(source_of(host)):
        await counting.reach(expected)
    assert len(host.asked) == 6


async def tail_is_read(counting: Counting, network: Network) -> bool:
    """Whether all but the last hundred messages are stored, and a cursor with them."""
    found = [Bluesky.parse(json.dumps(event | {"time_us": 1})) for event in network.events[:-100]]  # type: ignore[operator]
    uses = sum(len(post.hashtags) for post in found if post)
    stored = bool((await counting.store.load()).cursors.get("bluesky"))
    return stored and sum((await counting.totals()).values()) >= uses


async def test_a_killed_process_loses_nothing(
    recordings: Path,
    redis_server: RedisServer,
    counting: Counting,
    stack: AsyncExitStack,
    start_app: Callable[..., App],
) -> None:
    """kill -9 in the middle of a stream, twice; the process after it makes the totals true."""
    network, expected = Network(), truth(recordings, FOLDER)
    host = await stack.enter_async_context(Jetstream(network))
    chosen = {"SOURCES": "bluesky", "HASHTAGS": "rstats,fórmula1", "TICK_SECONDS": 0.1}
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
    async with counting.of(source_of(host)):
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


async def test_a_redis_that_lost_everything_gets_it_back_from_memory(
    recordings: Path, counting: Counting, stack: AsyncExitStack
) -> None:
    """Nothing is read again, and the process after it knows where to go on, and what was counted."""
    network, expected = Network(), truth(recordings, FOLDER)
    host = await stack.enter_async_context(Jetstream(network))
    async with counting.of(source_of(host)):
        await eventually(lambda: host.open, "it is connected")
        network.put(wire(recordings, FOLDER))
        await counting.reach(expected)
        await counting.store.redis.flushall()
        await counting.reach(expected)
        assert len(host.asked) == 1
    async with counting.of(source_of(host)):
        await eventually(lambda: len(host.asked) == 2, "it is connected again")
        assert "cursor" in host.asked[1]
        await counting.reach(expected)


@pytest.mark.parametrize("late", [0, 30 * SECOND, -30 * SECOND])
async def test_another_host_goes_on_where_one_broke(
    recordings: Path, counting: Counting, stack: AsyncExitStack, late: int
) -> None:
    """Hosts in turn, each with a clock of its own: still every post once."""
    network, expected = Network(SECOND), truth(recordings, FOLDER)
    messages = wire(recordings, FOLDER)
    one = await stack.enter_async_context(Jetstream(network, ("cut", 300), ("refuse", 503)))
    two = await stack.enter_async_context(Jetstream(network, ("close", 200), late=late))
    async with counting.of(source_of(one, two)):
        await eventually(lambda: one.open, "it is connected")
        network.put(messages[:100])
        await eventually(lambda: tail_is_read(counting, network), "it has a cursor")
        network.put(messages[100:])
        await counting.reach(expected)
    assert (one.fired, two.fired) == (["cut", "refuse"], ["close"])
    again = late < 0  # its clock is behind: the first time it was asked for too late a time
    assert [len(one.asked), len(two.asked)] == [2, 2 + again]


async def test_a_cursor_that_is_too_old_is_told(counting: Counting, stack: AsyncExitStack) -> None:
    """A server starts silently at the oldest that it has; the state says what is missing."""
    network = Network(SECOND)
    host = await stack.enter_async_context(Jetstream(network))
    async with counting.of(source_of(host)):
        await eventually(lambda: host.open, "it is connected")
        network.put(numbered(ENOUGH))
        await counting.reach({"science": ENOUGH})
    network.put(numbered(7000, begin=ENOUGH))
    host.oldest = 4000
    source = source_of(host)
    async with counting.of(source):
        await counting.reach({"science": ENOUGH + 3000 + ENOUGH})
    assert (source.state, source.reason) == ("live", "the posts of 1:06:40 are missing")
    assert source.public_state().unbroken_since == host.time(4000) // 1000


async def test_no_gap_is_told_where_none_is(counting: Counting, stack: AsyncExitStack) -> None:
    """After an hour away the server still has everything: nothing is missing."""
    network = Network(SECOND)
    host = await stack.enter_async_context(Jetstream(network))
    async with counting.of(source_of(host)):
        await eventually(lambda: host.open, "it is connected")
        network.put(numbered(ENOUGH))
        await counting.reach({"science": ENOUGH})
    network.put(numbered(3600, begin=ENOUGH))
    source = source_of(host)
    async with counting.of(source):
        await counting.reach({"science": ENOUGH + 3600})
    assert (source.state, source.reason) == ("live", "")
    assert source.public_state().unbroken_since == BEGIN // 1000


@pytest.mark.parametrize("fault", ["silent", "pings", "hang"])
async def test_silence_counts_as_lost(stack: AsyncExitStack, fault: str) -> None:
    """Pings are no sign of life: a server whose source is dead pings on."""
    network = Network()
    host = await stack.enter_async_context(Jetstream(network, (fault, 0)))
    with pytest.raises(SourceLost, match=r"sent no message for 0\.2 s") as lost:
        async with asyncio.timeout(20):
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
    with pytest.raises(SourceLost, match=r"^ws://127\.0\.0\.1:1: "):
        await anext(aiter(source.posts("")))
    network.put(numbered(1))
    post = await anext(aiter(source.posts(str(BEGIN))))
    assert isinstance(post, Post) and post.id == "did:plc:a/r0"


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


async def test_a_server_that_takes_no_connection_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That is not the silence of one that did."""

    async def refuse(*arguments: object) -> None:
        raise aiohttp.ConnectionTimeoutError

    monkeypatch.setattr(Bluesky, "connect", refuse)
    with pytest.raises(SourceLost, match="does not answer"):
        await anext(aiter(Bluesky(settings(())).posts("")))
