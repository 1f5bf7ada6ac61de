"""`python -m app check`: what an owner runs before going live; check_redis.py says what it finds of
Redis. Each finding is one sentence."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path

from app.commands.check_redis import Finding, check_redis
from app.ingest.day_keys import fingerprint
from app.ingest.day_keys import read as read_keys
from app.messages import DAY, MinuteCount, Post
from app.settings import Settings, place, unknown_names
from app.sources import Source, SourceLost, pick
from app.store import embedded
from app.store.posts import may_look_up
from app.store.state import SEVERAL
from app.store.store import Store, StoreLost
from app.urls import showable
from app.web.bluesky_posts import PACE_MILLISECONDS, Lookups, NoAnswer, read_answer

FIRST_POSTS_SECONDS = 10.0
NOBODYS_POST = "at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/app.bsky.feed.post/aaaaaaaaaaaaa"
"""Of the right form; who is asked for it answers that there is none."""


async def check(
    settings: Settings,
    store: Store,
    picked: Callable[[str], Source],
    seconds: float = FIRST_POSTS_SECONDS,
) -> AsyncIterator[Finding]:
    """Every finding, as it is made: where all is, what in `.env` is no setting, Redis, then each
    source in turn.

    picked: makes a source that is only to be looked at, by its name.
    """
    yield Finding(True, f"Settings: {place()}. Data: {embedded.place(settings)}.")
    for sentence in unknown_names():
        yield Finding(True, sentence, fine=False)
    for finding in await check_redis(store, settings.show_posts):
        yield finding
    if said := await check_people(settings.people_keys, store):
        yield said
    for name in settings.sources:
        yield await check_source(picked(name), seconds)
        if cost := pick(name, settings).price():
            yield Finding(True, cost)
    if settings.show_posts and "bluesky" in settings.sources:
        yield await check_lookups(settings.bluesky_api_url, store)


async def check_source(source: Source, seconds: float) -> Finding:
    """Connect, and see what comes in the first seconds."""
    posts = 0

    async def read() -> None:
        nonlocal posts
        async with aclosing(source.posts(source.first_look())) as stream:  # type: ignore[type-var]
            async for message in stream:
                if isinstance(message, MinuteCount):
                    posts += message.posts
                posts += isinstance(message, Post)

    try:
        async with asyncio.timeout(seconds):
            await read()
    except TimeoutError:
        pass
    except SourceLost as lost:
        return Finding(False, f"{source.name}: {str(lost).rstrip('.')}.")
    if source.state == "connecting":
        return Finding(False, f"{source.name}: no connection within {seconds:g} s.")
    word = "post" if posts == 1 else "posts"
    return Finding(True, f"{source.name}: {source.state}, {posts} {word} within {seconds:g} s.")


async def check_lookups(url: str, store: Store) -> Finding:
    """Whether posts of Bluesky can be looked up; without that they alone are not shown."""
    lookups, where = Lookups(url), showable(url)
    try:
        if wait := await may_look_up(store, PACE_MILLISECONDS):
            await asyncio.sleep(min(wait, 2 * PACE_MILLISECONDS) / 1000)
        read_answer(await lookups.get([NOBODYS_POST]) or b"")
    except (NoAnswer, StoreLost) as trouble:
        text = f"bluesky: posts cannot be looked up at {where}: {str(trouble).rstrip('.')}."
        return Finding(True, text, fine=False)
    finally:
        await lookups.close()
    return Finding(True, f"bluesky: posts can be looked up at {where}.")


SAME_FILE = "Give all ingesters of this Redis the same PEOPLE_KEY_FILE."


async def check_people(file: Path, store: Store) -> Finding | None:
    """Whether authors are counted by the key of today that is in the file; None where nobody has
    counted any today, and where Redis cannot be read."""
    try:
        state = await store.load()
    except StoreLost:
        return None
    today = state.time // DAY
    counted = state.people.get(today)
    if counted is None:
        return None
    if counted == SEVERAL:
        text = "People: two ingesters had different keys: today's authors are counted no more."
        return Finding(True, f"{text} {SAME_FILE}", fine=False)
    key = read_keys(file).get(today)
    if not key or fingerprint(key) != counted:
        text = f"People: today's authors are counted by another key than that in {file}:"
        return Finding(True, f"{text} an ingester here would end that. {SAME_FILE}", fine=False)
    return Finding(True, f"People: authors are counted by the key in {file}.")
