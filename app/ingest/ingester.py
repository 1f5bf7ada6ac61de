"""Sources into the counter, the counter into the store, once a tick.

One ingester writes; others for the same Redis stand by until its lease runs out. What Redis
holds is the truth: commits.py says what happens when it is not what we believe.
"""

import asyncio
import logging
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace

from app.ingest.clock import DatedStates, RedisClock, seconds_up
from app.ingest.commits import Commits
from app.ingest.counter import Counter, Cut
from app.ingest.day_keys import DayKeys
from app.ingest.lease import LEASE_SECONDS, Eviction, become_writer, holder, own_name
from app.ingest.metrics import Figures
from app.ingest.people import People
from app.ingest.posts import PostPlaces
from app.ingest.present import Present
from app.ingest.seen import Seen
from app.ingest.webhook import Webhook
from app.ingest.writer import LOG_RECALL_SECONDS, Writer
from app.messages import DAY, MINUTE, Checkpoint, Deletion, Message, MinuteCount, Post
from app.metrics import Durations, Value
from app.pace import Pace
from app.process import end_if_cancelled
from app.retry import Backoff
from app.sources import Source, SourceLost
from app.store import keys
from app.store.state import State
from app.store.store import LeaseLost, Store, StoreLost

log = logging.getLogger(__name__)

LAST_COMMIT_SECONDS = 0.7
LAST_WORD_SECONDS = 0.3
"""For what a source has to tidy up: X's account of what was read is in Redis, too."""
RECALL_SECONDS = 5.0
"""So long the posts in Redis may be read at a start: nothing is stored meanwhile."""
RUSH_SECONDS = 0.05
"""Ticks come so soon after each other at the most, when more waits than one can have."""


