"""A failover: the primary dies, and behind its address a replica is promoted that lacks the
last commits, as replication is asynchronous."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from judge import Judge, Ledger
from links import Link
from servers import App, Event, RedisServer, eventually, get
from test_faults import FAST, has
from test_ingest import Script, counted, ingesting, total
from world import kill, watched

from app.store.store import Store, connect


@pytest.fixture
async def lag(stack: AsyncExitStack, redis_server: RedisServer) -> Link:
    """The way from the primary to its replica."""
    return await stack.enter_async_context(Link(redis_server.port))


@pytest.fixture
async def replica(lag: Link, redis_binary: str, tmp_path: Path, ending: ExitStack) -> RedisServer:
    of = ("--replicaof", f"127.0.0.1 {lag.port}", "--repl-diskless-sync-delay", "0")
    return await asyncio.to_thread(
        lambda: ending.enter_context(RedisServer(redis_binary, tmp_path / "replica", *of))
    )


@pytest.fixture
async def redis_server(redis_binary: str, tmp_path: Path, ending: ExitStack) -> RedisServer:
    """The primary."""
    delay = ("--repl-diskless-sync-delay", "0")
    return ending.enter_context(RedisServer(redis_binary, tmp_path / "primary", *delay))


@pytest.fixture
async def address(stack: AsyncExitStack, redis_server: RedisServer) -> Link:
    """Where our processes believe their one Redis to be."""
    return await stack.enter_async_context(Link(redis_server.port))


@asynccontextmanager
async def reaching(server: RedisServer | Link) -> AsyncIterator[Store]:
    redis = connect(server.url)
    yield Store(redis)
    await redis.aclose()


@pytest.mark.parametrize("replays", [True, False])
async def test_a_promoted_replica_that_lacks_the_last_commits(
    redis_server: RedisServer,
    replica: RedisServer,
    lag: Link,
    address: Link,
    stack: AsyncExitStack,
    start_app: Callable[..., App],
    replays: bool,
) -> None:
    """What it lacks is counted again from memory; viewers get its past, then that with what was
    counted again, and every tick."""
    source, seen, ledger = Script("a", replays), [], Ledger()
    old, new, through = [
        await stack.enter_async_context(reaching(each)) for each in (redis_server, replica, address)
    ]
    web = await asyncio.to_thread(start_app("web", REDIS_URL=address.url, **FAST).started)
    async with ingesting(through, source) as ingester, watched(web, seen):
        source.give(4)
        await counted(old, 4)
        await eventually(partial(has, new, 4), "the replica has them")
        lag.dropping = True
        source.give(6)
        await counted(old, 10)
        assert lag.dropped
        assert await total(new) == 4
        await eventually(lambda: seen and seen[-1].data["counts"] == {"science": 10}, "it is seen")
        ledger.add(await old.ticks_after(""))
        kill(redis_server)
        address.redis_port = replica.port
        source.give(1)
        await eventually(lambda: "read only replica" in ingester.trouble, "it takes no writes yet")
        await eventually(lambda: seen[-1].data.get("counts") == {"science": 4}, "pages follow it")
        await new.redis.execute_command("REPLICAOF", "NO", "ONE")
        await counted(new, 11)
        await eventually(lambda: seen[-1].data.get("counts") == {"science": 11}, "it is seen")
    assert source.opened == [""], "no source was read again"
    ledger.add(await new.ticks_after(""))
    judge = Judge(ledger, ["science"]).read(seen)
    assert not judge.wrong
    assert judge.histories == 2


async def test_web_processes_can_follow_a_replica(
    redis_server: RedisServer, replica: RedisServer, start_app: Callable[..., App]
) -> None:
    """They only read: the log, the past and the ticks as they happen come from there as well; and
    while none come, where to look for an ingester is said."""
    ingester = start_app("ingest", REDIS_URL=redis_server.url, **FAST)
    web = await asyncio.to_thread(start_app("web", REDIS_URL=replica.url, **FAST).started)
    seen: list[Event] = []
    async with watched(web, seen):
        await eventually(lambda: len(seen) > 5, "ticks arrive")
    assert [event.name for event in seen[:6]] == ["counts"] * 6
    assert (await get(f"{web.url}/readyz"))[0] == 200
    status, told = await get(f"{web.url}/api/history?range=1h")
    assert status == 200 and any(total for _, total in told["series"]["science"])
    ingester.stop()
    sentence = "Redis: it is a replica, and no ingester counts at its primary."

    async def is_told() -> bool:
        return await get(f"{web.url}/readyz") == (503, {"error": sentence})

    await eventually(is_told, "why no tick comes")
