"""The viewers of the same hashtags, and each tick as bytes for them.

What a tick costs is shared as far as it can be: a total is written as text once for all
fan-outs, an event is joined from those texts once for all viewers of a fan-out, and viewers whose
connection is ours (taken.py) are handed the very same bytes.
"""

import asyncio
import socket
import time
from collections.abc import MutableSet, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from app.messages import BySource, SourceState, added_up, dumps
from app.web import sse
from app.web.extras import Extra
from app.web.gaps import SHORTEST, Spell, gap_of, pause
from app.web.series import AllSeries
from app.web.shared import Shared
from app.web.ticks import Head, Ticks
from app.web.watched import Watched

REPEAT_SECONDS = 3.5
"""Unchanged totals are sent again with the next beat after this long: within the promised 5 s."""
LOOK_SECONDS = 5.0
"""How often is looked for streams whose time is over."""
LOST_SECONDS = 30.0
"""A connection that is seen to take nothing for longer than this: its viewer is let go."""


class Direct(Protocol):
    """A viewer whose connection is ours, as a fan-out sees it (viewer.py)."""

    connection: socket.socket
    """Not blocking."""
    chunked: bool
    """Whether its body is sent in chunks (HTTP/1.1)."""
    position: int
    """The number of the newest tick that it has."""
    start: Any
    """What it wants first; None once that was sent."""
    owed: bytes
    """What it is being sent and has not taken whole; empty where it has all."""
    full_since: float | None
    """The first look that found it full since it took something, in seconds of the feed's clock."""

    @property
    def has_all(self) -> bool: ...
    def begin(self, head: bytes) -> None: ...
    def owe(self, data: bytes, sent: int) -> None: ...
    def flush(self) -> bool: ...
    def take_due(self) -> None: ...
    def is_over(self) -> bool: ...
    def end(self) -> None: ...
    def let_go(self) -> None: ...


class Due(NamedTuple):
    """What a viewer is to be sent."""

    past: tuple[Head, float, tuple[str, ...]] | None
    """So many seconds up to this tick, of these hashtags or, where it names none, of all."""
    ticks: tuple[int, int] | None
    """Then the ticks after one number and up to another, or, for None, the present totals."""
    extras: int | None
    """Then what goes beside the ticks after this number, or, for None, what one begins with."""


