"""Who is let in, and who is not: pure, and over real sockets by every way to an answer."""

import asyncio
import logging
import re
import resource
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import aiohttp
import h2.connection
import h2.events
import pytest
from conftest import missing
from hypothesis import given
from hypothesis import strategies as st
from served import Site, serving
from servers import App, RedisServer, eventually, get

from app.settings import read
from app.web import limits
from app.web.address import address_of, forwarded_for, in_words
from app.web.limits import A_SECOND, AT_ONCE, MOST_ADDRESSES, Limited, Limits, limits_of, path_of

ONE, OTHER = b"\x01\x02\x03\x04", b"\x05\x06\x07\x08"
ATTACKER, VISITOR = "127.0.0.66", "127.0.0.67"
STRANGERS = {"TRUSTED_PROXIES": "127.0.0.1/32"}
"""Every other address of 127.0.0.0/8 is then a visitor like any."""


def test_an_address_may_ask_a_thousand_times_at_once_and_then_fifty_times_a_second() -> None:
    """Then it is told in how many seconds to come back; and no other address minds."""
    counted = Limits(10, 10)
    assert not any(counted.ask(ONE, 1, 5.0) for _ in range(1000))
    refusal = counted.ask(ONE, 1, 5.0)
    sentence = "Too many requests from your address: try again in 1 s."
    assert refusal == (429, sentence, 1, "requests")
    assert not counted.ask(OTHER, 1, 5.0)
    assert sum(not counted.ask(ONE, 1, 15.0) for _ in range(2000)) == 500
    told = counted.ask(ONE, 500, 15.0)
    assert told and told.wait == 10
    assert not counted.ask(ONE, 500, 25.0), "after the wait that it was told"
    assert not any(counted.ask(None, 1000, 25.0) for _ in range(9)), "not known whose it is"


ASKS = st.lists(
    st.tuples(
        st.sampled_from([bytes([n] * 4) for n in range(6)]),
        st.sampled_from([0.2, 1.0, 10.0, 400.0, 1000.0]),
        st.floats(0, 12),
    ),
    max_size=120,
)


@given(ASKS)
def test_no_window_of_time_has_more_than_is_allowed(asks: list[tuple[bytes, float, float]]) -> None:
    """In any t seconds an address gets at most 1,000 and 50 t; and what it asks for after the
    wait that it was told, it gets."""
    counted, now, got = Limits(10, 10), 0.0, []
    for address, cost, passed in asks:
        now += passed
        refusal = counted.ask(address, cost, now)
        if not refusal:
            got.append((address, now, cost))
        else:
            assert 0 < refusal.wait <= AT_ONCE / A_SECOND + 1
            now += refusal.wait
            assert not counted.ask(address, cost, now)
            got.append((address, now, cost))
    for n, (address, begin, _) in enumerate(got):
        sum_of_costs = 0.0
        for other, at, cost in got[n:]:
            sum_of_costs += cost if other == address else 0
            assert sum_of_costs <= AT_ONCE + A_SECOND * (at - begin) + 0.01


def numbered(n: int) -> bytes:
    return n.to_bytes(8, "big")


def test_the_table_of_addresses_is_bounded_and_empties_itself() -> None:
    """50,000 addresses: 10,000 are remembered, and with the time none but those of the moment."""
    counted = Limits(10, 10)
    for n in range(50_000):
        assert not counted.ask(numbered(n), 100, 1.0)
        assert len(counted.paid) <= MOST_ADDRESSES == 10_000
    for n in range(5_100):
        counted.ask(ONE, 0.2, 100.0 + n)
    assert set(counted.paid) <= {ONE}


def test_to_be_forgotten_takes_more_requests_than_it_wins() -> None:
    """An address that used all it may is forgotten only after one request each of 10,000 others;
    as long as it asks, also in vain, not even then."""
    counted = Limits(10, 10)
    assert not counted.ask(ONE, AT_ONCE, 1.0)
    for n in range(MOST_ADDRESSES - 1):
        counted.ask(numbered(n), 1, 1.0)
    assert counted.ask(ONE, 1, 1.0), "still known"
    for n in range(2 * MOST_ADDRESSES):
        counted.ask(numbered(MOST_ADDRESSES + n), 1, 1.0)
        if n % (MOST_ADDRESSES - 1) == 0:
            assert counted.ask(ONE, 1, 1.0)
    for n in range(MOST_ADDRESSES):
        counted.ask(numbered(9 * MOST_ADDRESSES + n), 1, 1.0)
    assert ONE not in counted.paid


@given(st.lists(st.tuples(st.sampled_from([None, ONE, OTHER]), st.booleans()), max_size=60))
def test_viewers_are_counted_as_they_come_and_go(steps: list[tuple[bytes | None, bool]]) -> None:
    """At most 5 in all, and 3 of an address that is known; nobody who is gone leaves a trace."""
    counted, here = Limits(5, 3), Counter[bytes | None]()
    for address, comes in steps:
        if comes:
            refusal = counted.room(address)
            full = here[address] >= 3 and address is not None
            assert (refusal.status if refusal else 0) == (
                429 if full else 503 * (here.total() >= 5)
            )
        if comes and not refusal:
            counted.come(address)
            here[address] += 1
        elif not comes and here[address]:
            counted.go(address)
            here[address] -= 1
        assert counted.viewers == here.total()
        assert counted.watching == {a: n for a, n in here.items() if n and a is not None}


