"""The day's ceiling on posts read from X: to the post, whatever ends and whatever fails."""

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from network import settings
from servers import ROOT, App, Process, RedisServer, eventually, get
from world import kill
from x_server import TOKEN, XServer, x_server
from x_source import Clock, line, until_lost, waiting

from app.sources import SourceLost
from app.sources.x.budget import AGAIN_SECONDS, DAY, Budget
from app.sources.x.stream import X
from app.store.keys import SPENT
from app.store.store import Store

NOON = 1_795_478_400.0


def budget(store: Store, ceiling: int, clock: Clock, **more: Any) -> Budget:
    return Budget(store, "x", ceiling, 0.005, clock, **more)


async def paid(store: Store) -> int:
    """What is written down, of all readers."""
    [day] = [key.decode() async for key in store.redis.scan_iter(f"{SPENT}:*")]
    return sum(int(posts) for posts in (await store.redis.hgetall(day)).values())


async def test_all_who_read_together_read_the_ceiling_and_not_one_more(store: Store) -> None:
    """Each post is paid for before it is read; at midnight the account is a new one."""
    clock = Clock(NOON)
    three, posts = [budget(store, 60, clock) for _ in range(3)], 0
    for one in three:
        await one.refill()
    readers = three.copy()
    while readers:
        for one in readers.copy():
            posts += 1
            try:
                await one.spend()
            except SourceLost as lost:
                assert (lost.state, lost.wait) == ("budget", DAY - NOON % DAY)
                readers.remove(one)
    assert posts == await paid(store) == 60
    clock.now += DAY
    for one in three:
        await one.refill()


async def test_a_connection_over_midnight_is_charged_to_both_days(store: Store) -> None:
    """The first post of the new day too."""
    clock = Clock(NOON)
    one = budget(store, 10, clock)
    await one.refill()
    for _ in range(4):
        await one.spend()
    clock.now += DAY
    for _ in range(9):
        await one.spend()
    with pytest.raises(SourceLost, match="budget reached"):
        await one.spend()


async def test_what_was_read_today_is_told(store: Store) -> None:
    """By all readers, and without what is only paid for; of a new day before anything is read."""
    clock = Clock(NOON)
    one, other = budget(store, 60, clock), budget(store, 60, clock, waiting=lambda: 7)
    assert one.read_today() == 0
    for reader, posts in ((one, 3), (other, 2)):
        await reader.refill()
        for _ in range(posts):
            await reader.spend()
    await other.give_back()
    await one.refill()
    assert one.read_today() == 3 + 2
    clock.now += DAY
    assert one.read_today() == other.read_today() == 0
    await one.refill()
    await one.spend()
    assert one.read_today() == 1


async def test_what_has_arrived_is_paid_for_together(store: Store) -> None:
    """One question to Redis for all that wait, and no more than the ceiling allows."""
    one = budget(store, 30, Clock(NOON), waiting=lambda: 19)
    await one.refill()
    assert one.paid == 20
    for _ in range(20):
        await one.spend()
    assert one.paid == 30
    assert await paid(store) == 30


async def test_a_clean_end_costs_nothing(store: Store) -> None:
    """What was paid for and not read is not charged, however many connections there were."""
    for _ in range(3):
        one = budget(store, 7, Clock(NOON))
        for _ in range(2):
            await one.refill()
            await one.spend()
            await one.give_back()
            await one.give_back()
    assert await paid(store) == 6
    one = budget(store, 7, Clock(NOON))
    await one.refill()
    with pytest.raises(SourceLost, match="budget reached"):
        await one.spend()


