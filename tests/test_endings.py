"""Each way in which a viewer's connection can end, by each way to its stream, on real sockets:
nothing of it is left, nobody else is disturbed, and nothing is logged."""

import asyncio
import re
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import h2.connection
import h2.events
import h2.settings
import pytest
from raw import CLOSE, RESET, WAYS, Raw, events_of, get, lane, unchunked, watching
from served import Site, serving
from servers import RedisServer, eventually

from app.web import hypercorn_fixes, server, sse, taken, takeover
from app.web.viewer import Viewer

TAKEN = [way for way in WAYS if way != "ordinary"]
HEALTH = "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"
LAST = rb"retry: \d+\n\n\r\n0\r\n\r\n"


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def site(way: str, redis_server: RedisServer) -> AsyncIterator[Site]:
    async with serving(redis_server.url, lane(way)) as opened:
        yield opened


async def nobody(site: Site) -> None:
    """Wait until nothing of any viewer is left."""
    limits = site.app.extensions["limits"]
    await eventually(lambda: not limits.viewers and not limits.watching, "no viewer is counted")
    await eventually(lambda: not site.connections, "no connection is open")
    fanouts = list(site.feed.fanouts.values())
    assert not any(each.viewers or each.behind for each in fanouts)
    assert not site.feed.shared.reading and not site.feed.shared.held


async def stall(site: Site, viewer: Raw, request: str) -> Viewer:
    """Send ticks to a viewer that reads nothing until its connection is full."""
    await viewer.send(request)
    await eventually(
        lambda: site.taken and site.taken[0] in site.taken[0].fanout.viewers, "it has all"
    )
    [found] = site.taken
    assert site.feed.newest
    still = 0
    while still < 10:  # what the kernel holds on either side fills by and by
        assert found in site.taken, "it is let go too soon"
        place = found.place if found.owed else -1
        for _ in range(100):
            found.fanout.catch_up()
            if not found.owed:
                found.fanout.tell(site.feed.newest, 0)
        await asyncio.sleep(0.01)
        still = still + 1 if found.owed and found.place == place else 0
    found.full_since = None
    assert found.owed, "its connection is full"
    return found


