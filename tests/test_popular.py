"""The most used hashtags, how they are written, and what was counted already: what of that is
remembered has a bound."""

import json
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers import RedisServer
from test_ingest import Script, counted, ingesting
from writing import HOUR, DatedStore, Desk

from app.ingest import popular as module
from app.ingest import spellings
from app.ingest.counter import Cut
from app.ingest.popular import Popular
from app.ingest.spellings import Spellings
from app.messages import MINUTE, Post, Tick
from app.retry import Backoff
from app.store import keys
from app.store.store import Store, StoreLost, connect


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[DatedStore]:
    redis = connect(redis_server.url)
    yield DatedStore(redis)
    await redis.aclose()


def best(popular: Popular, now: float = 1e9) -> list[list[object]]:
    popular.due = 0
    [write] = popular.write(now, str.upper)
    assert write.ends == int(now) + keys.POPULAR_SECONDS
    found: list[list[object]] = json.loads(write.values[0])
    return found


def test_the_most_used_of_the_last_day() -> None:
    """With how they are written; what is older, or of another clock's future, is forgotten."""
    popular = Popular()
    popular.count(Cut(100 * 60, {"x": {"old": 100}}))
    popular.count(Cut(101 * 60, {"x": {"a": 2, "b": 5}, "y": {"a": 4}}))
    assert best(popular) == [["old", "OLD", 100], ["a", "A", 6], ["b", "B", 5]]
    popular.count(Cut(125 * 60, {"x": {"a": 1}}, {"x": {101 * 60: {"b": 3}, 99 * 60: {"c": 9}}}))
    assert best(popular) == [["b", "B", 8], ["a", "A", 7]]
    popular.count(Cut(110 * 60, {"x": {"a": 1}}))
    assert sorted(popular.hours) == [101, 110]


def test_it_is_written_now_and_then() -> None:
    """Also when Redis's clock went back by a day."""
    popular = Popular()
    popular.count(Cut(60, {"x": {"a": 1}}))
    assert popular.write(1e9, str.upper)
    assert not popular.write(1e9 + module.WRITE_SECONDS - 1, str.upper)
    assert popular.write(1e9 + module.WRITE_SECONDS, str.upper)
    assert popular.write(1e9 - 86_400, str.upper)


def test_no_hour_has_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those with the fewest posts go, of late hours as well."""
    monkeypatch.setattr(module, "PRESENT_MOST", 10)
    monkeypatch.setattr(module, "OVER_MOST", 6)
    popular = Popular()
    tags = {f"t{n}": n for n in range(1, 12)}
    popular.count(Cut(100 * 60, {"x": tags}, {"x": {99 * 60: tags}}))
    assert popular.hours[100] == {f"t{n}": n for n in range(7, 12)}
    assert popular.hours[99] == {f"t{n}": n for n in range(9, 12)}


def test_no_hour_has_too_long_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted as they come, so that a flood of the longest hashtags takes no more room."""
    monkeypatch.setattr(module, "PRESENT_MOST", 100)
    popular = Popular()
    for n in range(500):
        popular.count(Cut(100 * 60, {"x": {f"{n:0100}": 1, "short": 1}}))
        assert popular.length == {100: sum(map(len, popular.hours[100]))}
        assert popular.length[100] <= 100 * module.LONGEST_NAMES
    assert len(popular.hours[100]) >= 10
    assert popular.hours[100]["short"] == 500


def test_the_list_is_bounded() -> None:
    """By number, and by bytes where names are long: every reader reads it whole."""
    popular = Popular()
    popular.count(Cut(60, {"x": {f"t{n}": n + 1 for n in range(6000)}}))
    assert [name for name, _, _ in best(popular)] == [f"t{n}" for n in range(5999, 999, -1)]
    popular = Popular()
    popular.count(Cut(60, {"x": {f"{n}" + "\ufdfa" * 1800: 1 for n in range(2000)}}))
    [write] = popular.write(1e9, str)
    assert 2**19 < len(write.values[0].encode()) < 2**20 + 20_000


