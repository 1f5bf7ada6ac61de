"""The front door: what it takes it answers as Hypercorn would, and all else it leaves alone."""

import asyncio
import errno
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import missing
from plain_requests import GET, HANDED_ON, heads
from proxies import Nginx, bundled, debians
from served import Site, serving
from servers import RedisServer, eventually, free_port, get, viewing

from app.messages import parse_id
from app.settings import read
from app.web import events, feed, frontdoor
from app.web.app import create_app
from app.web.frontdoor import (
    FrontDoor,
    HandedOn,
    open_front_door,
)
from app.web.server import Listener, server_config

EVENT = rb"event: counts\ndata: [^\n]*\nid: [^\n]*\n\n"


@pytest.fixture
async def site(redis_server: RedisServer) -> AsyncIterator[Site]:
    async with serving(redis_server.url, MAX_VIEWERS_PER_ADDRESS="10000") as opened:
        await opened.writer.commit({"football": 1})
        await opened.hears()
        yield opened


def door(site: Site) -> FrontDoor:
    found = site.app.extensions["front_door"]
    assert isinstance(found, FrontDoor)
    return found


Opened = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def connect(stack: AsyncExitStack) -> Callable[..., Any]:
    """Send this on a connection of its own, which ends with the test at the latest."""

    async def connected(site: Site, sent: bytes = GET) -> Opened:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        stack.callback(lambda: writer.transport.abort())  # as long as it is kept it is open
        writer.write(sent)
        return reader, writer

    return connected


async def answered(reader: asyncio.StreamReader) -> bytes:
    """All of an answer; of a stream all up to its first totals."""
    async with asyncio.timeout(10):
        received = await reader.readuntil(b"\r\n\r\n")
        if b"event-stream" in received and b"content-length" not in received:
            while not (found := re.search(EVENT, received)):
                received += await reader.read(4096)
            ends = found.end() + (2 if b"chunked" in received else 0)
            received += await reader.readexactly(max(0, ends - len(received)))
            return received[:ends]  # totals that are repeated may come at once
        length = re.search(rb"content-length: (\d+)", received)
        # a refusal of Hypercorn's own ends with its connection
        return received + (await reader.readexactly(int(length[1])) if length else b"")


async def test_both_doors_answer_alike(
    redis_server: RedisServer, connect: Callable[..., Any]
) -> None:
    """Byte by byte, but for the date: status line, the headers' names, order and values, and what
    comes first; what is taken by the door is exactly what is plain and not refused."""
    async with serving(redis_server.url) as one, serving(redis_server.url, "off") as other:
        await other.writer.commit({"football": 1})
        one.writer.state = other.writer.state
        for site in (one, other):
            await site.hears()
            await eventually(lambda site=site: told(site) == {"unknown"}, "both say the same")
        streams = []
        for request, by_door in heads():
            before = door(one).answered
            ours, theirs = await connect(one, request), await connect(other, request)
            found = await asyncio.gather(answered(ours[0]), answered(theirs[0]))
            assert dateless(found[0]) == dateless(found[1]), request
            assert door(one).answered - before == by_door, request
            streams += [ours, theirs]
            if len(streams) > 100:
                for _, writer in streams:
                    writer.transport.abort()
                streams.clear()
        assert "front_door" not in other.app.extensions
        assert len(heads()) > 150 and door(one).answered > 80


def told(site: Site) -> set[str]:
    """What is said of the sources."""
    present = site.feed.present
    return {state.state for state in present.sources.values()} if present else set()


def dateless(answer: bytes) -> bytes:
    return re.sub(rb"\r\ndate: [^\r]{29}\r\n", b"\r\ndate: -\r\n", answer)


