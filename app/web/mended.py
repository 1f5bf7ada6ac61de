"""Hypercorn's connections, without its faults."""

import asyncio
import logging

import hypercorn.asyncio.run
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.events import Closed, Event, RawData, Updated

log = logging.getLogger(__name__)

END_SECONDS = 5.0
"""So long the requests of a connection that its client closed may need to end."""


def mend_hypercorn() -> None:
    """Have Hypercorn serve every connection by our class from now on; it asks for none."""
    hypercorn.asyncio.run.TCPServer = Connection  # type: ignore[attr-defined]


class Connection(TCPServer):
    """A connection of Hypercorn's 0.18, without four of its faults.

    One that its client closed is closed at once, not after keep_alive_timeout, and also where an
    answer of HTTP/2 would wait for ever for somebody who takes it. What its client sends wrong,
    above all in HTTP/2, ends it without a traceback for each. Nothing is written to one that is
    closed, of which asyncio would warn.
    """

    is_read = False
    """Whether all was read that its client will ever send."""
    limit: asyncio.Timeout

    async def run(self) -> None:
        try:
            async with asyncio.timeout(None) as self.limit:
                await super().run()
        except Exception as error:  # noqa: BLE001 - the app's own never come here
            log.debug("a connection ended by what it was sent: %r", error)

    async def _read_data(self) -> None:
        await super()._read_data()
        self.is_read = True
        self.limit.reschedule(self.loop.time() + END_SECONDS)
        await self.idle_task.stop()

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, RawData) and self.writer.is_closing():
            await self.protocol.handle(Closed())
        elif not (isinstance(event, Updated) and self.is_read):  # else it would wait anew
            await super().protocol_send(event)
