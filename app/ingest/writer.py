"""One commit: what is read for it, what is worked out, and what is written."""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from app.ingest.clock import JUMP, RedisClock
from app.ingest.counted_minutes import CountedMinutes, Pieces
from app.ingest.counter import Cut
from app.ingest.day_keys import KEPT_DAYS, DayKeys
from app.ingest.forgetting import Forgetting, Stale
from app.ingest.freezing import Freeze, Freezing
from app.ingest.ledger import Changes, Ledger, Pages
from app.ingest.people import People
from app.ingest.popular import Popular
from app.ingest.rollup import Rollup, Rollups
from app.ingest.spellings import Spellings
from app.messages import DAY, HOUR, MINUTE, SourceState, parse_id
from app.process import end_if_cancelled
from app.store import keys
from app.store.state import RECENT, Commit, State, Write
from app.store.store import Store, StoreLost

LOG_RECALL_SECONDS = 2.0
"""So long the log may be read at a start: nothing is stored meanwhile."""
MOST_STATES, STATES_EVERY = 60, 5 * MINUTE
"""So many changes of what the sources do are written to `states` as they come, then one in so many
milliseconds: whoever asks for the past reads them all, and a network may come and go each second.
Ticks tell of every change."""


@dataclass(frozen=True)
class Plan:
    """What one commit is about, before Redis is read for it."""

    cut: Cut
    """What was counted."""
    networks: tuple[str, ...]
    """Every source that ever counted, and those that run now."""
    sources: Mapping[str, SourceState]
    """What each source is doing."""
    spans: Pieces
    """In which minutes the sources were counted."""
    rollup: Rollup | None
    """An hour that is over."""
    freeze: Freeze | None
    """People of a day that is over."""
    stale: Stale
    """Hashtags that may be forgotten."""

    @property
    def hour(self) -> int:
        return self.cut.minute * MINUTE // HOUR

    @property
    def day(self) -> int:
        return self.cut.minute * MINUTE // DAY


