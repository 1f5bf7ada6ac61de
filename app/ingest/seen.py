"""What was counted lately of sources that may bring it again: a post counts once.

A source that goes back reads some time again, as servers' clocks differ; what of that was
counted is known by a hash of the post's id. The hashes lie in Redis by the minute of the
post's time, added in the commit that counts it.
"""

from hashlib import blake2b

from app.messages import MINUTE, Post
from app.process import end_if_cancelled
from app.store import keys
from app.store.store import Store

MARK_BYTES = 8
"""64 bits: among a million posts, one is mistaken for another in 30 million tries."""
FEW = 1000
"""Marks of a source's first posts that may turn out to have had wrong times (misdated); and of
posts without a time that are remembered (undated)."""
MOST = 500_000
"""Marks that are remembered, some 50 MB; with more, the oldest minute is forgotten before its
time."""


class Seen:
    """The marks of one source's last 15 minutes, by the source's own time.

    As many as the network has posts with hashtags in that time: at 600 a second, 200,000.
    """

    def __init__(self, minutes: dict[int, set[bytes]] | None = None) -> None:
        self.minutes = minutes or {}
        """Minute since 1970 to marks."""
        self.undated: dict[bytes, None] = {}
        """The last ones whose posts had no time that could be, FEW at most: of which minute they
        are nobody knows, so they are in each newest one anew."""

    @classmethod
    async def recall(cls, store: Store, source: str, newest: int) -> "Seen":
        """What Redis has of the 15 minutes up to the newest one; minute 0 has what came before the
        source said what time it is. Raises StoreLost."""
        minutes = range(max(0, newest - keys.SEEN_MINUTES), newest + 1)
        found = await store.members([keys.seen(source, at) for at in minutes])
        end_if_cancelled()
        return cls(dict(zip(minutes, found, strict=True)))

    def add(self, post: Post) -> tuple[int, set[bytes]] | None:
        """None for a post that was counted. Of a new one, the minute under which Redis is to
        remember marks, and these: its own, and those that are under minutes that may be wrong."""
        mark = blake2b(post.id.encode(errors="replace"), digest_size=MARK_BYTES).digest()
        if any(mark in found for found in self.minutes.values()):
            return None
        minute, newest, marks = post.time // MINUTE, self.newest, {mark}
        if minute < newest - keys.SEEN_MINUTES:  # of a time that is none, or is long over
            minute = newest
            self.undated[mark] = None
            if len(self.undated) > FEW:
                del self.undated[next(iter(self.undated))]
        elif minute > newest:
            marks |= self.undated.keys()
        if minute > newest + keys.SEEN_MINUTES:
            marks |= self.misdated()
        self.minutes.setdefault(minute, set()).update(marks)
        return minute, marks

    def misdated(self) -> set[bytes]:
        """All marks so far, where a much later post shows that the times of the first ones were
        wrong; none where there are many, for then so much time went by."""
        known = set().union(*self.minutes.values())
        if len(known) > FEW:
            return set()
        self.minutes.clear()
        return known

    @property
    def newest(self) -> int:
        return max(self.minutes, default=0)

    def old(self) -> list[int]:
        """The minutes that are needed no more, or for which there is no room."""
        number, old = 0, []
        for minute, marks in sorted(self.minutes.items(), reverse=True):
            number += len(marks)
            if minute < self.newest - keys.SEEN_MINUTES or number > MOST:
                old.append(minute)
        return old
