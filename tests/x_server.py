"""A local server that speaks as much of X's API v2 as we use: rules, the filtered stream, counts.

Forms after https://docs.x.com/x-api/posts/filtered-stream and .../posts/counts.
"""

import asyncio
import json
import zlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from servers import eventually

TOKEN = "x-secret-token"
PROBLEMS = "https://api.x.com/2/problems/"
RULES, RULE_LENGTH = 1000, 1024
Connection = list[bytes | str]
"""What one connection to the stream is sent: lines, and what happens to it at its end:

"close": a clean end; "half": a clean end in the middle of a line; "cut": a reset in the
middle of a line; "stall": silence, without keep-alives. Else keep-alives go on for ever.
"""
Failure = tuple[int, dict[str, str], Any]
"""The status, headers and body of an answer."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
TOO_MANY = {
    "title": "ConnectionException",
    "detail": "This stream is currently at the maximum allowed connection limit.",
    "connection_issue": "TooManyConnections",
    "type": f"{PROBLEMS}streaming-connection",
}
NO_RULES = {
    "title": "ConnectionException",
    "detail": "You must define rules using the POST /2/tweets/search/stream/rules endpoint.",
    "connection_issue": "RuleConfigurationIssue",
    "type": f"{PROBLEMS}streaming-connection",
}


@dataclass
class XServer:
    """Its script, and what it was asked."""

    url: str = ""
    rules: list[dict[str, str]] = field(default_factory=list)
    connections: deque[Connection] = field(default_factory=deque)
    """What the next connections are sent; when there is none left, keep-alives for ever."""
    failures: deque[Failure] = field(default_factory=deque)
    """What the next requests for the stream or for counts are answered with."""
    counts_failures: deque[Failure] = field(default_factory=deque)
    """What the next requests for counts are answered with, before that."""
    rule_failures: deque[Failure] = field(default_factory=deque)
    """What the next requests about rules are answered with."""
    posts_in: Callable[[str, int], int] = lambda query, minute: 0
    clock: Callable[[], float] | None = None
    """With a clock, counts are refused of what X cannot tell: the last 10 s, and a week ago."""
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    sent: int = 0
    fired: list[str | int] = field(default_factory=list)
    """The faults that happened: statuses, and ends of connections."""
    keep_alive: float = 0.2
    keep_alives: int = 0
    later: deque[bytes] = field(default_factory=deque)
    """Lines for the connection that stands, when its script is over."""
    quiet: bool = False
    """Whether it sends no keep-alives."""
    floods: deque[tuple[str, int, str]] = field(default_factory=deque)
    """How the path ends of which the next answer has no end, and that one's status and coding."""
    flooded: int = 0
    """Bytes that were written of those, before they are compressed."""
    hang_up: bool = False
    open: int = 0
    made: int = 0

    @property
    def connects(self) -> int:
        return sum(what == "stream" for what, _, _ in self.asked)

    async def get_rules(self, request: web.Request) -> web.Response:
        self.note(request, "rules")
        if self.rule_failures:
            return self.fail(self.rule_failures)
        data = {"data": self.rules} if self.rules else {}
        meta = {"sent": "2026-11-24T00:00:00.000Z", "result_count": len(self.rules)}
        return web.json_response({**data, "meta": meta})

    async def change_rules(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.note(request, "change", body)
        if self.rule_failures:
            return self.fail(self.rule_failures)
        if "delete" in body:
            before, gone = len(self.rules), body["delete"]["ids"]
            self.rules = [rule for rule in self.rules if rule["id"] not in gone]
            deleted = before - len(self.rules)
            summary = {"deleted": deleted, "not_deleted": len(gone) - deleted}
            return web.json_response({"meta": {"summary": summary}})
        asked = [(rule, self.problem(rule["value"])) for rule in body["add"]]
        made = [self.make(**rule) for rule, problem in asked if not problem]
        errors = [problem for _, problem in asked if problem]
        summary = {"created": len(made), "not_created": len(errors)}
        told = {"data": made, "errors": errors, "meta": {"summary": summary}}
        return web.json_response({k: v for k, v in told.items() if v}, status=201)

    def problem(self, value: str) -> dict[str, str]:
        """Why X does not take this rule; empty when it does."""
        for rule in self.rules:
            if rule["value"] == value:
                return problem("DuplicateRule", "duplicate-rules", value=value, id=rule["id"])
        if len(self.rules) >= RULES:
            return problem("RulesCapExceeded", "rule-cap", value=value)
        if len(value) > RULE_LENGTH:
            return problem("UnprocessableEntity", "invalid-rules", value=value)
        return {}

    def make(self, value: str, tag: str = "") -> dict[str, str]:
        self.made += 1
        rule = {"id": str(1000 + self.made), "value": value, **({"tag": tag} if tag else {})}
        self.rules.append(rule)
        return rule

    async def stream(self, request: web.Request) -> web.StreamResponse:
        self.note(request, "stream")
        if not self.rules:
            self.failures.appendleft((409, {}, NO_RULES))
        elif self.open:
            self.failures.appendleft((429, {}, TOO_MANY))
        if self.failures:
            return self.fail(self.failures)
        script = self.connections.popleft() if self.connections else []
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        self.open += 1
        try:
            await self.play(script, request, response)
        finally:
            self.open -= 1
        return response

    async def play(
        self, script: Connection, request: web.Request, response: web.StreamResponse
    ) -> None:
        for line in script:
            if line not in ("close", "half", "cut", "stall"):
                raw = line.encode() if isinstance(line, str) else line
                await response.write(raw.rstrip(b"\r\n") + b"\r\n")
                self.sent += 1
                continue
            if line in ("half", "cut"):
                await response.write(b'{"data":{"id":"1')
            self.fired.append(str(line))
            if line == "stall":
                await asyncio.Event().wait()  # cancelled when the client goes
            if line == "cut":
                await cut(request)
            return
        while not self.hang_up:
            while self.later:
                await response.write(self.later.popleft() + b"\r\n")
            if not self.quiet:
                await response.write(b"\r\n")
                self.keep_alives += 1
            await asyncio.sleep(self.keep_alive)
        self.hang_up = False
        self.fired.append("hang up")

    async def counts(self, request: web.Request) -> web.Response:
        query = dict(request.query)
        self.note(request, "counts", query)
        if failures := self.counts_failures or self.failures:
            return self.fail(failures)
        begin, end = (second(query[name]) for name in ("start_time", "end_time"))
        if self.clock and not self.clock() - 7 * 86_400 <= begin < end <= self.clock() - 10:
            told = problem("Invalid Request", "invalid-request", detail="start_time or end_time")
            return self.fail(deque([(400, {}, told)]))
        minutes = [
            {
                "start": text(at),
                "end": text(at + 60),
                "tweet_count": self.posts_in(query["query"], at),
            }
            for at in range(begin, end, 60)
        ]
        return web.json_response({"data": minutes, "meta": {"total_tweet_count": 0}})

    def note(self, request: web.Request, what: str, body: Any = None) -> None:
        self.asked.append((what, request.query_string, body))
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.fired.append(401)
            told = {"title": "Unauthorized", "type": "about:blank", "status": 401}
            raise web.HTTPUnauthorized(text=json.dumps(told), content_type="application/json")

    def fail(self, failures: deque[Failure]) -> web.Response:
        status, headers, body = failures.popleft()
        self.fired.append(status)
        if isinstance(body, bytes):
            return web.Response(body=body, status=status, content_type="application/json")
        return web.json_response(body, status=status, headers=headers)


@web.middleware
async def flooding(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Instead of the answer a hundred megabytes, or as long as somebody reads it."""
    server = request.app[SERVER]
    if not server.floods or not request.path.endswith(server.floods[0][0]):
        return await handler(request)
    _, status, coding = server.floods.popleft()
    response = web.StreamResponse(status=status, headers={"Content-Encoding": coding})
    await response.prepare(request)
    packer = zlib.compressobj(wbits=31)
    try:
        for _ in range(100):
            part = b"[" * 2**20
            await response.write(packer.compress(part) if coding == "gzip" else part)
            server.flooded += len(part)
    except ConnectionError:
        pass
    finally:
        server.fired.append("flood")  # also where it is cancelled, as its client went
    return response


async def cut(request: web.Request) -> None:
    """Reset the connection, when what was sent before is under way."""
    transport = request.transport
    assert transport
    await eventually(lambda: not transport.get_write_buffer_size(), "all is sent")
    transport.abort()


def problem(title: str, type: str, **more: str) -> dict[str, str]:
    return {"title": title, "type": PROBLEMS + type, **more}


def second(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp())


def text(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S.000Z}"


SERVER = web.AppKey("server", XServer)


@asynccontextmanager
async def x_server(server: XServer | None = None) -> AsyncIterator[XServer]:
    """server: another one than that with a script."""
    server = server or XServer()
    app = web.Application(middlewares=[flooding])
    app[SERVER] = server
    app.router.add_get("/2/tweets/search/stream/rules", server.get_rules)
    app.router.add_post("/2/tweets/search/stream/rules", server.change_rules)
    app.router.add_get("/2/tweets/search/stream", server.stream, allow_head=False)
    app.router.add_get("/2/tweets/counts/recent", server.counts)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.url = f"http://{host}:{port}"
    try:
        yield server
    finally:
        await runner.cleanup()