@pytest.mark.parametrize("refuses", [True, False])
async def test_while_redis_is_away_the_known_rest_may_be_read(
    store: Store, refuses: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the post, and it is written down afterwards; also where the answers alone are lost."""
    ask, asked = store.spending, 0

    async def lost(*arguments: Any, **more: Any) -> Any:
        nonlocal asked
        asked += 1
        if not refuses:
            await ask(*arguments, **more)
        raise TimeoutError("no answer")

    clock = Clock(NOON)
    one = budget(store, 100, clock)
    await one.refill()
    for _ in range(10):
        await one.spend()
    monkeypatch.setattr(store, "spending", lost)
    for _ in range(70):
        await one.spend()
        clock.now += AGAIN_SECONDS / 10
    assert 5 <= asked <= 8, "it may hang each time"
    monkeypatch.undo()
    clock.now += AGAIN_SECONDS
    await one.spend()
    assert await paid(store) == 82, "it is asked as soon as that may help"
    for _ in range(18):
        await one.spend()
    with pytest.raises(SourceLost, match="budget reached"):
        await one.spend()
    assert await paid(store) == 100


async def test_while_redis_is_away_the_ceiling_holds_too(
    store: Store, redis_server: RedisServer
) -> None:
    """Not one post more than was left when Redis was last heard."""
    one = budget(store, 30, Clock(NOON))
    await one.refill()
    kill(redis_server)
    for _ in range(29):
        await one.spend()
    with pytest.raises(SourceLost, match="budget reached"):
        await one.spend()


@pytest.mark.parametrize("fails", [False, True])
async def test_a_cancel_that_the_client_loses_ends_the_reading(
    store: Store, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """Else a source that is cancelled reads on beside the one that takes its place."""
    asked = asyncio.Event()

    async def deaf(*_: Any, **__: Any) -> int:
        asked.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        if fails:
            raise TimeoutError
        return 100

    monkeypatch.setattr(store, "spending", deaf)
    reading = asyncio.create_task(budget(store, 100, Clock(NOON)).refill())
    await asked.wait()
    reading.cancel()
    await asyncio.wait([reading])
    assert reading.cancelled()


async def test_what_one_connection_left_unread_is_not_paid_for_by_the_next(store: Store) -> None:
    """X charges for it or not; a kill -9 of the next leaves one post unread, as ever."""
    async with x_server() as api:
        goodbye = b'{"errors":[{"title":"operational-disconnect"}]}'
        api.connections.append([*script(0, 3), goodbye, *script(3, 50)])
        x = X(settings(("science",), x_api_url=api.url, x_bearer_token=TOKEN))
        x.store = store
        ids, lost = await until_lost(x)
        assert ("isconnect" in str(lost), len(ids)) == (True, 3)
        async with waiting(x):
            await eventually(lambda: api.connects == 2, "it is connected again")
            assert await paid(store) == 4


async def test_without_a_word_from_redis_nothing_is_read(
    store: Store, redis_server: RedisServer
) -> None:
    """Nobody knows what was read today, so X is not even asked."""
    kill(redis_server)
    async with x_server() as api:
        x = X(settings(("science",), x_api_url=api.url, x_bearer_token=TOKEN))
        x.store = store
        with pytest.raises(SourceLost, match="the budget is not known: Redis"):
            await anext(x.posts(""))
        assert not api.asked


READER = """
import asyncio, sys
from app.sources.x.budget import Budget
from app.store.store import Store, connect

async def main():
    one = Budget(Store(connect(sys.argv[1])), "x", int(sys.argv[2]), 0.005, lambda: 0)
    await one.refill()
    while True:
        sys.stdout.write("post\\n")
        sys.stdout.flush()
        await one.spend()

asyncio.run(main())
"""


async def test_a_kill_at_any_moment_leaves_at_most_one_post_unread(
    redis_server: RedisServer, tmp_path: Path, ending: ExitStack
) -> None:
    """Readers that write down each post they read, all but the last killed while they do."""
    posts, kills, ceiling = 0, 5, 3000
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = (sys.executable, "-c", READER, redis_server.url, str(ceiling))

    def started() -> Process:
        return ending.enter_context(Process(*command, cwd=tmp_path, env=env))

    for n in range(kills):
        reader = started()
        least = 50 * (n + 1)
        await eventually(lambda r=reader, m=least: r.output.count("post") > m, "it reads")
        kill(reader)
        posts += reader.output.count("post\n")
    last = started()
    await asyncio.to_thread(last.wait)
    assert "budget reached" in last.output
    posts += last.output.count("post\n")
    assert ceiling - kills <= posts <= ceiling


def script(begin: int, end: int) -> list[bytes]:
    return [line(n, "science") for n in range(begin, end)]


def chosen(
    api: XServer, redis: RedisServer, ceiling: int, backfill: str = "false"
) -> dict[str, Any]:
    return {
        "SOURCES": "x",
        "X_BEARER_TOKEN": TOKEN,
        "X_API_URL": api.url,
        "X_BACKFILL": backfill,
        "X_POSTS_PER_DAY": ceiling,
        "REDIS_URL": redis.url,
        "HASHTAGS": "science",
        "TICK_SECONDS": "0.1",
    }


@pytest.mark.parametrize("backfill", ["false", "true"])
async def test_the_ceiling_holds_through_a_kill(
    redis_server: RedisServer, start_app: Callable[..., App], backfill: str
) -> None:
    """kill -9 in the middle and a restart: together the ceiling is counted, but for the post
    that was paid for; a third start does not even connect."""
    async with x_server() as x:
        settings = chosen(x, redis_server, 120, backfill)
        x.connections.append(script(0, 40))
        first = start_app(**settings).started()
        await eventually(lambda: total(first, 40), "forty posts are counted")
        kill(first)
        x.connections.append(script(40, 1000))
        second = start_app(**settings).started()
        await eventually(lambda: state(second, "budget"), "the ceiling is reached")
        _, told = await get(f"{second.url}/api/counts")
        assert told["counts"]["science"] in (119, 120)
        assert told["details"]["x"]["reason"] == "budget reached until 00:00 UTC"
        assert "120 posts read today, about $0.60" in second.output
        connects = x.connects
        second.end()
        third = start_app(**settings).started()
        await eventually(lambda: state(third, "budget"), "the ceiling still holds")
        assert x.connects == connects, "a connect for nothing"


async def total(app: App, posts: int) -> bool:
    status, told = await get(f"{app.url}/api/counts")
    return status == 200 and told["counts"]["science"] == posts


async def state(app: App, wanted: str) -> bool:
    status, told = await get(f"{app.url}/api/counts")
    return status == 200 and told["sources"]["x"] == wanted
