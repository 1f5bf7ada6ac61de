"""A Redis that moves, over TLS: Sentinels and a cluster that ask for certificates and passwords, as
small as they can be; what else is true of them is in test_primary.py and test_primaries.py."""

import re
import shutil
from contextlib import ExitStack, aclosing
from pathlib import Path
from typing import Any

import pytest
from certificates import EVERY, authority, certificate
from conftest import missing
from primaries import HURRY, command
from redis.asyncio import Redis
from redis.exceptions import RedisError
from servers import ROOT, Process, RedisServer, eventually, free_port
from test_refusals import RIGHTS

from app.commands.check_redis import check_redis
from app.settings import read
from app.store.connection import connect
from app.store.embedded import named
from app.store.store import Store, StoreLost

USER = "pulse:pw@"
OPERATING = (ROOT / "docs" / "operating.md").read_text()
OF_CLUSTER, OF_SENTINEL = [
    text.split() for text in re.findall(r"`(\+(?:cluster|sentinel)\|[^`]+)`", OPERATING)
]
"""The rights that our user needs there, besides all others and alone."""
CLUSTERED = (
    "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--tls-cluster", "yes",
    "--cluster-announce-hostname", "localhost",
)  # fmt: skip
SENTINEL = """port 0
bind 127.0.0.1
tls-port {port}
tls-replication yes
tls-cert-file {folder}/server.pem
tls-key-file {folder}/server.key
tls-ca-cert-file {folder}/ca.pem
requirepass sesame
sentinel monitor pulse 127.0.0.1 {primary} 1
sentinel failover-timeout pulse 3000
"""


class Pair:
    """A primary and its replica, which take TLS and a client's certificate; and the files for it.

    Their other ports, without TLS, are for the test alone.
    """

    def __init__(self, folder: Path, ending: ExitStack, clustered: bool = False) -> None:
        self.folder, self.ending = folder / "certificates", ending
        authority(self.folder)
        certificate(self.folder, "server", hosts="DNS:localhost" if clustered else EVERY)
        certificate(self.folder, "client")
        authority(self.folder, "other")
        self.binary = shutil.which("redis-server") or missing("redis-server")
        self.secure = [free_port(), free_port()]
        self.buses = [str(free_port()), str(free_port())] if clustered else ["", ""]
        self.ports = [
            self.serve(folder / f"redis{port}", port, bus)
            for port, bus in zip(self.secure, self.buses, strict=True)
        ]

    def serve(self, folder: Path, port: int, bus: str) -> int:
        secure = (
            "--tls-port", str(port), "--tls-replication", "yes",
            "--tls-cert-file", f"{self.folder}/server.pem",
            "--tls-key-file", f"{self.folder}/server.key",
            "--tls-ca-cert-file", f"{self.folder}/ca.pem", "--repl-diskless-sync-delay", "0",
        )  # fmt: skip
        more = (*CLUSTERED, "--cluster-port", bus) if bus else ()
        return self.ending.enter_context(RedisServer(self.binary, folder, *secure, *more)).port

    async def allow(self, *rights: str) -> None:
        """Our user, on both: with the rights of docs/operating.md, and these."""
        for port in self.ports:
            await command(port, "ACL", "SETUSER", "pulse", "reset", *RIGHTS, *rights)

    async def is_complete(self) -> bool:
        """Whether the replica has all that the primary has."""
        about = await command(self.ports[0], "INFO", "replication")
        return about.get("slave0", {}).get("state") == "online"

    def opened(self, url: str, ca: str = "ca.pem", **more: str) -> Redis:
        files = {"CA": ca, "CERT": "client.pem", "KEY": "client.key"}
        chosen = {f"REDIS_{name}": f"{self.folder}/{file}" for name, file in files.items()}
        return named(read({"REDIS_URL": url, **chosen, **more}))


async def check_refused(pair: Pair, url: str, says: str, ca: str = "ca.pem") -> None:
    """This is why nothing can be read there; nobody but the owner is told an address. Who has not
    answered within a second has said nothing, and is asked again."""

    async def is_said() -> bool:
        redis = pair.opened(url, ca)
        with pytest.raises(StoreLost) as raised:
            await Store(redis).load()
        await redis.aclose()
        assert "127.0.0.1" not in raised.value.public
        return says in str(raised.value)

    await eventually(is_said, says)


