"""One subscription and one log of recent ticks for all open pages.

A viewer (viewer.py) is a position in the log and nothing more: no queue, so one that reads
slowly costs an integer, not memory. Viewers that chose the same hashtags share a FanOut, where
each tick becomes bytes once. A tick costs by what changed in it and by who watches that.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing, suppress
from random import random
from typing import Any

from app.messages import UNKNOWN_PEOPLE, BySource, Tick, parse_id
from app.pace import Pace
from app.process import end_if_cancelled
from app.retry import Backoff
from app.sentences import Sentence
from app.store import keys
from app.store.store import Store, StoreLost
from app.web.fanout import REPEAT_SECONDS, FanOut
from app.web.freshness import Freshness
from app.web.gaps import Gap
from app.web.ticks import Head
from app.web.totals import READ_AT_ONCE, SharedReads, Totals
from app.web.turns import LongTurn
from app.web.watching import Watching

log = logging.getLogger(__name__)

BEAT_SECONDS, TIMER_SECONDS = 0.4, 0.75
"""Between two beats, at least and at most: they go with ticks where those come in time, as to wake
up for a beat alone costs a quarter of what a tick does."""
WAIT_SECONDS = 1.0
"""So long a request waits for the ticks to come as far as what was read from Redis."""
LEARN_TRIES = 3
"""So often the totals of a request's hashtags are read, while the log begins anew each time."""
BEGAN_ANEW = Sentence("The log of ticks began anew just now.")