async def test_after_a_restart_it_is_read_from_the_hours(store: DatedStore) -> None:
    """Of the present one, and of those that are kept."""
    desk = await Desk(store).open()
    await desk.write({"x": {"a": 3}, "y": {"a": 1}})
    await desk.later(60)
    await desk.write({"x": {"b": 2}})
    popular = Popular()
    await popular.recall(store, ("x", "y"), HOUR + 1)
    assert best(popular) == [["a", "A", 4], ["b", "B", 2]]
    assert json.loads(await store.text(keys.POPULAR)) == [["a", "a", 4]]
    assert await store.redis.ttl(keys.POPULAR) > 0


def test_the_commonest_spelling_of_the_last_hour_is_shown() -> None:
    """The key where nobody wrote it; half an hour is forgotten at a time."""
    known = Spellings()
    assert known.name_of("science") == "science"
    known.add({"science": {"Science": 2, "SCIENCE": 1}}, 30)
    assert known.name_of("science") == "Science"
    known.add({"science": {"SCIENCE": 2}}, 60)
    assert known.name_of("science") == "SCIENCE"
    known.add({"other": {"Other": 1}}, 90)
    known.add({"other": {"Other": 1}}, 120)
    assert known.name_of("science") == "science"


spelled = st.dictionaries(
    st.sampled_from(["a", "b\u200b", "c_"]),
    st.dictionaries(
        st.sampled_from(["a", "A", "b\u200b", "B", "#c_"]), st.integers(1, 3), min_size=1
    ),
)


@given(spelled, spelled)
def test_a_tick_names_what_is_shown_otherwise_than_its_key(
    earlier: dict[str, dict[str, int]], later: dict[str, dict[str, int]]
) -> None:
    """The short way for what is written as its key shows the same."""
    known = Spellings(["c_"])
    known.add(earlier, 30)
    known.add(later, 60)
    tags = ["a", "b\u200b", "c_", "d"]
    expected = {tag: name for tag in tags if (name := known.name_of(tag)) != tag}
    assert known.differing(tags) == expected


def test_spellings_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """16 of a hashtag, and so many hashtags in each half."""
    known = Spellings()
    known.add({"a": {f"a{n}": 1 for n in range(1000)}}, 30)
    assert len(known.now["a"]) == 16
    monkeypatch.setattr(spellings, "MOST", 100)
    for n in range(1000):
        known.add({f"t{n}.{m}": {"T": 1} for m in range(10)}, 30)
        assert len(known.now) + len(known.before) <= 220


def test_spellings_are_bounded_in_bytes() -> None:
    """Also where strangers write each hashtag as long as can be, in sixteen ways."""
    known, most = Spellings(), 0
    for n in range(10_000):
        known.add({f"t{n}": {f"{'𐐀' * 90}{n}.{m}": 1 for m in range(16)}}, 30)
        if n % 500 == 0:
            held = [s for half in (known.now, known.before) for of in half.values() for s in of]
            most = max(most, sum(map(sys.getsizeof, held)))
    assert spellings.MOST_BYTES / 2 < most < 2 * spellings.MOST_BYTES


@pytest.mark.parametrize(
    "tag", ["science", " science", "\u202escience", "science\u200b" + "x" * 200]
)
def test_only_what_is_part_of_the_hashtag_is_shown(tag: str) -> None:
    """Of its commonest spelling, and where nobody wrote it, of its key."""
    known = Spellings()
    assert known.name_of(tag) == tag.strip(" \u202e").replace("\u200b", "")[:100]
    known.add({tag: {"##" + tag.upper(): 1}}, 30)
    assert known.name_of(tag) == tag.upper().strip(" \u202e").replace("\u200b", "")[:100]


