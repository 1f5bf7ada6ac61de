"""Clients that are slow on purpose, on connections that Hypercorn holds: each is let go in time,
without a word in the log, and those who watch meanwhile do not notice."""

import asyncio
import logging
import os
import resource
import shutil
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import groupby
from pathlib import Path

import h2.connection
import h2.errors
import pytest
from conftest import missing
from hostile_visitor import watching
from served import Site, serving
from servers import App, RedisServer, eventually, get
from test_hostile_visitor import open_files, posting, visitors
from test_shutdown import COMPLAINTS

from app.store.connection import connect as connect_to_redis
from app.store.store import Store
from app.web import frontdoor, hypercorn_fixes, server
from bench.day import fill_log

GET = b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CLOSE_WAIT = "08"
"""The kernel's number for a connection that its client closed, and we have not."""
LONG = bool(os.environ.get("SLOW_CLIENTS"))
"""The long form: ten thousand half-open connections, and two thousand stalled readers, of whom each
waits until the server lets it go."""
HALF_OPEN, STALLED, VIEWERS = (10_000, 2_000, 200) if LONG else (300, 100, 30)
ENDLESS = 500 if LONG else 20
"""Heads without an end, as fast as they are taken."""
MODES = {"slow headers": ("-H",), "slow body": ("-B",), "ranges": ("-R",), "slow reading": ("-X",)}
"""Of slowhttptest."""
TEST_SECONDS = 60 if LONG else 6


Opened = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[bytes], Awaitable[Opened]]


@pytest.fixture
async def connect(site: Site, stack: AsyncExitStack) -> Connect:
    """Send this on a connection of its own, which ends with the test at the latest."""

    async def connected(sent: bytes) -> Opened:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        stack.callback(lambda: writer.transport.abort())
        writer.write(sent)
        return reader, writer

    return connected


async def none_left(site: Site) -> None:
    await eventually(lambda: not site.connections, "all are closed")
    await eventually(lambda: not hypercorn_fixes.Connection.idle, "none is remembered")


def reset_stream() -> bytes:
    client = h2.connection.H2Connection()
    client.initiate_connection()
    head = [(":method", "GET"), (":path", "/events"), (":scheme", "http"), (":authority", "h")]
    client.send_headers(1, head, end_stream=True)
    client.reset_stream(1, h2.errors.ErrorCodes.CANCEL)
    return client.data_to_send()


UNFINISHED = {
    "nothing": b"",
    "a part of a method": b"HEA",
    "a request that the front door knows": b"GET /events HTTP/1.1\r\nHost: h\r\n",
    "a head without an end": b"GET /healthz HTTP/1.1\r\nHost: h\r\n",
    "a second head without an end": GET + GET[:-2],
    "a part of the preface of HTTP/2": PREFACE[:20],
    "the preface of HTTP/2 and nothing else": PREFACE,
    "a stream of HTTP/2 that is reset": reset_stream(),
}


