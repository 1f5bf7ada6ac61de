"""The totals of one hashtag in 15 minutes as JSON: written once, a few at a time, and only extended
by what comes later. It lies in blocks, so whatever time is asked for, little more than bytes is
copied."""

from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterator

from app.messages import BySource, SourceState, added_up
from app.web.line import Line
from app.web.sse import Bytes
from app.web.ticks import Ticks
from app.web.watched import Watched, by_source

MOST_TEXTS = 300_000
"""So many points are kept as text, of at most about 100 bytes; those of the hashtags asked for
last."""
A_SERIES = 20
"""A hashtag takes as much as so many points beside its own: most have one or two."""
BLOCK = 256
"""Points."""

Sources = dict[str, SourceState]


class Series:
    """A line's points as text, as far as they were written. Bound: as many as the line has, and
    less than a block more."""

    __slots__ = ("asked", "blocks", "line", "newest", "numbers", "places", "rewritten", "times")

    def __init__(self, line: Line, asked: BySource | None) -> None:
        self.line, self.rewritten = line, line.rewritten
        self.asked = asked
        """0 for each source that a total is told of in any case; None where all are added up."""
        self.blocks: list[bytearray] = []
        """Of BLOCK points each, but for the newest: "[milliseconds since 1970,total]," of each
        point, or nothing where the total stands still."""
        self.numbers, self.times, self.places = array("q"), array("q"), array("I")
        """Of each point that is written: its tick's number, its time, and where in its block its
        text begins."""
        self.newest = self.total_as_json(line.before)
        """The newest total that is written."""

    @property
    def weight(self) -> int:
        """What it takes, in points."""
        return A_SERIES + len(self.times)

    def is_of(self, line: Line, asked: BySource | None) -> bool:
        """Whether the line is the one of which this was written, and nothing of it was changed."""
        return self.line is line and self.rewritten == line.rewritten and self.asked == asked

    def extend(self, most: int) -> int:
        """Write at most so many points that are not yet; how many were."""
        points = self.line.points
        gone = bisect_left(self.numbers, points[0].number) if points else len(self.numbers)
        begin = len(self.numbers) - gone
        self.drop(gone // BLOCK)
        for point in (new := points[begin : begin + most]):
            if len(self.places) % BLOCK == 0:
                self.blocks.append(bytearray())
            block = self.blocks[-1]
            self.numbers.append(point.number)
            self.times.append(point.at)
            self.places.append(len(block))
            total = self.total_as_json(point.totals)
            if total != self.newest:
                block += f"[{point.at},{total}],".encode()
                self.newest = total
        return len(new)

    def drop(self, blocks: int) -> None:
        """Forget so many blocks of points that have left the line."""
        del self.blocks[:blocks]
        for each in (self.numbers, self.times, self.places):
            del each[: blocks * BLOCK]

    def total_as_json(self, totals: BySource) -> str:
        """A total as JSON."""
        return str(added_up(totals)) if self.asked is None else by_source({**self.asked, **totals})

    def between(self, begin: int, end: int) -> list[Bytes]:
        """The first point, each in which the total changed, and the last one, as parts of JSON;
        from this time to that one, in milliseconds since 1970."""
        first, last = bisect_right(self.times, begin), bisect_right(self.times, end)
        total = self.total_as_json(self.line.totals_at(begin))
        parts = [f"[{begin},{total}],".encode(), *self.cut(first, last)]
        part = parts.pop()[:-1]
        newest = bytes(part[part.rindex(b"[") :])
        if not newest.startswith(b"[%d," % end):
            part += b",[%d,%b" % (end, newest.partition(b",")[2])
        return [*parts, part]

    def cut(self, first: int, last: int) -> Iterator[Bytes]:
        """The texts of the points from this place to before that one."""
        for number in range(first // BLOCK, -(-last // BLOCK)):
            block, begin = self.blocks[number], number * BLOCK
            start = self.places[first] if begin < first < last else 0
            stop = self.places[last] if last < min(begin + BLOCK, len(self.places)) else len(block)
            if first < last and start < stop:
                yield block if stop - start == len(block) else block[start:stop]


class AllSeries:
    """What was written of all hashtags. Bound: MOST_TEXTS, each hashtag counted as A_SERIES more,
    and what is asked for in one tick."""

    def __init__(self, ticks: Ticks) -> None:
        self.ticks = ticks
        self.kept: OrderedDict[tuple[str, bool], Series] = OrderedDict()
        """By hashtag, and whether by source; that asked for last stands last."""
        self.weight = 0
        """Of all that is kept, in points."""

    def prepare(self, watched: Watched, sources: Sources | None, most: int) -> int:
        """Write at most so many points of a hashtag's line; how many were. sources: as they are at
        the newest tick, where the totals are wanted by source."""
        line = self.ticks.lines.get(watched.tag)
        if line is None:
            return 0
        key, asked = (watched.tag, sources is not None), asked_of(watched, sources)
        found = self.kept.get(key)
        if found is None or not found.is_of(line, asked):
            self.weight -= found.weight if found else 0
            found = self.kept[key] = Series(line, asked)
            self.weight += found.weight
        self.kept.move_to_end(key)
        before = found.weight
        written = found.extend(most)
        self.weight += found.weight - before
        return written

    def written(
        self, watched: Watched, sources: Sources | None, begin: int, end: int
    ) -> tuple[int, list[Bytes]]:
        """When the line begins, at this time or later, and its points to the end, as parts of
        JSON."""
        first = self.ticks.heads[0].at
        line = self.ticks.lines.get(watched.tag)
        if line is None:
            begin, series = max(begin, first), None
        else:
            begin = max(begin, min(first, line.points[0].at))
            self.prepare(watched, sources, len(line.points))
            series = self.kept[watched.tag, sources is not None]
        if begin > end:
            return end, []
        if series is None:
            series = Series(Line(watched.totals or {}, ""), asked_of(watched, sources))
        return begin, series.between(begin, end)

    def forget(self) -> None:
        """Forget what was not asked for lately."""
        while self.weight > MOST_TEXTS:
            self.weight -= self.kept.popitem(last=False)[1].weight

    def clear(self) -> None:
        """All lines are others from now on."""
        self.kept.clear()
        self.weight = 0


def asked_of(watched: Watched, sources: Sources | None) -> BySource | None:
    return None if sources is None else watched.split({}, sources)
