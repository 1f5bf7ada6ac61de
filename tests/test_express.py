"""The express lane on the raw socket: the bytes are right, whatever the client does."""

import asyncio
import gc
import re
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from served import Site, Writer, serving
from servers import RedisServer, eventually

from app.messages import Tick
from app.web import express, fanout, server, sse
from app.web.express import transport_behind
from app.web.viewer import BEATS_UNREAD

GET = "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
async def site(redis_server: RedisServer) -> AsyncIterator[Site]:
    async with serving(redis_server.url) as opened:
        yield opened


class Raw:
    """A connection of which the test sees every byte."""

    def __init__(self, site: Site, receive_buffer: int = 0) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.setblocking(False)
        self.site, self.received, self.ended = site, b"", False

    async def send(self, text: str = GET) -> "Raw":
        loop = asyncio.get_running_loop()
        if not self.received:
            await loop.sock_connect(self.socket, ("127.0.0.1", self.site.port))
        await loop.sock_sendall(self.socket, text.encode())
        return self

    async def until(self, pattern: bytes) -> re.Match[bytes]:
        """Read until the pattern is in what was received."""
        async with asyncio.timeout(10):
            while not (found := re.search(pattern, self.received, re.S)):
                await self.read()
        return found

    async def read(self, most: int = 1 << 16) -> None:
        try:
            piece = await asyncio.get_running_loop().sock_recv(self.socket, most)
        except ConnectionResetError:
            piece = b""
        self.ended = not piece
        assert piece, f"the connection ended: {self.received[-300:]!r}"
        self.received += piece

    def close(self) -> None:
        self.socket.close()


@pytest.fixture
async def raw(site: Site) -> AsyncIterator[Any]:
    """Open connections to the site; they are closed with the test."""
    opened: list[Raw] = []

    def connect(receive_buffer: int = 0) -> Raw:
        opened.append(Raw(site, receive_buffer))
        return opened[-1]

    yield connect
    for each in opened:
        each.close()


def unchunked(body: bytes) -> tuple[list[bytes], bytes]:
    """The chunks of a chunked body and what follows its end; fails where it is malformed."""
    chunks = []
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        assert rest[length : length + 2] == b"\r\n"
        if not length:
            return chunks, rest[2:]
        chunks.append(rest[:length])
        body = rest[length + 2 :]
    return chunks, b""


async def test_hypercorn_still_offers_the_lane(site: Site, raw: Any) -> None:
    """When this fails, Hypercorn's insides have changed: look at express.transport_behind, which
    goes from `send` to the connection; until it is mended viewers cost about four times as much."""
    await (await raw().send()).until(rb"event: counts")
    where = "by the express lane; look at transport_behind() in app/express.py"
    await eventually(lambda: len(site.riders) == 1, f"the viewer goes {where}")


@pytest.mark.parametrize(("version", "end"), [("1.1", b"\r\n0\r\n\r\n"), ("1.0", b"")])
async def test_bytes_are_those_of_the_ordinary_way(
    redis_server: RedisServer, version: str, end: bytes
) -> None:
    """The same head, the same events, chunk by chunk, and the same end."""
    received = {}
    for lane in ("on", "off"):
        async with serving(redis_server.url, lane) as site:
            site.feed.chance = lambda: 0.5
            client = await Raw(site).send(GET.replace("HTTP/1.1", f"HTTP/{version}"))
            await client.until(rb"event: counts\n[^\n]*\nid: [^\n]*\n\n")
            await eventually(
                lambda site=site, lane=lane: len(site.riders) == (lane == "on"), "it rides"
            )
            for _ in range(5):
                await site.publish()
                await site.hears()
                assert site.feed.newest
                await client.until(b"id: %s\n\n" % site.feed.newest.id.encode())
            site.feed.close()
            await client.until(rb"retry: 2250\n\n" + end)
            received[lane] = client.received
            client.close()
    assert received["on"].count(b"event: counts") == received["off"].count(b"event: counts") == 6
    assert shape(received["on"]) == shape(received["off"])


def shape(received: bytes) -> bytes:
    """A response without the numbers that differ from time to time."""
    return re.sub(
        rb"\d{13}(-\d+)?|date: [^\r]*|\"(science|football)\":\d+|^[\da-f]+\r$",
        b"#",
        received,
        flags=re.M,
    )


