"""What Bluesky shows: asked for by 25, at most twice a second, believed for a minute; nothing that it
did not confirm."""

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import pytest
from bluesky_api import URI, BlueskyApi
from servers import RedisServer, eventually

from app.messages import Shown
from app.retry import wait_of
from app.store import keys
from app.store.store import Store, connect
from app.web import bluesky_posts as module
from app.web.bluesky_posts import (
    AT_ONCE,
    KEPT_SECONDS,
    MOST_WANTED,
    Lookups,
    NoAnswer,
    address_of,
    read_answer,
)

DID = "did:plc:a"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def lookups(api: BlueskyApi, stack: AsyncExitStack) -> Lookups:
    return opened(api, stack)


def opened(api: BlueskyApi, stack: AsyncExitStack) -> Lookups:
    made = Lookups(api.url, Clock(), lambda: 5000.0)
    stack.push_async_callback(made.close)
    return made


def ids(*numbers: int) -> list[str]:
    return [f"{DID}/{n}" for n in numbers]


async def test_what_is_shown_is_told(store: Store, api: BlueskyApi, lookups: Lookups) -> None:
    """Text, name, handle and an address; once for all who ask within a minute."""
    first, again = await asyncio.gather(*(lookups.shown(store, ids(1)) for _ in range(2)))
    url = f"https://bsky.app/profile/{DID}/post/1"
    assert first == again == {f"{DID}/1": Shown(url, "text of 1", "Ada", "a.example")}
    assert await lookups.shown(store, ids(1)) == first
    assert api.uris == [URI.format(DID, 1)]
    lookups.clock.now += KEPT_SECONDS + 1  # type: ignore[attr-defined]
    api.missing.add(URI.format(DID, 1))
    assert await lookups.shown(store, ids(1)) == {}
    assert len(api.asked) == 2


async def test_half_of_them_missing(store: Store, api: BlueskyApi, lookups: Lookups) -> None:
    """They are deleted, or hidden; that is believed for a minute, too."""
    api.missing = {URI.format(DID, n) for n in range(0, 20, 2)}
    for _ in range(2):
        assert list(await lookups.shown(store, ids(*range(20)))) == ids(*range(1, 20, 2))
    assert len(api.asked) == 1


LABEL = {"src": "did:plc:l", "val": "spam"}
HIDDEN: dict[str, dict[str, Any]] = {
    "labelled": {"labels": [LABEL]},
    "of a form that nobody knows": {"labels": ["spam"]},
    "asks not to be shown": {"author": {"did": DID, "handle": "h", "labels": [{"val": "!no-unauthenticated"}]}},
    "labels itself": {"record": {"text": "x", "labels": {"values": [{"val": "porn"}]}}},
    "labels itself as nobody knows": {"record": {"text": "x", "labels": {"$type": "x"}}},
    "somebody else's": {"author": {"did": "did:plc:b", "handle": "h"}},
    "without a text": {"record": {"text": 5}},
    "without a record": {"record": None},
    "without an author": {"author": None},
    "another": {"uri": URI.format(DID, 2)},
    "odd labels": {"labels": 5},
}  # fmt: skip


@pytest.mark.parametrize("why", HIDDEN)
async def test_what_is_not_shown(store: Store, api: BlueskyApi, lookups: Lookups, why: str) -> None:
    """And its neighbour is."""
    api.changed[URI.format(DID, 1)] = HIDDEN[why]
    assert list(await lookups.shown(store, ids(1, 3))) == ids(3)


async def test_a_label_that_was_taken_back_is_none(
    store: Store, api: BlueskyApi, lookups: Lookups
) -> None:
    """The protocol's `neg`; texts are fit to be shown."""
    labels = [LABEL | {"neg": True}]
    record = {"text": "a\u202eb\ud83d" + "x" * 2000}
    api.changed[URI.format(DID, 1)] = {"labels": labels, "record": record}
    (shown,) = (await lookups.shown(store, ids(1))).values()
    assert shown.text.startswith("abx")
    assert len(shown.text) <= 1000


