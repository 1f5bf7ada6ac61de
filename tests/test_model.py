"""Ledger, commits and reconciliation against a model, through every fault there is.

The model is a dictionary: which posts are in Redis, and the minute in which each is counted; and,
beside it, the authors of each day and hashtag (people_model.py), and the hours that are kept longer.
It says of each fault which of them are in Redis afterwards, and what is brought again.
"""

import asyncio
import logging
import os
from collections import Counter as Plain
from collections.abc import AsyncIterator, Container, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
import stored as past_our_code
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from people_model import Crowds, Hashed
from servers import RedisServer
from test_ingest import bring_back, copy

from app.ingest import ledger, people
from app.ingest.clock import RedisClock
from app.ingest.counter import Cut
from app.ingest.day_keys import DayKeys
from app.ingest.ingester import Ingester
from app.ingest.ledger import OLDEST_MINUTES, OLDEST_TRACKED_MINUTES
from app.ingest.people import People
from app.ingest.writer import Writer
from app.messages import DAY, HOUR, MINUTE, MinuteCount, Post, Tick
from app.settings import read
from app.sources import Source
from app.store import keys
from app.store.embedded import find_server
from app.store.state import State
from app.store.store import Store, StoreLost, connect

BEGIN = 4_102_444_800_000 + 50 * MINUTE
"""The year 2100, ten minutes before an hour ends: Redis's own clock forgets nothing of it."""
EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "130"))
STEPS = 40
PHASES = (Phase.generate, *[Phase.shrink] * ("MODEL_SHRINK" in os.environ))
"""Making a failure small takes minutes: that is for whoever looks for its cause."""
TRACKED, OTHERS = ("a", "b"), ("c", "d")
AUTHORS, FEW = ("", "1", "2", "3"), 3
"""Of each source; more of a hashtag than FEW are a crowd (it is 100 in truth)."""
EVENTS = {
    "read", "commit", "answer", "scan", "posts of the past", "minutes told", "restarted",
    "an hour ended with nobody there", "a day ended", "another clock", "older", "emptied",
    "a stranger", "forgotten", "moved", "a move was cut",
}  # fmt: skip
"""What is to happen at least once, or the rest proves nothing; the first four are what fails."""
ROUNDS = 10
"""So many times EXAMPLES at the most, until all of it has happened: a rare one may not in the first."""


class Still(Source):
    """A source whose posts the test hands over itself."""

    def __init__(self, name: str, complete: bool, goes_back: bool, start: bool) -> None:
        super().__init__(read({}), clock=lambda: 0.0)
        self.name, self.complete = name, complete  # type: ignore[misc]
        self.goes_back, self.goes_back_to_the_start = goes_back, start

    async def posts(self, cursor: str) -> AsyncIterator[Post]:
        raise AssertionError("nobody reads this source")
        yield


fired: "Plain[str]" = Plain()
"""How often each of EVENTS happened."""


class FaultyStore(Store):
    """Fails once where it is told to, and says that it is another time."""

    def __init__(self, redis: Any) -> None:
        super().__init__(redis)
        self.now = BEGIN
        self.fail, self.scans = "", 0
        """What fails, and after how many scans, where it is one of those."""
        self.told: list[Tick] = []
        """Every tick that was stored."""
        self.moved: list[int] = []
        """Every hour that was moved."""

    def trip(self, where: str) -> None:
        if self.fail == where:
            self.fail = ""
            fired[where] += 1
            raise StoreLost(f"no answer to a {where}")

    async def read(self, fields: Any) -> Any:
        self.trip("read")
        state, values = await super().read(fields)
        return replace(state, time=self.now), values

    async def commit(self, seen: State, commit: Any, *arguments: Any) -> State:
        self.trip("commit")
        state = await super().commit(seen, commit, *arguments)
        if state.commit == commit.name:
            self.told.append(Tick.from_json(commit.tick.replace("{", '{"previous":"",', 1), "1-1"))
            if 0 < seen.moved < int(commit.state["moved"]):
                self.moved.append(int(commit.state["moved"]))
        self.trip("answer")
        return replace(state, time=self.now)

    async def scan(self, *arguments: Any) -> Any:
        self.scans -= 1
        if self.scans < 0:
            self.trip("scan")
        return await super().scan(*arguments)


