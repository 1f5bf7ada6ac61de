"""Keeps a Redis-compatible server running, as a process of its own that ends with us.

A small shell stands between: it waits on a pipe whose other end only we hold, so when we
end, however we end, the kernel closes the pipe and the shell stops the server cleanly.
Both hold the folder's lock: it is free when the server is gone. When the server ends
before we do, the shell ends with it, and we start both again. The server keeps an
append-only file in its folder.
"""

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from redis.asyncio import Redis

from app.process import beside
from app.retry import Backoff
from app.store.connection import StoreLost, store_lost

log = logging.getLogger(__name__)

START_SECONDS = 10.0
LEAST_BYTES = 2**16
"""Less is no room to begin in."""

# The server ignores a hang-up and runs in a session of its own, so that Ctrl-C in the
# terminal reaches us first and the last commit still finds it.
SHELL = """
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


@asynccontextmanager
async def running(redis: Redis, server: str, folder: Path, lock: int) -> AsyncIterator[None]:
    """Run the server; start it again whenever it ends before the block does.

    Raises StoreLost when it does not start in the first place.
    """
    shell = await start(server, folder, lock)

    async def keep() -> None:
        nonlocal shell
        backoff = Backoff(first=0.1, longest=5.0)
        while True:
            await shell.wait()
            log.error("The embedded Redis ended (see %s/redis.log): it is started again", folder)
            close(shell)
            await asyncio.sleep(backoff.next())
            await gone(redis)
            try:
                shell = await start(server, folder, lock)
            except OSError as error:  # no process or memory to be had: the next try may have it
                log.error("The embedded Redis cannot be started: %s", error)

    try:
        await answering(redis, shell, folder)
        async with beside(keep(), "the keeping of the embedded Redis"):
            yield
    finally:
        close(shell)
        await asyncio.shield(shell.wait())


async def start(server: str, folder: Path, lock: int) -> asyncio.subprocess.Process:
    arguments = [word for name, value in CONFIG.items() for word in (f"--{name}", value)]
    return await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", SHELL, "hashtag-pulse-redis", server, *arguments,
        cwd=folder,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        pass_fds=[lock],
        start_new_session=True,
        umask=0o077,  # what it writes is for its owner alone
    )  # fmt: skip


async def answering(redis: Redis, shell: asyncio.subprocess.Process, folder: Path) -> None:
    """Return once the server answers; raises StoreLost when it ends or takes too long."""
    loop = asyncio.get_running_loop()
    end = loop.time() + START_SECONDS
    while loop.time() < end and shell.returncode is None:
        try:
            with store_lost():
                await redis.ping()
            return
        except StoreLost:
            await asyncio.sleep(0.02)
    if shutil.disk_usage(folder).free < LEAST_BYTES:
        raise StoreLost(f"The embedded Redis did not start: the disk of {folder} is full.")
    raise StoreLost(f"The embedded Redis did not start: its reasons are in {folder}/redis.log.")


def close(shell: asyncio.subprocess.Process) -> None:
    """Have the server stopped, by whatever is left of the shell."""
    assert shell.stdin
    shell.stdin.close()


async def gone(redis: Redis) -> None:
    """Return once no server answers: two would write to one file."""
    with suppress(StoreLost):
        while True:
            with store_lost():
                await redis.ping()
            await asyncio.sleep(0.1)