async def test_after_a_restart_hashtags_are_shown_as_before(redis_server: RedisServer) -> None:
    """One post that is written otherwise does not outweigh those of the last minutes; many do."""
    redis, before, after = connect(redis_server.url), Script("x", False), Script("x", False)
    store = Store(redis)
    async with ingesting(store, before):
        before.give(3)
        await counted(store, 3)
    async with ingesting(store, after) as ingester:
        for posts, shown in ((4, "Science"), (8, "science")):
            while posts > 3 + after.given:
                after.given += 1
                ingester.take(after, Post("x", "1", 0, "", {"science": "science"}))
            await counted(store, posts)
            told = [tick for tick in await store.ticks_after("") if tick.added][-1]
            assert told.names.get("science", "science") == shown
    await redis.aclose()


def test_what_a_tick_says_of_late_posts_is_no_spelling() -> None:
    """Nobody wrote the numbers that a network told of a minute."""
    added, late = {"a": {"x": 9}, "b": {"x": 2, "y": 1}}, {"a": {"x": [(0, 9)]}}
    names, known = {"a": "A", "b": "B"}, Spellings()
    told = Tick("1-1", "", 40 * MINUTE, 0.5, added, added=added, late=late, names=names)
    known.recall(told)
    assert known.now == {"b": {"B": 3}}


async def test_who_becomes_the_writer_again_counts_no_spelling_twice(store: DatedStore) -> None:
    """What the log tells is taken in anew, not beside what was known of the same posts."""
    desk = await Desk(store).open()
    await desk.write(present={"x": {"science": 3}})
    for _ in range(2):
        await desk.writer.recall(replace(desk.state, time=0))  # as of all of the log
        assert desk.writer.spellings.now == {"science": {"science": 3}}


async def test_the_newest_minute_of_the_marks_never_goes_back(store: DatedStore) -> None:
    """Times are not strictly in order: after a restart, all of the last 15 minutes are read."""
    desk = await Desk(store).open()
    for minute, newest in ((100, 100), (99, 100), (101, 101), (86, 101), (50, 50), (51, 51)):
        await desk.write(marks={"x": {minute: {b"%d" % minute}}})
        assert (await store.load()).seen == {"x": newest}
    assert await store.redis.smembers(keys.seen("x", 99)) == {b"99"}
    now = store.now // 1000
    assert await store.redis.expiretime(keys.seen("x", 99)) == now + keys.SEEN_LIFE


async def test_an_hour_that_cannot_be_read_keeps_no_other_back(
    store: DatedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis is away for a moment; and a key is somebody's, of which there is nothing to be had."""
    monkeypatch.setattr(Backoff, "next", lambda backoff: 0.0)
    desk = await Desk(store).open()
    await desk.write({"x": {"a": 3}})
    await desk.later(60)
    await desk.write({"x": {"b": 2}})
    await store.redis.set(keys.kept(HOUR - 1, "x"), "somebody's")
    popular, scan, tries = Popular(), store.scan, list[str]()

    async def lost(key: str, *arguments: Any) -> Any:
        tries.append(key)
        if len(tries) < 5:
            raise StoreLost("Redis is away")
        return await scan(key, *arguments)

    monkeypatch.setattr(store, "scan", lost)
    await popular.recall(store, ("x",), HOUR + 1)
    assert best(popular) == [["a", "A", 3], ["b", "B", 2]]
    assert tries.count(keys.kept(HOUR - 1, "x")) >= module.RECALL_TRIES - 4


async def test_who_becomes_the_writer_again_counts_nothing_twice(store: DatedStore) -> None:
    """What Redis has of the hours before is not put beside what was known of the same hours; what
    was counted while it was read is among it or comes to it."""
    desk = await Desk(store).open()
    await desk.write({"x": {"a": 3}})
    await desk.later(60)
    await desk.write({"x": {"a": 2, "b": 1}})
    assert best(desk.writer.popular) == [["a", "A", 5], ["b", "B", 1]]
    await desk.writer.recall(desk.state)
    await desk.write({"x": {"b": 1}})
    await desk.writer.popular.recall(store, ("x",), HOUR + 1)
    assert best(desk.writer.popular) == [["a", "A", 5], ["b", "B", 2]]
    await desk.write({"x": {"b": 1}})
    assert best(desk.writer.popular) == [["a", "A", 5], ["b", "B", 3]]
