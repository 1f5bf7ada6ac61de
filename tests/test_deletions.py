"""Posts that are taken back, as each network says it; what may be shown, as it is read."""

import asyncio
import json
import logging
from typing import Any

import pytest
from jetstream import BEGIN, connected, create, tid
from mastodon_api import TOKEN, MastodonServer, first, source_of, status
from servers import eventually

from app.messages import Checkpoint, Deletion, Post, Shown
from app.sources import bluesky, mastodon
from app.sources.bluesky.place import REREAD
from app.sources.bluesky.source import UNREAD_AT_MOST, Bluesky
from app.sources.demo.posts import posts_in
from app.sources.x.wire import parse as parse_x


def told(source: Bluesky, event: dict[str, Any], at: int = BEGIN) -> Any:
    if "commit" in event:
        event["commit"]["rev"] = tid(at)
    return source.read(json.dumps(event | {"time_us": at}).encode())


def taken_back(operation: str, collection: str = "app.bsky.feed.post") -> dict[str, Any]:
    commit = {"operation": operation, "collection": collection, "rkey": "r"}
    return {"did": "did:plc:a", "kind": "commit", "commit": commit}


@pytest.mark.parametrize("operation", ["delete", "update"])
def test_bluesky_takes_a_post_back(operation: str) -> None:
    """Also while most messages pass unread; with the id that the post had, and the cursor."""
    source = connected()
    post = told(source, create("science"))
    source.unread = 0
    gone = told(source, taken_back(operation), BEGIN + 1)
    # of the first connection of all, which goes back a minute
    assert gone == Deletion("bluesky", post.id, str(BEGIN + 1 - REREAD))
    assert source.unread < UNREAD_AT_MOST


def test_bluesky_takes_an_account_back() -> None:
    """Deleted, suspended or left: all of its posts, whose ids begin so."""
    source, account = connected(), {"did": "did:plc:a", "active": False, "status": "deleted"}
    source.unread = 0
    gone = told(source, {"did": "did:plc:a", "kind": "account", "account": account})
    assert isinstance(gone, Deletion)
    assert gone.id == "did:plc:a/"


@pytest.mark.parametrize(
    "event",
    [taken_back("delete", "app.bsky.feed.like"), taken_back("restore"),
     {"did": "did:plc:a", "kind": "account", "account": {"active": True}},
     *({"did": "did:plc:a", "kind": "account", "account": odd} for odd in ("x", [], None, 5, {})),
     {"did": "did:plc:a", "kind": "identity", "identity": {}}],
)  # fmt: skip
def test_what_is_no_deletion_on_bluesky(event: dict[str, Any]) -> None:
    """Of something else, of an account that came back, or of a form that nobody knows."""
    source = connected()
    told(source, create("science"))
    assert not isinstance(told(source, event, BEGIN + 1), Deletion)
    assert source.bad == 0


def parse(source: Any, message: dict[str, Any]) -> Post:
    post = source.SOURCE.parse(json.dumps(message).encode())
    assert post
    return post  # type: ignore[no-any-return]


def test_bluesky_links_are_read() -> None:
    """From facets, and from the card below; whatever clients write there."""
    link = {"$type": "app.bsky.richtext.facet#link", "uri": "https://www.a.example/x"}
    card = {"external": {"uri": "https://b.example/"}}
    event = create("science", embed={"media": card, "external": [5]}) | {"time_us": 1}
    event["commit"]["record"]["facets"].append({"features": [link, link | {"uri": 5}]})
    assert parse(bluesky, event).domains == ("a.example", "b.example")
    for embed in ("x", [], 5, {"external": "x"}, {"media": [card]}, {"external": {"uri": {}}}):
        assert parse(bluesky, create("science", embed=embed) | {"time_us": 1}).domains == ()
    assert parse(bluesky, create(embed=card) | {"time_us": 1}).domains == ()


def test_x_has_its_links_and_nothing_to_show() -> None:
    """Its rules: no text and no author to third parties."""
    urls: Any = [{"expanded_url": "https://a.example/x"}, {}, {"expanded_url": 5}]
    entities = {"hashtags": [{"tag": "science"}], "urls": urls}
    data = {"id": "1", "text": "secret", "author_id": "7", "entities": entities}
    post = parse_x(json.dumps({"data": data}))
    assert post
    assert (post.domains, post.shown) == (("a.example",), None)
    entities["urls"] = None
    post = parse_x(json.dumps({"data": data}))
    assert post
    assert post.domains == ()


