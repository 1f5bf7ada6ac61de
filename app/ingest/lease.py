"""Which ingester is the writer: one at a time, and another one soon after it ends or hangs."""

import asyncio
import os
import socket
from collections.abc import Callable

from app.process import is_alive
from app.store.store import Store, StoreLost

LEASE_SECONDS = 6.0
"""A writer that has not committed for so long is dead, hung or cut off."""
LOOK_SECONDS = 1.0


async def become_writer(
    store: Store, name: str, seconds: float, complain: Callable[[str], None]
) -> None:
    """Wait until the lease is ours.

    A writer that Redis has just forgotten takes its lease again with its next tick: who
    has seen another writer, or trouble, lets one look go by before taking a free one.
    """
    free = 1
    while True:
        try:
            held = await holder(store)
            if not held and free and await store.take_lease(name, seconds):
                return
            if held == name:  # taken, but the answer was lost
                return
            free = 0 if held else free + 1
            complain(f"standing by: the ingester {held} is writing" if held else "")
        except StoreLost as lost:
            free = 0
            complain(str(lost))
        await asyncio.sleep(LOOK_SECONDS)


async def holder(store: Store) -> str:
    """Who has the lease; a process of this machine that is no more has it no longer."""
    held = await store.writer()
    if held and is_dead(held):
        await store.give_lease(held)
        return ""
    return held


def is_dead(writer: str) -> bool:
    """Whether an ingester, by its name, was a process of this machine that is no more."""
    host, _, rest = writer.partition("/")
    process = rest.partition("/")[0]
    if host != socket.gethostname() or not process.isdigit():
        return False
    return int(process) != os.getpid() and not is_alive(int(process))