class Ingester:
    """Every tick it commits what its sources have brought, as long as it is the one writer."""

    def __init__(
        self,
        sources: Sequence[Source],
        store: Store,
        tracked: Sequence[str],
        seconds: float,
        most: int = sys.maxsize,
        elapsed: Callable[[], float] = seconds_up,
        blocked: Collection[str] = (),
        shows_posts: bool = True,
        day_keys: DayKeys | None = None,
        webhook: Webhook | None = None,
    ) -> None:
        self.sources = {source.name: source for source in sources}
        """By their names."""
        self.waiting = {s.name for s in sources if s.complete or s.goes_back}
        """Those that wait while the next commit has all that it may have."""
        self.store, self.tracked = store, frozenset(tracked)
        self.blocked = frozenset(blocked)
        """Hashtags that are never on the board."""
        self.shows_posts = shows_posts
        """Whether it is written down where the posts are."""
        self.webhook = webhook or Webhook()
        """Of alerts."""
        self.pace = Pace(seconds, "storing a tick")
        self.name = own_name()
        """Ours among ingesters, as the lease has it."""
        self.lease = max(LEASE_SECONDS, 3 * seconds)
        """Seconds that each commit holds it."""
        self.clock = RedisClock(elapsed)
        self.dated_states = DatedStates(self.clock)
        self.people = People(day_keys or DayKeys(), any(source.tells_authors for source in sources))
        self.writer = Writer(store, self.tracked, most, self.clock, self.name, self.people)
        self.figures, self.eviction = Figures(), Eviction(store, elapsed)
        self.trouble = ""
        """Why nothing is stored, as it was last said."""
        self.begin(State())

    def begin(self, stored: State) -> None:
        """Forget all but what Redis holds."""
        self.counter = Counter(self.tracked)
        self.commits = Commits(stored)
        delivered = self.tracked if self.webhook.url else ()
        self.present = Present(self.writer.spellings.name_of, self.blocked, delivered)
        self.posts = PostPlaces(self.shows_posts)
        self.seen: dict[str, Seen] = {}
        """Of each source that may bring again what was counted: what that was."""
        self.readers: dict[str, asyncio.Task[None]] = {}
        """The task that reads each source."""
        self.room, self.rush = asyncio.Event(), asyncio.Event()
        """Set when sources that waited may go on; set while they wait: a tick is to come soon."""

    async def run(self) -> None:
        """Stand by while another ingester writes; write while none does; until cancelled."""
        while True:
            lease = self.lease + LOG_RECALL_SECONDS + RECALL_SECONDS  # nobody takes over meanwhile
            await become_writer(self.store, self.name, lease, self.pace.lasts, self.complain)
            stored = await self.first_state()
            self.people.day_keys.read_again()
            self.begin(stored)
            self.writer.begin(stored)
            await self.writer.recall(stored)
            if self.shows_posts:
                await self.recall_posts()
            self.figures.writes = True
            await self.write()
            self.figures.writes = False

    def tell(self) -> Iterator[tuple[str, Value | Durations]]:
        """What Prometheus is told."""
        known, lasts = self.writer.forgetting.known, self.pace.lasts
        return self.figures.tell(self.sources, known, lasts)

    async def write(self) -> None:
        """Ingest until the lease is lost; when cancelled, commit once more what was counted."""
        async with asyncio.TaskGroup() as group:
            beside = [
                group.create_task(self.recall_popular(), name="popular"),
                group.create_task(self.make_present(), name="present"),
                group.create_task(self.deliver(), name="delivery"),
            ]
            for source in self.sources.values():
                self.read(source, group)
            try:
                await self.tick_for_ever(group)
            except LeaseLost as lost:
                self.complain(f"another ingester took over: {lost}", False)
            except asyncio.CancelledError:
                await self.finish(group)
                raise
            finally:
                for task in (*beside, *self.readers.values()):
                    task.cancel()

    async def finish(self, group: asyncio.TaskGroup) -> None:
        """The last commit, and the lease for whoever comes next."""
        for reader in self.readers.values():
            reader.cancel()
        try:
            async with asyncio.timeout(LAST_COMMIT_SECONDS):
                while await self.commit(group) and (self.commits.again or self.counter.entries):
                    pass
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

    async def recall_posts(self) -> None:
        """Learn where the posts are that came before us."""
        heard = {name for name, source in self.sources.items() if not source.misses_deletions}
        try:
            async with asyncio.timeout(RECALL_SECONDS):
                async for post in self.posts.recall(self.store, heard):
                    self.present.recall(post, self.clock.now())
                    end_if_cancelled()
        except (StoreLost, TimeoutError) as lost:
            self.lose_posts(str(lost) or f"those in Redis were not read in {RECALL_SECONDS:g} s")

    async def recall_popular(self) -> None:
        """What completion is to know of the hours before."""
        stored = self.commits.stored
        await self.writer.popular.recall(self.store, stored.networks, keys.hour_of(stored.time))

    async def make_present(self) -> None:
        await self.present.run(self.store, tuple(self.sources), self.clock.now)

    async def deliver(self) -> None:
        if self.webhook.url:
            await self.webhook.run(self.present.alerts, self.clock.now)

    async def tick_for_ever(self, group: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + self.pace.lasts, loop.time())
            due = begun = await self.until(due)
            if await self.commit(group):
                took = loop.time() - begun
                self.figures.commits.add(took)
                if news := self.pace.took(took):
                    log.warning("%s", news)
            end_if_cancelled()

    async def until(self, due: float) -> float:
        """Wait until then, or until sources wait for us and all is well; when that was."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(min(RUSH_SECONDS, max(0.0, due - loop.time())))
        with suppress(TimeoutError):
            async with asyncio.timeout_at(due):
                if self.trouble:
                    await asyncio.sleep(max(0.0, due - loop.time()))
                await self.rush.wait()
        return min(due, loop.time()) if loop.time() < due else due

    async def commit(self, group: asyncio.TaskGroup) -> bool:
        """Bring the store up to date; False when it cannot be had: the next tick tries again."""
        self.counter.begin(self.clock.now() // MINUTE)
        if not self.trouble:
            await self.write_posts()
        try:
            await self.eviction.refuse()
            while cut := self.commits.next_again():  # what waited is late, be it by a minute
                if not await self.put(cut.at(self.counter.minute), group):
                    return False
            await self.put(self.next_cut(), group)
        except LeaseLost:
            if await self.is_taken():
                raise
        except StoreLost as lost:
            self.posts.lose()
            self.complain(str(lost))
        else:
            self.complain("")
            return True
        return False

    async def write_posts(self) -> None:
        """Write down where the new posts are, and what is deleted, before the tick tells of it."""
        try:
            took_back = await self.posts.write(self.store, self.name, self.clock.now())
            self.writer.taken_back |= took_back
        except StoreLost as lost:
            self.lose_posts(str(lost))

    def lose_posts(self, why: str) -> None:
        """Without them all else goes on."""
        if self.posts.lose():
            log.warning("posts cannot be shown: %s", why)

    async def is_taken(self) -> bool:
        """Whether the other writer lives: a Redis that came back older may name a dead one."""
        with suppress(StoreLost):
            return bool(await holder(self.store))
        return False

    def next_cut(self) -> Cut:
        """What was counted, and room for the sources to go on."""
        counter = self.counter
        today = counter.minute * MINUTE // DAY
        authors = self.people.hashed(counter.take_authored(), today)
        cut = self.commits.trying = replace(counter.cut(self.waiting), authors=authors)
        self.writer.spellings.add(self.counter.take_spellings(), cut.minute)
        self.rush.clear()
        self.room.set()
        return cut

    async def put(self, cut: Cut, group: asyncio.TaskGroup) -> bool:
        """Commit this; True when it is stored. Raises StoreLost when nobody can say."""
        old = [(seen, name, minute) for name, seen in self.seen.items() for minute in seen.old()]
        dropped = [keys.seen(name, minute) for _, name, minute in old]
        states = {source.name: self.dated_states.of(source) for source in self.sources.values()}
        present = self.present.write(self.clock.now())
        stored = await self.writer.write(
            cut, self.commits.stored, states, self.pace.lasts, self.lease, dropped, present
        )
        if stored.commit == cut.name:
            self.commits.done(cut, stored)
            if self.writer.stored_last == cut.name:  # else an earlier try was, with what it had
                self.present.wrote(present)
            self.figures.store(cut)
            for seen, _, minute in old:
                seen.minutes.pop(minute, None)
            return True
        if (held := await self.store.writer()) not in ("", self.name):
            raise LeaseLost(f"LEASE is held by {held}")
        self.reconcile(stored, group)
        return False

    def reconcile(self, stored: State, group: asyncio.TaskGroup) -> None:
        """Redis has another commit than we believed: count again what it does not have."""
        back = {source.name for source in self.sources.values() if source.goes_back}
        start = {s.name for s in self.sources.values() if s.goes_back_to_the_start}
        missing = self.commits.reconcile(stored, back, start)
        self.posts.lose()
        self.present.alerts.write_again()
        others = self.sources.keys() - missing.read_again
        self.writer.begin(stored, dict.fromkeys(others, missing.since))
        self.figures.counted_again += missing.commits
        log.warning("Redis is not as we left it: %d of our ticks are not in it", missing.commits)
        for name in missing.read_again:
            self.read(self.sources[name], group)

    def read(self, source: Source, group: asyncio.TaskGroup) -> None:
        """Read the source from the stored cursor on, and nothing that it counted since."""
        if before := self.readers.get(source.name):
            before.cancel()
            source.say("connecting")
        self.counter.forget(source.name, self.commits.stored.cursors.get(source.name, ""))
        self.readers[source.name] = group.create_task(self.count(source, before), name=source.name)

    async def count(self, source: Source, before: asyncio.Task[None] | None) -> None:
        """Count the source's posts until it ends; come back when it is lost."""
        if before:  # it tidies up, and some networks allow one connection only
            await asyncio.wait([before])
        backoff = Backoff()
        if source.repeats:
            self.seen[source.name] = await self.recall_seen(source.name, backoff)
        while True:
            try:
                cursor = self.counter.cursors.get(source.name, "")
                # closed here, so that a source cleans up before Redis is gone
                async with aclosing(source.posts(cursor)) as posts:  # type: ignore[type-var]
                    async for message in posts:
                        self.take(source, message)
                        moved = self.counter.cursors.get(source.name, "") != cursor
                        if moved or not source.goes_back:
                            backoff.reset()  # else it would end at the same place again, at once
                        if self.counter.is_full and self.may_wait(source, message):
                            await self.wait_for_room()
                return
            except SourceLost as lost:
                if source.misses_deletions:
                    self.posts.forget(source.name)
                source.say(lost.state, lost.public, logged=str(lost))
                if lost.for_good:
                    return
                await asyncio.sleep(backoff.next() if lost.wait is None else lost.wait)
                source.say("connecting")

    async def recall_seen(self, source: str, backoff: Backoff) -> Seen:
        """What Redis knows to be counted of the source, as soon as it answers."""
        newest = self.commits.stored.seen.get(source, 0)
        while True:
            try:
                found = await Seen.recall(self.store, source, newest)
                backoff.reset()
                return found
            except StoreLost as lost:
                self.complain(str(lost))
                await asyncio.sleep(backoff.next())

    def may_wait(self, source: Source, message: Message) -> bool:
        """Not between minutes: their cursor comes after the last of them."""
        return source.name in self.waiting and not isinstance(message, MinuteCount)

    async def wait_for_room(self) -> None:
        """Wait until what was counted is cut: a commit is bounded."""
        self.room.clear()
        self.rush.set()
        await self.room.wait()

    def take(self, source: Source, message: Message) -> None:
        """Count what the source hands over."""
        if isinstance(message, Post) and source.repeats and message.hashtags:
            new = self.seen[source.name].add(message)
            if new:
                self.counter.mark(source.name, *new)
            else:
                message = Checkpoint(source.name, message.cursor)
        if isinstance(message, Post):
            self.figures.posts[source.name] += 1
            self.counter.add(message, source.complete, source.catching_up)
            self.show(source, message)
        elif isinstance(message, MinuteCount):
            self.figures.posts[source.name] += message.posts
            self.counter.add_minute(message)
        else:
            if isinstance(message, Deletion):
                self.posts.remove(message)
            if message.cursor:
                self.counter.cursors[source.name] = message.cursor

    def show(self, source: Source, post: Post) -> None:
        """Let the post count for the board, and be shown, with those of its hashtags that are
        counted."""
        # a demo's hashtags are Typed, which not everybody can write
        tags = [str(tag) for tag in post.hashtags if source.complete or tag in self.tracked]
        if tags:
            now = self.clock.now()
            at = post.time if source.catching_up else now
            self.present.lately.add(post, tags, at, now)
            self.posts.add(post, tags, at, now)

    def complain(self, trouble: str, is_wrong: bool = True) -> None:
        """Say why nothing is stored once, and once that it is mended."""
        self.figures.see_redis(bool(trouble) and is_wrong)
        if trouble != self.trouble:
            log.warning("%s", trouble or "all is well again; nothing that was counted is lost")
        self.trouble = trouble
