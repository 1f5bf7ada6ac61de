"""What the sources did in the past, by `states` in Redis; pure, but for giving others a turn."""

import asyncio
import math
from collections.abc import Iterable, Mapping

import msgspec

from app.messages import SourceState
from app.store.store import StatesLog

STATES_AT_ONCE = 500
"""Entries that are decoded in one go."""

SourceLog = list[tuple[int, dict[str, SourceState]]]
"""Since when the sources, by name, did what; milliseconds since 1970."""

read_sources = msgspec.json.Decoder(dict[str, SourceState]).decode


async def read_seen(entries: StatesLog) -> SourceLog:
    """What the sources did, by what is stored of it."""
    seen = SourceLog()
    for n in range(0, len(entries), STATES_AT_ONCE):
        await asyncio.sleep(0)
        seen += read_states(entries[n : n + STATES_AT_ONCE])
    return seen


def read_states(entries: Iterable[tuple[int, Mapping[bytes, bytes]]]) -> SourceLog:
    """What the sources did; an entry that is not ours is passed over."""
    seen: SourceLog = []
    for at, entry in entries:
        try:
            seen.append((at, read_sources(entry.get(b"sources", b""))))
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            continue
    return seen


def complete_since(seen: SourceLog) -> dict[str, float]:
    """Since when each source has all of its network: since 0 for one that always said so, and
    infinity for one that has not."""
    since: dict[str, float] = {}
    for at, sources in seen:
        for name, state in sources.items():
            if not state.complete:
                since[name] = math.inf
            elif since.setdefault(name, 0) == math.inf:
                since[name] = at
    return since
