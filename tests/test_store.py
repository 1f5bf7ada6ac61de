"""The atomic commit and the subscription, against real servers."""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from servers import RedisServer, eventually

from app.messages import Tick
from app.store import (
    LOG,
    NAMES,
    SOURCES,
    SPELLINGS,
    STATE,
    TICKS,
    TOTALS,
    State,
    Store,
    StoreLost,
    connect,
)  # fmt: skip


@pytest.fixture
async def server(redis_binary: str, tmp_path: Path) -> AsyncIterator[RedisServer]:
    with RedisServer(redis_binary, tmp_path / "redis") as started:
        yield started


@pytest.fixture
async def store(server: RedisServer) -> AsyncIterator[Store]:
    redis = connect(server.url)
    yield Store(redis)
    await redis.aclose()


def tick(increments: dict[str, dict[str, int]] | None = None, **changes: Any) -> dict[str, Any]:
    return {
        "at": 1_700_000_000_000,
        "tick": 0.5,
        "tracked": ["science", "サッカー"],
        "increments": increments or {},
        "spellings": {},
        "cursors": {},
        "sources": {"x": "live"},
        "details": {"x": {"since": 1, "reason": "ok"}},
        **changes,
    }


async def commit(store: Store, seen: State, name: str, posts: int = 0, **changes: Any) -> State:
    increments = {"science": {"x": posts}} if posts else {}
    return await store.commit(seen, name, tick(increments, **changes))


async def keys(redis: "Redis[Any]") -> dict[bytes, bytes]:
    """Everything that is stored, byte for byte."""
    return {key: await redis.dump(key) for key in sorted(await redis.keys())}


async def test_a_commit_stores_totals_cursors_log_and_publishes(store: Store) -> None:
    """All of a tick is in Redis afterwards, and the same tick goes over the channel."""
    pubsub = store.redis.pubsub()
    await pubsub.subscribe(TICKS)
    await pubsub.get_message(timeout=5)
    state = await store.commit(
        State(), "a", tick({"science": {"x": 2, "bluesky": 1}}, cursors={"bluesky": "77"})
    )
    assert state == State("1", "a", ("a",), {"bluesky": "77"})
    assert await store.load() == state
    assert await store.redis.hgetall(TOTALS) == {b"science": b"3"}
    assert await store.redis.hgetall(SOURCES) == {b"science x": b"2", b"science bluesky": b"1"}
    message = await pubsub.get_message(timeout=5)
    assert message
    [logged] = await store.ticks_after("")
    assert Tick.from_json(message["data"]) == logged
    assert logged.counts == {"science": 3, "サッカー": 0}
    assert logged.by_source == {"science": {"x": 2, "bluesky": 1}, "サッカー": {"x": 0}}
    assert (logged.previous, logged.at, logged.seconds) == ("", 1_700_000_000_000, 0.5)
    await pubsub.aclose()


async def test_the_commonest_spelling_is_shown(store: Store) -> None:
    """Over all commits; one that nobody used yet has its owner's, or else its key."""
    first = await store.commit(
        State(), "a", tick(spellings={"science": {"Science": 2, "SCIENCE": 1}})
    )
    second = await store.commit(first, "b", tick(spellings={"science": {"SCIENCE": 1}}))
    typed = {"science": "sCiEnCe", "サッカー": "ｻｯｶｰ"}
    third = await store.commit(
        second, "c", tick(spellings={"science": {"SCIENCE": 1}}, typed=typed)
    )
    assert third.commit == "c"
    names = [t.names["science"] for t in await store.ticks_after("")]
    assert names == ["Science", "Science", "SCIENCE"]
    names = [t.names["サッカー"] for t in await store.ticks_after("")]
    assert names == ["サッカー", "サッカー", "ｻｯｶｰ"]


async def test_a_repeated_commit_counts_once(store: Store) -> None:
    """A commit whose answer was lost is made again under its name: nothing changes."""
    first = await commit(store, State(), "a", 2)
    before = await keys(store.redis)
    assert await commit(store, State(), "a", 2) == first
    assert await keys(store.redis) == before


