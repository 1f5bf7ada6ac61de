"""Which hashtags who used in the last ten minutes; pure.

For the board alone: no total is made of it, and nothing of it is stored. An author is a number of
64 bits, by Python's own hash of a text, whose key is drawn anew with each process.
"""

from collections.abc import Collection

from app.messages import Post

SLOT = 10_000
"""Milliseconds; posts are forgotten so many at once."""
SLOTS = 60
"""Ten minutes, of which the present slot is not over."""
MOST_USES = 250_000
"""Some 50 MB, twice of what 600 posts a second come to; with more, the oldest go before their
time."""
MOST_IN_POST = 10
"""Hashtags; a post with more wants to be found by any of them."""
LEAST_PEOPLE = 5
NOBODY = 0
"""The author of a post whose network does not say."""


class Lately:
    """The posts of ten minutes. Bounded by MOST_USES: of slots, authors and hashtags there are no
    more."""

    def __init__(self) -> None:
        self.slots: dict[int, list[tuple[int, tuple[str, ...]]]] = {}
        """Number of the slot since 1970 to author and hashtags of each post."""
        self.tags: dict[str, dict[int, int]] = {}
        """Hashtag to author to posts."""
        self.crowded: dict[str, int] = {}
        """Hashtag to people, of those that at least LEAST_PEOPLE used."""
        self.uses = 0
        """Hashtags of posts, all together."""
        self.since = 0
        """From when on all of it is here, in milliseconds since 1970; 0 before the first."""

    def add(self, post: Post, tags: Collection[str], at: int, now: int) -> None:
        """Take in a post of that moment with these of its hashtags; milliseconds since 1970.

        What its network or its author calls adult does not count, nor does one with many
        hashtags, nor one of another time.
        """
        slot, present = at // SLOT, now // SLOT
        self.since = self.since or now
        if post.adult or len(post.hashtags) > MOST_IN_POST or not tags:
            return
        if not present - SLOTS < slot <= present or self.is_full(present):
            return
        author = hash((post.source, post.author)) if post.author else NOBODY
        self.slots.setdefault(slot, []).append((author, tuple(tags)))
        self.uses += len(tags)
        for tag in tags:
            authors = self.tags.setdefault(tag, {})
            authors[author] = authors.get(author, 0) + 1
            if authors[author] == 1 and (number := people(authors)) >= LEAST_PEOPLE:
                self.crowded[tag] = number

    def is_full(self, present: int) -> bool:
        """Whether the present slot alone has as many as there may be; others make room."""
        while self.uses >= MOST_USES and (oldest := min(self.slots)) < present:
            self.drop(oldest)
            self.since = max(self.since, (oldest + 1) * SLOT)
        return self.uses >= MOST_USES

    def forget(self, now: int) -> None:
        """Drop what is older than ten minutes, and what another clock dated."""
        present = now // SLOT
        for slot in [each for each in self.slots if not present - SLOTS < each <= present]:
            self.drop(slot)
        self.since = min(now, max(self.since or now, (present - SLOTS + 1) * SLOT))

    def drop(self, slot: int) -> None:
        for author, tags in self.slots.pop(slot):
            self.uses -= len(tags)
            for tag in tags:
                authors = self.tags[tag]
                authors[author] -= 1
                if not authors[author]:
                    del authors[author]
                    if (number := people(authors)) >= LEAST_PEOPLE:
                        self.crowded[tag] = number
                    else:
                        self.crowded.pop(tag, None)
                    if not authors:
                        del self.tags[tag]


def people(authors: Collection[int]) -> int:
    """How many there are, besides nobody."""
    return len(authors) - (NOBODY in authors)
