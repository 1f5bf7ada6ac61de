"""A local server that speaks as much of X's API v2 as we use: rules, the filtered stream, counts.

Forms after https://docs.x.com/x-api/posts/filtered-stream and .../posts/counts.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

TOKEN = "x-secret-token"
Connection = list[bytes | str]
"""What one connection to the stream is sent: lines, and "close", "cut" or "stall" at its end."""


@dataclass
class XServer:
    """Its script, and what it was asked."""

    url: str = ""
    rules: list[dict[str, str]] = field(default_factory=list)
    connections: deque[Connection] = field(default_factory=deque)
    """What the next connections are sent; when there is none left, keep-alives for ever."""
    failures: deque[tuple[int, dict[str, str], Any]] = field(default_factory=deque)
    """Statuses, headers and bodies that the next stream requests are answered with."""
    posts_in: Callable[[str, int], int] = lambda query, minute: 0
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    sent: int = 0

    @property
    def connects(self) -> int:
        return sum(what == "stream" for what, _, _ in self.asked)

    async def get_rules(self, request: web.Request) -> web.Response:
        self.note(request, "rules")
        data = {"data": self.rules} if self.rules else {}
        return web.json_response({**data, "meta": {"sent": "2026-11-24T00:00:00Z"}})

    async def change_rules(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.note(request, "change", body)
        errors, made = [], []
        for rule in body.get("add", ()):
            assert len(rule["value"]) <= 1024
            if any(rule["value"] == other["value"] for other in self.rules):
                errors.append({"title": "DuplicateRule", "value": rule["value"]})
                continue
            made.append({**rule, "id": str(1000 + len(self.rules))})
            self.rules.append(made[-1])
        gone = body.get("delete", {}).get("ids", ())
        self.rules = [rule for rule in self.rules if rule["id"] not in gone]
        return web.json_response({"data": made, "errors": errors, "meta": {}}, status=201)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        self.note(request, "stream")
        if self.failures:
            status, headers, body = self.failures.popleft()
            return web.json_response(body, status=status, headers=headers)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        script = self.connections.popleft() if self.connections else []
        for line in script:
            if line == "close":
                return response
            if line == "stall":
                await asyncio.sleep(60)
            elif line == "cut":
                await response.write(b'{"data":{"id":"1')
                assert request.transport
                request.transport.abort()
                return response
            else:
                raw = line.encode() if isinstance(line, str) else line
                await response.write(raw.rstrip(b"\r\n") + b"\r\n")
                self.sent += 1
        while True:
            await response.write(b"\r\n")
            await asyncio.sleep(0.2)

    async def counts(self, request: web.Request) -> web.Response:
        query = dict(request.query)
        self.note(request, "counts", query)
        if self.failures:
            status, headers, body = self.failures.popleft()
            return web.json_response(body, status=status, headers=headers)
        begin, end = (second(query[name]) for name in ("start_time", "end_time"))
        minutes = [
            {"start": text(at), "end": text(at + 60), "tweet_count": self.posts_in(query["query"], at)}
            for at in range(begin, end, 60)
        ]
        return web.json_response({"data": minutes, "meta": {"total_tweet_count": 0}})

    def note(self, request: web.Request, what: str, body: Any = None) -> None:
        self.asked.append((what, request.query_string, body))
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise web.HTTPUnauthorized(text=json.dumps({"title": "Unauthorized"}))


def second(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp())


def text(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S.000Z}"


@asynccontextmanager
async def x_server() -> AsyncIterator[XServer]:
    server = XServer()
    app = web.Application()
    app.router.add_get("/2/tweets/search/stream/rules", server.get_rules)
    app.router.add_post("/2/tweets/search/stream/rules", server.change_rules)
    app.router.add_get("/2/tweets/search/stream", server.stream, allow_head=False)
    app.router.add_get("/2/tweets/counts/recent", server.counts)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.url = f"http://{host}:{port}"
    try:
        yield server
    finally:
        await runner.cleanup()