async def test_what_those_who_come_back_together_ask_for_is_read_once(
    site: Site, connect: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a restart thousands name the same last event; and each is sent the same bytes."""
    assert site.feed.newest
    newest = site.feed.newest.id
    read: list[str] = []
    for module in (events, feed):
        monkeypatch.setattr(module, "parse_id", lambda id: (read.append(id), parse_id(id))[1])
    events.an_id.cache_clear()
    back = GET.replace(b"Host", f"Last-Event-ID: {newest}\r\nHost".encode())
    opened = [await connect(site, back) for _ in range(20)]
    found = await asyncio.gather(*[answered(reader) for reader, _ in opened])
    assert len({dateless(each) for each in found}) == 1
    assert door(site).answered == 20
    assert read == [newest]


async def test_a_last_id_that_is_too_long_is_none(
    site: Site, connect: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By either door, in a header or in the query; and of the 64 that are remembered none is
    longer than that, whoever sends them."""
    read: list[str] = []
    monkeypatch.setattr(events, "parse_id", lambda id: (read.append(id), parse_id(id))[1])
    events.an_id.cache_clear()
    for n, target in enumerate((b"/events", b"http://h/events") * 2):
        long = b"%d-%b" % (n, b"0" * 5000)
        query, header = (b"?last_event_id=" + long, b"") if n < 2 else (b"", long)
        head = b"GET %b%b HTTP/1.1\r\nHost: h\r\nLast-Event-ID: %b\r\n\r\n"
        found = await answered((await connect(site, head % (target, query, header)))[0])
        assert found.startswith(b"HTTP/1.1 200") and b"event: history" not in found
    assert (door(site).answered, door(site).handed_on) == (2, 2)
    assert [len(id) for id in read if id] == [events.KEPT_LENGTH] * 4 == [512] * 4
    assert events.an_id.cache_info().maxsize == events.KEPT_IDS == 64


async def test_a_head_may_come_in_pieces(site: Site, connect: Callable[..., Any]) -> None:
    """Each is looked at once, when it comes, and never in between; what is handed on is whole."""
    looked = []
    look = door(site).look_again
    asyncio.get_running_loop().remove_reader(door(site).epoll.fileno())
    asyncio.get_running_loop().add_reader(
        door(site).epoll.fileno(), lambda: (looked.append(1), look())
    )
    for request, pieces in ((GET, (4, 12, 30)), (GET.replace(b"Host", b"Expect"), (4, 20))):
        reader, writer = await connect(site, b"")
        await eventually(lambda: len(door(site).waiting) == 1, "it waits")
        await asyncio.sleep(0.05)  # a busy loop would look hundreds of times
        looked.clear()
        for n, (begin, end) in enumerate(zip((0, *pieces), (*pieces, len(request)), strict=True)):
            writer.write(request[begin:end])
            await eventually(lambda n=n: len(looked) > n, "it was looked at")
        received = await reader.readuntil(b"\r\n\r\n")
        assert received.startswith(b"HTTP/1.1 200" if request is GET else b"HTTP/1.1 400")
        assert len(looked) <= len(pieces) + 1
    assert not door(site).waiting
    assert (door(site).answered, door(site).handed_on) == (1, 1)


async def test_who_sends_no_whole_head_is_closed(
    site: Site, connect: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After ten seconds, here a fifth of one, by one timer for all; nothing of it is left."""
    assert frontdoor.HEAD_SECONDS == 10
    monkeypatch.setattr(frontdoor, "HEAD_SECONDS", 0.2)
    opened = [await connect(site, GET[:size]) for size in (0, 1, 5, 20, len(GET) - 1) * 10]
    await eventually(lambda: door(site).waiting, "they wait")
    viewer, _ = await connect(site)
    assert await answered(viewer)
    for reader, _ in opened:
        with suppress(ConnectionResetError):  # where a part of its head was not read
            async with asyncio.timeout(5):
                assert await reader.read() == b""
    assert not door(site).waiting and door(site).timer is None
    assert door(site).given_up == 50
    assert site.connections == 1, "only the viewer's"


@pytest.mark.parametrize("end", ["close", "half", "reset"])
@pytest.mark.parametrize("sent", [b"", GET[:9], GET, HANDED_ON, b"\0"])
async def test_a_connection_ends_with_its_client(
    site: Site, connect: Callable[..., Any], end: str, sent: bytes
) -> None:
    """At whatever moment it goes, nothing of it is left."""
    _, writer = await connect(site, sent)
    if sent in (GET, HANDED_ON):
        await eventually(lambda: site.taken, "it is a viewer")
    if end == "half":
        writer.write_eof()
    elif end == "reset":
        writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
        )
        writer.transport.abort()
    else:
        writer.close()
    await eventually(
        lambda: door(site).answered + door(site).handed_on + door(site).given_up or not sent, "seen"
    ) if sent != GET[:9] else None
    await eventually(lambda: not site.connections and not door(site).waiting, "it is gone")
    assert site.app.extensions["limits"].viewers == 0


async def test_totals_that_have_to_be_read_first(
    redis_server: RedisServer, connect: Callable[..., Any]
) -> None:
    """A hashtag that is in no tick of the log: its first viewer goes by Hypercorn, where a request
    can wait for Redis, and those who come while it is there by the door."""
    async with serving(redis_server.url) as site:
        await site.publish(science=0)
        await site.writer.commit({"rare": 7})
        await site.hears()
        await site.writer.lose_log()
        await site.publish()
        await site.hears()
        request = b"GET /events?tags=rare HTTP/1.1\r\nHost: h\r\n\r\n"
        for by_door in (0, 1, 2):
            reader, _ = await connect(site, request)
            assert b'"counts":{"rare":7}' in await answered(reader)
            assert (door(site).answered, door(site).handed_on) == (by_door, 1)


@pytest.mark.parametrize(
    "changed",
    [{"accesslog": "-"}, {"server_names": ["h"]}, {"root_path": "/x"}, {"max_requests": 9}],
)
def test_where_only_hypercorn_can_do_it_there_is_no_door(changed: dict[str, Any]) -> None:
    """Settings of hypercorn.toml that change an answer, or want a word about each request; and
    EXPRESS_LANE=false."""
    settings = read({"BIND": f"127.0.0.1:{free_port()}"})
    slow = replace(settings, express_lane=False)
    for chosen, names, there in ((settings, changed, 0), (settings, {}, 1), (slow, {}, 0)):
        with closing(server_config(settings)) as config:
            for name, value in names.items():
                setattr(config, name, value)
            app = create_app(chosen)
            open_front_door(app, config, chosen, app.extensions["feed"])
            assert ("front_door" in app.extensions) == there
            [listened] = config.sockets.insecure_sockets
            assert type(listened) is (HandedOn if there else Listener)
            listened.close()


async def test_a_unix_socket_has_a_door_too(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a proxy on the same machine may use it."""
    path = tmp_path / "socket"
    async with serving(redis_server.url, BIND=f"unix:{path}") as site:
        plain = GET.replace(b"events", b"events?tags=science")
        for request in (plain, HANDED_ON, b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(request)
            assert (await answered(reader)).startswith(b"HTTP/1.1 200")
            writer.transport.abort()
        assert (door(site).answered, door(site).handed_on) == (1, 2)


async def test_without_a_descriptor_it_tries_again(
    site: Site, connect: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that waits makes room; where none does, the next is let in a little later."""
    monkeypatch.setattr(frontdoor, "NO_ROOM_SECONDS", 0.05)
    [listened] = door(site).sockets
    take, refusals = listened.listener.accept_unknown, [0]

    def refuse_twice() -> Any:
        refusals[0] += 1
        if refusals[0] <= 2:
            raise OSError(errno.EMFILE, "Too many open files")
        return take()

    waits, _ = await connect(site, b"GET")
    await eventually(lambda: door(site).waiting, "it waits")
    monkeypatch.setattr(listened.listener, "accept_unknown", refuse_twice)
    viewer, _ = await connect(site)
    assert await answered(viewer)
    assert refusals[0] >= 3 and door(site).given_up == 1
    with suppress(ConnectionResetError):
        assert await waits.read() == b"", "it made room"


# proxies


@pytest.mark.parametrize("binary", ["bundled", "Debian's"])
@pytest.mark.parametrize("keeps", [False, True])
async def test_by_which_door_an_nginx_comes(
    site: Site, tmp_path: Path, ending: ExitStack, binary: str, keeps: bool
) -> None:
    """On a new connection by ours; on one that it kept after another request, by the takeover."""
    path = bundled() if binary == "bundled" else debians() or missing("nginx")
    nginx = ending.enter_context(
        Nginx(tmp_path / "nginx", site.port, binary=path, keep_alive=keeps)
    )
    for kept in (False, True):
        before = (door(site).answered, len(site.taken))
        async with viewing(f"{nginx.url}/events") as events:
            await anext(events)
            by_door = door(site).answered - before[0]
            assert len(site.taken) == before[1] + 1
            assert by_door == (not (kept and keeps))
        await eventually(lambda: not site.taken, "it is gone")
        assert (await get(f"{nginx.url}/healthz"))[0] == 200
