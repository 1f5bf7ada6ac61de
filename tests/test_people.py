"""People of hashtags: authors of a day, in a real Redis, against sets of them."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import stored
from servers import RedisServer
from test_model import Group, Still
from writing import BEGIN, DatedStore

from app.ingest.counter import Counter, Cut, joined
from app.ingest.day_keys import DayKeys
from app.ingest.ingester import Ingester
from app.messages import DAY, MINUTE, MinuteCount, Post, Tick
from app.sources.replay import Parser
from app.store import keys
from app.store.state import SEVERAL
from app.store.store import connect

TODAY = BEGIN // DAY
NEARLY_150 = pytest.approx(150, abs=4)


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[DatedStore]:
    redis = connect(redis_server.url)
    yield DatedStore(redis)
    await redis.aclose()


class Desk:
    """An ingester whose posts a test hands over."""

    def __init__(self, store: DatedStore, file: Path, tracked: tuple[str, ...] = ()) -> None:
        self.store, self.sources = store, {n: Still(n, True, False, False) for n in ("a", "b")}
        for source in self.sources.values():
            source.say("live", unbroken_since=store.now / 1000)
        self.ingester = Ingester(
            list(self.sources.values()),
            store,
            tracked,
            0.5,
            elapsed=lambda: store.up,
            day_keys=DayKeys(file, Random(f"{file.name}").randbytes),
        )
        self.group: Any = Group()
        self.number = 0

    async def open(self) -> "Desk":
        state = await self.store.load()
        self.ingester.begin(state)
        self.ingester.writer.begin(state)
        return self

    def post(self, author: str, *tags: str, source: str = "a", at: int = 0) -> None:
        """at: milliseconds since 1970, for a post of the past."""
        self.number += 1
        self.sources[source].catching_up = bool(at)
        post = Post(source, f"{self.number}", at, author, {tag: tag for tag in tags}, "1")
        self.ingester.take(self.sources[source], post)

    async def tick(self) -> Tick:
        assert await self.ingester.commit(self.group)
        return (await self.store.ticks_after(""))[-1]

    async def later(self, minutes: float) -> None:
        self.store.now += int(minutes * MINUTE)
        self.store.up += minutes * 60


async def people(store: DatedStore, tag: str, day: int = TODAY) -> int | None:
    value: Any = await store.redis.hget(keys.people(day), tag)
    return None if value is None else keys.read_people(value)


async def test_people_are_those_of_sets_of_authors(store: DatedStore, tmp_path: Path) -> None:
    """Exact up to 100, within 2 % above; each tick tells the number of what changed."""
    desk, chance = await Desk(store, tmp_path / "keys").open(), Random(4)
    sizes = {"one": 1, "two": 2, "some": 60, "full": 100, "over": 101, "many": 3000, "most": 20_000}
    expected: dict[str, set[str]] = {tag: set() for tag in sizes}
    told: dict[str, int] = {}
    for n in range(12):
        for tag, size in sizes.items():
            for _ in range(size // 4 + 1):
                author = f"did:plc:{chance.randrange(size)}"
                desk.post(author, tag)
                expected[tag].add(author)
        tick = await desk.tick()
        assert tick.day == TODAY and tick.people.keys() == tick.counts.keys() == sizes.keys()
        told = tick.people
        for tag, authors in expected.items():
            error = abs(told[tag] - len(authors))
            assert error == 0 if len(authors) <= 100 else error <= 0.02 * len(authors)
            assert await people(store, tag) == told[tag], n
    assert len(expected["most"]) > 15_000 and len(expected["over"]) > 90
    assert await store.redis.keys(f"*people:{TODAY}:*"), "some are too many to be known each"
    values: Any = await store.redis.hgetall(keys.people(TODAY))
    assert max(map(len, values.values())) <= 100 * keys.AUTHOR_BYTES
    for key in await store.redis.keys("*people*"):
        assert await store.redis.expiretime(key) == (TODAY + 4) * DAY // 1000


async def test_people_of_the_recordings_are_those_of_sets(
    recordings: Path, store: DatedStore, tmp_path: Path
) -> None:
    """Their authors, hashed as they are; then each post again by an author of its own, which makes
    a crowd of the busiest."""
    desk, parser = await Desk(store, tmp_path / "keys").open(), Parser()
    lines = [
        line
        for file in sorted(recordings.glob("*/wire_reduced.jsonl"))
        for line in file.read_bytes().splitlines()
    ]
    expected: dict[str, set[str]] = {}
    for again in (False, True):
        for n, line in enumerate(lines):
            if found := parser.parse(line):
                author = f"{n}" if again else found.author
                desk.post(author, *found.hashtags)
                for tag in found.hashtags:
                    expected.setdefault(tag, set()).update([author] if author else ())
            if n % 1000 == 0:
                await desk.tick()
        for _ in range(3):
            await desk.tick()
        assert not desk.ingester.counter.entries
        counted = (await stored.people(store))[TODAY]
        for tag, authors in expected.items():
            error = abs(counted.get(tag, 0) - len(authors))
            assert error <= (0.02 * len(authors) if len(authors) > 100 else 0), tag
    assert max(counted.values()) > 100
    assert sum(counted.values()) > 5000


async def test_an_author_of_two_networks_is_two(store: DatedStore, tmp_path: Path) -> None:
    """And one who writes often is one; who is not known is nobody."""
    desk = await Desk(store, tmp_path / "keys").open()
    for source in ("a", "b", "a"):
        desk.post("1", "science", source=source)
    desk.post("", "science")
    desk.post("", "football")
    assert (await desk.tick()).people == {"science": 2, "football": 0}
    desk.post("1", "science", "football", source="b")
    assert (await desk.tick()).people == {"science": 2, "football": 1}


async def test_a_crowd_has_the_authors_of_all_networks(store: DatedStore, tmp_path: Path) -> None:
    """Also those of the commit in which they became too many to be known each."""
    desk = await Desk(store, tmp_path / "keys").open()
    for n in range(101):
        desk.post(f"{n}", "many")
    desk.post("7", "many", source="b")
    await desk.tick()
    desk.post("8", "many", source="b")
    await desk.tick()
    for author in "78":
        found = desk.ingester.people.hashed([(TODAY, ("b", author, ["many"]))], TODAY)
        short = found["b"][TODAY]["many"]
        assert not await store.redis.pfadd(keys.crowd(TODAY, "many"), short), "it is in there"
    assert await people(store, "many") == pytest.approx(103, abs=4)


async def test_two_networks_make_a_crowd_in_one_commit(store: DatedStore, tmp_path: Path) -> None:
    """Each with few: what stands in the field is the number of all, not the few of the first."""
    desk = await Desk(store, tmp_path / "keys").open()
    for n in range(60):
        for source in ("a", "b"):
            desk.post(f"{n}", "science", source=source)
    found = (await desk.tick()).people["science"]
    assert found == pytest.approx(120, abs=4)
    assert await people(store, "science") == found


async def test_what_is_counted_again_changes_nothing(
    store: DatedStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """After a kill -9 the key is in its file; posts that are read again are of the same authors.
    A Redis from an older copy gets those back that it lacks, a wiped one those of 15 minutes."""
    caplog.set_level(logging.ERROR)
    file = tmp_path / "keys"
    desk = await Desk(store, file).open()

    async def used(begin: int, end: int) -> dict[str, int]:
        for n in range(begin, end):
            desk.post(f"author {n}", "few" if n < 60 else "many")
        return (await desk.tick()).people

    assert await used(0, 50) == {"few": 50}
    assert await used(50, 200) == {"few": 60, "many": pytest.approx(140, abs=4)}
    await store.redis.flushall()
    await desk.ingester.commit(desk.group)
    await desk.tick()
    assert await people(store, "few") == 60
    older: Any = {key: await store.redis.dump(key) for key in await store.redis.keys()}
    expected = {"few": 60} | await used(200, 300)
    assert expected["many"] == pytest.approx(240, abs=5)
    await store.redis.flushall()
    for key, value in older.items():
        await store.redis.restore(key, 0, value)
    assert await people(store, "many") == pytest.approx(140, abs=4)
    await desk.ingester.commit(desk.group)
    await desk.tick()
    assert {tag: await people(store, tag) for tag in expected} == expected
    desk = await Desk(store, file).open()  # as after a kill -9
    await store.redis.delete(keys.LEASE)
    assert await used(0, 300) == expected
    assert {tag: await people(store, tag) for tag in expected} == expected


async def test_no_author_can_be_found_in_redis(store: DatedStore, tmp_path: Path) -> None:
    """Neither by name nor by the key, but for where the posts of ten minutes are."""
    desk = await Desk(store, tmp_path / "keys").open()
    names = [f"did:plc:{Random(n).randbytes(12).hex()}" for n in range(300)]
    for name in names:
        desk.post(name, "science")
    desk.post(names[0], "football")
    await desk.tick()
    found: list[Any] = []
    assert await store.redis.exists(keys.POSTS)
    for key in set(await store.redis.keys()) - {keys.POSTS.encode()}:
        kind: Any = await store.redis.type(key)
        read = {
            b"hash": store.redis.hgetall, b"set": store.redis.smembers, b"string": store.redis.get,
            b"stream": store.redis.xrange,
        }[kind]  # fmt: skip
        found += [key, str(await read(key))]
    text = "".join(map(str, found))
    assert "science" in text and len(text) > 1000
    secrets = [key.hex() for key in desk.ingester.people.day_keys.keys.values()]
    assert len(secrets) == 2
    assert [name for name in [*names, *secrets] if name in text] == []


async def test_a_new_day_begins_at_nobody(store: DatedStore, tmp_path: Path) -> None:
    """What comes late is yesterday's; what was counted while Redis was away keeps its day."""
    desk = await Desk(store, tmp_path / "keys").open()
    await desk.later((DAY - store.now % DAY) / MINUTE - 0.1)
    before, end = store.now // DAY, (store.now // DAY + 1) * DAY
    desk.post("1", "science")
    desk.post("2", "science")
    assert (await desk.tick()).people == {"science": 2}
    await desk.later(0.2)
    tick = await desk.tick()
    assert (tick.day, tick.people, tick.counts) == (before + 1, {}, {})
    desk.post("1", "science")
    desk.post("3", "science", at=end - 5)
    tick = await desk.tick()
    assert (tick.day, tick.people) == (before + 1, {"science": 1})
    assert await people(store, "science", before) == 3
    desk.post("4", "science", at=end - 5)
    tick = await desk.tick()
    assert (tick.day, tick.people) == (before + 1, {"science": 1})
    assert await people(store, "science", before) == 4
    desk.post("5", "science", at=end - DAY - 5)
    desk.post("6", "science", at=end + 20 * DAY)
    assert (await desk.tick()).people == {"science": 2}, "of no day that is counted, and of none"


