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
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

import aiohttp
from servers import Event, events_of, eventually
from world import INGESTERS, WEBS, World, state

from app.store import StoreLost, store_lost

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
    "client kill pubsub": lambda world, name, hold: client_kill(world, name, "pubsub"),
    "client kill normal": lambda world, name, hold: client_kill(world, name, "normal"),
}
