"""Counts hashtags; pure: no clock, no I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from app.hashtags import key
from app.messages import Post

Increments = dict[str, dict[str, int]]
"""Hashtag key to source name, or to spelling, to how many posts."""
Past = dict[str, dict[str, dict[int, int]]]
"""Hashtag key to source name to the time in milliseconds to how many posts, for minutes that
are over: they are counted now, but belong there."""
Key = TypeVar("Key")


@dataclass
class Counter:
    """What was counted since the last cut, and how far each source had come by then."""

    tracked: frozenset[str]
    counted: dict[str, dict[str, int]] = field(default_factory=dict)
    """Source name to spelling to how many posts; the cut finds out which are one hashtag's."""
    again: Increments = field(default_factory=dict)
    """What was put back, to be cut once more."""
    cursors: dict[str, str] = field(default_factory=dict)
    spellings: Increments = field(default_factory=dict)
    past: Past = field(default_factory=dict)

    def add(self, post: Post) -> None:
        """Count the post once under each tracked hashtag that it names, and move its cursor."""
        if post.hashtags:
            counted = self.counted.setdefault(post.source, {})
            for tag, spelling in post.hashtags.items():
                if tag in self.tracked and post.past:
                    add(self.past, tag, post.source, {post.at: post.posts})
                elif tag in self.tracked:
                    counted[spelling] = counted.get(spelling, 0) + post.posts
        if post.cursor:
            self.cursors[post.source] = post.cursor

    def cut(self) -> tuple[Increments, dict[str, str]]:
        """Hand over what was counted and the cursors, and begin again at nothing."""
        counted, self.counted = self.counted, {}
        increments, self.again = self.again, {}
        for source, written in counted.items():
            for spelling, posts in written.items():
                tag = key(spelling)
                parts = increments.setdefault(tag, {})
                parts[source] = parts.get(source, 0) + posts
                seen = self.spellings.setdefault(tag, {})
                seen[spelling] = seen.get(spelling, 0) + posts
        return increments, dict(self.cursors)

    def cut_spellings(self) -> Increments:
        """How often each spelling was seen, up to the last cut: hashtag to spelling to posts.

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
            for source in wanted & parts.keys():
                raise_by(self.again.setdefault(tag, {}), {source: parts[source]})

    def forget(self, source: str, cursor: str) -> None:
        """Drop what this source counted since the last cut: it is read again from the cursor."""
        self.counted.pop(source, None)
        for tags in (self.again, self.past):
            for parts in tags.values():
                parts.pop(source, None)
        self.cursors[source] = cursor


def add(past: Past, tag: str, source: str, posts: Mapping[int, int]) -> None:
    raise_by(past.setdefault(tag, {}).setdefault(source, {}), posts)


def raise_by(totals: dict[Key, int], posts: Mapping[Key, int]) -> None:
    for of, number in posts.items():
        totals[of] = totals.get(of, 0) + number
