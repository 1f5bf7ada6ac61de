"""What was committed and what was tried, and what Redis has of it; pure.

What Redis holds is the truth. Each commit has a name of its own and says which commit it
follows; when Redis has another one than we believe, nothing is stored, and we find out which
of our commits it has:

- our last one, whose answer was lost: all is well;
- an older one of ours (Redis came back from an old copy of its file): everything since is
  counted again, from what is remembered of the last minutes;
- nothing at all (Redis lost everything): all that is remembered is counted again;
- one from before our first, or a stranger's after ours: the sources that can go back are
  read again from the stored cursors; what came from the others is counted again.
"""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

from app.ingest.counter import MOST_BYTES, MOST_ENTRIES, Cut, joined
from app.messages import MINUTE
from app.store.keys import LOG_SECONDS
from app.store.state import State

MOST_REMEMBERED = 500_000
"""Numbers in the commits that are remembered, all together. A hashtag of more than LONG bytes
counts as several."""
LONG = 400
"""Bytes that a hashtag takes in a tick."""
LOG_MINUTES = LOG_SECONDS // 60


@dataclass(frozen=True)
class Missing:
    """What Redis lacks of ours, and what is done about it."""

    commits: int
    """How many."""
    read_again: set[str]
    """The sources that are read again from the stored cursors; what came from the others is
    committed again."""
    since: int
    """The minute (since 1970) from which on nothing of those others is missing then; 0 where
    nothing at all is."""


@dataclass(frozen=True)
class Attempt:
    """A commit of ours: stored, tried, or to be tried again."""

    cut: Cut
    size: int = 0
    minute: int = 0
    """When, since 1970."""
    earlier: bool = False
    """Whether it was stored once, in a Redis that has since gone back to an older state, and is to
    be stored again. The Redis that has it may come back, too: it is found there by its name."""


class Commits:
    """Our commits of the last 15 minutes, and those that are to be tried again. Bounds: attempts
    has MOST_REMEMBERED numbers and the last commit; again and parts have what was in it."""

    def __init__(self, stored: State) -> None:
        self.trying: Cut | None = None
        self.parts: list[Cut] = []
        """Of what the trying one is made, where it is made again."""
        self.again: deque[Cut] = deque()
        self.believe(stored)

    def believe(self, stored: State) -> None:
        """Redis has this; what led to it counts as one commit, of which we know the name alone."""
        self.stored = stored
        self.attempts = deque([Attempt(Cut(name=stored.commit), 0, stored.time // MINUTE)])

    def next_again(self) -> Cut | None:
        """What is to be tried next of what was tried before, or is to be committed again: as
        many of those together as one commit may have. None where there is nothing of it."""
        if self.trying is None and self.again:
            self.parts = [self.again.popleft()]
            size, length = self.parts[0].size(), self.parts[0].bytes()
            while self.again:
                size, length = size + self.again[0].size(), length + self.again[0].bytes()
                if size > MOST_ENTRIES or length > MOST_BYTES:
                    break
                self.parts.append(self.again.popleft())
            self.trying = joined(self.parts)
        return self.trying

    def done(self, cut: Cut, stored: State) -> None:
        """The cut is stored."""
        self.attempts.extend(self.tried(stored.time // MINUTE))
        self.trying, self.parts, self.stored = None, [], stored
        oldest, size = stored.time // MINUTE - LOG_MINUTES, sum(each.size for each in self.attempts)
        while len(self.attempts) > 1 and (
            size > MOST_REMEMBERED or self.attempts[0].minute < oldest
        ):
            size -= self.attempts.popleft().size

    def tried(self, minute: int = 0) -> list[Attempt]:
        """What is being tried: in parts and by their old names, where it is made again."""
        if self.trying is None:
            return []
        if not self.parts:
            return [Attempt(self.trying, weight(self.trying), minute)]
        parts = [Attempt(part, weight(part), minute, earlier=True) for part in self.parts]
        return [*parts, Attempt(Cut(name=self.trying.name), 0, minute)]

    def reconcile(
        self, state: State, goes_back: Collection[str], to_the_start: Collection[str]
    ) -> Missing:
        """Find out what Redis has of ours, and believe what it says.

        goes_back: the sources that can be read again from a cursor; to_the_start: those of
        which an empty cursor is the beginning of all.
        """
        again = [Attempt(cut, earlier=True) for cut in self.again]
        attempts = [*self.attempts, *self.tried(), *again]
        names = {state.commit, *state.recent}
        known = [n for n, one in enumerate(attempts) if one.cut.name and one.cut.name in names]
        older = state.number < self.stored.number
        # all up to the last that Redis knows; of one that knows none, nothing where it is older
        # than what we stored, else all of that: then somebody else committed after us
        keep = known[-1] + 1 if known else 0 if older else len(self.attempts)
        last = attempts[keep - 1]
        # nobody committed after our last, so the cursors are ours
        alone = bool(known) and last.cut.name == state.commit and not last.earlier
        # without a cursor, such a source would go on with the present
        from_there = {s for s in goes_back if state.cursors.get(s) or s in to_the_start}
        back = set() if alone else from_there
        missing = [one.cut for one in attempts[keep:]]
        others = {source for cut in missing for source in cut.sources()} - back
        since = 0 if known or not older else self.attempts[0].minute
        self.trying, self.parts = None, []
        self.again = deque(cut.of(others) for cut in missing)
        self.believe(state)
        return Missing(len(missing), back, since)


def weight(cut: Cut) -> int:
    """How much there is to remember of it."""
    return max(cut.size(), cut.bytes() // LONG)
