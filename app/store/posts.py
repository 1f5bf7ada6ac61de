"""Where the posts of the last ten minutes are: how that is written, and what is asked of it."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from app.messages import Shown
from app.store import keys
from app.store.connection import store_lost
from app.store.store import Store

PAGE = 500
"""Entries that are asked for at once."""
ALL = "*"
"""In place of ids: all posts before this entry are taken back."""


class StoredPost(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A post, or rather where it is; its hashtags are those that are counted.

    What somebody called adult is not here.
    """

    source: str
    """The network's name."""
    id: str
    """The network's id of it."""
    author: str
    """The network's id of who wrote it; empty where it does not say."""
    at: int
    """When it was written or, as it happened, heard of; milliseconds since 1970."""
    tags: tuple[str, ...]
    """The keys of its hashtags."""
    domains: tuple[str, ...] = ()
    """The hosts that it links to."""
    shown: Shown | None = None
    """What of it may be shown, where its network has that in its stream alone."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """An entry of the stream: a post, or that others are there no more."""

    id: str
    """The entry's, "milliseconds-sequence"."""
    post: StoredPost | None = None
    gone: tuple[str, ...] = ()
    """The ids of entries that were taken back, or ALL."""


write_post = msgspec.json.Encoder(enc_hook=str).encode  # a Typed hashtag is a text, too
read_post = msgspec.json.Decoder(StoredPost).decode


async def write_posts(
    store: Store,
    writer: str,
    posts: Sequence[bytes],
    gone: Sequence[str],
    oldest: int,
    anew: bool,
    key: str = keys.POSTS,
) -> list[str]:
    """Add posts, take back entries, and forget what is older than a moment, in milliseconds since
    1970; the ids of the new ones.

    anew: whether all that was there is to go first. Raises StoreLost: then nobody knows what is
    there.
    """
    head: list[Any] = [
        writer,
        keys.POSTS_SECONDS,
        f"{max(0, oldest)}-0",
        "anew" if anew else "",
        len(gone),
    ]
    with store_lost(keys.POSTS):
        found = await store.posting(keys=[key, keys.LEASE], args=[*head, *gone, *posts])
    return [id.decode() for id in found]


async def recent(store: Store, after: str = "") -> AsyncIterator[Entry]:
    """The entries after this id ("" for all), the oldest first, a page at a time. Raises
    StoreLost."""
    page: Any = None
    while page is None or len(page) == PAGE:
        with store_lost(keys.POSTS):
            page = await store.redis.xrange(keys.POSTS, f"({after}" if after else "-", count=PAGE)
        for entry in page:
            after = entry[0].decode()
            yield read_entry(*entry)


async def newest(store: Store) -> str:
    """The id of the newest entry; "" where there is none. Raises StoreLost."""
    with store_lost(keys.POSTS):
        found: Any = await store.redis.xrevrange(keys.POSTS, count=1)
    return found[0][0].decode() if found else ""


def read_entry(id: bytes, fields: dict[bytes, bytes]) -> Entry:
    """What is none of ours is an entry without anything."""
    try:
        if text := fields.get(b"post"):
            return Entry(id.decode(), read_post(text))
        return Entry(id.decode(), gone=tuple(fields.get(b"gone", b"").decode().split()))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return Entry(id.decode())


async def may_look_up(store: Store, milliseconds: int) -> int:
    """0 where a lookup may go now, and then no other for so long, of any process; otherwise how
    long to wait. Raises StoreLost."""
    with store_lost(keys.LOOKUPS):
        if await store.redis.set(keys.LOOKUPS, "", nx=True, px=milliseconds):
            return 0
        return max(1, await store.redis.pttl(keys.LOOKUPS))


async def rest_from_lookups(store: Store, milliseconds: int) -> None:
    """No lookup is to go for so long at least, of any process: what was said to another one may be
    longer. Raises StoreLost."""
    with store_lost(keys.LOOKUPS):
        if await store.redis.pttl(keys.LOOKUPS) < milliseconds:
            await store.redis.set(keys.LOOKUPS, "", px=milliseconds)
