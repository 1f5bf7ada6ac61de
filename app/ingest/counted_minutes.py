"""In which minutes each source was counted: silence and "not counted" are two things; pure.

The field with the empty name, of an hour and of a day, has the slots in which the source was
being counted. And a tracked hashtag has a field in each of them, posts or not: one that is
missing says that the hashtag was not asked for, or is not kept.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from app.ingest.ledger import (
    HOUR_MINUTES,
    OLDEST_TRACKED_MINUTES,
    Pages,
    later_keys,
    totals_at_ends,
)
from app.messages import MINUTE, SourceState
from app.store import keys

Pieces = dict[str, tuple[int, int]]
"""Source to the first and the last minute, numbered since 1970, of what is in one piece."""


class CountedMinutes:
    """Which minutes Redis is to be told, and which it has. Bounds: written and since have an entry
    for each source."""

    def __init__(self, tracked: Iterable[str]) -> None:
        self.tracked = frozenset(tracked)
        self.written: Pieces = {}
        self.since: dict[str, int] = {}
        """Source to the minute before which something is lost for ever."""

    def begin(self, since: Mapping[str, int]) -> None:
        """Forget what Redis has: it may be another one. since: source to the minute from which on
        nothing is lost; 0 where nothing is lost at all."""
        self.written.clear()
        self.since.update({source: minute for source, minute in since.items() if minute})

    def spans(self, sources: Mapping[str, SourceState], minute: int) -> Pieces:
        """What is to be told by now: of each source that works, since when it is unbroken."""
        oldest = minute - OLDEST_TRACKED_MINUTES
        return {
            name: (
                min(minute, max(oldest, self.since.get(name, 0), of.unbroken_since // MINUTE)),
                minute,
            )
            for name, of in sources.items()
            if of.works
        }

    def not_written(self, spans: Pieces) -> Iterable[tuple[str, int, int, int]]:
        """Source, hour, and the first and last minute of it, where not all of that is told."""
        for source, (first, last) in spans.items():
            begin, end = self.written.get(source, (last + 1, last))
            for hour in range(first // HOUR_MINUTES, last // HOUR_MINUTES + 1):
                low = max(first, hour * HOUR_MINUTES)
                high = min(last, hour * HOUR_MINUTES + HOUR_MINUTES - 1)
                if not begin <= low <= high <= end:
                    yield source, hour, low, high

    def new_hours(self, spans: Pieces) -> dict[str, list[int]]:
        """Source to the hours of which nothing was told yet."""
        found: dict[str, list[int]] = defaultdict(list)
        for source, hour, _, _ in self.not_written(spans):
            known = self.written.get(source)
            if not known or not known[0] // HOUR_MINUTES <= hour <= known[1] // HOUR_MINUTES:
                found[source].append(hour)
        return found

    def wanted(self, spans: Pieces) -> dict[str, set[str]]:
        """The fields that are read before: key to names."""
        wanted: dict[str, set[str]] = defaultdict(set)
        for source, hour, _, _ in self.not_written(spans):
            for key in (keys.hour, keys.kept):
                wanted[key(hour, source)].add("")
            wanted[keys.day(hour // 24, source)].add("")
        for source, hours in self.new_hours(spans).items():
            wanted[keys.totals(source)] |= self.tracked
            present = spans[source][1] // HOUR_MINUTES
            for name in later_keys(source, hours[0], present, [source]):
                wanted[name] |= self.tracked
        return wanted

    def enter(self, spans: Pieces, pages: Pages) -> None:
        """Write down the minutes; the hashtags' own posts are entered already."""
        for source, hour, low, high in self.not_written(spans):
            hours_old = spans[source][1] // HOUR_MINUTES - hour
            slots = [minute % HOUR_MINUTES for minute in range(low, high + 1)]
            if hours_old < keys.HOUR_HOURS:
                add_slots(pages, keys.hour(hour, source), slots, keys.end_of_hour(hour))
            add_slots(pages, keys.kept(hour, source), slots, keys.end_of_kept(hour))
            day, slot = divmod(hour, 24)
            add_slots(pages, keys.day(day, source), [slot], keys.end_of_day(day))
        for source, hours in self.new_hours(spans).items():
            for tag in self.tracked:
                enter_tracked(pages, source, tag, hours, spans[source][1] // HOUR_MINUTES)

    def stored(self, spans: Pieces) -> None:
        """Redis has it now."""
        self.written.update(spans)


def enter_tracked(pages: Pages, source: str, tag: str, hours: list[int], present: int) -> None:
    """A field of a tracked hashtag, with its total, in each of these hours (in their order) and
    their days where there is none yet."""
    total = pages.totals(source).get(tag, 0)
    ends = totals_at_ends(pages, source, tag, total, hours[0], present)
    for hour in hours:
        field = keys.pack_total(ends[hour])
        if present - hour < keys.HOUR_HOURS:
            of_hour = keys.hour(hour, source)
            field = pages.get(of_hour, tag) or field
            put_new(pages, of_hour, tag, field, keys.end_of_hour(hour))
        put_new(pages, keys.kept(hour, source), tag, field, keys.end_of_kept(hour))
        day = hour // 24
        field = keys.pack_total(ends[min(present, day * 24 + 23)])
        put_new(pages, keys.day(day, source), tag, field, keys.end_of_day(day))


def put_new(pages: Pages, key: str, name: str, value: bytes, ends: int) -> None:
    if not pages.get(key, name):
        pages.put(key, name, value, ends)


def add_slots(pages: Pages, key: str, slots: Iterable[int], ends: int) -> None:
    past = pages.past(key, "") or keys.Past()
    if any(slot not in past.slots for slot in slots):
        past.slots.update(dict.fromkeys(slots, 1))
        pages.put(key, "", past.pack(), ends)
