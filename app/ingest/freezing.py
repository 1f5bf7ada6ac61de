"""What is kept of people for longer than two days: how many a day's hashtags had."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from app.ingest.day_keys import KEPT_DAYS
from app.ingest.ledger import Pages
from app.store import keys
from app.store.state import SEVERAL, State
from app.store.store import Store

PAGE = 1000
"""Hashtags that are read, or written, at once: some 5 milliseconds."""


@dataclass(frozen=True)
class Freeze:
    """Hashtags whose numbers of people are written by one commit."""

    day: int
    """Numbered since 1970."""
    tags: list[str]
    is_last: bool
    """Whether the day is done then."""

    def wanted(self) -> dict[str, set[str]]:
        """The fields that are read before: key to names."""
        return {keys.people(self.day): set(self.tags)}

    def enter(self, pages: Pages) -> None:
        """Absolute values: it may be done again."""
        key = keys.people(self.day)
        for tag in self.tags:
            try:
                people = keys.read_people(pages.get(key, tag))
            except ValueError:
                pages.skip(key, tag)
                continue
            if people:
                kept, ends = keys.people_kept(self.day), keys.end_of_day(self.day)
                pages.put(kept, tag, b"%d" % people, ends)


class Freezing:
    """Which day is due, and how far it is: the hashtags that the day's hashes have, the tracked and
    the most used of each hour, are looked for first. Bound: those of one day."""

    def __init__(self) -> None:
        self.begin(0, ())

    def begin(self, day: int, networks: tuple[str, ...]) -> None:
        self.day, self.networks = day, networks
        self.left = list(networks)
        """Sources whose day is not read to its end."""
        self.cursor = 0
        """Where that of the first of them goes on."""
        self.tags: dict[str, None] = {}
        """What is found, in order."""
        self.written = 0
        """How many of it are stored."""

    async def next(
        self, store: Store, state: State, networks: tuple[str, ...], today: int
    ) -> Freeze | None:
        """What one commit is to write of the first day that is due; None where there is none, and
        while it is looked through. Raises StoreLost.

        A day is due when nobody is added to it any more, and its last hour is moved.
        """
        day = max(state.frozen + 1, today - keys.PEOPLE_DAYS + 1)
        if not state.frozen or day > today - KEPT_DAYS or state.moved < day * 24 + 23:
            return None
        if state.people.get(day, SEVERAL) == SEVERAL:
            return Freeze(day, [], is_last=True)
        if (self.day, self.networks) != (day, networks):
            self.begin(day, networks)
        if self.left:
            key = keys.day(day, self.left[0])
            cursor, page = await store.scan(key, self.cursor, PAGE)
            self.cursor = cursor
            self.tags.update(dict.fromkeys(names(page)))
            if not cursor:
                self.left.pop(0)
            return None
        tags = list(self.tags)[self.written : self.written + PAGE]
        return Freeze(day, tags, self.written + len(tags) == len(self.tags))

    def stored(self, freeze: Freeze) -> None:
        """Redis has it now."""
        self.written += len(freeze.tags)
        if freeze.is_last:
            self.begin(0, ())


def names(page: Mapping[bytes, bytes]) -> list[str]:
    """Hashtags, without what is none of ours."""
    found = []
    for name in filter(None, page):
        with suppress(UnicodeDecodeError):
            found.append(name.decode())
    return found
