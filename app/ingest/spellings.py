"""How most posts of the last hour write a hashtag; pure."""

from collections.abc import Mapping

HALF_HOUR = 30
"""Minutes: the last hour is this half and the one before."""
MOST = 50_000
"""Hashtags in each half; with more, the older half is forgotten before its time."""


class Spellings:
    """Two halves of an hour, each hashtag to spelling to posts; the older one is forgotten."""

    def __init__(self) -> None:
        self.now: dict[str, dict[str, int]] = {}
        self.before: dict[str, dict[str, int]] = {}
        self.half = 0

    def add(self, found: Mapping[str, Mapping[str, int]], minute: int) -> None:
        """What a cut has seen: hashtag to spelling to posts; the minute since 1970."""
        if minute // HALF_HOUR != self.half or len(self.now) >= MOST:
            self.now, self.before, self.half = {}, self.now, minute // HALF_HOUR
        for tag, written in found.items():
            counted = self.now.setdefault(tag, {})
            for spelling, posts in written.items():
                if spelling in counted or len(counted) < 16:  # strangers write as they like
                    counted[spelling] = counted.get(spelling, 0) + posts

    def shown(self, tag: str) -> str:
        """The commonest; its key where nobody wrote it."""
        halves = self.now.get(tag, {}), self.before.get(tag, {})
        written = {s: sum(half.get(s, 0) for half in halves) for half in halves for s in half}
        return max(written, key=lambda s: written[s], default=tag)