class Feed(Watching):
    """What the web process knows, and how its viewers hear of it."""

    def __init__(
        self,
        seconds: float,
        tracked: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random,
    ) -> None:
        super().__init__(tracked, clock)
        self.seconds, self.chance = seconds, chance
        self.pace = Pace(seconds, "handing a tick to all viewers")
        self.due = float("-inf")
        """From when on the next tick is told, in seconds of the clock; later than now where an
        overload leaves ticks out: as many of them as it must, not every other one."""
        self.store: Store | None = None
        """None until we run."""
        self.group: asyncio.TaskGroup | None = None
        """Of all tasks of ours, likewise: a bug in one ends the process (process.beside)."""
        self.totals, self.shared_reads = Totals(), SharedReads(self.learn)
        self.is_read = self.loaded = self.closing = False
        """The log is read to its end; all that is watched is known, too; the process ends."""
        self.begun = 0
        """How often the log began anew."""
        self.news, self.unknown = asyncio.Event(), asyncio.Event()
        """Set, and replaced, when a tick came; set while something watched is to be read."""
        self.take_back: Callable[[Store], Awaitable[None]] | None = None
        """Where posts are shown, learns which were taken back. Raises StoreLost."""
        self.beaten = float("-inf")
        """When the last beat was, in seconds of the clock."""
        self.timer: asyncio.Timeout | None = None
        """Runs out, and makes a beat, where no tick has made one; None while none runs."""
        self.freshness = Freshness(seconds, clock)
        self.turn = LongTurn(clock)
        self.complain, self.why_not_ready = self.freshness.complain, self.freshness.why_not_ready

    async def run(self, store: Store) -> None:
        """Follow the store until cancelled, through every outage of it."""
        self.store = store
        async with asyncio.TaskGroup() as self.group:
            self.begin(self.repeat(), "repeat")
            self.begin(self.learn_again(), "learn again")
            self.begin(self.look_beside(store), "look beside")
            await self.follow(store)

    def begin(self, part: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        """Run a part beside the others, for as long as it takes."""
        assert self.group
        return self.group.create_task(part, name=name)

    async def follow(self, store: Store) -> None:
        """Take in every tick; come back when the store was lost."""
        backoff = Backoff(first=0.1, longest=2.0)
        while True:
            try:
                last = self.newest.id if self.newest else ""
                following = store.follow(last, silence=max(1.0, 3 * self.seconds))
                async with aclosing(following) as ticks:  # type: ignore[type-var]
                    async for tick in ticks:
                        backoff.reset()
                        self.complain("")
                        if tick and tick.taken_back and self.loaded and self.take_back:
                            with suppress(StoreLost):  # then it goes with a later one
                                await self.take_back(store)
                        if not self.hear(tick):
                            break  # and all of the log is read again
                        if tick is None:
                            await self.freshness.ask(store)
                        if self.loaded:  # after an outage many come at once: others get a turn
                            await self.turn.give()
            except StoreLost as lost:
                self.complain(str(lost), lost.public)
                await asyncio.sleep(backoff.next())

    def hear(self, tick: Tick | None) -> bool:
        """Take in the next tick; None says that all that Redis has is taken in.

        False where it does not follow what we have: the log began anew, or one that cannot be
        had is missing. Then all is forgotten, and the log is to be read again.
        """
        if tick is None:
            self.load()
            return True
        if self.newest and tick.previous != self.newest.id:
            if self.is_read:
                self.begin_anew()
                return False
            if not tick.previous:  # while we read, the log began anew once more
                self.begin_anew()
        seconds = max(tick.seconds, self.pace.lasts) if self.pace.is_stretched else tick.seconds
        now = self.clock()
        anew = self.ticks.hear(tick, seconds, now)
        self.shared.forget()
        self.past.forget()
        self.update(tick, anew)
        self.ring()
        if self.loaded:
            if self.freshness.come():
                self.ticks.concern_all()
                self.untold.update(self.order)
            self.tell_in_time()
            if self.clock() - self.beaten >= BEAT_SECONDS:
                self.beat()
        return True

    def ring(self) -> None:
        """Let those who wait for ticks look for theirs."""
        self.news, news = asyncio.Event(), self.news
        news.set()

    def update(self, tick: Tick, anew: set[str]) -> None:
        """Note what changed for those who watch it; anew: whose past is another one now."""
        for tag in (*tick.gone, *tick.counts):
            if watched := self.watched.get(tag):
                watched.totals = tick.counts.get(tag, {})
                line = self.ticks.lines.get(tag)
                watched.people = line.people if line else UNKNOWN_PEOPLE
                name = tick.names.get(tag, tag)
                if name != watched.name:
                    watched.rename(name)
                self.untold |= watched.fanouts
        head = self.ticks.heads[-1]
        if head.concerns_all:
            self.untold.update(self.order)
        if self.ticks.healed == head.number:
            for fanout in list(self.fanouts.values()):
                fanout.begin_anew()
        for tag in anew & self.watched.keys():
            for fanout in self.showing(tag):
                fanout.begin_anew()

    def begin_anew(self) -> None:
        """Forget all ticks; nobody is told anything until all that there are were read."""
        self.ticks.clear()
        self.past.clear()
        self.is_read = self.loaded = False
        self.begun += 1
        for watched in list(self.watched.values()):
            watched.totals, watched.people = None, UNKNOWN_PEOPLE

    def load(self) -> None:
        """The log is read to its end; what is watched and not in it has to be learnt."""
        self.is_read = True
        if self.loaded:
            return
        if self.store and self.not_known():
            self.unknown.set()
        else:
            self.settle()

    def settle(self) -> None:
        """All is known: what the viewers did not hear of until now is theirs, once."""
        self.loaded = True
        self.freshness.begin()
        self.ring()
        self.untold.clear()
        now = self.clock()
        for fanout in list(self.fanouts.values()):
            fanout.begin_anew()
            fanout.repeat(self.present, now)

    def tell_in_time(self) -> None:
        """Tell the newest tick; while that takes too long, not every tick."""
        head, begun = self.newest, self.clock()
        if head is None or begun < self.due:
            return
        for each in list(self.untold):
            fanout = each()
            if fanout and fanout.is_known:
                fanout.hear(head, begun)
                self.order.move_to_end(each)
        self.untold.clear()
        if news := self.pace.took(self.clock() - begun):
            log.warning("%s", news)
        lasts = self.pace.lasts if self.pace.is_stretched else 0.0
        self.due = max(self.due, begun - lasts) + lasts

    async def look_beside(self, store: Store) -> None:
        """After each tick, look for what goes with the next one beside the totals."""
        while True:
            news = self.news
            await self.extras.look(store, self.clock(), self.ticks, self.watched, self.untold)
            end_if_cancelled()
            await news.wait()

    async def repeat(self) -> None:
        """One timer for all viewers: whatever Redis does, they hear of us."""
        while True:
            try:
                async with asyncio.timeout(TIMER_SECONDS) as self.timer:
                    await asyncio.Event().wait()  # each beat puts the end off
            except TimeoutError:
                self.beat()
            finally:
                self.timer = None

    def beat(self) -> None:
        """Repeat what was not told for long, and see who can read again."""
        head, now = self.present if self.loaded else None, self.clock()
        self.beaten = now
        if self.timer and not self.timer.expired():
            self.timer.reschedule(asyncio.get_running_loop().time() + TIMER_SECONDS)
        for fanout in list(self.lagging):
            fanout.look_behind(now)
        while self.order:
            first = next(iter(self.order))
            found = first()
            if found and now - found.told_at < REPEAT_SECONDS:
                return
            self.order.move_to_end(first)
            if found:
                found.repeat(head, now)

    async def fanout(
        self, tags: Sequence[str], by_source: bool, extras: tuple[str, ...] = ()
    ) -> FanOut:
        """The same, with all of its totals. Raises StoreLost."""
        found = self.watch(tags, by_source, extras)
        for _ in range(LEARN_TRIES):
            await self.until(lambda: self.loaded)  # what is half read is not the present
            if found.is_known:
                return found
            await self.shared_reads.ask([each.tag for each in found.watched if each.totals is None])
        if not found.is_known:
            raise StoreLost(BEGAN_ANEW)
        return found

    async def learn(self, tags: Sequence[str]) -> None:
        """Read the totals of hashtags that are in none of our ticks; nothing is learnt where
        the log began anew meanwhile. Raises StoreLost."""
        assert self.store
        begun = self.begun
        tick, totals = await self.totals.read(self.store, tags)
        await self.until(lambda: self.has(tick))
        for tag in tags if begun == self.begun else ():
            watched = self.watched.get(tag)
            if watched and watched.totals is None:  # else a tick has told them meanwhile
                watched.totals, watched.people = totals[tag]

    async def learn_again(self) -> None:
        """Whenever the log began anew, read what is watched and not in it."""
        backoff = Backoff(first=0.1, longest=2.0)
        while True:
            await self.unknown.wait()
            try:
                if self.is_read and (unknown := self.not_known()):
                    await self.shared_reads.ask(unknown[:READ_AT_ONCE])
                    continue
            except StoreLost as lost:
                self.complain(str(lost), lost.public)
                await asyncio.sleep(backoff.next())
                continue
            backoff.reset()
            self.unknown.clear()
            if self.is_read and not self.loaded:
                self.settle()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for what a tick brings. Raises StoreLost when it does not come."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while not holds():
                    await self.news.wait()
        except TimeoutError:
            if holds():  # it came while the loop was busy with others
                return
            why = self.why_not_ready() or Sentence("The ticks lag behind Redis.")
            raise StoreLost(why) from None

    def has(self, id: str) -> bool:
        """Whether we have this tick or a later one. Raises StoreLost for what is no id."""
        try:
            return self.ticks.has(id)
        except ValueError as error:
            raise StoreLost(f"Redis: the tick in the Redis key {keys.STATE} is {error}.") from error

    @property
    def newest(self) -> Head | None:
        return self.ticks.newest

    @property
    def present(self) -> Head | None:
        """The newest tick, as it is to be told now."""
        return self.freshness.present(self.newest)

    def time(self) -> int:
        """Redis's clock, in milliseconds since 1970."""
        return self.freshness.time(self.newest)

    async def networks(self, store: Store) -> tuple[str, ...]:
        """Every source that ever counted, and those that do now. Raises StoreLost."""
        now = self.newest.sources if self.newest else {}
        return tuple(dict.fromkeys([*await self.totals.all_networks(store), *now]))

    def points(self, tag: str, begin_ms: int) -> list[tuple[int, BySource]]:
        """When the totals of a hashtag that is watched changed, in milliseconds since 1970:
        first those at the beginning, or where the log begins, then each change."""
        watched, head = self.watched.get(tag), self.newest
        if not watched or not head:
            return []
        found = self.ticks.points(tag, watched.totals or {}, begin_ms)
        return [(at, watched.split(totals, head.sources)) for at, totals in found]

    def gaps(self, begin_ms: int, end_ms: int) -> list[Gap]:
        """When nothing, or not everything, was counted."""
        return self.ticks.gaps(begin_ms, end_ms)

    def close(self) -> None:
        """End every stream, each with a time of its own for coming back."""
        self.closing = True
        for fanout in list(self.fanouts.values()):
            fanout.close()

    def is_ahead(self, id: str) -> bool:
        """Whether the id is of a tick that comes after all that we have."""
        try:
            return parse_id(id) > (parse_id(self.newest.id) if self.newest else (0, 0))
        except ValueError:
            return False

    def waited(self, position: int) -> float:
        """Seconds since the tick after this one came to us; 0 where none has."""
        following = self.ticks.head(position + 1)
        return self.clock() - following.came if following else 0.0