async def test_a_commit_on_another_state_changes_nothing(store: Store) -> None:
    """A wrong version, or the right number after a different commit, is refused."""
    stored = await commit(store, State(), "a", 2)
    before = await keys(store.redis)
    for seen in (State(), State("2", "a"), State("1", "b"), State("junk", "a")):
        assert await commit(store, seen, "late", 5) == stored
    assert await keys(store.redis) == before


async def test_each_tick_names_the_one_before(store: Store) -> None:
    """So that a gap is seen at once."""
    state = State()
    for name in "abc":
        state = await commit(store, state, name)
    ticks = await store.ticks_after("")
    assert [t.previous for t in ticks] == ["", ticks[0].id, ticks[1].id]
    assert await store.ticks_after(ticks[0].id) == ticks[1:]


async def test_large_totals_stay_whole_numbers(store: Store) -> None:
    """Lua would write 10**15 as 1e+15."""
    await store.redis.hset(TOTALS, "science", 10**15)
    await commit(store, State(), "a", 1, at=10**15)
    [logged] = await store.ticks_after("")
    assert logged.counts["science"] == 10**15 + 1
    assert logged.at == 10**15


async def test_the_log_forgets_what_is_older_than_15_minutes(
    store: Store, server: RedisServer
) -> None:
    """Entries older than the cap go, in whole nodes: at most a hundred linger."""
    for n in range(300):
        await store.redis.xadd(LOG, {"tick": "{}"}, id=f"{n + 1}-0")
    await commit(store, State(), "a")
    assert await store.redis.xlen(LOG) <= 101


@pytest.mark.parametrize("key", [TOTALS, SOURCES, STATE, LOG])
async def test_a_key_of_another_type_is_named_and_left_alone(store: Store, key: str) -> None:
    """Foreign data under one of our keys: one sentence, nothing changed, nothing half done."""
    await store.redis.set(key, "mine")
    before = await keys(store.redis)
    with pytest.raises(StoreLost, match=rf"Redis: the Redis key {key} is a string, expected a"):
        await commit(store, State(), "a", 1)
    assert await keys(store.redis) == before


@pytest.mark.parametrize(
    ("key", "field"), [(TOTALS, "science"), (TOTALS, "サッカー"), (SOURCES, "science x")]
)
async def test_a_total_that_is_no_number_is_named_and_left_alone(
    store: Store, key: str, field: str
) -> None:
    """Also when it is the last of several that would be counted up."""
    await store.redis.hset(key, field, "many")
    before = await keys(store.redis)
    with pytest.raises(StoreLost, match="is not a whole number"):
        await store.commit(State(), "a", tick({"science": {"a": 1, "x": 1}, "サッカー": {"x": 1}}))
    assert await keys(store.redis) == before


async def test_a_total_with_leading_zeros_is_not_ours(store: Store) -> None:
    """HINCRBY would fail on it in the middle of the writes, and JSON has no such number."""
    await store.redis.hset(TOTALS, "サッカー", "007")
    before = await keys(store.redis)
    with pytest.raises(StoreLost, match="is not a whole number"):
        await store.commit(State(), "a", tick({"science": {"x": 1}, "サッカー": {"x": 1}}))
    assert await keys(store.redis) == before


