"""Sources into the counter, the counter into the store, once a tick.

One ingester writes; others for the same Redis stand by until its lease runs out. What
Redis holds is the truth. Each commit has a name of its own and says which commit it
follows; when Redis has another one than we believe, nothing is stored, and we find out
which of our commits it has:

- our last one, whose answer was lost: all is well;
- an older one of ours (Redis came back from an old copy of its file): everything since is
  counted again from what we remember of the last minutes;
- one from before our first, or a stranger's after ours: the sources that can go back are
  read again from the stored cursors; what came from the others is counted again.
"""

import asyncio
import logging
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from app.counter import Counter
from app.hashtags import spelling
from app.lease import LEASE_SECONDS, become_writer, holder
from app.pace import Pace
from app.retry import Backoff
from app.sources import Source, SourceLost
from app.store import LOG_SECONDS, LeaseLost, State, Store, StoreLost

log = logging.getLogger(__name__)

LAST_COMMIT_SECONDS = 0.7
SPELLINGS_EVERY = 10
"""Ticks; how a hashtag is written changes slowly, and telling Redis costs as much as counting."""
LAST_WORD_SECONDS = 0.3
"""For what a source has to tidy up: X's account of what was read is in Redis, too."""


@dataclass(frozen=True)
class Commit:
    """A commit that we made or tried: all that it takes to make it again."""

    name: str
    tick: Mapping[str, Any]


