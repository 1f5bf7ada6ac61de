"""What a running ingester writes of where the posts are, and what it takes back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from servers import eventually
from test_posts import SHOWN, add, clock, entries, gone, ids, post

import app.ingest.ingester as ingester_module
import app.ingest.posts as module
from app.ingest.ingester import Ingester
from app.ingest.posts import PostPlaces
from app.messages import Deletion, Message, Tick
from app.settings import read
from app.sources import Source, SourceLost
from app.sources.demo.posts import posts_in
from app.store import keys
from app.store.store import Store


class Told(Source):
    """A source that hands over what a test puts in."""

    complete = True

    def __init__(self, name: str, misses: bool = False) -> None:
        super().__init__(read({}))
        self.name, self.misses_deletions = name, misses  # type: ignore[misc]
        self.waiting: asyncio.Queue[Message | SourceLost] = asyncio.Queue()

    async def posts(self, cursor: str) -> AsyncIterator[Message]:
        self.say("live")
        while True:
            message = await self.waiting.get()
            if isinstance(message, SourceLost):
                raise message
            yield message


@asynccontextmanager
async def ingesting(store: Store, *sources: Told, shows: bool = True) -> AsyncIterator[Ingester]:
    ingester = Ingester(sources, store, ["science"], 0.02, shows_posts=shows)
    task = asyncio.create_task(ingester.run())
    try:
        yield ingester
    finally:
        task.cancel()
        await asyncio.wait([task])


async def reach(store: Store, *expected: str) -> None:
    async def reached() -> bool:
        return await ids(store) == list(expected)

    await eventually(reached, f"{expected} are there")


async def said(store: Store) -> list[Tick]:
    """The ticks so far, with the next one."""
    number = (await store.load()).number

    async def is_there() -> bool:
        return (await store.load()).number > number

    await eventually(is_there, "the next tick")
    return await store.ticks_after("")


async def test_the_ingester_writes_posts_and_deletions(store: Store) -> None:
    """From the stream to Redis, over a restart, and a source that hears no deletions while it is
    away is believed no more."""
    one, two = Told("bluesky"), Told("mastodon", misses=True)
    async with ingesting(store, one, two):
        for id in ("a/1", "a/2", "b/1"):
            one.waiting.put_nowait(post(id))
        await reach(store, "a/1", "a/2", "b/1")
        two.waiting.put_nowait(post("7", "mastodon", shown=SHOWN))
        await reach(store, "a/1", "a/2", "b/1", "7")
        one.waiting.put_nowait(Deletion("bluesky", "a/1"))
        await reach(store, "a/2", "b/1", "7")
        says = [tick.at for tick in await said(store) if tick.taken_back]
        assert len(says) == 1, "the tick says so, and only that one"
    async with ingesting(store, one, two):
        await reach(store, "a/2", "b/1")
        two.waiting.put_nowait(post("8", "mastodon", shown=SHOWN))
        await reach(store, "a/2", "b/1", "8")
        two.waiting.put_nowait(SourceLost("cut", wait=0))
        one.waiting.put_nowait(Deletion("bluesky", "b/"))
        await reach(store, "a/2")


async def test_redis_of_another_moment_loses_its_posts(store: Store) -> None:
    """It came back from an older copy: what was deleted since is in there."""
    one = Told("bluesky")
    async with ingesting(store, one):
        one.waiting.put_nowait(post("a/1"))
        await reach(store, "a/1")
        names = await store.redis.keys()
        copied = {name: await store.redis.dump(name) for name in names}
        one.waiting.put_nowait(Deletion("bluesky", "a/1"))
        await reach(store)
        async with store.redis.pipeline(transaction=True) as pipe:
            pipe.flushall()
            for name, value in copied.items():
                pipe.restore(name, 0, value)
            await pipe.execute()
        await eventually(lambda: all_gone(store), "all of it was taken back")
        assert await ids(store) == []


async def all_gone(store: Store) -> bool:
    return "*" in await gone(store)


async def test_counting_goes_on_without_posts(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """Where they cannot be written, or are not wanted; said once."""
    await store.redis.set(keys.POSTS, "somebody's")
    one = Told("bluesky")
    async with ingesting(store, one):
        one.waiting.put_nowait(post("a/1"))
        before = (await store.load()).number
        await eventually(lambda: is_past(store, before + 5), "some ticks")
    assert caplog.text.count("posts cannot be shown") == 1
    await store.redis.delete(keys.POSTS)
    async with ingesting(store, one, shows=False):
        one.waiting.put_nowait(post("a/1"))
        one.waiting.put_nowait(Deletion("bluesky", "a/1"))
        before = (await store.load()).number
        await eventually(lambda: is_past(store, before + 5), "some ticks")
    assert await store.redis.exists(keys.POSTS) == 0


async def is_past(store: Store, number: int) -> bool:
    return (await store.load()).number >= number


async def test_the_demos_posts_are_written_down(store: Store) -> None:
    """Also those of its hashtags that somebody typed."""
    posts, now = PostPlaces(), await clock(store)
    tags = read({"HASHTAGS": "science,#Art"}).hashtags
    for one in (each for slot in range(50) for each in posts_in(slot, tags, 1)):
        posts.add(one, list(one.hashtags), now, now)
    await posts.write(store, "us", now)
    found = {tag for entry in await entries(store) if entry.post for tag in entry.post.tags}
    assert {"science", "art"} < found


async def test_an_end_in_the_middle_of_a_write_takes_nothing_away(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last commit leaves alone what it may not know: whoever comes next reads what is there."""
    posts, now = PostPlaces(), await clock(store)
    add(posts, "a/1", at=now)
    await posts.write(store, "us", now)

    async def cut(*arguments: Any) -> list[str]:
        raise asyncio.CancelledError

    monkeypatch.setattr(module, "write_posts", cut)
    add(posts, "a/2", at=now)
    with pytest.raises(asyncio.CancelledError):
        await posts.write(store, "us", now)
    monkeypatch.undo()
    await posts.write(store, "us", now)
    assert await ids(store) == ["a/1"]


async def test_posts_that_cannot_be_read_in_time_are_done_without(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who becomes the writer has its lease for seconds, and counts from then on."""
    await store.redis.xadd(keys.POSTS, {"post": "{}"})

    async def recent(store: Store) -> AsyncIterator[Any]:
        await asyncio.Event().wait()
        yield

    monkeypatch.setattr(module, "recent", recent)
    monkeypatch.setattr(ingester_module, "RECALL_SECONDS", 0.05)
    one = Told("bluesky")
    async with ingesting(store, one):
        one.waiting.put_nowait(post("a/1"))
        await reach(store, "a/1")
    assert "posts cannot be shown: those in Redis were not read in 0.05 s" in caplog.text
    assert "*" in await gone(store)
