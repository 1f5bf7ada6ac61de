"""Hypercorn's connections, without its faults."""

import asyncio
import logging
import resource
from collections import OrderedDict
from typing import ClassVar

import h11
import hypercorn.asyncio.run
from hypercorn.asyncio.tcp_server import MAX_RECV, TCPServer
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol

from app.web.answers import refusal_without_quart

log = logging.getLogger(__name__)

HEAD_SECONDS = 10.0
"""So long the head of a request may take, from its first byte on; of a connection's first one,
from the beginning of the connection."""
END_SECONDS = 5.0
"""So long the requests of a connection that its client closed may need to end."""
MOST_IDLE = 1000
"""So many connections may be without a request, or with a part of one; for one too many the one
that is so for longest is closed. A twentieth of the open files where those are few."""
TOO_LONG = 431
"""The status of a request whose head is too long (RFC 6585, section 5)."""


def fix_hypercorn() -> None:
    """Have Hypercorn serve every connection by our class from now on; it asks for none. And have it
    refuse what is no request as all else is refused here."""
    hypercorn.asyncio.run.TCPServer = Connection  # type: ignore[attr-defined]
    H11Protocol._send_error_response = refuse_unread  # type: ignore[assignment, method-assign]


async def refuse_unread(protocol: H11Protocol, status: int) -> None:
    """Answer what h11 cannot read with a sentence; Hypercorn has the status alone for it."""
    most = protocol.config.h11_max_incomplete_size
    sentence = "This is no request of HTTP/1.1."
    if status == TOO_LONG:
        sentence = f"The address and the headers of the request are longer than {most} bytes."
    headers, body = refusal_without_quart(sentence)
    headers += [(b"connection", b"close"), *protocol.config.response_headers("h11")]
    answer = h11.Response(status_code=status, headers=headers)
    for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
        await protocol._send_h11_event(event)


class Connection(TCPServer):
    """A connection of Hypercorn's 0.18, without its faults.

    One that its client closed is closed at once, not after keep_alive_timeout, and also where an
    answer of HTTP/2 would wait for ever for somebody who takes it. A request that never becomes
    whole ends it in time, and so does the beginning of HTTP/2 that nothing follows. However many
    are idle, only so many stay. What its client sends wrong, above all in HTTP/2, and what it does
    not take, end it without a traceback for each. Nothing is written to one that is closed, of
    which asyncio would warn.
    """

    idle: ClassVar[OrderedDict["Connection", None]] = OrderedDict()
    """Those without a request, the one that is so for longest first; most_idle() at most."""

    is_read = False
    """Whether all was read that its client will ever send."""
    limit: asyncio.Timeout

    async def run(self) -> None:
        try:
            async with asyncio.timeout(None) as self.limit:
                self.rest(HEAD_SECONDS)
                await super().run()
        except Exception as error:  # noqa: BLE001 - the app's own never come here
            log.debug("a connection ended by what it was sent: %r", error)
        finally:
            self.idle.pop(self, None)
            self.take_apart()

    def take_apart(self) -> None:
        """Part those that name each other: only the garbage collector, which comes by rarely here
        (server.py), would free their 5 KB."""
        if whole := getattr(self, "protocol", None):
            whole.send = whole.protocol.send = sent_to_nobody

    async def _read_data(self) -> None:
        while not self.reader.at_eof():
            try:
                data = await self.reader.read(MAX_RECV)
            except OSError:
                break
            is_http2 = isinstance(self.protocol.protocol, H2Protocol)
            if self in self.idle and self.limit.when() is None and not is_http2:
                self.end_in(HEAD_SECONDS)  # this is the beginning of a request
            await self.protocol.handle(RawData(data))
            if self not in self.idle and self.has_no_stream():
                self.rest(HEAD_SECONDS)
        await self.protocol.handle(Closed())
        self.is_read = True
        self.end_in(END_SECONDS)
        await self.idle_task.stop()

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, RawData) and self.writer.is_closing():
            await self.protocol.handle(Closed())
        elif not isinstance(event, Updated):
            await super().protocol_send(event)
        elif not self.is_read:  # else it would wait anew
            await super().protocol_send(event)
            self.rest(None) if event.idle else self.work()

    def has_no_stream(self) -> bool:
        """Whether it is HTTP/2 after its preface alone, or with all streams reset by the client:
        of both Hypercorn believes that there is a request."""
        inside = self.protocol.protocol
        return isinstance(inside, H2Protocol) and not inside.streams

    def rest(self, seconds: float | None) -> None:
        """There is no request; None: for keep_alive_timeout, which Hypercorn sees to."""
        self.idle[self] = None
        self.end_in(seconds)
        while len(self.idle) > most_idle():
            oldest, _ = self.idle.popitem(last=False)
            oldest.end_in(0)

    def work(self) -> None:
        """There is a request."""
        self.idle.pop(self, None)
        self.end_in(None)

    def end_in(self, seconds: float | None) -> None:
        if not self.limit.expired():
            self.limit.reschedule(None if seconds is None else self.loop.time() + seconds)


async def sent_to_nobody(_: Event) -> None:
    """What is said of a connection that is over."""


def most_idle() -> int:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_IDLE if files == resource.RLIM_INFINITY else max(1, min(MOST_IDLE, files // 20))
