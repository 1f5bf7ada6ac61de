"""How most posts of the last hour write a hashtag; pure."""

from collections.abc import Iterable, Mapping

from app.hashtags import spelling

HALF_HOUR = 30
"""Minutes: the last hour is this half and the one before."""
MOST = 50_000
"""Hashtags in each half; with more, the older half is forgotten before its time."""
MOST_OF_ONE = 16
"""Spellings of a hashtag in each half: strangers write as they like."""


class Spellings:
    """Two halves of an hour, each hashtag to spelling to posts; the older one is forgotten."""

    def __init__(self, tracked: Iterable[str] = ()) -> None:
        self.typed = {str(tag): spelling(tag) for tag in tracked}
        """How the tracked ones are typed in the settings."""
        self.now: dict[str, dict[str, int]] = {}
        self.before: dict[str, dict[str, int]] = {}
        self.half = 0

    def add(self, found: Mapping[str, Mapping[str, int]], minute: int) -> None:
        """What a cut has seen: hashtag to spelling to posts; the minute since 1970."""
        if minute // HALF_HOUR != self.half or len(self.now) >= MOST:
            self.now, self.before, self.half = {}, self.now, minute // HALF_HOUR
        for tag, written in found.items():
            counted = self.now.setdefault(tag, {})
            for written_as, posts in written.items():
                if written_as in counted or len(counted) < MOST_OF_ONE:
                    counted[written_as] = counted.get(written_as, 0) + posts

    def shown(self, tag: str) -> str:
        """The commonest; where nobody wrote it, as the settings have it, or its key."""
        now, before = self.now.get(tag, {}), self.before.get(tag, {})
        if len(now) == 1 and not before:  # as nearly always
            return next(iter(now))
        written = {s: now.get(s, 0) + before.get(s, 0) for s in (*now, *before)}
        return max(written, key=lambda s: written[s], default=self.typed.get(tag, tag))
