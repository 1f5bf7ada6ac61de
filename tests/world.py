"""All the processes of a soak: two ingesters, a Redis, two web processes, and the links."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, Self

from judge import Ledger
from links import Link
from servers import App, Event, Process, RedisServer, eventually, viewing, wait_until
from stored import totals

from app.messages import Tick
from app.store.connection import store_lost
from app.store.keys import LOG, Past
from app.store.store import Store, StoreLost, connect

TICK = 0.1
INGESTERS, WEBS = ("ingest0", "ingest1"), ("web0", "web1")


class World:
    """Each can be started again at its port, and each reaches Redis through its own link."""

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
        role, folder, url = name.rstrip("01"), self.folder / name, self.url_of(name)
        return App(folder, role, port=port, REDIS_URL=url, TICK_SECONDS=TICK, **self.settings)

    def url_of(self, name: str) -> str:
        """Where this process believes Redis to be."""
        return self.links[name].url

    @asynccontextmanager
    async def store(self, port: int = 0) -> AsyncIterator[Store]:
        """Redis itself, past every link."""
        redis = connect(self.direct(port))
        try:
            yield Store(redis)
        finally:
            await redis.aclose()

    def direct(self, port: int) -> str:
        return f"redis://127.0.0.1:{port or self.ports['redis']}"

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

    async def has(self, id: str) -> bool:
        """Whether the log has this tick."""
        await self.newest()
        async with self.store() as store:
            return bool(await store.redis.xrange(LOG, id, id))

    async def remember(self, port: int = 0) -> None:
        """Write down every tick that we do not have yet."""
        async with self.store(port) as store:
            self.ledger.add(await store.ticks_after(self.ledger.newest))

    async def wipe(self) -> str:
        """Redis loses everything at once; the newest id of what it had, which is written down."""
        async with self.store() as store, store.redis.pipeline(transaction=True) as pipe:
            pipe.xrange(LOG, min=f"({self.ledger.newest}" if self.ledger.newest else "-")
            pipe.flushall()
            entries: Any = (await pipe.execute())[0]
        self.ledger.add(Tick.from_json(e[b"tick"], id.decode()) for id, e in entries)
        return self.ledger.newest

    async def totals(self) -> dict[str, int]:
        """Hashtag to total, as the totals of the sources have them."""
        async with self.store() as store:
            return await totals(store)

    async def past(self, kind: str) -> dict[str, dict[int, Past]]:
        """Hashtag to number to what the hours or days of this kind have of it."""
        found: dict[str, dict[int, Past]] = {}
        async with self.store() as store:
            for key in await store.redis.keys(f"[{{]hashtag[}}]:{kind}:*"):
                number = int(key.decode().split(":")[2])
                stored: Any = await store.redis.hgetall(key)
                for tag, value in stored.items():
                    found.setdefault(tag.decode(), {})[number] = Past.read(value)
        return found

    def end(self, name: str) -> str:
        process = self.processes[name]
        assert process.running, process.output
        kill(process)
        return f"process {process.popen.pid} ended by signal 9"

    async def read_forgotten(self, folder: Path) -> str:
        """Write down what the killed Redis had; the newest id of it."""
        keeps = ("--appendonly", "yes")
        server = await asyncio.to_thread(RedisServer, self.binary, folder, *keeps)
        with server:
            ended = await self.newest(server.port)
            await self.remember(server.port)
        return ended

    async def watch(self) -> None:
        """The most memory that each process ever had, in MiB; and the ticks, for as long as
        Redis has them."""
        for n in count(1):
            for name, process in self.processes.items():
                with suppress(OSError, IndexError):
                    pages = Path(f"/proc/{process.popen.pid}/statm").read_text().split()[1]
                    self.memory[name] = max(self.memory.get(name, 0), int(pages) // 256)
            if n % 40 == 0:
                with suppress(StoreLost):
                    await self.remember()
            await asyncio.sleep(0.5)


def state(process: Process) -> str:
    """The kernel's letter for what the process is doing: T is stopped."""
    try:
        return Path(f"/proc/{process.popen.pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def kill(process: Process) -> None:
    process.signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def stop(process: Process) -> None:
    process.signal(signal.SIGSTOP)
    wait_until(lambda: state(process) == "T", "it is stopped")


@asynccontextmanager
async def watched(web: App, seen: list[Event]) -> AsyncIterator[None]:
    """Read all that a viewer is sent meanwhile."""

    async def watch() -> None:
        async with viewing(f"{web.url}/events") as stream:
            async for event in stream:
                if event.data:
                    seen.append(event)

    task = asyncio.create_task(watch())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def write(file: Path, posts: int, milliseconds: int = 20) -> Path:
    """A recording of so many posts with #science, one after so long."""
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    times = (begin + timedelta(milliseconds=n * milliseconds) for n in range(posts))
    hashtags = {"hashtags": [{"start": 0, "end": 8, "tag": "science"}]}
    lines = (
        {"data": {"id": str(n), "created_at": at.isoformat(), "text": "x", "entities": hashtags}}
        for n, at in enumerate(times)
    )
    file.write_text("\n".join(json.dumps(line) for line in lines))
    return file
