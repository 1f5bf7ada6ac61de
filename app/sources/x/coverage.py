"""Which minutes of X are counted, for a stream that has gaps; pure.

The stream brings single posts, X's counts tell whole minutes. A minute in which the stream
was down is a hole until X has told how many posts it had; what the stream brought of it
is subtracted. So it does not matter when exactly the stream began and ended, nor that its
posts come seconds late and out of order, nor that what was counted last was not stored.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.messages import dumps
from app.sources.x.budget import FIRST_REQUESTS, ROUND_SECONDS
from app.sources.x.minutes import LONGEST_SPAN, MINUTE, REACH, SETTLE_SECONDS, Minutes, minute_of

FIRST_SPAN = FIRST_REQUESTS * LONGEST_SPAN
"""So much of the past, a day, is counted for a hashtag that was never counted before."""
LATE_SECONDS = 60
"""A post has come by then. X's are 6 to 7 s late, and a stall is noticed after 25 s."""
HOLD_SECONDS = 2 * ROUND_SECONDS
"""So long after a hole the stream's minutes are remembered: another hole that begins by then is
joined to it, and X is asked about both at once."""


@dataclass
class HashtagCoverage:
    """Of one hashtag, every minute before `upto` is counted, but for the holes. Minutes are
    named by the second, since 1970, at which they begin.

    began: the first minute that is the stream's; of those before, X's counts are the truth.
    holes: begin and end, in order.
    streamed: how many posts the stream brought of each minute since `upto` and in the holes.
    Both are of the last seven days at most: what is older, X tells no more (give_up).
    """

    upto: int
    began: int = 0
    holes: list[tuple[int, int]] = field(default_factory=list)
    streamed: dict[int, int] = field(default_factory=dict)

    def open_hole(self, end: int) -> None:
        """The stream is up again and has the minutes from this one on."""
        if self.upto < end:
            joins = self.holes and self.holes[-1][1] == self.upto
            begin = self.holes.pop()[0] if joins else self.upto
            self.holes.append((begin, end))
            self.upto = self.began = end

    def is_hole(self, minute: int) -> bool:
        return any(begin <= minute < end for begin, end in self.holes)

    def add(self, minute: int) -> bool:
        """A post of the stream: whether it counts, or is in a minute that X has told."""
        hole = self.is_hole(minute)
        if hole or minute >= self.upto:
            self.streamed[minute] = self.streamed.get(minute, 0) + 1
        return hole or minute >= self.began

    def fill(self, minutes: Minutes) -> dict[int, int]:
        """Close this part of the first hole; how many posts the stream did not bring."""
        missed = {at: max(0, posts - self.streamed.get(at, 0)) for at, _, posts in minutes}
        filled = minutes[-1][1]
        self.holes = [(max(begin, filled), end) for begin, end in self.holes if end > filled]
        self.forget()
        return missed

    def advance(self, now: float) -> None:
        """The stream was up until now: what is old enough has come."""
        before = self.upto
        if not self.holes or now - self.upto > HOLD_SECONDS:
            self.upto = max(self.upto, minute_of(now - LATE_SECONDS))
        if self.upto > before:
            self.forget()

    def forget(self) -> None:
        self.streamed = {
            at: n for at, n in self.streamed.items() if at >= self.upto or self.is_hole(at)
        }

    def give_up(self, oldest: int) -> None:
        """What is older than this, nobody can tell any more."""
        self.upto = max(self.upto, oldest)
        self.holes = [(max(begin, oldest), end) for begin, end in self.holes if end > oldest]


class Coverage:
    """All hashtags' coverage, as of a cursor; those that are tracked no more stay in it, lest
    they be counted again when they are."""

    def __init__(self, cursor: str, tags: Sequence[str], backfill: bool) -> None:
        self.tags = tags
        known = read(cursor)
        self.asked, self.of = known or (0, {})
        # a cursor of another kind: nobody knows what was counted, so nothing of the past is
        self.first = FIRST_SPAN if backfill and (known or not cursor) else 0
        self.filled_since: int | None = None
        """The first second of the earliest hole that was filled; None before there was one."""

    def connect(self, now: float) -> None:
        """The stream is up: what it missed are holes, up to the end of this minute."""
        self.open_holes(now, -(-int(now) // MINUTE) * MINUTE)

    def open_holes(self, now: float, end: int) -> None:
        """X is to tell what is not counted until then."""
        oldest, start = oldest_minute(now), max(minute_of(now), end)
        self.of = {tag: of for tag, of in self.of.items() if tag in self.tags or of.upto > oldest}
        for tag in self.tags:
            of = self.of.setdefault(tag, HashtagCoverage(start - self.first, start))
            of.give_up(oldest)
            of.open_hole(end)

    def add(self, tag: str, second: float) -> bool:
        return self.of[tag].add(minute_of(second))

    def advance(self, now: float) -> None:
        for tag in self.tags:
            self.of[tag].advance(now)

    def fill(self, tag: str, minutes: Minutes, now: float) -> dict[int, int]:
        self.asked = int(now)
        self.filled_since = min(minutes[0][0], self.filled_since or minutes[0][0])
        return self.of[tag].fill(minutes)

    def next_hole(self, now: float) -> tuple[str, int, int] | None:
        """A hashtag, and the first hole of it that X can still tell of; None without any."""
        for tag in self.tags:
            self.of[tag].give_up(oldest_minute(now))
            if self.of[tag].holes:
                return tag, *self.of[tag].holes[0]
        return None

    def due(self) -> float:
        """When the holes may be asked for."""
        settled = max((end for of in self.of.values() for _, end in of.holes), default=0)
        return max(settled + SETTLE_SECONDS, self.asked + ROUND_SECONDS if self.asked else 0)

    def cursor(self) -> str:
        parts = {tag: [of.upto, of.began, of.holes, of.streamed] for tag, of in self.of.items()}
        return dumps({"asked": self.asked, "tags": parts})


def oldest_minute(now: float) -> int:
    """The first that X can tell of."""
    return minute_of(now - REACH) + MINUTE


def read(cursor: str) -> tuple[int, dict[str, HashtagCoverage]] | None:
    """What a cursor says, also one that has no more than a second for each hashtag; None for
    one that is not ours."""
    try:
        found: Any = json.loads(cursor or "null")
        if not isinstance(found, dict):
            return None
        if not isinstance(tags := found.get("tags"), dict):  # a hashtag may be called so
            return 0, {tag: HashtagCoverage(minute_of(at)) for tag, at in found.items()}
        return int(found["asked"]), {tag: coverage(*part) for tag, part in tags.items()}
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None


def coverage(
    upto: int, began: int, holes: Sequence[Any], streamed: Mapping[str, int]
) -> HashtagCoverage:
    whole = [(int(begin), int(end)) for begin, end in holes]
    return HashtagCoverage(
        int(upto), int(began), whole, {int(at): int(n) for at, n in streamed.items()}
    )
