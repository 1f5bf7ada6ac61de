"""The viewers of the same hashtags, and each recent tick as bytes for them.

What a tick costs is shared as far as it can be: a total is written as text once for all
fan-outs, an event is joined from those texts once for all viewers of a fan-out, and viewers on
the express lane (express.py) are handed the very same bytes.
"""

import asyncio
from collections.abc import Callable, MutableSet, Sequence
from functools import lru_cache
from typing import Any, Protocol

from app.messages import BySource, SourceState, added_up, dumps
from app.web import sse
from app.web.gaps import SHORTEST, Spell, gap_of, pause
from app.web.ticks import Head, Ticks
from app.web.watched import Watched

REPEAT_SECONDS = 4.0
"""Unchanged totals are sent again after this long, well within the promised 5 s."""
LOOK_SECONDS = 5.0
"""How often is looked for streams whose time is over."""
FRAMES_KEPT = 16
JOINED_KEPT = 4


class Rider(Protocol):
    """A viewer on the express lane, as a fan-out sees it (viewer.py)."""

    transport: asyncio.WriteTransport
    """Its connection."""
    send: Callable[[bytes], int]
    """Of the connection's socket: how many of these bytes it took."""
    chunked: bool
    """Whether its body is sent in chunks (HTTP/1.1)."""
    position: int
    """The number of the newest tick that it has."""
    start: Any
    """What it wants first; None once that was sent."""
    unread: int
    """How many looks in a row found its connection full."""

    def due(self) -> bytes: ...
    def is_over(self) -> bool: ...
    def end(self) -> None: ...


