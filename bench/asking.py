"""How long a page waits for the past of a hashtag that nobody asked for before."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from redis.asyncio import Redis

from app.messages import HOUR
from app.store import keys
from bench.processes import Cannot
from bench.report import Report, say
from bench.ticks import NETWORK

A_SECOND = 100
CONNECTIONS = 30
"""Kept alive; each has one request at a time."""
DAY_HOURS = 24
WAIT_SECONDS = 30.0
Ask = Callable[[str], Awaitable[None]]


@dataclass
class Clients:
    """Connections to the web process, of which each request takes one that is free."""

    port: int
    free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(
        default_factory=asyncio.Queue
    )

    async def open(self) -> None:
        for _ in range(CONNECTIONS):
            self.free.put_nowait(await asyncio.open_connection("127.0.0.1", self.port))

    async def get(self, path: str) -> None:
        """Raises Cannot for an answer that is not 200."""
        reader, writer = connection = await self.free.get()
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n\r\n"
        writer.write(request.encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        _, found, length = head.partition("content-length:")
        body = await reader.readexactly(int(length.split()[0])) if found else b""
        if " 200 " not in head.splitlines()[0] or not body:
            raise Cannot(f"{path} answered {head.splitlines()[0]}: {body[:200]!r}")
        self.free.put_nowait(connection)

    def close(self) -> None:
        while not self.free.empty():
            self.free.get_nowait()[1].close()


def asking(report: Report, url: str, port: int, tags: Sequence[str], rounds: int) -> None:
    """Each of so many rounds asks for others of the hashtags, a hundred a second.

    The wait for a process that does nothing (/healthz), and the bare reading of the same 24
    fields, are measured in the same turns.
    """
    share = len(tags) // rounds
    waits = [asyncio.run(turn(url, port, tags[n * share : (n + 1) * share])) for n in range(rounds)]
    whole, idle, bare = zip(*waits, strict=True)
    what = f"24 hours of a hashtag, {A_SECOND} a second: 99 % within"
    report.add("every", what, "ms", whole)
    report.add("every", f"/healthz, {A_SECOND} a second: 99 % within", "ms", idle)
    report.add("every", "a bare pipeline of its 24 HGETs: 99 % within", "ms", bare)
    allowed = [3 * one + other for one, other in zip(idle, bare, strict=True)]
    report.ratio("every", "24 hours / (3 x /healthz + 24 HGETs)", whole, allowed, 1)


async def turn(url: str, port: int, tags: Sequence[str]) -> tuple[float, float, float]:
    """Milliseconds in which 99 % had their answer: the past, /healthz, and the bare reading."""
    clients, redis = Clients(port), Redis.from_url(url)
    await clients.open()
    hour = int(time.time() * 1000) // HOUR
    names = [keys.hour(hour - back, NETWORK) for back in range(DAY_HOURS)]

    async def read(tag: str) -> None:
        async with redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hget(name, tag)
            await pipe.execute()

    ways: list[Ask] = [
        lambda tag: clients.get(f"/api/history?tags={tag}&range=24h"),
        lambda tag: clients.get("/healthz"),
        read,
    ]
    found = [await slowest(way, tags) for way in ways]
    clients.close()
    await redis.aclose()
    say("asked: " + ", ".join(f"{each:.2f} ms" for each in found))
    return found[0], found[1], found[2]


async def slowest(ask: Ask, tags: Sequence[str]) -> float:
    """Milliseconds in which 99 % were answered, each asked at its time whatever the others do."""
    loop = asyncio.get_running_loop()
    begun, spent = loop.time(), []

    async def timed(tag: str, due: float) -> None:
        await asyncio.sleep(due - loop.time())
        asked = time.perf_counter()
        await ask(tag)
        spent.append(1000 * (time.perf_counter() - asked))

    async with asyncio.timeout(len(tags) / A_SECOND + WAIT_SECONDS):
        await asyncio.gather(*(timed(tag, begun + n / A_SECOND) for n, tag in enumerate(tags)))
    return sorted(spent)[int(0.99 * (len(spent) - 1))]
