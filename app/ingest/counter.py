"""Counts hashtags; pure: no clock, no I/O."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from uuid import uuid4

from app.hashtags import key
from app.messages import DAY, MINUTE, MinuteCount, Post
from app.store.keys import AUTHOR_BYTES

MOST_ENTRIES = 4000
"""Pairs of a source and a hashtag in one commit. While so many wait, sources that can wait do."""
MOST_BYTES = 2**19
"""Of a commit's tick, as bytes_of() guesses it: each name stands in it up to five times, with some
numbers. At the worst it is three times as long (in JSON a quotation mark takes two bytes), which
readers still take (store/connection.py)."""
ENTRY_BYTES = 100
MOST_MARKS = 20_000
"""Posts that one commit remembers as counted. While so many wait, sources that can wait do."""
MOST_AUTHORED = 20_000
"""Posts whose author is known, between two cuts. While so many wait, sources that can wait do; of
the others, when there are twice as many, no more authors are noted."""
DAY_MINUTES = DAY // MINUTE
MOST_SPELLINGS = 16
"""Of a hashtag, since the last cut: strangers write as they like."""
MOST_MINUTES = 7 * 24 * 60
"""Minutes of posts that a source may have waiting for Redis; of more, the two oldest become one."""

Counts = dict[str, dict[str, int]]
"""Source name to hashtag, or to spelling, to posts."""
ByMinute = dict[str, dict[int, dict[str, int]]]
"""Source name to minute (since 1970) to hashtag to posts."""
Marks = dict[str, dict[int, set[bytes]]]
"""Source name to minute to what was counted, as short hashes (seen.py)."""
Authors = dict[str, dict[int, dict[str, bytes]]]
"""Source name to day (since 1970) to hashtag to who used it: short hashes, one after the other
(people.py)."""
Authored = tuple[str, str, Collection[str]]
"""Of a post: source name, author, and the hashtags that count."""


@dataclass(frozen=True)
class Cut:
    """What was counted between two ticks: what one commit brings. The commit has its name, however
    often it is tried."""

    minute: int = 0
    """The minute of the present ones, numbered since 1970."""
    present: Counts = field(default_factory=dict)
    """What was counted as it came."""
    past: ByMinute = field(default_factory=dict)
    """What belongs to minutes of its own; 0 says that a minute is known and silent."""
    cursors: Mapping[str, str] = field(default_factory=dict)
    """Source name to where it goes on, with all before it in this cut or in one before."""
    marks: Marks = field(default_factory=dict)
    """What was counted of sources that may bring it again."""
    authors: Authors = field(default_factory=dict)
    """Who used which hashtags."""
    name: str = field(default_factory=lambda: uuid4().hex[:12])
    """Of the commit that brings it."""

    def entries(self) -> Iterator[tuple[str, int, str, int]]:
        """Source, minute, hashtag and posts, all of them."""
        for source, tags in self.present.items():
            for tag, posts in tags.items():
                yield source, self.minute, tag, posts
        for source, minutes in self.past.items():
            for minute, tags in minutes.items():
                for tag, posts in tags.items():
                    yield source, minute, tag, posts

    def size(self) -> int:
        """How many numbers it is made of."""
        marks = sum(len(found) for minutes in self.marks.values() for found in minutes.values())
        authors = sum(sum(map(len, tags.values())) for _, tags in self.authors_by_day())
        return marks + authors // AUTHOR_BYTES + sum(1 for _ in self.entries())

    def authors_by_day(self) -> Iterator[tuple[int, Mapping[str, bytes]]]:
        """Day, and hashtag to authors, of each source."""
        for days in self.authors.values():
            yield from days.items()

    def bytes(self) -> int:
        """How much of a tick it takes, nearly."""
        return sum(bytes_of(tag) for _, _, tag, _ in self.entries())

    def sources(self) -> set[str]:
        return {*self.present, *self.past, *self.cursors, *self.marks, *self.authors}

    def of(self, sources: set[str]) -> "Cut":
        """Only what these sources brought."""
        return replace(
            self,
            present={s: tags for s, tags in self.present.items() if s in sources},
            past={s: minutes for s, minutes in self.past.items() if s in sources},
            cursors={s: cursor for s, cursor in self.cursors.items() if s in sources},
            marks={s: minutes for s, minutes in self.marks.items() if s in sources},
            authors={s: days for s, days in self.authors.items() if s in sources},
        )

    def at(self, minute: int) -> "Cut":
        """The same for a commit in another minute: what was of its present is of the past then."""
        if minute == self.minute:
            return self
        return replace(joined([self]), minute=minute, name=self.name)


def joined(cuts: list[Cut]) -> Cut:
    """All that these cuts bring, in the minutes that it belongs to; the cursors of the last."""
    past: ByMinute = {}
    marks: Marks = {}
    authors: Authors = {}
    cursors: dict[str, str] = {}
    for cut in cuts:
        cursors.update(cut.cursors)
        for source, minute, tag, posts in cut.entries():
            raise_by(past.setdefault(source, {}).setdefault(minute, {}), {tag: posts})
        for source, minutes in cut.marks.items():
            for minute, found in minutes.items():
                marks.setdefault(source, {}).setdefault(minute, set()).update(found)
        for source, days in cut.authors.items():
            for day, by_tag in days.items():
                of_day = authors.setdefault(source, {}).setdefault(day, {})
                for tag, found_here in by_tag.items():
                    of_day[tag] = of_day.get(tag, b"") + found_here
    return Cut(cuts[-1].minute, {}, past, cursors, marks, authors)


class Counter:
    """What was counted since the last cut, and how far each source had come by then.

    Bounded by is_full: what it holds of sources that wait is one commit's; of the others,
    the tracked hashtags for each minute that was not stored yet, of at most 7 days.
    """

    def __init__(self, tracked: frozenset[str]) -> None:
        self.tracked = tracked
        self.minute = 0
        """The present one, numbered since 1970."""
        self.waited = False
        """Whether there are posts in it that no tick has taken in time."""
        self.counted: Counts = {}
        """Source name to spelling to posts, of the present; the cut finds out which are one
        hashtag's."""
        self.past: ByMinute = {}
        """What belongs to minutes of its own."""
        self.cursors: dict[str, str] = {}
        """Source name to where it goes on, with all before it counted."""
        self.marks: Marks = {}
        """What was counted of sources that may bring it again."""
        self.authored: list[Authored] = []
        """Posts of the present whose author is known."""
        self.authored_past: list[tuple[int, Authored]] = []
        """Those of days of their own, and the day."""
        self.spellings: dict[str, dict[str, int]] = {}
        """Hashtag to spelling to posts, since they were last taken with a cut."""
        self.entries = self.bytes = self.marked = 0
        """How much there is: hashtags of sources, what they take in a tick, and marks."""

    @property
    def is_full(self) -> bool:
        return (
            self.entries >= MOST_ENTRIES
            or self.bytes >= MOST_BYTES
            or self.marked >= MOST_MARKS
            or len(self.authored) + len(self.authored_past) >= MOST_AUTHORED
        )

    def add(self, post: Post, everything: bool = True, past: bool = False) -> None:
        """Count the post once under each hashtag that it names, and move its source's cursor.

        everything: count every hashtag, not the tracked ones alone. past: into the minute of
        its own time, and not into the present.
        """
        if past:
            self.add_past(post, everything)
        elif post.hashtags:
            counted = self.counted.get(post.source)
            if counted is None:
                counted = self.counted[post.source] = {}
            tags = post.hashtags if everything else self.tracked_of(post)
            for tag, spelling in tags.items():
                if spelling in counted:
                    counted[spelling] += 1
                else:
                    counted[spelling] = 1
                    self.entries += 1
                    self.bytes += bytes_of(tag, spelling)
            if post.author and (everything or self.may_note_author(tags)):
                self.authored.append((post.source, post.author, tags))
        if post.cursor:
            self.cursors[post.source] = post.cursor

    def tracked_of(self, post: Post) -> Mapping[str, str]:
        return {tag: spelling for tag, spelling in post.hashtags.items() if tag in self.tracked}

    def may_note_author(self, tags: Collection[str]) -> bool:
        """Whether any hashtag counts, and there is room: a source that has not everything may be
        one that cannot wait."""
        return bool(tags) and len(self.authored) + len(self.authored_past) < 2 * MOST_AUTHORED

    def add_past(self, post: Post, everything: bool) -> None:
        if not post.hashtags:
            return
        minutes = self.past.setdefault(post.source, {})
        counted = minutes.setdefault(post.time // MINUTE, {})
        tags = post.hashtags if everything else self.tracked_of(post)
        for tag, spelling in tags.items():
            raise_spelling(self.spellings.setdefault(tag, {}), spelling, 1)
            if tag not in counted:
                self.entries += 1
                self.bytes += bytes_of(tag, spelling)
            counted[tag] = counted.get(tag, 0) + 1
        if post.author and self.may_note_author(tags):
            self.authored_past.append((post.time // DAY, (post.source, post.author, tags)))

    def add_minute(self, count: MinuteCount) -> None:
        """Count what a network told of a minute; 0 posts are a minute that is known."""
        minutes = self.past.setdefault(count.source, {})
        counted = minutes.setdefault(count.minute // MINUTE, {})
        if count.hashtag not in counted:
            self.entries += 1
            self.bytes += bytes_of(count.hashtag)
        raise_by(counted, {count.hashtag: count.posts})

    def mark(self, source: str, minute: int, marks: set[bytes]) -> None:
        """Remember that these were counted."""
        self.marks.setdefault(source, {}).setdefault(minute, set()).update(marks)
        self.marked += len(marks)

    def begin(self, minute: int) -> None:
        """A tick begins, and this is the present now.

        What came since the last tick is of the present. What has waited for longer, because
        Redis could not be had, keeps its own minute.
        """
        if self.waited and minute != self.minute:
            for source, tags in self.by_hashtag().items():
                minutes = self.past.setdefault(source, {})
                raise_by(minutes.setdefault(self.minute, {}), tags)
                while len(minutes) > MOST_MINUTES:
                    oldest, after = sorted(minutes)[:2]
                    raise_by(minutes[after], minutes.pop(oldest))
            self.counted = {}
            self.authored_past, self.authored = self.all_authored(), []
        self.minute, self.waited = minute, True

    def all_authored(self) -> list[tuple[int, Authored]]:
        """Posts whose author is known, with the day of each."""
        today = self.minute // DAY_MINUTES
        return [*self.authored_past, *((today, post) for post in self.authored)]

    def cut(self, whole: Collection[str] = ()) -> Cut:
        """Hand over what was counted and the cursors, and begin again at nothing.

        whole: the sources that are not split over two cuts, as their cursor goes with all that
        they brought; that is bounded, as they wait. Of the others as much is handed over as one
        commit may have, the oldest minutes first; the rest is for the next.
        """
        present, past, rest = self.by_hashtag(), self.past, ByMinute()
        if self.is_full:
            present, past, rest = self.bounded(present, whole)
        made = Cut(self.minute, present, past, dict(self.cursors), self.marks)
        self.counted, self.past, self.marks = {}, rest, {}
        left = [tag for minutes in rest.values() for tags in minutes.values() for tag in tags]
        self.entries, self.bytes, self.marked = len(left), sum(map(bytes_of, left)), 0
        self.waited = False
        return made

    def bounded(self, present: Counts, whole: Collection[str]) -> tuple[Counts, ByMinute, ByMinute]:
        """What of the present and of the past belongs into this cut, and what is for the next
        ones, in minutes of its own."""
        for source in present.keys() - whole:
            minutes = self.past.setdefault(source, {})
            raise_by(minutes.setdefault(self.minute, {}), present.pop(source))
        past = {s: minutes for s, minutes in self.past.items() if s in whole}
        cut = Cut(0, present, past)
        entries, size, rest = sum(1 for _ in cut.entries()), cut.bytes(), ByMinute()
        others = [(at, s) for s in self.past.keys() - past.keys() for at in self.past[s]]
        for at, source in sorted(others):
            tags = self.past[source][at]
            fitting = 0
            for tag in tags if not rest else ():
                entries, size = entries + 1, size + bytes_of(tag)
                if entries > MOST_ENTRIES or size > MOST_BYTES:
                    break
                fitting += 1
            if fitting:
                past.setdefault(source, {})[at] = dict(islice(tags.items(), fitting))
            if fitting < len(tags):
                rest.setdefault(source, {})[at] = dict(islice(tags.items(), fitting, None))
        return present, past, rest

    def take_spellings(self) -> dict[str, dict[str, int]]:
        """How often each spelling was seen: they only choose what is shown."""
        taken, self.spellings = self.spellings, {}
        return taken

    def take_authored(self) -> list[tuple[int, Authored]]:
        """Posts whose author is known, with the day of each, since they were last taken."""
        taken, self.authored, self.authored_past = self.all_authored(), [], []
        return taken

    def by_hashtag(self) -> Counts:
        """What was counted of the present, spelling by spelling, as hashtags."""
        found: Counts = {}
        spellings = self.spellings
        for source, written in self.counted.items():
            tags = found.setdefault(source, {})
            for spelling, posts in written.items():
                tag = key(spelling)
                tags[tag] = tags.get(tag, 0) + posts
                if tag in spellings:
                    raise_spelling(spellings[tag], spelling, posts)
                else:
                    spellings[tag] = {spelling: posts}
        return found

    def forget(self, source: str, cursor: str) -> None:
        """Drop what this source counted since the last cut: it is read again from the cursor."""
        for part in (self.counted, self.past, self.marks):
            part.pop(source, None)
        self.authored = [post for post in self.authored if post[0] != source]
        self.authored_past = [each for each in self.authored_past if each[1][0] != source]
        self.cursors[source] = cursor


def bytes_of(tag: str, spelling: str = "") -> int:
    """How much of a tick a hashtag takes, nearly."""
    if tag.isascii() and spelling.isascii():  # as nearly always
        return ENTRY_BYTES + 5 * len(tag) + len(spelling)
    return ENTRY_BYTES + 5 * len(tag.encode()) + len(spelling.encode())


def raise_spelling(seen: dict[str, int], spelling: str, posts: int) -> None:
    if spelling in seen or len(seen) < MOST_SPELLINGS:
        seen[spelling] = seen.get(spelling, 0) + posts


def raise_by(totals: dict[str, int], posts: Mapping[str, int]) -> None:
    for of, number in posts.items():
        totals[of] = totals.get(of, 0) + number
