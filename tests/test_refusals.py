"""What Redis refuses: keys of another type, no room, rights and passwords that are missing."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from servers import RedisServer, eventually
from test_following import count, hearing
from test_store import commit, everything, made
from test_store import server as server
from test_store import store as store

from app.store import keys
from app.store.keys import LEASE, LOG, STATE, STATES
from app.store.state import State, Write
from app.store.store import Store, StoreLost, connect

WRITES = {
    "hash": Write("hash", "{hashtag}:hour:1:x", ["a"], ["b"], 2**31),
    "forget": Write("forget", "{hashtag}:totals:y", ["a"]),
    "set": Write("set", "{hashtag}:seen:x:1", (), ["a"], 2**31),
    "string": Write("string", "{hashtag}:popular", (), ["a"], 2**31),
}


@pytest.mark.parametrize("key", [STATE, LOG, LEASE, STATES, keys.totals("x"), *WRITES])
async def test_a_key_of_another_type_is_named_and_left_alone(store: Store, key: str) -> None:
    """Foreign data under one of our keys, be it the last: one sentence, nothing half done."""
    last = [WRITES[key]] if key in WRITES else []
    key = last[0].key if last else key
    await store.redis.rpush(key, "mine")
    before = await everything(store.redis)
    writes = [Write("hash", f"other:{n}", ["a"], ["b"]) for n in range(50)]
    writes += [Write("hash", keys.totals("x"), ["science"], ["1 1"]), *last]
    with pytest.raises(StoreLost, match=rf"Redis: the Redis key {key} is a list, expected a"):
        await store.commit(State(), made(State(), "a", writes=writes), "the test")
    assert await everything(store.redis) == before
    assert key == LEASE or not await store.writer()


@pytest.mark.parametrize("key", [STATE, keys.totals("x"), keys.hour(1, "x")])
async def test_a_key_of_another_type_is_named_by_who_reads_it(store: Store, key: str) -> None:
    """Each method says which one it is, though it asks for several at once."""
    await store.redis.rpush(key, "mine")
    sentence = f"^Redis: the Redis key {key} is of another type than ours.$"
    wanted = {keys.totals("y"): ["a"], keys.totals("x"): ["a"], keys.hour(1, "x"): ["a"] * 500}
    with pytest.raises(StoreLost, match=sentence):
        await store.read(wanted)
    with pytest.raises(StoreLost, match=sentence):
        await store.lengths([keys.totals("y"), key])
    with pytest.raises(StoreLost, match=sentence):
        await store.members([keys.seen("y", 1), key])
    with pytest.raises(StoreLost, match=sentence):
        await store.scan(key, 0, 10)
    with pytest.raises(StoreLost, match=sentence):
        await store.text(key)


async def test_a_full_or_read_only_redis_changes_nothing(store: Store) -> None:
    """Out of memory, and a replica: the error is a sentence, and no part of the tick is in."""
    state = await commit(store, State(), "a", 1)
    before = await everything(store.redis)
    await store.redis.config_set("maxmemory", "1")
    full = "^Redis: it is full, so nothing more can be counted: raise its maxmemory.$"
    with pytest.raises(StoreLost, match=full):
        await commit(store, state, "b", 1)
    await store.redis.config_set("maxmemory", "0")
    await store.redis.execute_command("REPLICAOF", "127.0.0.1", "1")
    read_only = "^Redis: it is a read only replica: REDIS_URL must name the primary.$"
    with pytest.raises(StoreLost, match=read_only):
        await commit(store, state, "b", 1)
    await store.redis.execute_command("REPLICAOF", "NO", "ONE")
    assert await everything(store.redis) == before
    assert (await commit(store, state, "b", 1)).commit == "b"


RIGHTS = (
    "on",
    ">pw",
    "~{hashtag}:*",
    "resetchannels",
    "&{hashtag}:*",
    "+@all",
    "-@dangerous",
    "+info",
)
"""Those of docs/operating.md, of a user who has no others."""
OWN, CHANNEL = "~{hashtag}:*", "&{hashtag}:ticks"
TAKEN = [
    *((f"-{name}", f"+{name}") for name in ("set", "hset", "hdel", "xadd", "xtrim", "expireat",
      "hget", "hmget", "time", "evalsha", "hgetall", "multi", "exec")),
    ("-publish", f"+publish or {CHANNEL}"), ("resetchannels", f"+publish or {CHANNEL}"),
    ("resetkeys", OWN),
]  # fmt: skip


@asynccontextmanager
async def as_user(server: RedisServer, *rights: str) -> AsyncIterator[Store]:
    """The store as a user with these rights."""
    admin = connect(server.url)
    await admin.execute_command("ACL", "SETUSER", "pulse", "reset", *RIGHTS, *rights)
    await admin.aclose()
    redis = connect(f"redis://pulse:pw@127.0.0.1:{server.port}")
    try:
        yield Store(redis)
    finally:
        await redis.aclose()


async def test_a_user_with_the_rights_of_the_readme_may_do_all(
    store: Store, server: RedisServer
) -> None:
    """Committing, reading, following, and whatever else a Store can do."""
    async with as_user(server) as limited, hearing(limited) as heard:
        state = await limited.commit(State(), made(State(), "a", {"science": 1}), "the test")
        told = made(state, "b", {"science": 2}, states={"sources": "{}"})
        assert (await limited.commit(state, told, "the test")).commit == "b"
        await eventually(lambda: count(heard) == 2, "the ticks are heard")
        assert await limited.take_lease("x", 1) is False
        await limited.bound_lease(5)
        await limited.give_lease("the test")
        assert await limited.spend("x 2026-01-01", "reader", 1, 1, 10) == 10
        await limited.scan(keys.totals("x"), 0, 10)
        await limited.lengths([keys.totals("x")])
        await limited.members([keys.seen("x", 1)])
        assert await limited.states_since(0)
        assert (await limited.about())["role"] == "master"


@pytest.mark.parametrize(("taken", "missing"), TAKEN)
async def test_a_right_that_is_missing_is_named_and_nothing_is_written(
    store: Store, server: RedisServer, taken: str, missing: str
) -> None:
    """Without XADD a commit left its totals and no state, so that they were counted twice; without
    the channel it was stored, and no page ever heard of it."""
    state = await commit(store, State(), "a", 1)
    before = await everything(store.redis)
    sentence = rf"^Redis: its user lacks the right {re.escape(missing)} \(see ACL SETUSER\)\.$"
    async with as_user(server, taken) as limited:
        with pytest.raises(StoreLost, match=sentence) as lost:
            await limited.load()  # first of all, as the ingester does
            await limited.commit(state, made(state, "b", {"science": 2}), "the test")
    assert lost.value.public == str(lost.value)
    assert await everything(store.redis) == before


@pytest.mark.parametrize(
    ("taken", "missing"), [("-subscribe", "+subscribe"), ("resetchannels", CHANNEL)]
)
async def test_a_right_that_a_reader_lacks_is_named(
    server: RedisServer, taken: str, missing: str
) -> None:
    """And it goes on by itself when the right is given."""
    async with as_user(server, taken) as limited:
        with pytest.raises(StoreLost, match=re.escape(f"lacks the right {missing} (")):
            await anext(limited.follow("", silence=1))
        async with as_user(server):
            following = limited.follow("", silence=1)
            assert await anext(following) is None
            await following.aclose()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("who", "says"),
    [("pulse:wrong@", "does not take the password"), ("nobody:pw@", "does not take the password"),
     ("", "asks for the password")],
)  # fmt: skip
async def test_a_password_that_is_wrong_or_missing_names_the_setting(
    store: Store, server: RedisServer, who: str, says: str
) -> None:
    """To everybody else no more is told than that Redis refuses."""
    await store.redis.config_set("requirepass", "pw")
    redis = connect(f"redis://{who}127.0.0.1:{server.port}")
    with pytest.raises(StoreLost, match=f"^Redis: it {says} of REDIS_URL.$") as lost:
        await Store(redis).load()
    assert lost.value.public == "Redis refuses what it is asked."
    await redis.aclose()
