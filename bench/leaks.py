"""Connects and ends in a row, half of them rude: the memory of a web process after each part."""

import asyncio
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from app.store.store import Store, connect
from bench.day import fill_log
from bench.processes import Cannot, connections, descriptors, free_port, memory, wait_until
from bench.report import Report, say
from bench.servers import Server, feeder, redis_server, web

PARTS, AT_ONCE = 4, 400
"""Connections that are open at a time."""
RATE, HASHTAGS = 2, [f"tag{number}" for number in range(20)]
GROWTH_MOST = 32
"""Bytes a connect, after the first part: less than any object of Python's takes."""
ANSWER_SECONDS, LET_GO_SECONDS = 60, 120
ADDRESSES = 200
"""The clients': of each so many ports wait for a minute after an end."""
LITTLE = 4096
"""Bytes that the kernel keeps for a client that reads nothing, or twice as many."""
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER, which makes close() a reset."""


@dataclass(frozen=True)
class Client:
    """What it asks for, what it reads until it is there, and whether it resets or hangs up."""

    target: str
    reads: bytes = b""
    resets: bool = False
    ends: str = "\r\nHost: 127.0.0.1\r\n\r\n"

    def says(self) -> bytes:
        return f"GET {self.target} HTTP/1.1{self.ends}".encode()


COUNTS = b"event: counts"
FRONT_DOOR, TAKEOVER = "/events?tags=tag1,tag2", "http://127.0.0.1/events?tags=tag1,tag2"
CLIENTS = [
    Client(FRONT_DOOR, COUNTS),
    Client(FRONT_DOOR, COUNTS, resets=True),
    Client(TAKEOVER, COUNTS),
    Client(TAKEOVER, COUNTS, resets=True),
    Client("/events?history=60", COUNTS),
    Client("/events?history=300", resets=True),
    Client("/healthz", b'"ok"'),
    Client("/events", ends="\r\nHost: 127"),
]
"""A polite one, then a rude one, by each of our doors, with a long answer, and others: a reset,
240 KB of which none are read, half a request."""


@contextmanager
def full(folder: Path) -> Iterator[Server]:
    """A web process with as much in its log as it will ever have."""
    port = free_port()
    with redis_server(folder) as url:
        asyncio.run(written(url))
        tags = ",".join(HASHTAGS)
        with (
            web(folder, url, RATE, tags, port) as program,
            feeder(folder, "store", url, RATE, 0, tags, len(HASHTAGS)),
        ):
            yield Server(program.pid, port, url)


async def written(url: str) -> None:
    store = Store(connect(url))
    await fill_log(store, HASHTAGS)
    await store.redis.aclose()


def leaks(report: Report, connects: int) -> None:
    """In equal parts, each until the server has let go of all."""
    sizes, left, files, share = [], [], [], connects // PARTS
    with TemporaryDirectory() as made, full(Path(made)) as server:
        come_and_go(server.port, len(CLIENTS))  # what is opened once is open then
        let_go(server)
        before = descriptors(server.pid)
        for part in range(PARTS):
            come_and_go(server.port, share)
            left.append(let_go(server))
            sizes.append(memory(server.pid) / 1e6)
            files.append(descriptors(server.pid) - before)
            say(f"part {part + 1}: {sizes[-1]:.1f} MB")
    for part, size in enumerate(sizes, 1):
        report.add("leaks", f"after {part * share:,} connects and ends", "MB", [size])
    growth = 1e6 * (sizes[-1] - sizes[0]) / (share * (PARTS - 1))
    what = "growth after the first part"
    report.add("leaks", what, "bytes a connect", [growth], most=GROWTH_MOST)
    seconds = f"{LET_GO_SECONDS} s later"
    report.add("leaks", f"connections that are held {seconds}", "", [max(left)], most=0)
    report.add("leaks", f"more open files {seconds}", "", [max(files)], most=0)


def let_go(server: Server) -> int:
    """Wait until the server has no connection, or for long; how many it has."""
    with suppress(Cannot):
        wait_until(lambda: not connections(server.port), "all is let go", LET_GO_SECONDS)
    return connections(server.port)


def come_and_go(port: int, connects: int) -> None:
    """So many at a time: they connect and say what they say, then read, then end."""
    clients, addresses = cycle(CLIENTS), cycle(range(1, ADDRESSES + 1))
    for begin in range(0, connects, AT_ONCE):
        batch = list(islice(clients, min(AT_ONCE, connects - begin)))
        opened = list(talking(port, f"127.0.1.{next(addresses)}", batch))
        for client, connection in zip(batch, opened, strict=True):
            hear(client, connection)
        for client, connection in zip(batch, opened, strict=True):
            if client.resets:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            connection.close()


def talking(port: int, here: str, clients: Sequence[Client]) -> Iterator[socket.socket]:
    for client in clients:
        connection = socket.socket()
        if not client.reads:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, LITTLE)
        connection.settimeout(ANSWER_SECONDS)
        connection.bind((here, 0))
        connection.connect(("127.0.0.1", port))
        connection.sendall(client.says())
        yield connection


def hear(client: Client, connection: socket.socket) -> None:
    """Read until all that it waits for is there. Raises Cannot."""
    found, more = b"", b"-"
    while client.reads not in found and more:
        try:
            more = connection.recv(1 << 16)
        except OSError:  # a reset, or nothing came in time
            more = b""
        found += more
    if client.reads not in found:
        told = f"{len(found)} bytes, {found[-300:]!r}, and no more"
        raise Cannot(f"{client.target} was answered {told}.")
