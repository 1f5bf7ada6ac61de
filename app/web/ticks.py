"""The ticks of the last 15 minutes: when they came, and the lines of what changed in them; pure."""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from sys import getsizeof

from app.messages import UNKNOWN_PEOPLE, BySource, SourceState, Tick, is_after
from app.store.keys import LOG_ENTRIES, LOG_SECONDS
from app.web.gaps import SHORTEST, Gap, all_gaps, clipped, gap_of, is_pause, spells_of
from app.web.line import Line, Point, time_of

LOG_BYTES = 64 * 2**20
"""Of memory, that ticks and lines take at most: 15 minutes of four times what all of Bluesky
writes. In a flood the oldest ticks go before their time."""
HEAD_BYTES, LINE_BYTES, POINT_BYTES, CHANGE_BYTES, SOURCE_BYTES = 500, 480, 310, 9, 400
"""What one of each takes in CPython 3.11 on a machine of 64 bits, nearly, without its texts: a
line's are its hashtag and its name, a source's its reason."""
CUT = "so much was counted that less than 15 minutes of it are at hand"


@dataclass(slots=True, eq=False)
class Head:
    """A tick without its counts."""

    number: int
    """Of the ticks that this process heard, from 1 on. Where the log begins anew one number is
    left out: a viewer that has a tick from before then finds no next one, and is told the past.
    """
    id: str
    """The tick's, in the Redis stream."""
    at: int
    """The closing time, in milliseconds since 1970."""
    seconds: float
    """How long the tick lasts."""
    sources: dict[str, SourceState]
    """One object for all heads in a row that say the same."""
    day: int
    """The UTC day, numbered since 1970, that people are of; 0 where authors are not counted."""
    came: float
    """When we heard it, in seconds of the feed's clock."""
    changed: list[str]
    """The hashtags that have a point with this number."""
    paused: int
    """When the tick before it was, where nobody ticked between the two; else 0."""
    concerns_all: bool
    """Whether it is news whatever hashtags one watches: it came after a pause, or when it was told
    already that none comes, or a source is doing something else."""


