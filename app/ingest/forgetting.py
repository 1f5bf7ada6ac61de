"""Which hashtags are forgotten: those unseen for 48 hours, and the longest unseen when there
are too many. A few fields are looked at every two seconds, round and round."""

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from app.ingest.counter import MOST_ENTRIES
from app.ingest.ledger import Pages
from app.store import keys
from app.store.state import Write
from app.store.store import Store

log = logging.getLogger(__name__)

PAGE = 1000
"""Fields that are looked at at once."""
LOOK_MILLISECONDS = 2000
"""Between two looks: a million hashtags are gone through in half an hour."""
MOST = MOST_ENTRIES
"""Hashtags that one commit forgets: as many as it may bring anew."""
MOST_BYTES = 2**18
"""Of the names of those: they stand in its tick."""


@dataclass
class Stale:
    """Hashtags that may be forgotten, as far as one source's totals say."""

    old: set[str] = field(default_factory=set)
    """Unseen for 48 hours."""
    excess: dict[str, tuple[int, int]] = field(default_factory=dict)
    """What goes because there are too many, the longest unseen of those that were looked at:
    hashtag to the hour last seen and posts, of the source that was looked at."""

    def wanted(self, networks: Iterable[str], today: int) -> dict[str, set[str]]:
        names = self.old | self.excess.keys()
        if not names:
            return {}
        totals = {keys.totals(source): names for source in networks}
        return totals | {keys.people(day): names for day in days_of_people(today)}

    def enter(
        self, pages: Pages, networks: Collection[str], changed: Collection[str], hour: int
    ) -> tuple[list[Write], list[str]]:
        """What takes them out of Redis, and which they are: not those that are used just now,
        nor those that another source has seen in the last 48 hours."""
        gone = [
            tag
            for tag in self.old - self.excess.keys()
            if tag not in changed and is_old(pages, networks, tag, hour)
        ]
        forced = [
            tag
            for tag, known in self.excess.items()
            if tag not in changed and not is_better_known(pages, networks, tag, known)
        ]
        writes = [
            Write("forget", keys.totals(source), [*gone, *forced])
            for source in networks
            if gone or forced
        ]
        by_key: dict[str, list[str]] = {}
        for tag in forced:
            for source in networks:
                if last := pages.last_seen(source, tag):
                    by_key.setdefault(keys.hour(last, source), []).append(tag)
        writes += [Write("forget", key, tags) for key, tags in by_key.items()]
        return [*writes, *without_people(pages, [*gone, *forced], hour // 24)], [*gone, *forced]


def days_of_people(today: int) -> range:
    """The days whose people may be in Redis."""
    return range(today - keys.PEOPLE_DAYS + 1, today + 1)


def without_people(pages: Pages, tags: Iterable[str], today: int) -> list[Write]:
    """What takes their people of every day out of Redis."""
    writes = []
    for day in days_of_people(today):
        key = keys.people(day)
        here = {tag: value for tag in tags if (value := pages.get(key, tag))}
        writes += [Write("forget", key, [*here])] if here else []
        writes += [Write("drop", keys.crowd(day, t)) for t, v in here.items() if keys.is_crowd(v)]
    return writes


def is_old(pages: Pages, networks: Iterable[str], tag: str, hour: int) -> bool:
    return all(pages.last_seen(source, tag) < hour - keys.HOUR_HOURS for source in networks)


def is_better_known(
    pages: Pages, networks: Iterable[str], tag: str, known: tuple[int, int]
) -> bool:
    """Whether another source saw it later, or in the same hour with more posts: as it would go
    from all of them, it waits for that one's turn."""
    return any(
        (pages.last_seen(source, tag), pages.totals(source).get(tag, 0)) > known
        for source in networks
    )


class Forgetting:
    """Looks for hashtags that may be forgotten, some at a time, round and round."""

    def __init__(self, tracked: Iterable[str], most: int) -> None:
        self.tracked = frozenset(tracked)
        self.most = most
        """Hashtags that may be known, each once for every source."""
        self.turn = self.cursor = self.due = 0
        """How many rounds through one source's hashtags are over; where in the present one we are
        (HSCAN's cursor); and when we look again, in milliseconds since 1970."""
        self.known = 0
        """How many were known at the last look."""
        self.said = False
        """Whether the log knows that there are too many."""

    async def look(self, store: Store, networks: tuple[str, ...], hour: int, now: int) -> Stale:
        """Look at the next few hashtags, when it is time. Raises StoreLost.

        hour: the present one, numbered since 1970; now: milliseconds since 1970.
        """
        if not networks or now < self.due <= now + LOOK_MILLISECONDS:
            return Stale()
        known = self.known = sum(await store.lengths([keys.totals(s) for s in networks]))
        excess = known - self.most
        self.due = now + (LOOK_MILLISECONDS if excess <= 0 else 0)
        self.say(known)
        source = networks[self.turn % len(networks)]
        count = PAGE if excess <= 0 else max(PAGE, min(2 * excess, 2 * MOST))
        self.cursor, page = await store.scan(keys.totals(source), self.cursor, count)
        if not self.cursor:
            self.turn += 1
        oldest = at_once(sorted(self.last_seen(page)))
        stale = Stale({tag for seen, _, tag in oldest if seen < hour - keys.HOUR_HOURS})
        if excess > 0:  # of those that were looked at no more than half, so that it is a choice
            most = min(excess, (len(page) + 1) // 2)
            stale.excess = {tag: (seen, posts) for seen, posts, tag in oldest[:most]}
        return stale

    def last_seen(self, page: Mapping[bytes, bytes]) -> Iterable[tuple[int, int, str]]:
        """The hour last seen, posts and hashtag; one that is unreadable was never seen. Of the
        same hour those with the fewest posts go first: a flood of names does not push out what
        people use."""
        for name, value in page.items():
            try:
                tag = name.decode()
            except UnicodeDecodeError:
                continue
            if tag not in self.tracked:
                posts, seen = posts_and_hour(value)
                yield seen, posts, tag

    def say(self, known: int) -> None:
        """Say once that there are too many, and once that there are clearly fewer again: where
        new ones come all the time, there are a few too many every few seconds."""
        too_many = known > self.most * (0.9 if self.said else 1)
        if too_many != self.said:
            self.said = too_many
            text = (
                f"more than {self.most} hashtags are known (MAX_HASHTAGS): "
                "those unseen for longest are forgotten"
                if self.said
                else f"no more than {self.most} hashtags are known again"
            )
            log.warning("%s", text)


def posts_and_hour(value: bytes) -> tuple[int, int]:
    try:
        return keys.read_posts(value)
    except ValueError:
        return 0, 0


def at_once(tags: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """The first of them, as many as one commit may forget."""
    size = 0
    for n, (_, _, tag) in enumerate(tags[:MOST]):
        size += len(tag.encode())
        if size > MOST_BYTES and n:
            return tags[:n]
    return tags[:MOST]
