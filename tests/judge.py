"""What it means that a viewer missed nothing: judged against every tick that ever was."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from servers import Event

from app.messages import Tick, added_up

SECONDS = 900
"""Of the past that a viewer is told where it does not say how much."""
PAUSE, PART = 8_000, 5_000
"""Milliseconds: a pause of the ingester is longer than the one, a gap in it than the other."""


class Ledger:
    """Every tick that Redis ever had, also those that it forgot when it came back older.

    Each tick names the one before it, so that together they are a tree: a Redis that came
    back older goes on from an older tick, and what it forgot is a branch that ended. Ticks
    are sparse: the total of a hashtag at a tick is that of the nearest tick on the way back
    that names it, and 0 before the first.
    """

    def __init__(self) -> None:
        self.ticks: dict[str, Tick] = {}
        self.newest = ""
        """Ids are times: what Redis logs later has a later id, whatever it forgot before."""
        self.lines: dict[str, dict[str, int]] = {}
        """Hashtag to tick to total, for the hashtags that were asked for."""

    def add(self, ticks: Iterable[Tick]) -> None:
        for tick in ticks:  # in the order of their ids
            self.ticks[tick.id] = tick
            self.newest = tick.id
            self.lines = {}

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

    def ids(self, id: str) -> set[str]:
        """All that leads to a tick, and itself."""
        return {tick.id for tick in self.path("", id) or ()}

    def line(self, tag: str) -> dict[str, int]:
        """The hashtag's total at every tick; at "", which is before all of them, too."""
        line = self.lines.get(tag)
        if line is None:
            line = self.lines[tag] = {"": 0}
            for tick in self.ticks.values():
                if tag in tick.counts:
                    line[tick.id] = added_up(tick.counts[tag])
                else:
                    line[tick.id] = 0 if tag in tick.gone else line[tick.previous]
        return line

    def pause(self, tick: Tick) -> int:
        """How long nobody had ticked before this one, in milliseconds; 0 for no pause."""
        before = self.ticks.get(tick.previous)
        lasted = tick.at - before.at if before else 0
        return lasted if lasted > max(PAUSE, 4_000 * tick.seconds) else 0

    def wrong(self) -> list[str]:
        """What is wrong with the ticks themselves: each leads on from the one that it names."""
        found, here = [], ""
        totals: dict[str, dict[str, int]] = {}
        for tick in self.ticks.values():
            if tick.previous != here:
                totals = self.totals_at(tick.previous)
            before = self.ticks.get(tick.previous)
            if before and tick.at < before.at:
                found.append(f"tick {tick.id} is dated {before.at - tick.at} ms before the last")
            for tag, parts in tick.counts.items():
                added = tick.added.get(tag, {})
                expected = {**totals.get(tag, {})}
                for source, posts in added.items():
                    expected[source] = expected.get(source, 0) + posts
                if tag not in tick.gone and expected != parts:
                    found.append(f"tick {tick.id} has {parts} of {tag}, not {expected}")
            self.enter(tick, totals)
            here = tick.id
        return found

    def totals_at(self, id: str) -> dict[str, dict[str, int]]:
        """Hashtag to source to total, of all of them."""
        totals: dict[str, dict[str, int]] = {}
        for tick in self.path("", id) or ():
            self.enter(tick, totals)
        return totals

    def enter(self, tick: Tick, totals: dict[str, dict[str, int]]) -> None:
        for tag in tick.gone:
            totals.pop(tag, None)
        totals.update(tick.counts)


@dataclass
class Visit:
    """One connection of a viewer."""

    tags: Sequence[str]
    """Those that it shows."""
    new: Sequence[str] = ()
    """Those of them that it asks the past of (`new=`)."""
    last_id: str = ""
    """The event from which it goes on; empty for a page that has nothing yet."""
    history: int = 0
    """The seconds of the past that it asks for."""
    events: list[Event] = field(default_factory=list)


