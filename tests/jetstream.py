"""Jetstream servers that break on demand: several hosts, one network.

As the real ones: a time of its own for every event on every host, the cursor inclusive,
silently moved up to the oldest event that is kept, and without effect in the future.
"""

import asyncio
import json
from collections import deque
from collections.abc import Sequence
from typing import Any

from aiohttp import WSMsgType, web
from network import Server, settings

from app.messages import Message
from app.sources.bluesky import Bluesky

BEGIN = 1_760_000_000_000_000
SECOND = 1_000_000

BAD: list[bytes] = [
    b"", b"{", b"null", b"[]", b'"#tag"', b"\xff\xfe", b"[" * 50_000,
    b'{"time_us":1e999,"commit":{}, "x":"\\u0061"}',
    b'{"did":"a","time_us":"x","commit":{"operation":"create","collection":"app.bsky.feed.post","rkey":"r","record":{"tags":["science"]}}}',
    b'{"did":"a","time_us":1,"commit":{"operation":"create","collection":"app.bsky.feed.post","rkey":"r","record":{"tags":5}}}',
    b'{"did":"a","time_us":1,"commit":{"operation":"create","collection":"app.bsky.feed.post","rkey":"r","x":"\\u0061"}}',
    b'{"did":"a","time_us":1,"commit":{"operation":"create","collection":"app.bsky.feed.post","rkey":"r","record":{"facets":[{"features":["facet#tag"]}]}}}',
    b'{"did":"a","time_us":1,"commit":{"operation":"create","collection":"app.bsky.feed.post","record":{"tags":["science"]}}}',
    b'{"time_us":1,"commit":{"operation":"create","collection":"app.bsky.feed.post","rkey":"r","record":{"tags":["science"]}}}',
]  # fmt: skip


class Raw(bytes):
    """What goes over the line as it is: no websocket message."""


class Network:
    """All events in their order, so many microseconds apart; each is on every host."""

    def __init__(self, step: int = 40_000) -> None:
        self.step = step
        self.events: list[dict[str, Any] | bytes] = []
        self.news = asyncio.Event()

    def put(self, events: Sequence[dict[str, Any] | bytes]) -> None:
        self.events.extend(events)
        self.news.set()
        self.news = asyncio.Event()


