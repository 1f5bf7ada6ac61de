"""What a viewer may choose beside the totals: events that are made once for all who chose them.

They go with a tick, after its totals and in the same bytes, and have no id: a stream that goes on
after a cut needs nothing of them, since a viewer begins with what it has to know (`first`). A
viewer that comes back may get one twice, as may one of a process that tells not every tick.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol
from weakref import ref

from app.store.store import Store, StoreLost
from app.web.ticks import Ticks
from app.web.watched import Watched

NAMES = ("board", "alerts", "posts")
"""What a query may choose with NAME=1."""


class Extra(Protocol):
    """Events of one kind."""

    async def read(self, store: Store, now: float) -> bool:
        """Look into Redis, if it is time to; whether something is new. Called after each tick, or
        once after several. now: seconds of the feed's clock. Raises StoreLost."""

    def take(self, number: int) -> Collection[str] | None:
        """What is new goes with the tick of this number, the next one. The hashtags whose viewers
        it is for; None for all who chose this kind."""

    def first(self, tags: Sequence[str]) -> bytes:
        """What a viewer of these hashtags begins with; nothing where there is nothing to say."""

    def between(self, tags: Sequence[str], before: int, last: int) -> bytes:
        """What went with the ticks after one and up to another; by numbers of the feed's ticks."""


class Extras:
    """All kinds of such events, and who chose which. Bound: chosen has a fan-out once for each
    kind that it has, for as long as it lives."""

    def __init__(self, kinds: Mapping[str, Extra]) -> None:
        self.kinds = dict(kinds)
        """By the word of the query."""
        self.chosen: dict[str, set[ref[Any]]] = {name: set() for name in kinds}
        """The fan-outs of each kind."""

    def add(self, name: str, extra: Extra) -> None:
        self.kinds[name], self.chosen[name] = extra, set()

    def of(self, names: Sequence[str]) -> tuple[Extra, ...]:
        return tuple([self.kinds[name] for name in names if name in self.kinds])

    def join(self, fanout: ref[Any], names: Sequence[str]) -> None:
        for name in names:
            if name in self.kinds:
                self.chosen[name].add(fanout)

    def leave(self, fanout: ref[Any]) -> None:
        for fanouts in self.chosen.values():
            fanouts.discard(fanout)

    async def look(
        self,
        store: Store,
        now: float,
        ticks: Ticks,
        watched: Mapping[str, Watched],
        untold: set[ref[Any]],
    ) -> None:
        """Read what is new of each kind, and add to untold whom to tell it with the next tick.
        What cannot be read now is looked for after the next one."""
        for name, extra in self.kinds.items():
            with suppress(StoreLost):
                if await extra.read(store, now):
                    untold |= self.concerned(name, extra.take(ticks.last + 1), watched)

    def concerned(
        self, name: str, tags: Collection[str] | None, watched: Mapping[str, Watched]
    ) -> set[ref[Any]]:
        """The fan-outs that chose this kind and show one of these hashtags."""
        chosen = self.chosen[name]
        if tags is None:
            return chosen
        shown = [watched[tag].fanouts for tag in tags if tag in watched] if chosen else []
        return set[ref[Any]]().union(*shown) & chosen
