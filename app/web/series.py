"""The totals of one hashtag in 15 minutes as JSON: written once, a few at a time, and only extended
by what comes later."""

from bisect import bisect_left, bisect_right
from collections import OrderedDict

from app.messages import BySource, SourceState, added_up
from app.web.line import Line, Point, number_of, time_of
from app.web.ticks import Ticks
from app.web.watched import Watched, by_source

MOST_TEXTS = 300_000
"""So many points are kept as text, of about 100 bytes; those of the hashtags asked for last."""

Sources = dict[str, SourceState]


class Series:
    """A line's points as text, as far as they were written. Bound: as many as the line has."""

    __slots__ = ("asked", "line", "points", "rewritten", "texts")

    def __init__(self, line: Line, asked: BySource | None) -> None:
        self.line, self.rewritten = line, line.rewritten
        self.asked = asked
        """0 for each source that a total is told of in any case; None where all are added up."""
        self.points: list[Point] = []
        """Those that are written."""
        self.texts: list[str] = []
        """Of each "[milliseconds since 1970,total]", or nothing where the total stands still."""

    def is_of(self, line: Line, asked: BySource | None) -> bool:
        """Whether the line is the one of which this was written, and nothing of it was changed."""
        return self.line is line and self.rewritten == line.rewritten and self.asked == asked

    def extend(self, most: int) -> int:
        """Write at most so many points that are not yet; how many were."""
        points = self.line.points
        gone = bisect_left(self.points, points[0].number, key=number_of) if points else None
        del self.points[:gone], self.texts[:gone]
        begin = len(self.points)
        before = self.told(self.points[-1].totals if self.points else self.line.before)
        for point in points[begin : begin + most]:
            total = self.told(point.totals)
            self.texts.append("" if total == before else f"[{point.at},{total}]")
            self.points.append(point)
            before = total
        return len(self.points) - begin

    def told(self, totals: BySource) -> str:
        """A total as JSON."""
        return str(added_up(totals)) if self.asked is None else by_source({**self.asked, **totals})

    def between(self, begin: int, end: int) -> str:
        """The first point, each in which the total changed, and the last one, as a part of JSON;
        from this time to that one, in milliseconds since 1970."""
        first = bisect_right(self.points, begin, key=time_of)
        last = bisect_right(self.points, end, key=time_of)
        totals, told = self.line.totals_at(begin), [t for t in self.texts[first:last] if t]
        texts = [f"[{begin},{self.told(totals)}]", *told]
        if not texts[-1].startswith(f"[{end},"):
            texts.append(f"[{end},{texts[-1].partition(',')[2]}")
        return ",".join(texts)


class AllSeries:
    """What was written of all hashtags. Bound: MOST_TEXTS, and what is asked for in one tick."""

    def __init__(self, ticks: Ticks) -> None:
        self.ticks = ticks
        self.kept: OrderedDict[tuple[str, bool], Series] = OrderedDict()
        """By hashtag, and whether by source; that asked for last stands last."""

    def prepare(self, watched: Watched, sources: Sources | None, most: int) -> int:
        """Write at most so many points of a hashtag's line; how many were. sources: as they are at
        the newest tick, where the totals are wanted by source."""
        line = self.ticks.lines.get(watched.tag)
        if line is None:
            return 0
        key, asked = (watched.tag, sources is not None), asked_of(watched, sources)
        found = self.kept.get(key)
        if found is None or not found.is_of(line, asked):
            found = self.kept[key] = Series(line, asked)
        self.kept.move_to_end(key)
        return found.extend(most)

    def written(
        self, watched: Watched, sources: Sources | None, begin: int, end: int
    ) -> tuple[int, str]:
        """When the line begins, at this time or later, and its points to the end, as JSON."""
        first = self.ticks.heads[0].at
        line = self.ticks.lines.get(watched.tag)
        if line is None:
            begin, series = max(begin, first), None
        else:
            begin = max(begin, min(first, line.points[0].at))
            self.prepare(watched, sources, len(line.points))
            series = self.kept[watched.tag, sources is not None]
        if begin > end:
            return end, "[]"
        if series is None:
            series = Series(Line(watched.totals or {}, ""), asked_of(watched, sources))
        return begin, f"[{series.between(begin, end)}]"

    def forget(self) -> None:
        """Forget what was not asked for lately."""
        texts = sum(len(each.texts) for each in self.kept.values())
        while texts > MOST_TEXTS:
            texts -= len(self.kept.popitem(last=False)[1].texts)


def asked_of(watched: Watched, sources: Sources | None) -> BySource | None:
    return None if sources is None else watched.split({}, sources)
