"""Secrets, and addresses inside: what is said of them, and to whom.

The owner, in the log and by `check`, reads scheme, host, port and path of an address; everybody
else the network's name alone; and a secret nobody at all. Before, `user:pa55@host` and `?token=`
of a source's URL, and Redis's host and port, reached every viewer and `/readyz`.
"""

import asyncio
import logging
import ssl
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import Field, fields
from typing import Any

import aiohttp
import pytest
from echoing import failing
from hypothesis import given
from hypothesis import strategies as st
from jetstream import Jetstream, Network
from mastodon_api import TOKEN, MastodonServer
from secret_settings import (
    HOLDERS,
    IN_HEADERS,
    SECRET,
    USER,
    has_secret,
    secret_settings,
    with_secret,
)
from servers import START_SECONDS, App, RedisServer, eventually
from x_server import TOKEN as X_TOKEN
from x_server import x_server

from app.messages import MinuteCount
from app.settings import Settings, SettingsError, read
from app.sources import Source, SourceLost, pick, public_reason
from app.sources.bluesky import Bluesky
from app.sources.mastodon import source as mastodon
from app.sources.x.counts import XCounts
from app.sources.x.stream import X
from app.store import connection
from app.store.store import Store, StoreLost, connect
from app.urls import showable


def test_every_setting_is_known_for_what_it_holds() -> None:
    """A new setting that takes a secret is one of those that all tests here feed, and is marked;
    one that takes any text is named in secret_settings.py as shown on purpose."""
    assert {"redis_url", "jetstream_url", "x_bearer_token"} <= {item.name for item in HOLDERS}
    for item in fields(Settings):
        marked = item.metadata["secret"] or item.metadata["address"]
        assert marked == (item in HOLDERS), item.name
        assert item.repr is not marked, item.name


@pytest.mark.parametrize("item", HOLDERS, ids=lambda item: item.name)
def test_a_wrong_value_is_not_quoted(item: Field[Any]) -> None:
    """Neither by the sentence nor by what stands behind it in a traceback."""
    value = with_secret(item)
    wrong = [
        f"{value} {value}",
        f"gopher://{USER}:{SECRET}@h",
        f"http://h:{value}@x/?{SECRET}",
        "ö@?" + value,
    ]
    refused = 0
    for text in wrong:
        try:
            read({item.name.upper(): text})
        except SettingsError as error:
            refused += 1
            assert not has_secret("".join(traceback.format_exception(error)))
    assert refused > 1


def test_settings_as_text_have_no_secret() -> None:
    """Nor has a source that was made with them."""
    chosen = read({**secret_settings("h", 1), "REDIS_URL": f"redis://{USER}:{SECRET}@h"})
    sources = [pick(name, chosen) for name in ("x", "bluesky", "mastodon")]
    assert not has_secret(f"{chosen} {chosen!r} {sources}")
    assert chosen.hide(f"a {SECRET}!") == "a (hidden)!"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://who:pa55@h.example:8443/api?token=pa55#pa55", "https://h.example:8443/api"),
        ("redis://:pa55@[::1]:6379/1", "redis://[::1]:6379/1"),
        ("unix://who:pa55@/run/redis.sock?db=1&password=pa55", "unix:///run/redis.sock"),
        ("wss://jetstream1.us-east.bsky.network", "wss://jetstream1.us-east.bsky.network"),
        ("https://who:pa/55@h", "(hidden)"),
        ("https://who/pa55@h", "https://who"),
        ("who:pa55@h", "(hidden)"),
        ("//[pa55", "(hidden)"),
        ("", "(hidden)"),
    ],
)
def test_an_address_is_shown_without_what_may_be_secret(address: str, shown: str) -> None:
    """Scheme, host, port and path; of what is no URL nothing."""
    assert showable(address) == shown


@given(st.text(), st.text())
def test_no_text_is_too_strange_to_be_shown(before: str, after: str) -> None:
    """What stands in place of a password, or after a question mark, is never in it."""
    assert SECRET not in showable(f"http://{before}:{SECRET}@h/?{after}={SECRET}") or "/" in before
    showable(before)


HOW = ("refused", "no such name", "silent", "closes", "tls",
       "200", "302", "307", "400", "401", "403", "404", "429", "500")  # fmt: skip
MORE = {"X_BACKFILL": "true"}
"""So that counts are asked for at once."""
MADE: dict[str, Callable[[Settings], Source]] = {
    "bluesky": lambda chosen: Bluesky(chosen, silence=0.2),
    "mastodon": lambda chosen: mastodon.Mastodon(chosen, silence=0.2),
    "x": lambda chosen: X(chosen, stall=0.2),
    "x counts": lambda chosen: XCounts(chosen, lambda: 1.8e9, stall=0.2),
}


