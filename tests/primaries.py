"""Redis servers of which another becomes the primary: under Sentinels, and in a cluster."""

import asyncio
import re
import shutil
import signal
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from typing import Any, Self

from redis.asyncio import Redis
from redis.crc import key_slot
from redis.exceptions import RedisError
from servers import Process, RedisServer, eventually, free_port
from world import INGESTERS, WEBS, World, kill, stop

from app.store import keys
from app.store.store import connect

KEEPS = ("--appendonly", "yes", "--appendfsync", "always", "--repl-diskless-sync-delay", "0")
NAME = "pulse"
SENTINEL = f"""port {{port}}
bind 127.0.0.1
sentinel monitor {NAME} 127.0.0.1 {{primary}} 2
sentinel down-after-milliseconds {NAME} 1500
sentinel failover-timeout {NAME} 3000
"""
HURRY = ["INFO-PERIOD", "300", "PING-PERIOD", "100", "ASK-PERIOD", "100", "PUBLISH-PERIOD", "200"]
"""Milliseconds, where Sentinels have seconds."""
CLUSTERED = (
    "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf",
    "--cluster-node-timeout", "1500", "--cluster-replica-validity-factor", "0", "--cluster-port",
)  # fmt: skip
SLOT = key_slot(keys.PREFIX.encode())
SETSLOT = ("CLUSTER", "SETSLOT", SLOT)


@asynccontextmanager
async def asking(port: int) -> AsyncIterator[Redis]:
    redis = connect(f"redis://127.0.0.1:{port}")
    try:
        yield redis
    finally:
        await redis.aclose()


async def command(port: int, *parts: Any) -> Any:
    async with asking(port) as redis:
        return await redis.execute_command(*parts)


class Moving(World, ABC):
    """Two ingesters and two web processes before servers of which one is the primary."""

    url: str
    """What they have as REDIS_URL."""
    servers: dict[int, RedisServer]
    """By their ports."""

    async def __aenter__(self) -> Self:
        self.ending, self.closing, self.servers = ExitStack(), AsyncExitStack(), {}
        await self.begin()
        for name in (*INGESTERS, *WEBS):
            await self.start(name)
        return self

    @abstractmethod
    async def begin(self) -> None:
        """Start all that is Redis."""

    @abstractmethod
    async def primary(self) -> int:
        """The port of the server that all agree on; 0 where they do not."""

    async def replicas(self, primary: int) -> list[int]:
        """The ports of those that follow it, and have all that it had."""
        about = await command(primary, "INFO", "replication")
        found = [about.get(f"slave{n}", {}) for n in range(about["connected_slaves"])]
        return [int(one["port"]) for one in found if one["state"] == "online"]

    def url_of(self, name: str) -> str:
        return self.url

    def direct(self, port: int) -> str:
        return f"redis://127.0.0.1:{port}" if port else self.url

    async def serve(self, port: int, *options: str) -> RedisServer:
        """A server at this port, anew with what it had before."""
        folder = self.folder / f"redis{port}"
        server = await asyncio.to_thread(
            RedisServer, self.binary, folder, *KEEPS, *options, port=port
        )
        self.servers[port] = self.ending.enter_context(server)
        return server

    async def fail_over(self, also: str = "") -> str:
        """Kill the primary when it has ticks that no replica has; another one takes its place.

        also: a process of ours that is killed with it.
        """
        before = await eventually(self.primary, "all agree")
        others = [self.servers[port] for port in await self.replicas(before)]
        for each in others:
            stop(each)
        cut = await command(before, "CLIENT", "KILL", "TYPE", "replica")
        assert cut == len(others), "nothing reaches them any more"
        shared = await self.counted(before)
        await eventually(lambda: self.is_past(before, shared), "there is something to lose")
        kill(self.servers[before])
        if also:
            self.end(also)
        for each in others:
            each.signal(signal.SIGCONT)
        lost = await self.read_lost(before)

        async def is_another() -> bool:
            return await self.primary() not in (0, before)

        await eventually(is_another, "another is the primary", 40)
        after = await self.primary()
        assert await self.newest(after) and not await command(after, "XRANGE", keys.LOG, lost, lost)
        return f"{before} was killed with the tick {lost}, which its heir {after} never had"

    async def counted(self, port: int) -> bytes:
        """What the tracked hashtag's total is there."""
        return await command(port, "HGET", keys.totals("replay"), "science") or b""

    async def is_past(self, port: int, total: bytes) -> bool:
        return await self.counted(port) != total

    async def read_lost(self, port: int) -> str:
        """Write down the ticks of a server that was killed; the newest of them."""
        copy = self.folder / f"lost{len(self.logs)}-{port}"
        shutil.copytree(self.folder / f"redis{port}" / "appendonlydir", copy / "appendonlydir")
        return await self.read_forgotten(copy)


