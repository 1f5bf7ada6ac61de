"""Who is let in, and who is not: pure, and over real sockets by every way to an answer."""

import asyncio
import logging
import re
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import h2.connection
import h2.events
import pytest
from conftest import missing
from served import Site, serving
from servers import App, RedisServer, eventually, get

from app.settings import read
from app.web import limits
from app.web.limits import A_SECOND, AT_ONCE, Limited, Limits

ATTACKER, VISITOR = "127.0.0.66", "127.0.0.67"
STRANGERS = {"TRUSTED_PROXIES": "127.0.0.1/32"}
"""Every other address of 127.0.0.0/8 is then a visitor like any."""


# over real sockets


@pytest.fixture(params=["on", "off"])
async def start(
    request: pytest.FixtureRequest, redis_server: RedisServer, stack: AsyncExitStack
) -> Callable[..., Awaitable[Site]]:
    """Serve with these settings, with EXPRESS_LANE and without it."""

    async def started(**settings: str) -> Site:
        site = serving(redis_server.url, request.param, **STRANGERS, **settings)
        return await stack.enter_async_context(site)

    return started


Opened = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def connect(stack: AsyncExitStack) -> Callable[..., Awaitable[Opened]]:
    """Send a request on a connection of its own, which ends with the test at the latest."""

    async def connected(site: Site, request: str, address: str = ATTACKER) -> Opened:
        local = (address, 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port, local_addr=local)
        stack.callback(lambda: writer.transport.abort())  # as long as it is kept it is open
        writer.write(request.encode())
        return reader, writer

    return connected


def counted(site: Site) -> Limits:
    limits = site.app.extensions["limits"]
    assert isinstance(limits, Limits)
    return limits


@asynccontextmanager
async def visitor(site: Site, address: str = ATTACKER) -> AsyncIterator[Callable[..., Any]]:
    """Asks from this address; the answers are open as long as it is here."""
    connector = aiohttp.TCPConnector(local_addr=(address, 0), limit=0)
    answers = []
    async with aiohttp.ClientSession(f"http://127.0.0.1:{site.port}", connector=connector) as asks:

        async def ask(path: str = "/events", method: str = "GET") -> aiohttp.ClientResponse:
            answers.append(await asks.request(method, path))
            return answers[-1]

        yield ask
        for answer in answers:
            answer.close()


async def refused(answer: aiohttp.ClientResponse, status: int, sentence: str, wait: str) -> None:
    assert answer.status == status
    assert answer.headers["Retry-After"] == wait
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert await answer.json() == {"error": sentence}


OF_ADDRESS = "Too many viewers from your address: at most 3 at a time."


async def test_an_address_has_so_many_viewers_and_no_more(start: Callable[..., Any]) -> None:
    """The fourth is refused at once, HEAD is too, others are let in, and one that ends makes
    room; it may go on asking for anything else."""
    site = await start(MAX_VIEWERS_PER_ADDRESS="3")
    async with visitor(site) as ask, visitor(site, VISITOR) as other:
        streams = [await ask() for _ in range(3)]
        assert [stream.status for stream in streams] == [200] * 3
        await refused(await ask(), 429, OF_ADDRESS, "10")
        head = await ask(method="HEAD")
        assert (head.status, head.headers["Retry-After"], await head.read()) == (429, "10", b"")
        assert [(await ask(path)).status for path in ("/", "/api/counts", "/healthz")] == [200] * 3
        assert (await other()).status == 200
        streams[0].close()
        await eventually(lambda: counted(site).viewers == 3, "it is gone")
        assert (await ask()).status == 200
    await eventually(lambda: not counted(site).watching and not site.connections, "all are gone")
    assert counted(site).viewers == 0


