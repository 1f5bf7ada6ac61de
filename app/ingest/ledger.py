"""Increments and stored values to absolute values; pure.

A commit is worked out in three steps: `wanted` says which fields of Redis it needs, a read
brings them, and `enter` works out what they become. What is to be written, and the tick that
tells of it, are then plain data: Redis does no arithmetic.
"""

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import repeat
from typing import Any

from app.ingest.counter import Cut
from app.messages import MINUTE
from app.store import keys
from app.store.state import Write
from app.store.store import Values

log = logging.getLogger(__name__)

HOUR_MINUTES = 60
OLDEST_MINUTES = (keys.HOUR_HOURS - 1) * HOUR_MINUTES
"""A post of a minute that is longer ago counts into the present."""
OLDEST_TRACKED_MINUTES = 7 * 24 * HOUR_MINUTES
"""The same for a tracked hashtag, whose minutes are kept for longer."""
MANY = 128
"""Where more fields of a hash change at once, Redis is to keep it as a table (as_table)."""
LONG = 65 * "\n"
"""The name of a field that is no hashtag's; longer than the 64 bytes that a name in a list may
have."""


class Pages:
    """The fields that one commit reads, which is bounded, and their new values.

    What nearly all hashtags of a commit need is done for all of a source at once.
    """

    def __init__(self, values: Values, networks: Collection[str] = ()) -> None:
        self.values, self.networks = values, networks
        self.changed: dict[str, dict[str, bytes]] = defaultdict(dict)
        """Key to field to new value, but for totals."""
        self.known: dict[str, dict[str, int]] = {}
        """Source to hashtag to its total as it will be."""
        self.totals_changed: dict[str, dict[str, str]] = defaultdict(dict)
        """Source to hashtag to its new value."""
        self.ends: dict[str, int] = {}
        """Key to when it is forgotten, in seconds since 1970."""
        self.unreadable = 0
        """Stored values that were none of ours; they count as not there."""
        self.example = ""
        """One of them."""

    def get(self, key: str, name: str) -> bytes:
        """The value as it will be; b"" where there is none."""
        found = self.changed[key].get(name) if key in self.changed else None
        return self.values.get(key, {}).get(name, b"") if found is None else found

    def totals(self, source: str) -> dict[str, int]:
        """Posts of all hashtags of the source that were read."""
        if source not in self.known:
            stored = self.values.get(keys.totals(source), {})
            try:
                posts = keys.read_all_posts(stored.values())
            except ValueError:
                self.known[source] = self.read_one_by_one(source, stored)
            else:
                self.known[source] = dict(zip(stored, posts, strict=True))
        return self.known[source]

    def read_one_by_one(self, source: str, stored: Mapping[str, bytes]) -> dict[str, int]:
        """The same where some are none of ours."""
        found: dict[str, int] = {}
        for tag, value in stored.items():
            try:
                found[tag] = keys.read_posts(value)[0]
            except ValueError:
                found[tag] = 0
                self.skip(keys.totals(source), tag)
        return found

    def last_seen(self, source: str, tag: str) -> int:
        """The hour in which a source saw the hashtag last; 0 for never."""
        stored = self.values.get(keys.totals(source), {}).get(tag, b"")
        value = self.totals_changed[source].get(tag, "").encode() or stored
        try:
            return keys.read_posts(value)[1]
        except ValueError:
            return 0

    def put_posts(self, source: str, posts: Mapping[str, int], last: int) -> None:
        """Of a source, the posts of hashtags that were seen last in this hour."""
        self.totals(source).update(posts)
        written = map(keys.written_posts, posts.values(), repeat(last))
        self.totals_changed[source].update(zip(posts, written, strict=True))

    def put(self, key: str, name: str, value: bytes, ends: int = 0) -> None:
        self.changed[key][name] = value
        self.ends[key] = ends

    def past(self, key: str, name: str) -> keys.Past | None:
        value = self.get(key, name)
        try:
            return keys.Past.read(value) if value else None
        except ValueError:
            self.skip(key, name)
            return None

    def raise_last(
        self, key: str, slot: int, posts: Mapping[str, int], totals: Mapping[str, int], ends: int
    ) -> None:
        """So many posts more of hashtags in a slot that is nearly always the last one."""
        stored, changed = self.values.get(key, {}), self.changed[key]
        self.ends[key] = ends
        for tag, n in posts.items():
            value = changed.get(tag) or stored.get(tag)
            if not value:
                changed[tag] = keys.first_posts(slot, n, totals[tag])
                continue
            try:
                changed[tag] = keys.with_posts(value, slot, n, totals[tag])
            except ValueError:
                self.skip(key, tag)
                changed[tag] = keys.first_posts(slot, n, totals[tag])

    def skip(self, key: str, name: str) -> None:
        self.unreadable += 1
        self.example = f"the field {name[:100]!r} of {key}"

    def writes(self) -> list[Write]:
        totals = [
            Write("hash", keys.totals(source), [*fields], [*fields.values()])
            for source, fields in self.totals_changed.items()
            if fields
        ]
        others = [
            Write("hash", key, [*fields], [*fields.values()], self.ends[key])
            for key, fields in self.changed.items()
            if fields
        ]
        return [part for write in totals + others for part in as_table(write)]


