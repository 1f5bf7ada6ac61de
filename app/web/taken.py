"""The viewers whose connection is ours: a socket and a position each, and one epoll for all.

Nothing of a server lives on for them: no task, no transport, no timer. A tick is one `send` for
each (fanout.py); what happens on their connections otherwise the epoll tells, which the loop
watches: a client that goes, one that can take more again, one that says something.

There is an epoll on Linux only; elsewhere all viewers go the ordinary way, through the server.
"""

import asyncio
import select
import socket
from collections.abc import Callable
from contextlib import suppress

from app.web.feed import Feed
from app.web.viewer import Viewer

IS_POSSIBLE = hasattr(select, "epoll")
AT_ONCE = 512
"""So many connections are seen to before others get their turn."""
MOST_HEARD = 64 * 1024
"""Bytes that a client may send after its request; nobody needs any."""
END_SECONDS = 0.5
"""So long the last bytes of all may take when the process ends."""


class Taken:
    """The connections that are ours. Bound: one entry for each that is open; who may come is
    asked before (limits.py)."""

    def __init__(self, feed: Feed, ended: Callable[[Viewer], None]) -> None:
        self.feed, self.ended = feed, ended
        """ended is called once for each viewer, at its end, whatever that is."""
        self.viewers: dict[int, Viewer] = {}
        """By their descriptors."""
        self.is_empty = asyncio.Event()
        """Set whenever the last one has gone."""
        self.epoll: select.epoll | None = None
        """None until the first comes."""
        self.unwanted = bytearray(4096)
        """Where what clients send is put."""

    def take(self, connection: socket.socket, viewer: Viewer, head: bytes = b"") -> None:
        """Serve the viewer on this connection until either ends; never raises.

        The connection does not block. head: what is to be sent before the body. viewer.chunked
        and what ended() needs are set.
        """
        viewer.connection, viewer.way = connection, self
        self.viewers[connection.fileno()] = viewer
        self.watched().register(
            connection,
            select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET,
        )
        viewer.fanout.join(viewer, head)

    def watched(self) -> select.epoll:
        if self.epoll is None:
            self.epoll = select.epoll()
            asyncio.get_running_loop().add_reader(self.epoll.fileno(), self.turn)
        return self.epoll

    def turn(self) -> None:
        """See to the connections on which something happened; not to one that was dropped
        meanwhile, whose descriptor is nobody's until this is over."""
        for descriptor, events in self.watched().poll(0, AT_ONCE):
            viewer = self.viewers.get(descriptor)
            if viewer is None:
                continue
            is_gone = events & (select.EPOLLERR | select.EPOLLHUP | select.EPOLLRDHUP)
            if is_gone or (events & select.EPOLLIN and not self.hear(viewer)):
                self.drop(viewer)
            elif viewer.owed:
                viewer.fanout.bring_up(viewer)

    def hear(self, viewer: Viewer) -> bool:
        """Read what a client sends, which is of no use; whether it may stay.

        It may be the body of its request, or another one, which is never answered: it came
        before the answer to the first was over, which is no promise of any (RFC 9112, 9.3.2).
        """
        while viewer.heard <= MOST_HEARD:
            try:
                heard = viewer.connection.recv_into(self.unwanted)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not heard:
                return False
            viewer.heard += heard
        return False

    def drop(self, viewer: Viewer) -> None:
        """The end of a viewer: whatever was not sent is not."""
        descriptor = viewer.connection.fileno()
        if self.viewers.get(descriptor) is not viewer:
            return
        del self.viewers[descriptor]
        self.watched().unregister(descriptor)  # before another connection may have its number
        viewer.leave()
        viewer.connection.close()
        self.ended(viewer)
        if not self.viewers:
            self.is_empty.set()

    async def close(self) -> None:
        """End every stream with its last words, which have END_SECONDS to leave."""
        self.feed.close()
        self.is_empty.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS if self.viewers else 0):
                await self.is_empty.wait()
        for viewer in list(self.viewers.values()):
            self.drop(viewer)
        if self.epoll:
            asyncio.get_running_loop().remove_reader(self.epoll.fileno())
            self.epoll.close()
            self.epoll = None