TRUSTED = (ip_network("127.0.0.0/8"), ip_network("::1"), ip_network("10.0.0.0/8"))


@pytest.mark.parametrize(
    ("peer", "headers", "whose"),
    [
        ("203.0.113.7", [], "203.0.113.7"),
        ("203.0.113.7", ["198.51.100.1"], "203.0.113.7"),
        ("::ffff:203.0.113.7", [], "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", [], "2001:db8:1:2::/64"),
        ("fe80::1%eth0", [], "fe80::/64"),
        ("127.0.0.1", [], "?"),
        ("::ffff:127.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("::1", ["203.0.113.7"], "203.0.113.7"),
        (None, ["203.0.113.7"], "203.0.113.7"),
        (None, [], "?"),
        ("127.0.0.1", ["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
        ("127.0.0.1", ["198.51.100.1,203.0.113.7 , 10.1.2.3"], "203.0.113.7"),
        ("127.0.0.1", ["198.51.100.1", "203.0.113.7", "10.1.2.3,10.0.0.1"], "203.0.113.7"),
        ("127.0.0.1", ["::ffff:203.0.113.7"], "203.0.113.7"),
        ("127.0.0.1", ["203.0.113.7:4711"], "203.0.113.7"),
        ("127.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::/64"),
        ("127.0.0.1", ["[2001:db8::1]"], "2001:db8::/64"),
        ("127.0.0.1", ["203.0.113.7, unknown"], "?"),
        ("127.0.0.1", ["203.0.113.7,"], "?"),
        ("127.0.0.1", ["\xff\x00"], "?"),
        ("127.0.0.1", ["1" * 60_000], "?"),
        ("127.0.0.1", ["1.2.3.4" + ",127.0.0.1" * 15], "1.2.3.4"),
        ("127.0.0.1", ["1.2.3.4" + ",127.0.0.1" * 6000], "?"),
        ("127.0.0.1", ["127.0.0.1"], "?"),
    ],
)
def test_whose_request_it_is(peer: str | None, headers: list[str], whose: str) -> None:
    """The peer's; behind a proxy of ours the right-most that is none of them; of IPv6 by /64."""
    lines = [(b"X-Forwarded-For", line.encode("latin-1")) for line in headers]
    scope = {"client": (peer, 4711) if peer else None, "headers": [(b"host", b"h"), *lines]}
    found = in_words(address_of(scope, TRUSTED)).removeprefix("of ")
    assert found == ("an address that is not known" if whose == "?" else whose)


@given(st.binary(max_size=200))
def test_what_a_visitor_writes_itself_changes_nothing(forged: bytes) -> None:
    """Whatever stands left of what the proxy adds; and no bytes break the reading."""
    assert str(forwarded_for(forged + b", 203.0.113.7", TRUSTED)) == "203.0.113.7"
    forwarded_for(forged, TRUSTED)


@pytest.mark.parametrize(
    ("target", "query", "path"),
    [
        ("/events", b"", "/events"),
        ("//events", b"", "/events"),
        ("http://localhost/events", b"", "/events"),
        ("HTTPS://localhost//events;x#y", b"", "/events;x"),
        ("http://localhost", b"", "/"),
        ("http://[/events", b"", None),
        ("events", b"", None),
        ("", b"x", None),
        ("*", b"", None),
        ("ftp://localhost/events", b"", None),
        ("/events", b"\xff", None),
    ],
)
def test_the_path_is_the_same_for_all_parts(target: str, query: bytes, path: str | None) -> None:
    """Origin-form and absolute-form; what Quart would guess from others is refused."""
    assert path_of({"path": target, "query_string": query}) == path


@pytest.mark.parametrize(("files", "most"), [(20_000, 18_000), (1024, 874), (100, 1), (-1, 2**31)])
def test_open_files_bound_the_viewers(
    monkeypatch: pytest.MonkeyPatch, files: int, most: int
) -> None:
    """A tenth of them, and 150 at least, are for all else, if MAX_VIEWERS is not fewer."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert limits_of(read({"MAX_VIEWERS": str(2**31)})).most == most
    assert limits_of(read({"MAX_VIEWERS": "7"})).most == min(7, most)


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
            assert (answer.status, answer.headers["Retry-After"]) == (429, "100")
        assert (await ask("/healthz")).status == 200
        assert (await ask("/readyz")).status in (200, 503), "by how the ticks come"
        assert (await ask("/static/page.js")).status == 429
        assert (await other(path, method)).status == allowed[0]
    said = [record.message for record in caplog.records if record.name == "app.web.limits"]
    sentence = "Too many requests from your address: try again in 100 s."
    assert said == [f"1 refused, the last one of {ATTACKER}: {sentence}"]


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