def as_table(write: Write) -> list[Write]:
    """The write and, where it has many fields, what makes Redis keep the hash as a table.

    Up to 512 short fields are kept as a list, which Redis goes through for each of them. A field
    with a long name turns that into a table, and it stays one when the field is gone again, until
    Redis reads its file.
    """
    if len(write.names) <= MANY:
        return [write]
    empty: Any = b"" if isinstance(write.values[0], bytes) else ""
    fields = replace(write, names=[LONG, *write.names], values=[empty, *write.values])
    return [fields, Write("forget", write.key, [LONG])]


@dataclass
class Changes:
    """What a commit changes, as its tick tells it."""

    added: dict[str, dict[str, int]] = field(default_factory=dict)
    """Hashtag to source to posts."""
    late: dict[str, dict[str, list[tuple[int, int]]]] = field(default_factory=dict)
    """Hashtag to source to (minute in milliseconds since 1970, posts)."""

    def add_present(self, source: str, tags: Mapping[str, int]) -> None:
        """Hashtag to posts, of the present minute."""
        if not self.added:  # as nearly always
            self.added = {tag: {source: posts} for tag, posts in tags.items()}
            return
        for tag, posts in tags.items():
            self.added.setdefault(tag, {})[source] = posts

    def add_past(self, source: str, minute: int, tag: str, posts: int, late: bool) -> None:
        if not posts:
            return
        parts = self.added.setdefault(tag, {})
        parts[source] = parts.get(source, 0) + posts
        if late:
            self.late.setdefault(tag, {}).setdefault(source, []).append((minute * MINUTE, posts))