class Group:
    """What an ingester starts a source's reading with: here, the test reads it."""

    def __init__(self) -> None:
        self.begun: list[str] = []

    def create_task(self, reading: "Coroutine[Any, Any, None]", name: str) -> "Group":
        reading.close()
        self.begun.append(name)
        return self

    def cancel(self) -> None:
        pass


@dataclass
class Given:
    """A post, or some of a minute's. minute: 0 for the present one, until a tick takes it; hashed:
    its author, once it is cut."""

    source: str
    tag: str
    minute: int = 0
    past: bool = False
    author: str = ""
    hashed: Hashed | None = None
    is_cut: bool = False


@dataclass
class Copy:
    """Redis as it was, the names of its last commits, how many, which posts were in it, and whose;
    and which hashtags of which hours were kept longer."""

    data: dict[bytes, bytes] = field(default_factory=dict)
    names: frozenset[str] = frozenset()
    last: str = ""
    number: int = 0
    there: dict[int, int] = field(default_factory=dict)
    crowds: Crowds = field(default_factory=lambda: Crowds(DayKeys()))
    kept: frozenset[tuple[str, int]] = frozenset()


Made = tuple[int, str, list[int]]
"""When a commit was made (a minute), its name, and its posts."""
Of = tuple[str, str, int]
"""Source, hashtag, and the number of an hour or a day."""
Fields = dict[str, dict[Of, keys.Past]]
"""Kind of the past to what is in Redis of it."""


