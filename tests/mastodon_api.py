"""A Mastodon server that breaks on demand: the public stream, and timelines of hashtags.

As the real one: no stream without a user's token, nothing in it of what came before the
connect, no replies in it; timelines by id, `since_id` giving the newest posts above it and
`min_id` the oldest; the limits of its rack_attack.rb, told in the headers.
"""

import asyncio
import json
import zlib
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web
from network import Server, settings, wire

from app.hashtags import key
from app.messages import Message
from app.sources.mastodon.source import Mastodon

FOLDER = "mastodon_client_fixtures"
TOKEN = "user-secret-token"
FIRST_ID = 115_000_000_000_000_000
Answer = tuple[int, dict[str, str], str]
"""The status, headers and body of an answer that is not what was asked for; 0 is none at all."""


class Clock:
    """Time that passes when somebody waits."""

    def __init__(self) -> None:
        self.now = 1_760_000_000.0
        self.waits: list[float] = []
        self.stopped = False

    def __call__(self) -> float:
        return self.now

    async def pause(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += 0 if self.stopped else seconds
        await asyncio.sleep(0.001)


class MastodonServer(Server):
    """faults: what happens on the next connections to the stream, in turn: ("cut", 5) aborts
    after five events; also "close", "half" (a line cut in the middle), "silent", and "drip" and
    "lines" (an event without an end, a byte or a line at a time).
    """

    def __init__(self, *faults: tuple[str, int], thump: float = 0.02) -> None:
        super().__init__()
        self.clock, self.thump = Clock(), thump
        self.faults = deque(faults)
        self.fired: list[str] = []
        self.stream_answers: deque[Answer] = deque()
        self.timeline_answers: deque[Answer | None] = deque()
        self.statuses: dict[str, dict[str, Any]] = {}
        self.streams: list[asyncio.Queue[bytes]] = []
        self.odd: dict[str, dict[str, Any]] = {}
        """Id to members of that status that are told otherwise in timelines."""
        self.endless = ""
        """How the next page is encoded, which has no end."""
        self.tells_limits = True
        self.connects = 0
        self.asked: list[tuple[float, str, dict[str, str]]] = []
        self.tokens: set[str] = set()
        self.cookies: set[str] = set()
        """What it was sent of those that it sets."""
        self.streaming = ""
        """Where it says that it has its stream, as a websocket's address."""
        self.app.router.add_get("/api/v1/streaming/public", self.stream)
        self.app.router.add_get("/api/v2/instance", self.instance)
        self.app.router.add_get("/api/v1/timelines/tag/{tag}", self.timeline)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def post(self, statuses: Sequence[dict[str, Any]], streamed: bool = True) -> None:
        """New posts; a reply, say, is not in the stream."""
        for status in statuses:
            self.statuses[status["id"]] = status
            if streamed:
                self.event("update", json.dumps(status, ensure_ascii=False))

    def event(self, name: str, payload: str) -> None:
        self.raw(f"event: {name}\ndata: {payload}\n\n".encode())

    def raw(self, written: bytes) -> None:
        for stream in self.streams:
            stream.put_nowait(written)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        self.connects += 1
        self.tokens.add(request.headers.get("Authorization", ""))
        if self.stream_answers:
            return answer(self.stream_answers.popleft())
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return answer((401, {}, '{"error":"Invalid access token"}'))
        fault, after = self.faults.popleft() if self.faults else ("", -1)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        waiting: asyncio.Queue[bytes] = asyncio.Queue()
        self.streams.append(waiting)
        try:
            await response.write(b":)\n")
            await self.send(response, waiting, -1 if not fault else after)
            self.streams.remove(waiting)
            await self.break_down(fault, request, response)
        except ConnectionError:
            pass
        finally:
            if waiting in self.streams:
                self.streams.remove(waiting)
        return response

    async def send(
        self, response: web.StreamResponse, waiting: asyncio.Queue[bytes], events: int
    ) -> None:
        """So many events, with a heartbeat when there is none for a while."""
        while events:
            try:
                await response.write(await asyncio.wait_for(waiting.get(), self.thump))
                events -= 1
            except TimeoutError:
                self.clock.now += 4
                await response.write(b":thump\n")

    async def break_down(
        self, fault: str, request: web.Request, response: web.StreamResponse
    ) -> None:
        self.fired.append(fault)
        assert request.transport
        if fault == "half":
            await response.write(b'event: update\ndata: {"id":"1","tags":[{"name":"sci')
            await asyncio.sleep(0.05)
        if fault in ("cut", "half"):
            request.transport.abort()
        if fault == "silent":
            await asyncio.sleep(60)
        while fault in ("drip", "lines"):
            await response.write(b"x" if fault == "drip" else b"data: x\n")
            await asyncio.sleep(0.02)

    async def instance(self, request: web.Request) -> web.Response:
        return web.json_response({"configuration": {"urls": {"streaming": self.streaming}}})

    async def timeline(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((self.clock(), request.match_info["tag"], dict(request.query)))
        self.cookies.update(request.cookies)
        self.tokens.add(request.headers.get("Authorization", ""))
        if given := self.timeline_answers.popleft() if self.timeline_answers else None:
            await asyncio.sleep(0 if given[0] else 60)
            return answer(given)
        if self.endless:
            return await self.without_end(request)
        limit = min(40, int(request.query.get("limit", "20")))
        above = int(request.query.get("min_id") or request.query.get("since_id") or 0)
        found = [s for s in self.statuses.values() if names(s, request.match_info["tag"])]
        found = sorted((s for s in found if int(s["id"]) > above), key=lambda s: int(s["id"]))
        page = found[:limit] if "min_id" in request.query else found[-limit:]
        told = [status | self.odd.get(status["id"], {}) for status in page[::-1]]
        return web.json_response(told, headers=self.limits())

    async def without_end(self, request: web.Request) -> web.StreamResponse:
        """A hundred megabytes, or as long as somebody reads it."""
        encoding, self.endless = self.endless, ""
        response = web.StreamResponse(headers={"Content-Encoding": encoding})
        await response.prepare(request)
        packer = zlib.compressobj(wbits=31)
        with suppress(ConnectionError):
            for _ in range(100):
                part = b"[" * 2**20
                await response.write(packer.compress(part) if encoding == "gzip" else part)
        return response

    def limits(self) -> dict[str, str]:
        """What is left of the limit on paging, told as Mastodon does."""
        if not self.tells_limits:
            return {}
        begin = self.clock() // 900 * 900
        used = sum(time >= begin and "limit" in query for time, _, query in self.asked)
        reset = datetime.fromtimestamp(begin + 900, UTC)
        return {
            "X-RateLimit-Limit": "300",
            "X-RateLimit-Remaining": str(max(0, 300 - used)),
            "X-RateLimit-Reset": reset.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        }


def names(status: dict[str, Any], tag: str) -> bool:
    return any(one["name"].lower() == tag.lower() for one in status["tags"])


def answer(given: Answer) -> web.Response:
    status, headers, body = given
    kind = "application/json" if body.startswith(("{", "[")) else "text/html"
    return web.Response(status=status, headers=headers, text=body, content_type=kind)


def status(number: int, *tags: str, **members: Any) -> dict[str, Any]:
    """A post as the API gives it; a higher number is a later id."""
    return {
        "id": str(FIRST_ID + number * 65536),
        "created_at": "2026-01-01T00:00:00.000Z",
        "edited_at": None,
        "account": {"id": "1"},
        "tags": [{"name": tag, "url": ""} for tag in tags or ("science",)],
        "reblog": None,
        **members,
    }


def source_of(
    server: MastodonServer, tracked: Any = ("science",), token: str = "", silence: float = 45.0
) -> Mastodon:
    chosen = settings(tracked, mastodon_url=server.url, mastodon_token=token)
    clock = server.clock
    return Mastodon(chosen, clock, silence=silence, pause=clock.pause, elapsed=clock)


async def drained(source: Mastodon, cursor: str = "") -> None:
    async with asyncio.timeout(20):
        async for _ in source.posts(cursor):
            pass


async def first(source: Mastodon, number: int, cursor: str = "") -> list[Message]:
    """So many messages of one connection, which is then closed."""
    async with asyncio.timeout(20), aclosing(source.posts(cursor)) as stream:  # type: ignore[type-var]
        return [await anext(stream) for _ in range(number)]


def polls(server: MastodonServer, rounds: int = 1, tags: int = 1) -> Callable[[], bool]:
    """Whether each of so many timelines was asked for so often from now on."""
    before = len(server.asked)

    def asked() -> bool:
        later = [tag for _, tag, _ in server.asked[before:]]
        return len(set(later)) == tags and min(map(later.count, set(later))) >= rounds

    return asked


def recorded(
    recordings: Path, renumber: bool = True, only: Collection[str] = ()
) -> list[dict[str, Any]]:
    """The recorded posts; by their ids they are in no order, so they can get others.

    only: the hashtags, by their keys, that are left in them; none stands for all.
    """
    posts = [json.loads(message["payload"]) for message in wire(recordings, FOLDER)]
    if only:
        for post in posts:
            post["tags"] = [tag for tag in post["tags"] if key(tag["name"]) in only]
    if renumber:
        posts = [post | {"id": status(n)["id"]} for n, post in enumerate(posts)]
    return posts