class Ledger:
    """The values of hashtags in Redis, as a cut changes them. It remembers none of them."""

    def __init__(self, tracked: Iterable[str]) -> None:
        self.tracked = frozenset(tracked)
        self.unreadable = self.said = 0
        """Stored values so far that were none of ours, and how many the log knows of."""

    def wanted(self, cut: Cut, networks: Collection[str]) -> dict[str, set[str]]:
        """The fields that are read before the cut is entered: key to names."""
        wanted: dict[str, set[str]] = defaultdict(set)
        changed: set[str] = set()
        hour = cut.minute // HOUR_MINUTES
        for source, tags in cut.present.items():
            changed |= tags.keys()
            wanted[keys.hour(hour, source)] |= tags.keys()
            wanted[keys.day(hour // 24, source)] |= tags.keys() & self.tracked
        for source, by_tag in past_by_tag(cut).items():
            changed |= by_tag.keys()
            for tag, minutes in by_tag.items():
                first = min(self.minute_for(cut, tag, minute) for minute in minutes)
                for key in later_keys(source, first // HOUR_MINUTES, hour, networks):
                    wanted[key].add(tag)
        for source in networks:
            wanted[keys.totals(source)] |= changed
        return wanted

    def minute_for(self, cut: Cut, tag: str, minute: int) -> int:
        """The minute into which a post counts: its own, if that is not too long ago."""
        oldest = OLDEST_TRACKED_MINUTES if tag in self.tracked else OLDEST_MINUTES
        return minute if cut.minute - oldest <= minute <= cut.minute else cut.minute

    def enter(self, cut: Cut, pages: Pages) -> Changes:
        """Work out all values that the cut changes."""
        changes = Changes()
        for source, tags in cut.present.items():
            self.enter_present(pages, source, cut.minute, tags)
            changes.add_present(source, tags)
        for source, by_tag in past_by_tag(cut).items():
            for tag, minutes in by_tag.items():
                moved: dict[int, int] = {}
                for minute, posts in sorted(minutes.items()):
                    into = self.minute_for(cut, tag, minute)
                    moved[into] = moved.get(into, 0) + posts
                    changes.add_past(source, into, tag, posts, late=into == minute)
                self.enter_past(pages, source, cut.minute, tag, moved)
        return changes

    def enter_present(
        self, pages: Pages, source: str, minute: int, tags: Mapping[str, int]
    ) -> None:
        """Hashtag to posts, of the present minute; nearly all of a commit is this."""
        hour, slot = divmod(minute, HOUR_MINUTES)
        key = keys.hour(hour, source)
        before = pages.totals(source)
        totals = {tag: before.get(tag, 0) + posts for tag, posts in tags.items()}
        pages.put_posts(source, totals, hour)
        pages.raise_last(key, slot, tags, totals, keys.end_of_hour(hour))
        if tracked := {tag: tags[tag] for tag in tags.keys() & self.tracked}:
            for tag in tracked:
                whole = pages.get(key, tag)
                pages.put(keys.kept(hour, source), tag, whole, keys.end_of_kept(hour))
            number, of_day = divmod(hour, 24)
            day, ends = keys.day(number, source), keys.end_of_day(number)
            pages.raise_last(day, of_day, tracked, totals, ends)

    def enter_past(
        self, pages: Pages, source: str, minute: int, tag: str, posts: dict[int, int]
    ) -> None:
        """Posts of minutes that are over, minute to posts: those raise the running totals of
        all hours and days from theirs to the present one."""
        hour, first = minute // HOUR_MINUTES, min(posts) // HOUR_MINUTES
        before, last = pages.totals(source).get(tag, 0), pages.last_seen(source, tag)
        after, newest = before + sum(posts.values()), max(posts) // HOUR_MINUTES
        pages.put_posts(source, {tag: after}, max(last, newest))
        ends = totals_at_ends(pages, source, tag, before, first, hour)
        added = 0
        for number in range(first, hour + 1):
            of_hour = {
                at % HOUR_MINUTES: n for at, n in posts.items() if at // HOUR_MINUTES == number
            }
            added += sum(of_hour.values())
            self.raise_hour(pages, source, number, hour, tag, of_hour, ends[number], added)
        self.raise_days(pages, source, tag, posts, ends, hour)

    def raise_hour(
        self,
        pages: Pages,
        source: str,
        number: int,
        hour: int,
        tag: str,
        posts: dict[int, int],
        end: int,
        added: int,
    ) -> None:
        """Put posts, minute of the hour to posts, into an hour; `added` is what came up to its
        end in all, `end` its running total before."""
        key = minutes_key(number, hour, source)
        stored = pages.past(key, tag)
        if stored is None and not posts:
            return
        past = stored or keys.Past()
        past.total = end + added
        for slot, more in posts.items():
            past.slots[slot] = past.slots.get(slot, 0) + more
        packed, kept = past.pack(), keys.kept(number, source)
        if key != kept:
            pages.put(key, tag, packed, keys.end_of_hour(number))
        if self.is_kept(pages, tag, number):
            pages.put(kept, tag, packed, keys.end_of_kept(number))

    def is_kept(self, pages: Pages, tag: str, number: int) -> bool:
        """Whether an hour of the hashtag is kept longer, in all sources."""
        return tag in self.tracked or any(
            pages.get(keys.kept(number, source), tag) for source in pages.networks
        )

    def raise_days(
        self,
        pages: Pages,
        source: str,
        tag: str,
        posts: dict[int, int],
        ends: dict[int, int],
        hour: int,
    ) -> None:
        """Put posts, minute to posts, into the days that they belong to, and raise the running
        totals of those and all later ones."""
        added, first = 0, min(posts) // HOUR_MINUTES // 24
        for number in range(first, hour // 24 + 1):
            key = keys.day(number, source)
            of_day = {at: n for at, n in posts.items() if at // HOUR_MINUTES // 24 == number}
            added += sum(of_day.values())
            of_day_kept = {
                at: n for at, n in of_day.items() if self.is_kept(pages, tag, at // HOUR_MINUTES)
            }
            past = pages.past(key, tag)
            if past is None and not of_day_kept:
                continue
            before = past.total if past else ends[min(hour, number * 24 + 23)]
            past = past or keys.Past()
            past.total = before + added
            for at, more in of_day_kept.items():
                slot = at // HOUR_MINUTES % 24
                past.slots[slot] = past.slots.get(slot, 0) + more
            pages.put(key, tag, past.pack(), keys.end_of_day(number))

    def totals(
        self, pages: Pages, tags: Iterable[str], networks: Iterable[str]
    ) -> dict[str, dict[str, int]]:
        """Hashtag to the total of every source that ever counted it, as the commit leaves them."""
        found: dict[str, dict[str, int]] = {tag: {} for tag in tags}
        for source in networks:
            posts = pages.totals(source)
            for tag in found.keys() & posts.keys():
                found[tag][source] = posts[tag]
        return found

    def say(self, pages: Pages) -> None:
        """Tell the log, when their number has doubled, that some values were none of ours."""
        self.unreadable += pages.unreadable
        if self.unreadable >= max(1, 2 * self.said):
            self.said = self.unreadable
            text = "%d values in Redis were none of ours so far, and count as not there: %s"
            log.warning(text, self.unreadable, pages.example)


def later_keys(source: str, first: int, hour: int, networks: Iterable[str]) -> Iterable[str]:
    """Every key that a post of an hour may change, up to the present hour, and those that tell
    whether it is kept longer: that is so for all sources or for none."""
    for number in range(first, hour + 1):
        if hour - number < keys.HOUR_HOURS:
            yield keys.hour(number, source)
        for name in networks:
            yield keys.kept(number, name)
    for number in range(first // 24, hour // 24 + 1):
        yield keys.day(number, source)


def totals_at_ends(
    pages: Pages, source: str, tag: str, total: int, first: int, hour: int
) -> dict[int, int]:
    """The running total at the end of each of these hours, before the cut: what the hours say,
    and where they say nothing, what those after them had before their first post."""
    ends = {}
    for number in range(hour, first - 1, -1):
        stored = pages.past(minutes_key(number, hour, source), tag)
        ends[number] = total = stored.total if stored else total
        # less than nothing: somebody has changed what is in Redis
        total = max(0, total - sum(stored.slots.values())) if stored else total
    return ends


def minutes_key(number: int, hour: int, source: str) -> str:
    """Where the minutes of an hour are, as seen from the present one."""
    recent = hour - number < keys.HOUR_HOURS
    return keys.hour(number, source) if recent else keys.kept(number, source)


def past_by_tag(cut: Cut) -> dict[str, dict[str, dict[int, int]]]:
    """Source to hashtag to minute to posts."""
    found: dict[str, dict[str, dict[int, int]]] = {}
    for source, minutes in cut.past.items():
        for minute, tags in minutes.items():
            for tag, posts in tags.items():
                found.setdefault(source, {}).setdefault(tag, {})[minute] = posts
    return found
