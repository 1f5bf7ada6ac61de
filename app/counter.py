"""Counts hashtags; pure: no clock, no I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from app.messages import Post

Increments = dict[str, dict[str, int]]
"""Hashtag key to source name to how many posts."""
Past = dict[str, dict[str, dict[int, int]]]
"""Hashtag key to source name to the time in milliseconds to how many posts, for minutes that
are over: they are counted now, but belong there."""


@dataclass
class Counter:
    """What was counted since the last cut, and how far each source had come by then."""

    tracked: frozenset[str]
    increments: Increments = field(default_factory=dict)
    cursors: dict[str, str] = field(default_factory=dict)
    spellings: Increments = field(default_factory=dict)
    past: Past = field(default_factory=dict)

    def add(self, post: Post) -> None:
        """Count the post once under each tracked hashtag that it names, and move its cursor."""
        for tag, spelling in post.hashtags.items():
            if tag in self.tracked and post.past:
                add(self.past, tag, post.source, {post.at: post.posts})
            elif tag in self.tracked:
                parts = self.increments.setdefault(tag, {})
                parts[post.source] = parts.get(post.source, 0) + post.posts
                written = self.spellings.setdefault(tag, {})
                written[spelling] = written.get(spelling, 0) + post.posts
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

    def cut_past(self) -> Past:
        """Hand over what was counted of minutes that are over; goes with cut()."""
        taken, self.past = self.past, {}
        return {tag: parts for tag, parts in taken.items() if parts}

    def put_back(
        self, increments: Increments, sources: Iterable[str], past: Past | None = None
    ) -> None:
        """Count again what the cuts took and Redis does not have, of these sources only."""
        wanted = set(sources)
        for tag, found in (past or {}).items():
            for source in wanted & found.keys():
                add(self.past, tag, source, found[source])
        for tag, parts in increments.items():
            for source, posts in parts.items():
                if source in wanted:
                    mine = self.increments.setdefault(tag, {})
                    mine[source] = mine.get(source, 0) + posts

    def forget(self, source: str, cursor: str) -> None:
        """Drop what this source counted since the last cut: it is read again from the cursor."""
        for parts in self.increments.values():
            parts.pop(source, None)
        for minutes in self.past.values():
            minutes.pop(source, None)
        self.cursors[source] = cursor


def add(past: Past, tag: str, source: str, posts: Mapping[int, int]) -> None:
    minutes = past.setdefault(tag, {}).setdefault(source, {})
    for at, number in posts.items():
        minutes[at] = minutes.get(at, 0) + number
