"""What it means that a viewer missed nothing: judged against every tick that ever was."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from servers import Event

from app.messages import Tick


class Ledger:
    """Every tick that Redis ever had, also those that it forgot when it came back older.

    Each tick names the one before it, so that together they are a tree: a Redis that came
    back older goes on from an older tick, and what it forgot is a branch that ended.
    """

    def __init__(self) -> None:
        self.ticks: dict[str, Tick] = {}
        self.newest = ""
        """Ids are times: what Redis logs later has a later id, whatever it forgot before."""

    def add(self, ticks: Iterable[Tick]) -> None:
        for tick in ticks:  # in the order of their ids
            self.ticks[tick.id] = tick
            self.newest = tick.id

    def path(self, id: str, later: str) -> list[Tick] | None:
        """The ticks after the first up to the second; None where the one does not lead to
        the other."""
        found: list[Tick] = []
        while later != id:
            tick = self.ticks.get(later)
            if tick is None:
                return None
            found.append(tick)
            later = tick.previous
        return found[::-1]


class Judge:
    """Reads the events that one viewer got, over all its connections, in their order.

    No gap: from each event to the next leads a path of ticks, and all that was left out on
    the way had the same totals, of this viewer's hashtags, as the tick before it. No
    repeat: no event is of a tick that came before the newest one that the viewer has. The
    newest one itself may come again with the same totals: that is the heartbeat, at most
    one in four seconds from either web process. A `history` starts anew: it is right only
    where Redis came back older and forgot the newest tick that the viewer had, or one after
    it that had the same totals and so was passed over; and it is the whole log, to the
    newest tick, with no hole.
    """

    def __init__(self, ledger: Ledger, tags: Sequence[str]) -> None:
        self.ledger, self.tags = ledger, tags
        self.newest = ""
        self.anew = False
        self.heartbeats = self.histories = 0
        self.wrong: list[str] = []

    def read(self, events: Iterable[Event]) -> "Judge":
        for event in events:
            if event.id not in self.ledger.ticks:
                self.complain(event, "is of no tick that ever was")
            elif event.name == "history":
                self.history(event)
            else:
                self.counts(event)
            self.newest = event.id
        return self

    def complain(self, event: Event, what: str) -> None:
        self.wrong.append(f"{event.name} {event.id} {what}, after {self.newest or 'nothing'}")

    def totals(self, tick: Tick) -> Mapping[str, int]:
        return {tag: tick.counts[tag] for tag in self.tags}

    def history(self, event: Event) -> None:
        self.histories += 1
        ticks = self.ledger.path("", event.id) or []
        if self.newest and self.passed() <= {tick.id for tick in ticks}:
            self.complain(event, "though the log has what it missed")
        for tag in self.tags:
            points: list[Any] = event.data["series"][tag]
            if points != [[tick.at, tick.counts[tag]] for tick in ticks]:
                self.complain(event, f"has {len(points)} of {len(ticks)} ticks for {tag}")
        self.anew = True

    def passed(self) -> set[str]:
        """The newest tick that the viewer has, and those after it with the same totals."""
        shown = self.totals(self.ledger.ticks[self.newest])
        same = {self.newest}
        for tick in self.ledger.ticks.values():
            if tick.previous in same and self.totals(tick) == shown:
                same.add(tick.id)
        return same

    def counts(self, event: Event) -> None:
        tick = self.ledger.ticks[event.id]
        if event.data["counts"] != self.totals(tick):
            self.complain(event, f"has {event.data['counts']}, not {self.totals(tick)}")
        if event.id == self.newest:
            self.heartbeats += not self.anew
        elif self.newest:
            self.follow(event)
        self.anew = False

    def follow(self, event: Event) -> None:
        path = self.ledger.path(self.newest, event.id)
        if path is None:
            self.complain(event, "does not follow")
            return
        shown = self.totals(self.ledger.ticks[self.newest])
        for tick in path[:-1]:
            if self.totals(tick) != shown:
                self.complain(event, f"leaves out {tick.id}")
            shown = self.totals(tick)