class FanOut:
    """The viewers of the same hashtags. Bounds: frames and joined forget their oldest; what is
    in joined is forgotten at the next tick that is told, too; riders and behind have one entry
    for each open connection.
    """

    __slots__ = (
        "__weakref__", "behind", "by_source", "frames", "joined", "lagging", "looked", "news",
        "number", "rewritten", "riders", "shown", "tags", "ticks", "told",
    )  # fmt: skip

    def __init__(
        self,
        shown: Sequence[Watched],
        by_source: bool,
        ticks: Ticks,
        lagging: MutableSet["FanOut"],
        now: float,
    ) -> None:
        self.shown, self.by_source, self.ticks = shown, by_source, ticks
        self.tags = tuple(watched.tag for watched in shown)
        self.lagging = lagging
        """Where a fan-out is while it has riders that are behind."""
        self.frames: dict[Head, bytes] = {}
        """A tick to its event."""
        self.joined: dict[object, bytes] = {}
        """What is longer than a tick, made for those who came since the last one."""
        self.news = asyncio.Event()
        """Set, and replaced, when there may be something to send."""
        self.told = self.looked = now
        """When a tick was told last, and when was looked for streams that are over; in seconds
        of the feed's clock."""
        self.number = ticks.last
        """The newest tick that all riders have, or that had nothing new for them."""
        self.rewritten = ticks.rewritten(self.tags)
        """A viewer at an earlier tick has to be told the past anew."""
        self.riders: set[Rider] = set()
        """Those that have all, and whose connection has taken all."""
        self.behind: set[Rider] = set()
        """Those that lack a tick, or whose connection is full; their position says from where."""

    @property
    def is_known(self) -> bool:
        """Whether all of its totals are known."""
        return all(watched.totals is not None for watched in self.shown)

    def hear(self, head: Head, now: float) -> None:
        """Hand the newest tick to all viewers."""
        self.joined.clear()
        self.tell(head, now)
        self.catch_up(head)

    def repeat(self, head: Head | None, now: float) -> None:
        """Nothing was told for long: do it again, if there is anything to tell."""
        if head and self.is_known:
            self.hear(head, now)
        else:
            self.told = now
            self.wake()
            self.look(now)

    def tell(self, head: Head, now: float) -> None:
        """Hand the tick to every viewer that has all before it."""
        self.told, self.number = now, head.number
        self.wake()
        self.look(now)
        if not self.riders:
            return
        plain = self.frame(head)
        chunk = sse.chunk(plain)
        full = []
        for rider in self.riders:  # nothing here that need not be: this is what a viewer costs
            data = chunk if rider.chunked else plain
            try:
                sent = rider.send(data)
            except OSError:  # it takes nothing now, or is gone: its transport finds out which
                sent = 0
            if sent < len(data):
                full.append(rider)
                if not rider.transport.is_closing():
                    rider.transport.write(data[sent:])
        self.fall_behind(full)

    def wake(self) -> None:
        """Let every viewer that is not on the express lane look for what is new to it."""
        self.news, news = asyncio.Event(), self.news
        news.set()

    def look(self, now: float) -> None:
        """End the streams whose time is over."""
        if now - self.looked >= LOOK_SECONDS:
            self.looked = now
            for rider in [*self.riders, *self.behind]:
                if rider.is_over():
                    rider.end()

    def begin_anew(self) -> None:
        """What the riders have leads to nothing that follows: each is to be told the past."""
        self.frames.clear()
        self.joined.clear()
        self.rewritten = self.ticks.rewritten(self.tags)
        self.fall_behind(list(self.riders))

    def fall_behind(self, riders: Sequence[Rider]) -> None:
        for rider in riders:
            rider.position, rider.unread = self.number, 0
        self.riders.difference_update(riders)
        self.behind.update(riders)
        self.note_lagging()

    def note_lagging(self) -> None:
        if self.behind:
            self.lagging.add(self)
        else:
            self.lagging.discard(self)

    def look_behind(self, head: Head | None) -> None:
        """See which of those that are behind can read again."""
        for rider in self.behind:
            rider.unread += rider.transport.get_write_buffer_size() > 0
        self.catch_up(head)

    def catch_up(self, head: Head | None) -> None:
        for rider in list(self.behind):
            self.bring_up(rider, head)

    def bring_up(self, rider: Rider, head: Head | None) -> None:
        """Hand a rider what it lacks, if it can take it."""
        transport = rider.transport
        if transport.is_closing():
            # the server may not know: while a further request waits for its turn, it reads nothing
            rider.end()
            return
        if not head or transport.get_write_buffer_size():
            return
        if due := rider.due():
            transport.write(sse.chunk(due) if rider.chunked else due)
        rider.unread = 0
        if rider.start is None and not transport.get_write_buffer_size():
            self.behind.discard(rider)
            self.riders.add(rider)
            self.note_lagging()

    def close(self) -> None:
        """End every stream."""
        self.wake()
        for rider in self.riders | self.behind:
            rider.end()

    def join(self, rider: Rider, head: Head | None) -> None:
        self.behind.add(rider)
        self.note_lagging()
        self.bring_up(rider, head)

    def leave(self, rider: Rider) -> None:
        self.riders.discard(rider)
        self.behind.discard(rider)
        self.note_lagging()

    def totals(self) -> dict[str, int | BySource]:
        """The totals at the newest tick."""
        head = self.ticks.newest
        return {
            each.tag: self.value(each, each.totals, head.sources if head else {})
            for each in self.shown
            if each.totals is not None
        }

    def value(
        self, watched: Watched, totals: BySource, sources: dict[str, SourceState]
    ) -> int | BySource:
        return watched.split(totals, sources) if self.by_source else added_up(totals)

    def names(self) -> dict[str, str]:
        """How hashtags are shown, where it is not by their key."""
        return {each.tag: each.name for each in self.shown if each.name_text}

    def frame(self, head: Head) -> bytes:
        """The tick as an event; made once, however many viewers want it."""
        found = self.frames.get(head)
        if found is None:
            before, after = around(head)
            counts = ",".join([self.text_of(each, head) for each in self.shown])
            names = ",".join([each.name_text for each in self.shown if each.name_text])
            data = f'{before}{counts}}},"names":{{{names}{after}'
            found = sse.event(data, "counts", head.id)
            keep(self.frames, head, found)
        return found

    def text_of(self, watched: Watched, head: Head) -> str:
        line = self.ticks.lines.get(watched.tag)
        totals = line.totals_of(head.number) if line else watched.totals
        return watched.written(totals or {}, head.sources if self.by_source else None)

    def missed(self, position: int) -> bytes | None:
        """The ticks after this one in which something changed, as events; None where they
        cannot be had: it is too old, or the past was told anew since."""
        head, newest = self.ticks.head(position), self.ticks.newest
        if not head or not newest or position < self.rewritten:
            return None
        if head is newest:
            return b""
        made_for = (position, newest.number)
        if made_for not in self.joined:
            heads = map(self.ticks.head, self.ticks.changes(self.tags, position))
            whole = b"".join([self.frame(each) for each in heads if each])
            keep(self.joined, made_for, whole, JOINED_KEPT)
        return self.joined[made_for]

    def history(self, head: Head, seconds: float, tags: Sequence[str] = ()) -> bytes:
        """The totals of so many seconds up to a tick as one event; of all hashtags, or these."""
        made_for = (head.number, self.ticks.last, seconds, tags)
        if made_for not in self.joined:
            shown = [each for each in self.shown if not tags or each.tag in tags]
            begin = int(head.at - seconds * 1000)
            series = {each.tag: self.series(each, begin, head) for each in shown}
            first = min((line[0][0] for line in series.values() if line), default=head.at)
            gaps = self.ticks.gaps(begin, head.at)
            if first - begin >= SHORTEST and not self.ticks.is_cut(begin):
                gaps.insert(0, gap_of("start", begin, first))
            told = {
                "at": head.at,
                "tick": head.seconds,
                "series": series,
                "names": {each.tag: each.name for each in shown if each.name_text},
                "gaps": gaps,
            }
            event = sse.event(dumps(told), "history", head.id)
            keep(self.joined, made_for, event, JOINED_KEPT)
        return self.joined[made_for]

    def series(self, watched: Watched, begin: int, head: Head) -> list[tuple[int, Any]]:
        """The first point, each in which the value changed, and the last one."""
        line: list[tuple[int, Any]] = []
        for at, totals in self.ticks.points(watched.tag, watched.totals or {}, begin):
            value = self.value(watched, totals, head.sources)
            if at <= head.at and (not line or value != line[-1][1]):
                line.append((at, value))
        if line and line[-1][0] < head.at:
            line.append((head.at, line[-1][1]))
        return line


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


def keep(cache: dict[Any, Any], key: object, value: Any, most: int = FRAMES_KEPT) -> None:
    """Put into a dictionary that forgets its oldest."""
    cache[key] = value
    if len(cache) > most:
        del cache[next(iter(cache))]