async def test_end_of_a_stream_leaves_the_connection_usable(site: Site, raw: Any) -> None:
    """After its hour a stream ends with a retry and the last chunk; a request that was sent
    while it went on is answered then, on the same connection, and so is the next."""
    viewer = await raw().send()
    await viewer.until(rb"event: counts")
    await eventually(lambda: site.riders, "it rides")
    await viewer.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await site.publish()
    await viewer.until(rb"\"science\":2")
    assert b"ok" not in viewer.received
    site.clock.ahead = 5000
    await viewer.until(rb"retry: \d+\n\n\r\n0\r\n\r\nHTTP/1.1 200.*\{\"ok\":true,.*\}")
    head, _, body = viewer.received.partition(b"\r\n\r\n")
    chunks, rest = unchunked(body)
    assert b"transfer-encoding: chunked" in head.lower()
    assert re.fullmatch(rb"retry: \d+\n\n", chunks[-1])
    assert rest.startswith(b"HTTP/1.1 200")
    viewer.received = b"again: "
    site.clock.ahead = 0
    await viewer.send()
    await viewer.until(rb"event: counts")


@pytest.mark.parametrize("how", ["close", "reset", "half"])
async def test_client_that_goes_away_is_noticed_at_once(site: Site, raw: Any, how: str) -> None:
    """No tick is needed for it; nothing of the viewer is left, nothing is logged."""
    viewer = await raw().send()
    await viewer.until(rb"event: counts")
    await eventually(lambda: site.riders, "it rides")
    if how == "half":
        viewer.socket.shutdown(socket.SHUT_WR)
    else:
        linger = b"\1\0\0\0\0\0\0\0" if how == "reset" else b"\0\0\0\0\0\0\0\0"
        viewer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        viewer.close()
    await eventually(lambda: not site.riders, "the viewer is gone")
    await eventually(lambda: not site.connections, "its connection is gone")
    await site.publish()
    await site.hears()


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_client_that_goes_away_with_a_request_waiting_is_noticed_at_a_tick(
    site: Site, raw: Any, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Hypercorn reads nothing while a request waits for its turn, so the write has to tell."""
    viewer = await raw().send(GET + "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await viewer.until(rb"event: counts")
    await eventually(lambda: site.riders, "it rides")
    linger = b"\1\0\0\0\0\0\0\0" if how == "reset" else b"\0\0\0\0\0\0\0\0"
    viewer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    viewer.close()
    for _ in range(3):  # what is sent first tells the kernel only
        await site.publish()
        await site.hears()
    await eventually(lambda: not site.riders, "the viewer is gone")
    await eventually(lambda: not site.connections, "its connection is gone")
    assert not caplog.text


async def test_viewer_that_comes_when_all_streams_end_is_ended_once(
    site: Site, raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody looks at it any more, also not between its end's beginning and its last bytes."""
    looked: list[int | RuntimeError] = []

    def look(shown: fanout.FanOut) -> None:
        try:
            looked.append(len(shown.riders | shown.behind))
            shown.looked = float("-inf")
            shown.repeat(site.feed.newest, site.clock())
        except RuntimeError as error:
            looked.append(error)

    join = fanout.FanOut.join

    def joined(*arguments: Any) -> None:
        join(*arguments)
        asyncio.get_running_loop().call_soon(look, arguments[0])

    monkeypatch.setattr(fanout.FanOut, "join", joined)
    site.feed.closing = True
    await (await raw().send()).until(rb"\n\n\r\n[\da-f]+\r\nretry: \d+\n\n\r\n0\r\n\r\n")
    assert looked == [0]
    assert not site.riders


async def test_client_that_went_away_during_its_opening_never_rides(site: Site, raw: Any) -> None:
    """It is gone before the lane is taken: nobody waits for it."""
    for _ in range(20):
        viewer = await raw().send()
        viewer.close()
    await eventually(lambda: not site.connections, "all connections are gone")
    assert not site.riders


async def stall(site: Site, viewer: Raw, text: str = GET) -> Any:
    """Send ticks to a viewer that reads nothing until its connection is full."""
    await viewer.send(text)
    await eventually(lambda: site.riders, "it rides")
    [rider] = site.riders
    assert site.feed.newest
    await eventually(lambda: rider in rider.fanout.riders, "it has all")
    for _ in range(5000):
        if rider in rider.fanout.behind:
            break
        rider.fanout.tell(site.feed.newest, 0)
    assert rider.transport.get_write_buffer_size(), "its connection is full"
    return rider


async def test_viewer_that_stops_reading_costs_no_memory(site: Site, raw: Any) -> None:
    """Ticks pass it by, others get theirs; when it reads again it is handed the newest totals."""
    slow = raw(receive_buffer=4096)
    rider = await stall(site, slow)
    quick = await raw().send()
    held = rider.transport.get_write_buffer_size()
    for total in range(2, 40):
        await site.publish()
        await quick.until(rb"\"science\":%d," % total)
        site.feed.beat()
    assert rider.transport.get_write_buffer_size() <= held
    assert rider.unread >= BEATS_UNREAD
    await slow.until(rb"\"science\":39,")
    await site.publish()
    await slow.until(rb"\"science\":40,")
    totals = [int(n) for n in re.findall(rb"\"science\":(\d+),", slow.received)]
    assert sorted(set(totals)) == [1, 39, 40]
    chunks, _ = unchunked(slow.received.partition(b"\r\n\r\n")[2])
    assert all(chunk.endswith(b"\n\n") for chunk in chunks)


async def test_end_comes_after_what_was_not_taken_yet(site: Site, raw: Any) -> None:
    """A viewer that is slow when the process drains gets whole chunks, the last one too."""
    slow = raw(receive_buffer=4096)
    await stall(site, slow)
    site.feed.close()
    await slow.until(rb"retry: \d+\n\n\r\n0\r\n\r\n")
    chunks, rest = unchunked(slow.received.partition(b"\r\n\r\n")[2])
    assert all(chunk.endswith(b"\n\n") for chunk in chunks)
    assert re.fullmatch(rb"retry: \d+\n\n", chunks[-1]) and not rest


async def test_request_whose_body_comes_slowly_is_answered_meanwhile(site: Site, raw: Any) -> None:
    """Its bytes are taken and of no use; the end is as ever, and the connection goes on."""
    length = "Content-Length: 100000\r\nExpect: 100-continue\r\n\r\n"
    viewer = await raw().send(GET.removesuffix("\r\n") + length)
    await viewer.until(rb"event: counts")
    await eventually(lambda: site.riders, "it rides")
    for total in range(2, 22):
        await viewer.send("x" * 5000)
        await site.publish()
        await viewer.until(rb"\"science\":%d," % total)
    site.clock.ahead = 5000
    await viewer.until(rb"retry: \d+\n\n\r\n0\r\n\r\n")
    site.clock.ahead = 0
    await viewer.send()
    await viewer.until(rb"0\r\n\r\nHTTP/1.1 200.*event: counts")


async def test_viewer_that_hesitates_misses_no_tick(site: Site, raw: Any) -> None:
    """Its connection was full for less than a moment: all that it missed comes in order."""
    viewer = raw(receive_buffer=4096)
    rider = await stall(site, viewer)
    for _ in range(3):
        await site.publish()
    await site.hears()
    assert rider.unread < BEATS_UNREAD
    await viewer.until(rb"\"science\":4,")
    totals = [int(n) for n in re.findall(rb"\"science\":(\d+),", viewer.received)]
    assert totals[-3:] == [2, 3, 4]


@pytest.mark.parametrize("waiting", ["", GET])
async def test_viewer_that_takes_nothing_for_long_is_let_go(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, waiting: str
) -> None:
    """The kernel gives it up after the time that is set on its socket: 30 s, here half a one.
    That it asked for more meanwhile changes nothing."""
    assert server.UNREAD_MILLISECONDS == 30_000
    monkeypatch.setattr(server, "UNREAD_MILLISECONDS", 500)
    async with serving(redis_server.url) as site:
        viewer = Raw(site, receive_buffer=4096)
        await stall(site, viewer, GET + waiting)
        await eventually(lambda: not site.riders, "the viewer is let go")
        await eventually(lambda: not site.connections, "its connection is gone")
        viewer.close()


async def test_viewer_that_reads_byte_by_byte_gets_whole_chunks(site: Site, raw: Any) -> None:
    """However slowly they are taken, the bytes are in order and none is missing."""
    viewer = await raw(receive_buffer=4096).send()
    for total in range(2, 6):
        await site.publish()
        async with asyncio.timeout(10):
            while b'"science":%d,' % total not in viewer.received:
                await viewer.read(1)
    totals = [int(n) for n in re.findall(rb"\"science\":(\d+),", viewer.received)]
    assert totals[-4:] == [2, 3, 4, 5]
    assert len(site.riders) == 1


async def test_redis_that_begins_anew_brings_every_rider_a_history(site: Site, raw: Any) -> None:
    """Totals fell: what the viewers have leads nowhere, they are told afresh."""
    viewer = await raw().send()
    await viewer.until(rb"event: counts")
    await eventually(lambda: site.riders, "it rides")
    await site.publish(science=10)
    await viewer.until(rb"\"science\":11,")
    assert site.feed.newest
    heard = int(site.feed.newest.id.split("-")[0])
    await eventually(lambda: time.time() * 1000 > heard + 1, "the next tick's id is a later one")
    await site.store.redis.flushdb()
    site.writer = Writer(site.store)
    await site.publish(science=3)
    await viewer.until(rb"event: history.*event: counts\ndata: [^\n]*\"science\":3,")


def test_lane_is_taken_only_where_nothing_is_in_between() -> None:
    """Another server's send, a wrapped one, or what only looks like Hypercorn's has none."""

    class Looks:
        async def app_send(self, message: Any) -> None: ...

        send = app_send

    async def wrapped(message: Any) -> None: ...

    for send in (None, wrapped, Looks().app_send, lambda message: None):
        assert transport_behind(send) is None


@pytest.mark.parametrize("what", ["TLS", "HTTP/2"])
async def test_without_a_lane_the_stream_goes_the_ordinary_way(
    site: Site, raw: Any, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The events are the same, and nobody rides."""
    found = express.transport_behind

    def encrypted(send: Any) -> Any:
        """As if the connection were encrypted."""
        send.__self__.send.__self__.ssl = True
        return found(send)

    if what == "TLS":
        monkeypatch.setattr(express, "transport_behind", encrypted)
    else:
        monkeypatch.setattr(express, "H11Protocol", type("H2Protocol", (), {}))
    viewer = await raw().send()
    await viewer.until(rb"event: counts")
    await site.publish()
    await viewer.until(rb"\"science\":2,")
    assert not site.riders


async def test_a_tick_costs_the_same_for_one_viewer_and_for_fifty(
    site: Site, raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One encoding, one chunk, no task woken, no object kept, and no word with Redis for any of
    them: what makes a viewer cheap is counted here, not timed."""
    counted: Counter[str] = Counter()
    loop = asyncio.get_running_loop()
    encode, frame, soon = sse.event, sse.chunk, loop.call_soon

    def event(*arguments: str) -> bytes:
        counted["encodings"] += 1
        return encode(*arguments)

    def chunk(data: bytes) -> bytes:
        counted["encodings"] += 1
        return frame(data)

    def call_soon(*arguments: Any, **options: Any) -> Any:
        counted["calls"] += 1
        return soon(*arguments, **options)

    monkeypatch.setattr(sse, "event", event)
    monkeypatch.setattr(sse, "chunk", chunk)
    costs = []
    for viewers in (1, 50):
        while len(site.riders) < viewers:
            await (await raw().send()).until(rb"event: counts")
            await eventually(
                lambda: not any(each.behind for each in site.feed.fanouts.values()), "all ride"
            )
        held: list[Tick] = []
        with monkeypatch.context() as held_back:
            hear = lambda tick, held=held: not (tick and held.append(tick))  # noqa: E731
            held_back.setattr(site.feed, "hear", hear)
            await site.publish()
            await eventually(lambda held=held: held, "the tick came")
        [heard] = held
        counted.clear()
        monkeypatch.setattr(loop, "call_soon", call_soon)
        gc.collect()
        gc.disable()  # what it finds is not this tick's
        blocks = sys.getallocatedblocks()
        site.feed.hear(heard)
        blocks = sys.getallocatedblocks() - blocks
        gc.enable()
        monkeypatch.setattr(loop, "call_soon", soon)
        costs.append((counted["encodings"], counted["calls"], blocks))
    (encodings, calls, few), (same_encodings, same_calls, many) = costs
    assert encodings == same_encodings == 2
    assert calls == same_calls
    assert many - few < 50, "less than one kept object for each viewer"


async def test_connecting_asks_redis_nothing(site: Site, raw: Any) -> None:
    """Nor does resuming: what a viewer missed is in the log that all share, and what others
    watch is known."""
    await (await raw().send()).until(rb"event: counts")
    for _ in range(5):
        await site.publish()
    await site.hears()
    before = await calls(site)
    resumed = f"GET /events?history=60&last_event_id={site.feed.ticks.heads[0].id} HTTP/1.1\r\nHost: x\r\n\r\n"
    for request in (GET, resumed) * 10:
        await (await raw().send(request)).until(rb"event: counts")
    # the feed looks at the log by itself when no tick comes for a while
    assert await calls(site) - before < 10


async def calls(site: Site) -> int:
    """How often Redis was asked anything."""
    told = await site.store.redis.info("commandstats")
    return sum(about["calls"] for about in told.values())
