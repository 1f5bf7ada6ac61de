"""Several web processes on one port: started, watched and ended together.

Each has listening sockets of its own on the same address, so that the kernel shares the
connections out among them; we hold these sockets too, so one that waits while a process is
started again is not refused. Each has a pipe from us: when we end, however we end, the kernel
closes it, and the process ends as if it had been told to.
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from app.retry import Backoff
from app.web import PACKAGE
from app.web.server import ServerConfig

log = logging.getLogger(__name__)

WORKED_SECONDS = 10.0
"""A process that ran so long had started well: when it ends, it is started again at once."""
END_SECONDS = 4.0
AS_TOLD = "ended as somebody told it to"
"""By a signal, in good order."""


async def run_workers(configs: Sequence[ServerConfig], stop: asyncio.Event, folder: Path) -> None:
    """Run a web process on the sockets of each config until told to stop; then end them all.

    folder: where each has a socket by which the others ask for its figures (worker_metrics.py).
    """
    async with asyncio.TaskGroup() as group:
        paths = [folder / f"{number}.sock" for number in range(1, len(configs) + 1)]
        pairs = zip(configs, paths, strict=True)
        watching = [group.create_task(watch(*each)) for each in pairs]
        await stop.wait()
        for task in watching:
            task.cancel()


async def watch(config: ServerConfig, path: Path) -> None:
    """Run one web process, again and again; when cancelled, end it."""
    backoff, loop = Backoff(first=0.25, longest=5.0), asyncio.get_running_loop()
    while True:
        begun = loop.time()
        fate = await run_one(config, path)
        if loop.time() - begun >= WORKED_SECONDS:
            backoff.reset()
        wait, level = backoff.next(), logging.INFO if fate == AS_TOLD else logging.ERROR
        log.log(level, "a web process %s: started again in %.1f s", fate, wait)
        await asyncio.sleep(wait)


async def run_one(config: ServerConfig, path: Path) -> str:
    """Run a web process to its end; what became of it."""
    try:
        process = await start(config, path)
    except OSError as error:  # no memory, too many processes: the others go on meanwhile
        return f"cannot be started ({error.strerror})"
    try:
        status = await process.wait()
        return f"ended with status {status}" if status else AS_TOLD
    finally:
        await end(process)


async def start(config: ServerConfig, path: Path) -> asyncio.subprocess.Process:
    sockets = [listener.fileno() for listener in config.listeners]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "app", "web", "--beside-parent", str(path),
        env=environment(os.environ, sockets),
        stdin=asyncio.subprocess.PIPE,
        pass_fds=sockets,
    )  # fmt: skip
    log.info("web process %d started", process.pid)
    return process


def environment(inherited: Mapping[str, str], sockets: Sequence[int]) -> dict[str, str]:
    """As ours is; the app is the one that we are, whatever the working folder has."""
    path = os.pathsep.join([str(PACKAGE.parent), *filter(None, [inherited.get("PYTHONPATH")])])
    bind = ",".join(f"fd://{number}" for number in sockets)
    return {**inherited, "PYTHONPATH": path, "BIND": bind}


async def end(process: asyncio.subprocess.Process) -> None:
    """End the process as a person would, and by force when it does not heed that."""
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(END_SECONDS):
            await process.wait()
    except TimeoutError:
        log.error("web process %d does not end: it is killed", process.pid)
        process.kill()
        await process.wait()
