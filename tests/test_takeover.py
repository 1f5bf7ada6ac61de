"""What goes over a connection that was taken from the server: the bytes are right, whatever the
client does, and it costs what it must."""

import asyncio
import errno
import gc
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypercorn.protocol.h11 import H11Protocol
from raw import WAYS, Raw, events_of, get, lane, shape, unchunked, watching
from served import Site, Writer, serving
from servers import RedisServer, eventually
from test_endings import stall

from app.messages import Tick, dumps
from app.web import hypercorn_fixes, sse, takeover
from app.web.sse import PIECE
from app.web.taken import Taken
from app.web.takeover import Behind
from app.web.viewer import Viewer

TAKEN = [way for way in WAYS if way != "ordinary"]


@pytest.fixture(params=TAKEN)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_hypercorn_still_offers_its_connection(site: Site, raw: Any) -> None:
    """When this fails, Hypercorn's insides have changed: look at takeover.Behind, which goes from
    `send` to the connection; until it is hypercorn_fixes a viewer costs ten times the memory and more."""
    await watching(raw(), get("takeover"))
    assert len(site.taken) == 1, "it is taken; look at Behind in app/web/takeover.py"
    listener = site.config.listeners[0]
    await eventually(
        lambda: not any(c.fileno() >= 0 for c in listener.accepted), "Hypercorn has none"
    )


@pytest.mark.parametrize(("version", "end"), [("1.1", b"\r\n0\r\n\r\n"), ("1.0", b"")])
async def test_bytes_are_those_of_the_ordinary_way(
    redis_server: RedisServer, version: str, end: bytes
) -> None:
    """The same head, the same events, chunk by chunk, and the same end."""
    received = {}
    for way in WAYS:
        async with serving(redis_server.url, lane(way)) as site:
            site.feed.chance = lambda: 0.5
            site.clock.stop()
            client = await watching(Raw(site), get(way, version=version))
            assert len(site.taken) == (way in TAKEN)
            for _ in range(5):
                await site.publish()
                await site.hears()
                assert site.feed.newest
                await client.until(b"id: %s\n\n" % site.feed.newest.id.encode())
            site.feed.close()
            await client.until(rb"retry: 2250\n\n" + end)
            received[way] = client.received
            client.close()
    assert [each.count(b"event: counts") for each in received.values()] == [6] * 3
    assert len(set(map(shape, received.values()))) == 1


@pytest.mark.parametrize("asked", ["history=900", "last_event_id={first}"])
async def test_long_bytes_are_those_of_the_ordinary_way(
    redis_server: RedisServer, asked: str
) -> None:
    """Chunk by chunk, none of which is longer than a piece; whole, however slowly they are read."""
    received = {}
    for way in WAYS:
        async with serving(redis_server.url, lane(way)) as site:
            while len(site.feed.ticks.heads) < 1200:
                site.feed.ticks.hear(next_tick(site), 0.5, site.clock())
            first = site.feed.ticks.heads[0].id
            slow = await Raw(site, receive_buffer=4096).send(get(way, asked.format(first=first)))
            await eventually(lambda site=site: site.app.extensions["limits"].viewers, "it is here")
            newest = site.feed.ticks.heads[-1].id.encode()
            end = await slow.until(rb"event: counts\n[^\n]*\nid: %s\n\n\r\n" % newest)
            received[way] = slow.received[: end.end()]  # what is repeated later is left out
            slow.close()
            await site.store.redis.flushdb()  # the next begins as this one
    chunks = [unchunked(each.partition(b"\r\n\r\n")[2])[0] for each in received.values()]
    for each in chunks:
        assert max(map(len, each)) == PIECE
    bodies = [shape(b"".join(each)) for each in chunks]
    assert bodies[0] == bodies[1] == bodies[2]


def next_tick(site: Site, posts: int = 1000) -> Tick:
    """As if it had come by Redis, with so many posts and some more."""
    last = site.feed.ticks.heads[-1]
    counts = {"science": {"demo": posts + last.number}}
    number = int(last.id.split("-")[0]) + 1
    tick = {
        "id": f"{number}-0",
        "at": last.at + 1,
        "seconds": 0.5,
        "counts": counts,
        "previous": last.id,
    }
    sources = {
        "demo": {"state": "live", "since": 1, "reason": "", "complete": True, "unbroken_since": 1}
    }
    return Tick.from_json(dumps({**tick, "added": {}, "sources": sources}))


async def test_viewer_that_stops_reading_costs_no_memory(site: Site, raw: Any, way: str) -> None:
    """Ticks pass it by, others get theirs; when it reads again it is handed the newest totals."""
    slow = raw(receive_buffer=4096)
    viewer = await stall(site, slow, get(way))
    quick = raw()
    await quick.send(get(way))
    for total in range(2, 40):
        await site.publish()
        await quick.until(rb"\"science\":%d," % total)
        site.clock.ahead += 0.5
        site.feed.beat()
        assert len(viewer.owed) < 1000, "a frame at most"
    await slow.until(rb"\"science\":39,")
    await site.publish()
    await slow.until(rb"\"science\":40,")
    totals = [int(n) for n in re.findall(rb"\"science\":(\d+),", slow.received)]
    assert totals == sorted(totals) and totals[-2:] == [39, 40]
    assert len(set(totals)) < 20, "the kernel takes one now and then"
    chunks, _ = unchunked(slow.received.partition(b"\r\n\r\n")[2])
    assert all(chunk.endswith(b"\n\n") for chunk in chunks)