@pytest.mark.parametrize("how", ["close", "reset", "half"])
async def test_client_that_goes_away_is_noticed_at_once(
    site: Site, raw: Any, way: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """No tick is needed for it; also where it had asked for something else meanwhile."""
    for more in ("", HEALTH) if way != "ordinary" else ("",):
        viewer, other = raw(), await watching(raw(), get(way))
        await watching(viewer, get(way) + more)
        if how == "half":
            viewer.socket.shutdown(socket.SHUT_WR)
        else:
            viewer.close(RESET if how == "reset" else CLOSE)
        limits = site.app.extensions["limits"]
        await eventually(lambda limits=limits: limits.viewers == 1, "one is left")
        await eventually(lambda: site.connections == 1, "and one connection")
        await site.publish()
        await other.until(rb"\"science\":%d," % site.writer.totals["science"])
        other.close()
        await nobody(site)
    assert not caplog.text


async def test_client_that_went_away_during_its_opening_leaves_nothing(
    site: Site,
    raw: Any,
    way: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before, or while, its connection is taken, or its totals are read; at once, and not when an
    answer that ends by itself would have had to be ready."""
    monkeypatch.setattr(hypercorn_fixes, "END_SECONDS", 1000)
    for n in range(60):
        viewer = await raw().send(get(way, f"history=900&tags=science,never{n % 7 * n}"))
        for _ in range(n % 20):
            await asyncio.sleep(0)
        viewer.close(RESET if n % 2 else CLOSE)
    await nobody(site)
    assert not caplog.text


@pytest.mark.parametrize(("version", "end"), [("1.1", LAST), ("1.0", rb"retry: \d+\n\n")])
async def test_a_stream_ends_after_its_hour(
    site: Site, raw: Any, way: str, version: str, end: bytes
) -> None:
    """With when to come back, and the last chunk where there are any. A connection that was taken
    is closed then; another is of use again."""
    viewer = await watching(raw(), get(way, version=version))
    site.clock.ahead = 5000
    await site.publish()
    await viewer.until(end)
    if way == "ordinary" and version == "1.1":
        await viewer.send(HEALTH)
        await viewer.until(rb"0\r\n\r\nHTTP/1.1 200.*\{\"ok\":true,.*\}")
        viewer.close()
    else:
        assert re.search(end + rb"\Z", await viewer.read_all())
    await nobody(site)


async def test_another_request_meanwhile_disturbs_no_stream(site: Site, raw: Any, way: str) -> None:
    """It is answered when the stream is over, or, where the connection was taken, never: that
    is closed with the last chunk, and the client asks again."""
    viewer = await watching(raw(), get(way))
    await viewer.send(HEALTH)
    await site.publish()
    await viewer.until(rb"\"science\":2,")
    assert b"ok" not in viewer.received
    site.clock.ahead = 5000
    await viewer.until(
        LAST + (rb"HTTP/1.1 200.*\{\"ok\":true,.*\}" if way == "ordinary" else rb"\Z")
    )
    if way != "ordinary":
        assert re.search(LAST + rb"\Z", await viewer.read_all())


@pytest.mark.parametrize("way", TAKEN, indirect=True)
async def test_client_that_sends_without_end_is_let_go(site: Site, raw: Any, way: str) -> None:
    """What it sends is read and dropped, as far as a bound."""
    viewer = await watching(raw(), get(way))
    for total in range(2, 8):
        await viewer.send(b"x" * (taken.MOST_HEARD // 8))
        await site.publish()
        await viewer.until(rb"\"science\":%d," % total)
    with pytest.raises(ConnectionError):
        for _ in range(100):
            await viewer.send(b"x" * taken.MOST_HEARD)
    await nobody(site)


async def test_viewer_that_comes_when_all_streams_end_is_ended(
    site: Site, raw: Any, way: str
) -> None:
    """With its first bytes and its last words, once."""
    site.feed.closing = True
    viewer = await raw().send(get(way))
    await viewer.until(rb"\n\n\r\n[\da-f]+\r\n" + LAST)
    assert viewer.received.count(b"\r\n0\r\n") == 1
    viewer.close()
    await nobody(site)


@pytest.mark.parametrize("way", TAKEN, indirect=True)
async def test_the_last_words_and_the_end_are_one_packet(site: Site, raw: Any, way: str) -> None:
    """At a deploy there are as many as viewers, and clients are as busy as we are."""
    client = await watching(raw(), get(way))
    before = packets(client)
    site.feed.close()
    await client.read_all()
    assert packets(client) == before + 1
    assert re.search(LAST + rb"\Z", client.received)


def packets(client: Raw) -> int:
    """That came to it: tcpi_segs_in of struct tcp_info in Linux's linux/tcp.h."""
    info = client.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 144)
    return int.from_bytes(info[140:144], sys.byteorder)


@pytest.mark.parametrize("way", TAKEN, indirect=True)
async def test_end_comes_after_what_was_not_taken_yet(site: Site, raw: Any, way: str) -> None:
    """A viewer that is slow when the process drains gets whole chunks, the last one too; however
    often it is told."""
    slow = raw(receive_buffer=4096)
    viewer = await stall(site, slow, get(way))
    viewer.hand(sse.chunk(b":" * 1000 + b"\n\n") * 1000)  # more than any kernel takes meanwhile
    site.feed.close()
    site.feed.close()
    assert viewer in site.taken
    await slow.until(LAST)
    *events, last = unchunked(slow.received.partition(b"\r\n\r\n")[2])[0]
    assert all(chunk.endswith(b"\n\n") for chunk in events)
    assert re.fullmatch(rb"retry: \d+\n\n", last) and len(events) > 100
    await slow.read_all()
    assert events_of(slow.received.partition(b"\r\n\r\n")[2]).count(b"retry:") == 2
    await nobody(site)


@pytest.mark.parametrize("way", TAKEN, indirect=True)
async def test_the_process_waits_for_last_bytes_no_longer_than_it_says(
    site: Site, raw: Any, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who takes them in time has them; who takes nothing is cut off."""
    monkeypatch.setattr(taken, "END_SECONDS", 0.2)
    stalled = raw(receive_buffer=4096)
    viewer = await stall(site, stalled, get(way))
    viewer.hand(b":" * 10**6)  # more than any kernel takes meanwhile
    quick = await watching_too(site, raw(), get(way, "history=60"))
    await site.app.extensions["taken"].close()
    assert not site.taken
    assert re.search(LAST + rb"\Z", await quick.read_all())
    assert not re.search(LAST, await stalled.read_all())
    await nobody(site)


async def watching_too(site: Site, viewer: Raw, request: str) -> Raw:
    """Another viewer beside one that is behind."""
    await viewer.send(request)
    await viewer.until(rb"event: counts\n[^\n]*\nid: [^\n]*\n\n")
    return viewer


@pytest.mark.parametrize("waiting", ["", HEALTH])
@pytest.mark.parametrize("way", TAKEN)
async def test_viewer_that_takes_nothing_for_long_is_let_go(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, way: str, waiting: str
) -> None:
    """The kernel gives it up after the time that is set on its socket: 30 s, here three.
    That it asked for more meanwhile changes nothing."""
    assert server.UNREAD_MILLISECONDS == 30_000
    monkeypatch.setattr(server, "UNREAD_MILLISECONDS", 3000)
    async with serving(redis_server.url) as site:
        viewer = Raw(site, receive_buffer=4096)
        await stall(site, viewer, get(way) + waiting)
        await nobody(site)
        viewer.close()


@pytest.mark.parametrize("way", TAKEN, indirect=True)
async def test_viewer_that_takes_nothing_is_let_go_by_our_own_look(
    site: Site, raw: Any, way: str
) -> None:
    """Where the kernel has no such time, and as long as it answers for the client."""
    viewer = await stall(site, raw(receive_buffer=4096), get(way))
    viewer.hand(b":" * 10**6)  # more than any kernel takes meanwhile
    site.clock.stop()
    site.feed.beat()
    for ahead in (1, 30):
        site.clock.ahead = ahead
        site.feed.beat()
        assert viewer in site.taken, "30 s are not over"
    site.clock.ahead = 30.1
    site.feed.beat()
    await nobody(site)


@pytest.mark.parametrize("way", TAKEN, indirect=True)
async def test_viewer_that_reads_while_we_are_stopped_is_not_let_go(
    site: Site, raw: Any, way: str
) -> None:
    """A process that did not run for a minute gives each what it owes before it judges."""
    slow = raw(receive_buffer=4096)
    viewer = await stall(site, slow, get(way))
    viewer.hand(b":" * 10**6)  # more than any kernel takes meanwhile
    site.clock.stop()
    site.feed.beat()
    assert viewer.full_since is not None
    with suppress(BlockingIOError):  # our loop does not run meanwhile
        while slow.socket.recv(2**20):
            pass
    site.clock.ahead = 60
    site.feed.beat()
    assert viewer in site.taken


LONG = ",".join(f"{'x' * 90}{n:04}" for n in range(19))


async def test_answer_that_nobody_takes_is_let_go_the_ordinary_way(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hypercorn alone would wait as long as the kernel does."""
    assert takeover.UNREAD_SECONDS == 30
    monkeypatch.setattr(takeover, "UNREAD_SECONDS", 0.3)
    async with serving(redis_server.url, "false") as site:
        viewer = await Raw(site, receive_buffer=4096).send(get("ordinary", f"tags=science,{LONG}"))
        limits = site.app.extensions["limits"]
        await eventually(lambda: limits.viewers == 1, "it is here")
        async with asyncio.timeout(20):
            while limits.viewers:
                await site.publish()
        await nobody(site)
        viewer.close()


class Http2:
    """A client of HTTP/2 that takes no byte of an answer's body."""

    def __init__(self, raw: Raw) -> None:
        self.raw, self.connection = raw, h2.connection.H2Connection()
        self.connection.initiate_connection()
        self.connection.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})

    async def ask(self, stream: int, path: str) -> None:
        head = [(":method", "GET"), (":path", path), (":scheme", "http"), (":authority", "h")]
        self.connection.send_headers(stream, head, end_stream=True)
        await self.raw.send(self.connection.data_to_send())

    async def until(self, kind: type) -> Any:
        """Read until an event of this kind comes."""
        async with asyncio.timeout(10):
            while not self.raw.ended:
                before = len(self.raw.received)
                await self.raw.read()
                for event in self.connection.receive_data(self.raw.received[before:]):
                    if isinstance(event, kind):
                        return event
        raise AssertionError(f"it ended without {kind}")


@pytest.mark.parametrize("why", ["full", "over"])
async def test_stream_of_http2_that_nobody_takes_is_let_go(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """Its window is 0, so it takes nothing, and the kernel sees nothing wrong. Others on its
    connection go on."""
    monkeypatch.setattr(takeover, "UNREAD_SECONDS", 0.3)
    async with serving(redis_server.url) as site:
        client = Http2(Raw(site))
        await client.ask(1, f"/events?tags=science,{LONG}")
        await client.until(h2.events.ResponseReceived)
        limits = site.app.extensions["limits"]
        assert limits.viewers == 1
        async with asyncio.timeout(20):
            while limits.viewers:
                await site.publish()
                site.clock.ahead += 5000 if why == "over" else 0
        assert (await client.until(h2.events.StreamReset)).stream_id == 1
        await client.ask(3, "/healthz")
        assert dict((await client.until(h2.events.ResponseReceived)).headers)[b":status"] == b"200"
        client.raw.close()
        await nobody(site)
