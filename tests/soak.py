"""The soak: the whole line under a seeded schedule of faults, two of them at a time.

Two ingesters replay recordings through a Redis into two web processes with viewers, each
process through a Link of its own, while processes are killed and stopped, Redis comes back
from an older copy of its file, and connections are delayed, cut and swallowed. Each fault
returns the proof that it fired.
"""

import asyncio
import random
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp
from judge import Ledger
from links import Link
from servers import App, Event, Process, RedisServer, events_of, eventually

from app.store import LOG, TOTALS, Store, StoreLost, connect, store_lost

TICK = 0.1
INGESTERS, WEBS = ("ingest0", "ingest1"), ("web0", "web1")
KINDS = (
    ("kill", INGESTERS, 2.0),
    ("stop", INGESTERS, 9.0),
    ("cut", INGESTERS, 0.0),
    ("delay", INGESTERS, 3.0),
    ("drop", INGESTERS, 3.0),
    ("kill", WEBS, 2.0),
    ("stop", WEBS, 4.0),
    ("cut", WEBS, 0.0),
    ("delay", WEBS, 3.0),
    ("drop", WEBS, 3.0),
    ("kill", ("redis",), 2.0),
    ("stop", ("redis",), 7.0),
    ("older", ("redis",), 3.0),
    ("older and both ingesters killed", ("redis",), 3.0),
    ("client kill pubsub", ("redis",), 0.0),
    ("client kill normal", ("redis",), 0.0),
)
"""What is done, to one of which, and for how many seconds at most."""


@dataclass(frozen=True)
class Fault:
    kind: str
    target: str
    hold: float
    pause: float


def schedule(seed: int, number: int) -> list[Fault]:
    """So many faults, every kind once before any comes again; the same for the same seed."""
    chance = random.Random(seed)
    faults: list[Fault] = []
    while len(faults) < number:
        for kind, targets, longest in chance.sample(KINDS, len(KINDS)):
            target, hold = chance.choice(targets), longest * chance.random()
            faults.append(Fault(kind, target, hold, chance.uniform(0, 1)))
    return faults[:number]


class Viewer:
    """Reads the stream of either web process, leaves it, and resumes at any of them."""

    def __init__(self, urls: list[str], tags: list[str], chance: random.Random) -> None:
        self.urls, self.tags, self.chance = urls, tags, chance
        self.events: list[Event] = []
        self.visits = 0

    async def run(self) -> None:
        waits = aiohttp.ClientTimeout(total=None, sock_connect=3, sock_read=6)
        async with aiohttp.ClientSession(timeout=waits, read_bufsize=1 << 22) as session:
            while True:
                with suppress(aiohttp.ClientError, TimeoutError, OSError):
                    async with asyncio.timeout(self.chance.uniform(1, 10)):
                        await self.watch(session)
                await asyncio.sleep(self.chance.uniform(0, 0.5))

    async def watch(self, session: aiohttp.ClientSession) -> None:
        url = f"{self.chance.choice(self.urls)}/events"
        query, headers = {"tags": ",".join(self.tags)}, {}
        if self.events and self.chance.random() < 0.5:
            headers = {"Last-Event-ID": self.events[-1].id}
        elif self.events:
            query["last_event_id"] = self.events[-1].id
        async with session.get(url, params=query, headers=headers) as response:
            assert response.status == 200, await response.text()
            self.visits += 1
            async for event in events_of(response.content):
                if event.data:
                    self.events.append(event)