class Sentinels(Moving):
    """A primary with two replicas, and three Sentinels."""

    async def begin(self) -> None:
        ports = [free_port() for _ in range(3)]
        await self.serve(ports[0])
        for port in ports[1:]:
            await self.serve(port, "--replicaof", f"127.0.0.1 {ports[0]}")
        await eventually(lambda: self.has_replicas(ports[0]), "they have all")
        self.sentinels = [free_port() for _ in range(3)]
        for port in self.sentinels:
            await self.watch_over(port, ports[0])
        await eventually(self.know_all, "the Sentinels know each other, and the replicas")
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinels)
        self.url = f"redis+sentinel://{hosts}/{NAME}"

    async def has_replicas(self, primary: int) -> bool:
        return len(await self.replicas(primary)) == 2

    async def watch_over(self, port: int, primary: int) -> None:
        folder = self.folder / f"sentinel{port}"
        folder.mkdir()
        (folder / "sentinel.conf").write_text(SENTINEL.format(port=port, primary=primary))
        process = Process(self.binary, "sentinel.conf", "--sentinel", cwd=folder)
        self.ending.enter_context(process)

        async def hurries() -> bool:
            with suppress(RedisError):
                return bool(await command(port, "SENTINEL", "DEBUG", *HURRY))
            assert process.running, process.output
            return False

        await eventually(hurries, "it answers")

    async def know_all(self) -> bool:
        told = [await command(port, "SENTINEL MASTER", NAME) for port in self.sentinels]
        return all((one["num-slaves"], one["num-other-sentinels"]) == (2, 2) for one in told)

    async def primary(self) -> int:
        told = {
            (await command(port, "SENTINEL GET-MASTER-ADDR-BY-NAME", NAME))[1]
            for port in self.sentinels
        }
        return told.pop() if len(told) == 1 else 0

    async def restore(self) -> None:
        """Start who was killed, which takes itself for the primary until it is told otherwise."""
        for port, server in list(self.servers.items()):
            if not server.running:
                await self.serve(port)
        primary = await self.primary()
        await eventually(lambda: self.has_replicas(primary), "all follow", 40)
        await eventually(self.know_all, "the Sentinels know it")


class Cluster(Moving):
    """Three primaries, each with a replica."""

    async def begin(self) -> None:
        self.buses: dict[int, int] = {}
        ports = [free_port() for _ in range(6)]
        for number, port in enumerate(ports):
            await self.serve(port)
            await command(port, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for number, first in enumerate((0, 5461, 10923)):
            last = (5460, 10922, 16383)[number]
            await command(ports[number], "CLUSTER", "ADDSLOTSRANGE", first, last)
        for port in ports[1:]:
            bus = self.buses[port]
            await command(ports[0], "CLUSTER", "MEET", "127.0.0.1", port, bus)
        await eventually(lambda: self.all_know(6), "they know each other")
        for primary, replica in zip(ports[:3], ports[3:], strict=True):
            known = await self.nodes(replica)
            await command(replica, "CLUSTER", "REPLICATE", known[primary]["node_id"])
        await eventually(self.primary, "the cluster is up")
        owner = await self.primary()
        await eventually(lambda: self.replicas(owner), "its replica has all")
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports[:2])
        self.url = f"redis+cluster://{hosts}"

    async def serve(self, port: int, *options: str) -> RedisServer:
        bus = self.buses.setdefault(port, free_port())
        return await super().serve(port, *CLUSTERED, str(bus), *options)

    async def nodes(self, port: int) -> dict[int, Any]:
        """What this one knows of each, by its port."""
        told = await command(port, "CLUSTER NODES")
        return {int(address.rpartition(":")[2]): node for address, node in told.items()}

    async def all_know(self, number: int) -> bool:
        told = [await self.nodes(port) for port in self.servers]
        return all(len(one) == number and "handshake" not in str(one) for one in told)

    async def primary(self) -> int:
        living = [port for port, server in self.servers.items() if server.running]
        owners = set()
        for port in living:
            about = await command(port, "CLUSTER", "INFO")
            if not re.search(r"cluster_state\W+ok", str(about)):
                return 0
            owners |= {at for at, node in (await self.nodes(port)).items() if has_slot(node)}
        return owners.pop() if len(owners) == 1 else 0

    async def others(self) -> list[int]:
        """The primaries that have not our slot."""
        nodes = await self.nodes(await self.primary())
        return [
            port
            for port, node in nodes.items()
            if node["slots"] and not has_slot(node) and self.servers[port].running
        ]

    async def move_slot(self, complained: Callable[[], bool]) -> str:
        """To another primary; complained: whether ours noticed, half way through."""
        source = await eventually(self.primary, "all agree")
        target = (await self.others())[0]
        known = await self.nodes(source)
        await command(target, *SETSLOT, "IMPORTING", known[source]["node_id"])
        await command(source, *SETSLOT, "MIGRATING", known[target]["node_id"])
        await self.send_keys(source, target, keys.STATE)
        await eventually(complained, "they have noticed")
        rest = await command(source, "CLUSTER", "GETKEYSINSLOT", SLOT, 10_000)
        await self.send_keys(source, target, *rest)
        for port in (target, source, *known.keys() - {target, source}):
            if "master" in known[port]["flags"] and self.servers[port].running:
                await command(port, *SETSLOT, "NODE", known[target]["node_id"])
        assert not await command(source, "CLUSTER", "COUNTKEYSINSLOT", SLOT)

        async def is_moved() -> bool:
            return await self.primary() == target

        await eventually(is_moved, "all know it")
        return f"the state, then {len(rest)} keys went from {source} to {target}"

    async def send_keys(self, source: int, target: int, *names: str | bytes) -> None:
        await command(source, "MIGRATE", "127.0.0.1", target, "", 0, 5000, "KEYS", *names)


def has_slot(node: Any) -> bool:
    return any(int(span[0]) <= SLOT <= int(span[-1]) for span in node["slots"])
