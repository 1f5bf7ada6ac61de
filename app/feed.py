"""One subscription and one shared log of recent ticks for all open pages.

A viewer is a position in the log and nothing more: no queue, so one that reads slowly
costs an integer, not memory. Viewers that chose the same hashtags share a Selection, where
each tick becomes bytes once. A viewer whose connection was blocked is handed the newest
totals when it can read again; any other gets every tick in which its totals changed.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from random import random
from weakref import WeakValueDictionary

from app import sse
from app.messages import Tick, parse_id
from app.retry import Backoff
from app.selection import Selection
from app.store import LOG_SECONDS, Store, StoreLost

log = logging.getLogger(__name__)

RETRY_MILLISECONDS = 2000
BLOCKED_SECONDS = 1.0
BEHIND_SECONDS = 3.0
"""So long a viewer waits for a tick that it has from another process and we do not have yet."""
TIMER_SECONDS = 0.5
STREAM_SECONDS = 3600
"""A stream ends after about so long, so that viewers spread over new web processes; each at
a time of its own, and a browser comes back by itself without missing a tick."""


class Feed:
    """What the web process knows, and how its viewers hear of it."""

    def __init__(
        self,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random,
    ) -> None:
        self.seconds, self.clock, self.chance = seconds, clock, chance
        self.ticks: deque[Tick] = deque()
        self.arrived: deque[float] = deque()
        """When each of the ticks came to us."""
        self.selections: WeakValueDictionary[object, Selection] = WeakValueDictionary()
        self.store: Store | None = None
        self.loaded = self.closing = False
        self.heard = float("-inf")
        self.trouble = ""

    async def run(self, store: Store) -> None:
        """Follow the store until cancelled, through every outage of it."""
        self.store = store
        async with asyncio.TaskGroup() as group:
            group.create_task(self.repeat(), name="repeat")
            await self.follow(store)

    async def repeat(self) -> None:
        """One timer for all viewers: whatever Redis does, they hear of us."""
        while True:
            await asyncio.sleep(TIMER_SECONDS)
            for selection in list(self.selections.values()):
                selection.hear(None, None, self.clock())

    async def follow(self, store: Store) -> None:
        """Take in every tick; come back when the store was lost."""
        backoff = Backoff(first=0.1, longest=2.0)
        while True:
            try:
                last = self.ticks[-1].id if self.ticks else ""
                async for tick in store.follow(last, silence=max(1.0, 3 * self.seconds)):
                    backoff.reset()
                    self.complain("")
                    self.hear(tick)
            except StoreLost as lost:
                self.complain(str(lost))
                await asyncio.sleep(backoff.next())

    def hear(self, tick: Tick | None) -> None:
        """Take in the next tick; None is a moment without one."""
        before = self.ticks[-1] if self.ticks else None
        if tick:
            if before and begins_anew(before, tick):
                self.ticks.clear()
                self.arrived.clear()
            self.ticks.append(tick)
            self.arrived.append(self.clock())
            while self.ticks[0].at < tick.at - LOG_SECONDS * 1000:
                self.ticks.popleft()
                self.arrived.popleft()
            self.heard = self.clock() if self.loaded else self.heard
        self.loaded = self.loaded or tick is None
        for selection in list(self.selections.values()):
            selection.hear(tick, before, self.clock())

    def complain(self, trouble: str) -> None:
        """Say what is wrong with the store once, and once that it is mended."""
        if trouble != self.trouble:
            log.warning("%s", trouble or "Redis is back; the missed ticks are read from its log")
        self.trouble = trouble

    def why_not_ready(self) -> str:
        """A sentence about why no ticks arrive, or nothing when they do."""
        silent = self.clock() - self.heard
        if silent < max(3.0, 6 * self.seconds):
            return ""
        if self.trouble:
            return self.trouble
        if self.heard == float("-inf"):
            return "No tick has come yet: is an ingester running?"
        return f"The last tick came {silent:.0f} s ago: is an ingester running?"

    def close(self) -> None:
        """End every stream, each with a time of its own for coming back."""
        self.closing = True
        for selection in list(self.selections.values()):
            selection.wake()

    def selection(self, tags: tuple[str, ...], by_source: bool) -> Selection:
        """The selection of these hashtags, the same one for all who ask."""
        key = (tags, by_source)
        found = self.selections.get(key)
        if found is None:
            found = self.selections[key] = Selection(tags, by_source)
            found.told = self.clock()
        return found

    async def stream(
        self, selection: Selection, last_id: str = "", history: float = 0
    ) -> AsyncIterator[bytes]:
        """What one viewer is sent, from its first byte to its last.

        last_id: the id of the last event it has, "" for none; history: seconds of past
        that it wants first. An id that the log does not have counts as too old, unless it is
        later than what we have: then another process was quicker, or we have just begun.
        """
        begun = self.clock()
        end = begun + STREAM_SECONDS * (0.75 + 0.5 * self.chance())
        position, owed, opening = last_id, False, sse.comment("resuming")
        if not self.is_ahead(last_id):
            position, opening = self.opening(selection, last_id, history)
        yield sse.retry(RETRY_MILLISECONDS) + opening
        while not self.closing and self.clock() < end:
            news = selection.news
            if self.clock() < begun + BEHIND_SECONDS and self.is_ahead(position):
                with suppress(TimeoutError):
                    async with asyncio.timeout(TIMER_SECONDS):
                        await news.wait()
                continue
            position, due = self.due(selection, position, history)
            if not due and owed:
                due = self.now(selection)
            owed = not due
            if due:
                yield due
                if self.is_slow(position):
                    position, owed = self.ticks[-1].id, True
            else:
                await news.wait()
        yield sse.retry(int(500 + 3500 * self.chance()))

    def opening(self, selection: Selection, last_id: str, history: float) -> tuple[str, bytes]:
        """Where a new viewer begins, and what it is sent first."""
        position = self.ticks[-1].id if self.ticks else ""
        missed = self.after(last_id) if last_id else None
        if missed is None:
            return position, self.anew(selection, history or (LOG_SECONDS if last_id else 0))
        return position, b"".join(selection.frame(tick) for tick in missed)

    def due(self, selection: Selection, position: str, history: float) -> tuple[str, bytes]:
        """Where a viewer at this position comes to, and what it is sent on the way."""
        if not self.ticks:
            return position, b""
        missed = self.after(position) if position else None
        newest = self.ticks[-1].id
        if missed is None:
            return newest, self.anew(selection, LOG_SECONDS if position else history)
        frames = [selection.frame(tick) for tick in missed if tick.id not in selection.quiet]
        return newest, b"".join(frames)

    def is_ahead(self, id: str) -> bool:
        """Whether the id is of a tick that comes after all that we have."""
        if not id or not self.ticks:
            return bool(id)
        try:
            return parse_id(id) > parse_id(self.ticks[-1].id)
        except ValueError:
            return False

    def is_slow(self, position: str) -> bool:
        """Whether the tick after this position came long ago, so that its viewer must be slow;
        had we ourselves been stopped, it would have come just now."""
        missed = self.after(position) or []
        came = self.arrived[-len(missed)] if missed else self.clock()
        return self.clock() - came > BLOCKED_SECONDS

    def anew(self, selection: Selection, seconds: float) -> bytes:
        """The past of so many seconds (0 for none), and the current totals."""
        past = selection.history(self.ticks, seconds) if seconds and self.ticks else b""
        return past + self.now(selection)

    def now(self, selection: Selection) -> bytes:
        return selection.frame(self.ticks[-1]) if self.ticks else sse.comment("no tick yet")

    def after(self, id: str) -> list[Tick] | None:
        """The ticks after the one with this id, in order; None when the log does not have it."""
        later: list[Tick] = []
        for tick in reversed(self.ticks):
            if tick.id == id:
                return later[::-1]
            later.append(tick)
        return None if id else later[::-1]


def begins_anew(before: Tick, tick: Tick) -> bool:
    """Whether the tick does not go on from the one before: Redis forgot something.

    Either a tick between the two cannot be had any more, or totals fell.
    """
    fell = any(total < before.counts.get(tag, 0) for tag, total in tick.counts.items())
    return fell or tick.previous != before.id
