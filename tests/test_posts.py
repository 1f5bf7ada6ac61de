"""Where the posts are, in a real Redis: each once, gone when it is deleted, forgotten in time."""

import asyncio
from typing import Any

import pytest
from servers import eventually
from test_costs import Turns

import app.ingest.posts as module
from app.ingest.posts import LIFE, MOST_NEW, PostPlaces
from app.messages import Deletion, Post, Shown
from app.store import keys
from app.store.posts import Entry, StoredPost, newest, recent
from app.store.store import LeaseLost, Store, StoreLost

NOW = 1_800_000_000_000
SHOWN = Shown("https://a.example/1", "Hi", "Ada", "ada")


async def clock(store: Store) -> int:
    seconds, micro = await store.redis.time()
    return int(seconds) * 1000 + int(micro) // 1000


async def entries(store: Store) -> list[Entry]:
    return [entry async for entry in recent(store)]


async def ids(store: Store) -> list[str]:
    return [entry.post.id for entry in await entries(store) if entry.post]


async def gone(store: Store) -> list[str]:
    return [id for entry in await entries(store) for id in entry.gone]


def post(id: str = "did:plc:a/1", source: str = "bluesky", **more: Any) -> Post:
    return Post(source, id, 0, id.partition("/")[0], {"science": "Science"}, **more)


def add(posts: PostPlaces, *ids: str, at: int, source: str = "bluesky") -> None:
    for id in ids:
        posts.add(post(id, source), ["science"], at, at)


async def test_a_post_is_written_as_it_came(store: Store) -> None:
    """With its author, its time, its hashtags, its links, and what may be shown of it."""
    posts, now = PostPlaces(), await clock(store)
    posts.add(post(domains=("a.example",), shown=SHOWN), ["science"], now - 5, now)
    await posts.write(store, "us", now)
    (entry,) = await entries(store)
    assert entry.post == StoredPost(
        "bluesky", "did:plc:a/1", "did:plc:a", now - 5, ("science",), ("a.example",), SHOWN
    )
    assert entry.id == await newest(store)
    assert 0 < await store.redis.ttl(keys.POSTS) <= keys.POSTS_SECONDS


async def test_what_is_not_to_be_there(store: Store) -> None:
    """What is adult, of another time, or has an endless id; and nothing at all where an owner
    shows no posts."""
    posts, off, now = PostPlaces(), PostPlaces(wanted=False), await clock(store)
    posts.add(post(adult=True), ["science"], now, now)
    posts.add(post(), ["science"], now - LIFE, now)
    posts.add(post(), ["science"], now + 2 * LIFE, now)
    posts.add(post("x" * 301), ["science"], now, now)
    off.add(post(), ["science"], now, now)
    await posts.write(store, "us", now)
    await off.write(store, "us", now)
    assert await entries(store) == []


async def test_a_post_is_there_once(store: Store) -> None:
    """However often it comes, before it is written, after, and after a restart."""
    posts, now = PostPlaces(), await clock(store)
    add(posts, "a/1", "a/1", at=now)
    await posts.write(store, "us", now)
    add(posts, "a/1", "a/2", at=now)
    await posts.write(store, "us", now)
    later = PostPlaces()
    assert [one.id async for one in later.recall(store, {"bluesky"})] == ["a/1", "a/2"]
    add(later, "a/1", "a/2", "a/3", at=now)
    await later.write(store, "us", now)
    assert await ids(store) == ["a/1", "a/2", "a/3"]


