"""A visitor who means harm: malformed requests over raw sockets, the same for the same seed, and
a flood from one address; and those who watch meanwhile and mean none.

Each has an address of its own out of 127.0.0.0/8, all of which Linux has: a server whose
TRUSTED_PROXIES are 127.0.0.1/32 takes them for strangers.
"""

import asyncio
import random
import re
import socket
import struct
import sys
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count

import hpack
from malformed import HOST, KINDS
from servers import eventually

AT_ONCE = 32
"""Attempts that go on at the same time."""
HELD = 100
"""Connections that are left half open; the oldest is let go for a further one."""
FIRST_SECONDS, NEXT_SECONDS = 0.4, 0.05
"""So long an attempt waits for the first byte of an answer, and then for each further piece."""
STATUS = re.compile(rb"^HTTP/1\.[01] (\d{3}) ", re.M)
SETTINGS, HEADERS = b"\x04", b"\x01"
"""Types of frames of HTTP/2; the first one of a server is SETTINGS."""
FAIR = {501, 503, 505}
"""Of a coding or a version that nobody knows, and of what cannot be had just now."""


@dataclass
class Harm:
    """What was tried, and what came of it."""

    tried: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    http2: Counter[int] = field(default_factory=Counter)
    """The statuses of HTTP/2."""
    errors: list[str] = field(default_factory=list)
    """The first 20 requests that were answered with a 5xx other than FAIR."""


class HostileVisitor:
    """Makes attempts until it has made so many, or for so many seconds."""

    def __init__(self, port: int, seed: int) -> None:
        self.port, self.seed, self.harm = port, seed, Harm()
        self.held: deque[asyncio.StreamWriter] = deque()

    async def run(self, attempts: float = float("inf"), seconds: float = float("inf")) -> Harm:
        """Returns once all connections are closed, those that were left half open too."""
        await some_at_once(self.attempt, attempts, seconds, self.held)
        return self.harm

    async def attempt(self, number: int) -> None:
        luck = random.Random(f"{self.seed} {number}")
        kind = luck.choice(KINDS)
        pieces, end = kind(luck), luck.choice(("read", "read", "look", "leave", "reset", "hold"))
        self.harm.tried[kind.__name__] += 1
        received = b""
        try:
            async with connected(self.port, address(luck)) as (reader, writer):
                with suppress(ConnectionError):
                    for piece in pieces:
                        writer.write(piece)
                        await writer.drain()
                        await asyncio.sleep(luck.choice((0, 0, 0.002)) if len(pieces) > 1 else 0)
                    if luck.random() < 0.1:
                        writer.write_eof()
                    if end in ("read", "look"):
                        received = await answer(reader, only_look=end == "look")
                self.end(writer, end)
        except OSError:
            self.harm.tried["cut off"] += 1
        self.judge(b"".join(pieces), received)

    def end(self, writer: asyncio.StreamWriter, end: str) -> None:
        if end == "reset":
            opened = writer.get_extra_info("socket")
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if end == "hold":
            self.held.append(writer)
            if len(self.held) <= HELD:
                return
            writer = self.held.popleft()
        writer.transport.abort()

    def judge(self, sent: bytes, received: bytes) -> None:
        statuses = [int(status) for status in STATUS.findall(received)]
        self.harm.statuses.update(statuses)
        wrong = any(status >= 500 and status not in FAIR for status in statuses)
        for head in heads_of_http2(received):
            status = int(head[":status"])
            self.harm.http2[status] += 1
            wrong = wrong or (status >= 500 and not (status == 503 and "retry-after" in head))
            statuses.append(status)
        if wrong and len(self.harm.errors) < 20:
            self.harm.errors.append(f"{statuses} for {sent[:300]!r}")


def heads_of_http2(received: bytes) -> Iterator[dict[str, str]]:
    """The headers of each answer, if it is HTTP/2, at once or by an upgrade (RFC 9113, 4.1: each
    frame has its length, type, flags and stream before it; a head of ours is one frame)."""
    if received.startswith(b"HTTP/1.1 101"):
        received = received.partition(b"\r\n\r\n")[2]
    if received[3:4] != SETTINGS:
        return
    decoder, place = hpack.Decoder(), 0
    while place + 9 <= len(received):
        length = int.from_bytes(received[place : place + 3])
        frame = received[place + 9 : place + 9 + length]
        if received[place + 3 : place + 4] == HEADERS and len(frame) == length:
            yield dict(decoder.decode(frame))
        place += 9 + length