def test_authors_that_wait_for_redis_keep_their_day() -> None:
    """And are bounded for sources that cannot wait."""
    counter, today = Counter(frozenset("a")), 1000
    counter.begin(today * 1440 - 1)
    counter.add(Post("x", "1", 0, "1", {"a": "a"}))
    counter.begin(today * 1440)
    counter.add(Post("x", "2", 0, "2", {"a": "a", "b": "b"}), everything=False)
    counter.begin(today * 1440 + 1)
    assert counter.take_authored() == [
        (today - 1, ("x", "1", {"a": "a"})),
        (today, ("x", "2", {"a": "a"})),
    ]
    for n in range(50_000):
        counter.add(Post("x", "1", 0, f"{n}", {"a": "a"}), everything=False, past=bool(n % 2))
    assert counter.is_full
    assert len(counter.take_authored()) == 40_000
    assert not counter.is_full
    counter.add(Post("x", "1", 0, "1", {"b": "b"}), everything=False)
    assert not counter.take_authored(), "it names nothing that counts"
    for n, source in enumerate("xyx"):
        counter.add(Post(source, "1", 0, "1", {"b": "b"}), past=n == 2)
    counter.forget("x", "")
    assert [post[0] for _, post in counter.take_authored()] == ["y"]


def test_authors_of_commits_that_are_made_again_are_together() -> None:
    """And those of one source alone, where only that is."""
    one = Cut(5, {}, authors={"x": {3: {"a": b"1" * 8}}, "y": {3: {"a": b"2" * 8}}})
    two = Cut(5, {}, authors={"x": {3: {"a": b"3" * 16}, 4: {"b": b"4" * 8}}})
    assert joined([one, two]).authors == {
        "x": {3: {"a": b"1" * 8 + b"3" * 16}, 4: {"b": b"4" * 8}},
        "y": {3: {"a": b"2" * 8}},
    }
    assert one.of({"y"}).authors == {"y": {3: {"a": b"2" * 8}}}
    assert (two.size(), two.sources(), two.at(6).authors) == (3, {"x"}, two.authors)


