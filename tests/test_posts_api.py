"""The posts behind a line: as an answer, and as events; never one that was taken back."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from bluesky_api import URI, BlueskyApi
from raw import Raw, connecting, get
from served import Site, serving
from servers import RedisServer, eventually
from servers import get as fetch
from test_feed import Clock

from app.messages import Shown, parse_id
from app.settings import read
from app.store import keys
from app.store.posts import StoredPost, write_post, write_posts
from app.web import bluesky_posts, recent_posts
from app.web.feed import Feed
from app.web.posts import EARLY_SECONDS, EVENT_SECONDS, TICKS_KEPT, ShownPosts
from app.web.recent_posts import RecentPosts

SHOWN = Shown("https://m.example/@a/1", "Hi", "Ada", "ada")


@pytest.fixture
async def site(
    redis_server: RedisServer, api: BlueskyApi, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Site]:
    monkeypatch.setattr(bluesky_posts, "WAIT_SECONDS", 20)  # a busy machine may be slow
    chosen = {"BLUESKY_API_URL": api.url, "BLOCKED_HASHTAGS": "bad"}
    async with serving(redis_server.url, **chosen) as opened:
        yield opened


def bluesky(number: int, *tags: str) -> StoredPost:
    did = "did:plc:a"
    return StoredPost("bluesky", f"{did}/{number}", did, at(), tags or ("science",))


def mastodon(number: int, *tags: str, shown: Shown | None = SHOWN) -> StoredPost:
    return StoredPost("mastodon", f"{number}", "1", at(), tags or ("science",), shown=shown)


def x(number: int, *tags: str) -> StoredPost:
    return StoredPost("x", f"{number}", "secret author", at(), tags or ("science",))


def at() -> int:
    return int(time.time() * 1000)


async def put(site: Site, *posts: StoredPost) -> list[str]:
    return await write_posts(
        site.store, "the test", [write_post(post) for post in posts], [], 0, False
    )


async def take_back(site: Site, *ids: str) -> None:
    await write_posts(site.store, "the test", [], ids, 0, False)


async def ask(site: Site, query: str = "tags=science") -> Any:
    site.app.extensions["posts"].read_at = float("-inf")
    status, found = await fetch(f"http://127.0.0.1:{site.port}/api/posts?{query}")
    assert status == 200, found
    return found


async def test_the_newest_of_a_hashtag(site: Site, api: BlueskyApi) -> None:
    """Of Bluesky what it shows, of Mastodon what its stream said; the newest first."""
    ids = await put(site, bluesky(1), mastodon(2), bluesky(3, "art"), bluesky(4, "science", "art"))
    api.missing.add(URI.format("did:plc:a", 1))
    told = await ask(site)
    assert [post["id"] for post in told["posts"]] == [ids[3], ids[1]]
    assert (told["left_out"], told["x"]) == (1, None)
    assert told["posts"][1] == {
        "id": ids[1], "source": "mastodon", "at": told["posts"][1]["at"], "tags": ["science"],
        "text": "Hi", "name": "Ada", "handle": "ada", "url": SHOWN.url,
    }  # fmt: skip
    assert told["posts"][0]["text"] == "text of 4"
    both = await ask(site, "tags=art,science")
    assert [post["id"] for post in both["posts"]] == [ids[3], ids[2], ids[1]]
    assert (await ask(site, "tags=nobody"))["posts"] == []


async def test_no_more_than_twenty(site: Site, api: BlueskyApi) -> None:
    """And no more than one request; how many are left out is told."""
    await put(site, *(mastodon(n) for n in range(30)), *(bluesky(n) for n in range(60)))
    told = await ask(site)
    assert [post["text"] for post in told["posts"]] == [f"text of {n}" for n in range(59, 39, -1)]
    assert told["left_out"] == 70
    assert len(api.asked) == 1


async def test_of_x_a_number_and_an_address(site: Site) -> None:
    """By its rules neither text nor author nor anything else."""
    await put(site, *(x(n) for n in range(3)), mastodon(1), x(9, "art"))
    told = await ask(site)
    assert told["x"] == {"posts": 3, "urls": {"science": "https://x.com/hashtag/science"}}
    assert ([post["source"] for post in told["posts"]], told["left_out"]) == (["mastodon"], 0)
    assert "secret" not in json.dumps(told)


async def test_what_may_not_be_shown(site: Site) -> None:
    """A recording's posts, those without anything to show, and those with a blocked hashtag."""
    await put(site, mastodon(1, shown=None), mastodon(2, "science", "bad"))
    told = await ask(site)
    assert (told["posts"], told["left_out"]) == ([], 1)
    assert (await ask(site, "tags=bad"))["posts"] == []


