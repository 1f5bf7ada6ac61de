"""A viewer's connection, taken from Hypercorn once the head of its answer has left.

A stream begins the ordinary way, through Quart and Hypercorn, which read the request and write
the head. Then the connection's descriptor is duplicated and Hypercorn's own transport aborted,
which closes the original without a word on the wire: to Hypercorn the client is gone, and from
now on the viewer is one of ours (taken.py). What is written then is what Hypercorn would have
written, so nobody downstream can tell.

Where the connection cannot be had, all goes the ordinary way: with TLS or HTTP/2, with a request
that has a body, in another server, or in a Hypercorn whose insides are others than those of 0.18
(a test would tell). There, too, an answer that nobody takes ends.
"""

import asyncio
import time
from contextlib import suppress
from typing import Any, NamedTuple

import h2.errors
import h2.events
import h2.exceptions
import h11
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream

from app.web.address import ADDRESS, TAKEN
from app.web.sse import PIECE
from app.web.taken import IS_POSSIBLE, Taken
from app.web.viewer import Viewer

KEY = "hashtag_pulse.takeover"
FRAMING = frozenset({b"content-length", b"transfer-encoding", b"content-encoding"})
"""Headers of a body that is not simply one chunk after another."""
UNREAD_SECONDS = 30.0
"""A client that takes nothing of an answer for so long is let go."""
DRAIN_SECONDS = 0.1
"""How often is looked whether a client of HTTP/2 has taken something."""


class Takeover:
    """ASGI middleware: takes the connections of the streams of the app behind it.

    taken: who they go to; none where all is to go the ordinary way.
    """

    def __init__(self, app: Any, taken: Taken | None) -> None:
        self.app, self.taken = app, taken if IS_POSSIBLE else None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        behind = Behind(send)
        takes = self.taken is not None and behind.is_plain and not has_body(scope)
        exchange = scope[KEY] = Exchange(receive, send, behind, takes)
        try:
            await self.app(scope, exchange.hear, exchange.pass_on)
        finally:
            del scope[KEY]
        viewer, exchange.viewer = exchange.viewer, None  # each has the other: it would outlive this
        if self.taken and viewer and exchange.is_kept and not exchange.is_gone:
            await take(viewer, behind, scope, self.taken)


def has_body(scope: Any) -> bool:
    """Whether more of the request is to come, which Hypercorn has to read."""
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in scope["headers"]
    )


async def take(viewer: Viewer, behind: "Behind", scope: Any, taken: Taken) -> None:
    """Take the connection from Hypercorn; where it ends before that, all is over."""
    transport = behind.transport
    assert transport
    try:
        async with asyncio.timeout(UNREAD_SECONDS):
            transport.set_write_buffer_limits(0)  # so that drain() waits until nothing is unsent
            await behind.server.writer.drain()
        if transport.is_closing():
            return
        connection = transport.get_extra_info("socket").dup()
    except OSError:  # lost, or too slow, or no descriptor is to be had
        transport.abort()
        return
    scope[TAKEN] = True
    viewer.chunked, viewer.address = scope["http_version"] >= "1.1", scope.get(ADDRESS)
    viewer.visit = behind.visit()
    behind.stream.state = ASGIHTTPState.CLOSED  # else the access log would say that it is over
    transport.abort()
    taken.take(connection, viewer)


class Visit(NamedTuple):
    """A line of Hypercorn's access log that is to be written at the end."""

    log: Any
    request: Any
    response: Any
    begun: float
    """In seconds since 1970."""

    def tell(self) -> None:
        atoms = self.log.atoms(self.request, self.response, time.time() - self.begun)
        self.log.access_logger.info(self.log.access_log_format, atoms)


