"""Where to go on reading, by the posts' own times; pure. All times are in microseconds.

A server tells when it saw a message, and each has a time of its own for the same post: one may
be minutes behind the others, another may have a wrong clock. When the author's own server made
the commit is the same on all of them. One such server may lie, so it is the median of the last
hundred that tells how far the server that we read is behind; and a message moves the cursor only
where its two times agree, so that no single one of the future can move it there: what came until
then would be lost with the next cut.
"""

from collections import deque

from app.store.keys import SEEN_MINUTES

SECOND = 1_000_000
MINUTE = 60 * SECOND
REREAD = MINUTE
"""How much is read again after a cut: messages are not strictly in the order of their times."""
AGREE = MINUTE
"""By no more may a message's two times differ, but for what the server is behind; and by no more
may it be ahead of our own clock, but for what nearly all are."""
APART = SECOND
"""A clock that is behind by no more passes for right: each server is asked for so much more."""
SAMPLES, ENOUGH = 101, 11
"""Messages by which that is known, and how many of them suffice, one right after the other."""
REMEMBERED = (SEEN_MINUTES - 2) * MINUTE
"""Of what is read again, the ingester knows by the posts' ids what it has counted, so far back."""
EARLY_AT_MOST = REMEMBERED - AGREE
"""How far a clock may be behind before posts are missing: no more is read again than that."""
EARLIEST = 10**15
"""A time in the year 2001: a server takes a lower cursor for something else than a time."""


class Place:
    """How far a connection has come, and by what its server's times differ from the posts' own."""

    def __init__(self, begun: int = 0, early: int = 0) -> None:
        self.begun = begun
        """The cursor that it goes back to; 0 for none."""
        self.early = early
        """So much earlier than that was asked for, of a server whose clock is behind."""
        self.behind = 0
        """How far the server's times are after the posts' own; negative for a clock that is
        behind."""
        self.ahead = 0
        """How far the posts' times are ahead of our own clock, where that is behind."""
        self.samples: deque[tuple[int, int]] = deque(maxlen=SAMPLES)
        """Of each of these messages, how far the server's time was after its own, and its own ahead
        of our clock."""
        self.sampled = 0
        """When the last of them was, by the server's clock."""
        self.newest = 0
        """The latest own time of messages whose two times agree; 0 before there is one."""
        self.started = 0
        """When the first such message was, by the server's clock."""
        self.first = 0
        """When that really was; 0 as long as it is not sure how far the server is behind."""
        self.heard = 0
        """How many messages there were in `samples` so far."""

    def hear(self, time: int, committed: int, now: int) -> int:
        """Take in a message; the answer is its own time, or 0 where that is not to be believed.

        time: by the server's clock. committed: by that of its author's server, 0 where it does not
        say. now: by ours.
        """
        if committed:
            self.compare(time, committed, now)
        at = time - self.behind
        if self.begun_too_late or not EARLIEST <= at <= now + self.ahead + AGREE:
            return 0
        if not self.is_sure and at < (self.begun or time) - AGREE:
            return 0  # the first author's server may lie: nobody knows yet what time it is
        if committed and abs(at - committed) <= AGREE:
            self.started = self.started or time
            if self.is_sure:
                self.first = self.first or self.started - self.behind_at_most
            self.newest = max(self.newest, at)
            return at
        return at if not self.newest or abs(at - self.newest) <= AGREE else 0

    def compare(self, time: int, committed: int, now: int) -> None:
        if self.is_sure and abs(time - self.sampled) < SECOND:
            return
        # an author's server alone does not tell that ours is behind by more than theirs may be
        self.samples.append((time - committed, min(committed, time + EARLY_AT_MOST) - now))
        self.heard, self.sampled = self.heard + 1, time
        behind, ahead = map(sorted, zip(*self.samples, strict=True))
        middle = (len(behind) - 1) // 2  # the earlier of two: one of them may lie, or be slow
        self.behind, self.ahead = behind[middle], max(0, ahead[middle]) * self.is_sure

    @property
    def is_sure(self) -> bool:
        """Whether it is known how far the server is behind."""
        return self.heard >= ENOUGH

    @property
    def behind_at_most(self) -> int:
        """How far it is by the slowest of those that agree: honest clocks are seconds apart."""
        return max(late for late, _ in self.samples if late - self.behind <= AGREE)

    @property
    def begun_too_late(self) -> bool:
        """Whether the server's clock is so far behind that what we asked for was later than the
        cursor: what lies between is missing. As long as that is not sure, the first author's may
        be ahead instead, or lie: then nobody knows yet what time it is."""
        behind = max(self.behind, -EARLY_AT_MOST)
        return (bool(self.begun) or not self.is_sure) and behind < -self.early - APART

    @property
    def cursor(self) -> int:
        """The time to go back to after a cut; 0 before there is one. After the first messages of
        all it is before them: the clock of each may be ahead."""
        begun = self.begun or self.first
        if not self.is_of_the_past:  # where the first messages lie, it is not years before now
            begun = max(self.first, self.started - REMEMBERED)
        return max(begun, self.newest - REREAD)

    @property
    def is_of_the_past(self) -> bool:
        """Whether the server had the time that we go back to: for one of the future it begins
        with the present, and so would we, after every cut until then."""
        return not self.first or self.started >= self.begun - self.early - AGREE

    def was_counted(self, time: int, committed: int) -> bool:
        """Whether a post is from so long before the cursor that the ingester has counted it, and
        may not know it any more: a server that is far behind, or that is so much further behind
        than it was, brings such again. The clock of its author's server may be behind, too, so
        both its times must say the same (0 for none), whatever ours says."""
        may_be_far = self.early + self.behind > REMEMBERED or not self.is_sure
        later = max(time - self.behind, committed)
        return may_be_far and committed > 0 and later < self.begun - REMEMBERED
