"""X's stream and its counts, read again: after a stranger's commit, with an older Redis, without
backfill before, and by a process that was stopped."""

import asyncio
from typing import Any

import pytest
from network import Counting
from servers import START_SECONDS, RedisServer, eventually
from test_ingest import bring_back, copy
from test_x_backfill import FIRST, World
from test_x_backfill import world as world


async def test_a_strangers_commit_makes_x_be_read_again(
    world: World, redis_server: RedisServer
) -> None:
    """From the cursor in Redis: what was counted since is in X's counts."""
    other = Counting(redis_server)
    async with world.counting():
        await world.bring(100, *world.write(90))
        copied = await other.copy()
        await world.bring(200, *world.write(190, 191))
        assert await world.total() == 3
        world.time.free.clear()
        connects = world.api.connects
        await other.rewind(copied)
        await eventually(lambda: world.api.connects > connects, "X is connected to again")
        world.time.free.set()
        await world.reach(3)
    await other.aclose()
    assert world.api.fired == [], "two connections at once"


async def test_a_redis_that_came_back_older_is_filled_again(world: World) -> None:
    """From memory: what X told once is not asked for a second time."""
    world.write(-50_000, -10, -9)
    world.time.free.clear()
    async with world.counting():
        await world.bring(25, *world.write(24))
        old = await copy(world.store)
        world.time.free.set()
        await world.reach(4)
        await bring_back(world.store, old)
        await world.reach(4)
    minutes = await world.by_minute()
    assert {at: n for at, n in minutes.items() if at < 0} == {-50_040: 1, -60: 2}
    assert len(world.asked()) == 2
    assert world.api.connects == 1


async def test_a_bug_in_the_asking_ends_the_source_loudly(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must not die in silence beside a stream that goes on."""

    async def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("app.sources.x.minutes.CountsClient.minutes", broken)
    with pytest.raises(ZeroDivisionError):
        async with asyncio.timeout(START_SECONDS):
            async for _ in world.source().posts(""):
                pass


async def test_posts_that_were_counted_without_backfill_are_not_counted_again(
    world: World,
) -> None:
    """Switched on later, it begins then; switched off in between, it forgets where it was."""
    for at, switch, total in (
        (20, "false", 1),
        (1020, "true", 2),
        (2020, "false", 3),
        (3020, "true", 4),
    ):
        world.time.now = world.begin + float(at)
        async with world.counting(X_BACKFILL=switch):
            await world.bring(at + 200, *world.write(at + 100))
            await world.reach(total)
    assert world.asked() == []
    world.time.now = world.begin + 4000.0
    world.write(3800)
    async with world.counting():
        await world.reach(5)
    assert len(world.asked()) == 1


async def test_a_process_that_was_stopped_asks_for_what_it_may_have_missed(world: World) -> None:
    """The connection seems to stand, but X has long given us up."""
    async with world.counting() as source:
        await eventually(lambda: len(world.asked()) == 2, "the day before is asked for")
        world.time.free.clear()
        source.stall = 25.0
        world.write(150, 290)
        connects = world.api.connects
        world.time.now = world.begin + 300.0
        await eventually(lambda: world.api.connects > connects, "it is connected again")
        source.stall = 10_000.0  # here, time jumps when the source sleeps
        world.time.free.set()
        await world.reach(2)
    assert world.asked() == [*FIRST, (60, 300)]
