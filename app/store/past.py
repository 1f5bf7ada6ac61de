"""The past of hashtags, from the hours and days in Redis: running totals, and when each source was
being counted.

Totals are worked out backwards from the present one: each hour had, at its beginning, its posts
less than at its end. Before a time that is not kept, the total that an hour or day has stored is
taken. All times are milliseconds since 1970.
"""

import asyncio
import math
from bisect import bisect_left
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from app.messages import DAY, HOUR, MINUTE, SourceState
from app.store import keys
from app.store.slots import Slots
from app.store.source_log import SourceLog, complete_since, read_seen
from app.store.spans import Spans, joined, without
from app.store.store import StatesLog, Store, Values

VALUES_AT_ONCE = 3000
"""That are read in one go, some 5 milliseconds' work: others want Redis, and their turn, too."""
PERIODS_AT_ONCE = 25
"""Hours or days of a hashtag that are worked out in one go, in all sources."""
COUNTED_KEPT, USUAL_BYTES = 1000, 256
"""What usual_times remembers at most: so many hours and days (a week of five sources), whose fields
have no more bytes than that."""


@dataclass(frozen=True)
class Period:
    """An hour or a day that is one hash in Redis for each source."""

    key: Callable[[int, str], str]
    number: int
    """Since 1970."""
    begin: int
    end: int
    """Before which it ends: what comes later is read from other periods."""

    @property
    def is_whole(self) -> bool:
        """Whether each hashtag with a post has a field: a missing one is silence."""
        return self.key is keys.hour

    @property
    def slot(self) -> int:
        return HOUR if self.key is keys.day else MINUTE


@dataclass(frozen=True)
class Running:
    """The running total of a hashtag in one source."""

    before: int
    """The total at the beginning."""
    changes: list[tuple[int, int]]
    """When a minute or an hour with posts began, and the total at its end."""
    counted: Spans
    """When the source was counted, for this hashtag, and that is kept and the total known."""


@dataclass(frozen=True)
class HashtagPast:
    """The past of one hashtag in all sources."""

    sources: dict[str, Running]
    """Of each source that was asked for the hashtag."""
    lost: Spans
    """When it was counted, but is not kept."""

    def until(self, end: int) -> "HashtagPast":
        """Without the changes at that time and after it."""
        return HashtagPast(
            {
                name: Running(of.before, [each for each in of.changes if each[0] < end], of.counted)
                for name, of in self.sources.items()
            },
            self.lost,
        )