ACCOUNT = {"id": "1", "display_name": "Ada\u202e", "acct": "ada@b.example"}
PUBLIC = {
    "visibility": "public", "sensitive": False, "spoiler_text": "", "account": ACCOUNT,
    "content": '<p>Hi #science <a href="https://c.example/">c</a></p>', "url": "https://b.example/@ada/1",
}  # fmt: skip
SHOWN = Shown("https://b.example/@ada/1", "Hi #science c", "Ada", "ada@b.example")


def event(name: str, payload: Any) -> dict[str, Any]:
    return {"event": name, "payload": payload if isinstance(payload, str) else json.dumps(payload)}


def test_a_public_status_may_be_shown() -> None:
    """As plain text."""
    post = parse(mastodon, event("update", status(1, **PUBLIC)))
    assert (post.shown, post.domains) == (SHOWN, ("c.example",))


@pytest.mark.parametrize(
    "changed",
    [{"visibility": "unlisted"}, {"visibility": None}, {"sensitive": True}, {"spoiler_text": "x"},
     {"spoiler_text": 5}, {"url": "javascript:x"}, {"url": None}, {"tags": []}],
)  # fmt: skip
def test_what_is_not_for_everybody_is_not_shown(changed: dict[str, Any]) -> None:
    """Nor what has no address, or no hashtag."""
    assert parse(mastodon, event("update", status(1, **PUBLIC | changed))).shown is None


@pytest.mark.parametrize("account", [None, {"id": "1"}, {"id": "1", "display_name": 5, "acct": []}])
def test_an_author_without_a_name(account: Any) -> None:
    """Costs no post."""
    post = parse(mastodon, event("update", status(1, **PUBLIC | {"account": account})))
    assert post.shown == Shown(SHOWN.url, SHOWN.text)


async def test_mastodon_takes_posts_back() -> None:
    """Deletes and edits of the stream; a bad one is skipped, and the stream goes on."""
    async with MastodonServer(thump=60) as server:
        source = source_of(server, token=TOKEN)
        source.pace.leave(1e9)
        stream = first(source, 3)
        task = asyncio.create_task(stream)
        await eventually(lambda: server.streams, "the stream is open")
        one, two = status(1, **PUBLIC), status(2, **PUBLIC)
        server.post([one])
        server.event("delete", "no id!")
        server.event("status.update", "{")
        server.event("delete", one["id"])
        server.event("status.update", json.dumps(two))
        post, *gone = await task
    assert isinstance(post, Post)
    assert post.shown == SHOWN
    assert gone == [Deletion("mastodon", one["id"]), Deletion("mastodon", two["id"])]
    assert source.bad == 2
    assert source.misses_deletions


async def test_what_was_polled_is_a_link_only() -> None:
    """Without a token nobody would tell us that it was deleted."""
    async with MastodonServer() as server:
        server.post([status(0, **PUBLIC)])
        source = source_of(server)
        begun = await first(source, 1)
        server.post([status(1, **PUBLIC)])
        found = await first(source, 2, source.windows.cursor)
    posts = [one for one in found if isinstance(one, Post)]
    assert isinstance(begun[0], Checkpoint)
    assert [post.shown for post in posts] == [Shown(SHOWN.url)]
    assert not source.misses_deletions


def test_the_demo_invents_what_it_shows() -> None:
    """The same for the same seed; its authors and addresses are nobody's."""
    posts = [post for slot in range(50) for post in posts_in(slot, ("science", "art"), 1)]
    assert posts
    for post in posts:
        assert post.shown
        assert all(f"#{name}" in post.shown.text for name in post.hashtags.values())
        assert post.shown.url == f"https://example.org/{post.author}"
    assert posts == [post for slot in range(50) for post in posts_in(slot, ("science", "art"), 1)]


async def test_nothing_of_a_post_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Not even of one that cannot be read."""
    caplog.set_level(logging.DEBUG)
    source = connected()
    source.read(b'{"did":"did:plc:secretperson","text":"secretword","tags":')
    masto = mastodon.SOURCE(source.settings)
    for payload in ('{"id":"secretword"', '"secretword"', '{"id":{"secretword":1}}'):
        masto.read(mastodon.source.parse_event, mastodon.wire.Event("update", payload), payload)
    assert masto.bad + source.bad == 4
    assert caplog.text.count("skipped 1 bad messages") == 2
    assert "secret" not in caplog.text
