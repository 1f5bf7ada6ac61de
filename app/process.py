"""The end of a process: when it is to come, how its parts end, and what a bug of ours does."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

LAST_RESORT_SECONDS = 5
"""After the signal to stop, whatever hangs is left to the kernel."""
PROC = Path("/proc")
STATE, START = 0, 19
"""Which word of `stat` is what: a letter, Z and X for the dead; when it began."""
CANCEL_SECONDS = 1.0
"""Longer than a part needs to end, so that its last words are not cut."""


Begin = Callable[[Coroutine[Any, Any, None], str], "asyncio.Task[None]"]
"""Begins a task, of this name, in which a bug of ours ends the process."""


class CannotStart(Exception):
    """Something outside us is not as it must be; the message is one sentence."""


class Stop(asyncio.Event):
    """Set when we are to end; when that hangs, the kernel is left to do it."""

    def set(self) -> None:
        if not self.is_set():
            asyncio.get_running_loop().call_later(LAST_RESORT_SECONDS, os._exit, 1)
        super().set()


def stop_event() -> asyncio.Event:
    """Set by SIGTERM, Ctrl-C, or SIGHUP: a terminal that is closed, or an old habit of restarting
    servers; all of them end us in good order. A second Ctrl-C ends us at once.

    A second SIGTERM is usual and means no more than the first: make hands it on to us,
    when all of its process group was sent one already. An ignored SIGHUP (nohup) stays ignored.
    """
    stop = Stop()
    loop = asyncio.get_running_loop()

    def on_signal(number: signal.Signals) -> None:
        if stop.is_set() and number is signal.SIGINT:
            os._exit(1)
        stop.set()

    hangs_up = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    for number in (signal.SIGTERM, signal.SIGINT, *[signal.SIGHUP] * hangs_up):
        loop.add_signal_handler(number, on_signal, number)
    return stop


def stop_with_parent(stop: asyncio.Event) -> None:
    """Stop when the pipe from the parent, our standard input, is closed (app/workers.py)."""
    loop, pipe = asyncio.get_running_loop(), sys.stdin.fileno()

    def closed() -> None:
        loop.remove_reader(pipe)
        stop.set()

    loop.add_reader(pipe, closed)


@asynccontextmanager
async def beside(part: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """Run a part of the process beside the block, and end it with the block.

    A part that breaks is a bug of ours, and the one way in which that ends the process: it is
    logged, the process is told to stop as by a person, so that all else ends in good order,
    and the error is raised again at the end of the block.
    """
    task = begin(part, name)
    try:
        yield
    finally:
        await end_of(task)
        if not task.cancelled():
            task.result()


def begin(part: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
    """Begin a task that no block waits for; a bug in it is logged and stops the process, too."""
    task = asyncio.create_task(part, name=name)
    task.add_done_callback(stop_if_broken)
    return task


def stop_if_broken(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("%s broke", task.get_name(), exc_info=error)
        signal.raise_signal(signal.SIGTERM)


async def end_of(task: "asyncio.Task[Any]") -> None:
    """Cancel the task until it is done: before Python 3.12 a wait_for inside may swallow a
    cancel (python/cpython#86296), and so may redis-py while it writes."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=CANCEL_SECONDS)


def end_if_cancelled() -> None:
    """After a call of Redis: before Python 3.12 the wait_for inside may have swallowed a cancel
    (python/cpython#86296). Raises CancelledError for the task that runs."""
    if (this := asyncio.current_task()) and this.cancelling():
        raise asyncio.CancelledError


def birth() -> str:
    """Where and when this process began: "boot.namespace.moment", by which another process with
    its number is not taken for it; "" where the system does not tell (macOS).

    That is the kernel's boot id, the inode of the PID namespace, and clock ticks since boot
    (proc_sys_kernel(5), pid_namespaces(7), proc_pid_stat(5)).
    """
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip().replace("-", "")
        return f"{boot}.{(PROC / 'self/ns/pid').stat().st_ino}.{stat('self')[START]}"
    except OSError:
        return ""


def is_gone(process: int, born: str) -> bool:
    """Whether the process with this number and birth is no more: none has its number, or another
    one, or nothing is left of it but its number. False where that cannot be proven: of another
    kernel's or PID namespace's, nothing is known.
    """
    kernel, _, moment = born.rpartition(".")
    if not kernel or kernel != birth().rpartition(".")[0]:
        return False
    if not is_alive(process):
        return True
    try:
        if (PROC / "self").readlink() != Path(str(os.getpid())):
            return False  # /proc is of another namespace, where numbers are others
        found = stat(str(process))
    except OSError:
        return False
    return found[STATE] in "ZX" or found[START] != moment


def stat(process: str) -> list[str]:
    """What the kernel says of a process, from its state on: its name may hold anything."""
    return (PROC / process / "stat").read_text().rpartition(")")[2].split()


def is_alive(process: int) -> bool:
    """Whether there is a process of this number on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
