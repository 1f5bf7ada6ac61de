"""A server that speaks getPosts, and breaks on demand.

As the real one: at most 25 addresses a request, what it does not know or has hidden left out, labels
of posts and of their authors.
"""

import asyncio
from collections import deque
from typing import Any

from aiohttp import web
from network import Server

URI = "at://{}/app.bsky.feed.post/{}"


class BlueskyApi(Server):
    def __init__(self) -> None:
        super().__init__()
        self.asked: list[list[str]] = []
        """The addresses of each request."""
        self.missing: set[str] = set()
        self.changed: dict[str, dict[str, Any]] = {}
        """Address to members of its post that are told otherwise."""
        self.answers: deque[tuple[int, dict[str, str], str]] = deque()
        """Status, headers and body of the next answers, in turn; 0 is none at all."""
        self.held = asyncio.Event()
        self.held.set()
        """Cleared, it lets everybody wait."""
        self.app.router.add_get("/xrpc/app.bsky.feed.getPosts", self.posts)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def uris(self) -> list[str]:
        return [uri for uris in self.asked for uri in uris]

    async def posts(self, request: web.Request) -> web.Response:
        uris = request.query.getall("uris", [])
        self.asked.append(uris)
        await self.held.wait()
        if self.answers:
            status, headers, body = self.answers.popleft()
            if not status:
                assert request.transport
                request.transport.abort()
            return web.Response(status=status or 200, headers=headers, text=body)
        if len(uris) > 25:
            return web.json_response({"error": "InvalidRequest"}, status=400)
        return web.json_response({"posts": [self.post(u) for u in uris if u not in self.missing]})

    def post(self, uri: str) -> dict[str, Any]:
        did, rkey = uri.removeprefix("at://").split("/app.bsky.feed.post/")
        author = {"did": did, "handle": f"{did[-1]}.example", "displayName": "Ada", "labels": []}
        record = {"$type": "app.bsky.feed.post", "text": f"text of {rkey}", "createdAt": "2026"}
        told = {"uri": uri, "cid": "c", "author": author, "record": record, "labels": []}
        return told | self.changed.get(uri, {})