async def test_viewer_that_hesitates_misses_no_tick(site: Site, raw: Any, way: str) -> None:
    """Its connection was full for less than a moment: all that it missed comes in order."""
    slow = raw(receive_buffer=4096)
    viewer = await stall(site, slow, get(way))
    for _ in range(3):
        await site.publish()
    await site.hears()
    viewer.full_since = site.feed.beaten  # the last look found it full
    site.clock.ahead += 5  # and our loop stood still
    assert not viewer.is_slow
    site.clock.ahead -= 5
    await slow.until(rb"\"science\":4,")
    totals = [int(n) for n in re.findall(rb"\"science\":(\d+),", slow.received)]
    assert totals[-3:] == [2, 3, 4]


async def test_viewer_that_reads_byte_by_byte_gets_whole_chunks(
    site: Site, raw: Any, way: str
) -> None:
    """However slowly they are taken, the bytes are in order and none is missing."""
    viewer = await raw(receive_buffer=4096).send(get(way))
    for total in range(2, 6):
        await site.publish()
        async with asyncio.timeout(10):
            while b'"science":%d,' % total not in viewer.received:
                await viewer.read(1)
    totals = [int(n) for n in re.findall(rb"\"science\":(\d+),", viewer.received)]
    assert totals[-4:] == [2, 3, 4, 5]
    assert len(site.taken) == 1


