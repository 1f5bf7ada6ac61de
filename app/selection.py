"""The viewers that chose the same hashtags, and each recent tick as bytes for them.

What a tick costs is shared as far as it can be: every total is written as text once for all
selections, an event is joined from those texts once for all viewers of a selection, and
viewers on the express lane (app/express.py) are handed the very same bytes.
"""

import asyncio
from collections.abc import Callable, Container, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, Protocol

from app import sse
from app.messages import Tick, dumps

REPEAT_SECONDS = 4.0
"""Unchanged totals are sent again after this long, well within the promised 5 s."""
LOOK_SECONDS = 5.0
"""How often is looked for streams whose time is over."""
FRAMES_KEPT = 16
JOINED_KEPT = 4


class Rider(Protocol):
    """A viewer on the express lane, as a selection sees it (app/viewer.py)."""

    transport: asyncio.WriteTransport
    send: Callable[[bytes], int]
    chunked: bool
    position: str
    unread: int

    def due(self) -> bytes: ...
    def is_over(self) -> bool: ...
    def end(self) -> None: ...


class Selection:
    """The viewers that chose the same hashtags, and each recent tick as bytes for them."""

    def __init__(self, tags: tuple[str, ...], by_source: bool = False) -> None:
        self.tags, self.by_source = tags, by_source
        self.frames: dict[str, bytes] = {}
        self.quiet: dict[str, None] = {}
        self.joined: dict[object, bytes] = {}
        """What is longer than a tick, made for those who came since the last one."""
        self.news = asyncio.Event()
        self.told = 0.0
        self.settled = ""
        """The newest tick that all riders have, or that had nothing new for them."""
        self.riders: set[Rider] = set()
        """Those that have all, and whose connection has taken all."""
        self.behind: set[Rider] = set()
        """Those that lack a tick, or whose connection is full; their position says from where."""
        self.looked = 0.0

    def hear(self, tick: Tick, changed: Container[str], now: float) -> None:
        """Hand the tick to all when one of their totals changed, or was not told for long."""
        self.joined.clear()
        news = any(tag in changed for tag in self.tags)
        if not news:
            keep(self.quiet, tick.id, None)
        if news or now - self.told >= REPEAT_SECONDS:
            self.tell(tick, now)
        self.settled = tick.id
        self.catch_up(tick)

    def beat(self, newest: Tick | None, now: float) -> None:
        """What time alone brings: the repeat, and who can read again."""
        if now - self.told >= REPEAT_SECONDS:
            if newest:
                self.tell(newest, now)
            else:
                self.wake()
        self.settled = newest.id if newest else ""
        if now - self.looked >= LOOK_SECONDS:
            self.looked = now
            for rider in [*self.riders, *self.behind]:
                if rider.is_over():
                    rider.end()
        for rider in self.behind:
            rider.unread += rider.transport.get_write_buffer_size() > 0
        self.catch_up(newest)

    def tell(self, tick: Tick, now: float) -> None:
        """Hand the tick to every viewer that has all before it."""
        self.told = now
        self.wake()
        if not self.riders:
            return
        plain = self.frame(tick)
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
        self.fall_behind(full, tick.id)

    def wake(self) -> None:
        """Let every viewer that is not on the express lane look for what is new to it."""
        self.news, news = asyncio.Event(), self.news
        news.set()

    def fall_behind(self, riders: Sequence[Rider], position: str) -> None:
        for rider in riders:
            rider.position, rider.unread = position, 0
        self.riders.difference_update(riders)
        self.behind.update(riders)

    def begin_anew(self) -> None:
        """What the riders have leads to nothing that follows: each is told afresh."""
        self.fall_behind(list(self.riders), self.settled)

    def catch_up(self, newest: Tick | None) -> None:
        for rider in list(self.behind):
            self.bring_up(rider, newest)

    def bring_up(self, rider: Rider, newest: Tick | None) -> None:
        """Hand a rider what it lacks, if it can take it."""
        transport = rider.transport
        if transport.is_closing():
            # the server may not know: while a further request waits for its turn, it reads nothing
            rider.end()
            return
        if not newest or transport.get_write_buffer_size():
            return
        if due := rider.due():
            transport.write(sse.chunk(due) if rider.chunked else due)
        rider.unread = 0
        if rider.position == self.settled and not transport.get_write_buffer_size():
            self.behind.discard(rider)
            self.riders.add(rider)

    def close(self) -> None:
        """End every stream."""
        self.wake()
        for rider in self.riders | self.behind:
            rider.end()

    def join(self, rider: Rider, newest: Tick | None) -> None:
        self.behind.add(rider)
        self.bring_up(rider, newest)

    def leave(self, rider: Rider) -> None:
        self.riders.discard(rider)
        self.behind.discard(rider)

    def totals(self, tick: Tick) -> dict[str, object]:
        """What this selection shows of a tick."""
        counts: Mapping[str, object] = tick.by_source if self.by_source else tick.counts
        return {tag: counts[tag] for tag in self.tags if tag in counts}

    def frame(self, tick: Tick) -> bytes:
        """The tick as an event; made once, however many viewers want it."""
        found = self.frames.get(tick.id)
        if found is None:
            texts = written(tick)
            parts = texts.by_source if self.by_source else texts.counts
            counts = ",".join([parts[tag] for tag in self.tags if tag in parts])
            names = ",".join([texts.names[tag] for tag in self.tags if tag in texts.names])
            data = f'{texts.before}{counts}}},"names":{{{names}{texts.after}'
            found = sse.event(data, "counts", tick.id)
            keep(self.frames, tick.id, found)
        return found

    def missed(self, ticks: Sequence[Tick]) -> bytes:
        """Ticks that follow each other, as events; after an outage many viewers lack the same."""
        if len(ticks) < 2:
            return self.frame(ticks[0]) if ticks else b""
        made_for = (ticks[0].id, ticks[-1].id, len(ticks))
        if made_for not in self.joined:
            whole = b"".join([self.frame(tick) for tick in ticks])
            keep(self.joined, made_for, whole, JOINED_KEPT)
        return self.joined[made_for]

    def history(self, ticks: Sequence[Tick], seconds: float) -> bytes:
        """The totals of the last seconds as one event, by the newest tick's time."""
        newest = ticks[-1]
        made_for = (newest.id, seconds)
        if made_for not in self.joined:
            oldest = newest.at - seconds * 1000
            shown = [(tick, self.totals(tick)) for tick in ticks if tick.at >= oldest]
            told = {
                "at": newest.at,
                "tick": newest.seconds,
                "series": {
                    tag: [(tick.at, totals[tag]) for tick, totals in shown if tag in totals]
                    for tag in self.tags
                },
                "names": {tag: newest.names[tag] for tag in self.tags if tag in newest.names},
            }
            event = sse.event(dumps(told), "history", newest.id)
            keep(self.joined, made_for, event, JOINED_KEPT)
        return self.joined[made_for]


class Written:
    """The texts that a tick's events are joined from, each made when it is first wanted."""

    def __init__(self, tick: Tick) -> None:
        self.tick = tick
        self.before = f'{{"at":{tick.at},"tick":{dumps(tick.seconds)},"counts":{{'
        about = {"sources": tick.sources, "details": tick.details}
        self.after = f"}},{dumps(about)[1:]}"

    @cached_property
    def counts(self) -> dict[str, str]:
        return {tag: f"{dumps(tag)}:{total}" for tag, total in self.tick.counts.items()}

    @cached_property
    def names(self) -> dict[str, str]:
        """The spelling that most posts have, where it is not the key itself."""
        names = self.tick.names.items()
        return {tag: f"{dumps(tag)}:{dumps(name)}" for tag, name in names if name != tag}

    @cached_property
    def by_source(self) -> dict[str, str]:
        return {tag: f"{dumps(tag)}:{dumps(part)}" for tag, part in self.tick.by_source.items()}


written = lru_cache(maxsize=256)(Written)


def keep(cache: dict[Any, Any], key: object, value: Any, most: int = FRAMES_KEPT) -> None:
    """Put into a dictionary that forgets its oldest."""
    cache[key] = value
    if len(cache) > most:
        del cache[next(iter(cache))]