async def test_all_together_are_so_many_and_no_more(start: Callable[..., Any]) -> None:
    """Whoever they are: also those of whom a proxy of ours says nothing, of whom any number is
    let in until then."""
    site = await start(MAX_VIEWERS="5", MAX_VIEWERS_PER_ADDRESS="2")
    sentence = "Too many viewers: at most 5 at a time."
    async with visitor(site, "127.0.0.1") as ask, visitor(site) as other:
        assert [(await ask()).status for _ in range(5)] == [200] * 5
        await refused(await ask(), 503, sentence, "30")
        await refused(await other(), 503, sentence, "30")
    await eventually(lambda: counted(site).viewers == 0, "all are gone")


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_viewer_is_gone_when_its_stream_is_over(
    start: Callable[..., Any], connect: Callable[..., Any], version: str
) -> None:
    """By the end of its hour, also where its connection goes on; by a reset; by a close."""
    site = await start(MAX_VIEWERS_PER_ADDRESS="1")
    for end in ("hour", "reset", "close"):
        reader, writer = await connect(site, f"GET /events HTTP/{version}\r\nHost: h\r\n\r\n")
        await reader.readuntil(b"event: counts")
        assert counted(site).viewers == 1
        async with visitor(site) as ask:
            assert (await ask()).status == 429
        if end == "hour":
            site.clock.ahead += 2 * 3600
            await site.publish()
            await reader.readuntil(b"retry")
        elif end == "reset":
            writer.transport.abort()
        else:
            writer.close()
        await eventually(lambda: not counted(site).watching, f"gone by its {end}")
        writer.close()


TARGETS = [
    "/events", "//events", "///events", "events", "/%65vents", "%2fevents", "/./events", "/events/", "/events;x",
    "http://h/events", "HTTP://h//events", "https://u@h:1/events?tags=science#x", "http:///events", "http:/events",
    "http:events", "http://h/events;x", "http://[/events", "?x", "*", "h:443", "/events?tags=science&tags=art",
    "/\\events", "/events%00", "/events%2f", "/EVENTS", "/x/../events", "//h/events", "ftp://h/events",
]  # fmt: skip


async def test_every_way_to_a_stream_is_counted(
    start: Callable[..., Any], connect: Callable[..., Any]
) -> None:
    """However its target is written: what is a stream is a viewer, and nothing else is."""
    site = await start()
    streams = 0
    for target in TARGETS:
        reader, _ = await connect(site, f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")
        async with asyncio.timeout(5):
            head = await reader.readuntil(b"\r\n\r\n")
        is_stream = b" 200" in head.split(b"\r\n")[0] and b"event-stream" in head
        streams += is_stream
        assert b" 500" not in head.split(b"\r\n")[0], target
        await eventually(
            lambda seen=streams: counted(site).viewers == seen, f"{target}: {is_stream}"
        )
    assert streams >= 7


async def test_http2_is_counted_by_streams(
    start: Callable[..., Any], connect: Callable[..., Any]
) -> None:
    """One connection with three streams is three viewers; the fourth is refused, too."""
    site = await start(MAX_VIEWERS_PER_ADDRESS="3")
    reader, writer = await connect(site, "")
    client = h2.connection.H2Connection()
    client.initiate_connection()
    head = [(":method", "GET"), (":path", "/events"), (":scheme", "http"), (":authority", "h")]
    for stream in (1, 3, 5, 7):
        client.send_headers(stream, head, end_stream=True)
    writer.write(client.data_to_send())
    statuses: list[bytes] = []
    async with asyncio.timeout(10):
        while len(statuses) < 4:
            for event in client.receive_data(await reader.read(4096)):
                if isinstance(event, h2.events.ResponseReceived):
                    statuses.append(dict(event.headers)[b":status"])
    assert sorted(statuses) == [b"200", b"200", b"200", b"429"]
    assert counted(site).viewers == 3
    writer.transport.abort()
    await eventually(lambda: counted(site).viewers == 0, "all are gone")


WAYS = [("GET", "/api/counts"), ("HEAD", "/events"), ("GET", "/"), ("GET", "/nothing"), ("POST", "/events")]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), WAYS)
async def test_so_many_requests_of_an_address_and_no_more(
    start: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    method: str,
    path: str,
) -> None:
    """By every way to Quart; probes are answered all the same, and so is everybody else. The log
    has one line for all refusals of a minute."""
    monkeypatch.setattr(limits, "AT_ONCE", 5.0)
    monkeypatch.setattr(limits, "A_SECOND", 0.01)
    site = await start()
    async with visitor(site) as ask, visitor(site, VISITOR) as other:
        allowed = [(await ask(path, method)).status for _ in range(5)]
        assert not {429, 500, 503} & set(allowed)
        for _ in range(3):
            answer = await ask(path, method)
            assert answer.status == 429 and 90 <= int(answer.headers["Retry-After"]) <= 100
        assert (await ask("/healthz")).status == 200
        assert (await ask("/readyz")).status in (200, 503), "by how the ticks come"
        assert (await ask("/static/page.js")).status == 429
        assert (await other(path, method)).status == allowed[0]
    said = [record.message for record in caplog.records if record.name == "app.web.limits"]
    [line] = said
    assert line.startswith(f"1 refused, the last one of {ATTACKER}: Too many requests from your ")