async def test_nothing_of_hypercorn_waits_for_the_garbage_collector(site: Site, raw: Any) -> None:
    """What it had of a connection is freed when it is taken, or has ended: the collector comes by
    so rarely that it would have thousands of them."""

    def left() -> list[str]:
        kinds = (hypercorn_fixes.Connection, H11Protocol)
        return [type(each).__name__ for each in gc.get_objects() if isinstance(each, kinds)]

    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            await watching(raw(), get("takeover"))
            one = await raw().send("GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
            await one.until(rb"\{.*\}")
            one.close()
        await eventually(lambda: site.connections == len(site.taken) == 5, "Hypercorn has none")
        await eventually(lambda: not left(), "nothing is left")
    finally:
        gc.enable()


async def test_redis_that_begins_anew_brings_every_viewer_a_history(
    site: Site, raw: Any, way: str
) -> None:
    """Totals fell: what the viewers have leads nowhere, they are told afresh."""
    viewer = await watching(raw(), get(way))
    await site.publish(science=10)
    await viewer.until(rb"\"science\":11,")
    assert site.feed.newest
    heard = int(site.feed.newest.id.split("-")[0])
    await eventually(lambda: time.time() * 1000 > heard + 1, "the next tick's id is a later one")
    await site.store.redis.flushdb()
    site.writer = Writer(site.store)
    await site.publish(science=3)
    await viewer.until(rb"event: history.*event: counts\ndata: [^\n]*\"science\":3,")


def test_a_connection_is_had_only_where_nothing_is_in_between() -> None:
    """Another server's send, a wrapped one, or what only looks like Hypercorn's has none."""

    class Looks:
        async def app_send(self, message: Any) -> None: ...

        send = app_send

    async def wrapped(message: Any) -> None: ...

    for send in (None, wrapped, Looks().app_send, lambda message: None):
        assert not Behind(send).is_plain and Behind(send).transport is None


BODY = "Content-Length: 100000\r\nExpect: 100-continue\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize("what", ["TLS", "HTTP/2", BODY, CHUNKED])
async def test_what_cannot_be_taken_goes_the_ordinary_way(
    site: Site, raw: Any, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The events are the same, and the connection goes on: a body comes slowly meanwhile."""
    behind = Behind.__init__

    def encrypted(self: Behind, send: Any) -> None:
        """As if the connection were encrypted."""
        send.__self__.send.__self__.ssl = True
        behind(self, send)

    if what == "TLS":
        monkeypatch.setattr(Behind, "__init__", encrypted)
    elif what == "HTTP/2":
        monkeypatch.setattr(takeover, "H11Protocol", type("H2Protocol", (), {}))
    request = get("takeover", more=what if what in (BODY, CHUNKED) else "")
    viewer = await watching(raw(), request)
    for total in range(2, 22):
        if what == BODY:
            await viewer.send("x" * 5000)
        await site.publish()
        await viewer.until(rb"\"science\":%d," % total)
    assert not site.taken
    if what == BODY:
        site.clock.ahead = 5000
        await viewer.until(rb"retry: \d+\n\n\r\n0\r\n\r\n")
        site.clock.ahead = 0
        await viewer.send(get("takeover"))
        await viewer.until(rb"0\r\n\r\nHTTP/1.1 200.*event: counts")


async def test_a_connection_is_taken_when_all_before_has_left(site: Site, raw: Any) -> None:
    """Answers to earlier requests on it that its client has not read yet come first, whole."""
    slow = await raw(receive_buffer=4096).send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    await slow.until(b"HTTP")
    await slow.send(get("takeover"))
    await slow.until(rb"event: counts\n[^\n]*\nid: [^\n]*\n\n")
    assert slow.received.count(b"HTTP/1.1 200") == 2 and b"</html>" in slow.received
    assert len(site.taken) == 1


async def test_without_a_descriptor_the_viewer_is_turned_away(
    site: Site, raw: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """For a moment there are two; where there is none for the second, the client comes back."""

    class Full:
        family = 0

        def dup(self) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

    real = asyncio.selector_events._SelectorSocketTransport.get_extra_info  # type: ignore[attr-defined]

    def full(self: Any, name: str, default: Any = None) -> Any:
        is_server = sys._getframe(1).f_code.co_filename.endswith("takeover.py")
        return Full() if name == "socket" and is_server else real(self, name, default)

    transport = asyncio.selector_events._SelectorSocketTransport  # type: ignore[attr-defined]
    monkeypatch.setattr(transport, "get_extra_info", full)
    viewer = await raw().send(get("takeover"))
    received = await viewer.read_all()
    assert b" 200 " in received and received.endswith(b"\r\n\r\n")
    limits = site.app.extensions["limits"]
    await eventually(lambda: not limits.viewers and not site.connections, "it is gone")
    assert not caplog.text


async def test_a_tick_is_one_send_a_viewer_and_nothing_else(
    site: Site, raw: Any, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One encoding, one chunk, no task woken, no object kept, no look at any connection, and no
    word with Redis: what makes a viewer cheap is counted here, not timed."""
    counted: Counter[str] = Counter()
    loop = asyncio.get_running_loop()
    for module, name in (
        (sse, "event"),
        (sse, "chunk"),
        (loop, "call_soon"),
        (Taken, "turn"),
        (Viewer, "due"),
    ):
        monkeypatch.setattr(module, name, counting(getattr(module, name), counted, name))
    costs = []
    for viewers in (1, 50):
        while len(site.taken) < viewers:
            await watching(raw(), get(way))
        for each in site.taken:
            if not isinstance(each.connection, Counted):
                each.connection = Counted(each.connection, counted)  # type: ignore[assignment]
        held: list[Tick] = []
        with monkeypatch.context() as held_back:
            hear = lambda tick, held=held: not (tick and held.append(tick))  # noqa: E731
            held_back.setattr(site.feed, "hear", hear)
            await site.publish()
            await eventually(lambda held=held: held, "the tick came")
        gc.collect()
        gc.disable()  # what it finds is not this tick's
        counted.clear()
        blocks = sys.getallocatedblocks()
        site.feed.hear(held[0])
        blocks = sys.getallocatedblocks() - blocks
        gc.enable()
        costs.append((Counter(counted), blocks))
    (one, few), (fifty, many) = costs
    assert one.pop("send") == 1 and fifty.pop("send") == 50
    assert one == fifty and (one["event"], one["chunk"], one["due"], one["turn"]) == (1, 1, 0, 0)
    assert many - few < 50, "less than one kept object for each viewer"


def counting(real: Callable[..., Any], counted: Counter[str], name: str) -> Callable[..., Any]:
    def count(*given: Any, **options: Any) -> Any:
        counted[name] += 1
        return real(*given, **options)

    return count


class Counted:
    """A socket whose every call is counted."""

    def __init__(self, real: Any, counted: Counter[str]) -> None:
        self.real, self.counted = real, counted

    def __getattr__(self, name: str) -> Any:
        self.counted[name] += 1
        return getattr(self.real, name)


async def test_connecting_asks_redis_nothing(site: Site, raw: Any, way: str) -> None:
    """Nor does resuming: what a viewer missed is in the log that all share, and what others
    watch is known."""
    await watching(raw(), get(way))
    for _ in range(5):
        await site.publish()
    await site.hears()
    before = await calls(site)
    resumed = get(way, f"history=60&last_event_id={site.feed.ticks.heads[0].id}")
    for request in (get(way), resumed) * 10:
        await (await raw().send(request)).until(rb"event: counts")
    # the feed looks at the log by itself when no tick comes for a while
    assert await calls(site) - before < 10


async def calls(site: Site) -> int:
    """How often Redis was asked anything."""
    told = await site.store.redis.info("commandstats")
    return sum(about["calls"] for about in told.values())


async def test_events_of_a_client_that_reads_at_last_are_whole(
    site: Site, raw: Any, way: str
) -> None:
    """A body without a broken chunk, to the end of its stream."""
    slow = raw(receive_buffer=4096)
    await stall(site, slow, get(way))
    site.feed.close()
    await slow.read_all()
    body = events_of(slow.received.partition(b"\r\n\r\n")[2])
    assert body.endswith(b"\n\n") and body.count(b"retry: ") == 2