class Writer:
    """Writes commits for the one ingester that has the lease."""

    def __init__(
        self,
        store: Store,
        tracked: Iterable[str],
        most: int,
        clock: RedisClock,
        name: str,
        people: People | None = None,
    ) -> None:
        self.store, self.clock, self.name = store, clock, name
        self.ledger = Ledger(tracked)
        self.counted = CountedMinutes(tracked)
        self.people = people or People(DayKeys())
        self.rollups, self.freezing = Rollups(tracked), Freezing()
        self.forgetting = Forgetting(tracked, most)
        self.spellings, self.popular = Spellings(tracked), Popular()
        self.logged, self.states = Logged(), StatesTold()
        self.stored_last = ""
        """The name of the last commit of which we heard that it is stored by the call itself."""
        self.log_anew = False
        """Whether the next commit begins the log anew: the dates in it are another clock's."""
        self.taken_back = False
        """Whether the next tick is to say that posts were taken back."""

    def begin(self, state: State, since: Mapping[str, int] | None = None) -> None:
        """Redis is as this says, by whomever.

        since: of sources of which something is lost, the minute from which on all is there.
        """
        self.counted.begin(since or {})
        self.rollups.begin()
        self.freezing.begin(0, ())
        self.states.last = state.states
        self.hear(state)

    async def recall(self, state: State) -> None:
        """Learn how hashtags are written from the ticks that came before us, of an hour at most;
        without them, or where they do not come soon, from the next posts on."""
        self.spellings.begin()
        self.popular = Popular()
        with suppress(StoreLost, TimeoutError):
            async with asyncio.timeout(LOG_RECALL_SECONDS):
                async for tick in self.store.log_after(f"{max(0, state.time - HOUR)}-0"):
                    self.spellings.recall(tick)
                    end_if_cancelled()

    def hear(self, state: State) -> None:
        """What time it is, and whether the log's ids are of this clock: after one of the future
        all that follow would be of the future, too. By another clock nothing was counted yet."""
        if self.clock.hear(state.time):
            self.log_anew = True
            self.counted.begin(dict.fromkeys(state.networks, self.clock.begun // MINUTE))
        if state.tick and parse_id(state.tick)[0] > state.time + JUMP:
            self.log_anew = True

    async def write(
        self,
        cut: Cut,
        believed: State,
        sources: Mapping[str, SourceState],
        seconds: float,
        lease: float,
        dropped: Iterable[str] = (),
        present: Sequence[Write] = (),
    ) -> State:
        """Store one tick, all of it or nothing; what is stored then.

        believed: what Redis should have; where it has something else, nothing is written.
        seconds: how long the tick lasts; lease: for how many seconds we are the writer;
        dropped: keys that are needed no more; present: what is made of
        the last ten minutes. Raises StoreLost.
        """
        minute = self.clock.now() // MINUTE
        # where a minute has just ended, all that came in this tick would be told as late
        here = cut if cut.minute == minute - 1 else cut.at(minute)
        plan = await self.plan(here, believed, sources)
        self.clock.ask()
        state, values = await self.store.read(self.wanted(plan))
        self.hear(state)
        if (state.version, state.commit) != (believed.version, believed.commit):
            return state
        if not 0 <= self.clock.now() // MINUTE - plan.cut.minute <= 1:  # by another clock
            return await self.write(cut, state, sources, seconds, lease, dropped, present)
        commit = self.worked_out(plan, state, Pages(values, plan.networks), seconds)
        commit.writes.extend([*present, *(Write("drop", key) for key in dropped)])
        self.clock.ask()
        stored = await self.store.commit(state, commit, self.name, lease)
        if stored.commit == cut.name:
            if commit.states:
                self.states.wrote(commit.states["sources"], self.clock.now())
            self.stored(plan, stored, len(commit.tick.encode()) + len(commit.people.encode()))
        return stored

    async def plan(self, cut: Cut, state: State, sources: Mapping[str, SourceState]) -> Plan:
        networks = tuple(dict.fromkeys([*state.networks, *sources, *cut.sources()]))
        hour = cut.minute * MINUTE // HOUR
        rollup = await self.rollups.next(self.store, state, networks, hour)
        freeze = await self.freezing.next(self.store, state, networks, hour // 24)
        stale = await self.forgetting.look(self.store, networks, hour, self.clock.now())
        spans = self.counted.spans(sources, cut.minute)
        return Plan(cut, networks, sources, spans, rollup, freeze, stale)

    def wanted(self, plan: Plan) -> dict[str, list[str]]:
        """The fields that the commit needs: key to names."""
        together: dict[str, set[str]] = {}
        parts = [
            self.ledger.wanted(plan.cut, plan.networks),
            self.counted.wanted(plan.spans),
            self.people.wanted(plan.cut, plan.day),
            plan.stale.wanted(plan.networks, plan.day),
            plan.rollup.wanted() if plan.rollup else {},
            plan.freeze.wanted() if plan.freeze else {},
        ]
        for part in parts:
            for key, names in part.items():
                together[key] = together[key] | names if key in together else names
        return {key: list(names) for key, names in together.items()}

    def worked_out(self, plan: Plan, state: State, pages: Pages, seconds: float) -> Commit:
        """All that is to be written, by what was read."""
        changes = self.ledger.enter(plan.cut, pages)
        self.counted.enter(plan.spans, pages)
        if plan.rollup:
            plan.rollup.enter(pages)
            self.popular.close(plan.rollup.hour, plan.rollup.most_used)
        people = self.people.enter(plan.cut, pages, state, plan.day, changes.added)
        if plan.freeze:
            plan.freeze.enter(pages)
        forgotten, gone = plan.stale.enter(pages, plan.networks, changes.added, plan.hour)
        now = self.clock.now()
        tick = self.tick(plan, pages, changes, people.day, gone, seconds, now)
        self.ledger.say(pages)
        told = msgspec.json.encode(plan.sources).decode()
        return Commit(
            name=plan.cut.name,
            tick=tick,
            state=fields_of_state(plan, state, told, people.prints),
            people=people.people,
            writes=[
                *pages.writes(),
                *people.writes,
                *forgotten,
                *marks(plan.cut, now),
                *self.popular.write(now / 1000, self.spellings.name_of),
            ],
            states={"sources": told} if self.log_anew or self.states.is_due(told, now) else {},
            oldest="" if self.log_anew else self.logged.oldest(now),
        )

    def tick(
        self,
        plan: Plan,
        pages: Pages,
        changes: Changes,
        day: int,
        gone: list[str],
        seconds: float,
        now: int,
    ) -> str:
        """What changed, as JSON; its ids are put before it when it is stored."""
        tick = {
            "at": now,
            "seconds": seconds,
            "counts": self.ledger.totals(pages, changes.added, plan.networks),
            "added": changes.added,
            "late": changes.late,
            "names": self.spellings.differing(changes.added),
            "day": day,
            "gone": gone,
            "sources": plan.sources,
            "taken_back": self.taken_back,
        }
        return msgspec.json.encode({name: part for name, part in tick.items() if part}).decode()

    def stored(self, plan: Plan, stored: State, size: int) -> None:
        """Redis has it now; size: bytes of its tick."""
        if self.log_anew:
            self.logged = Logged()
        self.stored_last = stored.commit
        self.logged.add(stored.tick, size)
        self.taken_back = False
        self.counted.stored(plan.spans)
        self.popular.count(plan.cut)
        if plan.freeze:
            self.freezing.stored(plan.freeze)
        self.log_anew = False
        self.hear(stored)


class Logged:
    """How much of the log is ours: it is bounded in bytes, and Redis cannot tell how long it is.

    Bound: the ticks of LOG_SECONDS, of at most LOG_BYTES together.
    """

    def __init__(self) -> None:
        self.ticks: deque[tuple[tuple[int, int], int]] = deque()
        """The id of each tick, and how many bytes it has."""
        self.size = 0
        self.cut = (0, 0)
        """What is before this id went before its time."""

    def add(self, id: str, size: int) -> None:
        self.ticks.append((parse_id(id), size))
        self.size += size
        while self.size > keys.LOG_BYTES and len(self.ticks) > 1:
            self.size -= self.ticks.popleft()[1]
            self.cut = self.ticks[0][0]

    def oldest(self, now: int) -> str:
        """The oldest id that the log is to keep; now: milliseconds since 1970."""
        begin = max(0, now - keys.LOG_SECONDS * 1000), 0
        while self.ticks and self.ticks[0][0] < begin:
            self.size -= self.ticks.popleft()[1]
        return "{}-{}".format(*max(begin, self.cut))


class StatesTold:
    """When the log of what the sources do may have one entry more."""

    def __init__(self) -> None:
        self.last = ""
        """What its last entry says, as JSON."""
        self.left, self.at = float(MOST_STATES), 0
        """How many more it might have when it was written last, in milliseconds since 1970."""

    def is_due(self, told: str, now: int) -> bool:
        """Whether this is news, and may be told."""
        return told != self.last and self.left_at(now) >= 1

    def left_at(self, now: int) -> float:
        return min(MOST_STATES, self.left + max(0, now - self.at) / STATES_EVERY)

    def wrote(self, told: str, now: int) -> None:
        """It has this entry now."""
        self.last, self.left, self.at = told, max(0.0, self.left_at(now) - 1), now


def fields_of_state(
    plan: Plan, state: State, told: str, prints: Mapping[int, str]
) -> dict[str, str]:
    """What the commit leaves in `state`."""
    moved = plan.rollup.hour if plan.rollup else max(state.moved, plan.hour - keys.HOUR_HOURS)
    moved = min(moved, plan.hour - 1)  # where Redis's clock was ahead for a while
    newest = plan.day - KEPT_DAYS
    frozen = plan.freeze.day if plan.freeze and plan.freeze.is_last else state.frozen
    frozen = min(max(frozen, plan.day - keys.PEOPLE_DAYS), newest)
    fields = {
        "schema": str(keys.SCHEMA),
        "version": f"{keys.SCHEMA}.{state.number + 1}",
        "recent": " ".join([*state.recent[1 - RECENT :], plan.cut.name]),
        "networks": " ".join(plan.networks),
        "moved": str(moved if state.moved else plan.hour - 1),
        "people": " ".join(f"{day}={found}" for day, found in prints.items()),
        "frozen": str(frozen if state.frozen else newest),
        "sources": told,
    }
    fields |= {f"cursor:{source}": cursor for source, cursor in plan.cut.cursors.items()}
    for source, minutes in plan.cut.marks.items():
        newest, before = max(minutes), state.seen.get(source, 0)
        # what is much later than this is another clock's
        newest = before if newest < before <= newest + keys.SEEN_MINUTES else newest
        fields[f"seen:{source}"] = str(newest)
    return fields


def marks(cut: Cut, now: int) -> list[Write]:
    """What was counted of sources that may bring it again."""
    ends = now // 1000 + keys.SEEN_LIFE
    return [
        Write("set", keys.seen(source, minute), values=sorted(found), ends=ends)
        for source, minutes in cut.marks.items()
        for minute, found in minutes.items()
    ]
