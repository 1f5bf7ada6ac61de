"""What systemd is told of a process: that it works, that it still works, that it ends.

The protocol is sd_notify(3): a line in a datagram to the Unix socket that NOTIFY_SOCKET names.
Where it is not set, nothing is done.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from app.process import beside


@asynccontextmanager
async def supervised(stop: asyncio.Event) -> AsyncIterator[None]:
    """Within the block the process works; from when it is told to stop, it ends."""

    async def speak() -> None:  # in the loop that does the work: one that hangs says nothing
        tell("READY=1")
        seconds = watchdog_seconds()
        while not stop.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds or None):
                    await stop.wait()
            tell("STOPPING=1" if stop.is_set() else "WATCHDOG=1")

    async with beside(speak(), "what systemd is told"):
        yield


def tell(line: str) -> None:
    """Say this, if anybody listens; a supervisor that does not read holds nothing up."""
    name = os.environ.get("NOTIFY_SOCKET", "")
    address = f"\0{name[1:]}" if name.startswith("@") else name  # in Linux's abstract namespace
    if not name:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as opened:
        opened.setblocking(False)
        opened.sendto(line.encode(), address)


def watchdog_seconds() -> float:
    """How often we are to say that we still work: twice in the time that we are given; 0 where
    nobody asks us for it (sd_watchdog_enabled(3))."""
    micro, process = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    is_ours = not process or process == str(os.getpid())
    return int(micro) / 2e6 if is_ours and micro.isascii() and micro.isdecimal() else 0.0
