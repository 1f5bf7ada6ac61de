"""What is rising and what is most used: against a slow count of the same posts."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import localcontext
from pathlib import Path
from random import Random
from typing import Any

import pytest
from exact import digits, exact
from hypothesis import given
from hypothesis import strategies as some
from msgspec.structs import replace
from yesterday import fields_of, write

from app.ingest import board as module
from app.ingest.board import BoardMaker, Standing, Usual, best, most_of_one, score_of, usual_of
from app.ingest.ingester import Ingester
from app.ingest.recent_uses import NOBODY
from app.messages import HOUR, MINUTE, Post
from app.settings import read
from app.sources.demo import Demo
from app.sources.replay import Parser
from app.store import keys
from app.store.store import Store

PRESENT = 494_000
"""An hour."""
NOW = PRESENT * HOUR + 25 * MINUTE
WEEK = 7 * 24
Use = tuple[int, Post]
"""When, and what."""


def post(author: str, *tags: str, adult: bool = False) -> Post:
    return Post("x", "1", 0, author, dict.fromkeys(tags, "T"), "", adult)


def add(board: BoardMaker, uses: Iterable[Use]) -> None:
    for at, made in uses:
        board.lately.add(made, made.hashtags.keys(), at, at)


async def past(store: Store, hourly: Mapping[str, int], days: int = 3) -> None:
    """Redis as after some days in which each hour had so many posts of each hashtag."""
    first = (PRESENT - days * 24) * 60
    posts = {
        tag: {hour * 60 + 7: n for hour in range(first // 60, PRESENT)} for tag, n in hourly.items()
    }
    counted = {"x": range(first, NOW // MINUTE + 1)}
    fields = fields_of({"x": posts}, counted, NOW, is_kept=lambda tag, hour: True)
    await write(store.redis, fields, ["x"])


async def made(board: BoardMaker, store: Store, now: int = NOW) -> dict[str, Any]:
    await board.make(store, ["x"], now)
    told: dict[str, Any] = json.loads(board.text)
    return told


def tags(told: Mapping[str, Any], name: str = "rising") -> list[str]:
    return [entry["tag"] for entry in told[name]]


def crowd(tag: str, number: int, at: int = NOW, step: int = 0) -> Iterator[Use]:
    """So many people, each with one post."""
    return ((at + n * step, post(f"{tag} {n}", tag)) for n in range(number))


def background(begin: int, end: int) -> Iterator[Use]:
    """Thirty hashtags that some hundred people use all the time, one a second."""
    chance = Random(1)
    for at in range(begin, end, 1000):
        yield at, post(f"somebody {chance.randrange(300)}", f"t{chance.randrange(30)}")


async def test_a_burst_of_twenty_people_is_first_within_ten_seconds(store: Store) -> None:
    """And 200 posts by two are not on it, neither as rising nor as most used."""
    await past(store, {f"t{n}": 120 for n in range(30)} | {"burst": 3})
    board = BoardMaker(str.upper)
    begin = NOW - 12 * MINUTE
    bot = [(NOW + n * 20, post(f"bot {n % 2}", "buy")) for n in range(200)]
    uses = [*background(begin, NOW + 20_000), *bot, *crowd("burst", 20, NOW, 200)]
    first = None
    for at, use in sorted(uses, key=lambda each: each[0]):
        add(board, [(at, use)])
        if at % 5000 == 0:
            told = await made(board, store, at)
            assert "buy" not in tags(told) + tags(told, "used")
            if "burst" in tags(told):
                first = first or at
                assert tags(told)[0] == "burst"
    assert first is not None and first - NOW <= 10_000
    assert len(told["used"]) == 20
    assert all(entry["people"] >= 5 for entry in told["used"])


async def test_what_a_board_says_of_a_hashtag(store: Store) -> None:
    """Posts and people of ten minutes, what is usual, and the last hour in twelve parts."""
    await past(store, {"burst": 3})
    minute = NOW // MINUTE
    now_hour = {"burst": keys.Past(99, {0: 1, 22: 4, 25: 2}).pack()}
    await store.redis.hset(keys.hour(PRESENT, "x"), mapping=now_hour)
    board = BoardMaker(str.upper)
    add(board, [*crowd("burst", 30), *((NOW, post("burst 1", "burst")) for _ in range(10))])
    told = await made(board, store)
    [entry] = told["rising"]
    # 37 minutes of the hour before are not in the last hour: its posts in minute 7 are not
    assert minute % 60 == 25
    assert entry == {
        "tag": "burst",
        "name": "BURST",
        "posts": 40,
        "people": 30,
        "usual": 0.5,
        "unusual": pytest.approx(-math.log10(float(exact(30, 0.5))), abs=0.06),
        "hour": [0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 6],
        "busiest_author": 0.275,
        "busiest_link": 0.0,
    }
    assert told["used"] == [entry]
    assert (told["at"], told["since"]) == (NOW, NOW)


async def test_a_weekday_hashtag_is_not_rising_on_its_day(store: Store) -> None:
    """Four weeks it had the same on this day; one that had it on another day is rising."""
    posts: dict[str, dict[int, int]] = {"its": {}, "another": {}}
    for week in range(1, 5):
        for hour in range(-12, 12):
            at = (PRESENT - week * WEEK + hour) * 60
            posts["its"][at + 5] = 240
            posts["another"][at + 3 * 24 * 60] = 240
    counted = {"x": range((PRESENT - 35 * 24) * 60, NOW // MINUTE + 1)}
    fields = fields_of({"x": posts}, counted, NOW, is_kept=lambda tag, hour: True)
    await write(store.redis, fields, ["x"])
    board = BoardMaker(str)
    add(board, [*crowd("its", 60), *crowd("another", 60)])
    told = await made(board, store)
    assert tags(told) == ["another"]
    assert sorted(tags(told, "used")) == ["another", "its"]


async def test_nothing_is_rising_where_nobody_knows_what_is_usual(store: Store) -> None:
    """In its first hour; but what is most used is known."""
    counted = {"x": range(PRESENT * 60, NOW // MINUTE + 1)}
    await write(store.redis, fields_of({"x": {}}, counted, NOW), ["x"])
    board = BoardMaker(str)
    add(board, crowd("a", 50))
    told = await made(board, store)
    assert (tags(told), tags(told, "used")) == ([], ["a"])
    assert told["used"][0]["usual"] is told["used"][0]["unusual"] is None


async def test_what_is_blocked_is_never_on_it(store: Store) -> None:
    await past(store, {"bad": 1, "good": 1})
    board = BoardMaker(str, ["bad"])
    add(board, [*crowd("bad", 50), *crowd("good", 20)])
    told = await made(board, store)
    assert tags(told) == tags(told, "used") == ["good"]
    assert told["blocked"] == 1


async def test_it_is_written_once(store: Store) -> None:
    """By the commit after it, for five minutes."""
    await past(store, {"a": 1})
    board = BoardMaker(str)
    assert board.write(NOW) == []
    await board.make(store, ["x"], NOW)
    [write] = board.write(NOW)
    assert (write.kind, write.key, write.ends) == ("string", keys.BOARD, NOW // 1000 + 300)
    told = json.loads(write.values[0])
    assert told == {"at": NOW, "since": NOW, "blocked": 0, "rising": [], "used": []}
    assert board.write(NOW) == []


async def test_a_peak_halves_in_thirty_minutes(store: Store) -> None:
    """So what was rising does not flicker; but without five people it is not there."""
    await past(store, {"a": 3})
    board = BoardMaker(str)
    add(board, crowd("a", 60))
    score = (await made(board, store))["rising"][0]["unusual"]
    lasts = int(math.log2(score / 6) * 30 * MINUTE)
    for later, is_there in ((11 * MINUTE, True), (lasts - MINUTE, True), (lasts + MINUTE, False)):
        add(board, crowd("a", 6, NOW + later))
        told = await made(board, store, NOW + later)
        assert tags(told) == ["a"] * is_there
        assert tags(told, "used") == ["a"]
    assert board.peaks == {}


@given(some.floats(0, 1000), some.integers(0, 10**8))
def test_what_is_left_of_a_peak(peak: float, passed: int) -> None:
    board = BoardMaker(str)
    board.peaks["a"] = peak, 10**9
    assert board.left("a", 10**9 + passed) == pytest.approx(peak / 2 ** (passed / (30 * MINUTE)))
    assert board.left("a", 10**9 - passed) == peak
    assert board.left("b", passed) == 0


def test_those_of_one_author_take_nobodys_place() -> None:
    """Beside the first twenty of all there are the first twenty of the others."""
    standings = [
        Standing(f"t{n}", 10, n, 0.6 if n % 3 == 1 else 0.5, 0.6 if n % 3 == 2 else 0.5, None, n, n)
        for n in range(100)
    ]
    found = best(standings, lambda standing: (standing.rank, 0.0))
    ranks = [standing.rank for standing in found]
    assert ranks == sorted(ranks, reverse=True)
    assert [n for n in ranks if n % 3 == 0] == list(range(99, 39, -3))
    assert ranks[:20] == list(range(99, 79, -1))
    assert all(n % 3 == 0 for n in ranks[20:])


def test_those_who_are_not_known_are_no_one_author() -> None:
    assert most_of_one({NOBODY: 900, 1: 20, 2: 30}) == most_of_one({1: 20, 2: 30}) == 30
    assert most_of_one({NOBODY: 900}) == most_of_one({}) == 0


async def test_what_is_remembered_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one board, so many are read; peaks are the highest; what is usual, of those there are."""
    monkeypatch.setattr(module, "READ_AT_ONCE", 10)
    monkeypatch.setattr(module, "MOST_PEAKS", 15)
    await past(store, {"t0": 1})
    board = BoardMaker(str)
    add(board, (use for n in range(40) for use in crowd(f"t{n}", 10 + n)))
    seen = []
    for _ in range(4):
        await made(board, store)
        seen.append(len(board.usual))
    assert seen == [10, 20, 30, 40]
    assert sorted(board.peaks) == sorted(f"t{n}" for n in range(25, 40))
    await made(board, store, NOW + 11 * MINUTE)
    assert board.usual == {}


