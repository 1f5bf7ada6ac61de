"""The atomic commit and the subscription, against real servers."""

import asyncio
import random
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import stored as past_our_code
from redis.asyncio import Redis
from servers import RedisServer, eventually

from app.messages import SourceState, Tick, dumps
from app.store import keys
from app.store.keys import LEASE, LOG, SCHEMA, STATE, STATES, TICKS
from app.store.state import Commit, State, Write
from app.store.store import LeaseLost, Store, StoreLost, connect

AT = 1_700_000_000_000
HOUR = keys.hour_of(AT)


@pytest.fixture
async def server(redis_binary: str, tmp_path: Path) -> AsyncIterator[RedisServer]:
    with RedisServer(redis_binary, tmp_path / "redis") as started:
        yield started


@pytest.fixture
async def store(server: RedisServer) -> AsyncIterator[Store]:
    redis = connect(server.url)
    yield Store(redis)
    await redis.aclose()


def tick(counts: dict[str, int], **changes: Any) -> str:
    """A tick's JSON, as the ingester makes it, of what source x counted."""
    return dumps(
        {
            "at": AT,
            "seconds": 0.5,
            "counts": {tag: {"x": total} for tag, total in counts.items()},
            "sources": {"x": {"state": "live", "since": 1, "reason": "ok"}},
            **changes,
        }
    )


def made(seen: State, name: str, totals: dict[str, int] | None = None, **changes: Any) -> Commit:
    """A commit that writes these totals of source x; changes are fields of the Commit."""
    tags = list(totals or {})
    values = [f"{n} {HOUR}" for n in (totals or {}).values()]
    fields = {
        "name": name,
        "tick": tick(totals or {}),
        "state": {
            "schema": str(SCHEMA),
            "version": f"{SCHEMA}.{seen.number + 1}",
            "recent": " ".join([*seen.recent, name]),
            "networks": "x",
        },
        "writes": [Write("hash", keys.totals("x"), tags, values)] if tags else [],
        "oldest": "0",
    }
    return Commit(**{**fields, **changes})


async def commit(store: Store, seen: State, name: str, posts: int = 0, **changes: Any) -> State:
    """One tick with so many posts more with #science, of source x."""
    total = await past_our_code.total(store, "science") + posts
    return await store.commit(
        seen, made(seen, name, {"science": total} if posts else {}, **changes), "the test"
    )


async def everything(redis: "Redis[Any]") -> dict[bytes, bytes]:
    """All that is stored, byte for byte, but the lease, which each try holds anew."""
    return {k: await redis.dump(k) for k in sorted(await redis.keys()) if k != LEASE.encode()}


async def test_a_commit_stores_values_cursors_log_and_publishes(store: Store) -> None:
    """All of a tick is in Redis afterwards, and the same tick goes over the channel."""
    pubsub = store.redis.pubsub()
    await pubsub.subscribe(TICKS)
    await pubsub.get_message(timeout=5)
    commit = made(State(), "a", {"science": 3, "サッカー": 1})
    fields = {**commit.state, "cursor:x": "77", "seen:x": "5", "moved": "9", "sources": "told"}
    state = await store.commit(
        State(), replace(commit, state=fields, states={"sources": "told"}), "the test"
    )
    assert (state.version, state.commit, state.recent) == ("2.1", "a", ("a",))
    assert (state.cursors, state.seen, state.networks) == ({"x": "77"}, {"x": 5}, ("x",))
    assert (state.moved, state.states) == (9, "told")
    loaded = await store.load()
    assert replace(loaded, time=0) == replace(state, time=0)
    assert 0 <= loaded.time - state.time < 60_000
    assert await past_our_code.totals(store) == {"science": 3, "サッカー": 1}
    assert [entry for _, entry in await store.states_since(0)] == [{b"sources": b"told"}]
    assert await store.writer() == "the test"
    message = await pubsub.get_message(timeout=5)
    assert message
    [logged] = await store.ticks_after("")
    assert Tick.from_json(message["data"]) == logged
    assert logged.counts == {"science": {"x": 3}, "サッカー": {"x": 1}}
    assert logged.sources == {"x": SourceState("live", 1, "ok")}
    assert (logged.previous, logged.at, logged.seconds) == ("", AT, 0.5)
    assert logged.id == state.tick
    await pubsub.aclose()


async def test_each_kind_of_write_does_what_it_says(store: Store) -> None:
    """And a key is forgotten when the commit says so, by the hour that it holds."""
    ends = 2**31
    await store.redis.hset("old", mapping={"a": 1, "b": 2, "c": 3})
    await store.redis.sadd("dropped", "x")
    writes = [
        Write("hash", "h", ["a", "b"], [b"\xff\x00", b"2"], ends),
        Write("forget", "old", ["a", "c", "nobody"]),
        Write("set", "s", (), [b"\xff", b"\x00"], ends),
        Write("string", "t", (), ["text"], ends),
        Write("drop", "dropped"),
    ]
    await commit(store, State(), "a", writes=writes)
    redis = store.redis
    assert await redis.hgetall("h") == {b"a": b"\xff\x00", b"b": b"2"}
    assert await redis.hgetall("old") == {b"b": b"2"}
    assert await redis.smembers("s") == {b"\xff", b"\x00"}
    assert await redis.get("t") == b"text"
    assert not await redis.exists("dropped")
    for key in ("h", "s", "t"):
        assert await redis.expiretime(key) == ends
    assert await redis.ttl("old") == -1


