"""Where the posts of the last ten minutes are, as the ingester wrote it (app/ingest/posts.py).

Read only while somebody wants to see posts; an entry's id is what a post is called here and by
everybody who is shown it, so that one that was taken back can be named without telling what it was.
"""

import asyncio
from collections.abc import Collection, Sequence
from itertools import islice, takewhile

from app.messages import parse_id
from app.store import keys
from app.store.posts import ALL, PAGE, Entry, StoredPost, newest, recent
from app.store.store import Store

MOST = 30_000
"""Posts that a process knows, some 30 MB; at 600 a second, those of 50 s."""
JUST_NOW = 10_000
"""Milliseconds. What was taken back so shortly before we began to read may be on somebody's page,
who had it from another process."""


class Recent:
    """Bounds: posts and new have MOST entries, tags one for each hashtag of each of them; gone has
    one for each that was taken back between two ticks."""

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
                if len(self.posts) > MOST + PAGE:
                    self.forget(now)
            if before and self.last == before and order(await newest(store)) < order(before):
                self.clear()  # Redis began anew, by a clock that was set back
                self.gone[ALL] = None
            self.forget(now)

    def take_news(self) -> tuple[dict[str, StoredPost], dict[str, Sequence[str] | None]]:
        """What is new since the last time: posts, and what was taken back."""
        new, gone = self.new, self.gone
        self.new, self.gone = {}, {}
        return new, gone

    def take_back(self, entry: Entry) -> None:
        if ALL in entry.gone:
            self.posts, self.tags, self.new = {}, {}, {}
        for id in entry.gone:
            post = self.posts.get(id)
            if self.listens:
                self.gone[id] = post.tags if post else None
            self.new.pop(id, None)
            self.drop(id)

    def add(self, entry: Entry, is_new: bool) -> None:
        post = entry.post
        if post and self.blocked.isdisjoint(post.tags):
            self.posts[entry.id] = post
            for tag in post.tags:
                self.tags.setdefault(tag, {})[entry.id] = None
            if is_new and self.listens:
                self.new[entry.id] = post

    def forget(self, now: int) -> None:
        """Forget what is too old, or too much."""
        over, life = len(self.posts) - MOST, keys.POSTS_SECONDS * 1000
        for id in list(islice(self.posts, max(0, over))):
            self.drop(id)
        for id in list(takewhile(lambda id: age(id, now) >= life, self.posts)):
            self.drop(id)

    def drop(self, id: str) -> None:
        post = self.posts.pop(id, None)
        for tag in post.tags if post else ():
            ids = self.tags.get(tag, {})
            ids.pop(id, None)
            if not ids:
                self.tags.pop(tag, None)

    def of(self, tags: Sequence[str]) -> dict[str, StoredPost]:
        """Those with one of these hashtags, the newest first."""
        ids = set[str]().union(*(self.tags.get(tag, ()) for tag in tags))
        return {id: post for id, post in reversed(self.posts.items()) if id in ids}


def order(id: str) -> tuple[int, int]:
    """The order of ids; "" comes first."""
    return parse_id(id) if id else (0, 0)


def age(id: str, now: int) -> int:
    """Milliseconds since an entry was written; less than none where a clock was set back."""
    return now - order(id)[0]