class Flood:
    """One address asks for streams, pages and the past as fast as it is answered, and keeps what
    it gets."""

    def __init__(self, port: int, address: str = "127.0.0.66") -> None:
        self.port, self.address = port, address
        self.statuses: Counter[int] = Counter()
        self.streams: list[asyncio.StreamWriter] = []
        """Those that it was let into, open to the end."""

    async def run(self, requests: float = float("inf"), seconds: float = float("inf")) -> None:
        await some_at_once(self.ask, requests, seconds, self.streams)

    async def ask(self, number: int) -> None:
        path = (b"/events", b"/events", b"/api/history?range=30d", b"/", b"/api/counts")[number % 5]
        with suppress(OSError):
            async with connected(self.port, self.address) as (reader, writer):
                writer.write(b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n")
                received = await answer(reader, only_look=True)
                statuses = [int(status) for status in STATUS.findall(received)]
                self.statuses.update(statuses)
                if path == b"/events" and statuses == [200]:
                    self.streams.append(writer)
                else:
                    writer.transport.abort()


async def some_at_once(
    attempt: Callable[[int], Awaitable[None]],
    most: float,
    seconds: float,
    kept: Iterable[asyncio.StreamWriter],
) -> None:
    """Attempts by their numbers, AT_ONCE at a time, until there were so many or so long; what was
    kept open is cut then."""
    loop, numbers = asyncio.get_running_loop(), count()
    ends = loop.time() + seconds

    async def one_after_the_other() -> None:
        while (number := next(numbers)) < most and loop.time() < ends:
            await attempt(number)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(one_after_the_other())
    finally:
        for writer in kept:
            writer.transport.abort()


class Honest:
    """A viewer who only watches, and comes back where it was when its stream ends."""

    def __init__(self, port: int, address: str) -> None:
        self.port, self.address = port, address
        self.ids: list[str] = []
        """Of all ticks that it was told, in order."""
        self.late: Counter[int] = Counter()
        """Tenths of a second from the time of a tick to when it came, and how many came so."""
        self.visits = 0
        """How many streams it opened: one more than it was disconnected."""

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            with suppress(OSError):
                await self.watch_one()
            await asyncio.sleep(0.1)

    async def watch_one(self) -> None:
        self.visits += 1
        async with connected(self.port, self.address) as (reader, writer):
            query = f"?last_event_id={self.ids[-1]}" if self.ids else ""
            writer.write(f"GET /events{query} HTTP/1.0\r\n\r\n".encode())
            at = 0
            async for line in reader:
                if found := re.match(rb'data: {"at":(\d+)', line):
                    at = int(found[1])
                elif line.startswith(b"id: "):
                    self.ids.append(sys.intern(line[4:].decode().strip()))
                    self.late[int(10 * time.time() - at / 100)] += 1
            writer.transport.abort()


@asynccontextmanager
async def watching(port: int, viewers: int) -> AsyncIterator[list[Honest]]:
    """So many viewers, a few of each address, of which each has had a tick."""
    honest = [Honest(port, f"127.0.0.{100 + n % 100}") for n in range(viewers)]
    tasks = [asyncio.create_task(each.watch()) for each in honest]
    try:
        await eventually(lambda: all(each.ids for each in honest), "all have had a tick")
        yield honest
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def address(luck: random.Random) -> str:
    """One of 64,516 that are this machine, and nobody else's."""
    return f"127.{luck.randint(1, 254)}.{luck.randint(1, 254)}.1"


@asynccontextmanager
async def connected(
    port: int, source: str
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection from this address; whoever opened it closes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    try:
        yield reader, writer
    except BaseException:
        writer.transport.abort()
        raise


async def answer(reader: asyncio.StreamReader, only_look: bool) -> bytes:
    """What comes until the end, or until nothing comes for a moment; or the first of it."""
    received = b""
    with suppress(TimeoutError):
        while len(received) < 1 << 20:
            async with asyncio.timeout(NEXT_SECONDS if received else FIRST_SECONDS):
                piece = await reader.read(1 << 16)
            received += piece
            if not piece or only_look:
                break
    return received