class Behind:
    """What is behind the `send` of a request in Hypercorn 0.18: a method of an HTTPStream, whose
    own `send` is one of a protocol, whose own is one of the TCPServer, which has the connection.
    """

    def __init__(self, send: Any) -> None:
        self.stream: Any = getattr(send, "__self__", None)
        self.protocol: Any = getattr(getattr(self.stream, "send", None), "__self__", None)
        self.server: Any = getattr(getattr(self.protocol, "send", None), "__self__", None)

    @property
    def transport(self) -> asyncio.WriteTransport | None:
        """The transport of asyncio; none where the insides are not those that we know."""
        known = type(self.stream) is HTTPStream and isinstance(self.server, TCPServer)
        found = getattr(getattr(self.server, "writer", None), "transport", None)
        return found if known and isinstance(found, asyncio.WriteTransport) else None

    @property
    def is_plain(self) -> bool:
        """Whether it is HTTP/1, with nothing between the protocol and the socket."""
        if self.transport is None or type(self.protocol) is not H11Protocol or self.protocol.ssl:
            return False
        plain = type(getattr(self.protocol, "connection", None)) is h11.Connection
        return plain and hasattr(self.transport.get_extra_info("socket"), "dup")

    def visit(self) -> Visit | None:
        """What the access log is to have in the end; nothing without one."""
        stream, log = self.stream, self.stream.config.log
        if log.access_logger is None:
            return None
        return Visit(log, stream.scope, stream.response, stream.start_time)

    async def drain(self) -> None:
        """Wait until little is unsent in HTTP/2, where Hypercorn, against its intention, waits
        for no client: where its window is closed, all that an app sends would be kept."""
        if type(self.protocol) is H2Protocol:
            buffers, number = self.protocol.stream_buffers, self.stream.stream_id
            while number in buffers and len(buffers[number].buffer) > PIECE:  # noqa: ASYNC110
                await asyncio.sleep(DRAIN_SECONDS)

    async def cut(self) -> None:
        """End an answer that nobody takes; of HTTP/2 its stream alone, since others share its
        connection, as if the client had ended it."""
        if self.transport and type(self.protocol) is H2Protocol:
            with suppress(h2.exceptions.ProtocolError):
                cancelled = h2.errors.ErrorCodes.CANCEL
                self.protocol.connection.reset_stream(self.stream.stream_id, cancelled)
            ended = h2.events.StreamReset(stream_id=self.stream.stream_id)
            await self.protocol._handle_events([ended])
        elif self.transport:
            self.transport.abort()


class Exchange:
    """One answer on its way: what Quart sends, and what it hears of the client."""

    def __init__(self, receive: Any, send: Any, behind: Behind, takes: bool) -> None:
        self.receive, self.send, self.behind, self.takes = receive, send, behind, takes
        """takes: whether the connection will be taken if this is a stream."""
        self.viewer: Viewer | None = None
        """Whom it goes to, if it is a stream."""
        self.hearing: asyncio.Timeout | None = None
        """While Quart waits for the client."""
        self.sending: asyncio.Timeout | None = None
        """While it waits until the client takes something."""
        self.is_stream = self.is_kept = self.is_gone = False
        """Its head is that of a stream that is to be taken; Quart has sent all that it has; the
        client is gone."""

    async def hear(self) -> Any:
        """Hypercorn's messages for Quart, and, once Quart has sent all it has, that the client
        went away: Quart 0.23 waits for that. When it does go, it must not be missed."""
        try:
            async with asyncio.timeout(0 if self.is_kept else None) as self.hearing:
                message = await self.receive()
        except TimeoutError:
            return {"type": "http.disconnect"}
        finally:
            self.hearing = None
        self.is_gone = self.is_gone or message["type"] == "http.disconnect"
        return message

    async def pass_on(self, message: Any) -> None:
        """Quart's messages, without the one that would end the body of a stream that is taken."""
        if message["type"] == "http.response.start":
            framed = {name for name, _ in message["headers"]} & FRAMING
            self.is_stream = bool(self.viewer) and message["status"] == 200 and not framed
        last = message["type"] == "http.response.body" and not message.get("more_body")
        if last and self.is_stream and self.takes:
            self.is_kept = True
            if self.hearing:
                self.hearing.reschedule(asyncio.get_running_loop().time())
            return
        try:
            async with asyncio.timeout(UNREAD_SECONDS) as self.sending:
                await self.send(message)
                await self.behind.drain()
        except TimeoutError:
            await self.behind.cut()
            raise
        finally:
            self.sending = None

    def drop(self, _: Viewer) -> None:
        """Wait no longer until the viewer takes anything."""
        if self.sending:
            self.sending.reschedule(asyncio.get_running_loop().time())


def note_viewer(scope: Any, viewer: Viewer) -> bool:
    """Note whose stream the answer is; whether its connection will be taken after the head."""
    exchange: Exchange | None = scope.get(KEY)
    if exchange is None:
        return False
    exchange.viewer, viewer.way = viewer, exchange
    return exchange.takes