async def test_what_is_usual_is_read_anew_every_hour(store: Store) -> None:
    """And until it is, the hour before is as good."""
    await past(store, {"a": 60})
    board = BoardMaker(str)
    add(board, crowd("a", 9))
    await made(board, store)
    assert board.usual == {"a": usual_of(60)}
    later = (PRESENT + 1) * HOUR
    counted = {"": keys.Past(0, {0: 1}).pack()}
    await store.redis.hset(keys.hour(PRESENT + 1, "x"), mapping=counted)
    add(board, crowd("a", 9, later + 90_000))
    seven = board.usual["a"] = usual_of(42)
    await board.learn(store, ["x"], later + 30_000)
    assert board.usual == {"a": seven}
    await board.learn(store, ["x"], later + 90_000)
    assert board.usual["a"].posts == pytest.approx(10, rel=0.02)


@given(some.floats(0, 1e6))
def test_from_how_many_people_on_it_is_rising(hourly: float) -> None:
    """The least number that is less likely than one in a million; five at the least."""
    found = usual_of(hourly)
    assert found.posts == hourly / 6
    assert found.rises_from >= 5
    assert score_of(int(found.rises_from), found.posts) >= 6
    assert found.rises_from == 5 or score_of(int(found.rises_from) - 1, found.posts) < 6
    assert found.unusual_from == 5 or score_of(int(found.unusual_from) - 1, found.posts) < 4
    assert 5 <= found.unusual_from <= found.rises_from
    assert score_of(int(found.unusual_from), found.posts) >= 4
    assert usual_of(None) == Usual(None, math.inf, math.inf)


