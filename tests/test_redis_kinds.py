"""A Redis of a kind that we cannot count on, or of which we need more than an address: TLS, a node
of a cluster, a Sentinel, a server that evicts, a full disk. One sentence each, and no traceback."""

import asyncio
import re
import shutil
import socket
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from certificates import authority, certificate, openssl
from conftest import missing
from servers import App, Process, RedisServer, eventually, free_port, get, wait_until
from test_ingest import Script, counted, ingesting
from test_refusals import as_user

from app.commands.check_redis import check_redis, redis_warnings
from app.ingest import lease
from app.ingest.lease import become_writer
from app.process import end_of
from app.settings import SettingsError, read
from app.store import connection
from app.store.connection import StoreLost
from app.store.embedded import find_server, named
from app.store.refusals import DISK, READ_ONLY, readable
from app.store.store import Store, connect

EVICTS = "its maxmemory-policy is allkeys-lru: it may throw totals away; set noeviction"
LRU = ("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")


async def said_by(redis: Any) -> StoreLost:
    """How reading the state fails."""
    with pytest.raises(StoreLost) as raised:
        await Store(redis).load()
    await redis.aclose()
    return raised.value


@pytest.fixture
def tls(tmp_path: Path, ending: ExitStack) -> tuple[str, Path]:
    """A server that wants a client's certificate, its URL, and the folder of the certificates."""
    folder = tmp_path / "certificates"
    ca = authority(folder)
    own, key = certificate(folder, "server", hosts="DNS:localhost")
    authority(folder, "other")
    port = free_port()
    options = ("--tls-port", str(port), "--tls-cert-file", str(own), "--tls-key-file", str(key))
    binary = shutil.which("redis-server") or missing("redis-server")
    ending.enter_context(
        RedisServer(binary, tmp_path / "redis", *options, "--tls-ca-cert-file", str(ca))
    )
    return f"rediss://localhost:{port}", folder


async def test_tls_with_certificates_of_ones_own(tls: tuple[str, Path]) -> None:
    """REDIS_CA, and REDIS_CERT with REDIS_KEY, which this server demands."""
    url, folder = tls
    certificate(folder, "client")
    files = {
        f"REDIS_{name}": str(folder / file)
        for name, file in (("CA", "ca.pem"), ("CERT", "client.pem"), ("KEY", "client.key"))
    }
    redis = named(read({"REDIS_URL": url, **files}))
    assert (await Store(redis).load()).version == ""
    await redis.aclose()


@pytest.mark.parametrize(
    ("host", "chosen", "says"),
    [
        ("localhost", {"CA": "other.pem"},
         r"its certificate is not believed \(.*(issuer|self-signed).*\): REDIS_CA is whose word .*"),
        ("127.0.0.1", {},
         r"its certificate is not believed \(IP address mismatch\): REDIS_URL must name it as .*"),
        ("localhost", {"CERT": "", "KEY": ""},
         "it asks for a certificate of ours: REDIS_CERT and REDIS_KEY"),
        ("localhost", {"CERT": "stranger.pem", "KEY": "stranger.key"},
         "it does not believe the certificate in REDIS_CERT"),
    ],
)  # fmt: skip
async def test_what_is_wrong_with_certificates_is_said(
    tls: tuple[str, Path], host: str, chosen: dict[str, str], says: str
) -> None:
    """By its reason, and with the setting; nobody but the owner is told more."""
    url, folder = tls
    certificate(folder, "stranger", "other")
    certificate(folder, "client")
    given = {"CA": "ca.pem", "CERT": "client.pem", "KEY": "client.key", **chosen}
    files = {f"REDIS_{name}": str(folder / file) for name, file in given.items() if file}
    url = url.replace("localhost", host)

    async def is_said() -> bool:
        lost = await said_by(named(read({"REDIS_URL": url, **files})))
        assert "localhost" not in lost.public
        return bool(re.fullmatch(f"Redis: {says}.", str(lost)))

    await eventually(is_said, says)  # a server that hangs up may do so before it says why