class Ingester:
    """Every tick it commits what its sources have brought, as long as it is the one writer."""

    def __init__(
        self,
        sources: Sequence[Source],
        store: Store,
        tracked: Sequence[str],
        seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.sources = {source.name: source for source in sources}
        self.store, self.tracked, self.clock = store, tracked, clock
        self.pace = Pace(seconds, "storing a tick")
        self.name = f"{socket.gethostname()}/{os.getpid()}/{uuid4().hex[:8]}"
        self.lease = max(LEASE_SECONDS, 3 * seconds)
        self.made: deque[Commit] = deque(maxlen=int(LOG_SECONDS / seconds))
        self.trouble = ""
        self.begin(State())

    def begin(self, stored: State) -> None:
        """Forget all but what Redis holds."""
        self.stored = stored
        self.counter = Counter(frozenset(self.tracked))
        self.trying: Commit | None = None
        self.made.clear()
        self.made.append(Commit(stored.commit, {"increments": {}}))
        self.readers: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Stand by while another ingester writes; write while none does; until cancelled."""
        while True:
            await become_writer(self.store, self.name, self.lease, self.complain)
            self.begin(await self.first_state())
            await self.write()

    async def write(self) -> None:
        """Ingest until the lease is lost; when cancelled, commit once more what was counted."""
        async with asyncio.TaskGroup() as group:
            for source in self.sources.values():
                self.read(source, group)
            try:
                await self.tick_for_ever(group)
            except LeaseLost as lost:
                self.complain(f"another ingester took over: {lost}")
            except asyncio.CancelledError:
                await self.finish(group)
                raise
            finally:
                for reader in self.readers.values():
                    reader.cancel()

    async def finish(self, group: asyncio.TaskGroup) -> None:
        """The last commit, and the lease for whoever comes next."""
        for reader in self.readers.values():
            reader.cancel()
        try:
            async with asyncio.timeout(LAST_COMMIT_SECONDS):
                await self.commit(group)
                await self.store.give_lease(self.name)
        except (StoreLost, TimeoutError) as lost:
            log.warning("the last tick is not stored: %s", str(lost) or "Redis does not answer")
        else:
            await asyncio.wait(self.readers.values(), timeout=LAST_WORD_SECONDS)

    async def first_state(self) -> State:
        """What Redis holds, as soon as it answers."""
        backoff = Backoff(longest=2.0)
        while True:
            try:
                return await self.store.load()
            except StoreLost as lost:
                self.complain(str(lost))
                await asyncio.sleep(backoff.next())

    async def tick_for_ever(self, group: asyncio.TaskGroup) -> None:
        loop, this = asyncio.get_running_loop(), asyncio.current_task()
        assert this
        due = loop.time()
        while True:
            due = max(due + self.pace.lasts, loop.time())
            await asyncio.sleep(due - loop.time())
            if await self.commit(group) and (news := self.pace.took(loop.time() - due)):
                log.warning("%s", news)
            if this.cancelling():  # Python 3.11 can lose a cancel while redis-py writes
                raise asyncio.CancelledError

    async def commit(self, group: asyncio.TaskGroup) -> bool:
        """Bring the store up to date; False when it cannot be had: the next tick tries again."""
        try:
            if self.trying is None or await self.put(self.trying, group):
                await self.put(Commit(uuid4().hex[:12], self.cut()), group)
        except LeaseLost:
            if await self.is_taken():
                raise
        except StoreLost as lost:
            self.complain(str(lost))
        else:
            self.complain("")
            return True
        return False

    async def is_taken(self) -> bool:
        """Whether the other writer lives: a Redis that came back older may name a dead one."""
        with suppress(StoreLost):
            return bool(await holder(self.store))
        return False

    def cut(self) -> dict[str, Any]:
        """One tick, as commit.lua wants it."""
        increments, cursors = self.counter.cut()
        sources = self.sources.values()
        return {
            "at": int(self.clock() * 1000),
            "tick": self.pace.lasts,
            "tracked": self.tracked,
            "typed": {tag: name for tag in self.tracked if (name := spelling(tag)) != tag},
            "increments": increments,
            "past": self.counter.cut_past(),
            "spellings": self.counter.cut_spellings() if self.tells_spellings() else {},
            "cursors": cursors,
            "sources": {source.name: source.state for source in sources},
            "details": {
                source.name: {"since": int(source.since * 1000), "reason": source.reason}
                for source in sources
            },
        }

    def tells_spellings(self) -> bool:
        return number(self.stored.version) % SPELLINGS_EVERY == 0

    async def put(self, commit: Commit, group: asyncio.TaskGroup) -> bool:
        """Commit this; True when it is stored. Raises StoreLost when nobody can say."""
        self.trying, seen = commit, number(self.stored.version)
        self.stored = await self.store.commit(
            self.stored, commit.name, commit.tick, self.name, self.lease
        )
        self.trying = None
        self.made.append(commit)
        if self.stored.commit != commit.name:
            self.reconcile(group, number(self.stored.version) < seen)
        return self.stored.commit == commit.name

    def reconcile(self, group: asyncio.TaskGroup, older: bool) -> None:
        """Redis has another commit than we believed: count again what it does not have."""
        stored = {self.stored.commit, *self.stored.recent}
        known = [n for n, commit in enumerate(self.made) if commit.name in stored]
        keep = known[-1] + 1 if known else 0 if older else len(self.made) - 1
        missing = [self.made.pop() for _ in range(len(self.made) - keep)]
        log.warning("Redis is not as we left it: %d of our ticks are not in it", len(missing))
        alone = bool(known) and self.made[-1].name == self.stored.commit
        again = [s.name for s in self.sources.values() if alone or not s.replays]
        for commit in missing:
            self.counter.put_back(commit.tick["increments"], again, commit.tick.get("past"))
        self.made.append(Commit(self.stored.commit, {"increments": {}}))
        for source in self.sources.values():
            if source.name not in again:
                self.read(source, group)

    def read(self, source: Source, group: asyncio.TaskGroup) -> None:
        """Read the source from the stored cursor on, and nothing that it counted since."""
        if before := self.readers.get(source.name):
            before.cancel()
        self.counter.forget(source.name, self.stored.cursors.get(source.name, ""))
        self.readers[source.name] = group.create_task(self.count(source, before), name=source.name)

    async def count(self, source: Source, before: asyncio.Task[None] | None) -> None:
        """Count the source's posts until it ends; come back when it is lost."""
        if before:  # it tidies up, and some networks allow one connection only
            await asyncio.wait([before])
        backoff = Backoff()
        while True:
            try:
                cursor = self.counter.cursors.get(source.name, "")
                # closed here, so that a source cleans up before Redis is gone
                async with aclosing(source.posts(cursor)) as posts:  # type: ignore[type-var]
                    async for post in posts:
                        self.counter.add(post)
                        backoff.reset()
                return
            except SourceLost as lost:
                source.say(lost.state, str(lost))
                if lost.for_good:
                    return
                await asyncio.sleep(backoff.next() if lost.wait is None else lost.wait)
                source.say("connecting")

    def complain(self, trouble: str) -> None:
        """Say what is wrong with the store once, and once that it is mended."""
        if trouble != self.trouble:
            log.warning("%s", trouble or "all is well again; nothing that was counted is lost")
        self.trouble = trouble


def number(version: str) -> int:
    """Of a version that somebody else wrote to Redis, 0: the commit will name and refuse it."""
    return int(version) if version.isascii() and version.isdigit() else 0
