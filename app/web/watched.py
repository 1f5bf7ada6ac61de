"""A hashtag that is being watched: its totals now, and as text."""

from typing import Any
from weakref import ref

from msgspec.json import encode

from app.messages import UNKNOWN_PEOPLE, BySource, DayPeople, SourceState, added_up, dumps


class Watched:
    """A hashtag that some fan-out shows: what all of these need to know of it."""

    __slots__ = (
        "fanouts", "is_tracked", "name", "name_text", "people", "people_text", "quoted", "tag",
        "text", "totals",
    )  # fmt: skip

    def __init__(self, tag: str, name: str, is_tracked: bool) -> None:
        self.tag, self.is_tracked = tag, is_tracked
        self.quoted = dumps(tag)
        """The key as JSON."""
        self.totals: BySource | None = None
        """At the newest tick; None where we do not know."""
        self.people: DayPeople = UNKNOWN_PEOPLE
        """As they were told, or read, last."""
        self.people_text: tuple[DayPeople, int, str] = (UNKNOWN_PEOPLE, -1, "")
        """The text that was made last, and what of."""
        self.fanouts: set[ref[Any]] = set()
        """One of each fan-out that shows it: an entry leaves with its fan-out."""
        self.text: tuple[BySource | None, object, str] = (None, None, "")
        """The text that was made last, and what of."""
        self.rename(name)

    def rename(self, name: str) -> None:
        self.name = name
        """How it is shown."""
        self.name_text = f"{self.quoted}:{dumps(name)}" if name != self.tag else ""
        """As a part of JSON; empty where it is shown by its key."""

    def split(self, totals: BySource, sources: dict[str, SourceState]) -> BySource:
        """The totals of every source that was asked for it."""
        asked = {n: 0 for n, state in sources.items() if self.is_tracked or state.complete}
        return {**asked, **totals}

    def people_on(self, day: int) -> int | None:
        """How many authors used it on the day of the newest tick: nobody yet, where what is known
        is of a day before. None where nobody can say, also for a day of 0."""
        known, number = self.people
        if not (known and day):
            return None
        return number if known >= day else 0

    def written_people(self, day: int) -> str:
        """The same as a part of JSON."""
        before, before_day, text = self.people_text
        if before is not self.people or before_day != day:
            number = self.people_on(day)
            text = f"{self.quoted}:{'null' if number is None else number}"
            self.people_text = (self.people, day, text)
        return text

    def written(self, totals: BySource, sources: dict[str, SourceState] | None) -> str:
        """The total as a part of JSON; the totals by source where sources are given."""
        before, before_sources, text = self.text
        if before is not totals or before_sources is not sources:
            told = added_up(totals) if sources is None else by_source(self.split(totals, sources))
            text = f"{self.quoted}:{told}"
            self.text = (totals, sources, text)
        return text


def by_source(totals: BySource) -> str:
    """Totals as JSON, as dumps() would write them; several for each hashtag of each tick."""
    return encode(totals).decode()
