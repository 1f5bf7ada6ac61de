"""Ledger, commits and reconciliation against a model, through every fault there is.

The model says which posts are in Redis, each in its minute (posts_model.py), and whose they are
(people_model.py), after every fault of model_faults.py.
"""

import asyncio
import logging
import os
from collections.abc import Coroutine, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import stored
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from model_faults import FaultyStore, Group, Still, fired, never
from people_model import Crowds
from posts_model import OTHERS, TRACKED, Copy, Given, Model
from servers import RedisServer
from test_ingest import bring_back, copy

from app.ingest import ledger, people
from app.ingest.clock import RedisClock
from app.ingest.counter import Cut
from app.ingest.day_keys import DayKeys
from app.ingest.ingester import Ingester
from app.ingest.people import People
from app.ingest.writer import Writer
from app.messages import DAY, HOUR, MINUTE, MinuteCount, Post, Tick
from app.store import keys
from app.store.embedded import find_server
from app.store.store import connect

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "130"))
STEPS = 40
PHASES = (Phase.generate, *[Phase.shrink] * ("MODEL_SHRINK" in os.environ))
"""Making a failure small takes minutes: that is for whoever looks for its cause."""
AUTHORS, FEW = ("", "1", "2", "3"), 3
"""Of each source; more of a hashtag than FEW are a crowd (it is 100 in truth)."""
ROUNDS = 10
"""So many times EXAMPLES at the most, until all of it has happened: a rare one may not in the first."""


class Machine(RuleBasedStateMachine):
    """One ingester after the other in one Redis."""

    loop: asyncio.AbstractEventLoop
    redis: Any

    def run(self, doing: Coroutine[Any, Any, Any]) -> Any:
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
        for key, (kind, number, _) in (await stored.numbered(self.redis)).items():
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
        await self.model.compare(self.store, self.newest, self.went_back)

    def teardown(self) -> None:
        if hasattr(self, "ingester"):
            self.all_is_as_the_model_says()


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
