"""The express lane: ticks go straight to a viewer's connection, past the server's layers.

Two thirds of what a frame costs in Hypercorn lies between an app's `send` and the socket. So
a stream begins the ordinary way, through Quart and Hypercorn; after its first bytes Quart is
done with it, and the feed writes each tick, ready-made, to the connection's socket. The
end goes the ordinary way again. What was written in between is what Hypercorn would have
written, so nobody downstream can tell.

Where the socket cannot be had, all goes the ordinary way: with TLS or HTTP/2, in another
server, or in a Hypercorn whose insides are others than those of 0.18 (a test would tell).
"""

import asyncio
from functools import lru_cache
from socket import socket
from typing import Any

import h11
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.http_stream import HTTPStream

from app.web.viewer import Viewer

KEY = "hashtag_pulse.express"
FRAMING = frozenset({b"content-length", b"transfer-encoding", b"content-encoding"})
"""Headers of a body that is not simply one chunk after another."""


def transport_behind(send: Any) -> asyncio.WriteTransport | None:
    """The transport behind the `send` of an ASGI request, or nothing.

    Hypercorn 0.18: `send` is a method of the HTTPStream, whose own `send` is one of the
    H11Protocol, whose own is one of the TCPServer, which has the connection.
    """
    stream = getattr(send, "__self__", None)
    protocol = getattr(getattr(stream, "send", None), "__self__", None)
    server = getattr(getattr(protocol, "send", None), "__self__", None)
    if not (
        type(stream) is HTTPStream
        and type(protocol) is H11Protocol
        and isinstance(server, TCPServer)
    ):
        return None
    transport = getattr(getattr(server, "writer", None), "transport", None)
    plain = type(getattr(protocol, "connection", None)) is h11.Connection and not protocol.ssl
    return transport if plain and socket_of(transport) else None


def socket_of(transport: Any) -> socket | None:
    """The socket that a transport of asyncio writes to, or nothing.

    A `write` of the transport is a `send` of its socket as long as that takes all of it.
    """
    if not isinstance(transport, asyncio.WriteTransport):
        return None
    found = getattr(transport.get_extra_info("socket"), "_sock", None)
    return found if isinstance(found, socket) else None


class Ride:
    """One request that may go by the express lane: what Quart makes of it."""

    __slots__ = (
        "chunked",
        "gone",
        "kept",
        "open",
        "receive",
        "send",
        "transport",
        "viewer",
        "wait",
    )

    def __init__(
        self, receive: Any, send: Any, transport: asyncio.WriteTransport, chunked: bool
    ) -> None:
        self.receive, self.send, self.transport, self.chunked = receive, send, transport, chunked
        self.viewer: Viewer | None = None
        self.wait: asyncio.Timeout | None = None
        self.open = self.gone = self.kept = False

    async def hear(self) -> Any:
        """Hypercorn's messages for Quart, and, once Quart has sent all it has, that the client
        went away: Quart 0.23 waits for that. When it does go, it must not be missed."""
        try:
            async with asyncio.timeout(0 if self.kept else None) as self.wait:
                message = await self.receive()
        except TimeoutError:
            return {"type": "http.disconnect"}
        finally:
            self.wait = None
        self.gone = self.gone or message["type"] == "http.disconnect"
        return message

    async def pass_on(self, message: Any) -> None:
        """Quart's messages, without the one that would end the body of a stream."""
        if message["type"] == "http.response.start":
            headers = same(tuple(message["headers"]))
            framed = {name for name, _ in headers} & FRAMING
            self.open = bool(self.viewer) and message["status"] == 200 and not framed
            message = {**message, "headers": headers}
        last = message["type"] == "http.response.body" and not message.get("more_body")
        if not (last and self.open):
            await self.send(message)
            return
        self.kept = True
        if self.wait:
            self.wait.reschedule(asyncio.get_running_loop().time())

    async def go(self, viewer: Viewer) -> None:
        """Let the feed write to the connection until the viewer goes or its time is over."""
        connection = socket_of(self.transport)
        assert connection
        viewer.transport, viewer.send, viewer.chunked = (
            self.transport,
            connection.send,
            self.chunked,
        )
        try:
            async with asyncio.timeout(None) as viewer.limit:
                viewer.fanout.join(viewer, viewer.feed.newest)
                if viewer.is_over():
                    viewer.end()
                while (await self.receive())["type"] != "http.disconnect":
                    pass
        except TimeoutError:
            viewer.fanout.leave(viewer)
            body = {"type": "http.response.body", "body": viewer.last(), "more_body": False}
            await self.send(body)
        finally:
            viewer.fanout.leave(viewer)


class Express:
    """ASGI middleware: the express lane for the streams of the app behind it."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        plain = scope["type"] == "http" and scope["http_version"] in ("1.0", "1.1")
        transport = transport_behind(send) if plain else None
        if transport is None:
            await self.app(scope, receive, send)
            return
        ride = scope[KEY] = Ride(receive, send, transport, scope["http_version"] == "1.1")
        await self.app(scope, ride.hear, ride.pass_on)
        del scope[KEY]
        if ride.viewer and ride.open and not ride.gone:
            await ride.go(ride.viewer)


@lru_cache(maxsize=64)
def same(headers: tuple[tuple[bytes, bytes], ...]) -> tuple[tuple[bytes, bytes], ...]:
    """Equal headers as one object: Hypercorn keeps them as long as the stream goes on."""
    return headers


def board(scope: Any, viewer: Viewer) -> bool:
    """Send this viewer by the express lane; False where there is none for its request."""
    ride = scope.get(KEY)
    if ride:
        ride.viewer = viewer
    return bool(ride)
