"""Where the posts of the last ten minutes are, as the ingester wrote it (app/ingest/posts.py).

Read only while somebody wants to see posts; an entry's id is what a post is called here and by
everybody who is shown it, so that one that was taken back can be named without telling what it was.
"""

import asyncio
from collections.abc import Collection, Iterator, Sequence
from itertools import islice, takewhile

from app.messages import parse_id
from app.store import keys
from app.store.posts import ALL, PAGE, Entry, StoredPost, newest, recent
from app.store.store import Store

MOST = 30_000
"""Posts that a process knows, some 30 MB; at 600 a second, those of 50 s."""
MOST_WEIGHT = 120_000
"""The same in hashtags and more (weight): with thirty hashtags each, there are fewer."""
LONG = 300
"""Characters of a text that take as much as a hashtag."""
MOST_GONE = 100
"""So many that are taken back between two ticks are told one by one; of more, that nothing is
known to be there: each of them is looked at for each fan-out."""
JUST_NOW = 10_000
"""Milliseconds. What was taken back so shortly before we began to read may be on somebody's page,
who had it from another process."""


class RecentPosts:
    """The posts of the last ten minutes, as this process has read them.

    Bounds: posts and new have MOST entries, all together of MOST_WEIGHT, tags one for each
    hashtag of each of them; gone has MOST_GONE."""

    def __init__(self, blocked: Collection[str] = ()) -> None:
        self.blocked = frozenset(blocked)
        """A post with one of these hashtags is not known at all."""
        self.reading = asyncio.Lock()
        self.listens = False
        """Whether somebody wants to be told what is new."""
        self.clear()

    def clear(self) -> None:
        self.is_read = False
        """Whether Redis was read to its end."""
        self.last = ""
        """The id of the newest entry that was read; "" before the first."""
        self.posts: dict[str, StoredPost] = {}
        """By the ids of their entries, the oldest first."""
        self.weight = 0
        """Of all of them."""
        self.tags: dict[str, dict[str, None]] = {}
        """Hashtag to the ids of its posts, the oldest first."""
        self.new: dict[str, StoredPost] = {}
        """Posts that came since somebody was told last."""
        self.gone: dict[str, Sequence[str] | None] = {}
        """The ids of those that were taken back since, to their hashtags; None where we never
        had them."""

    async def read(self, store: Store, now: int) -> None:
        """Take in what is new; now: by Redis's clock, in milliseconds since 1970. Raises
        StoreLost."""
        async with self.reading:
            before, was_read, self.is_read = self.last, self.is_read, True
            async for entry in recent(store, before):
                self.last = entry.id
                if was_read or age(entry.id, now) < JUST_NOW:
                    self.take_back(entry)
                self.add(entry, is_new=was_read)
                if len(self.posts) > MOST + PAGE or self.weight > MOST_WEIGHT:
                    self.forget(now)
            if before and self.last == before and order(await newest(store)) < order(before):
                self.clear()  # Redis began anew, by a clock that was set back
                self.gone[ALL] = None
            self.forget(now)

    def take_news(self) -> tuple[dict[str, StoredPost], dict[str, Sequence[str] | None]]:
        """What is new since the last time: posts, and what was taken back."""
        new, self.new = self.new, {}
        return new, self.take_gone()

    def take_gone(self) -> dict[str, Sequence[str] | None]:
        """What was taken back since the last time."""
        gone, self.gone = self.gone, {}
        return gone

    def take_back(self, entry: Entry) -> None:
        if ALL in entry.gone:
            self.posts, self.tags, self.new, self.weight = {}, {}, {}, 0
        for id in entry.gone:
            post = self.posts.get(id)
            if self.listens and ALL not in self.gone:
                self.gone[id] = post.tags if post else None
            if len(self.gone) > MOST_GONE:
                self.gone = {ALL: None}
            self.new.pop(id, None)
            self.drop(id)

    def add(self, entry: Entry, is_new: bool) -> None:
        post = entry.post
        if post and self.blocked.isdisjoint(post.tags):
            self.posts[entry.id] = post
            self.weight += weight(post)
            for tag in post.tags:
                self.tags.setdefault(tag, {})[entry.id] = None
            if is_new and self.listens:
                self.new[entry.id] = post

    def forget(self, now: int) -> None:
        """Forget what is too old, or too much."""
        over, life = len(self.posts) - MOST, keys.POSTS_SECONDS * 1000
        for id in list(islice(self.posts, max(0, over))):
            self.drop(id)
        if self.weight > MOST_WEIGHT:
            for id in takewhile(lambda _: self.weight > MOST_WEIGHT, list(self.posts)):
                self.drop(id)
        for id in list(takewhile(lambda id: age(id, now) >= life, self.posts)):
            self.drop(id)

    def drop(self, id: str) -> None:
        post = self.posts.pop(id, None)
        self.weight -= weight(post) if post else 0
        for tag in post.tags if post else ():
            ids = self.tags.get(tag, {})
            ids.pop(id, None)
            if not ids:
                self.tags.pop(tag, None)

    def of(self, tags: Sequence[str]) -> set[str]:
        """The ids of those with one of these hashtags."""
        return set[str]().union(*[self.tags[tag] for tag in tags if tag in self.tags])

    def newest(self, ids: Collection[str], most: int) -> Iterator[str]:
        """So many of these, the newest first."""
        return islice((id for id in reversed(self.posts) if id in ids), min(most, len(ids)))


def weight(post: StoredPost) -> int:
    """What a post takes, in hashtags."""
    return 1 + len(post.tags) + (len(post.shown.text) // LONG if post.shown else 0)


def order(id: str) -> tuple[int, int]:
    """The order of ids; "" comes first."""
    return parse_id(id) if id else (0, 0)


def age(id: str, now: int) -> int:
    """Milliseconds since an entry was written; less than none where a clock was set back."""
    return now - order(id)[0]