async def test_a_commit_of_many_thousand_fields_is_stored_whole(store: Store) -> None:
    """Lua's stack would not take them at once."""
    names, values = zip(*[(f"tag{n}", f"{n} {HOUR}") for n in range(12_345)], strict=True)
    marks = [b"%d" % n for n in range(12_345)]
    writes = [
        Write("hash", keys.totals("x"), names, values),
        Write("set", keys.seen("x", 1), (), marks, 2**31),
        Write("forget", "nobody", [f"tag{n}" for n in range(5001)]),
    ]
    await commit(store, State(), "a", writes=writes)
    assert await past_our_code.totals(store) == {f"tag{n}": n for n in range(1, 12_345)}
    assert await store.redis.scard(keys.seen("x", 1)) == 12_345


async def test_texts_of_every_length_come_as_they_are(store: Store) -> None:
    """Names and values, with any bytes in them: MessagePack has a form for each length."""
    sizes = [0, 1, 31, 32, 255, 256, 65_535, 65_536]
    names = ["é" * (size // 2) + "n" * (size % 2) for size in sizes]
    values = [(bytes(range(256)) * (size // 256 + 1))[:size] for size in sizes]
    writes = [
        Write("hash", "h", names, values),
        Write("set", "s", (), values),
        Write("string", "t", (), [values[-1]]),
    ]
    await commit(store, State(), "a", writes=writes)
    expected = {name.encode(): value for name, value in zip(names, values, strict=True)}
    assert await store.redis.hgetall("h") == expected
    assert await store.redis.smembers("s") == set(values)
    assert await store.redis.get("t") == values[-1]


async def test_a_repeated_commit_counts_once(store: Store) -> None:
    """A commit whose answer was lost is made again under its name: nothing changes."""
    first = await commit(store, State(), "a", 2)
    before = await everything(store.redis)
    again = await commit(store, State(), "a", 2)
    assert replace(again, time=0) == replace(first, time=0)
    assert await everything(store.redis) == before


async def test_a_commit_on_another_state_changes_nothing(store: Store) -> None:
    """A wrong version, or the right number after a different commit, is refused."""
    stored = await commit(store, State(), "a", 2)
    before = await everything(store.redis)
    for seen in (State(), State("2.2", "a"), State("2.1", "b"), State("junk", "a")):
        answer = await commit(store, seen, "late", 5)
        assert replace(answer, time=0) == replace(stored, time=0)
    assert await everything(store.redis) == before


async def test_a_commit_without_the_lease_changes_nothing(store: Store) -> None:
    """Another one writes; its name is in the sentence. A commit holds the lease anew."""
    state = await commit(store, State(), "a", 2)
    assert 5000 < await store.redis.pttl(LEASE) <= 10_000
    before = await everything(store.redis)
    await store.redis.set(LEASE, "another")
    with pytest.raises(LeaseLost, match="LEASE is held by another"):
        await commit(store, state, "b", 1)
    assert await everything(store.redis) == before
    await store.redis.delete(LEASE)
    assert (await commit(store, state, "b", 1)).commit == "b"


async def test_each_tick_names_the_one_before(store: Store) -> None:
    """So that a gap is seen at once, also when the log began anew."""
    state = State()
    for name in "abc":
        state = await commit(store, state, name)
    ticks = await store.ticks_after("")
    assert [t.previous for t in ticks] == ["", ticks[0].id, ticks[1].id]
    assert await store.ticks_after(ticks[0].id) == ticks[1:]
    state = await commit(store, state, "d", oldest="")
    state = await commit(store, state, "e")
    anew = await store.ticks_after("")
    assert [t.previous for t in anew] == ["", anew[0].id]
    assert anew[1].id == state.tick


async def test_what_is_no_id_is_not_put_into_a_tick(store: Store) -> None:
    """Somebody wrote into our state: the tick can be read all the same."""
    state = await commit(store, State(), "a")
    await store.redis.hset(STATE, "tick", '","x":"')
    assert (await store.load()).tick == ""
    await commit(store, state, "b")
    assert [t.previous for t in await store.ticks_after("")] == ["", ""]


async def test_large_totals_stay_whole_numbers(store: Store) -> None:
    """Lua would write 10**14 as 1e+14."""
    large = 10**15 - 2
    await commit(store, State(), "a", large)
    await commit(store, await store.load(), "b", 1, tick=tick({"science": large + 1}, at=large))
    logged = (await store.ticks_after(""))[-1]
    assert logged.counts["science"] == {"x": large + 1}
    assert logged.at == large
    assert await past_our_code.total(store, "science") == large + 1


async def test_the_log_is_bounded_by_time(store: Store) -> None:
    """Entries older than the commit says go, in whole nodes: at most a hundred linger."""
    for n in range(300):
        await store.redis.xadd(LOG, {"tick": "{}"}, id=f"{n + 1}-0")
    await commit(store, State(), "a", oldest="1000")
    assert await store.redis.xlen(LOG) <= 101


async def test_the_log_is_bounded_by_number(store: Store) -> None:
    """Whatever the times of its entries are, which are the word of a clock."""
    pipe = store.redis.pipeline(transaction=False)
    for _ in range(keys.LOG_ENTRIES + 300):
        pipe.xadd(LOG, {"tick": "{}"})
    await pipe.execute()
    await commit(store, State(), "a", oldest="0")
    assert await store.redis.xlen(LOG) <= keys.LOG_ENTRIES + 101


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


async def test_a_redis_that_forgot_the_script_is_told_it_again(store: Store) -> None:
    """NOSCRIPT, after a restart or a SCRIPT FLUSH, is no failure."""
    state = await commit(store, State(), "a", 1)
    await store.redis.script_flush()
    assert (await commit(store, state, "b", 1)).version == "2.2"


async def test_values_are_those_of_the_state_s_tick(store: Store) -> None:
    """However many commits go on meanwhile, what is read together belongs together."""
    done = asyncio.Event()

    async def write() -> None:
        state = State()
        for n in range(200):
            state = await commit(store, state, f"c{n}", 1)
        done.set()

    writing, seen = asyncio.create_task(write()), 0
    while not done.is_set():
        state, values = await store.read({keys.totals("x"): ["science"]})
        if found := values.get(keys.totals("x")):
            assert keys.read_posts(found["science"])[0] == state.number
            seen += 1
    await writing
    assert seen > 20


async def test_commits_against_a_model(store: Store) -> None:
    """Two writers with right, stale and invented states, against five lines of Python."""
    chance = random.Random(7)
    model: Counter[str] = Counter()
    number, name, seen = 0, "", [State(), State()]
    for n in range(400):
        writer = chance.randrange(2)
        state = chance.choice([seen[writer], seen[1 - writer], State("2.3", "c3"), State()])
        posts = {
            tag: chance.randrange(1, 4)
            for tag in chance.sample(["science", "サッカー"], chance.randrange(3))
        }
        totals = {tag: model[tag] + more for tag, more in posts.items()}
        seen[writer] = await store.commit(state, made(state, f"c{n}", totals), "the test")
        if (state.version, state.commit) == (f"2.{number}" if number else "", name):
            number, name = number + 1, f"c{n}"
            model.update(posts)
        assert (seen[writer].number, seen[writer].commit) == (number, name)
    assert number > 50
    assert await past_our_code.totals(store) == dict(model)


@pytest.mark.parametrize(
    ("fields", "advice"),
    [
        ({"schema": "3", "version": "3.7"}, "its data has schema 3, .*: update this program"),
        ({"schema": "9" * 5000, "version": "9.1"}, "empty this Redis"),
        ({"version": "17", "commit": "a"}, "its data has schema 1, .*: empty this Redis"),
        ({"schema": "two", "version": "2.1"}, "its data has schema two, .*: empty this Redis"),
    ],
)
async def test_data_of_another_schema_is_refused_in_one_sentence(
    store: Store, fields: dict[str, str], advice: str
) -> None:
    """A newer one, and the one before this program's; whoever reads or commits hears it."""
    await store.redis.hset(STATE, mapping=fields)
    before = await everything(store.redis)
    sentence = f"^Redis: .*{advice}.*\\.$"
    with pytest.raises(StoreLost, match=sentence):
        await store.load()
    with pytest.raises(StoreLost, match=sentence):
        await store.commit(State(), made(State(), "b", {"science": 1}), "the test")
    assert await everything(store.redis) == before


async def test_a_program_of_the_version_before_refuses_our_data(store: Store) -> None:
    """It was made before there was a schema number, and commits only on a version that is a
    whole number: so ours is none."""
    await commit(store, State(), "a", 2)
    version = (await store.load()).version
    assert version == "2.1"
    assert not re.fullmatch(r"[1-9]\d*", version)


async def test_a_foreign_state_is_read_as_far_as_it_is_ours(store: Store) -> None:
    """Numbers that are none, or too long, count as not there."""
    long = "9" * 5000
    fields = {"schema": "2", "version": f"2.{long}", "moved": long, "seen:x": "٣", "tick": "junk"}
    await store.redis.hset(STATE, mapping={**fields, "seen:y": "7"})
    state = await store.load()
    assert (state.number, state.moved, state.tick) == (0, 0, "")
    assert state.seen == {"x": 0, "y": 7}
    await store.redis.hset(STATE, "networks", b"\xff")
    with pytest.raises(StoreLost, match=f"the Redis key {STATE} has bytes in it that are no text"):
        await store.load()


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