class FanOut:
    """The viewers of the same hashtags. Bounds: viewers and behind have one entry for each open
    connection."""

    __slots__ = (
        "__weakref__", "behind", "by_source", "extras", "lagging", "looked", "newest", "number",
        "past", "rewritten", "shared", "tags", "ticks", "told_at", "viewers", "waiting", "watched",
    )  # fmt: skip

    def __init__(
        self,
        watched: Sequence[Watched],
        by_source: bool,
        extras: Sequence[Extra],
        ticks: Ticks,
        past: AllSeries,
        shared: Shared,
        lagging: MutableSet["FanOut"],
        now: float,
    ) -> None:
        self.watched, self.by_source, self.extras = tuple(watched), by_source, extras
        self.tags = tuple([each.tag for each in watched])
        self.ticks, self.past, self.shared, self.lagging = ticks, past, shared, lagging
        """Where a fan-out is while it has viewers that are behind."""
        self.newest: tuple[Head, bytes] | None = None
        """The tick that was made last, and its event."""
        self.waiting: asyncio.Event | None = None
        """Set, and forgotten, when there may be something to send; none while nobody waits."""
        self.told_at = self.looked = now
        """When a tick was told last, and when was looked for streams that are over; in seconds
        of the feed's clock."""
        self.number = ticks.last
        """The newest tick that all viewers have, or that had nothing new for them."""
        self.rewritten = ticks.rewritten(self.tags)
        """A viewer at an earlier tick has to be told the past anew."""
        self.viewers: set[Direct] = set()
        """Those that have all, and whose connection has taken all."""
        self.behind: dict[Direct, None] = {}
        """Those that lack a tick, or whose connection is full; their position says from where."""

    @property
    def is_known(self) -> bool:
        """Whether all of its totals are known."""
        for each in self.watched:  # noqa: SIM110 - twice as fast as all(), for every viewer
            if each.totals is None:
                return False
        return True

    @property
    def news(self) -> asyncio.Event:
        """Set when there may be something to send, for viewers whose connection is not ours."""
        if self.waiting is None:
            self.waiting = asyncio.Event()
        return self.waiting

    def hear(self, head: Head, now: float) -> None:
        """Hand the newest tick to all viewers."""
        self.tell(head, now)
        self.catch_up()

    def repeat(self, head: Head | None, now: float) -> None:
        """Nothing was told for long: do it again, if there is anything to tell."""
        if head and self.is_known:
            self.hear(head, now)
        else:
            self.told_at = now
            self.wake()
            self.look(now)

    def tell(self, head: Head, now: float) -> None:
        """Hand the tick to every viewer that has all before it."""
        before, self.told_at, self.number = self.number, now, head.number
        self.wake()
        self.look(now)
        if not self.viewers:
            return
        plain = self.frame(head) + self.beside(before, head.number)
        chunk = sse.body(plain, True)
        full = []
        for viewer in self.viewers:  # nothing here that need not be: this is what a viewer costs
            data = chunk if viewer.chunked else plain
            try:
                sent = viewer.connection.send(data)
            except OSError:  # it takes nothing now, or is gone, which its end tells (taken.py)
                sent = 0
            if sent < len(data):
                full.append((viewer, data, sent))
        self.shared.count(len(self.viewers), len(plain))
        if head.number != before:  # else it is a repeat
            age = time.time() - head.at / 1000
            self.shared.ages.add(max(0.0, age), len(self.viewers))
        if full:
            self.fall_behind([viewer for viewer, _, _ in full])
            for viewer, data, sent in full:
                if viewer in self.behind:  # to owe so much to one may be the end of another
                    viewer.owe(data, sent)

    def wake(self) -> None:
        """Let every viewer whose connection is not ours look for what is new to it."""
        if self.waiting:
            self.waiting.set()
            self.waiting = None

    def look(self, now: float) -> None:
        """End the streams whose time is over."""
        if now - self.looked >= LOOK_SECONDS:
            self.looked = now
            for viewer in [*self.viewers, *self.behind]:
                if viewer.is_over():
                    self.finish(viewer)

    def begin_anew(self) -> None:
        """What the viewers have leads to nothing that follows: each is to be told the past."""
        self.newest = None
        self.shared.forget()
        self.rewritten = self.ticks.rewritten(self.tags)
        self.fall_behind(list(self.viewers))

    def fall_behind(self, viewers: Sequence[Direct]) -> None:
        for viewer in viewers:
            viewer.position, viewer.full_since = self.number, None
        self.viewers.difference_update(viewers)
        self.behind.update(dict.fromkeys(viewers))
        self.note_lagging()

    def note_lagging(self) -> None:
        if self.behind:
            self.lagging.add(self)
        else:
            self.behind = {}  # the one that had entries keeps their room
            self.lagging.discard(self)

    def look_behind(self, now: float) -> None:
        """See which of those that are behind can read again, and let go who cannot for long."""
        self.catch_up()
        for viewer in list(self.behind):
            if viewer.owed:
                viewer.full_since = now if viewer.full_since is None else viewer.full_since
                if now - viewer.full_since > LOST_SECONDS:
                    viewer.let_go()

    def catch_up(self) -> None:
        for viewer in list(self.behind):
            self.bring_up(viewer)

    def bring_up(self, viewer: Direct) -> None:
        """Hand a viewer what it lacks, if it can take it, and its last words when it is over."""
        if viewer not in self.behind or (viewer.owed and not viewer.flush()):
            return
        if viewer.is_over():
            viewer.end()
            return
        if not viewer.has_all:
            viewer.take_due()
        viewer.full_since = None
        if viewer in self.behind and not viewer.owed and viewer.has_all:
            del self.behind[viewer]
            self.viewers.add(viewer)
            self.note_lagging()

    def finish(self, viewer: Direct) -> None:
        """End a stream, once all that it is owed is taken."""
        if viewer in self.viewers:
            self.fall_behind([viewer])
        self.bring_up(viewer)

    def close(self) -> None:
        """End every stream."""
        self.wake()
        self.fall_behind(list(self.viewers))
        self.catch_up()

    def join(self, viewer: Direct, head: bytes = b"") -> None:
        """Send a viewer its first bytes, after the head of the answer."""
        self.behind[viewer] = None
        viewer.begin(head)
        self.bring_up(viewer)
        if self.behind:
            self.note_lagging()

    def leave(self, viewer: Direct) -> None:
        self.viewers.discard(viewer)
        self.behind.pop(viewer, None)
        self.note_lagging()

    def totals(self) -> dict[str, int | BySource]:
        """The totals at the newest tick."""
        head = self.ticks.newest
        return {
            each.tag: self.value(each, each.totals, head.sources if head else {})
            for each in self.watched
            if each.totals is not None
        }

    def value(
        self, watched: Watched, totals: BySource, sources: dict[str, SourceState]
    ) -> int | BySource:
        return watched.split(totals, sources) if self.by_source else added_up(totals)

    def people(self) -> dict[str, int | None]:
        """How many authors used each hashtag on the day of the newest tick."""
        day = self.ticks.day
        return {each.tag: each.people_on(day) for each in self.watched}

    def names(self) -> dict[str, str]:
        """How hashtags are shown, where it is not by their key."""
        return {each.tag: each.name for each in self.watched if each.name_text}

    def frame(self, head: Head) -> bytes:
        """The tick as an event; the newest is made once, however many viewers want it."""
        if self.newest and self.newest[0] is head:
            return self.newest[1]
        before, after = around(head)
        counts = ",".join([self.text_of(each, head) for each in self.watched])
        day = self.ticks.day  # people are today's, also in a tick that is told late
        people = ",".join([each.written_people(day) for each in self.watched])
        names = ",".join([each.name_text for each in self.watched if each.name_text])
        told = f'{before}{counts}}},"people":{{{people}}},"names":{{{names}{after}'
        event = sse.event(told, "counts", head.id)
        if head.number == self.ticks.last:
            self.newest = (head, event)
        return event

    def text_of(self, watched: Watched, head: Head) -> str:
        line = self.ticks.lines.get(watched.tag)
        totals = line.totals_of(head.number) if line else watched.totals
        return watched.written(totals or {}, head.sources if self.by_source else None)

    def written(self, due: Due, present: Head, first: bytes, chunked: bool) -> bytes | None:
        """What is due as a part of a body, after these bytes; made once for all to whom the
        same is due at this tick. Empty where nothing is; None where it is not made yet, and we
        come back to who waits for it."""
        about = self.tags, self.by_source, self.extras, self.ticks.last
        key = (about, due, present, first, chunked)
        found = self.shared.kept.get(key)
        if found is None and self.prepare(due):
            found = self.shared.keep(key, self.write(due, present, first, chunked))
        return found

    def write(self, due: Due, present: Head, first: bytes, chunked: bool) -> bytes:
        parts: list[sse.Bytes] = [first]
        last = due.ticks[1] if due.ticks else self.ticks.last
        if due.past:
            parts += self.history(*due.past)
        beside = self.beside(due.extras, last)
        if due.ticks is None:
            frames = [self.frame(present)]
        else:
            numbers = self.ticks.changes(self.tags, *due.ticks) or [last] * bool(beside)
            frames = [self.frame(each) for each in map(self.ticks.head, numbers) if each]
        data = sse.body_of([*parts, *frames, beside], chunked)
        self.shared.turns.spend(len(frames) * len(self.watched) + len(data) // 1024)
        return data

    def beside(self, before: int | None, last: int) -> bytes:
        """What goes beside the ticks after one and up to another; for None, with the first."""
        if before is None:
            return b"".join([each.first(self.tags) for each in self.extras])
        return b"".join([each.between(self.tags, before, last) for each in self.extras])

    def reaches(self, position: int) -> bool:
        """Whether the ticks after this one can be had: it is not too old, and the past was not
        told anew since."""
        return self.ticks.head(position) is not None and position >= self.rewritten

    def prepare(self, due: Due) -> bool:
        """Write what is due of the past, a part of it in each turn; whether all of it is written,
        and this turn is long enough for the rest."""
        turns, sources = self.shared.turns, self.sources
        is_long = due.past or (due.ticks and due.ticks[1] - due.ticks[0] > 1)
        for watched in self.of(due.past[2]) if due.past and turns.has_room else ():
            if turns.left <= 0:
                break
            turns.spend(self.past.prepare(watched, sources, turns.left))
        if is_long and not turns.has_room:
            turns.wait(self)
            return False
        return True

    def go_on(self) -> None:
        """It is our turn again: see to those who waited for it, as far as it is long enough. To
        look at all of them in each turn would take longer than what is made in it."""
        self.wake()
        for viewer in list(self.behind):
            if not self.shared.turns.has_room:
                return self.shared.turns.wait(self)
            if not viewer.owed:
                self.bring_up(viewer)

    def of(self, tags: Sequence[str]) -> Sequence[Watched]:
        """Those of our hashtags; all of them where none is named."""
        return [each for each in self.watched if each.tag in tags] if tags else self.watched

    @property
    def sources(self) -> dict[str, SourceState] | None:
        """The sources by which totals are told."""
        head = self.ticks.newest
        return head.sources if head and self.by_source else None

    def history(self, head: Head, seconds: float, tags: Sequence[str] = ()) -> list[sse.Bytes]:
        """The totals of so many seconds up to a tick as one event, in parts; of these hashtags, or
        of all."""
        among = self.of(tags)
        begin, sources = int(head.at - seconds * 1000), self.sources
        found = [self.past.written(each, sources, begin, head.at) for each in among]
        first = min((at for at, _ in found), default=head.at)
        gaps = self.ticks.gaps(begin, head.at)
        if first - begin >= SHORTEST and not self.ticks.is_cut(begin):
            gaps.insert(0, gap_of("start", begin, first))
        names = ",".join([each.name_text for each in among if each.name_text])
        about = f'{{"at":{head.at},"tick":{dumps(head.seconds)},"series":{{'
        parts: list[sse.Bytes] = [about.encode()]
        for n, (each, (_, texts)) in enumerate(zip(among, found, strict=True)):
            parts += [b"," * bool(n), f"{each.quoted}:[".encode(), *texts, b"]"]
        parts.append(f'}},"names":{{{names}}},"gaps":{dumps(gaps)}}}'.encode())
        return sse.event_of(parts, "history", head.id)


@lru_cache(maxsize=256)
def around(head: Head) -> tuple[str, str]:
    """What stands before the totals of a tick's events, and what after the names."""
    before = f'{{"at":{head.at},"tick":{dumps(head.seconds)},"counts":{{'
    about: dict[str, Any] = {
        "sources": {name: each.state for name, each in head.sources.items()},
        "details": {n: {"since": s.since, "reason": s.reason} for n, s in head.sources.items()},
    }
    if head.paused and (
        gaps := pause(head.paused, head.at, [Spell(head.at, head.at, head.sources)])
    ):
        about["gap"] = gaps[0]
    return before, f"}},{dumps(about)[1:]}"