async def test_a_file_costs_less_and_the_past_more(start: Callable[..., Any]) -> None:
    """A page loads some 25 files: a hundred pages that are opened at once are no attack."""
    site = await start()
    async with visitor(site) as ask:
        for _ in range(25):
            assert (await ask("/static/page.js")).status == 200
        assert (await ask("/api/history?range=15m")).status == 200
    (paid,) = counted(site).paid.values()
    assert paid - asyncio.get_running_loop().time() < (25 * 0.2 + 10) / A_SECOND
    assert AT_ONCE > 100 * (1 + 1 + 25 * 0.2)


async def test_behind_a_proxy_whoever_it_names(
    start: Callable[..., Any], connect: Callable[..., Any]
) -> None:
    """Each client of the proxy has its own limits; nobody can be another one by saying so."""
    site = await start(MAX_VIEWERS_PER_ADDRESS="1")
    request = "GET /events HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: {}\r\n\r\n"
    statuses = []
    for source, named in (
        ("127.0.0.1", "203.0.113.7"),
        ("127.0.0.1", "203.0.113.8"),
        ("127.0.0.1", "198.51.100.1, 203.0.113.7"),
        ("127.0.0.1", "2001:db8::1"),
        ("127.0.0.1", "2001:db8::2"),
        (ATTACKER, "203.0.113.9"),
        (ATTACKER, "203.0.113.10"),
    ):
        reader, _ = await connect(site, request.format(named), source)
        async with asyncio.timeout(5):
            statuses.append((await reader.readuntil(b"\r\n")).split()[1])
    assert statuses == [b"200", b"200", b"429", b"200", b"429", b"200", b"429"]


async def test_ipv6_is_limited_by_64_bits(redis_server: RedisServer, stack: AsyncExitStack) -> None:
    """On a real socket: ::1 is one address of ::/64."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as found:
            port = found.getsockname()[1]
    except OSError:
        missing("IPv6 on loopback")
    chosen = {"BIND": f"[::1]:{port}", "MAX_VIEWERS_PER_ADDRESS": "1", **STRANGERS}
    site = await stack.enter_async_context(serving(redis_server.url, **chosen))
    async with aiohttp.ClientSession(f"http://[::1]:{port}") as asks:
        first, second = await asks.get("/events"), await asks.get("/events")
        assert (first.status, second.status) == (200, 429)
        assert set(counted(site).watching) == {bytes(8)}
        first.close()


async def test_few_open_files_are_few_viewers(
    redis_server: RedisServer, tmp_path: Path, ending: ExitStack
) -> None:
    """With 200 files 50 viewers are let in, and everything else goes on."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nulimit -n 200\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    web = App(tmp_path, "web", python=str(python), REDIS_URL=redis_server.url)
    await asyncio.to_thread(ending.enter_context(web).started)
    async with aiohttp.ClientSession(web.url, connector=aiohttp.TCPConnector(limit=0)) as asks:
        answers = [await asks.get("/events") for _ in range(60)]
        assert Counter(answer.status for answer in answers) == {200: 50, 503: 10}
        assert (await get(f"{web.url}/healthz"))[0] == 200
        for answer in answers:
            answer.close()
    assert "out of system resource" not in web.output, web.output


