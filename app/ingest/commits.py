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
class Made:
    """A commit that was made, or tried, or is to be made again."""

    cut: Cut
    size: int = 0
    minute: int = 0
    """When, since 1970."""
    earlier: bool = False
    """Whether it was stored once, in a Redis that has since gone back to an older state, and is
    made again. The Redis that has it may come back, too: then it is found there by its name."""


class Commits:
    """The commits of the last 15 minutes, and those to come. Bounds: made has MOST_REMEMBERED
    numbers and the last commit; again and parts have what was in it."""

    def __init__(self, stored: State) -> None:
        self.trying: Cut | None = None
        self.parts: list[Cut] = []
        """Of what the trying one is made, where it is made again."""
        self.again: deque[Cut] = deque()
        self.believe(stored)

    def believe(self, stored: State) -> None:
        """This is what Redis has, and all that it had before stands for one commit."""
        self.stored = stored
        self.made = deque([Made(Cut(name=stored.commit), 0, stored.time // MINUTE)])

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
        self.made.extend(self.tried(stored.time // MINUTE))
        self.trying, self.parts, self.stored = None, [], stored
        oldest, size = stored.time // MINUTE - LOG_MINUTES, sum(made.size for made in self.made)
        while len(self.made) > 1 and (size > MOST_REMEMBERED or self.made[0].minute < oldest):
            size -= self.made.popleft().size

    def tried(self, minute: int = 0) -> list[Made]:
        """What is being tried: in parts and by their old names, where it is made again."""
        if self.trying is None:
            return []
        if not self.parts:
            return [Made(self.trying, weight(self.trying), minute)]
        parts = [Made(part, weight(part), minute, earlier=True) for part in self.parts]
        return [*parts, Made(Cut(name=self.trying.name), 0, minute)]

    def reconcile(
        self, state: State, goes_back: Collection[str], to_the_start: Collection[str]
    ) -> Missing:
        """Find out what Redis has of ours, and believe what it says.

        goes_back: the sources that can be read again from a cursor; to_the_start: those of
        which an empty cursor is the beginning of all.
        """
        made = [*self.made, *self.tried(), *(Made(cut, earlier=True) for cut in self.again)]
        names = {state.commit, *state.recent}
        known = [n for n, one in enumerate(made) if one.cut.name and one.cut.name in names]
        older = state.number < self.stored.number
        keep = known[-1] + 1 if known else 0 if older else len(self.made)
        last = made[keep - 1]
        alone = bool(known) and last.cut.name == state.commit and not last.earlier
        # without a cursor, such a source would go on with the present
        from_there = {s for s in goes_back if state.cursors.get(s) or s in to_the_start}
        back = set() if alone else from_there
        missing = [one.cut for one in made[keep:]]
        others = {source for cut in missing for source in cut.sources()} - back
        since = 0 if known or not older else self.made[0].minute
        self.trying, self.parts = None, []
        self.again = deque(cut.of(others) for cut in missing)
        self.believe(state)
        return Missing(len(missing), back, since)


def weight(cut: Cut) -> int:
    """How much there is to remember of it."""
    return max(cut.size(), cut.bytes() // LONG)