async def lost(source: Source) -> SourceLost:
    """How its connection ends."""
    try:
        async with asyncio.timeout(START_SECONDS):
            async for message in source.posts(""):
                assert not isinstance(message, MinuteCount)
    except SourceLost as error:
        return error
    raise AssertionError("it ended without a word")


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(("name", "token"), [*((name, SECRET) for name in MADE), ("mastodon", "")])
async def test_a_source_that_fails_names_no_secret_and_to_viewers_no_address(
    name: str,
    token: str,
    how: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever the server repeats; the owner is told where it was, and a traceback has no more."""
    monkeypatch.setattr(mastodon, "PAGE_SECONDS", 0.2)
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(logging.getLogger("tweepy"), "level", logging.CRITICAL)  # as in main()
    async with failing(how) as (host, port):
        chosen = {**secret_settings(host, port, tls=how == "tls"), "MASTODON_TOKEN": token}
        source = MADE[name](read({**chosen, "HASHTAGS": "science", **MORE}))
        error = await lost(source)
    source.say(error.state, error.public, logged=str(error))
    trace = "".join(traceback.format_exception(error))
    assert not has_secret(f"{error!s} {error!r} {trace} {caplog.text} {source!r}")
    viewers = f"{error.public} {source.public_state()}"
    assert str(port) not in viewers and host not in viewers
    assert host in f"{error} {caplog.text}" or "answered" in str(error), "the owner is told where"


def certificate_of_another() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "Hostname mismatch, certificate is not valid for 'inner-host'."
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (certificate_of_another(), "its certificate: Hostname mismatch"),
        (aiohttp.InvalidURL(f"http://{USER}:{SECRET}@h"), "InvalidURL"),
        (aiohttp.ServerDisconnectedError(SECRET), "it closed the connection"),
        (aiohttp.ClientPayloadError(SECRET), "it closed the connection within an answer"),
        (ConnectionRefusedError(111, f"Connect call failed ('{SECRET}', 1)"), "Connection refused"),
        (SourceLost(f"{SECRET}: no", public="no"), "no"),
    ],
)
def test_what_an_error_says_of_itself_is_not_said_on(error: Exception, words: str) -> None:
    """In its place stands what it is."""
    assert public_reason(error) == words


def test_what_a_server_writes_is_said_to_the_owner_without_the_secret(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In a bad message, and in X's remarks within a stream; to viewers it is not said."""
    caplog.set_level(logging.INFO)
    x = X(read(secret_settings("127.0.0.1", 1)))
    x.skip(f"ValueError: b'your token is {SECRET}'")
    assert "your token is (hidden)" in caplog.text and not has_secret(caplog.text)
    with pytest.raises(SourceLost) as raised:
        x.hear({"title": "Disconnect", "detail": f"of {SECRET} at 10.0.0.1"}, b"")
    assert str(raised.value) == "X: Disconnect: of (hidden) at 10.0.0.1"
    assert raised.value.public == "X ended the stream"


async def test_an_address_with_a_user_and_a_query_is_used_with_both(stack: AsyncExitStack) -> None:
    """Where a token has the header that a user would have, the token is sent."""
    jetstream = await stack.enter_async_context(Jetstream(Network()))
    server = await stack.enter_async_context(MastodonServer())
    x = await stack.enter_async_context(x_server())
    x.connections.append(["close"])
    gateway = x.url.replace("//", f"//{USER}:{SECRET}@") + f"?token={SECRET}"
    chosen = {**secret_settings("127.0.0.1", jetstream.port), "HASHTAGS": "science"}
    source = Bluesky(read(chosen), silence=2.0)
    await lost(source)
    assert [query["token"] for query in jetstream.asked] == [SECRET]
    await lost(X(read({**chosen, "X_API_URL": gateway, "X_BEARER_TOKEN": X_TOKEN})))
    assert x.fired == ["close"] and {query for _, query, _ in x.asked} >= {f"token={SECRET}"}
    for token, sent in (("", f"Basic {IN_HEADERS}"), (TOKEN, f"Bearer {TOKEN}")):
        address = with_secret(field_of("mastodon_url"), port=server.port)
        server.stream_answers.append((500, {}, ""))
        server.timeline_answers.append((500, {}, ""))
        server.tokens.clear()
        await lost(mastodon.Mastodon(read({"MASTODON_URL": address, "MASTODON_TOKEN": token})))
        assert server.tokens == {sent}


def field_of(name: str) -> Field[Any]:
    return next(item for item in HOLDERS if item.name == name)


# what Redis and those who ask for it say

REDIS = ("refused", "no such name", "silent", "closes", "echoing redis", "wrong password")


@asynccontextmanager
async def redis_failing(how: str, server: RedisServer) -> AsyncIterator[tuple[str, int, str]]:
    """The host, port and URL of a Redis that fails like this, the URL with the secret in it."""
    if how == "wrong password":
        yield "127.0.0.1", server.port, f"redis://{USER}:{SECRET}@127.0.0.1:{server.port}/0"
        return
    async with failing(how) as (host, port):
        yield host, port, f"redis://{USER}:{SECRET}@{host}:{port}/0"


@pytest.mark.parametrize("how", REDIS)
async def test_a_redis_that_fails_names_no_secret_and_to_viewers_no_address(
    how: str, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that knows no AUTH says what it was asked, with the password: also that is not said."""
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.2)
    async with redis_failing(how, redis_server) as (host, port, url):
        store = Store(connect(url))
        with pytest.raises(StoreLost) as raised:
            await store.load()
        await store.redis.aclose()
    error = raised.value
    shown = f"{store.redis!r} {store.redis.connection_pool!r} {store.redis.connection_pool.make_connection()!r}"
    assert not has_secret("".join(traceback.format_exception(error)) + shown)
    assert error.public in ("Redis does not answer.", "Redis refuses what it is asked.")
    if how in ("refused", "no such name"):
        assert f"{host}:{port}" in str(error), "the owner is told where"


async def test_options_of_a_redis_url_are_not_quoted(start_app: Callable[..., App]) -> None:
    """Of one that redis-py does not know, or takes for another kind of value."""
    for option in (
        f"token={SECRET}",
        f"socket_timeout={SECRET}",
        f"health_check_interval={SECRET}",
        f"db={SECRET}",
    ):
        app = start_app("check", REDIS_URL=f"redis://{USER}:{SECRET}@127.0.0.1:1/?{option}")
        await eventually(lambda app=app: not app.running, f"it ends {app.output}")
        assert app.wait() == 1
        assert "REDIS_URL=(hidden): expected" in app.output
        assert not has_secret(app.output)
