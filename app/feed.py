"""One subscription and one shared log of recent ticks for all open pages.

A viewer (app/viewer.py) is a position in the log and nothing more: no queue, so one that
reads slowly costs an integer, not memory. Viewers that chose the same hashtags share a
Selection, where each tick becomes bytes once.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Collection
from contextlib import aclosing
from dataclasses import replace
from random import random
from weakref import WeakValueDictionary

from app.late import with_past
from app.messages import Tick, parse_id
from app.pace import Pace
from app.retry import Backoff
from app.selection import Selection
from app.store import LOG_SECONDS, Store, StoreLost

log = logging.getLogger(__name__)

MOST_TICKS = 9001
"""As many as 15 minutes can have: the times in them are the word of a clock that may be wrong."""
TIMER_SECONDS = 0.5


class Feed:
    """What the web process knows, and how its viewers hear of it."""

    def __init__(
        self,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random,
    ) -> None:
        self.seconds, self.clock, self.chance = seconds, clock, chance
        self.pace = Pace(seconds, "handing a tick to all viewers")
        self.untold: set[str] = set()
        """The hashtags whose totals changed since the viewers were last told."""
        self.due = float("-inf")
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
            self.beat()

    def beat(self) -> None:
        for selection in list(self.selections.values()):
            selection.beat(self.newest, self.clock())

    async def follow(self, store: Store) -> None:
        """Take in every tick; come back when the store was lost."""
        backoff = Backoff(first=0.1, longest=2.0)
        while True:
            try:
                last = self.ticks[-1].id if self.ticks else ""
                following = store.follow(last, silence=max(1.0, 3 * self.seconds))
                async with aclosing(following) as ticks:  # type: ignore[type-var]
                    async for tick in ticks:
                        backoff.reset()
                        self.complain("")
                        self.hear(tick)
                        if self.loaded:  # after an outage many come at once: others get a turn
                            await asyncio.sleep(0)
            except StoreLost as lost:
                self.complain(str(lost))
                await asyncio.sleep(backoff.next())

    def hear(self, tick: Tick | None) -> None:
        """Take in the next tick; None says that all that Redis has is taken in."""
        if tick is None:
            return self.load()
        before = self.newest
        if self.pace.is_stretched:
            tick = replace(tick, seconds=self.pace.lasts)
        if before and begins_anew(before, tick):
            self.ticks.clear()
            self.arrived.clear()
            self.begin_anew()
        if tick.past:
            told = with_past(self.ticks, tick)
            self.arrived.extendleft([self.clock()] * (len(told) - len(self.ticks)))
            self.ticks = deque(told)
            self.begin_anew()
        self.keep(tick)
        self.heard = self.clock() if self.loaded else self.heard
        self.untold.update(changes(before, tick))
        if self.loaded and self.clock() >= self.due:
            self.tell(tick)

    def keep(self, tick: Tick) -> None:
        """Put the tick into the log, and out of it what is too old."""
        self.ticks.append(tick)
        self.arrived.append(self.clock())
        while self.ticks[0].at < tick.at - LOG_SECONDS * 1000 or len(self.ticks) > MOST_TICKS:
            self.ticks.popleft()
            self.arrived.popleft()

    def begin_anew(self) -> None:
        """What the viewers have leads to nothing that follows: each is to be told afresh."""
        for selection in list(self.selections.values()):
            selection.begin_anew()

    def load(self) -> None:
        """The log is read: what the viewers did not hear of until now is theirs."""
        if not self.loaded:
            self.loaded = True
            self.untold.clear()
            for selection in list(self.selections.values()):
                selection.wake()
            self.beat()

    def tell(self, tick: Tick) -> None:
        """Hand the tick to all viewers; while that takes too long, not every tick."""
        begun = self.clock()
        for selection in list(self.selections.values()):
            selection.hear(tick, self.untold, begun)
        self.untold.clear()
        if news := self.pace.took(self.clock() - begun):
            log.warning("%s", news)
        self.due = begun + self.pace.lasts if self.pace.is_stretched else begun

    @property
    def newest(self) -> Tick | None:
        return self.ticks[-1] if self.ticks else None

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
            selection.close()

    def selection(self, tags: tuple[str, ...], by_source: bool) -> Selection:
        """The selection of these hashtags, the same one for all who ask."""
        key = (tags, by_source)
        found = self.selections.get(key)
        if found is None:
            found = self.selections[key] = Selection(tags, by_source)
            found.told = self.clock()
            found.settled = self.ticks[-1].id if self.ticks else ""
        return found

    def is_ahead(self, id: str) -> bool:
        """Whether the id is of a tick that comes after all that we have."""
        if not id or not self.ticks:
            return bool(id)
        try:
            return parse_id(id) > parse_id(self.ticks[-1].id)
        except ValueError:
            return False

    def waited(self, id: str) -> float:
        """Seconds since the tick after this one came to us; 0 where none has."""
        missed = self.after(id)
        return self.clock() - self.arrived[-len(missed)] if missed else 0.0

    def after(self, id: str) -> list[Tick] | None:
        """The ticks after the one with this id, in order; None when the log does not have it,
        or when what came before one of these was told anew."""
        later: list[Tick] = []
        for tick in reversed(self.ticks):
            if tick.id == id:
                return later[::-1]
            if tick.past:
                return None
            later.append(tick)
        return None if id else later[::-1]


def begins_anew(before: Tick, tick: Tick) -> bool:
    """Whether the tick does not go on from the one before: Redis forgot something.

    Either a tick between the two cannot be had any more, or totals fell.
    """
    fell = any(total < before.counts.get(tag, 0) for tag, total in tick.counts.items())
    return fell or tick.previous != before.id


def changes(before: Tick | None, tick: Tick) -> Collection[str]:
    """The hashtags whose totals are not what they were in the tick before."""
    if before is None:
        return tick.counts.keys()
    return tick.counts.keys() ^ before.counts.keys() | {
        tag for tag, total in tick.counts.items() if total != before.counts.get(tag)
    }