class World:
    """All the processes of a soak, and what can be done to them."""

    def __init__(self, folder: Path, redis_binary: str, **settings: Any) -> None:
        self.folder, self.binary, self.settings = folder, redis_binary, settings
        self.ledger = Ledger()
        self.proofs: list[str] = []
        self.processes: dict[str, Process] = {}
        self.ports: dict[str, int] = {}
        self.links: dict[str, Link] = {}
        self.logs: list[Path] = []
        self.memory: dict[str, int] = {}
        self.locks = {name: asyncio.Lock() for name in ("redis", *INGESTERS, *WEBS)}

    async def __aenter__(self) -> Self:
        self.ending, self.closing = ExitStack(), AsyncExitStack()
        await self.start("redis")
        for name in (*INGESTERS, *WEBS):
            link = Link(self.ports["redis"])
            self.links[name] = await self.closing.enter_async_context(link)
            await self.start(name)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.ending.close()
        await self.closing.aclose()

    async def start(self, name: str) -> None:
        """Start it at the port that it had before."""
        process = await asyncio.to_thread(self.started, name, self.ports.get(name, 0))
        self.ports[name] = process.port
        self.processes[name] = self.ending.enter_context(process)
        self.logs.append(process.log)

    def started(self, name: str, port: int) -> RedisServer | App:
        if name == "redis":
            keeps = ("--appendonly", "yes", "--appendfsync", "always")
            return RedisServer(self.binary, self.folder / name, *keeps, port=port)
        url = self.links[name].url
        role, folder = name.rstrip("01"), self.folder / name
        return App(folder, role, port=port, REDIS_URL=url, TICK_SECONDS=TICK, **self.settings)

    @asynccontextmanager
    async def store(self, port: int = 0) -> AsyncIterator[Store]:
        """Redis itself, past every link."""
        redis = connect(f"redis://127.0.0.1:{port or self.ports['redis']}")
        try:
            yield Store(redis)
        finally:
            await redis.aclose()

    async def newest(self, port: int = 0) -> str:
        """The id of the newest tick in Redis, as soon as that answers."""
        found: list[str] = []

        async def answers() -> bool:
            with suppress(StoreLost):
                async with self.store(port) as store:
                    with store_lost():
                        entries: Any = await store.redis.xrevrange(LOG, count=1)
                    found.append(entries[0][0].decode() if entries else "")
            return bool(found)

        await eventually(answers, "Redis answers")
        return found[0]

    async def remember(self, port: int = 0) -> None:
        """Write down every tick that we do not have yet."""
        async with self.store(port) as store:
            self.ledger.add(await store.ticks_after(self.ledger.newest))

    async def totals(self) -> dict[str, int]:
        async with self.store() as store:
            stored: Mapping[bytes, bytes] = await store.redis.hgetall(TOTALS)
        return {tag.decode(): int(posts) for tag, posts in stored.items()}

    async def suffer(self, faults: list[Fault]) -> None:
        """One fault after the other; two of these run at a time over one list."""
        while faults:
            fault = faults.pop(0)
            await asyncio.sleep(fault.pause)
            busy = {fault.target, *(INGESTERS if "both" in fault.kind else ())}
            async with AsyncExitStack() as held:
                for name in sorted(busy):
                    await held.enter_async_context(self.locks[name])
                proof = await FAULTS[fault.kind](self, fault.target, fault.hold)
            self.proofs.append(f"{fault.kind} {fault.target} {fault.hold:.1f} s: {proof}")

    async def kill(self, name: str, hold: float) -> str:
        proof = self.end(name)
        await asyncio.sleep(hold)
        await self.start(name)
        return proof

    def end(self, name: str) -> str:
        process = self.processes[name]
        assert process.running, process.output
        process.signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        return f"process {process.popen.pid} ended by signal 9"

    async def stop(self, name: str, hold: float) -> str:
        process = self.processes[name]
        process.signal(signal.SIGSTOP)
        await eventually(lambda: state(process) == "T", "it is stopped")
        await asyncio.sleep(hold)
        assert state(process) == "T"
        process.signal(signal.SIGCONT)
        return f"process {process.popen.pid} was in state T"

    async def cut(self, name: str, hold: float) -> str:
        cut = await eventually(self.links[name].cut, "there is a connection to cut", 40)
        return f"{cut} connections cut"

    async def delay(self, name: str, hold: float) -> str:
        link, before = self.links[name], self.links[name].delayed
        link.delay = 0.05 + hold / 4
        await asyncio.sleep(hold)
        await eventually(lambda: link.delayed > before, "something was delayed", 40)
        proof = f"{link.delayed - before} bytes delayed by {link.delay:.2f} s"
        link.delay = 0.0
        return proof

    async def drop(self, name: str, hold: float) -> str:
        link, before = self.links[name], self.links[name].dropped
        link.dropping = True
        await eventually(lambda: link.dropped > before, "a reply was dropped", 40)
        await asyncio.sleep(hold)
        link.cut()
        link.dropping = False
        return f"{link.dropped - before} bytes of replies dropped"

    async def older(self, name: str, hold: float, kill: tuple[str, ...] = ()) -> str:
        """Redis is killed, and comes back from the file that it had some ticks before."""
        file, copy = (self.folder / folder for folder in ("redis/appendonlydir", "copy"))
        shutil.copytree(file, copy)
        before = await self.newest()
        await eventually(lambda: self.is_past(before), "there is a tick to forget", 40)
        await asyncio.sleep(hold)
        for each in (*kill, name):
            self.end(each)
        forgotten = self.folder / f"forgotten{len(self.proofs)}"
        shutil.copytree(file, forgotten / "appendonlydir")
        shutil.rmtree(file)
        copy.rename(file)
        ended = await self.read_forgotten(forgotten)
        await self.start(name)
        came_back = await self.newest()
        for each in kill:
            await self.start(each)
        assert came_back <= before < ended or kill
        return f"the log ended at {ended} and came back to {before} or before"

    async def is_past(self, id: str) -> bool:
        return await self.newest() > id

    async def read_forgotten(self, folder: Path) -> str:
        """Write down what the killed Redis had; the newest id of it."""
        keeps = ("--appendonly", "yes")
        server = await asyncio.to_thread(RedisServer, self.binary, folder, *keeps)
        with server:
            ended = await self.newest(server.port)
            await self.remember(server.port)
        return ended

    async def client_kill(self, name: str, kind: str) -> str:
        killed = 0

        async def kills() -> bool:
            nonlocal killed
            with suppress(StoreLost):
                async with self.store() as store:
                    with store_lost():
                        killed = await store.redis.execute_command("CLIENT", "KILL", "TYPE", kind)
            return killed > 0

        await eventually(kills, "a client was killed", 40)
        return f"{killed} clients killed"

    async def measure(self) -> None:
        """The most memory that each process ever had, in MiB."""
        while True:
            for name, process in self.processes.items():
                with suppress(OSError, IndexError):
                    pages = Path(f"/proc/{process.popen.pid}/statm").read_text().split()[1]
                    self.memory[name] = max(self.memory.get(name, 0), int(pages) // 256)
            await asyncio.sleep(0.5)


FAULTS: dict[str, Callable[[World, str, float], Awaitable[str]]] = {
    "kill": World.kill,
    "stop": World.stop,
    "cut": World.cut,
    "delay": World.delay,
    "drop": World.drop,
    "older": World.older,
    "older and both ingesters killed": lambda w, name, hold: w.older(name, hold, INGESTERS),
    "client kill pubsub": lambda world, name, hold: world.client_kill(name, "pubsub"),
    "client kill normal": lambda world, name, hold: world.client_kill(name, "normal"),
}


def state(process: Process) -> str:
    """The kernel's letter for what the process is doing: T is stopped."""
    try:
        return Path(f"/proc/{process.popen.pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def seconds_since(begun: float) -> float:
    return time.monotonic() - begun