async def test_without_authors_there_are_no_people(store: DatedStore, tmp_path: Path) -> None:
    """Where no source says who wrote its posts: none, and not 0."""
    desk = Desk(store, tmp_path / "keys", ("science",))
    desk.ingester.people.are_known = False
    await desk.open()
    count = MinuteCount("a", "science", store.now // MINUTE * MINUTE - MINUTE, 3)
    desk.ingester.take(desk.sources["a"], count)
    tick = await desk.tick()
    assert (tick.day, tick.people, tick.counts) == (0, {}, {"science": {"a": 3}})
    wanted = desk.ingester.people.wanted(Cut(5, {"a": {"science": 3}}), TODAY)
    assert not any(wanted.values()), "nor is Redis asked for any"


async def test_another_key_ends_the_people_of_that_day(store: DatedStore, tmp_path: Path) -> None:
    """A standby on another host: nobody knows from then on, nor when the first one comes back;
    the next day counts again."""
    desk = await Desk(store, tmp_path / "here").open()
    desk.post("1", "science")
    assert (await desk.tick()).people == {"science": 1}
    standby = await Desk(store, tmp_path / "there").open()
    for each in (standby, desk):
        await store.redis.delete(keys.LEASE)
        await each.open()
        each.post("2", "science")
        tick = await each.tick()
        assert (tick.day, tick.people) == (0, {})
        assert (await store.load()).people[TODAY] == SEVERAL
    assert await people(store, "science") == 1
    await desk.later(24 * 60)
    desk.post("2", "science")
    tick = await desk.tick()
    assert (tick.day, tick.people) == (TODAY + 1, {"science": 1})


async def test_what_is_none_of_ours_blocks_nobody(store: DatedStore, tmp_path: Path) -> None:
    """A field that nobody can read counts as not there; what is no HyperLogLog is not told."""
    desk = await Desk(store, tmp_path / "keys").open()
    await store.redis.hset(keys.people(TODAY), "odd", b"123456789")
    await store.redis.set(keys.crowd(TODAY, "many"), "somebody's text")
    for n in range(150):
        desk.post(f"{n}", "many", "other")
    desk.post("1", "odd")
    assert (await desk.tick()).people == {"odd": 1, "other": NEARLY_150}
    assert await store.redis.get(keys.crowd(TODAY, "many")) == b"somebody's text"
    desk.post("2", "many")
    tick = await desk.tick()
    assert (tick.counts, tick.people) == ({"many": {"a": 151}}, {"many": 1})


async def test_a_forgotten_hashtag_leaves_nothing(store: DatedStore, tmp_path: Path) -> None:
    """48 hours after its last post, of few people and of many; those of others stay."""
    desk = await Desk(store, tmp_path / "keys").open()
    for n in range(150):
        desk.post(f"{n}", "many", "other")
    desk.post("1", "few")
    await desk.tick()
    await desk.later(20 * 60)
    desk.post("1", "other")
    await desk.tick()
    assert await store.redis.exists(keys.crowd(TODAY, "many"))
    gone: set[str] = set()
    await desk.later(29 * 60)
    for _ in range(20):
        await desk.later(0.1)
        gone.update((await desk.tick()).gone)
    assert gone == {"many", "few"}
    assert [await people(store, tag) for tag in ("many", "few")] == [None, None]
    assert not await store.redis.exists(keys.crowd(TODAY, "many"))
    assert await people(store, "other") == NEARLY_150


async def test_after_two_days_a_number_is_kept(store: DatedStore, tmp_path: Path) -> None:
    """In the day's hash, of the hashtags that the day has; the key is destroyed then."""
    file = tmp_path / "keys"
    desk = await Desk(store, file, ("science",)).open()
    for n in range(150):
        desk.post(f"{n}", "science", "busy")
    desk.post("1", "rare")
    await desk.tick()
    for _ in range(47 * 2):
        await desk.later(30)
        desk.post("9", "science")
        await desk.tick()
    kept = keys.people_kept(TODAY)
    assert not await store.redis.exists(kept)
    assert f"{TODAY} " in file.read_text()
    await desk.later((DAY - store.now % DAY) / MINUTE)
    for _ in range(20):
        await desk.later(0.1)
        await desk.tick()
    found: Any = await store.redis.hgetall(kept)
    numbers = {tag.decode(): int(number) for tag, number in found.items()}
    assert numbers == {"science": NEARLY_150, "busy": NEARLY_150, "rare": 1}
    assert (await store.load()).frozen == TODAY
    assert await store.redis.expiretime(kept) == (TODAY + 401) * DAY // 1000
    assert f"{TODAY} " not in file.read_text()
    assert TODAY not in desk.ingester.people.day_keys.keys