@dataclass
class Model:
    """crowds: the authors in Redis. given: all posts, by number. there: those in Redis, to the
    minute in which they count; prints: what Redis says of the days' keys since the last commit.
    waiting: those that are brought with the next tick; entered: such of them as were in Redis
    before an answer was lost. made: the commits that are remembered; again: such as are to be
    made again. kept: hashtags that are not tracked, and the hours of which they are kept longer."""

    crowds: Crowds
    given: list[Given] = field(default_factory=list)
    there: dict[int, int] = field(default_factory=dict)
    waiting: list[int] = field(default_factory=list)
    entered: set[int] = field(default_factory=set)
    made: list[Made] = field(default_factory=list)
    again: list[Made] = field(default_factory=list)
    prints: Mapping[int, str] = field(default_factory=dict)
    kept: frozenset[tuple[str, int]] = frozenset()

    def by_hour(self) -> frozenset[tuple[str, int]]:
        """Which hashtags have posts in which hours."""
        return frozenset((self.given[n].tag, at // 60) for n, at in self.there.items())

    def begin(self, now: int, name: str, again: Iterable[Made] = ()) -> None:
        self.made, self.again, self.entered = [(now, name, [])], list(again), set()

    def enter(self, posts: Iterable[int], now: int) -> None:
        """These are in Redis, if they were not before."""
        for n in posts:
            if n not in self.there and n not in self.entered:
                of = self.given[n]
                oldest = OLDEST_TRACKED_MINUTES if of.tag in TRACKED else OLDEST_MINUTES
                self.there[n] = of.minute if now - oldest <= of.minute <= now else now
                self.crowds.enter(of.tag, of.hashed, now, self.prints)

    def cut(self, now: int) -> None:
        """What waits and was not cut before is, in this minute."""
        for of in [self.given[n] for n in self.waiting]:
            if not of.is_cut:
                of.hashed = self.crowds.hashed(of.source, of.author, of.minute, now)
                of.is_cut = True

    def store(self, now: int, name: str) -> None:
        """What waited is in Redis, and remembered for 15 minutes."""
        again = [(now, made, posts) for _, made, posts in self.again]
        for _, _, posts in [*again, (now, name, self.waiting)]:
            self.enter(posts, now)
        self.made += [*again, (now, name, self.waiting)]
        self.waiting, self.again, self.entered = [], [], set()
        self.forget(now)

    def is_answered(self, now: int, name: str) -> None:
        """It is known by now that what was entered is in Redis."""
        self.made.append((now, name, [n for n in self.waiting if n in self.entered]))
        self.waiting = [n for n in self.waiting if n not in self.entered]
        self.entered = set()
        self.forget(now)

    def forget(self, now: int) -> None:
        while len(self.made) > 1 and self.made[0][0] < now - 15:
            self.made.pop(0)

    def becomes(self, is_now: Copy, now: int, older: bool) -> None:
        """Redis is this now: what it lacks is brought again, as far as that is remembered."""
        made = [*self.made, *self.again]
        known = [n for n, one in enumerate(made) if one[1] and one[1] in is_now.names]
        keep = known[-1] + 1 if known else 0 if older else len(self.made)
        self.there, self.crowds = dict(is_now.there), is_now.crowds.copy()
        self.kept = is_now.kept
        self.begin(now, is_now.last, made[keep:])

    def is_read_again(self, posts: Container[int]) -> None:
        """These come once more from their source."""
        self.waiting = [n for n in self.waiting if n not in posts]
        self.again = [(at, name, [n for n in of if n not in posts]) for at, name, of in self.again]


class Machine(RuleBasedStateMachine):
    """One ingester after the other in one Redis."""

    loop: asyncio.AbstractEventLoop
    redis: Any

    def run(self, doing: "Coroutine[Any, Any, Any]") -> Any:
        return self.loop.run_until_complete(doing)

    @initialize()
    def start(self) -> None:
        self.run(self.redis.flushall())
        self.store, self.up = FaultyStore(self.redis), 0.0
        self.day_keys = DayKeys(random=Random(0).randbytes)
        crowds = Crowds(self.day_keys)
        self.model, self.copies = Model(crowds), [Copy(crowds=crowds.copy())]
        self.went_back, self.newest, self.lost = False, 0, ""
        self.looked_through: frozenset[tuple[str, int]] | None = None
        """What was there when looking through an hour was cut."""
        self.restart()

    @property
    def now(self) -> int:
        """Redis's minute."""
        return self.store.now // MINUTE

    @rule()
    def restart(self) -> None:
        """After a kill -9: what was in memory is gone."""
        fired["restarted"] += 1
        if self.store.told and self.store.told[-1].at // HOUR < self.store.now // HOUR:
            fired["an hour ended with nobody there"] += 1
        self.looked_through = None
        self.sources = {
            "replay": Still("replay", True, True, True),
            "bluesky": Still("bluesky", True, True, False),
            "x": Still("x", False, False, False),
        }
        self.group: Any = Group()
        self.ingester = Ingester(
            list(self.sources.values()), self.store, TRACKED, 0.5,
            elapsed=lambda: self.up, day_keys=self.day_keys,
        )  # fmt: skip
        self.run(self.redis.delete(keys.LEASE))
        state = self.run(self.store.load())
        self.ingester.begin(state)
        self.ingester.writer.begin(state)
        self.model.begin(self.now, state.commit)
        self.model.waiting = []
        for source in self.sources.values():
            self.ingester.read(source, self.group)
        self.read_what_began()

    def read_what_began(self) -> None:
        """What the sources hand over that were begun, from their cursors on."""
        for name in self.group.begun:
            self.sources[name].say("live", unbroken_since=self.store.now / 1000 - 180)
            if name == "x":
                continue
            mine = [n for n, of in enumerate(self.model.given) if of.source == name]
            cursor = self.ingester.counter.cursors[name] or ("0" if name == "replay" else "")
            self.model.is_read_again(set(mine))
            for number in mine[int(cursor or len(mine)) :]:
                self.hand_over(number)
        self.group.begun.clear()

    def hand_over(self, number: int) -> None:
        of, counter = self.model.given[number], self.ingester.counter
        place = sum(one.source == of.source for one in self.model.given[: number + 1])
        source = self.sources[of.source]
        source.catching_up = of.past
        of.is_cut = False
        if not of.past:
            of.minute = counter.minute if counter.waited else 0
        cursor = "" if of.source == "x" else str(place)
        tags = {of.tag: of.tag.upper()}
        post = Post(of.source, str(number), of.minute * MINUTE, of.author, tags, cursor)
        self.ingester.take(source, post)
        if source.complete or of.tag in TRACKED:
            self.model.waiting.append(number)

    @rule(
        source=st.sampled_from(["replay", "bluesky", "x"]),
        tag=st.sampled_from(TRACKED + OTHERS),
        authors=st.lists(st.sampled_from(AUTHORS), min_size=1, max_size=3),
        ago=st.sampled_from([0, 0, 0, 0, 0, 3, 70, 1500, 47 * 60, 49 * 60, 10_000, -5]),
    )
    def give(self, source: str, tag: str, authors: list[str], ago: int) -> None:
        """Posts of now, and of minutes that are over."""
        for author in authors:
            minute = self.now - ago if ago else 0
            fired["posts of the past"] += ago > 0
            self.model.given.append(Given(source, tag, minute, bool(ago), author))
            self.hand_over(len(self.model.given) - 1)

    @rule(tag=st.sampled_from(TRACKED), ago=st.integers(1, 200), posts=st.integers(0, 3))
    def give_minute(self, tag: str, ago: int, posts: int) -> None:
        """A network tells a number."""
        fired["minutes told"] += 1
        minute = self.now - ago
        self.ingester.take(self.sources["x"], MinuteCount("x", tag, minute * MINUTE, posts))
        for _ in range(posts):
            self.model.given.append(Given("x", tag, minute, True))
            self.model.waiting.append(len(self.model.given) - 1)

    @rule(fail=st.sampled_from(["", "", "read", "commit", "scan"]), scans=st.integers(0, 5))
    def tick(self, fail: str, scans: int) -> None:
        """All is stored, or nothing; an hour that is moved may be looked through to its middle."""
        self.store.fail, self.store.scans = fail, scans
        before = self.model.by_hour()
        self.commit()
        self.store.fail, search = "", self.ingester.writer.rollups.search
        if search.hour and search.left:
            self.looked_through = self.looked_through_of(before)
            fired["a move was cut"] += len(search.left) < 2 * len(search.networks)

    @precondition(lambda self: not (self.ingester.commits.trying or self.ingester.commits.again))
    @rule()
    def tick_whose_answer_is_lost(self) -> None:
        """All is stored, and nobody knows."""
        self.store.fail = "answer"
        assert not self.commit()
        self.model.prints = self.run(self.store.load()).people
        self.model.enter(self.model.waiting, self.ingester.clock.now() // MINUTE)
        self.model.entered = set(self.model.waiting)
        self.lost = self.ingester.commits.trying.name

    def commit(self) -> bool:
        """One tick of the ingester, and what the model says of it."""
        told, ingester = len(self.store.told), self.ingester
        made, trying = ingester.commits.attempts, ingester.commits.trying
        done = self.run(ingester.commit(self.group)) and ingester.commits.attempts is made
        for number in self.model.waiting:
            of = self.model.given[number]
            of.minute = of.minute or ingester.counter.minute
        if not ingester.counter.waited:
            self.model.cut(ingester.counter.minute)
        self.note(told)
        is_done = ingester.commits.attempts is made and ingester.commits.trying is not trying
        if trying and trying.name == self.lost and is_done:
            self.model.is_answered(ingester.clock.now() // MINUTE, self.lost)
        if done:
            self.model.prints = ingester.commits.stored.people
            self.model.store(ingester.clock.now() // MINUTE, ingester.commits.stored.commit)
            self.run(self.compare_tick())
        self.read_what_began()
        self.run(self.expire())
        return bool(done)

    def looked_through_of(self, there: frozenset[tuple[str, int]]) -> frozenset[tuple[str, int]]:
        """What of this is found by whoever looks through the hour, wherever that was cut."""
        return there if self.looked_through is None else there & self.looked_through

    def note(self, told: int) -> None:
        """What the ticks after so many have moved, before what they count, and what is gone."""
        for hour in self.store.moved:
            there = self.looked_through_of(self.model.by_hour())
            self.model.kept |= {(tag, at) for tag, at in there if tag in OTHERS and at == hour}
            self.looked_through = None
            fired["moved"] += 1
        self.store.moved.clear()
        for tick in self.store.told[told:]:
            self.forget(tick)

    def forget(self, tick: Tick) -> None:
        """What is gone was not seen for 48 hours, and is not tracked."""
        hour, model = tick.at // MINUTE // 60, self.model
        for tag in tick.gone:
            seen = [at // 60 for n, at in model.there.items() if model.given[n].tag == tag]
            assert tag in OTHERS
            assert self.went_back or max(seen, default=0) < hour - 48
            for n in [n for n in model.there if model.given[n].tag == tag]:
                del model.there[n]
            model.kept = frozenset(of for of in model.kept if of[0] != tag)
            fired["forgotten"] += 1
            model.crowds.forget(tag, tick.at // MINUTE)

    async def expire(self) -> None:
        """Redis's own clock is far behind the one that it tells."""
        self.newest = hour = max(self.newest, self.now // 60)
        for key, (kind, number, _) in (await numbered(self.redis)).items():
            life = {"hour": 49, "kept": 8 * 24 + 1, "day": 400 * 24}[kind]
            if number * (24 if kind == "day" else 1) + life <= hour:
                await self.redis.delete(key)
        await self.model.crowds.expire(self.redis, hour)

    @rule(minutes=st.sampled_from([0.05, 0.5, 1, 1, 7, 16, 61, 5 * 60, 26 * 60, 50 * 60]))
    def time_passes(self, minutes: float) -> None:
        """Also over the ends of hours and days, with nobody there to see it."""
        fired["a day ended"] += self.store.now // DAY < (self.store.now + minutes * MINUTE) // DAY
        self.up += minutes * 60
        self.store.now += int(minutes * MINUTE)

    @rule(minutes=st.sampled_from([10, 600, -10, -200]))
    def redis_has_another_clock(self, minutes: int) -> None:
        fired["another clock"] += 1
        self.store.now += minutes * MINUTE
        self.went_back = self.went_back or minutes < 0

    @precondition(lambda self: not self.model.entered and len(self.copies) < 6)
    @rule()
    def copy(self) -> None:
        """Redis writes its file."""
        self.copies.append(self.run(self.as_it_is()))

    async def as_it_is(self) -> Copy:
        state = await self.store.load()
        names = frozenset({state.commit, *state.recent})
        there, crowds = dict(self.model.there), self.model.crowds.copy()
        data, kept = await copy(self.store), self.model.kept
        return Copy(data, names, state.commit, state.number, there, crowds, kept)

    @rule(which=st.integers(0, 5), stranger=st.booleans())
    def goes_back(self, which: int, stranger: bool) -> None:
        """Redis comes back as an older copy, or empty; and perhaps somebody else writes."""
        was = self.copies[which % len(self.copies)]
        self.run(bring_back(self.store, was.data))
        self.run(self.redis.delete(keys.LEASE))
        believed = self.ingester.commits.stored
        fired["older" if was.number else "emptied"] += was.number < believed.number
        if stranger or (was.number, was.last) != (believed.number, believed.commit):
            self.model.becomes(was, self.now, was.number + stranger < believed.number)
        else:  # as the ingester believes: at most a try is undone whose answer was lost
            self.model.there, self.model.entered = dict(was.there), set()
            self.model.crowds, self.model.kept = was.crowds.copy(), was.kept
        if stranger:
            self.stranger("x", "a")
        self.commit()

    @precondition(lambda self: not self.model.entered)
    @rule(tag=st.sampled_from(TRACKED + OTHERS))
    def somebody_else_writes(self, tag: str) -> None:
        is_now = self.run(self.as_it_is())
        self.model.becomes(is_now, self.now, older=False)
        self.stranger("x", tag)
        self.commit()

    def stranger(self, source: str, tag: str) -> None:
        """A commit that is not the ingester's."""
        told = len(self.store.told)
        fired["a stranger"] += 1
        name = self.run(self.write(source, tag))
        self.note(told)
        self.model.there[len(self.model.given)] = self.now
        self.model.given.append(Given(source, tag, self.now))
        self.model.begin(self.now, name, self.model.again)

    async def write(self, source: str, tag: str) -> str:
        clock = RedisClock(lambda: self.up)
        people = People(self.day_keys)
        writer = Writer(self.store, TRACKED, 10**6, clock, self.ingester.name, people)
        state = await self.store.load()
        writer.begin(state)
        cut = Cut(self.now, {source: {tag: 1}})
        assert (await writer.write(cut, state, {}, 0.5, 10)).commit == cut.name
        return cut.name

    @rule()
    def all_is_as_the_model_says(self) -> None:
        self.settle()
        self.run(self.compare())

    def settle(self) -> None:
        """Ticks until all is stored, and every hour that is over is moved."""
        for _ in range(60):
            if self.commit() and self.ingester.commits.stored.moved == self.now // 60 - 1:
                return
        raise AssertionError("it does not settle")

    async def compare_tick(self) -> None:
        """The people of what the newest tick changed."""
        [(id, fields)] = await self.redis.xrevrange(keys.LOG, count=1)
        tick = Tick.from_json(fields[b"tick"].decode(), id.decode())
        if tick.day:
            number = {tag: self.model.crowds.number(tick.day, tag) for tag in tick.counts}
            assert tick.people == number
        else:
            assert self.went_back, "the keys are the same for all"

    async def compare(self) -> None:
        frozen = self.ingester.commits.stored.frozen
        await self.model.crowds.compare(self.redis, frozen if not self.went_back else 0, TRACKED)
        model, hour = self.model, self.newest
        found = await past_our_code.totals_by_source(self.store)
        totals = {(s, t): n for t, parts in found.items() for s, n in parts.items() if n}
        where = [(model.given[n].source, model.given[n].tag, at) for n, at in model.there.items()]
        assert totals == Plain((source, tag) for source, tag, _ in where)
        tick = self.store.told[-1]
        for tag, parts in tick.counts.items():
            assert {s: n for s, n in parts.items() if n} == {
                s: n for (s, t), n in totals.items() if t == tag
            }
        fields = await all_fields(self.redis)
        recent = {of: past for of, past in fields["hour"].items() if of[2] > hour - 48}
        assert slots(recent, 60) == Plain(of for of in where if of[2] // 60 > hour - 48)
        kept = {
            of: past
            for of, past in fields["kept"].items()
            if of[1] in TRACKED and of[2] > hour - 7 * 24
        }
        tracked = [of for of in where if of[1] in TRACKED]
        assert slots(kept, 60) == Plain(of for of in tracked if of[2] // 60 > hour - 7 * 24)
        days = {of: past for of, past in fields["day"].items() if of[1] in TRACKED}
        assert slots(days, 24) == Plain((source, tag, at // 60) for source, tag, at in tracked)
        for of, past in recent.items():
            if of[2] != self.now // 60:  # where the clock went back into it, it is not over
                self.compare_kept(of, past, fields)
        if not self.went_back:
            check_chain(recent, totals)
            check_chain(kept, totals)

    def compare_kept(self, of: Of, past: keys.Past, fields: Fields) -> None:
        """An hour that is over, and what is kept of it for longer."""
        source, tag, hour = of
        is_kept = (tag, hour) in self.model.kept
        assert fields["kept"].get(of, None if is_kept else past) == past
        if is_kept:
            of_day = fields["day"][source, tag, hour // 24]
            assert of_day.slots[hour % 24] == sum(past.slots.values())

    def teardown(self) -> None:
        if hasattr(self, "ingester"):
            self.all_is_as_the_model_says()


async def numbered(redis: Any) -> dict[str, tuple[str, int, str]]:
    """The keys of hours and days: kind, number, source."""
    names = [key.decode() for key in await redis.keys()]
    parts = {name: name.split(":") for name in names}
    return {
        name: (of[1], int(of[2]), of[3])
        for name, of in parts.items()
        if of[1] in ("hour", "kept", "day")
    }


async def all_fields(redis: Any) -> Fields:
    """All of the past that is in Redis."""
    found: Fields = {"hour": {}, "kept": {}, "day": {}}
    for key, (kind, number, source) in (await numbered(redis)).items():
        for name, value in (await redis.hgetall(key)).items():
            if name and source != "people":
                found[kind][source, name.decode(), number] = keys.Past.read(value)
    return found


def slots(fields: dict[Of, keys.Past], of_one: int) -> "Plain[Of]":
    """Source, hashtag and minute (or hour) to posts."""
    return Plain(
        {
            (source, tag, number * of_one + slot): posts
            for (source, tag, number), past in fields.items()
            for slot, posts in past.slots.items()
        }
    )


def check_chain(fields: dict[Of, keys.Past], totals: dict[tuple[str, str], int]) -> None:
    """What a field has at its end, less its posts, is what the one before it has; the last one
    has the total."""
    for source, tag in {of[:2] for of in fields}:
        mine = [past for of, past in sorted(fields.items()) if of[:2] == (source, tag)]
        for earlier, later in pairwise(mine):
            assert later.total - sum(later.slots.values()) == earlier.total
        assert mine[-1].total == totals.get((source, tag), 0)


@pytest.fixture
def redis_for_all(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(find_server(), tmp_path / "redis") as server:
        yield server


def test_every_fault_against_the_model(
    redis_for_all: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Increments of now and of the past, their authors, lost answers, older copies, an empty Redis,
    strangers, forgetting, ends of hours and days, restarts, moves that are cut, clocks that jump."""
    monkeypatch.setattr(keys, "FEW", FEW)
    monkeypatch.setattr(people, "FEW", FEW)
    monkeypatch.setattr(people, "MOST_BYTES", FEW * keys.AUTHOR_BYTES)
    monkeypatch.setattr(ledger, "MANY", 1)
    logging.disable(logging.WARNING)
    Machine.loop = asyncio.new_event_loop()
    Machine.redis = connect(redis_for_all.url)
    try:
        for _ in range(ROUNDS):
            run_state_machine_as_test(
                Machine,
                settings=settings(
                    max_examples=EXAMPLES,
                    stateful_step_count=STEPS,
                    database=None,
                    derandomize=False,  # as Hypothesis has it in CI: each round would be the first
                    print_blob=True,
                    phases=PHASES,
                    suppress_health_check=list(HealthCheck),
                ),
            )
            if not never():
                break
    finally:
        logging.disable(logging.NOTSET)
        Machine.loop.run_until_complete(Machine.redis.aclose())
        Machine.loop.close()
    assert never() == set()


def never() -> set[str]:
    """Which of EVENTS did not happen."""
    return {event for event in EVENTS if not fired[event]}