async def test_a_full_or_read_only_redis_changes_nothing(store: Store) -> None:
    """Out of memory, and a replica: the error is a sentence, and no part of the tick is in."""
    state = await commit(store, State(), "a", 1)
    before = await keys(store.redis)
    await store.redis.config_set("maxmemory", "1")
    with pytest.raises(StoreLost, match=r"OOM|memory"):
        await commit(store, state, "b", 1)
    await store.redis.config_set("maxmemory", "0")
    await store.redis.execute_command("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(StoreLost, match="read only"):
        await commit(store, state, "b", 1)
    await store.redis.execute_command("REPLICAOF", "NO", "ONE")
    assert await keys(store.redis) == before
    assert (await commit(store, state, "b", 1)).commit == "b"


async def test_a_redis_that_forgot_the_script_is_told_it_again(store: Store) -> None:
    """NOSCRIPT, after a restart or a SCRIPT FLUSH, is no failure."""
    state = await commit(store, State(), "a", 1)
    await store.redis.script_flush()
    assert (await commit(store, state, "b", 1)).version == "2"


async def test_commits_against_a_model(store: Store) -> None:
    """Two writers with right, stale and invented states, against five lines of Python."""
    chance = random.Random(7)
    model: Counter[str] = Counter()
    version, name, seen = 0, "", [State(), State()]
    for n in range(400):
        writer = chance.randrange(2)
        state = chance.choice([seen[writer], seen[1 - writer], State("3", "c3"), State()])
        posts = {
            tag: {"x": chance.randrange(1, 4)}
            for tag in chance.sample(["science", "サッカー"], chance.randrange(3))
        }
        seen[writer] = await store.commit(state, f"c{n}", tick(posts))
        if (state.version, state.commit) == (str(version), name):
            version, name = version + 1, f"c{n}"
            model.update({tag: parts["x"] for tag, parts in posts.items()})
        assert (seen[writer].version, seen[writer].commit) == (str(version), name)
    stored = {k.decode(): int(v) for k, v in (await store.redis.hgetall(TOTALS)).items()}
    assert version > 50
    assert stored == dict(model)


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
        await store.redis.config_set("maxmemory", "0")
        entry = (await store.ticks_after(""))[-1]
        lost = '{"previous":"%s","at":2,"tick":0.5,"counts":{},"by_source":{},"names":{},"sources":{},"details":{}}'
        await store.redis.xadd(LOG, {"tick": lost % entry.id})
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


async def test_a_redis_that_lost_everything_is_followed_from_its_new_beginning(
    store: Store,
) -> None:
    """After FLUSHALL and a dropped connection the next ticks are heard, though ids begin anew."""
    state = await commit(store, State(), "a", 5)
    async with hearing(store) as heard:
        await store.redis.flushall()
        assert await store.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub") == 1
        assert await commit(store, state, "b") == State()
        await commit(store, State(), "c", 1)
        await eventually(lambda: count(heard) == 2, "the new tick is heard")
    assert [t.counts["science"] for t in heard if t] == [5, 1]


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
        await store.redis.xdel(LOG, forgotten)
        state = states[-1]
        for n in range(ticks_before):
            state = await commit(store, state, f"e{n}")
        await store.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await eventually(lambda: count(heard) >= 4 + 3 + ticks_before, "the log is read again")
        log = await store.ticks_after("")
        assert [t for t in heard if t][-len(log) :] == log
        assert forgotten not in [tick.id for tick in log]


async def test_a_hung_redis_is_noticed(store: Store, server: RedisServer) -> None:
    """SIGSTOP: no error ever comes from the socket, so silence must raise."""
    impatient = Store(Redis.from_url(server.url, socket_timeout=0.3))
    heard = impatient.follow("", silence=0.2)
    assert await anext(heard) is None
    server.signal(signal.SIGSTOP)
    try:
        with pytest.raises(StoreLost):
            await anext(heard)
    finally:
        server.signal(signal.SIGCONT)
    await impatient.redis.aclose()


async def test_many_hashtags_are_kept_in_a_table(store: Store) -> None:
    """Redis would look through a list of up to 512 fields for each of them: a commit of 500
    hashtags would take four times as long."""
    many = [f"tag{n}" for n in range(100)]
    state = State()
    for name in ("a", "b"):
        increments = {tag: {"x": 1} for tag in many}
        spellings = {tag: {tag.title(): 1} for tag in many}
        state = await store.commit(
            state, name, tick(tracked=many, increments=increments, spellings=spellings)
        )
    for key in (TOTALS, SOURCES, SPELLINGS, NAMES):
        assert await store.redis.object("ENCODING", key) == b"hashtable"
        assert await store.redis.hlen(key) == len(many)