async def test_25_at_a_time_twice_a_second(
    store: Store, api: BlueskyApi, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two processes together: each request waits for its turn in Redis."""
    monkeypatch.setattr(module, "WAIT_SECONDS", 20)
    waits, real = [], module.may_look_up

    async def noted(*arguments: Any) -> int:
        waits.append(await real(*arguments))
        return waits[-1]

    monkeypatch.setattr(module, "may_look_up", noted)
    one, two = opened(api, stack), opened(api, stack)
    found = await asyncio.gather(
        one.shown(store, ids(*range(60))), two.shown(store, ids(*range(100, 110)))
    )
    assert [len(each) for each in found] == [60, 10]
    assert sorted(len(uris) for uris in api.asked) == [10, 10, AT_ONCE, AT_ONCE]
    assert waits.count(0) == 4, "each had its turn"
    assert max(waits) <= 500


async def test_a_turn_is_one_of_all_processes(store: Store, redis_server: RedisServer) -> None:
    """In Redis; with whoever asks next it is known how long to wait."""
    redis = connect(redis_server.url)
    assert await module.may_look_up(store, 60_000) == 0
    for each in (store, Store(redis)):
        assert 0 < await module.may_look_up(each, 60_000) <= 60_000
    await redis.aclose()


async def test_a_shorter_rest_ends_no_longer_one(store: Store) -> None:
    """Two processes asked at once: one was told to wait for a minute, the other failed."""
    for milliseconds, least in ((1000, 1), (60_000, 50_000), (1000, 50_000)):
        await module.rest_from_lookups(store, milliseconds)
        assert await module.may_look_up(store, 500) >= least


@pytest.mark.parametrize(
    "answer",
    [(500, {}, ""), (429, {"RateLimit-Reset": "5030"}, ""), (503, {"Retry-After": "30"}, ""), (0, {}, ""),
     (200, {}, "{"), (200, {}, "[]"), (200, {}, '{"posts":{}}'), (200, {}, "[" * 10**5),
     (302, {"Location": "/"}, "")],
)  # fmt: skip
async def test_a_server_in_trouble_shows_nothing_and_rests(
    store: Store, api: BlueskyApi, stack: AsyncExitStack, answer: Any, caplog: Any
) -> None:
    """As long as it says, in all processes; the log has one line, without an address of a post."""
    one, two = opened(api, stack), opened(api, stack)
    one.backoff.jitter = lambda: 1.0
    api.answers += [answer] * (2 if not answer[0] else 1)  # aiohttp tries such a one twice
    assert await one.shown(store, ids(1)) == {}
    assert not api.answers, "the fault fired"
    rest = 30 if answer[1].keys() & {"RateLimit-Reset", "Retry-After"} else 1
    assert 0 < await store.redis.pttl(keys.LOOKUPS) <= rest * 1000
    assert one.rests_until == pytest.approx(one.clock() + rest)
    assert await one.shown(store, ids(1)) == {}
    if rest == 30:
        assert await two.shown(store, ids(1)) == {}
        assert two.rests_until > two.clock() + 20
    assert len(api.asked) == (1 if answer[0] else 2)
    assert caplog.text.count("cannot be looked up") == 1
    assert DID not in caplog.text
    await store.redis.delete(keys.LOOKUPS)
    one.clock.now += rest + 1  # type: ignore[attr-defined]
    assert list(await one.shown(store, ids(1))) == ids(1)
    assert "looked up again" in caplog.text


async def test_a_slow_server_is_not_waited_for(
    store: Store, api: BlueskyApi, lookups: Lookups, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is shown before it has answered; what comes late is known for who asks next."""
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.1)
    api.held.clear()
    assert await lookups.shown(store, ids(1)) == {}
    api.held.set()
    await eventually(lambda: lookups.known, "it answered")
    assert list(await lookups.shown(store, ids(1))) == ids(1)
    assert len(api.asked) == 1


