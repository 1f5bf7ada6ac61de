"""Posts that were counted late, put into the ticks of the time that they belong to; pure.

A tick that counts posts of the past says of which minutes (app/messages.py). Whoever holds the
ticks before it raises their totals, so that a line shows no spike where they were counted.
The ticks in Redis stay as they are: all who read them come to the same.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate

from app.messages import Tick
from app.store import LOG_SECONDS

MINUTE = 60_000
LONGEST_PAUSE = 8_000
"""Milliseconds between two ticks; in a longer pause nobody ticked."""
APART = 1_000
"""Milliseconds from one tick to the next in a pause that is filled; /api/history has no finer
step."""


class Rise:
    """How many of a source's posts with a hashtag were written by a moment.

    Those of a minute are spread evenly over it, as far as it was over.
    """

    def __init__(self, found: Sequence[tuple[int, int]], late: int) -> None:
        self.begins = [at for at, _ in found]
        self.ends = [max(at + 1, min(minute_after(at), late)) for at in self.begins]
        self.posts = [posts for _, posts in found]
        self.before = [0, *accumulate(self.posts)]

    def at(self, moment: int) -> int:
        n = bisect_right(self.begins, moment) - 1
        if n < 0:
            return 0
        begin, end = self.begins[n], self.ends[n]
        part = self.posts[n] * (min(moment, end) - begin) // (end - begin)
        return self.before[n] + part

    def covers(self, moment: int) -> bool:
        n = bisect_right(self.begins, moment) - 1
        return n >= 0 and moment < self.ends[n]


def minute_after(at: int) -> int:
    return (at // MINUTE + 1) * MINUTE


Rises = dict[str, dict[str, Rise]]


def with_past(ticks: Sequence[Tick], late: Tick) -> list[Tick]:
    """The ticks before the late one, as they had been if its posts of the past had been known."""
    rises = {
        tag: {source: Rise(found, late.at) for source, found in parts.items()}
        for tag, parts in late.past.items()
    }
    return [raised(tick, rises) for tick in without_pauses(ticks, late, rises)]


def without_pauses(ticks: Sequence[Tick], late: Tick, rises: Rises) -> Iterator[Tick]:
    """The ticks, and more of them in pauses that the posts of the past fill; none of those was
    ever sent, so their ids are such as nobody can resume from."""
    begin = oldest = late.at - LOG_SECONDS * 1000
    before = ticks[0] if ticks else late
    for tick in [*ticks, late] if ticks else ():
        if tick.at - begin > max(LONGEST_PAUSE, 4000 * tick.seconds):
            for at in range(max(begin, oldest) + APART, tick.at, APART):
                if any(rise.covers(at) for parts in rises.values() for rise in parts.values()):
                    yield replace(before, id=f"{at} late", at=at, past={})
        if tick is not late:
            yield tick
        begin, before = tick.at, tick


def raised(tick: Tick, rises: Rises) -> Tick:
    """The tick with as many posts more as were written by then."""
    counts, by_source = dict(tick.counts), dict(tick.by_source)
    for tag in rises.keys() & counts.keys():
        more = {source: rise.at(tick.at) for source, rise in rises[tag].items()}
        parts = by_source.get(tag, {})
        counts[tag] += sum(more.values())
        by_source[tag] = {**parts, **{name: parts.get(name, 0) + n for name, n in more.items()}}
    return replace(tick, counts=counts, by_source=by_source)
