"""A hashtag that is being watched: its totals now, and as text."""

from typing import Any
from weakref import ref

from msgspec.json import encode

from app.messages import BySource, SourceState, added_up, dumps


class Watched:
    """A hashtag that some fan-out shows: what all of these need to know of it."""

    __slots__ = ("fanouts", "is_tracked", "name", "name_text", "quoted", "tag", "text", "totals")

    def __init__(self, tag: str, name: str, is_tracked: bool) -> None:
        self.tag, self.is_tracked = tag, is_tracked
        self.quoted = dumps(tag)
        """The key as JSON."""
        self.totals: BySource | None = None
        """At the newest tick; None where we do not know."""
        self.fanouts: set[ref[Any]] = set()
        """The fan-outs that show it: an entry leaves with its fan-out."""
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
