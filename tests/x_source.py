"""X as a source, pointed at the local server, and what a test reads of it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from network import settings
from servers import START_SECONDS
from x_server import TOKEN, XServer

from app.messages import Message, Post
from app.sources import SourceLost
from app.sources.x.stream import RULE_TAG, X

NOW = 1_800_000_000.0


@dataclass
class Clock:
    """The time, as the test has it."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


def source(api: XServer, *tags: str, clock: Clock | None = None, **more: Any) -> X:
    """X, pointed at the local server."""
    chosen = settings(tags or ("science",), x_api_url=api.url, x_bearer_token=TOKEN)
    return X(chosen, clock or Clock(), **more)


def line(id: object, *tags: str, **more: Any) -> bytes:
    """A post as X sends it."""
    data = {"id": str(id), "entities": {"hashtags": [{"tag": tag} for tag in tags]}, **more}
    rules = [{"id": "1001", "tag": RULE_TAG}]
    return json.dumps({"data": data, "matching_rules": rules}).encode()


async def until_lost(x: X) -> tuple[list[str], SourceLost]:
    """The ids of the posts of one connection, and how it ended."""
    ids = []
    try:
        async with asyncio.timeout(START_SECONDS):
            async for post in x.posts(""):
                assert isinstance(post, Post)
                ids.append(post.id)
    except SourceLost as lost:
        return ids, lost
    raise AssertionError("the source ended without a word")


async def first(x: X, number: int) -> list[Post]:
    """So many posts of one connection, which is then closed."""
    posts: list[Post] = []
    async with asyncio.timeout(START_SECONDS), aclosing(x.posts("")) as stream:  # type: ignore[type-var]
        while len(posts) < number:
            post = await anext(stream)
            assert isinstance(post, Post)
            posts.append(post)
    return posts


@asynccontextmanager
async def waiting(x: X) -> AsyncIterator[asyncio.Future[Message]]:
    """Read on, for a post that does not come."""
    post = asyncio.ensure_future(anext(x.posts("")))
    yield post
    post.cancel()
    await asyncio.wait([post])


def limit(remaining: int, seconds: int) -> dict[str, str]:
    """The headers that X has in every answer."""
    reset = str(int(NOW) + seconds)
    return {"x-rate-limit-remaining": str(remaining), "x-rate-limit-reset": reset}
