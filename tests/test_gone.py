"""Each network's own deletion in the middle of a burst: gone from Redis, from the answers of two web
processes, and from every open page."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from bluesky_api import BlueskyApi
from jetstream import Jetstream, Network, create
from mastodon_api import TOKEN, MastodonServer, status
from servers import App, RedisServer, eventually, get, viewing
from test_deletions import PUBLIC, taken_back

from app.store.posts import recent
from app.store.store import Store, connect


class Page:
    """What an open page shows: what it asked for when it was told to, and what it was told since."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.shown: dict[str, str] = {}
        """The posts' ids to their texts."""
        self.seen: set[str] = set()
        """All texts that it ever showed."""
        self.gone = 0

    async def watch(self) -> None:
        async with viewing(f"{self.app.url}/events?tags=science&posts=1") as events:
            async for event in events:
                if event.name == "post":
                    self.show(event.data)
                elif event.name == "gone" and "*" in event.data["ids"]:
                    await self.ask()
                elif event.name == "gone":
                    self.gone += 1
                    for id in event.data["ids"]:
                        self.shown.pop(id, None)

    async def ask(self) -> None:
        self.shown.clear()
        for post in await asked(self.app):
            self.show(post)

    def show(self, post: dict[str, Any]) -> None:
        self.shown[post["id"]] = post["text"]
        self.seen.add(post["text"])


async def asked(app: App) -> list[dict[str, Any]]:
    code, told = await get(f"{app.url}/api/posts?tags=science")
    assert code == 200, told
    return told["posts"]  # type: ignore[no-any-return]


@asynccontextmanager
async def open_page(app: App) -> AsyncIterator[Page]:
    page = Page(app)
    task = asyncio.create_task(page.watch())
    try:
        yield page
    finally:
        task.cancel()
        await asyncio.wait([task])


def skeets(name: str, number: int, did: str = "did:plc:a") -> list[dict[str, Any]]:
    return [create("science", did=did, rkey=f"{name}{n}") for n in range(number)]


def delete(event: dict[str, Any]) -> dict[str, Any]:
    gone = taken_back("delete")
    gone["did"], gone["commit"]["rkey"] = event["did"], event["commit"]["rkey"]
    return gone


def left(did: str) -> dict[str, Any]:
    return {"did": did, "kind": "account", "account": {"active": False, "status": "deleted"}}


def toot(number: int) -> dict[str, Any]:
    return status(number, **PUBLIC | {"content": f"<p>toot {number}</p>"})


async def stored(store: Store) -> set[str]:
    return {entry.post.id async for entry in recent(store) if entry.post}


async def test_what_a_network_takes_back_is_gone_everywhere(
    start_app: Callable[..., App], redis_server: RedisServer, stack: AsyncExitStack
) -> None:
    """A post, an edited one, and all of an account; what is not taken back stays."""
    network, api = Network(), await stack.enter_async_context(BlueskyApi())
    jetstream = await stack.enter_async_context(Jetstream(network))
    mastodon = await stack.enter_async_context(MastodonServer())
    redis = connect(redis_server.url)
    stack.push_async_callback(redis.aclose)
    shared = {"REDIS_URL": redis_server.url, "TICK_SECONDS": "0.1"}
    start_app(
        "ingest", SOURCES="bluesky,mastodon", JETSTREAM_URL=jetstream.url, MASTODON_URL=mastodon.url,
        MASTODON_TOKEN=TOKEN, **shared,
    )  # fmt: skip
    apps = [start_app("web", BLUESKY_API_URL=api.url, **shared).started() for _ in range(2)]
    await eventually(lambda: jetstream.open and mastodon.streams, "both networks are read")
    pages = [await stack.enter_async_context(open_page(app)) for app in apps for _ in range(2)]

    one, two, other = skeets("early", 4), skeets("late", 4), skeets("left", 3, "did:plc:b")
    network.put([*one, *other])
    mastodon.post([toot(n) for n in range(1, 5)])

    async def all_stored(number: int) -> bool:
        return len(await stored(Store(redis))) == number

    async def all_shown() -> bool:
        """Asked again until a web process has read of all, and looked them up."""
        await asyncio.gather(*(page.ask() for page in pages if len(page.shown) < 11))
        return {len(page.shown) for page in pages} == {11}

    await eventually(lambda: all_stored(11), "all are written down")
    await eventually(all_shown, "all are shown")

    network.put([*two[:2], delete(one[1]), left("did:plc:b"), *two[2:], delete(two[3])])
    mastodon.post([toot(5)])
    mastodon.event("delete", toot(2)["id"])
    mastodon.event("status.update", json.dumps(toot(3)))
    mastodon.post([toot(6)])
    kept = {"early0", "early2", "early3", "late0", "late1", "late2"}
    kept_toots = {f"toot {n}" for n in (1, 4, 5, 6)}
    expected = {f"text of {name}" for name in kept} | kept_toots

    async def are_gone() -> bool:
        answers = [{post["text"] for post in await asked(app)} for app in apps]
        shown = [set(page.shown.values()) for page in pages]
        return all(each == expected for each in answers) and all(s <= expected for s in shown)

    await eventually(are_gone, "what was taken back is gone")
    assert len(await stored(Store(redis))) == len(expected)
    for page in pages:
        assert {"text of early1", "text of left0", "toot 2", "toot 3"} <= page.seen, "it was there"
        assert page.gone, "and it was told"
    for name in ("early1", "left", "late3", toot(2)["id"], toot(3)["id"]):
        assert not any(name in id for id in await stored(Store(redis)))
    for app in apps:
        assert "text of" not in app.output + str(app.log.read_text())


async def test_the_demos_posts_are_shown(start_app: Callable[..., App]) -> None:
    """By one process that does it all: as an answer, and as they come."""
    app = start_app(HASHTAGS="science").started()

    async def answered() -> bool:
        return bool(await asked(app))

    await eventually(answered, "there are posts")
    async with asyncio.timeout(20), viewing(f"{app.url}/events?tags=science&posts=1") as events:
        async for event in events:
            if event.name == "post":
                break
    assert event.data["source"] == "demo"
    assert "#science" in event.data["text"]
    assert event.data["handle"].startswith("demo")
