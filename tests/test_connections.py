"""Connections whose clients go away, or send what no client should: each ends, and says nothing."""

import asyncio
import gc
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import h2.connection
import h2.settings
import pytest
from quart.wrappers.request import Body
from served import Site, serving
from servers import RedisServer, eventually

from app.web import hypercorn_fixes
from app.web.limits import Limited
from app.web.server import ACCEPTED_AT_ONCE
from app.web.turns import BEGUN_AT_ONCE

GET = b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"
STREAM = b"GET /events HTTP/1.1\r\nHost: h\r\n\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@pytest.fixture(params=["on", "off"])
async def site(request: pytest.FixtureRequest, redis_server: RedisServer) -> AsyncIterator[Site]:
    async with serving(redis_server.url, lane=request.param) as opened:
        yield opened


Opened = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def connect(site: Site, stack: AsyncExitStack) -> Callable[[bytes], Awaitable[Opened]]:
    """Send this on a connection of its own, which ends with the test at the latest."""

    async def connected(sent: bytes) -> Opened:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        stack.callback(lambda: writer.transport.abort())  # as long as it is kept it is open
        writer.write(sent)
        await writer.drain()
        return reader, writer

    return connected


def left(site: Site) -> int:
    """Connections that are open, or that something still waits for."""
    serving = [str(task.get_coro()) for task in asyncio.all_tasks()]
    return site.connections + sum("_server_callback" in name for name in serving)


SENT = {b"": b"", GET: b'"ok":true', GET[:9]: b"", 2 * GET: b"HTTP", STREAM: b"event: counts"}
"""What a client sends, and what it waits for before it goes."""


@pytest.mark.parametrize("end", ["close", "half", "reset"])
async def test_a_connection_ends_with_its_client(
    site: Site, connect: Callable[..., Awaitable[Opened]], end: str
) -> None:
    """At once, whatever it had asked; not when keep_alive_timeout is over, after 75 s."""
    assert site.config.keep_alive_timeout == 75
    for sent, awaited in 3 * [*SENT.items()]:
        reader, writer = await connect(sent)
        await reader.readuntil(awaited) if awaited else None
        if end == "half":
            writer.write_eof()
        elif end == "close":
            writer.close()
        else:
            writer.transport.abort()
    await eventually(lambda: not left(site), "all are closed")