async def follows(pair: Pair, redis: Redis, change: Any) -> None:
    """Of all that is asked, written and subscribed to: the replica has it from the change on."""
    store = Store(redis)

    async def is_well() -> bool:
        return all(each.works for each in await check_redis(store))

    await eventually(is_well, "the check finds no fault")
    assert await store.take_lease("a", 60)
    await eventually(pair.is_complete, "the replica has it")
    async with aclosing(store.follow("", silence=0.2)) as ticks:  # type: ignore[type-var]
        assert await anext(ticks) is None
        await change()
        with pytest.raises(StoreLost):
            for _ in range(200):
                assert await anext(ticks) is None

    async def is_written() -> bool:
        try:
            await store.give_lease("a")
            return await store.take_lease("b", 60)
        except StoreLost:
            return False

    await eventually(is_written, "the other one takes it")
    assert await command(pair.ports[1], "GET", "{hashtag}:lease") == b"b"
    role = await command(pair.ports[1], "ROLE")
    assert role[0] == b"master"
    await redis.aclose()


async def test_sentinels_with_tls_and_passwords(tmp_path: Path, ending: ExitStack) -> None:
    """Theirs is another password than that of Redis; each that is wrong is said."""
    pair = Pair(tmp_path, ending)
    await command(pair.ports[1], "REPLICAOF", "127.0.0.1", pair.secure[0])
    await pair.allow()
    port = free_port()
    conf = SENTINEL.format(port=port, folder=pair.folder, primary=pair.secure[0])
    (tmp_path / "sentinel.conf").write_text(conf)
    ending.enter_context(Process(pair.binary, "sentinel.conf", "--sentinel", cwd=tmp_path))
    files = {"ssl_ca_certs": "ca.pem", "ssl_certfile": "client.pem", "ssl_keyfile": "client.key"}
    sentinel = connect(
        f"rediss://:sesame@127.0.0.1:{port}",
        **{name: f"{pair.folder}/{file}" for name, file in files.items()},
    )
    ask: Any = sentinel.execute_command

    async def knows_both() -> bool:
        try:
            await ask("SENTINEL", "DEBUG", *HURRY)
            return (await ask("SENTINEL MASTER", "pulse"))["num-slaves"] == 1
        except (OSError, RedisError):
            return False

    await eventually(knows_both, "the Sentinel knows the replica")
    url = f"rediss+sentinel://{USER}127.0.0.1:{port}/pulse"
    await ask("ACL", "SETUSER", "me", "on", ">pw", *OF_SENTINEL)
    right = f"{url}?sentinel_username=me&sentinel_password=pw"
    redis = pair.opened(f"{url}?sentinel_password=sesame")
    assert (await Store(redis).load()).version == ""
    await redis.aclose()
    for wrong in ("", "?sentinel_password=wrong"):
        await check_refused(pair, url + wrong, "says where pulse is: it asks for a password")
    await check_refused(pair, right, "its certificate is not believed (self-signed", "other.pem")
    await follows(pair, pair.opened(right), lambda: ask("SENTINEL", "FAILOVER", "pulse"))
    await sentinel.aclose()


async def test_a_cluster_with_tls(tmp_path: Path, ending: ExitStack) -> None:
    """By the names of its nodes, of which alone their certificates are, and with the one right more
    that the user needs."""
    pair = Pair(tmp_path, ending, clustered=True)
    one, two = pair.ports
    await command(one, "CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    await command(two, "CLUSTER", "MEET", "127.0.0.1", pair.secure[0], pair.buses[0])
    id = (await command(one, "CLUSTER", "MYID")).decode()

    async def is_known() -> bool:
        nodes = await command(two, "CLUSTER NODES")
        return any(n["node_id"] == id and n["slots"] and n["hostname"] for n in nodes.values())

    await eventually(is_known, "they know each other")
    await command(two, "CLUSTER", "REPLICATE", id)
    await eventually(pair.is_complete, "the replica has all")

    async def is_up() -> bool:
        about = [await command(port, "CLUSTER", "INFO") for port in pair.ports]
        return all(re.search(r"cluster_state\W+ok", str(each)) for each in about)

    await eventually(is_up, "the cluster is up")
    url = f"rediss+cluster://{USER}localhost:{pair.secure[0]}"
    await pair.allow("-cluster|nodes")
    await check_refused(pair, url, "lacks the right +cluster|nodes")
    await pair.allow(*OF_CLUSTER)
    wrong = url.replace(USER, "pulse:wrong@")
    await check_refused(pair, wrong, "does not take the password of REDIS_URL")
    await check_refused(pair, url, "its certificate is not believed (self-signed", "other.pem")
    await follows(pair, pair.opened(url), lambda: command(two, "CLUSTER", "FAILOVER"))