class Jetstream(Server):
    """One host.

    late: microseconds by which its times are later than the posts' own: it is behind the others,
        or has another clock.
    faults: what happens on the next connections, in turn: ("cut", 5) aborts after five
        messages; also "close", "half" (a frame cut in the middle), "silent", "pings", "binary"
        (only those from then on), "drip" (a message, a byte at a time), and instead of a
        handshake ("refuse", 503), ("hang", 0), ("head", 0), an answer a byte at a time.
    """

    def __init__(
        self, network: Network, *faults: tuple[str, int], late: int = 0, bounds: bool = True
    ) -> None:
        super().__init__()
        self.bounds, self.most = bounds, 0
        """Whether it knows maxMessageSizeBytes, and what that was; 0 for no bound."""
        self.network, self.late = network, late
        self.faults = deque(faults)
        self.fired: list[str] = []
        self.asked: list[dict[str, str]] = []
        self.open = self.sent = 0
        """How many connections there are, and how many messages were sent in all."""
        self.oldest = 0
        self.app.router.add_get("/subscribe", self.subscribe)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def subscribe(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(dict(request.query))
        fault, number = self.faults.popleft() if self.faults else ("", 0)
        if fault in ("refuse", "hang", "head"):
            self.fired.append(fault)
            if fault == "hang":
                await asyncio.sleep(60)
            if fault == "head":
                await self.drip(request, b"HTTP/1.1 101 Switching Protocols\r\nX: ")
            return web.Response(status=number)
        self.most = int(request.query.get("maxMessageSizeBytes", 0)) if self.bounds else 0
        socket = web.WebSocketResponse(autoping=True)
        await socket.prepare(request)
        self.open += 1
        handler = asyncio.current_task()
        assert handler
        reader = asyncio.create_task(self.drain(socket))
        reader.add_done_callback(lambda _: handler.cancel())
        try:
            await self.send_all(socket, request, fault, number)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.open -= 1
            reader.cancel()
        return socket

    async def send_all(
        self, socket: web.WebSocketResponse, request: web.Request, fault: str, after: int
    ) -> None:
        at, sent = self.start(request.query), 0
        while True:
            news = self.network.news
            while at < len(self.network.events) and not (fault and sent == after):
                raw = self.wanted(at, request.query)
                if isinstance(raw, Raw) and request.transport:
                    request.transport.write(raw)
                elif raw is not None and not 0 < self.most < len(raw):
                    await socket._writer.send_frame(raw, WSMsgType.TEXT)
                    sent += 1
                    self.sent += 1
                at += 1
            if fault and sent == after:
                return await self.break_down(fault, socket, request)
            await news.wait()

    def start(self, query: Any) -> int:
        """The first event that is due; events before the oldest are gone."""
        times = [self.time(n) for n in range(len(self.network.events))]
        cursor = int(query.get("cursor", 10**17))
        if not times or cursor > times[-1]:
            return len(times)
        return next(n for n, time in enumerate(times) if time >= cursor and n >= self.oldest)

    def time(self, at: int) -> int:
        return BEGIN + at * self.network.step + self.late

    def wanted(self, at: int, query: Any) -> bytes | None:
        event = self.network.events[at]
        if isinstance(event, bytes):
            return event
        commit = event.get("commit", {})
        collection = commit.get("collection", "")
        if collection and collection != query.get("wantedCollections", collection):
            return None
        rev = tid(BEGIN + at * self.network.step)
        made = {"commit": {**commit, "rev": rev}} if commit else {}
        told = {**event, **made, "time_us": self.time(at)}
        return json.dumps(told, ensure_ascii=False).encode()

    async def break_down(
        self, fault: str, socket: web.WebSocketResponse, request: web.Request
    ) -> None:
        self.fired.append(fault)
        assert request.transport
        if fault == "close":
            await socket.close(code=1011, message=b"going down")
        elif fault in ("cut", "half"):
            if fault == "half":
                request.transport.write(b'\x81\x7e\x10\x00{"did":"did:plc:')
                await asyncio.sleep(0.05)
            request.transport.abort()
        elif fault == "drip":
            await self.drip(request, b"\x81\x7e\xff\xff{")
        while not socket.closed and fault in ("silent", "pings", "binary"):
            await asyncio.sleep(0.02)
            if fault == "pings":
                await socket.ping()
            if fault == "binary":
                await socket.send_bytes(b"{}")

    @staticmethod
    async def drip(request: web.Request, begin: bytes) -> None:
        """A message that begins so, and goes on a byte at a time."""
        while request.transport and not request.transport.is_closing():
            request.transport.write(begin or b"x")
            begin = b""
            await asyncio.sleep(0.05)

    @staticmethod
    async def drain(socket: web.WebSocketResponse) -> None:
        async for _ in socket:
            pass


def tid(microseconds: int) -> str:
    """A commit's revision: its time (https://atproto.com/specs/tid)."""
    letters = "234567abcdefghijklmnopqrstuvwxyz"
    return "".join(letters[microseconds << 10 >> 5 * n & 31] for n in range(12, -1, -1))


def create(*tags: str, did: str = "did:plc:a", rkey: str = "r", **record: Any) -> dict[str, Any]:
    """A new post with these hashtags in facets."""
    features = [{"$type": "app.bsky.richtext.facet#tag", "tag": tag} for tag in tags]
    facets = [{"index": {"byteStart": 0, "byteEnd": 9}, "features": [one]} for one in features]
    commit = {
        "operation": "create", "collection": "app.bsky.feed.post", "rkey": rkey,
        "record": {"$type": "app.bsky.feed.post", "text": "x", "facets": facets, **record},
    }  # fmt: skip
    return {"did": did, "kind": "commit", "commit": commit}


def numbered(posts: int, *tags: str, begin: int = 0) -> list[dict[str, Any]]:
    return [create(*(tags or ("science",)), rkey=f"r{n}") for n in range(begin, begin + posts)]


def source_of(*hosts: Jetstream, tracked: Any = ("science",), silence: float = 20.0) -> Bluesky:
    urls = ",".join(host.url for host in hosts)
    return Bluesky(settings(tracked, jetstream_url=urls), silence=silence)


def connected(cursor: str = "", now: int = BEGIN) -> Bluesky:
    """A source that has just connected at this time, in microseconds."""
    source = Bluesky(settings(()), lambda: now / SECOND)
    source.begin(cursor)
    return source


def brought(
    source: Bluesky, *tags: str, at: int, made: int | None = None, rkey: str = "r"
) -> Message | None:
    """What a new post with these hashtags brings, which the server saw at this time.

    made: when its commit was made; the same time, where that is not given.
    """
    event = create(*tags, rkey=rkey) | {"time_us": at}
    event["commit"]["rev"] = tid(at if made is None else made) if 0 <= at < 2**53 else ""
    return source.read(json.dumps(event).encode())