async def test_what_is_deleted_is_gone(store: Store) -> None:
    """Before it is written, after that, after a restart, and all of an account; nothing else."""
    posts, now = PostPlaces(), await clock(store)
    add(posts, *(f"{who}/{n}" for who in "abc" for n in range(4)), at=now)
    posts.remove(Deletion("bluesky", "a/0"))
    await posts.write(store, "us", now)
    assert await gone(store) == [], "nobody has seen that one"
    places = {entry.post.id: entry.id for entry in await entries(store) if entry.post}
    for id in ("a/1", "b/", "b/9", "x/", "c", "/", ""):
        posts.remove(Deletion("bluesky", id))
    posts.remove(Deletion("mastodon", "a/2"))
    await posts.write(store, "us", now)
    assert await ids(store) == ["a/2", "a/3", "c/0", "c/1", "c/2", "c/3"]
    assert set(await gone(store)) == {places[id] for id in ("a/1", "b/0", "b/1", "b/2", "b/3")}
    later = PostPlaces()
    assert len([one async for one in later.recall(store, {"bluesky"})]) == 6
    later.remove(Deletion("bluesky", "c/"))
    await later.write(store, "us", now)
    assert await ids(store) == ["a/2", "a/3"]


async def test_what_is_deleted_on_its_way_is_gone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While Redis is being told of it: it goes with the next tick."""
    posts, now, real = PostPlaces(), await clock(store), module.write_posts

    async def slow(*arguments: Any) -> list[str]:
        found = await real(*arguments)
        posts.remove(Deletion("bluesky", "a/1"))
        posts.forget("mastodon")
        return found

    monkeypatch.setattr(module, "write_posts", slow)
    add(posts, "a/1", "a/2", at=now)
    add(posts, "7", at=now, source="mastodon")
    await posts.write(store, "us", now)
    assert await ids(store) == ["a/1", "a/2", "7"]
    monkeypatch.setattr(module, "write_posts", real)
    await posts.write(store, "us", now)
    assert await ids(store) == ["a/2"]


async def test_an_account_is_deleted_and_comes_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it wrote before is gone, also what is on its way to Redis; what it writes then stays."""
    posts, now, real = PostPlaces(), await clock(store), module.write_posts

    async def slow(*arguments: Any) -> list[str]:
        found = await real(*arguments)
        posts.remove(Deletion("bluesky", "b/"))
        add(posts, "b/2", at=now)
        return found

    add(posts, "a/1", "b/0", at=now)
    await posts.write(store, "us", now)
    add(posts, "a/2", "b/1", at=now)
    posts.remove(Deletion("bluesky", "a/"))
    add(posts, "a/3", at=now)
    monkeypatch.setattr(module, "write_posts", slow)
    await posts.write(store, "us", now)
    assert await ids(store) == ["b/0", "b/1", "a/3"]
    monkeypatch.setattr(module, "write_posts", real)
    await posts.write(store, "us", now)
    assert await ids(store) == ["a/3", "b/2"]
    assert len(await gone(store)) == 3 and not posts.accounts


