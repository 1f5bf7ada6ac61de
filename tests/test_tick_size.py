"""Ticks of the worst hashtags that strangers can think of: no tick is longer than readers take."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
from servers import RedisServer
from writing import HOUR, DatedStore, Desk

from app.hashtags import named
from app.ingest.commits import Commits
from app.ingest.counter import MOST_BYTES, Counter
from app.messages import MINUTE, Post, SourceState
from app.sources import classes
from app.store import keys
from app.store.connection import LONGEST
from app.store.state import Commit, State
from app.store.store import Store, StoreLost, connect

NETWORKS = [network.name for network in classes()]


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[DatedStore]:
    redis = connect(redis_server.url)
    yield DatedStore(redis)
    await redis.aclose()


def quotes(n: int) -> str:
    """JSON takes two bytes for each of them."""
    return "\\" * 95 + f"A{n:04}"


def wide_quotes(n: int) -> str:
    """Three bytes each as they are written; they fold into what JSON takes two for."""
    return "＂" * 95 + f"A{n:04}"


def astral(n: int) -> str:
    """Four bytes each as they are written, and one in the key."""
    return "𝐀" * 95 + f"A{n:04}"


def expanding(n: int) -> str:
    """Three times as many letters in the key as are written, up to as many as one may have."""
    return "㍍" * 23 + f"A{n:04}"


def full(spelled: Callable[[int], str], past: bool, bytes: int, n: int) -> Counter:
    """A network has posts of it, 30 such hashtags each, until sources are told to wait, or there
    are so many bytes; the n-th is the first."""
    counter = Counter(frozenset())
    counter.begin(HOUR * 60)
    while not counter.is_full and counter.bytes < bytes:
        tags = named(spelled(n + m) for m in range(30))
        assert len(tags) == 30
        counter.add(Post(NETWORKS[0], "1", (HOUR * 60 - 1) * MINUTE, "author", tags), past=past)
        n += 30
    return counter


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("past", [False, True])
@pytest.mark.parametrize("spelled", [quotes, wide_quotes, astral, expanding])
async def test_the_size_of_a_tick_is_bounded_by_construction(
    store: DatedStore, spelled: Callable[[int], str], past: bool, again: bool
) -> None:
    """A commit that is full, as it is or made again of several, of hashtags that every network
    has counted, beside as many as one commit may forget: readers take 2 MiB."""
    desk = await Desk(store, most=100).open()
    desk.sources = {name: SourceState("down", 1, "x" * 300, True, 1) for name in NETWORKS}
    commits = Commits(State())
    for n in range(60 if again else 1):
        counter = full(spelled, past, MOST_BYTES // 20 if again else MOST_BYTES, n * 60)
        authors = desk.writer.people.hashed(counter.take_authored(), HOUR // 24)
        commits.again.append(replace(counter.cut(NETWORKS), authors=authors))
        desk.writer.spellings.add(counter.take_spellings(), 0)
    cut = commits.next_again()
    assert cut and bool(commits.again) == again, "as much as one commit may have"
    gone = {f"{n:04}" + '"' * 96: b"1 1" for n in range(5000)}
    await store.redis.hset(keys.totals(NETWORKS[0]), mapping=gone)  # type: ignore[arg-type]
    for other in NETWORKS[1:]:
        counted = dict.fromkeys((tag for _, _, tag, _ in cut.entries()), f"{10**15 - 1} {HOUR}")
        await store.redis.hset(keys.totals(other), mapping=counted)  # type: ignore[arg-type]
    desk.state = await desk.writer.write(cut, desk.state, desk.sources, 0.5, 10)
    assert desk.state.commit == cut.name
    [tick] = await store.ticks_after("")
    assert len(tick.gone) > 1000 and len(tick.counts) > 100
    assert all(len(counts) == len(NETWORKS) for counts in tick.counts.values())
    assert tick.people == dict.fromkeys(tick.counts, 0 if past else 1)
    assert max(map(len, tick.names.values())) <= 100
    [entry] = await store.redis.xrange(keys.LOG)
    assert len(entry[1][b"tick"]) < 0.9 * LONGEST


async def test_the_script_refuses_a_tick_that_no_reader_would_take(store: DatedStore) -> None:
    """One sentence, before anything is written; what comes after it is stored as ever."""
    desk = await Desk(store).open()
    await desk.write({"x": {"a": 1}})
    before = {key: await store.redis.dump(key) for key in sorted(await store.redis.keys())}
    tick = '{"at":1,"seconds":1,"gone":["%s"]}' % ("x" * LONGEST)
    commit = Commit("c", tick, {"schema": "2"}, [], {}, "0")
    with pytest.raises(
        StoreLost, match=r"^Redis: the tick of 2097\d\d\d bytes is longer than readers take\.$"
    ):
        await Store.commit(store, desk.state, commit, "the test")
    assert before == {key: await store.redis.dump(key) for key in sorted(await store.redis.keys())}
    assert (await desk.write({"x": {"a": 1}})).counts == {"a": {"x": 2}}


async def test_the_longest_tick_that_the_script_takes_is_heard(store: DatedStore) -> None:
    """On the channel and in the log: the script's limit is below that of the readers."""
    heard = store.follow("", silence=5)
    assert await anext(heard) is None
    low, high = LONGEST - 10_000, LONGEST
    while high - low > 1:
        size = (low + high) // 2
        tick = '{"at":1,"seconds":1,"gone":["%s"]}' % ("x" * (size - 35))
        state = await store.load()
        fields = {"schema": "2", "version": f"2.{size}"}
        commit = Commit(f"c{size}", tick, fields, [], {}, "0")
        try:
            await Store.commit(store, state, commit, "the test")
            low = size
            told = await anext(heard)
            assert told and len(told.gone[0]) == size - 35
        except StoreLost:
            high = size
    assert LONGEST - 5_000 < low < LONGEST - 100
    assert len(await store.ticks_after("")) > 3
    await heard.aclose()  # type: ignore[attr-defined]