class Judge:
    """Reads the events that one viewer got, over all its connections, in their order.

    No gap: from each event to the next leads a path of ticks, and all that was left out on
    the way changed none of this viewer's totals, and came after no pause of the ingester. No
    repeat: no event is of a tick that came before the newest one that the viewer has. The
    newest one itself may come again: that is the heartbeat, at most one in REPEAT_SECONDS from
    either web process. Whatever the event, its totals are those of its tick.

    A `history` starts anew. It is right where the viewer asked for one: of its new hashtags
    alone, as of the event from which it goes on. Otherwise it is of all of its hashtags, and
    right only where Redis came back older and forgot the newest tick that the viewer had, or
    one after it that changed nothing and so was passed over; or where a tick since then told
    the past of one of its hashtags anew (`late`), or that it is forgotten (`gone`). It is the
    whole log, to its tick: the first point, each change and the last one. Where late posts
    were put into it, it may begin before the log (of a Redis that forgot everything), never
    falls, has no less than was known at any moment, and comes to the same end.
    """

    def __init__(self, ledger: Ledger, tags: Sequence[str] = ()) -> None:
        self.ledger, self.tags = ledger, tags
        self.newest = ""
        self.awaited: set[str] = set()
        """The hashtags whose past was asked for, until it comes."""
        self.seconds = SECONDS
        """The past that is told."""
        self.anew = False
        self.heartbeats = self.histories = self.news = 0
        self.wrong: list[str] = []

    def visits(self, visits: Iterable[Visit]) -> "Judge":
        for visit in visits:
            self.tags, self.newest = visit.tags, visit.last_id
            asked = visit.tags if visit.history and not visit.last_id else ()
            self.awaited = set(visit.new or asked)
            self.seconds = visit.history or SECONDS
            self.read(visit.events)
        return self

    def read(self, events: Iterable[Event]) -> "Judge":
        for event in events:
            tick = self.ledger.ticks.get(event.id)
            if tick is None:
                self.complain(event, "is of no tick that ever was")
            elif event.data["at"] != tick.at:
                self.complain(event, f"is dated {event.data['at']}, and not {tick.at}")
            elif event.name == "history":
                self.history(event)
            else:
                self.counts(event, tick)
            self.newest, self.awaited = event.id, set()
        return self

    def complain(self, event: Event, what: str) -> None:
        self.wrong.append(f"{event.name} {event.id} {what}, after {self.newest or 'nothing'}")

    def totals(self, id: str) -> dict[str, int]:
        return {tag: self.ledger.line(tag)[id] for tag in self.tags}

    def history(self, event: Event) -> None:
        self.histories += 1
        tags = set(event.data["series"])
        if self.awaited == tags and self.newest in ("", event.id):
            self.news += 1
        else:
            if tags != set(self.tags):
                self.complain(event, f"is of {sorted(tags)}, not of {sorted(self.tags)}")
            if self.newest and not self.has_to_begin_anew(event):
                self.complain(event, "though the log has what it missed")
            self.seconds = self.seconds if not self.newest else SECONDS
        for tag in sorted(tags):
            self.series(event, tag)
        self.anew = True

    def has_to_begin_anew(self, event: Event) -> bool:
        kept = self.ledger.ids(event.id) | self.ledger.ids(self.ledger.newest)
        if self.newest not in self.ledger.ids(event.id) or not self.passed() <= kept:
            return True
        between = self.ledger.path(self.newest, event.id) or ()
        return any(tag in tick.late or tag in tick.gone for tick in between for tag in self.tags)

    def passed(self) -> set[str]:
        """The newest tick that the viewer has, and those after it that changed nothing."""
        shown, same = self.totals(self.newest), {self.newest}
        for tick in self.ledger.ticks.values():
            if tick.previous in same and self.totals(tick.id) == shown:
                same.add(tick.id)
        return same

    def series(self, event: Event, tag: str) -> None:
        """Judge one hashtag's past."""
        points = event.data["series"][tag]
        ticks = self.ledger.path("", event.id)
        if not ticks or not points:
            self.complain(event, f"has {len(points)} points of {tag}")
            return
        oldest = ticks[-1].at - self.seconds * 1000
        began, told_anew = max(oldest, ticks[0].at), self.is_told_anew(tag, ticks, oldest)
        earliest, latest = oldest if told_anew else began, began + (PART if began == oldest else 0)
        if not earliest <= points[0][0] <= latest:
            self.complain(event, f"begins {points[0][0] - began} ms late for {tag}")
        expected = self.expected(tag, ticks, points[0][0])
        if told_anew:
            if trouble := unlike(points, expected):
                self.complain(event, f"{trouble} for {tag}: {points}, not {expected}")
        elif points != expected:
            self.complain(event, f"has {points} for {tag}, not {expected}")

    def expected(self, tag: str, ticks: Sequence[Tick], first: int) -> list[list[int]]:
        """The points from a time on: the total then, each change, and the total at the end."""
        line = self.ledger.line(tag)
        gone = max((n for n, tick in enumerate(ticks) if tag in tick.gone), default=0)
        found = [[first, 0]]
        for tick in ticks[gone:]:
            total = line[tick.id]
            if tick.at <= first:
                found = [[first, total]]
            elif total != found[-1][1]:
                found.append([tick.at, total])
        if found[-1][0] < ticks[-1].at:
            found.append([ticks[-1].at, found[-1][1]])
        return found

    def is_told_anew(self, tag: str, ticks: Sequence[Tick], began: int) -> bool:
        """Whether late posts were put into these 15 minutes, and were not forgotten since."""
        for tick in reversed(ticks):
            if tag in tick.late and tick.at >= began:
                return True
            if tag in tick.gone:
                return False
        return False

    def counts(self, event: Event, tick: Tick) -> None:
        if self.awaited:
            self.complain(event, f"came before the past of {sorted(self.awaited)}")
        if event.data["counts"] != self.totals(tick.id):
            self.complain(event, f"has {event.data['counts']}, not {self.totals(tick.id)}")
        if "gap" in event.data and not self.ledger.pause(tick):
            self.complain(event, f"tells of a gap that was none: {event.data['gap']}")
        if "gap" not in event.data and self.is_gap(tick):
            self.complain(event, f"tells of no gap after {self.ledger.pause(tick)} ms")
        if event.id == self.newest:
            self.heartbeats += not self.anew
        elif self.newest:
            self.follow(event)
        self.anew = False

    def is_gap(self, tick: Tick) -> bool:
        """Whether something was not counted before this tick: no source that works says that
        it lacks nothing since then."""
        begin = tick.at - self.ledger.pause(tick)
        unbroken = [s.unbroken_since for s in tick.sources.values() if s.works and s.complete]
        return min([tick.at, *unbroken]) - begin >= PART

    def follow(self, event: Event) -> None:
        path = self.ledger.path(self.newest, event.id)
        if path is None:
            self.complain(event, "does not follow")
            return
        shown = self.totals(self.newest)
        for tick in path[:-1]:
            totals = self.totals(tick.id)
            if totals != shown or self.ledger.pause(tick):
                self.complain(event, f"leaves out {tick.id}")
            shown = totals


def unlike(points: Sequence[Any], known: Sequence[Sequence[int]]) -> str:
    """What is wrong with a line into which late posts were put; known: it without them."""
    if any(after[0] < before[0] or after[1] < before[1] for before, after in pairwise(points)):
        return "falls"
    if points[-1] != known[-1]:
        return f"ends with {points[-1]}"
    for at, total in known:
        if total > max((n for moment, n in points if moment <= at), default=0):
            return f"has too little at {at}"
    return ""
