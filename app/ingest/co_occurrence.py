"""Which hashtags came in the same posts in the last ten minutes, and by how many people.

Only those that at least five people used are looked at: of others nothing can be said but what
single people wrote.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from heapq import nlargest
from itertools import combinations, islice
from typing import Any

from app.ingest.board import BoardMaker
from app.ingest.recent_uses import NOBODY
from app.messages import dumps
from app.store import keys
from app.store.state import Write

MOST_TOLD = 1000
"""Hashtags, those of the most people."""
MOST_USES = 100_000
"""Uses of a pair by somebody that are counted, the newest first; some 15 MB meanwhile."""
MOST_WITH = 10
LEAST_BOTH = 2
"""People who used both."""
AT_ONCE, POSTS_AT_ONCE = 100, 500
"""Hashtags that one commit writes, and that are worked out before others get a turn; and posts that
are gone through before."""

Pair = tuple[str, str]
"""In alphabetical order."""


class CoOccurrence:
    """Counts now and then which hashtags come together, for the commits that follow.

    Bounds: unwritten and written have MOST_TOLD entries at most, gone too.
    """

    def __init__(self, board: BoardMaker) -> None:
        self.board, self.lately = board, board.lately
        self.due = 0.0
        """When it counts again, in milliseconds since 1970."""
        self.unwritten: dict[str, str] = {}
        """Hashtag to what is to be written of it, as JSON."""
        self.written: frozenset[str] = frozenset()
        """The hashtags of which Redis has something by us."""
        self.gone: frozenset[str] | None = None
        """Those of which it is to have nothing more; all, for None."""

    async def make(self, now: int) -> None:
        """Count anew, if it is time to; milliseconds since 1970. All posts of ten minutes are gone
        through for it: some 100 ms at 600 posts a second."""
        if 0 <= self.due - now <= keys.LATELY_SECONDS * 1000:
            return
        self.due = now + keys.LATELY_SECONDS * 1000
        crowded = self.lately.crowded
        blocked = self.board.blocked
        most = nlargest(MOST_TOLD, crowded.keys() - blocked, key=crowded.__getitem__)
        pairs, everybody = await self.pairs(frozenset(most))
        others, found = others_of(pairs), dict[str, str]()
        for n in range(0, len(most), AT_ONCE):
            await asyncio.sleep(0)
            for tag in most[n : n + AT_ONCE]:
                found[tag] = dumps(self.about(tag, others.get(tag, {}), everybody, now))
        if self.gone is not None:
            self.gone = (self.gone | self.written) - set(most)
            if len(self.gone) > MOST_TOLD:
                self.gone = None
        self.unwritten = found  # at once: meanwhile commits took from what was found before
        self.written = frozenset(most)

    async def pairs(self, told: frozenset[str]) -> tuple[Mapping[Pair, int], int]:
        """How many people used both of each two of these, and how many there are in all."""
        counted: set[tuple[Pair, int]] = set()
        number: Counter[Pair] = Counter()
        everybody: set[int] = set()
        for slot in sorted(self.lately.slots, reverse=True):
            for n, (who, tags, _) in enumerate(self.lately.slots.get(slot, ())):
                if n % POSTS_AT_ONCE == 0:
                    await asyncio.sleep(0)
                everybody.add(who)
                if who == NOBODY or len(tags) < 2 or len(counted) >= MOST_USES:
                    continue
                for pair in combinations(sorted(told.intersection(tags)), 2):
                    if (pair, who) not in counted:
                        counted.add((pair, who))
                        number[pair] += 1
        return number, len(everybody - {NOBODY})

    def about(
        self, tag: str, others: Mapping[str, int], everybody: int, now: int
    ) -> dict[str, Any]:
        """What is told of a hashtag; people may have left since they were counted."""
        crowded, standing = self.lately.crowded, self.board.standing(tag, now)
        found = []
        for other, both in nlargest(MOST_WITH, others.items(), key=lambda each: each[::-1]):
            lift = both * everybody / (crowded.get(tag, both) * crowded.get(other, both))
            name = self.board.name_of(other)
            found.append({"tag": other, "name": name, "people": both, "lift": round(lift, 1)})
        return {"at": now, **self.board.about(standing), "with": found}

    def write(self, now: int) -> list[Write]:
        """A part of what was found, for a commit."""
        writes = []
        if self.gone is None:
            writes.append(Write("drop", keys.LATELY))
        elif self.gone:
            writes.append(Write("forget", keys.LATELY, list(self.gone)))
        part = list(islice(self.unwritten, AT_ONCE))
        if part:
            texts = [self.unwritten[tag] for tag in part]
            ends = now // 1000 + keys.BOARD_SECONDS
            writes.append(Write("hash", keys.LATELY, part, texts, ends))
        return writes

    def wrote(self, write: Write) -> None:
        """This is in Redis now."""
        if write.key != keys.LATELY:
            return
        if write.kind == "hash":
            for tag, text in zip(write.names, write.values, strict=True):
                if self.unwritten.get(tag) == text:
                    del self.unwritten[tag]
        elif write.kind == "drop":
            self.gone = frozenset()
        elif self.gone is not None:
            self.gone -= set(write.names)


def others_of(pairs: Mapping[Pair, int]) -> dict[str, dict[str, int]]:
    """Hashtag to those that come with it, and how many people used both."""
    found: dict[str, dict[str, int]] = {}
    for (one, other), both in pairs.items():
        if both >= LEAST_BOTH:
            found.setdefault(one, {})[other] = both
            found.setdefault(other, {})[one] = both
    return found
