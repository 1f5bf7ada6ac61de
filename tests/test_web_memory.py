"""The web process's memory has a bound, whatever Redis sends."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from servers import App, RedisServer, eventually, get
from test_failover import peak
from test_faults import FAST, subscribers
from test_store import commit

from app.store.connection import LONGEST, connect
from app.store.keys import LOG, TICKS
from app.store.state import State
from app.store.store import Store

TIMES = 8


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[Store]:
    redis = connect(redis_server.url)
    await redis.config_set("client-output-buffer-limit", "pubsub 0 0 0")
    yield Store(redis)
    await redis.aclose()


async def test_messages_of_many_megabytes_are_not_read(
    store: Store, redis_server: RedisServer, start_app: Callable[..., App]
) -> None:
    """Each ends the subscription as soon as it is too long, is said and counted, and no tick
    is missed."""
    web, now = await serving(store, redis_server, start_app)
    before = peak(web)
    for n in range(TIMES):
        subscribed = await subscribers(store)
        await store.redis.publish(TICKS, b'{"id":"' + b"9" * 64 * 2**20)
        await eventually(lambda gone=subscribed: ended(store, gone), "it gives the connection up")
        now = await commit(store, now, f"c{n}", 1)
        await eventually(lambda n=n: shows(web, n + 2), "the next tick comes all the same")
    assert peak(web) - before < 5 * LONGEST // 2**20
    assert f"more than {LONGEST} bytes" in web.output
    assert "skipped 4 messages in Redis so far" in web.output
    assert "Traceback" not in web.output


GARBAGE = {
    "JSON of very many lists": b"[[]" + b",[]" * (LONGEST // 3 - 2) + b"]",
    "JSON within JSON": b"[" * LONGEST,
    "no JSON": b"\xff" * LONGEST,
}


@pytest.mark.parametrize("text", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_as_long_as_is_read_takes_little_for_long(
    store: Store, redis_server: RedisServer, start_app: Callable[..., App], text: bytes
) -> None:
    """On the channel, and in the log."""
    web, now = await serving(store, redis_server, start_app)
    before = peak(web)
    # Redis, which would cut a subscriber that is a little behind with so much, is to wait for it
    await store.redis.config_set("client-output-buffer-limit", "pubsub 0 0 0")
    for _ in range(20):
        await store.redis.publish(TICKS, text)
    await eventually(lambda: "skipped 16 messages" in web.output, "they are read")
    for _ in range(20):
        await store.redis.xadd(LOG, {"tick": text})
    await store.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    await commit(store, now, "last", 1)
    await eventually(lambda: shows(web, 2), "the next tick comes all the same")
    assert "skipped 32 messages" in web.output
    assert peak(web) - before < 128


async def test_a_log_full_of_garbage_is_read_a_few_entries_at_a_time(
    store: Store, redis_server: RedisServer, start_app: Callable[..., App]
) -> None:
    """A hundred and sixty megabytes of it stand before the next tick."""
    web, now = await serving(store, redis_server, start_app)
    before = peak(web)
    for _ in range(80):
        await store.redis.xadd(LOG, {"tick": b"\xff" * LONGEST})
    await store.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    await commit(store, now, "last", 1)
    await eventually(lambda: shows(web, 2), "the next tick comes all the same")
    assert "skipped 64 messages" in web.output
    assert peak(web) - before < 100


async def serving(
    store: Store, server: RedisServer, start_app: Callable[..., App]
) -> tuple[App, State]:
    """A web process that has had a tick."""
    web = await asyncio.to_thread(start_app("web", REDIS_URL=server.url, **FAST).started)
    now = await commit(store, State(), "first", 1)
    await eventually(lambda: shows(web, 1), "the first tick comes")
    return web, now


async def shows(web: App, posts: int) -> bool:
    status, told = await get(f"{web.url}/api/counts")
    return status == 200 and told["counts"]["science"] == posts


async def ended(store: Store, before: set[str]) -> bool:
    return bool(before) and not before & await subscribers(store)