async def test_an_answer_that_nobody_takes_ends_with_its_client(
    site: Site, connect: Callable[..., Awaitable[Opened]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In HTTP/2 a client may allow no byte of it, and go."""
    monkeypatch.setattr(hypercorn_fixes, "END_SECONDS", 0.2)
    client = h2.connection.H2Connection()
    client.initiate_connection()
    client.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
    for n, path in enumerate(("/nothing", "/events", "http://[", "/api/counts")):
        head = [(":method", "GET"), (":path", path), (":scheme", "http"), (":authority", "h")]
        client.send_headers(1 + 2 * n, head, end_stream=True)
    reader, writer = await connect(client.data_to_send())
    assert await reader.read(100)
    assert left(site) == 2, "it is open, and served"
    writer.close()
    await eventually(lambda: not left(site), "it is closed")


UPGRADE = b"GET /events HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\n"
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
ODD_PATH = (  # a HEADERS frame whose :path is the byte 0xff
    b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" b"\x00\x00\x09\x01\x05\x00\x00\x00\x01" b"\x82\x86\x04\x01\xff\x01\x01h"
)  # fmt: skip
WRONG = {
    "HTTP/2 with settings of a wrong length": PREFACE + b"\x00\x00\x05\x04\x00\x00\x00\x00\x00hello",
    "HTTP/2 with a path that is no text": PREFACE + ODD_PATH + b"x",
    "an upgrade with settings that are none": UPGRADE + b"Upgrade: h2c\r\nHTTP2-Settings: !!!!\r\n\r\n",
    "a websocket with a protocol that is no text": UPGRADE
    + b"Upgrade: websocket\r\n" + KEY + b"Sec-WebSocket-Protocol: \xff\r\n\r\n",
    "a websocket with bytes before it is open": UPGRADE + b"Upgrade: websocket\r\n" + KEY + b"\r\n\xff\xff",
    "a target of which nobody knows the host": b"GET http://[/ HTTP/1.1\r\nHost: h\r\n\r\n",
    "a target without a path": b"GET ?x HTTP/1.1\r\nHost: h\r\n\r\n",
    "many requests, and none to hear the answers": 50 * GET,
}  # fmt: skip


@pytest.mark.parametrize("sent", WRONG.values(), ids=WRONG)
async def test_what_is_wrong_ends_without_a_word(
    site: Site,
    connect: Callable[..., Awaitable[Opened]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    sent: bytes,
) -> None:
    """No traceback, no warning, and no 500."""
    monkeypatch.setattr(hypercorn_fixes, "END_SECONDS", 0.2)
    for n in range(4):
        reader, writer = await connect(sent)
        received = await reader.read(1 << 16) if n % 2 else b""
        assert b" 500" not in received.split(b"\r\n")[0]
        writer.transport.abort()
    await eventually(lambda: not left(site), "all are closed")
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert said == []


async def test_a_body_that_nobody_asked_for_is_not_kept(
    site: Site, connect: Callable[..., Awaitable[Opened]]
) -> None:
    """Four streams with 16 MiB each behind their request: at most a piece of it is in memory."""
    head = STREAM[:-2] + b"Transfer-Encoding: chunked\r\n\r\n"
    for _ in range(4):
        reader, writer = await connect(head)
        await reader.readuntil(b"event: counts")
        for _ in range(16):
            writer.write(b"100000\r\n" + bytes(1 << 20) + b"\r\n")
            await writer.drain()
    bodies = [len(one._data) for one in gc.get_objects() if isinstance(one, Body)]
    assert sum(bodies) <= 4 * (1 << 16)


async def test_a_rush_of_connections_waits_for_those_that_are_open(
    site: Site, stack: AsyncExitStack
) -> None:
    """500 at once: between two turns of those that are open eight are accepted, or nine (as the
    Python is); the others wait in the kernel, of which none is refused, and all are answered."""
    rush = []
    for _ in range(500):
        opened = stack.enter_context(socket.create_connection(("127.0.0.1", site.port), 5))
        opened.sendall(GET)
        opened.setblocking(False)
        rush.append(opened)
    accepted, most = 0, 0
    while accepted < 500:
        await asyncio.sleep(0)
        before, accepted = accepted, len(site.config.listeners[0].accepted)
        most = max(most, accepted - before)
    assert 1 < most <= ACCEPTED_AT_ONCE + 1 == 9
    async with asyncio.timeout(20):
        for opened in rush:
            assert (await asyncio.get_running_loop().sock_recv(opened, 99)).startswith(
                b"HTTP/1.1 200"
            )


async def test_of_many_requests_a_few_begin_at_a_time(
    site: Site, connect: Callable[..., Awaitable[Opened]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """300 on connections that are open already, at once: between any 16 of them everything else has
    its turn; all are answered, and who went meanwhile keeps nobody."""
    begun, let_in = [0], Limited.let_in

    def counted(*given: Any) -> Any:
        begun[-1] += 1
        return let_in(*given)

    monkeypatch.setattr(Limited, "let_in", counted)
    opened = [await connect(GET) for _ in range(320)]
    for reader, _ in opened:
        await reader.readuntil(b'"ok":true')
    begun.clear()
    begun.append(0)
    for _, writer in opened:
        writer.write(GET)
    for _, writer in opened[300:]:
        writer.transport.abort()
    async with asyncio.timeout(20):
        while sum(begun) < 300:
            await asyncio.sleep(0)
            begun.append(0)
        for reader, _ in opened[:300]:
            await reader.readuntil(b'"ok":true')
    assert 1 < max(begun) <= BEGUN_AT_ONCE == 16
