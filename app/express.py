"""The express lane: ticks go straight to a viewer's connection, past the server's layers.

Two thirds of what a frame costs in Hypercorn lies between an app's `send` and the socket. So
a stream begins the ordinary way, through Quart and Hypercorn; after its first bytes Quart is
done with it, and the feed writes each tick, ready-made, to the connection's transport. The
end goes the ordinary way again. What was written in between is what Hypercorn would have
written, so nobody downstream can tell.

Where the transport cannot be had, all goes the ordinary way: with TLS or HTTP/2, in another
server, or in a Hypercorn whose insides are others than those of 0.18 (a test would tell).
"""

import asyncio
from typing import Any

import h11
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.http_stream import HTTPStream

from app.viewer import Viewer

KEY = "hashtag_pulse.express"


def transport_behind(send: Any) -> asyncio.WriteTransport | None:
    """The transport behind the `send` of an ASGI request, or nothing.

    Hypercorn 0.18: `send` is a method of the HTTPStream, whose own `send` is one of the
    H11Protocol, whose own is one of the TCPServer, which has the connection.
    """
    stream = getattr(send, "__self__", None)
    protocol = getattr(getattr(stream, "send", None), "__self__", None)
    server = getattr(getattr(protocol, "send", None), "__self__", None)
    if not (
        type(stream) is HTTPStream and type(protocol) is H11Protocol and type(server) is TCPServer
    ):
        return None
    transport = getattr(getattr(server, "writer", None), "transport", None)
    plain = type(getattr(protocol, "connection", None)) is h11.Connection and not protocol.ssl
    return transport if plain and isinstance(transport, asyncio.WriteTransport) else None


class Ride:
    """One request that may go by the express lane: what Quart makes of it."""

    def __init__(self, send: Any, transport: asyncio.WriteTransport, chunked: bool) -> None:
        self.send, self.transport, self.chunked = send, transport, chunked
        self.viewer: Viewer | None = None
        self.open = self.gone = False

    async def pass_on(self, message: Any) -> None:
        """Quart's messages, without the one that would end the body of a stream."""
        if message["type"] == "http.response.start":
            framed = {bytes(name).lower() for name, _ in message["headers"]} & {
                b"content-length", b"transfer-encoding", b"content-encoding",
            }  # fmt: skip
            self.open = bool(self.viewer) and message["status"] == 200 and not framed
        if message.get("more_body") or message["type"] != "http.response.body" or not self.open:
            await self.send(message)

    async def go(self, viewer: Viewer, receive: Any) -> None:
        """Let the feed write to the connection until the viewer goes or its time is over."""
        viewer.transport, viewer.chunked = self.transport, self.chunked
        try:
            async with asyncio.timeout(viewer.left()) as viewer.limit:
                viewer.selection.join(viewer, viewer.feed.newest)
                while (await receive())["type"] != "http.disconnect":
                    pass
        except TimeoutError:
            viewer.selection.leave(viewer)
            body = {"type": "http.response.body", "body": viewer.last(), "more_body": False}
            await self.send(body)
        finally:
            viewer.selection.leave(viewer)


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
        ride = scope[KEY] = Ride(send, transport, scope["http_version"] == "1.1")

        async def hear() -> Any:
            message = await receive()
            ride.gone = ride.gone or message["type"] == "http.disconnect"
            return message

        await self.app(scope, hear, ride.pass_on)
        viewer, ride.viewer = ride.viewer, None
        scope.pop(KEY)
        if viewer and ride.open and not ride.gone:
            await ride.go(viewer, receive)


def board(scope: Any, viewer: Viewer) -> bool:
    """Send this viewer by the express lane; False where there is none for its request."""
    ride = scope.get(KEY)
    if ride:
        ride.viewer = viewer
    return bool(ride)