async def test_no_answer_at_all(
    store: Store, api: BlueskyApi, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is given up after a while."""
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.1)
    lookups = opened(api, stack)
    api.held.clear()
    assert await lookups.shown(store, ids(1)) == {}
    assert lookups.trouble.endswith("it does not answer")


async def test_without_redis_nothing_is_asked(
    store: Store, redis_server: RedisServer, api: BlueskyApi, lookups: Lookups
) -> None:
    """Its account is there."""
    redis_server.end()
    assert await lookups.shown(store, ids(1)) == {}
    assert api.asked == []


async def test_what_is_no_address_is_not_asked_for(
    store: Store, api: BlueskyApi, lookups: Lookups
) -> None:
    """Nor what is too much; the newest are asked for first."""
    for bad in (
        "",
        "/",
        "x/1",
        f"{DID}/1&uris=x",
        f"{DID}/1/2",
        f"{DID}/" + "x" * 99,
        "did:plc:ü/1",
    ):
        assert await lookups.shown(store, [bad]) == {}
    assert api.asked == []
    api.held.clear()
    waiting = asyncio.create_task(lookups.shown(store, ids(*range(2 * MOST_WANTED))))
    await eventually(lambda: api.asked, "a request")
    assert len(lookups.wanted) == MOST_WANTED
    assert api.uris[-1] == URI.format(DID, 2 * MOST_WANTED - 1)
    waiting.cancel()


def test_how_long_to_rest() -> None:
    """In the forms that servers have for it."""
    assert wait_of({"Retry-After": "7", "RateLimit-Reset": "9"}, 0) == 7
    assert wait_of({"RateLimit-Reset": "90"}, 60) == 30
    assert wait_of({"RateLimit-Reset": "50"}, 60) == 1
    assert wait_of({"Retry-After": "soon", "RateLimit-Reset": "-1"}, 0) is None


def test_an_answer_is_bounded() -> None:
    """No more posts than were asked for are read; other members are none of ours."""
    api = BlueskyApi()
    posts = [api.post(address_of(f"{DID}/{n}")) for n in range(99)]
    assert len(read_answer(json.dumps({"posts": posts, "x": 1}).encode())) == AT_ONCE
    with pytest.raises(NoAnswer):
        read_answer(b"null")


async def test_no_cookie_is_kept(store: Store, api: BlueskyApi, stack: AsyncExitStack) -> None:
    """Else a server could have us remember, and send, more with each answer."""
    lookups = Lookups(api.url.replace("127.0.0.1", "localhost"), Clock(), lambda: 5000.0)
    stack.push_async_callback(lookups.close)
    api.answers.append((200, {"Set-Cookie": "much=more"}, '{"posts": []}'))
    await lookups.shown(store, ids(1))
    assert api.asked and lookups.session
    assert list(lookups.session.cookie_jar) == []


async def test_a_stranger_who_posts_a_megabyte_hides_nobody_else(
    store: Store, api: BlueskyApi, lookups: Lookups, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is too long is not shown; the others are, and nothing rests."""
    monkeypatch.setattr(module, "WAIT_SECONDS", 20)
    monkeypatch.setattr(module, "PACE_MILLISECONDS", 1)
    for n in (3, 17):
        record = {"text": "x", "embed": {"alt": "x" * module.ANSWER_BYTES}}
        api.changed[URI.format(DID, n)] = {"record": record}
    found = await lookups.shown(store, ids(*range(AT_ONCE)))
    assert sorted(found) == sorted(set(ids(*range(AT_ONCE))) - set(ids(3, 17)))
    assert (lookups.rests_until, lookups.trouble) == (0.0, "")
    asked = len(api.asked)
    assert await lookups.shown(store, ids(3)) == {} and len(api.asked) == asked
    await lookups.shown(store, ids(*range(100, 100 + AT_ONCE)))
    await lookups.shown(store, ids(*range(200, 200 + AT_ONCE)))
    assert len(api.asked[-1]) > 1, "more at once again"
