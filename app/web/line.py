"""The totals of one hashtag in the last 15 minutes: where they changed, and what they were
before; pure."""

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from operator import attrgetter
from typing import NamedTuple

from app.messages import MINUTE, UNKNOWN_PEOPLE, BySource, DayPeople

STEP = 5_000
"""Milliseconds between points that late posts put into a line: at most 12 a minute."""

Late = Mapping[str, Sequence[tuple[int, int]]]
"""Source to (when a minute began, in milliseconds since 1970; posts of it)."""


class Point(NamedTuple):
    """The totals from one tick on."""

    number: int
    """The tick's (ticks.Head)."""
    at: int
    """Milliseconds since 1970."""
    totals: BySource


number_of, time_of = attrgetter("number"), attrgetter("at")


class Line:
    """One hashtag's totals. Its points leave it with their ticks, so it is bounded."""

    __slots__ = ("before", "name", "people", "points", "rewritten", "tag")

    def __init__(self, before: BySource, tag: str) -> None:
        self.tag = tag
        """The key: this very text wherever ticks tell of the line."""
        self.name = tag
        """The spelling that most posts of the last hour had."""
        self.before = before
        """The totals until the first point."""
        self.points: list[Point] = []
        """Where the totals changed, the oldest first."""
        self.people: DayPeople = UNKNOWN_PEOPLE
        """As the last tick that changed the totals told them."""
        self.rewritten = 0
        """The number of the last tick that told something new about the time before it."""

    @property
    def now(self) -> BySource:
        return self.points[-1].totals if self.points else self.before

    def totals_of(self, number: int) -> BySource:
        """The totals at the tick with this number."""
        if self.points and self.points[-1].number <= number:
            return self.points[-1].totals
        place = bisect_right(self.points, number, key=number_of)
        return self.points[place - 1].totals if place else self.before

    def totals_at(self, at: int) -> BySource:
        """The totals at this time."""
        place = bisect_right(self.points, at, key=time_of)
        return self.points[place - 1].totals if place else self.before

    def points_after(self, at: int) -> list[Point]:
        return self.points[bisect_right(self.points, at, key=time_of) :]

    def numbers_between(self, number: int, last: int) -> Iterable[int]:
        """The numbers of the ticks after one and up to another in which the totals changed."""
        first = bisect_right(self.points, number, key=number_of)
        end = bisect_right(self.points, last, lo=first, key=number_of)
        return (point.number for point in self.points[first:end])

    def drop(self, number: int) -> None:
        """Forget the points up to the tick with this number."""
        place = bisect_right(self.points, number, key=number_of)
        if place:
            self.before = self.points[place - 1].totals
            del self.points[:place]

    def raise_past(
        self, late: Late, oldest: int, end: int, number_at: Callable[[int], int]
    ) -> list[int]:
        """Put late posts where they belong, so that no spike shows where they were counted.

        oldest and end: which time the line is about, in milliseconds since 1970. number_at
        tells which tick is the next one at or after a time. The answer is the numbers of the
        points that were put in.
        """
        rises = {source: Rise(parts, end) for source, parts in late.items()}
        new = [
            Point(number_at(at), at, self.totals_at(at))
            for at in self.times_without_point(rises.values(), oldest)
        ]
        put_in = {id(point) for point in new}
        last, added = raised(self.before, rises, oldest), []
        self.before, points, self.points = last, [*self.points, *new], []
        for point in sorted(points, key=lambda point: (point.number, point.at)):
            totals = raised(point.totals, rises, max(oldest, point.at))
            if id(point) in put_in and totals == last:
                continue
            if id(point) in put_in:
                added.append(point.number)
            self.points.append(point._replace(totals=totals))
            last = totals
        return added

    def times_without_point(self, rises: Collection["Rise"], oldest: int) -> list[int]:
        """The times at which late posts raise the line, but for those with a point nearby. At the
        end of each of their minutes there is to be one in any case: then all of it is counted."""
        times = sorted({at for rise in rises for at in rise.times_after(oldest)})
        ends = {end for rise in rises for end in rise.ends}
        taken = [point.at for point in self.points]
        return [
            at
            for at in times
            if (at in ends and at not in taken)
            or bisect_right(taken, at - STEP) == bisect_right(taken, at)
        ]


class Rise:
    """How many of a source's late posts were written by a moment.

    Those of a minute are spread evenly over it, as far as it was over.
    """

    def __init__(self, parts: Sequence[tuple[int, int]], end: int) -> None:
        found = sorted((at, posts) for at, posts in parts if posts)
        self.end = end
        self.begins = [at for at, _ in found]
        self.ends = [max(at + 1, min((at // MINUTE + 1) * MINUTE, end)) for at in self.begins]
        self.posts = [posts for _, posts in found]
        self.before = [0, *accumulate(self.posts)]

    def at(self, moment: int) -> int:
        n = bisect_right(self.begins, moment) - 1
        if n < 0:
            return 0
        begin, end = self.begins[n], self.ends[n]
        return self.before[n] + self.posts[n] * (min(moment, end) - begin) // (end - begin)

    def times_after(self, oldest: int) -> Iterator[int]:
        """Every 5 s of the minutes, and where they end, before the end of all."""
        for begin, end in zip(self.begins, self.ends, strict=True):
            if end > oldest:
                times = (*range(begin + STEP, end, STEP), end)
                yield from (at for at in times if oldest < at < self.end)


def raised(totals: BySource, rises: Mapping[str, Rise], at: int) -> BySource:
    """The totals with as many posts more as were written by then."""
    more = {source: posts for source, rise in rises.items() if (posts := rise.at(at))}
    if not more:
        return totals
    return {**totals, **{source: totals.get(source, 0) + n for source, n in more.items()}}