class Slow:
    """The same board, from all posts again each time, by other means."""

    def __init__(self, hourly: Mapping[str, int]) -> None:
        self.hourly = hourly
        self.scores: list[tuple[int, dict[str, float]]] = []

    def board(
        self, uses: Sequence[Use], now: int
    ) -> tuple[list[str], list[str], dict[str, tuple[int, int]]]:
        """What is rising and what is most used, and posts and people of what five people used."""
        begin = (now // 10_000 - 59) * 10_000
        authors: dict[str, list[str]] = {}
        hosts: dict[str, Counter[str]] = {}
        for at, made in uses:
            if begin <= at <= now and not made.adult and len(made.hashtags) <= 10:
                for tag in made.hashtags:
                    authors.setdefault(tag, []).append(made.author)
                    hosts.setdefault(tag, Counter()).update(made.domains)
        about = {
            tag: (len(all), len(set(all) - {""}))
            for tag, all in authors.items()
            if len(set(all) - {""}) >= 5
        }
        self.scores.append((now, {tag: self.score(tag, n) for tag, (_, n) in about.items()}))
        rank = {
            tag: max(
                of[tag] * 2 ** ((at - now) / (30 * MINUTE))
                for at, of in self.scores
                if tag in of and (at == now or of[tag] >= 6)
            )
            for tag in about
        }
        self.busiest = {
            tag: max(Counter(who for who in authors[tag] if who).values()) / len(authors[tag])
            for tag in about
        }
        self.linked = {
            tag: max(hosts[tag].values(), default=0) / len(authors[tag]) for tag in about
        }
        rising = [tag for tag in about if rank[tag] >= 6]
        rising.sort(key=lambda tag: (rank[tag], about[tag][1], tag), reverse=True)
        used = sorted(about, key=lambda tag: (*about[tag][::-1], tag), reverse=True)
        return rising, used, about

    def listed(self, ranked: Sequence[str]) -> list[str]:
        """The first twenty, and the first twenty of those that are not of one."""
        honest = [tag for tag in ranked if max(self.busiest[tag], self.linked[tag]) <= 0.5]
        return [tag for tag in ranked if tag in ranked[:20] or tag in honest[:20]]

    def score(self, tag: str, number: int) -> float:
        with localcontext(prec=digits(number)):
            return float(-exact(number, max(0.05, self.hourly.get(tag, 0) / 6)).log10())


def recorded(recordings: Path, chance: Random) -> Iterator[Post]:
    """The posts of all recordings, whose authors are gone: by a few, by many, or by nobody."""
    parser = Parser()
    for file in sorted(recordings.glob("*/wire_reduced.jsonl")):
        for line in file.read_bytes().splitlines():
            if (found := parser.parse(line)) and found.hashtags:
                author = f"{int(chance.paretovariate(0.4))}" if chance.random() < 0.95 else ""
                adult = chance.random() < 0.05
                hosts = (f"{int(chance.paretovariate(0.6))}.example", "b")[: chance.randrange(3)]
                yield Post("x", found.id, 0, author, found.hashtags, "", adult, hosts)


async def test_it_is_what_a_slow_count_of_the_recordings_is(recordings: Path, store: Store) -> None:
    """Replayed in twenty minutes: a board every 90 seconds, of the same hashtags in the same order, with
    the same posts and people. Some of them a bot uses twice as often as all others."""
    chance = Random(7)
    begin = NOW - 10 * MINUTE
    posts = list(recorded(recordings, chance))
    often = Counter(tag for each in posts for tag in each.hashtags)
    farmed = [tag for tag, _ in often.most_common(12)[2::3]]
    posts += [post("bot", tag) for tag in farmed for _ in range(2 * often[tag])]
    chance.shuffle(posts)
    uses = [(begin + n * 20 * MINUTE // len(posts), each) for n, each in enumerate(posts)]
    hourly = {
        tag: int(6 * n * chance.choice([0.02, 0.1, 0.5, 1])) for tag, n in often.most_common(200)
    }
    await past(store, hourly)
    board, slow = BoardMaker(str), Slow(hourly)
    n = risen = alone = 0
    for now in range(begin + 90_000, begin + 20 * MINUTE, 90_000):
        while n < len(uses) and uses[n][0] <= now:
            add(board, [uses[n]])
            n += 1
        told = await made(board, store, now)
        rising, used, about = slow.board(uses, now)
        assert tags(told) == slow.listed(rising)
        assert tags(told, "used") == slow.listed(used)
        for entry in (*told["rising"], *told["used"]):
            assert (entry["posts"], entry["people"]) == about[entry["tag"]]
            assert entry["busiest_author"] == pytest.approx(slow.busiest[entry["tag"]], abs=0.001)
            assert entry["busiest_link"] == pytest.approx(slow.linked[entry["tag"]], abs=0.001)
            alone += max(entry["busiest_author"], entry["busiest_link"]) > 0.5
        risen += len(rising)
    assert len(about) > 40
    assert risen > 100
    assert alone > 5


async def test_what_counts_for_the_board_is_what_is_counted(store: Store) -> None:
    """Of a source that was asked for the tracked hashtags, those; and what a source went back
    for, in its own time."""
    source = Demo(read({"HASHTAGS": "a"}))
    ingester = Ingester([source], store, ["a"], 0.5, elapsed=lambda: NOW / 1000)
    taken = ingester.present.lately
    ingester.take(source, post("ada", "a", "b"))
    assert taken.tags.keys() == {"a", "b"}
    source.complete = False
    ingester.take(source, post("bob", "a", "c"))
    ingester.take(source, post("bob", "d"))
    assert taken.tags.keys() == {"a", "b"}
    source.catching_up = True
    for ago in (5, 15):
        ingester.take(source, replace(post("cy", "a"), written=NOW - ago * MINUTE))
    assert len(taken.tags["a"]) == 3
    assert sorted(taken.slots) == [(NOW - 5 * MINUTE) // 10_000, NOW // 10_000]
    assert taken.uses == 4
