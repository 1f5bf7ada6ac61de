"""How most posts of the last hour write a hashtag; pure."""

import sys
from collections.abc import Collection, Iterable, Mapping

from app.hashtags import readable, spelling
from app.messages import MINUTE, Tick, added_up

HALF_HOUR = 30
"""Minutes: the last hour is this half and the one before."""
MOST = 50_000
"""Hashtags in each half; with more, the older half is forgotten before its time."""
MOST_OF_ONE = 16
"""Spellings of a hashtag in each half: strangers write as they like."""
MOST_BYTES = 2**25
"""Of each half, nearly; with more, the older half is forgotten before its time, too."""
TAG_BYTES, SPELLING_BYTES = 300, 100
"""What a hashtag and one of its spellings take, beside their letters."""


class Spellings:
    """Two halves of an hour, each hashtag to spelling to posts; the older one is forgotten. Bound:
    MOST hashtags and MOST_BYTES in each."""

    def __init__(self, tracked: Iterable[str] = ()) -> None:
        self.typed = {str(tag): spelling(tag) for tag in tracked}
        """How the tracked ones are typed in the settings."""
        self.now: dict[str, dict[str, int]] = {}
        """The half that is not over."""
        self.before: dict[str, dict[str, int]] = {}
        """The one before it."""
        self.plain: set[str] = set()
        """Those of both that are written as their key and in no other way, as most are."""
        self.half = self.bytes = 0
        """The number of the half that is not over, since 1970; and what that takes, nearly."""

    def begin(self) -> None:
        """Nothing is known: who becomes the writer again has the log for what was before."""
        self.now, self.before, self.plain, self.half, self.bytes = {}, {}, set(), 0, 0

    def add(self, found: Mapping[str, Mapping[str, int]], minute: int) -> None:
        """What a cut has seen: hashtag to spelling to posts; the minute since 1970."""
        too_many = len(self.now) >= MOST or self.bytes >= MOST_BYTES
        if minute // HALF_HOUR != self.half or too_many:
            self.now, self.before, self.half, self.bytes = {}, self.now, minute // HALF_HOUR, 0
            self.plain = {tag for tag, written in self.before.items() if is_plain(tag, written)}
        for tag, written in found.items():
            counted = self.now.get(tag)
            if counted is None:
                counted = self.now[tag] = {}
                self.bytes += TAG_BYTES + sys.getsizeof(tag)
                if tag not in self.before and is_plain(tag, written):
                    self.plain.add(tag)
            for written_as, posts in written.items():
                if written_as in counted:
                    counted[written_as] += posts
                elif len(counted) < MOST_OF_ONE:
                    counted[written_as] = posts
                    self.bytes += SPELLING_BYTES + sys.getsizeof(written_as)
                    if written_as != tag:
                        self.plain.discard(tag)

    def recall(self, tick: Tick) -> None:
        """Take in a tick of before a start: all its posts of a hashtag as written like most of them
        then were. Of late ones it is not told; a network that tells numbers has no spellings."""
        present = tick.added.keys() - tick.late.keys()
        found = {tag: {tick.names.get(tag, tag): added_up(tick.added[tag])} for tag in present}
        self.add(found, tick.at // MINUTE)

    def differing(self, tags: Collection[str]) -> dict[str, str]:
        """Of those that are shown otherwise than their key: hashtag to what is shown."""
        others = set(tags) - self.plain
        return {tag: name for tag in others if (name := self.name_of(tag)) != tag}

    def name_of(self, tag: str) -> str:
        """The commonest, and of that what is part of the hashtag; where nobody wrote it, as the
        settings have it, or its key."""
        now, before = self.now.get(tag, {}), self.before.get(tag, {})
        if len(now) == 1 and not before:  # as nearly always
            return readable(next(iter(now)))
        written = {s: now.get(s, 0) + before.get(s, 0) for s in (*now, *before)}
        return readable(max(written, key=lambda s: written[s], default=self.typed.get(tag, tag)))


def is_plain(tag: str, written: Collection[str]) -> bool:
    """Whether a hashtag that is written in these ways is shown as its key."""
    return len(written) == 1 and tag in written and tag.isalnum()