async def test_what_is_taken_back_is_not_answered(site: Site, api: BlueskyApi) -> None:
    """Also while Bluesky is being asked about it, though it still shows it."""
    ids = await put(site, mastodon(1), bluesky(2), bluesky(3))
    await ask(site)
    api.held.clear()
    site.app.extensions["posts"].lookups.known.clear()
    asking = asyncio.create_task(ask(site))
    await eventually(lambda: len(api.asked) == 2, "it is being asked")
    await take_back(site, ids[2])
    assert site.feed.store
    await site.app.extensions["posts"].recent.read(site.feed.store, site.feed.time())
    api.held.set()
    assert [post["id"] for post in (await asking)["posts"]] == [ids[1], ids[0]]
    await take_back(site, ids[0])
    assert [post["id"] for post in (await ask(site))["posts"]] == [ids[1]]
    await write_posts(site.store, "the test", [], [], 0, True)
    assert (await ask(site))["posts"] == []


async def test_old_ones_are_not_answered(site: Site, redis_server: RedisServer) -> None:
    """Where no ingester took them away: more than ten minutes, by Redis's clock."""
    await site.store.redis.xadd(keys.POSTS, {"post": write_post(mastodon(1))}, id="1000-0")
    await put(site, mastodon(2))
    assert len((await ask(site))["posts"]) == 1


async def test_a_redis_that_begins_anew(site: Site) -> None:
    """By a clock that was set back: what we know of is believed no more."""
    await site.store.redis.xadd(
        keys.POSTS, {"post": write_post(mastodon(1))}, id=f"{at() + 9999}-0"
    )
    assert len((await ask(site))["posts"]) == 1
    await site.store.redis.delete(keys.POSTS)
    await put(site, mastodon(2))
    await ask(site)
    assert len((await ask(site))["posts"]) == 1


async def test_off_is_off(redis_server: RedisServer) -> None:
    """Refused in a sentence; a stream goes without."""
    async with serving(redis_server.url, SHOW_POSTS="off") as site:
        await put(site, mastodon(1))
        status, told = await fetch(f"http://127.0.0.1:{site.port}/api/posts?tags=science")
        assert (status, told) == (404, {"error": "No posts are shown here: SHOW_POSTS is off."})
        with connecting(site) as connect:
            stream = await connect().send(get("front door", "tags=science&posts=1"))
            await stream.until(b"event: counts")
            await site.publish()
            await stream.until(b'"science":2')
            assert b"event: gone" not in stream.received


@pytest.mark.parametrize("query", ["tags=%00", "tags=" + ",".join(f"t{n}" for n in range(21))])
async def test_a_bad_request(site: Site, query: str) -> None:
    """As for the other answers."""
    assert (await fetch(f"http://127.0.0.1:{site.port}/api/posts?{query}"))[0] == 400


def test_what_a_process_knows_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go first, and nothing of them stays."""
    monkeypatch.setattr(recent_posts, "MOST", 5)
    known = RecentPosts()
    for n in range(20):
        known.add(recent_posts.Entry(f"{n + 1}-0", mastodon(n, f"t{n}", "all")), is_new=True)
        known.forget(1)
    assert list(known.posts) == [f"{n}-0" for n in range(16, 21)]
    assert known.tags.keys() == {"all", *(f"t{n}" for n in range(15, 20))}
    assert (known.new, known.gone) == ({}, {})


def test_forgetting_looks_at_no_more_than_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted: with each tick it is done, and there may be 30,000 that are not old."""
    known, life, looked = RecentPosts(), 600_000, list[str]()
    age = recent_posts.age
    monkeypatch.setattr(recent_posts, "age", lambda id, now: looked.append(id) or age(id, now))
    for n in range(1000):
        known.add(recent_posts.Entry(f"{n + 1}-0", mastodon(n, "all")), is_new=False)
    known.forget(life)
    known.forget(life + 3)
    assert list(known.posts)[:2] == ["4-0", "5-0"]
    assert looked == [f"{n}-0" for n in (1, 1, 2, 3, 4)]