async def read_past(
    store: Store,
    tags: Sequence[str],
    begin: int,
    now: int,
    by_hours: bool,
    networks: Iterable[str],
    newest: Mapping[str, SourceState],
    tracked: Container[str],
    step: int = MINUTE,
) -> tuple[dict[str, HashtagPast], SourceLog]:
    """The past of these hashtags from a time on, and what the sources did since then.

    by_hours: whether hours will do, as they are kept for long; networks: the sources that ever
    counted, as far as is known; newest: what the sources do now; step: in milliseconds, whole
    minutes: the totals are exact at the ends of such steps. Raises StoreLost.

    A few hashtags are read at a time, each at one moment, and worked out one by one, so that
    others get a turn.
    """
    where = periods(begin, now, by_hours)
    names = [*dict.fromkeys([*networks, *newest])]
    pasts: dict[str, HashtagPast] = {}
    seen: SourceLog = []
    while len(pasts) < len(tags):
        at_once = max(1, VALUES_AT_ONCE // max(1, len(where) * len(names)) - 1)
        page = tags[len(pasts) : len(pasts) + at_once]
        names, values, states = await read_values(
            store, page, where, names, None if pasts else begin
        )
        seen = seen or await read_seen(states)
        whole_since = complete_since([*seen, (now, dict(newest))])
        found = FoundFields(store, values)
        counted = {name: await found.counted(where, name) for name in names}
        for tag in page:
            is_tracked = tag in tracked
            past = await of_hashtag(found, tag, where, counted, whole_since, is_tracked, step)
            asked = {name for name, of in newest.items() if of.complete or is_tracked}
            pasts[tag] = only_asked(past, asked)
    return pasts, seen


async def read_values(
    store: Store,
    tags: Sequence[str],
    where: Sequence[Period],
    names: Iterable[str],
    begin: int | None,
) -> tuple[list[str], Values, StatesLog]:
    """What Redis has of these hashtags, all of one moment, with a hash for each hour or day and
    source, and what the sources did since `begin`. The answer begins with the sources' names:
    there may be more of them."""
    names = list(names)
    while True:
        fields = {keys.totals(name): tags for name in names} | {
            period.key(period.number, name): [*tags, ""] for period in where for name in names
        }
        state, values, states = await store.read_with_states(fields, begin)
        if set(state.networks) <= set(names):
            return names, values, states
        names = list(dict.fromkeys([*state.networks, *names]))


def periods(begin: int, now: int, by_hours: bool) -> list[Period]:
    """Where the time from `begin` to now is to be read, in order."""
    newest = keys.hour_of(now)
    oldest = newest - keys.HOUR_HOURS + 1
    border = oldest * HOUR
    if by_hours:
        days = range(begin // DAY, -(-border // DAY))
        older = [Period(keys.day, n, n * DAY, min((n + 1) * DAY, border)) for n in days]
    else:
        hours = range(keys.hour_of(begin), oldest)
        older = [Period(keys.kept, n, n * HOUR, (n + 1) * HOUR) for n in hours]
    recent = range(max(oldest, keys.hour_of(begin)), newest + 1)
    return [*older, *(Period(keys.hour, n, n * HOUR, (n + 1) * HOUR) for n in recent)]


class FoundFields:
    """What was read; a value that is none of ours is skipped and counted."""

    def __init__(self, store: Store, values: Values) -> None:
        self.store, self.values = store, values

    def past(self, period: Period, source: str, tag: str) -> Slots | None:
        key = period.key(period.number, source)
        value = self.values.get(key, {}).get(tag)
        try:
            return None if value is None else Slots.read(value)
        except ValueError as error:
            self.store.skip(f"the field {tag[:100]!r} of {key}: {error}")
            return None

    def total(self, source: str, tag: str) -> int | None:
        """The present total; None where nobody can say."""
        key = keys.totals(source)
        try:
            return keys.read_posts(self.values.get(key, {}).get(tag, b"0 0"))[0]
        except ValueError as error:
            self.store.skip(f"the field {tag[:100]!r} of {key}: {error}")
            return None

    async def counted(self, where: Sequence[Period], source: str) -> list[Spans]:
        """When the source was being counted, in each period: what all hashtags have in common."""
        await asyncio.sleep(0)
        return [self.counted_in(period, source) for period in where]

    def counted_in(self, period: Period, source: str) -> Spans:
        key = period.key(period.number, source)
        if (value := self.values.get(key, {}).get("")) is None:
            return []
        times = usual_times if len(value) <= USUAL_BYTES else counted_times
        try:
            return [*times(period, value)]
        except ValueError as error:
            self.store.skip(f"the field '' of {key}: {error}")
            return []

    async def pasts(self, where: Sequence[Period], source: str, tag: str) -> list[Slots | None]:
        await asyncio.sleep(0)
        return [self.past(period, source, tag) for period in where]


def counted_times(period: Period, packed: bytes) -> Spans:
    """When a source was counted in a period. Raises ValueError for what is not packed so."""
    return runs(period, Slots.read(packed).numbers)


usual_times = lru_cache(maxsize=COUNTED_KEPT)(counted_times)
"""The same; each request for another hashtag's past asks for the same hours."""


def runs(period: Period, slots: Iterable[int]) -> Spans:
    """The time that these slots of a period make up."""
    numbers = sorted(set(slots))
    if numbers and numbers[-1] - numbers[0] == len(numbers) - 1:  # in one piece, as nearly always
        spans = [(numbers[0], numbers[-1] + 1)]
    else:
        spans = joined((number, number + 1) for number in numbers)
    times = (
        (period.begin + first * period.slot, period.begin + last * period.slot)
        for first, last in spans
    )
    return [(begin, min(end, period.end)) for begin, end in times if begin < period.end]


async def of_hashtag(
    found: FoundFields,
    tag: str,
    where: Sequence[Period],
    counted: Mapping[str, Sequence[Spans]],
    whole_since: Mapping[str, float],
    is_tracked: bool,
    step: int,
) -> HashtagPast:
    """The past of one hashtag in all sources, by what was read."""
    parts = {name: await found.pasts(where, name, tag) for name in counted}
    totals = {name: found.total(name, tag) for name in counted}
    return await together(where, parts, counted, totals, whole_since, is_tracked, step)


async def together(
    where: Sequence[Period],
    parts: Mapping[str, Sequence[Slots | None]],
    counted: Mapping[str, Sequence[Spans]],
    totals: Mapping[str, int | None],
    whole_since: Mapping[str, float],
    is_tracked: bool,
    step: int,
) -> HashtagPast:
    """The past of one hashtag, from what its sources have of each period, in their order.

    counted: when they were being counted; totals: the present ones; whole_since: since when
    they have every hashtag. A source that has not, and no field, was not asked.
    """
    pieces: dict[str, list[Piece]] = {name: [] for name in parts}
    known: dict[str, Spans] = {name: [] for name in parts}
    all_lost: Spans = []
    for n, period in enumerate(where):
        if n % PERIODS_AT_ONCE == 0:
            await asyncio.sleep(0)
        here = {name: past for name, of in parts.items() if (past := of[n])}
        whole = {name for name in parts if whole_since.get(name, math.inf) < period.end}
        lost = not_kept(period, here.values(), [counted[name][n] for name in whole], is_tracked)
        all_lost += lost
        for name in parts:
            pieces[name].append(Piece.of(period, here.get(name), step, is_kept=not lost))
            if past := here.get(name):
                known[name] += without(counted_with(period, past, counted[name][n]), lost)
            elif name in whole:
                known[name] += without(counted[name][n], lost)
    return HashtagPast(
        {
            name: Running(*running(of, totals[name]), without(joined(known[name]), unsure(of)))
            for name, of in pieces.items()
        },
        joined(all_lost),
    )


def counted_with(period: Period, past: Slots, counted: Spans) -> Spans:
    """When it was counted: a minute with posts was, whatever else is known."""
    ends = [period.begin + slot * period.slot for slot in past.numbers[:1] + past.numbers[-1:]]
    if any(all(begin <= at < end for at in ends) for begin, end in counted):
        return counted
    return [*counted, *runs(period, past.numbers)]


def not_kept(
    period: Period, found: Iterable[Slots], counted: Sequence[Spans], is_tracked: bool
) -> Spans:
    """When a hashtag was counted, but is not kept; found: what is, of all sources.

    It is kept or not for all of an hour. A day has those hours of it in which it was kept; of
    one that is tracked, all.
    """
    kept = list(found)
    if period.is_whole or (kept and (period.slot == MINUTE or is_tracked)):
        return []
    hours = runs(period, b"".join(past.numbers for past in kept))
    return without(joined(span for spans in counted for span in spans), hours)


class Piece(NamedTuple):
    """What is kept of one period, of a hashtag in one source."""

    begin: int
    end: int
    total: int | None
    """At the end; None where there is no field."""
    posts: list[tuple[int, int]]
    """When the first minute or hour with posts of each step began, and how many the step has."""
    is_kept: bool
    """Whether there were no others."""

    @classmethod
    def of(cls, period: Period, past: Slots | None, step: int, is_kept: bool) -> "Piece":
        if past is None:
            return cls(period.begin, period.end, None, [], is_kept)
        end, steps = (period.end - period.begin) // period.slot, max(1, step // period.slot)
        found = past.by_steps(end, steps, period.begin // period.slot)
        posts = [(period.begin + slot * period.slot, n) for slot, n in found]
        later = past.posts(bisect_left(past.numbers, end), len(past.numbers))
        return cls(period.begin, period.end, max(0, past.total - later), posts, is_kept)


def running(pieces: Sequence[Piece], present: int | None) -> tuple[int, list[tuple[int, int]]]:
    """The total before the pieces, and what it was after each change in them.

    Worked out backwards from the present total. A piece's own total is taken where something after
    it is not kept, and where it is larger: then the hashtag was forgotten since, and began at 0
    again. Of a day that lacks hours only the total at its end is known: what comes before a lost
    hour is too large by the posts of that hour.
    """
    total, is_known = present or 0, present is not None
    changes: list[tuple[int, int]] = []
    for piece in reversed(pieces):
        lost = not piece.is_kept
        forgotten = piece.total is not None and piece.total > total
        if is_known and (lost or forgotten):
            changes.append((piece.end, total))
        is_known = is_known and not lost
        if piece.total is None:
            continue
        if not is_known or forgotten:
            total = piece.total
        is_known = True
        for at, posts in reversed(piece.posts):
            changes.append((at, total))
            total = max(0, total - posts)
    return total, changes[::-1]


def unsure(pieces: Sequence[Piece]) -> Spans:
    """When nobody can say what the total was: a source had no post in an hour that is kept for
    another one's sake, and what was before it and after it is lost."""
    found: Spans = []
    waiting: Spans = []
    is_known = True
    for piece in reversed(pieces):
        if not piece.is_kept:
            found, waiting, is_known = found + waiting, [], False
        if piece.total is not None:
            waiting, is_known = [], True
        elif not is_known:
            waiting.append((piece.begin, piece.end))
    return joined(found + waiting)


def only_asked(past: HashtagPast, asked: Container[str]) -> HashtagPast:
    """Without the sources that were never asked for the hashtag."""
    kept = {
        name: line
        for name, line in past.sources.items()
        if name in asked or line.counted or line.changes or line.before
    }
    return HashtagPast(kept, past.lost)