@pytest.mark.parametrize("sent", UNFINISHED.values(), ids=UNFINISHED)
async def test_a_request_that_never_becomes_whole_ends_the_connection(
    site: Site, connect: Connect, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """After HEAD_SECONDS, though the rest comes byte by byte."""
    assert hypercorn_fixes.HEAD_SECONDS == frontdoor.HEAD_SECONDS == 10
    monkeypatch.setattr(hypercorn_fixes, "HEAD_SECONDS", 0.4)
    monkeypatch.setattr(frontdoor, "HEAD_SECONDS", 0.4)
    reader, writer = await connect(sent)
    ended = asyncio.create_task(reader.read())

    async def trickle() -> None:
        while sent and b"HTTP/2.0" not in sent:
            writer.write(b"x")
            await asyncio.sleep(0.05)

    trickling = asyncio.create_task(trickle())
    async with asyncio.timeout(10):
        await asyncio.wait([ended])
    trickling.cancel()
    await none_left(site)


async def test_an_idle_connection_stays_and_a_request_may_take_its_time(
    site: Site, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy's connection between two requests; a stream, also with another request behind it;
    and one of HTTP/2."""
    monkeypatch.setattr(hypercorn_fixes, "HEAD_SECONDS", 0.3)
    stream = b"GET http://h/events HTTP/1.1\r\nHost: h\r\n"
    idle, idle_writer = await connect(GET)
    await idle.readuntil(b'"ok":true')
    body = stream + b"Transfer-Encoding: chunked\r\n\r\n"  # goes the ordinary way
    streams = [await connect(each) for each in (stream + b"\r\n", body, body + b"0\r\n\r\n" + GET)]
    for reader, _ in streams:
        await reader.readuntil(b"event: counts")
    loop = asyncio.get_running_loop()
    until = loop.time() + 3 * hypercorn_fixes.HEAD_SECONDS
    await eventually(lambda: loop.time() > until, "three times as long goes by")
    await site.publish()
    for reader, _ in streams:
        await reader.readuntil(b"event: counts")
    idle_writer.write(GET)
    await idle.readuntil(b'"ok":true')


async def test_only_so_many_connections_are_idle(
    site: Site, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that is so for longest goes first; one that asks again counts as new."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hypercorn_fixes.most_idle() == min(hypercorn_fixes.MOST_IDLE, files // 20)
    monkeypatch.setattr(hypercorn_fixes, "MOST_IDLE", 10)
    first, first_writer = await connect(GET)
    await first.readuntil(b'"ok":true')
    others = []
    for n in range(30):
        others.append(await connect(GET[:-2] if n % 2 else GET))
        first_writer.write(GET)
        await first.readuntil(b'"ok":true')
    await eventually(lambda: site.connections == 10, "the others are closed")
    async with asyncio.timeout(10):
        for reader, _ in others[:21]:
            await reader.read()
    assert not first.at_eof()


@pytest.mark.parametrize("length", [b"Content-Length: 1000000", b"Transfer-Encoding: chunked"])
async def test_a_body_that_trickles_is_not_waited_for(
    site: Site, connect: Connect, length: bytes
) -> None:
    """The answer is that nobody wants it, and the connection ends."""
    for method in (b"POST", b"GET"):
        reader, writer = await connect(method + GET[3:-2] + length + b"\r\n\r\n")
        writer.write(b"1\r\nx")
        async with asyncio.timeout(10):
            answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 405" if method == b"POST" else b"HTTP/1.1 200")
    await none_left(site)


async def test_a_head_without_end_is_not_read_to_its_end(site: Site, connect: Connect) -> None:
    """A line of it, or many lines: 64 KB, and the answer says so."""
    for endless in (b"GET /" + b"x" * 100_000, b"GET / HTTP/1.1\r\n" + b"X-a: b\r\n" * 12_500):
        reader, _ = await connect(endless)
        async with asyncio.timeout(10):
            assert (await reader.read()).startswith(b"HTTP/1.1 431")
    await none_left(site)


ASKED = {"nothing": b"", "half": GET[:-2], "all": GET, "twice": 2 * GET, "HTTP/2": PREFACE}


@pytest.mark.parametrize("sent", ASKED.values(), ids=ASKED)
async def test_what_its_client_closed_is_not_left_half_closed(
    site: Site, connect: Connect, sent: bytes
) -> None:
    """Three hundred connections that were closed politely: by the kernel's own table none is left
    in CLOSE-WAIT, where each would hold a descriptor for 75 s."""
    opened = [await connect(sent) for _ in range(300)]
    await eventually(lambda: states(site.port).total() >= 300, "they are open")
    for reader, _ in opened if GET in sent else ():
        await reader.readuntil(b'"ok":true')
    for _, writer in opened:
        writer.close()
    await eventually(lambda: not states(site.port)[CLOSE_WAIT], "none waits for us to close it")
    await none_left(site)


def states(port: int) -> Counter[str]:
    """How many connections of ours at this port are in which state."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ours = [row for row in rows if row[1].endswith(f":{port:04X}")]
    return Counter(row[3] for row in ours if row[3] not in ("0A", "06"))


async def test_an_answer_that_nobody_takes_is_let_go_without_a_word(
    redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
    stack: AsyncExitStack,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The kernel gives its client up: 30 s, here half a one. Hypercorn knows no such error, and
    asyncio would write 14 lines for each."""
    monkeypatch.setattr(server, "UNREAD_MILLISECONDS", 500)
    async with serving(redis_server.url) as site:
        for _ in range(5):
            opened = socket.socket()
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stack.enter_context(opened)
            opened.connect(("127.0.0.1", site.port))
            opened.sendall(b"GET /static/smoothie.js HTTP/1.1\r\nHost: h\r\n\r\n" * 20)
        await eventually(lambda: site.connections == 5, "they are there")
        await none_left(site)
    assert [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING] == []


async def test_slow_clients_of_every_kind_disturb_nobody(
    redis_server: RedisServer, start_app: Callable[..., App], stack: AsyncExitStack, tmp_path: Path
) -> None:
    """Half-open connections, readers that stall, heads without an end and slowhttptest's four
    ways, all at the same time: no viewer misses a tick, and all of it is let go."""
    if not shutil.which("slowhttptest"):
        missing("slowhttptest")
    settings = {"REDIS_URL": redis_server.url, "TRUSTED_PROXIES": "127.0.0.1/32"}
    if LONG:
        await with_a_past(redis_server.url)
    async with posting(redis_server.url) as ids:
        web = start_app("web", **settings, dev=False)
        await asyncio.to_thread(web.started)
        async with watching(web.port, VIEWERS) as honest:
            files = len(open_files(web))
            tests = [await slow_test(web.port, *mode) for mode in MODES.values()]
            endless = asyncio.create_task(endless_heads(web.port, ENDLESS))
            half = [await slow(stack, web.port, n, HALVES[n % 4]) for n in range(HALF_OPEN)]
            await eventually(lambda: visitors(web) > VIEWERS + 20, "some of them are there")
            stalled = [await slow(stack, web.port, n, reader(n)) for n in range(STALLED)]
            told = [(await test.communicate())[0] for test in tests]
            assert all(b"connected" in each.lower() for each in told)
            await let_go(half)
            assert await endless == ENDLESS
            # in the short form nobody waits for the half minute after which the server closes them
            for each in stalled if not LONG else ():
                each.close()
            async with asyncio.timeout(90):
                # to look takes long, and the viewers are in this loop
                while visitors(web) > VIEWERS:  # noqa: ASYNC110
                    await asyncio.sleep(1 if LONG else 0.1)
            await eventually(lambda: len(open_files(web)) <= files + 20, "so are their files", 20)
            last = len(ids)
            await eventually(lambda: all(ids[last - 1] in one.ids for one in honest), "all have it")
    late: Counter[int] = sum((each.late for each in honest), Counter())
    if LONG:
        assert sum(n for tenths, n in late.items() if tenths >= 10) <= late.total() / 100
    for one in honest:
        begin = ids.index(one.ids[0])
        heard = [id for id, _ in groupby(one.ids)]  # the newest may come again, as a heartbeat
        assert heard[: last - begin] == ids[begin:last], "every tick, in order"
        assert one.visits == 1
    assert (await get(f"{web.url}/healthz"))[0] == 200
    assert not COMPLAINTS.search(web.output), web.output[-3000:]


PAST = [f"tag{n}" for n in range(20)]
HALVES = (b"", b"GET /events HTTP/1.1\r\nHost: h\r\nX-", b"GET / HTTP/1.1\r\nHost: h\r\n", PREFACE)
STREAM = b"GET %b?history=%d&tags=" + ",".join(PAST).encode() + b" HTTP/1.1\r\nHost: h\r\n\r\n"
OTHERS = (
    b"GET /static/smoothie.js HTTP/1.1\r\nHost: h\r\n\r\n" * 20,
    b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" * 50,
)


def reader(number: int) -> bytes:
    """What it asks for: half of them for a stream by the front door or by the takeover, each for
    another part of the past, and half for files and pages."""
    target = (b"/events", b"http://h/events", b"", b"")[number % 4]
    return STREAM % (target, 900 - number % 600) if target else OTHERS[number % 2]


async def with_a_past(redis_url: str) -> None:
    """15 minutes of ticks, in each of which 20 hashtags change: 730 KB for who asks for all."""
    redis = connect_to_redis(redis_url)
    await fill_log(Store(redis), PAST)
    await redis.aclose()


async def slow(stack: AsyncExitStack, port: int, number: int, sent: bytes) -> socket.socket:
    """A connection of an address of its own, with a small buffer; nothing is read from it."""
    opened = stack.enter_context(socket.socket())
    opened.setblocking(False)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    opened.bind((f"127.{1 + number // 60_000}.{number // 250 % 240}.{1 + number % 250}", 0))
    loop = asyncio.get_running_loop()
    await loop.sock_connect(opened, ("127.0.0.1", port))
    await loop.sock_sendall(opened, sent)
    await asyncio.sleep(
        0
    )  # on this machine nothing of that waits, and the viewers are in this loop
    return opened


async def endless_heads(port: int, number: int) -> int:
    """One after the other, each until the server ends it; how many it ended."""
    ended = 0
    for _ in range(number):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\n")
        try:
            while True:
                writer.write(b"X-a: b\r\n" * 1000)
                await writer.drain()
                await asyncio.sleep(0)
        except ConnectionError:
            ended += 1
        writer.transport.abort()
    return ended


async def let_go(opened: list[socket.socket]) -> None:
    """Until the server has ended all of these."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(30):
        for each in opened:
            try:
                while await loop.sock_recv(each, 1 << 16):
                    pass
            except ConnectionError:
                pass


async def slow_test(port: int, *mode: str) -> asyncio.subprocess.Process:
    """50 connections in one of slowhttptest's ways; TEST_SECONDS long."""
    url = f"http://127.0.0.1:{port}/"
    options = ("-c", "50", "-r", "50", "-i", "1", "-l", str(TEST_SECONDS), "-p", "3", "-u", url)
    output = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        "slowhttptest", *mode, *options, stdout=output, stderr=output
    )
