"""Following the ticks: the log first, then each as it happens, whatever becomes of Redis."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest
from redis.asyncio import Redis
from servers import RedisServer, eventually
from test_store import AT, commit, tick
from test_store import server as server
from test_store import store as store

from app.messages import Tick, dumps
from app.store.keys import LOG, STATE, TICKS
from app.store.state import State
from app.store.store import Store, StoreLost


@asynccontextmanager
async def hearing(store: Store) -> AsyncIterator[list[Tick | None]]:
    """What follow() yields, in a list, from when it has read the log; it comes back when lost."""
    heard: list[Tick | None] = []

    async def listen() -> None:
        while True:
            last = next((tick.id for tick in reversed(heard) if tick), "")
            with suppress(StoreLost):
                async for tick in store.follow(last, silence=0.2):
                    heard.append(tick)

    task = asyncio.create_task(listen())
    try:
        await eventually(lambda: None in heard, "the subscription stands")
        yield heard
    finally:
        while not task.done():  # Python 3.11 can lose a cancel while redis-py writes
            task.cancel()
            await asyncio.wait([task], timeout=1)


def count(heard: list[Tick | None]) -> int:
    return sum(tick is not None for tick in heard)


async def test_following_gives_the_log_and_then_each_tick(store: Store) -> None:
    """What was there before, a None, then what happens, each once and in order."""
    state = await commit(store, State(), "a")
    async with hearing(store) as heard:
        for name in "bcd":
            state = await commit(store, state, name)
        await eventually(lambda: count(heard) == 4, "all ticks are heard")
    assert [t for t in heard if t] == await store.ticks_after("")


async def test_what_is_lost_on_the_channel_comes_from_the_log(store: Store) -> None:
    """A tick that was never published is filled in before the next one."""
    async with hearing(store) as heard:
        state = await commit(store, State(), "a")
        lost = await store.redis.xadd(LOG, {"tick": tick({}, previous=state.tick)})
        await store.redis.hset(STATE, "tick", lost)
        await commit(store, state, "b")
        await eventually(lambda: count(heard) == 3, "the lost tick is heard")
    ids = [t.id for t in heard if t]
    assert ids == [t.id for t in await store.ticks_after("")]


async def test_a_killed_subscription_loses_nothing(store: Store, server: RedisServer) -> None:
    """CLIENT KILL TYPE pubsub while ticks go on: each is heard once, in order."""
    async with hearing(store) as heard:
        state, killed = State(), 0
        for n in range(40):
            state = await commit(store, state, f"c{n}")
            if n % 10 == 5:
                killed += await store.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
                # ticks go on in the time that nobody is subscribed
                state = await commit(store, state, f"d{n}")
            await asyncio.sleep(0.01)
        assert killed >= 2
        await eventually(lambda: count(heard) == 44, "all ticks are heard")
    assert [t for t in heard if t] == await store.ticks_after("")


async def test_garbage_on_the_channel_is_skipped_and_counted(store: Store) -> None:
    """It neither ends the subscription nor makes us read the log."""
    async with hearing(store) as heard:
        calls = (await store.redis.info("commandstats"))["cmdstat_xrange"]["calls"]
        for garbage in (b"", b"{}", b"\xff\xfe", b'{"id":"9-9"}', b"x" * 100_000):
            await store.redis.publish(TICKS, garbage)
        await eventually(lambda: store.skipped == 5, "the garbage has come")
        after = (await store.redis.info("commandstats"))["cmdstat_xrange"]["calls"]
        await commit(store, State(), "a")
        await eventually(lambda: any(heard), "the tick is heard")
    assert after - calls <= 1  # the look after a silence, not one for each message


FORGED = ("4102444800000-0", "9999999999999-0", f"{2**64 - 1}-{2**64 - 1}", f"{'9' * 20}-0",
          f"1-{'9' * 20}", f"{'9' * 20}-{'9' * 20}")  # fmt: skip


@pytest.mark.parametrize("follows", [True, False])
async def test_a_tick_that_was_never_stored_is_not_believed(store: Store, follows: bool) -> None:
    """Who may publish may send ids of the future, and such as Redis itself refuses: after one of
    20 digits a web process never heard again, as long as it lived. Each is skipped and counted,
    whatever it says comes before it, the log is not read again, and nothing else is missed."""
    state = await commit(store, State(), "a")
    async with hearing(store) as heard:
        for n, id in enumerate(FORGED):
            calls = (await store.redis.info("commandstats"))["cmdstat_xrange"]["calls"]
            forged = tick({"science": 9**9}, id=id, previous=state.tick if follows else "")
            assert await store.redis.publish(TICKS, forged) == 1
            await eventually(lambda n=n: store.skipped == n + 1, "the forged one has come")
            after = (await store.redis.info("commandstats"))["cmdstat_xrange"]["calls"]
            assert after - calls <= 2, "a look after a silence, not one for each message"
            state = await commit(store, state, f"b{n}")
            await eventually(lambda n=n: count(heard) == n + 2, "the next one is heard")
    assert [t for t in heard if t] == await store.ticks_after("")


@pytest.mark.parametrize("id", ["its own", "another"])
async def test_a_tick_that_was_stored_otherwise_is_not_believed(store: Store, id: str) -> None:
    """Who may publish may be quicker than the ingester: with the id of the tick that is stored but
    not heard yet, or with one from before it. What is told is what was stored."""
    state = await commit(store, State(), "a")
    async with hearing(store) as heard:
        time, _, number = state.tick.partition("-")
        stored, before = f"{int(time) + 1}-0", f"{time}-{int(number) + 1}"
        forged = stored if id == "its own" else before
        async with store.redis.pipeline(transaction=True) as pipe:  # nobody looks in between
            pipe.xadd(LOG, {"tick": tick({"science": 5}, previous=state.tick)}, id=stored)
            pipe.hset(STATE, "tick", stored)
            pipe.publish(TICKS, tick({"science": 9**9}, id=forged, previous=state.tick))
            assert (await pipe.execute())[-1] == 1
        await eventually(lambda: store.skipped == 1, "the forged one has come")
        await commit(store, state, "b")
        await eventually(lambda: count(heard) == 3, "the stored one and the next are heard")
    assert [t for t in heard if t] == await store.ticks_after("")


async def test_a_long_log_is_read_a_page_at_a_time(store: Store) -> None:
    """What follows it holds no more of it at once, however long it is."""
    state = State()
    for n in range(100):
        state = await commit(store, state, f"c{n}")
    following = store.follow("", silence=5)
    await anext(following)
    asked = (await store.redis.info("commandstats"))["cmdstat_xrange"]["calls"]
    assert asked == 1
    for _ in range(99):
        assert await anext(following)
    assert await anext(following) is None
    await following.aclose()  # type: ignore[attr-defined]


OF_BEFORE = {
    "id": "1-1", "previous": "", "at": AT, "tick": 0.5, "counts": {"science": 5},
    "by_source": {"science": {"x": 5}}, "names": {"science": "Science"}, "sources": {"x": "live"},
    "details": {"x": {"since": 1, "reason": "ok"}}, "past": {},
}  # fmt: skip


async def test_a_tick_of_the_older_schema_is_skipped_and_counted(store: Store) -> None:
    """In the log and on the channel; what comes before and after it is heard."""
    state = await commit(store, State(), "a")
    await store.redis.xadd(LOG, {"tick": dumps(OF_BEFORE)})
    async with hearing(store) as heard:
        assert store.skipped == 1
        await store.redis.publish(TICKS, dumps(OF_BEFORE))
        await commit(store, state, "b")
        await eventually(lambda: count(heard) == 2 and store.skipped == 2, "two ticks are heard")


async def test_a_redis_that_lost_everything_is_followed_from_its_new_beginning(
    store: Store,
) -> None:
    """After FLUSHALL and a dropped connection the next ticks are heard, though ids begin anew."""
    state = await commit(store, State(), "a", 5)
    async with hearing(store) as heard:
        await store.redis.flushall()
        assert await store.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub") == 1
        assert replace(await commit(store, state, "b"), time=0) == State()
        await commit(store, State(), "c", 1)
        await eventually(lambda: count(heard) == 2, "the new tick is heard")
    assert [t.counts["science"] for t in heard if t] == [{"x": 5}, {"x": 1}]


@pytest.mark.parametrize("killed", [True, False])
async def test_a_log_that_began_anew_with_lower_ids_is_followed(store: Store, killed: bool) -> None:
    """Redis's clock was set back: the log's ids are lower than those that were heard."""
    ahead = await store.redis.xadd(LOG, {"tick": tick({}, previous="")}, id="9000000000000-0")
    await store.redis.hset(STATE, "tick", ahead)
    state = await commit(store, State(), "a", 1)
    assert state.tick == "9000000000000-1"
    async with hearing(store) as heard:
        assert count(heard) == 2
        state = await commit(store, state, "b", 1, oldest="")
        assert state.tick < "9"
        if killed:
            await store.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        state = await commit(store, state, "c", 1)
        await eventually(lambda: count(heard) == 4, "the log of now is heard")
        await commit(store, state, "d", 1)
        await eventually(lambda: count(heard) == 5, "and what follows it")
        await asyncio.sleep(0.5)
    assert [t for t in heard if t][2:] == await store.ticks_after("")


@pytest.mark.parametrize("ticks_before", [0, 2])
async def test_a_redis_that_came_back_older_is_read_from_its_beginning(
    store: Store, ticks_before: int
) -> None:
    """Also when it has newer ticks than the forgotten one by the time we are back, and also
    when we never lost the connection: its whole log is what pages are drawn from."""
    states = [State()]
    for name in "abcd":
        states.append(await commit(store, states[-1], name))
    async with hearing(store) as heard:
        forgotten = (await store.ticks_after(""))[-1].id
        state = states[-2]
        fields = {"version": state.version, "commit": state.commit, "tick": state.tick}
        await store.redis.xdel(LOG, forgotten)
        await store.redis.hset(STATE, mapping=fields)
        for n in range(ticks_before):
            state = await commit(store, state, f"e{n}")
        await store.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await eventually(lambda: count(heard) >= 4 + 3 + ticks_before, "the log is read again")
        log = await store.ticks_after("")
        assert [t for t in heard if t][-len(log) :] == log
        assert forgotten not in [tick.id for tick in log]


async def test_a_hung_redis_is_noticed(store: Store, server: RedisServer) -> None:
    """SIGSTOP: no error ever comes from the socket, so silence must raise."""
    impatient = Store(Redis.from_url(server.url, socket_timeout=1))
    heard = impatient.follow("", silence=0.2)
    assert await anext(heard) is None
    server.signal(signal.SIGSTOP)
    try:
        with pytest.raises(StoreLost):
            await anext(heard)
    finally:
        server.signal(signal.SIGCONT)
    await impatient.redis.aclose()
