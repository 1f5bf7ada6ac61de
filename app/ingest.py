"""Sources into the counter, the counter into the store, once a tick.

What Redis holds is the truth. Each commit has a name of its own and says which commit it
follows; when Redis has another one than we believe, nothing is stored, and we find out
what Redis does have:

- our own last commit, whose answer was lost: all is well;
- an older one of ours (Redis came back from an old copy of its file): everything since is
  counted again from what we remember of the last minutes;
- a stranger's: the sources that can go back are read again from the stored cursors, and
  what came from those that cannot is kept for the next commit.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from app.counter import Counter
from app.retry import Backoff
from app.sources import Source, SourceLost
from app.store import LOG_SECONDS, State, Store, StoreLost

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Commit:
    """A commit that we made or tried: all that it takes to make it again."""

    name: str
    tick: Mapping[str, Any]


class Ingester:
    """The one writer: every tick it commits what its sources have brought."""

    def __init__(
        self,
        sources: Sequence[Source],
        store: Store,
        tracked: Sequence[str],
        seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.sources = {source.name: source for source in sources}
        self.store, self.tracked, self.seconds, self.clock = store, tracked, seconds, clock
        self.counter = Counter(frozenset(tracked))
        self.stored = State()
        self.trying: Commit | None = None
        self.made: deque[Commit] = deque(maxlen=int(LOG_SECONDS / seconds))
        self.readers: dict[str, asyncio.Task[None]] = {}
        self.trouble = ""

    async def run(self) -> None:
        """Ingest until cancelled; then commit once more what was counted."""
        self.stored = await self.first_state()
        self.made.append(Commit(self.stored.commit, {"increments": {}}))
        async with asyncio.TaskGroup() as group:
            for source in self.sources.values():
                self.read(source, group)
            try:
                await self.tick_for_ever(group)
            finally:
                for reader in self.readers.values():
                    reader.cancel()
                await asyncio.wait_for(self.commit(group), 2 * self.seconds + 1)

    async def first_state(self) -> State:
        """What Redis holds, as soon as it answers."""
        backoff = Backoff(longest=5.0)
        while True:
            try:
                return await self.store.load()
            except StoreLost as lost:
                self.complain(str(lost))
                await asyncio.sleep(backoff.next())

    async def tick_for_ever(self, group: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + self.seconds, loop.time())
            await asyncio.sleep(due - loop.time())
            await self.commit(group)

    async def commit(self, group: asyncio.TaskGroup) -> None:
        """Bring the store up to date; when it cannot be had, the next tick tries again."""
        try:
            if self.trying is None or await self.put(self.trying, group):
                await self.put(Commit(uuid4().hex, self.cut()), group)
        except StoreLost as lost:
            self.complain(str(lost))
        else:
            self.complain("")

    def cut(self) -> dict[str, Any]:
        """One tick, as commit.lua wants it."""
        increments, cursors = self.counter.cut()
        sources = self.sources.values()
        return {
            "at": int(self.clock() * 1000),
            "tick": self.seconds,
            "tracked": self.tracked,
            "increments": increments,
            "cursors": cursors,
            "sources": {source.name: source.state for source in sources},
            "details": {
                source.name: {"since": int(source.since * 1000), "reason": source.reason}
                for source in sources
            },
        }

    async def put(self, commit: Commit, group: asyncio.TaskGroup) -> bool:
        """Commit this; True when it is stored. Raises StoreLost when nobody can say."""
        self.trying = commit
        self.stored = await self.store.commit(self.stored, commit.name, commit.tick)
        self.trying = None
        self.made.append(commit)
        if self.stored.commit != commit.name:
            self.reconcile(group)
        return self.stored.commit == commit.name

    def reconcile(self, group: asyncio.TaskGroup) -> None:
        """Redis has another commit than we believed: count again what it does not have."""
        names = [commit.name for commit in self.made]
        if self.stored.commit in names:
            keep = names.index(self.stored.commit) + 1
            log.warning("Redis came back older: counting %d ticks again", len(names) - keep)
            for commit in [self.made.pop() for _ in names[keep:]]:
                self.counter.put_back(commit.tick["increments"], self.sources)
            return
        log.warning("Redis has a commit that is not ours: going on from there")
        ours = [source for source in self.sources.values() if not source.replays]
        self.counter.put_back(self.made[-1].tick["increments"], [source.name for source in ours])
        self.made.clear()
        self.made.append(Commit(self.stored.commit, {"increments": {}}))
        for source in self.sources.values():
            if source.replays:
                self.read(source, group)

    def read(self, source: Source, group: asyncio.TaskGroup) -> None:
        """Read the source from the stored cursor on, and nothing that it counted since."""
        if before := self.readers.get(source.name):
            before.cancel()
        self.counter.forget(source.name, self.stored.cursors.get(source.name, ""))
        self.readers[source.name] = group.create_task(self.count(source), name=source.name)

    async def count(self, source: Source) -> None:
        """Count the source's posts until it ends; come back when it is lost."""
        backoff = Backoff()
        while True:
            try:
                async for post in source.posts(self.counter.cursors.get(source.name, "")):
                    self.counter.add(post)
                    backoff.reset()
                return
            except SourceLost as lost:
                source.say("down", str(lost))
                if lost.for_good:
                    return
                await asyncio.sleep(backoff.next() if lost.wait is None else lost.wait)
                source.say("connecting", str(lost))

    def complain(self, trouble: str) -> None:
        """Say what is wrong with the store once, and once that it is mended."""
        if trouble != self.trouble:
            log.warning("%s", trouble or "Redis is back; nothing that was counted is lost")
        self.trouble = trouble
