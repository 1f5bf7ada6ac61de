"""Which ingester is the writer: one at a time, and another one soon after it ends or hangs."""

import asyncio
import os
import socket
from collections.abc import Callable
from math import ceil
from uuid import uuid4

from app.process import birth, is_gone
from app.store.store import Store, StoreLost

LEASE_SECONDS = 6.0
"""A writer that has not committed for so long is dead, hung or cut off."""
MOST_LEASE_SECONDS = 30.0
"""Three of the longest ticks, and longer than all that is read at a start; one that lasts longer is
of another clock, or nobody's."""
LOOK_SECONDS = 1.0
EVICTION_SECONDS = 10.0
"""How often the writer looks whether its server has begun to throw things away."""


def own_name() -> str:
    """Ours among ingesters: the host, the process, its birth where that can be told, and what
    nobody else has."""
    parts = (socket.gethostname(), str(os.getpid()), birth(), uuid4().hex[:8])
    return "/".join(part for part in parts if part)


async def become_writer(
    store: Store, name: str, seconds: float, tick: float, complain: Callable[[str, bool], None]
) -> None:
    """Wait until the lease is ours, for so many seconds then.

    A writer that Redis has just forgotten takes its lease again with its next tick, and has in
    memory what Redis lost: who has seen another writer, or trouble, takes a free one only when
    it has been free for half as long again as a tick, in seconds.

    complain: is told why it waits, and whether something is wrong then.
    """
    patience = free = ceil(1.5 * tick / LOOK_SECONDS)
    while True:
        try:
            held = await holder(store)
            if not held and free >= patience and await store.take_lease(name, seconds):
                return
            if held == name:  # taken, but the answer was lost
                return
            free = 0 if held else free + 1
            if held:  # else all is well only when a commit says so
                complain(f"standing by: the ingester {held} is writing", False)
        except StoreLost as lost:
            free = 0
            complain(str(lost), True)
        await asyncio.sleep(LOOK_SECONDS)


class Eviction:
    """Whether the server throws away what it likes when it is full: it may have been set so since
    the lease was taken, or be another one by now."""

    def __init__(self, store: Store, elapsed: Callable[[], float]) -> None:
        self.store, self.elapsed = store, elapsed
        self.due = elapsed() + EVICTION_SECONDS
        """When it is looked at again; as long as it is so, each time."""

    async def refuse(self) -> None:
        """Raises StoreLost where it is so."""
        if self.elapsed() >= self.due:
            await self.store.refuse_eviction()
            self.due = self.elapsed() + EVICTION_SECONDS


async def holder(store: Store) -> str:
    """Who has the lease; a process that is proven to be no more has it no longer."""
    held = await store.writer()
    if held:
        await store.bound_lease(MOST_LEASE_SECONDS)
    if held and is_dead(held):
        await store.give_lease(held)
        return ""
    return held


def is_dead(writer: str) -> bool:
    """Whether an ingester, by its name, was a process of this machine that is no more.

    A host may have several PID namespaces (the containers of a pod), and a number may have been
    given to another process since: so its birth is looked at, too. Where nothing is proven, the
    lease has to run out.
    """
    host, process, born, *_ = [*writer.split("/"), "", "", ""]
    is_here = host == socket.gethostname() and process.isdecimal() and len(process) < 10
    return is_here and is_gone(int(process), born)
