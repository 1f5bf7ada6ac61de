"""Connections of which a test sees every byte, by each way to the event stream."""

import asyncio
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from served import Site
from servers import eventually

TARGETS = {"front door": "/events", "takeover": "http://h/events", "ordinary": "/events"}
"""What is asked for, so that a stream goes by this way; the ordinary one has a server of its own."""
WAYS = list(TARGETS)
RESET, CLOSE = b"\1\0\0\0\0\0\0\0", b"\0\0\0\0\0\0\0\0"
"""Of SO_LINGER: how a socket is closed."""


def lane(way: str) -> str:
    """The setting EXPRESS_LANE of a server for this way."""
    return "false" if way == "ordinary" else "true"


def get(way: str, query: str = "", version: str = "1.1", more: str = "") -> str:
    """A request for a stream; more: lines of its head."""
    return f"GET {TARGETS[way]}?{query} HTTP/{version}\r\nHost: h\r\n{more}\r\n"


class Raw:
    """A connection of which the test sees every byte."""

    def __init__(self, site: Site, receive_buffer: int = 0) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.setblocking(False)
        self.site, self.received, self.ended = site, b"", False

    async def send(self, text: str | bytes) -> "Raw":
        loop = asyncio.get_running_loop()
        if not self.received:
            await loop.sock_connect(self.socket, ("127.0.0.1", self.site.port))
        await loop.sock_sendall(self.socket, text.encode() if isinstance(text, str) else text)
        return self

    async def until(self, pattern: bytes) -> re.Match[bytes]:
        """Read until the pattern is in what was received."""
        async with asyncio.timeout(10):
            while not (found := re.search(pattern, self.received, re.S)):
                await self.read()
                assert not self.ended, f"the connection ended: {self.received[-300:]!r}"
        return found

    async def read(self, most: int = 1 << 16) -> None:
        try:
            piece = await asyncio.get_running_loop().sock_recv(self.socket, most)
        except ConnectionResetError:
            piece = b""
        self.ended = not piece
        self.received += piece

    async def read_all(self) -> bytes:
        """Read to the end of the connection."""
        async with asyncio.timeout(10):
            while not self.ended:
                await self.read()
        return self.received

    def close(self, how: bytes = CLOSE) -> None:
        if self.socket.fileno() >= 0:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, how)
            self.socket.close()


async def watching(raw: Raw, request: str) -> Raw:
    """A viewer that has its first totals, and all that is due to it."""
    await raw.send(request)
    await raw.until(rb"event: counts\n[^\n]*\nid: [^\n]*\n\n")
    fanouts = raw.site.feed.fanouts
    await eventually(
        lambda: not any(each.behind for each in list(fanouts.values())), "all have all"
    )
    return raw


def unchunked(body: bytes) -> tuple[list[bytes], bytes]:
    """The chunks of a chunked body and what follows its end; fails where it is malformed."""
    chunks = []
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        assert rest[length : length + 2] == b"\r\n"
        if not length:
            return chunks, rest[2:]
        chunks.append(rest[:length])
        body = rest[length + 2 :]
    return chunks, b""


def events_of(body: bytes) -> bytes:
    """A chunked body without its chunks; fails where it is malformed or has more."""
    chunks, rest = unchunked(body)
    assert not rest
    return b"".join(chunks)


def shape(received: bytes) -> bytes:
    """A response without the numbers that differ from time to time."""
    return re.sub(
        rb"\d{13}(-\d+)?|date: [^\r]*|\"(science|football)\":\d+|^[\da-f]+\r$",
        b"#",
        received,
        flags=re.M,
    )


@contextmanager
def connecting(site: Site) -> Iterator[Callable[..., Raw]]:
    """Opens connections to the site, and closes them in the end."""
    opened: list[Raw] = []

    def connect(receive_buffer: int = 0) -> Raw:
        opened.append(Raw(site, receive_buffer))
        return opened[-1]

    yield connect
    for each in opened:
        each.close()
