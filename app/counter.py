"""Counts hashtags; pure: no clock, no I/O."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from app.messages import Post

Increments = dict[str, dict[str, int]]
"""Hashtag key to source name to how many posts."""


@dataclass
class Counter:
    """What was counted since the last cut, and how far each source had come by then."""

    tracked: frozenset[str]
    increments: Increments = field(default_factory=dict)
    cursors: dict[str, str] = field(default_factory=dict)
    spellings: Increments = field(default_factory=dict)

    def add(self, post: Post) -> None:
        """Count the post once under each tracked hashtag that it names, and move its cursor."""
        for tag, spelling in post.hashtags.items():
            if tag in self.tracked:
                parts = self.increments.setdefault(tag, {})
                parts[post.source] = parts.get(post.source, 0) + 1
                written = self.spellings.setdefault(tag, {})
                written[spelling] = written.get(spelling, 0) + 1
        if post.cursor:
            self.cursors[post.source] = post.cursor

    def cut(self) -> tuple[Increments, dict[str, str]]:
        """Hand over what was counted and the cursors, and begin again at nothing."""
        taken = self.increments, dict(self.cursors)
        self.increments = {}
        return taken

    def cut_spellings(self) -> Increments:
        """How often each spelling was seen since the last cut: hashtag to spelling to posts.

        They only choose what is shown, so they are not counted again like the increments.
        """
        taken, self.spellings = self.spellings, {}
        return taken

    def put_back(self, increments: Increments, sources: Iterable[str]) -> None:
        """Count again what a cut took and Redis does not have, of these sources only."""
        wanted = set(sources)
        for tag, parts in increments.items():
            for source, posts in parts.items():
                if source in wanted:
                    mine = self.increments.setdefault(tag, {})
                    mine[source] = mine.get(source, 0) + posts

    def forget(self, source: str, cursor: str) -> None:
        """Drop what this source counted since the last cut: it is read again from the cursor."""
        for parts in self.increments.values():
            parts.pop(source, None)
        self.cursors[source] = cursor