# the past, in turns


async def test_the_past_is_told_in_turns(
    start: Callable[..., Any], redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While Redis hangs, four wait for it, a few for their turn, and all others are refused at
    once; each is answered, and afterwards all are again."""
    monkeypatch.setattr(limits, "PASTS_WAITING", 3)
    monkeypatch.setattr(limits, "PAST_SECONDS", 0.3)
    site = await start()
    sentence = "Too many ask for the past just now: try again in a moment."
    async with visitor(site) as ask:
        redis_server.signal(signal.SIGSTOP)
        asked = [asyncio.create_task(ask("/api/history?range=24h")) for _ in range(20)]
        done: set[Any] = set()
        async with asyncio.timeout(10):
            while len(done) < 16:
                done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED, timeout=1)
        for answer in done:
            await refused(answer.result(), 503, sentence, "1")
        redis_server.signal(signal.SIGCONT)
        answers = await asyncio.gather(*asked)
        assert Counter(answer.status for answer in answers)[503] >= 16
        await eventually(lambda: past_is_told(ask), "all is well again")


async def past_is_told(ask: Callable[..., Any]) -> bool:
    answers = await asyncio.gather(*(ask("/api/history?range=24h") for _ in range(4)))
    return [answer.status for answer in answers] == [200] * 4


async def test_who_reads_slowly_holds_no_turn() -> None:
    """A turn is over when the answer is made, and also where none was made."""
    taken, begun = asyncio.Event(), 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal begun
        begun += 1
        if scope["query_string"]:
            raise ConnectionError
        await send({"type": "http.response.start"})

    async def send(message: Any) -> None:
        await taken.wait()

    limited = Limited(app, read({}), Limits(10, 10))
    scope = {
        "type": "http",
        "path": "/api/history",
        "method": "GET",
        "headers": [],
        "query_string": b"",
    }
    for n in range(9):
        with pytest.raises(ConnectionError):
            await limited({**scope, "query_string": b"x"}, None, send)
        assert begun == n + 1
    slow = [asyncio.create_task(limited(scope, None, send)) for _ in range(9)]
    await eventually(lambda: begun == 18, "all nine are answered at the same time")
    taken.set()
    await asyncio.gather(*slow)


async def test_no_websocket_is_opened(
    start: Callable[..., Any], connect: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """403, whatever its path is, and nothing in the log."""
    site = await start()
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    for path in ("/events", "/nothing"):
        head = f"GET {path} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{key}\r\n"
        reader, _ = await connect(site, head)
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 403")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_flood_leaves_nothing_behind(
    start: Callable[..., Any], connect: Callable[..., Any]
) -> None:
    """500 streams of one address at once: 100 are let in, and when they are gone all is as
    before; a viewer of another address had every tick all the while, once."""
    site = await start()
    site.clock.stop()
    reader, writer = await connect(site, "GET /events HTTP/1.1\r\nHost: h\r\n\r\n", VISITOR)
    received = await reader.readuntil(b"event: counts")
    async with visitor(site) as ask:
        answers = await asyncio.gather(*(ask() for _ in range(500)))
        assert Counter(answer.status for answer in answers) == {200: 100, 429: 400}
        assert counted(site).viewers == 101
        ids = [site.writer.state.tick]
        for _ in range(5):
            await site.publish()
            ids.append(site.writer.state.tick)
        received += await reader.readuntil(f"id: {ids[-1]}\n".encode())
    assert re.findall(r"^id: (.*)$", received.decode(), re.M) == ids
    await eventually(lambda: site.connections == 1, "the descriptors are back")
    writer.close()
    await eventually(lambda: not counted(site).watching, "nobody is left")
