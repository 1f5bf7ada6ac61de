"""Who used which hashtags in the last ten minutes; pure.

For the board, alerts and what comes together: no total is made of it, and nothing of it is stored.
An author is a number of 64 bits, by Python's own hash of a text, whose key is drawn anew with each
process, and so is a host.
"""

from collections.abc import Collection, Sequence

from app.messages import Post

SLOT = 10_000
"""Milliseconds; posts are forgotten so many at once."""
SLOTS = 60
"""Ten minutes, of which the present slot is not over."""
MOST_USES = 250_000
"""Some 50 MB, twice of what 600 posts a second come to; with more, the oldest go before their
time."""
LONG = 20
"""Letters; for each so many a hashtag counts once more, so that of long ones fewer are kept."""
MOST_IN_POST = 10
"""Hashtags; a post with more wants to be found by any of them."""
MOST_DOMAINS = 3
"""Of a post."""
LEAST_PEOPLE = 5
"""Of a hashtag that fewer used, nothing is said."""
NOBODY = 0
"""The author of a post whose network does not say."""

Use = tuple[int, tuple[str, ...], tuple[int, ...]]
"""Author, hashtags, and the hosts that are linked to, of one post."""


class RecentUses:
    """The posts of ten minutes. Bounded by MOST_USES: of slots, authors, hashtags and hosts there
    are no more."""

    def __init__(self) -> None:
        self.slots: dict[int, list[Use]] = {}
        """Number of the slot since 1970 to its posts."""
        self.tags: dict[str, dict[int, int]] = {}
        """Hashtag to author to posts."""
        self.hosts: dict[str, dict[int, int]] = {}
        """Hashtag to host to posts that link to it."""
        self.crowded: dict[str, int] = {}
        """Hashtag to people, of those that at least LEAST_PEOPLE used."""
        self.grown: dict[str, None] = {}
        """Those of them that more people use than when they were last taken (take_grown)."""
        self.uses = 0
        """Hashtags of posts, all together, and once more for each host of a post (weight)."""
        self.since = 0
        """From when on all of it is here, in milliseconds since 1970; 0 before the first."""

    def add(self, post: Post, tags: Collection[str], at: int, now: int) -> None:
        """Take in a post of that moment with these of its hashtags; milliseconds since 1970.

        What its network or its author calls adult does not count, nor does one with many
        hashtags, nor one of another time.
        """
        self.since = self.since or now
        if not post.adult and len(post.hashtags) <= MOST_IN_POST:
            self.put(post.source, post.author, tuple(tags), post.domains, at, now)

    def put(
        self,
        source: str,
        author: str,
        tags: tuple[str, ...],
        domains: Sequence[str],
        at: int,
        now: int,
    ) -> None:
        """The same, of a post that is not adult."""
        slot, present = at // SLOT, now // SLOT
        if (
            not 0 < len(tags) <= MOST_IN_POST
            or not present - SLOTS < slot <= present
            or self.is_full(present)
        ):
            return
        who = hash((source, author)) if author else NOBODY
        hosts = tuple([hash(host) for host in domains[:MOST_DOMAINS]]) if domains else ()
        self.slots.setdefault(slot, []).append((who, tags, hosts))
        self.uses += weight(tags, hosts)
        for tag in tags:
            authors = self.tags.setdefault(tag, {})
            authors[who] = authors.get(who, 0) + 1
            if authors[who] == 1 and (number := people(authors)) >= LEAST_PEOPLE:
                self.crowded[tag] = number
                self.grown[tag] = None
            for host in hosts:
                linked = self.hosts.setdefault(tag, {})
                linked[host] = linked.get(host, 0) + 1

    def take_grown(self) -> dict[str, None]:
        """Hashtags that more people use than when this was called last, of the crowded ones."""
        taken, self.grown = self.grown, {}
        return taken

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
        for who, tags, hosts in self.slots.pop(slot):
            self.uses -= weight(tags, hosts)
            for tag in tags:
                self.drop_author(tag, who)
                for host in hosts:
                    self.drop_host(tag, host)

    def drop_author(self, tag: str, who: int) -> None:
        authors = self.tags[tag]
        authors[who] -= 1
        if authors[who]:
            return
        del authors[who]
        if (number := people(authors)) >= LEAST_PEOPLE:
            self.crowded[tag] = number
        else:
            self.crowded.pop(tag, None)
            self.grown.pop(tag, None)
        if not authors:
            del self.tags[tag]

    def drop_host(self, tag: str, host: int) -> None:
        linked = self.hosts[tag]
        linked[host] -= 1
        if not linked[host]:
            del linked[host]
            if not linked:
                del self.hosts[tag]


def weight(tags: Sequence[str], hosts: Sequence[int]) -> int:
    return (len(tags) + sum([len(tag) // LONG for tag in tags])) * (1 + len(hosts))


def people(authors: Collection[int]) -> int:
    """How many there are, besides nobody."""
    return len(authors) - (NOBODY in authors)
