"""The atomic commit and the subscription, against real servers."""

import asyncio
import random
import re
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import stored as past_our_code
from redis.asyncio import Redis
from servers import RedisServer

from app.messages import SourceState, Tick, dumps
from app.store import keys
from app.store.keys import LEASE, LOG, SCHEMA, STATE, TICKS
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