async def test_many_accounts_cost_one_look_at_each_post(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted: so many posts in a turn, once for all accounts; of too many, all posts go."""
    monkeypatch.setattr(module, "LOOKED_AT_ONCE", 50)
    posts, turns, looked, real = PostPlaces(), Turns(), list[int](), module.written_by

    def noted(accounts: Any, keys: list[int]) -> list[int]:
        turns.count(len(keys))
        looked.extend(keys)
        return real(accounts, keys)

    monkeypatch.setattr(module, "written_by", noted)
    add(posts, *(f"a{n}/1" for n in range(1000)), at=NOW)
    posts.note(posts.new, range(1, 1001))
    posts.new = {}
    for n in range(900):
        posts.remove(Deletion("bluesky", f"a{n}/"))
    others = asyncio.create_task(turns.others())
    await posts.remove_accounts()
    others.cancel()
    assert (len(looked), turns.most) == (1000, 50)
    assert sorted(posts.gone) == list(range(1, 901))
    assert sorted(posts.places["bluesky"].values()) == list(range(901, 1001))
    for n in range(module.MOST_ACCOUNTS + 1):
        posts.remove(Deletion("bluesky", f"a{n}/"))
    assert posts.anew and not (posts.accounts or posts.places)


async def test_all_goes_when_nobody_knows_what_redis_has(store: Store) -> None:
    """An older copy of it may have what was deleted; ids go on from where they were."""
    posts, now = PostPlaces(), await clock(store)
    add(posts, "a/1", at=now)
    await posts.write(store, "us", now)
    last = await newest(store)
    add(posts, "a/2", at=now)
    assert posts.lose()
    assert not posts.lose(), "that is no news"
    add(posts, "a/3", at=now)
    await posts.write(store, "us", now)
    assert (await ids(store), await gone(store)) == (["a/3"], ["*"])
    assert [entry.id async for entry in recent(store, last)] == [e.id for e in await entries(store)]
    assert posts.lose()


async def test_a_write_that_fails_takes_all_away_with_the_next(store: Store) -> None:
    """Whether Redis did it or not: else a post might be there twice, and never go."""
    posts, now = PostPlaces(), await clock(store)
    add(posts, "a/1", at=now)
    await store.redis.set(keys.LEASE, "another")
    with pytest.raises(LeaseLost):
        await posts.write(store, "us", now)
    assert await entries(store) == []
    await store.redis.delete(keys.LEASE)
    add(posts, "a/2", at=now)
    await posts.write(store, "us", now)
    assert (await ids(store), await gone(store)) == (["a/2"], ["*"])


async def test_ten_minutes_later_all_is_forgotten(store: Store) -> None:
    """Also while no new one comes; by Redis's clock, whose ids say how old an entry is."""
    posts, now = PostPlaces(), await clock(store)
    add(posts, "a/1", at=now)
    await posts.write(store, "us", now)
    await posts.write(store, "us", now + LIFE - 1000)
    assert await ids(store) == ["a/1"]
    await posts.write(store, "us", now + LIFE + 5000)
    assert await entries(store) == []
    assert not any(posts.places.values())


@pytest.mark.parametrize("bound", ["MOST_POSTS", "MOST_BYTES"])
async def test_there_are_no_more_than_that(
    store: Store, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    """The oldest go before their time, in Redis and here."""
    monkeypatch.setattr(module, bound, 20 if bound == "MOST_POSTS" else 20 * 110)
    monkeypatch.setattr(module, "MEASURED", 4)
    posts, now = PostPlaces(), await clock(store)
    for n in range(30):
        await eventually(lambda: is_later(store, last), "ids differ") if (
            last := await newest(store)
        ) else None
        add(posts, *(f"a/{n}{k}" for k in range(4)), at=now)
        await posts.write(store, "us", now)
    found = await ids(store)
    assert 4 <= len(found) <= 28
    assert found[-1] == "a/293"
    assert len(posts.places["bluesky"]) <= 28


async def is_later(store: Store, last: str) -> bool:
    return await clock(store) > int(last.partition("-")[0])


def test_a_burst_is_bounded() -> None:
    """What is too much between two ticks is left out."""
    posts = PostPlaces()
    add(posts, *(f"a/{n}" for n in range(MOST_NEW + 10)), at=NOW)
    assert len(posts.new) == MOST_NEW


async def test_what_is_not_ours_is_skipped(store: Store) -> None:
    """Anybody may write into the stream."""
    for field, text in (("post", "{"), ("post", b"\xff"), ("x", "y"), ("post", '{"source":5}')):
        await store.redis.xadd(keys.POSTS, {field: text})
    assert [(entry.post, entry.gone) for entry in await entries(store)] == [(None, ())] * 4
    await store.redis.set(keys.POSTS, "x")
    with pytest.raises(StoreLost, match="posts is of another type"):
        await entries(store)


async def test_what_is_lost_while_redis_is_written_to_goes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More accounts are taken back than can be remembered, in the middle of a write."""
    posts, now, write = PostPlaces(), await clock(store), module.write_posts
    add(posts, "a/1", at=now)
    await posts.write(store, "us", now)
    monkeypatch.setattr(module, "MOST_ACCOUNTS", 1)

    async def while_it_writes(*arguments: Any) -> list[str]:
        for account in ("a/", "b/"):
            posts.remove(Deletion("bluesky", account))
        return await write(*arguments)

    monkeypatch.setattr(module, "write_posts", while_it_writes)
    add(posts, "c/1", at=now)
    await posts.write(store, "us", now)
    monkeypatch.setattr(module, "write_posts", write)
    assert await posts.write(store, "us", now)
    assert await ids(store) == []
    assert "*" in await gone(store)