def test_who_asks_for_many_hashtags_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted: of a flood of posts with all of them, no id is read to bring them in order."""
    known, tags, read = RecentPosts(), tuple(f"t{n}" for n in range(20)), list[str]()
    for n in range(1000):
        known.add(recent_posts.Entry(f"{n + 9}-0", mastodon(n, *tags[n % 5 :])), is_new=False)
    monkeypatch.setattr(recent_posts, "order", lambda id: read.append(id) or parse_id(id))
    assert list(known.newest(known.of(tags), 1000)) == [f"{n + 9}-0" for n in range(999, -1, -1)]
    found = list(known.newest(known.of(["t2", "none"]), 4))
    assert found == [f"{n + 9}-0" for n in (997, 996, 995, 992)]
    assert known.of([]) == set() and read == []


async def until_told(site: Site, stream: Raw, pattern: bytes) -> None:
    """Ticks go on until the stream has this."""

    stop = asyncio.Event()

    async def publishing() -> None:
        while not stop.is_set():  # a cancel may be lost while redis-py writes
            await site.publish(0)
            await asyncio.sleep(0.05)

    task = asyncio.create_task(publishing())
    try:
        await stream.until(pattern)
    finally:
        stop.set()
        await task
        await site.hears()


async def begun(site: Site, stream: Raw) -> None:
    """The stream was told to ask anew, and what comes from now on is new."""
    known: RecentPosts = site.app.extensions["posts"].recent
    await until_told(site, stream, b'"ids":\\["\\*"\\]')
    while not known.is_read:
        await site.publish(0)
        await asyncio.sleep(0.02)


def events(stream: Raw, name: str) -> list[Any]:
    """The data of all events of this name that came."""
    parts = stream.received.replace(b"\r\n", b"").split(b"event: " + name.encode() + b"\ndata: ")
    return [json.loads(part.split(b"\n\n")[0]) for part in parts[1:]]


async def test_new_posts_are_told(site: Site, api: BlueskyApi) -> None:
    """To who watches their hashtag and chose it; of many one, and how many are left out."""
    with connecting(site) as connect:
        one = await connect().send(get("front door", "tags=science&posts=1"))
        other = await connect().send(get("front door", "tags=art&posts=1"))
        plain = await connect().send(get("front door", "tags=science"))
        await begun(site, one)
        ids = await put(site, *(bluesky(n) for n in range(5)))
        await until_told(site, one, b"event: post")
        (post,) = events(one, "post")
        assert (post["id"], post["left_out"], post["text"]) == (ids[2], 4, "text of 2")
        await put(site, mastodon(9, "art", "science"))
        await until_told(site, other, b"event: post")
        await until_told(site, one, b"event: post.*event: post")
        assert events(one, "post")[1]["left_out"] == 0
        assert len(events(other, "post")) == 1
        assert b"event: post" not in plain.received
        assert b"event: gone" not in plain.received
    assert len(api.uris) == 1, "only what is told is looked up"


async def test_what_is_taken_back_is_told(site: Site, api: BlueskyApi) -> None:
    """To who may see it, wherever it was seen; what nobody knows, to all."""
    with connecting(site) as connect:
        one = await connect().send(get("front door", "tags=science&posts=1"))
        other = await connect().send(get("front door", "tags=art&posts=1"))
        await begun(site, one)
        ids = await put(site, mastodon(1), mastodon(2))
        await until_told(site, one, b"event: post")
        await take_back(site, *ids)
        await until_told(site, one, b"event: gone.*event: gone")
        assert events(one, "gone")[1]["ids"] == ids
        await take_back(site, "5-5")
        await until_told(site, other, b'"ids":\\["5-5"\\]')
        assert len(events(other, "gone")) == 2
        await write_posts(site.store, "the test", [], [], 0, True)
        await until_told(site, other, b"\\*.*\\*")


async def test_what_is_taken_back_goes_with_the_tick_that_says_so(site: Site) -> None:
    """It would be on open pages until the one behind it; of others nothing is read before they are
    told."""
    with connecting(site) as connect:
        one = await connect().send(get("front door", "tags=science&posts=1"))
        await begun(site, one)
        ids = await put(site, mastodon(1), mastodon(2))
        await until_told(site, one, b"event: post")
        for n, id in enumerate(ids):
            await take_back(site, id)
            await site.publish(1, taken_back=True)
            await one.until(b"event: gone.*" * (n + 1) + id.encode())
            assert one.received.rpartition(b"\nid: ")[2].startswith(site.writer.state.tick.encode())


async def test_no_tick_waits_for_the_first_look_at_all_posts(site: Site) -> None:
    """It takes a second where there are many; what was taken back is found by it, too."""
    posts: ShownPosts = site.app.extensions["posts"]
    with connecting(site) as connect:
        one = await connect().send(get("front door", "tags=science&posts=1"))
        await begun(site, one)
        (id,) = await put(site, mastodon(1))
        await until_told(site, one, b"event: post")
        async with posts.recent.reading:
            await take_back(site, id)
            await site.publish(1, taken_back=True)
            await one.until(b"\nid: " + site.writer.state.tick.encode())
        await until_told(site, one, b"event: gone.*event: gone")
        assert events(one, "gone")[1]["ids"] == [id]


async def test_what_was_taken_back_is_not_told_late(site: Site, api: BlueskyApi) -> None:
    """While Bluesky is asked it goes: it is not told; nor to a viewer that was behind."""
    posts: ShownPosts = site.app.extensions["posts"]
    with connecting(site) as connect:
        one = await connect().send(get("front door", "tags=science&posts=1"))
        await begun(site, one)
        api.held.clear()
        ids = await put(site, bluesky(1))
        await site.publish(0)
        await eventually(lambda: api.asked, "it is being asked")
        await take_back(site, *ids)
        await until_told(site, one, b"event: gone.*event: gone")
        api.held.set()
        await eventually(lambda: not posts.events.looking, "it has answered")
        await put(site, mastodon(2))
        await until_told(site, one, b"event: post")
        assert [post["source"] for post in events(one, "post")] == ["mastodon"]
        (id,) = [post["id"] for post in events(one, "post")]
        before = posts.events.sent[0][0] - 1
        assert b"event: post" in posts.events.between(["science"], before, before + 999)
        await take_back(site, id)
        await until_told(site, one, id.encode() + b".*" + id.encode())
        assert b"event: post" not in posts.events.between(["science"], before, before + 999)


@pytest.mark.parametrize("seconds", [0.1, 0.3, 0.46, 0.5, 0.52, 0.7])
async def test_a_viewer_is_told_two_posts_a_second_at_most(seconds: float) -> None:
    """However often ticks come, a little early or late, and however long a lookup takes; where
    that is quick, hardly fewer, or one with each tick."""
    chance, clock, late = random.Random(0), Clock(), list[dict[str, Any]]()
    feed = Feed(seconds, clock=clock)
    posts = ShownPosts(read({}), feed)
    feed.extras.add("posts", posts.events)
    shown = feed.watch(("science",), False, ("posts",))
    events, ticks, told = posts.events, int(60 / seconds), list[float]()
    for n in range(ticks):
        clock.now = 1000 + n * seconds + chance.random() * 0.03
        new = {f"{n * 10 + k}-0": mastodon(n) for k in range(3)}
        posts.recent.posts |= new
        late.append(await events.pick(new, events.chosen(), clock.now))
        while late and (seconds >= 0.5 or chance.random() < 0.7):
            await events.look_up(None, late.pop(0))  # type: ignore[arg-type]
        events.take(n)
        told += [clock.now] * len(events.sent[-1][1])
    assert shown.tags == ("science",)
    assert (0.95 * min(ticks, 120) if seconds >= 0.5 else 60) <= len(told) <= 121
    for first, third in zip(told, told[2:], strict=False):
        assert third - first > 2 * EVENT_SECONDS - EARLY_SECONDS - 1e-6


async def test_who_is_far_behind_asks_anew(site: Site) -> None:
    """No more is remembered than that."""
    events = site.app.extensions["posts"].events
    events.sent.extend((n, {}, {f"{n}-0": ("science",)}) for n in range(1, TICKS_KEPT + 10))
    assert b'"*"' in events.between(["science"], 1, TICKS_KEPT + 10)
    late = events.between(["science"], TICKS_KEPT + 7, TICKS_KEPT + 10)
    assert json.loads(late.split(b"data: ")[1])["ids"] == [f"{TICKS_KEPT + n}-0" for n in (9, 8)]
    assert events.between(["art"], TICKS_KEPT + 7, TICKS_KEPT + 10) == b""


async def test_nobody_looks_any_more(site: Site) -> None:
    """Then nothing is read, and soon nothing known."""
    posts: ShownPosts = site.app.extensions["posts"]
    with connecting(site) as connect:
        one = await connect().send(get("front door", "tags=science&posts=1"))
        await begun(site, one)
        await put(site, mastodon(1))
        await until_told(site, one, b"event: post")
    site.clock.ahead += 61

    async def forgotten() -> bool:
        await site.publish(0)
        return not posts.recent.posts

    await eventually(forgotten, "all is forgotten")
    last = posts.recent.last
    await put(site, mastodon(2))
    await site.publish(0)
    await site.publish(0)
    await site.hears()
    assert posts.recent.last == last == ""