async def test_who_speaks_tls_and_who_does_not(
    tls: tuple[str, Path], redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked the other way, each is told from one that is away; no such port is one."""
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.5)
    plain = redis_server.url.replace("redis://", "rediss://")
    wants = tls[0].replace("rediss://", "redis://")
    for url, says in (
        (plain, "{} does not answer, or speaks no TLS (redis in REDIS_URL)."),
        (wants, "{} hangs up before it answers: it is just ending, or it wants TLS (rediss in REDIS_URL)."),
    ):  # fmt: skip
        lost = await said_by(connect(url))
        assert str(lost) == f"Redis: {says.format(url.partition('//')[2])}"
        assert lost.public == "Redis does not answer."


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Error 111 connecting to h:1. Connect call failed ('h', 1).",
         "no connection to h:1 (Connection refused)"),
        ("Error Multiple exceptions: [Errno 111] Connect call failed ('::1', 1, 0, 0), [Errno 113] "
         "Connect call failed ('127.0.0.1', 1) connecting to h:1.",
         "no connection to h:1 (Connection refused and No route to host)"),
        ("Error while reading from h:1 : (104, 'Connection reset by peer')",
         "Error while reading from h:1: Connection reset by peer"),
        ("", "ConnectionError"),
    ],
)  # fmt: skip
def test_what_redis_py_says_is_told_in_words(text: str, says: str) -> None:
    """A host of two addresses, such as localhost, was two tuples in a row."""
    assert readable(ConnectionError(text)) == says


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        ({"REDIS_CA": "/no.pem"}, "REDIS_CA='/no.pem': expected a file that can be read (No such"),
        ({"REDIS_CA": __file__}, "REDIS_CA: expected certificates, in PEM."),
        ({"REDIS_CERT": "/no.pem"}, "REDIS_CERT='/no.pem': expected a file that can be read (No"),
        ({"REDIS_CERT": __file__}, "REDIS_CERT and REDIS_KEY: expected a certificate and its own"),
        ({"REDIS_KEY": __file__}, "REDIS_CERT is not set: expected a file with our certificate"),
        (
            {"REDIS_URL": "redis://h", "REDIS_CA": "ca.pem"},
            "REDIS_CA, REDIS_CERT and REDIS_KEY are for a REDIS_URL of rediss://.",
        ),
    ],
)
def test_wrong_files_stop_the_start(chosen: dict[str, str], says: str) -> None:
    """They were "Error 2 connecting" once, again and again."""
    with pytest.raises(SettingsError) as raised:
        named(read({"REDIS_URL": "rediss://:hunter2@h", **chosen}))
    assert says in str(raised.value) and "hunter2" not in str(raised.value)


@pytest.mark.parametrize("form", ["-traditional", "pkcs8"])
def test_an_encrypted_key_stops_the_start(tmp_path: Path, form: str) -> None:
    """In both of the forms that OpenSSL writes: it asked for the passphrase, and waited for it."""
    authority(tmp_path, "ca")
    own, key = certificate(tmp_path, "client")
    locked = tmp_path / "locked.key"
    how = ["pkcs8", "-topk8"] if form == "pkcs8" else ["pkey", "-aes256", form]
    openssl(tmp_path, *how, "-passout", "pass:hunter2", "-in", str(key), "-out", str(locked))
    chosen = {"REDIS_URL": "rediss://h", "REDIS_CERT": str(own), "REDIS_KEY": str(locked)}
    with pytest.raises(SettingsError) as raised:
        named(read(chosen))
    expected = "its key is encrypted: expected one without a passphrase."
    assert str(raised.value) == f"REDIS_KEY={str(locked)!r}: {expected}"
    named(read(chosen | {"REDIS_URL": "rediss://h?ssl_password=hunter2"}))


async def test_a_node_of_a_cluster_that_has_not_our_keys_names_the_one_that_has(
    tmp_path: Path, ending: ExitStack, redis_binary: str
) -> None:
    """The owner reads its address; nobody else does. A node that is alone says what is wrong."""
    options = ("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-port")
    buses = (str(free_port()), str(free_port()))
    one, two = (
        ending.enter_context(RedisServer(redis_binary, tmp_path / bus, *options, bus))
        for bus in buses
    )
    assert str(await said_by(connect(one.url))) == "Redis: its cluster is down."
    redis = connect(two.url)
    slots = ("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
    await redis.execute_command(*slots)
    await redis.execute_command("CLUSTER", "MEET", "127.0.0.1", str(one.port), buses[0])
    asked = connect(one.url)

    async def is_up() -> bool:
        states = [await each.execute_command("CLUSTER", "INFO") for each in (asked, redis)]
        return all(re.search(r"cluster_state\W+ok", str(state)) for state in states)

    await eventually(is_up, "the cluster is up")
    lost = await said_by(asked)
    assert str(lost) == (
        "Redis: our keys are on another node of its cluster: REDIS_URL must be "
        f"redis+cluster://127.0.0.1:{two.port} (with TLS rediss+…), which follows them."
    )
    assert lost.public == "Redis refuses what it is asked."

    assert [f.sentence for f in await check_redis(Store(redis)) if not f.works] == []
    await redis.aclose()


async def test_a_sentinel_is_named(tmp_path: Path, ending: ExitStack, redis_binary: str) -> None:
    port = free_port()
    (tmp_path / "sentinel.conf").write_text(f"port {port}\nbind 127.0.0.1\n")
    command = (redis_binary, "sentinel.conf", "--sentinel")
    server = ending.enter_context(Process(*command, cwd=tmp_path))

    def answers() -> bool:
        with socket.socket() as opened:
            return opened.connect_ex(("127.0.0.1", port)) == 0

    await eventually(answers, f"it answers: {server.output}")
    assert "it is a Sentinel" in str(await said_by(connect(f"redis://127.0.0.1:{port}")))


async def test_a_server_that_evicts_is_not_counted_on(redis_server: RedisServer) -> None:
    """Unless the owner says so: then it is warned of. Where it cannot be full it does not matter."""
    redis = connect(redis_server.url)
    await redis.config_set("maxmemory-policy", "allkeys-lru")
    assert [each.works for each in await check_redis(Store(redis))].count(False) == 0
    await redis.config_set("maxmemory", "100mb")
    with pytest.raises(StoreLost) as raised:
        await Store(redis).take_lease("a", 5)
    assert str(raised.value) == f"Redis: {EVICTS} (or ALLOW_EVICTION=true)."
    failed = [each.sentence for each in await check_redis(Store(redis)) if not each.works]
    assert failed == [f"Redis: {EVICTS}."]
    allowed = Store(redis, may_evict=True)
    assert await allowed.take_lease("a", 5)
    assert all(each.works for each in await check_redis(allowed))
    assert any("as ALLOW_EVICTION allows" in each for each in await redis_warnings(allowed))
    await redis.aclose()


def test_the_ingester_waits_for_a_policy_that_it_can_count_on(
    start_app: Callable[..., App], tmp_path: Path, ending: ExitStack
) -> None:
    """It says so once, and so does the page; when the policy is mended, it begins."""
    server = ending.enter_context(RedisServer(find_server(), tmp_path / "redis", *LRU))
    app = start_app(REDIS_URL=server.url).started()
    wait_until(lambda: EVICTS in app.output, "it says so")

    def told() -> tuple[int, Any]:
        return asyncio.run(get(f"{app.url}/readyz"))

    wait_until(lambda: told() == (503, {"error": f"Redis: {EVICTS}."}), f"the page, too: {told()}")
    asyncio.run(mended(server))
    wait_until(lambda: told()[0] == 200, "it counts")
    assert app.output.count("maxmemory-policy is allkeys") == 1
    assert app.stop() == 0


class Looked(Store):
    """Counts how often it was asked who the writer is, and whether it evicts."""

    looks = evictions = 0

    async def refuse_eviction(self) -> None:
        self.evictions += 1
        await super().refuse_eviction()

    async def writer(self) -> str:
        self.looks += 1
        return await super().writer()


async def test_a_policy_that_is_set_while_it_counts_stops_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it is mended; then what was counted meanwhile is stored, once."""
    monkeypatch.setattr(lease, "EVICTION_SECONDS", 0.05)
    source, store = Script("a", True), Looked(store.redis)
    async with ingesting(store, source) as ingester:
        source.give(3)
        await counted(store, 3)
        await store.redis.config_set("maxmemory", "100mb")
        await store.redis.config_set("maxmemory-policy", "allkeys-lru")
        await eventually(lambda: EVICTS in ingester.trouble, "it is said")
        number, looked = (await store.load()).number, store.evictions
        source.give(4)
        await eventually(lambda: store.evictions > looked + 3, "it has looked again")
        assert (await store.load()).number == number
        await store.redis.config_set("maxmemory-policy", "noeviction")
        await counted(store, 7)


async def mended(server: RedisServer) -> None:
    async with connect(server.url) as redis:
        await redis.config_set("maxmemory-policy", "noeviction")


async def test_trouble_is_said_and_not_in_turns_that_all_is_well(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica lets nobody be the writer, look after look, and so it is for a user who may not
    write."""
    monkeypatch.setattr(lease, "LOOK_SECONDS", 0.01)
    async with as_user(redis_server, "-set") as reader:
        assert_steady(await complaints(reader.redis), "+set")
    redis = connect(redis_server.url)
    await redis.execute_command("REPLICAOF", "127.0.0.1", "1")
    assert_steady(await complaints(redis), READ_ONLY)
    await redis.aclose()


async def complaints(redis: Any) -> list[str]:
    """What is said in many looks."""
    store, said = Looked(redis), list[str]()
    waiting = asyncio.create_task(
        become_writer(store, "a", 5, 0.005, lambda told, _: said.append(told))
    )
    await eventually(lambda: store.looks >= 8, "it has looked often")
    await end_of(waiting)  # else its connection stays open
    return said


def assert_steady(said: list[str], reason: str) -> None:
    assert len(said) >= 2 and all(reason in each for each in said), said


async def test_a_disk_that_fails_is_the_reason_that_everybody_reads(
    tmp_path: Path, ending: ExitStack
) -> None:
    """Redis cannot save, and takes nothing more: the check, the ingester and `/readyz` say so, and
    do not ask for an ingester."""
    folder = tmp_path / "redis"
    server = ending.enter_context(RedisServer(find_server(), folder, "--save", "3600 1"))
    (folder / "dump.rdb" / "in the way").mkdir(parents=True)
    redis = connect(server.url)
    await redis.set("other", 1)
    await redis.bgsave()

    async def failed() -> bool:
        return (await redis.info())["rdb_last_bgsave_status"] == "err"

    await eventually(failed, "it could not save")
    refused = [each.sentence for each in await check_redis(Store(redis)) if not each.works]
    assert refused == [f"Redis: {DISK}."]
    app = ending.enter_context(App(tmp_path, REDIS_URL=server.url)).started()
    await eventually(lambda: f"Redis: {DISK}." in app.output, "the ingester says so")

    async def told() -> bool:
        return await get(f"{app.url}/readyz") == (503, {"error": f"Redis: {DISK}."})

    await eventually(told, "and so does the page")
    await redis.aclose()


def test_a_disk_that_is_full_at_the_first_start_is_one_sentence(
    tmp_path: Path, start_app: Callable[..., App]
) -> None:
    """A real one, where one can be had; there was a traceback."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(folder))
    if subprocess.run(mount, capture_output=True).returncode:
        missing("the right to make a small disk")
    try:
        (folder / "in the way").write_bytes(bytes(4096))
        app = start_app(DATA_FOLDER=folder / "data")
        assert app.wait() == 1
        assert "Traceback" not in app.output
        assert re.fullmatch(r"hashtag pulse: The .* No space left on device\.\n", app.output)
    finally:
        subprocess.run(("umount", str(folder)), check=True)
