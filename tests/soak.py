"""The soak: the whole line under a seeded schedule of faults, two of them at a time.

Two ingesters replay recordings through a Redis into two web processes with viewers, each
process through a Link of its own, while processes are killed and stopped, Redis comes back
from an older copy of its file or forgets everything, and connections are delayed, cut and
swallowed. Each fault returns the proof that it fired.
"""

import asyncio
import random
import shutil
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
from judge import Visit
from redis.exceptions import RedisError
from servers import events_of, eventually
from world import INGESTERS, WEBS, World, state

from app.store.connection import store_lost
from app.store.store import StoreLost

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
    ("wipe", ("redis",), 0.0),
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
    """Reads the stream of either web process, leaves it, and resumes at any of them.

    Between its visits it may choose other hashtags, among them such as nobody asked for before
    or nobody uses, with or without their past; or open the page anew.
    """

    def __init__(
        self, urls: list[str], tags: Sequence[str], others: Sequence[str], chance: random.Random
    ) -> None:
        self.urls, self.others, self.chance = urls, others, chance
        self.visits = [Visit(tags)]
        """Those that were let in, after one that never was."""
        self.newest = ""
        """The last event that its page has; its hashtags are those of the last visit."""
        self.refused: list[str] = []
        """Why it was not let in."""
        self.stays = False
        """Whether its next visit is its last one: who comes back with all that there is hears
        nothing before the next repeat, seconds later."""

    async def run(self) -> None:
        waits = aiohttp.ClientTimeout(total=None, sock_connect=3, sock_read=6)
        async with aiohttp.ClientSession(timeout=waits, read_bufsize=1 << 22) as session:
            while True:
                with suppress(aiohttp.ClientError, TimeoutError, OSError):
                    async with asyncio.timeout(None if self.stays else self.chance.uniform(1, 10)):
                        await self.watch(session, self.next_visit())
                await asyncio.sleep(self.chance.uniform(0, 0.5))

    def next_visit(self) -> Visit:
        """The same hashtags from the last event on, or whatever a page may want besides."""
        chance, before = self.chance, self.visits[-1].tags
        if not self.others or chance.random() < 0.3:
            return Visit(before, last_id=self.newest)
        some = chance.sample(self.others, chance.randint(1, 4))
        if not self.newest or chance.random() < 0.3:
            return Visit(some, history=chance.choice((0, 5, 60, 900)))
        tags = list(dict.fromkeys([*chance.sample(before, len(before) // 2), *some]))
        new = [tag for tag in tags if tag not in before]
        return Visit(tags, new if chance.random() < 0.7 else (), self.newest)

    async def watch(self, session: aiohttp.ClientSession, visit: Visit) -> None:
        url = f"{self.chance.choice(self.urls)}/events"
        async with session.get(url, **self.asking(visit)) as response:
            if response.status == 503 and response.headers["Retry-After"]:
                # of what nobody asked before, Redis alone can tell the total
                self.refused.append((await response.json())["error"])
                return
            assert response.status == 200, await response.text()
            self.visits.append(visit)
            self.newest = visit.last_id
            async for event in events_of(response.content):
                if event.data:
                    visit.events.append(event)
                    self.newest = event.id

    def asking(self, visit: Visit) -> dict[str, Any]:
        query, headers = {"tags": ",".join(visit.tags), "new": ",".join(visit.new)}, {}
        if visit.history:
            query["history"] = str(visit.history)
        if visit.last_id and self.chance.random() < 0.5:
            headers = {"Last-Event-ID": visit.last_id}
        elif visit.last_id:
            query["last_event_id"] = visit.last_id
        return {"params": query, "headers": headers}

    def has(self, truth: Mapping[str, int]) -> bool:
        """Whether its last event has the true totals."""
        visit = self.visits[-1]
        shown = visit.events[-1].data.get("counts") if visit.events else None
        return bool(shown == {tag: truth.get(tag, 0) for tag in visit.tags})


async def suffer(world: World, faults: list[Fault]) -> None:
    """One fault after the other; two of these run at a time over one list."""
    while faults:
        fault = faults.pop(0)
        await asyncio.sleep(fault.pause)
        busy = {fault.target, *(INGESTERS if "both" in fault.kind else ())}
        async with AsyncExitStack() as held:
            for name in sorted(busy):
                await held.enter_async_context(world.locks[name])
            proof = await FAULTS[fault.kind](world, fault.target, fault.hold)
        world.proofs.append(f"{fault.kind} {fault.target} {fault.hold:.1f} s: {proof}")


async def kill(world: World, name: str, hold: float) -> str:
    proof = world.end(name)
    await asyncio.sleep(hold)
    await world.start(name)
    return proof


async def stop(world: World, name: str, hold: float) -> str:
    process = world.processes[name]
    process.signal(signal.SIGSTOP)
    await eventually(lambda: state(process) == "T", "it is stopped")
    await asyncio.sleep(hold)
    assert state(process) == "T"
    process.signal(signal.SIGCONT)
    return f"process {process.popen.pid} was in state T"


async def cut(world: World, name: str, hold: float) -> str:
    cut = await eventually(world.links[name].cut, "there is a connection to cut", 40)
    return f"{cut} connections cut"


async def delay(world: World, name: str, hold: float) -> str:
    link, before = world.links[name], world.links[name].delayed
    link.delay = 0.05 + hold / 4
    await asyncio.sleep(hold)
    await eventually(lambda: link.delayed > before, "something was delayed", 40)
    proof = f"{link.delayed - before} bytes delayed by {link.delay:.2f} s"
    link.delay = 0.0
    return proof


async def drop(world: World, name: str, hold: float) -> str:
    link, before = world.links[name], world.links[name].dropped
    link.dropping = True
    await eventually(lambda: link.dropped > before, "a reply was dropped", 40)
    await asyncio.sleep(hold)
    link.cut()
    link.dropping = False
    return f"{link.dropped - before} bytes of replies dropped"


async def older(world: World, name: str, hold: float, also: tuple[str, ...] = ()) -> str:
    """Redis is killed, and comes back from the file that it had some ticks before."""
    file, copy = (world.folder / folder for folder in ("redis/appendonlydir", "copy"))
    shutil.copytree(file, copy)
    before = await world.newest()
    await eventually(lambda: is_past(world, before), "there is a tick to forget", 40)
    await asyncio.sleep(hold)
    for each in (*also, name):
        world.end(each)
    forgotten = world.folder / f"forgotten{len(world.proofs)}"
    shutil.copytree(file, forgotten / "appendonlydir")
    shutil.rmtree(file)
    copy.rename(file)
    ended = await world.read_forgotten(forgotten)
    await world.start(name)
    assert not await world.has(ended)
    for each in also:
        await world.start(each)
    return f"the log came back without its last tick {ended}"


async def wipe(world: World, name: str, hold: float) -> str:
    """Redis forgets everything, while all who use it live."""
    ended = await eventually(lambda: wiped(world), "it has something to forget", 40)
    assert not await world.has(ended)
    return f"all is forgotten, up to the tick {ended}"


async def wiped(world: World) -> str:
    with suppress(RedisError):  # another fault may have it just now
        return await world.wipe()
    return ""


async def is_past(world: World, id: str) -> bool:
    return await world.newest() > id


async def client_kill(world: World, name: str, kind: str) -> str:
    killed = 0

    async def kills() -> bool:
        nonlocal killed
        with suppress(StoreLost):
            async with world.store() as store:
                with store_lost():
                    killed = await store.redis.execute_command("CLIENT", "KILL", "TYPE", kind)
        return killed > 0

    await eventually(kills, "a client was killed", 40)
    return f"{killed} clients killed"


FAULTS: dict[str, Callable[[World, str, float], Awaitable[str]]] = {
    "kill": kill,
    "stop": stop,
    "cut": cut,
    "delay": delay,
    "drop": drop,
    "older": older,
    "older and both ingesters killed": lambda world, name, hold: older(
        world, name, hold, INGESTERS
    ),
    "wipe": wipe,
    "client kill pubsub": lambda world, name, hold: client_kill(world, name, "pubsub"),
    "client kill normal": lambda world, name, hold: client_kill(world, name, "normal"),
}