class Ticks:
    """What changed in 15 minutes. Bounds: heads and numbers have at most LOG_ENTRIES entries,
    for_all fewer; lines have only hashtags that changed, or were forgotten, within the heads; and
    all together take at most LOG_BYTES, but for one tick that is larger."""

    def __init__(self) -> None:
        self.heads: deque[Head] = deque()
        """The oldest first."""
        self.numbers: dict[str, int] = {}
        """The number of each head, by its id."""
        self.for_all: deque[Head] = deque()
        """The heads that concern all."""
        self.healed = 0
        """The number of the last tick by which a gap was known to be filled."""
        self.lines: dict[str, Line] = {}
        """By their hashtags."""
        self.last = 0
        """The newest number given."""
        self.bytes = 0
        """What all of it takes, nearly."""
        self.cut = 0
        """When the newest tick was that went before its time, in milliseconds since 1970; 0 for
        none."""
        self.gaps_of: tuple[int, list[Gap]] = (0, [])
        """All gaps of the 15 minutes, and the number of the head when they were looked for."""

    @property
    def newest(self) -> Head | None:
        return self.heads[-1] if self.heads else None

    @property
    def day(self) -> int:
        """The UTC day that people are of (Head)."""
        return self.heads[-1].day if self.heads else 0

    def clear(self) -> None:
        self.heads.clear()
        self.numbers.clear()
        self.for_all.clear()
        self.lines.clear()
        self.bytes = self.cut = 0
        self.last += 1

    def head(self, number: int) -> Head | None:
        """The head with this number; None where it is too old, or from before the log began."""
        place = number - self.heads[0].number if self.heads else -1
        return self.heads[place] if 0 <= place < len(self.heads) else None

    def has(self, id: str) -> bool:
        """Whether the tick with this id, or a later one, came."""
        return not is_after(id, self.heads[-1].id if self.heads else "")

    def hear(self, tick: Tick, seconds: float, now: float) -> set[str]:
        """Take in the next tick; the answer is the hashtags whose past was told anew by it."""
        before = self.newest
        says_new = before and before.sources != tick.sources
        missing = self.missing(tick.at, before) if says_new else 0
        head = self.keep(tick, seconds, now)
        if says_new and missing - self.missing(tick.at, before) >= SHORTEST:
            self.healed = head.number
        for tag in tick.gone:
            self.forget(tag, head)
        for tag, totals in tick.counts.items():
            self.add(tag, tick, head, totals)
        while self.bytes > LOG_BYTES and len(self.heads) > 1:
            self.cut = self.heads[0].at
            self.drop(self.heads.popleft())
        return {*tick.gone, *(tag for tag in tick.late if tag in tick.counts)}

    def keep(self, tick: Tick, seconds: float, now: float) -> Head:
        """Put a head into the log, and out of it what is too old."""
        before = self.newest
        sources = before.sources if before and before.sources == tick.sources else tick.sources
        paused = before.at if before and is_pause(before.at, tick.at, seconds) else 0
        self.last += 1
        concerns_all = bool(paused or (before and before.sources is not sources))
        about = tick.id, tick.at, seconds, sources, tick.day
        head = Head(self.last, *about, now, [], paused, concerns_all)
        self.heads.append(head)
        self.numbers[head.id] = head.number
        self.bytes += HEAD_BYTES
        if not before or before.sources is not sources:
            self.bytes += bytes_of_sources(sources)
        if concerns_all:
            self.for_all.append(head)
        while self.heads[0].at < tick.at - LOG_SECONDS * 1000 or len(self.heads) > LOG_ENTRIES:
            self.drop(self.heads.popleft())
        return head

    def concern_all(self) -> None:
        """The newest tick is news for everybody, and for who comes back to one before it."""
        head = self.heads[-1]
        if not head.concerns_all:
            head.concerns_all = True
            self.for_all.append(head)

    def missing(self, now: int, before: Head | None) -> int:
        """Milliseconds of gaps up to this tick, as far as is known by now."""
        gaps = clipped(self.known_gaps(), now - LOG_SECONDS * 1000, before.at) if before else []
        return sum(gap["to"] - gap["from"] for gap in gaps)

    def drop(self, head: Head) -> None:
        """Forget what belongs to the oldest head, which is out of the log already."""
        self.bytes -= HEAD_BYTES + CHANGE_BYTES * len(head.changed)
        if not self.heads or self.heads[0].sources is not head.sources:
            self.bytes -= bytes_of_sources(head.sources)
        if self.numbers.get(head.id) == head.number:
            del self.numbers[head.id]
        if self.for_all and self.for_all[0] is head:
            self.for_all.popleft()
        for tag in head.changed:
            if line := self.lines.get(tag):
                points = len(line.points)
                line.drop(head.number)
                self.bytes -= POINT_BYTES * (points - len(line.points))
                if not line.points:
                    self.remove(tag)

    def remove(self, tag: str) -> None:
        """Forget a line."""
        if line := self.lines.pop(tag, None):
            self.bytes -= bytes_of_line(line, tag)

    def forget(self, tag: str, head: Head) -> None:
        """The hashtag's totals begin at 0 again, and what its line was is of no use."""
        known = self.lines.get(tag)
        tag = known.tag if known else tag
        self.remove(tag)
        line = self.lines[tag] = Line({}, tag)
        line.points.append(Point(head.number, head.at, {}))
        line.rewritten, line.people = head.number, (head.day, 0)
        head.changed.append(tag)
        self.bytes += bytes_of_line(line, tag) + CHANGE_BYTES

    def add(self, tag: str, tick: Tick, head: Head, totals: BySource) -> None:
        """Add a point to the hashtag's line."""
        line = self.lines.get(tag)
        if line is None:
            added = tick.added.get(tag, {})
            before = {source: max(0, n - added.get(source, 0)) for source, n in totals.items()}
            line = self.lines[tag] = Line(before, tag)
            self.bytes += bytes_of_line(line, tag)
        name = tick.names.get(tag, tag)
        if name != line.name:
            self.bytes += getsizeof(name) - getsizeof(line.name)
            line.name = name
        points = len(line.points)
        if late := tick.late.get(tag):
            line.rewritten = head.number
            oldest = tick.at - LOG_SECONDS * 1000
            for number in line.raise_past(late, oldest, tick.at, self.number_at):
                if found := self.head(number):
                    found.changed.append(line.tag)
        line.points.append(Point(head.number, head.at, totals))
        people = tick.people.get(tag)
        line.people = UNKNOWN_PEOPLE if people is None else (tick.day, people)
        self.bytes += (POINT_BYTES + CHANGE_BYTES) * (len(line.points) - points)
        head.changed.append(line.tag)

    def number_at(self, at: int) -> int:
        """The number of the first head at or after this time; of the newest where none is."""
        place = bisect_left(self.heads, at, key=time_of)
        return self.heads[min(place, len(self.heads) - 1)].number

    def points(self, tag: str, otherwise: BySource, begin: int) -> list[tuple[int, BySource]]:
        """The totals from a time on (milliseconds since 1970): first those at that time, or
        where the line begins, then each change. otherwise: the totals of one without a line.
        """
        if not self.heads:
            return []
        line, first = self.lines.get(tag), self.heads[0].at
        if line is None:
            return [(max(begin, first), otherwise)]
        first = max(begin, min(first, line.points[0].at))
        later = line.points_after(first)
        return [(first, line.totals_at(first)), *((point.at, point.totals) for point in later)]

    def changes(self, tags: Iterable[str], number: int, last: int) -> list[int]:
        """The numbers of the ticks after one and up to another in which one of these changed, or
        that came after a pause."""
        found = {head.number for head in self.for_all if number < head.number <= last}
        for tag in tags:
            if line := self.lines.get(tag):
                found.update(line.numbers_between(number, last))
        return sorted(found)

    def has_changed(self, tags: Iterable[str], number: int) -> bool:
        """Whether there is such a tick after this one."""
        if self.for_all and self.for_all[-1].number > number:
            return True
        lines = (self.lines.get(tag) for tag in tags)
        return any(line and line.points[-1].number > number for line in lines)

    def rewritten(self, tags: Iterable[str]) -> int:
        """The number of the last tick that told the past of one of these anew."""
        lines = (self.lines.get(tag) for tag in tags)
        return max((self.healed, *(line.rewritten for line in lines if line)))

    def gaps(self, begin: int, end: int) -> list[Gap]:
        """When nothing, or not everything, was counted, or what was is not at hand any more;
        milliseconds since 1970."""
        found = clipped(self.known_gaps(), begin, end)
        if self.heads and self.is_cut(begin):
            found.insert(0, {**gap_of("kept", begin, self.heads[0].at), "reason": CUT})
        return found

    def is_cut(self, begin: int) -> bool:
        """Whether ticks since then went before their time."""
        return self.cut > 0 and self.cut >= begin

    def known_gaps(self) -> list[Gap]:
        if self.gaps_of[0] != self.last:
            spells = spells_of([(head.at, head.sources) for head in self.heads])
            pauses = [(head.paused, head.at) for head in self.for_all if head.paused]
            self.gaps_of = (self.last, all_gaps(spells, pauses))
        return self.gaps_of[1]


def bytes_of_line(line: Line, tag: str) -> int:
    texts = getsizeof(tag) + getsizeof(line.name)
    return LINE_BYTES + texts + POINT_BYTES * len(line.points)


def bytes_of_sources(sources: dict[str, SourceState]) -> int:
    return sum(SOURCE_BYTES + getsizeof(state.reason) for state in sources.values())
