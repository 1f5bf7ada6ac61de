"""Hours and days in Redis, read back as running totals."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from yesterday import LIVE, Fields, Minutes, Posts, asked_of, fields_of, sources, write

from app.messages import DAY, HOUR, MINUTE, SourceState
from app.store import keys
from app.store.past import (
    HashtagPast,
    Running,
    periods,
    read_past,
)
from app.store.source_log import complete_since, read_states
from app.store.spans import joined, without
from app.store.state import State
from app.store.store import Store, StoreLost

NOW = 494_000 * HOUR + 1234 * 1000
"""Twenty minutes into an hour that is the eighth of its day."""
MINUTES_BACK = range(NOW // MINUTE - 50 * 60, NOW // MINUTE + 1)
STREAM = SourceState("live", since=1, complete=True)
ASKED = SourceState("polling", since=1, complete=False)


class Stored:
    """A store over plain fields, of one moment; it counts what is asked of it."""

    def __init__(self, fields: Fields, networks: Sequence[str], states: Any = ()) -> None:
        self.fields, self.networks, self.states = fields, tuple(networks), states
        self.skipped: list[str] = []
        self.asked: list[Mapping[str, Sequence[str]]] = []

    async def read_with_states(self, fields: Mapping[str, Sequence[str]], begin: int | None) -> Any:
        self.asked.append(fields)
        values = {
            key: {name: self.fields[key][name] for name in names if name in self.fields[key]}
            for key, names in fields.items()
            if key in self.fields
        }
        return State(networks=self.networks), values, [] if begin is None else self.states

    def skip(self, why: str) -> None:
        self.skipped.append(why)


def read(
    fields: Fields | Stored,
    *tags: str,
    hours: int = 24,
    by_hours: bool = False,
    tracked: Sequence[str] = (),
    **newest: SourceState,
) -> list[HashtagPast]:
    """The past of these hashtags, so many hours of it."""
    newest = newest or {"a": STREAM}
    store: Any = fields if isinstance(fields, Stored) else Stored(fields, list(newest))
    begin = NOW - hours * HOUR
    work = read_past(store, tags, begin, NOW, by_hours, newest, newest, tracked)
    pasts, _ = asyncio.run(work)
    return [pasts[tag] for tag in tags]


def total_at(line: Running, at: int) -> int:
    """The running total at the end of the minute that begins at this time."""
    return next((total for time, total in reversed(line.changes) if time <= at), line.before)


posts_of_minutes = some.dictionaries(
    some.sampled_from(MINUTES_BACK), some.one_of(some.integers(1, 9), some.just(70_000))
)


@given(
    some.dictionaries(some.sampled_from(["a", "b"]), posts_of_minutes, min_size=1),
    some.integers(1, 47),
    some.integers(0, 5000),
)
def test_what_was_counted_is_read_back_exactly(
    found: dict[str, dict[int, int]], hours: int, earlier: int
) -> None:
    """At each minute of the last two days, whatever was before them and is forgotten."""
    first = NOW // MINUTE - 40 * DAY // MINUTE
    posts = {name: {"x": {**of, first: earlier}} for name, of in found.items()}
    fields = fields_of(posts, dict.fromkeys(found, MINUTES_BACK), NOW)
    [past] = read(fields, "x", hours=hours, **dict.fromkeys(found, STREAM))
    assert past.lost == []
    for name, of in found.items():
        line = past.sources[name]
        for minute in range((NOW - hours * HOUR) // MINUTE, NOW // MINUTE + 1):
            expected = earlier + sum(n for at, n in of.items() if at <= minute)
            assert total_at(line, minute * MINUTE) == expected
        assert line.counted[0][0] <= NOW - hours * HOUR
        assert line.counted[-1][1] > NOW


@given(posts_of_minutes, some.sets(some.integers(0, 50)), some.booleans())
def test_the_kept_hours_of_a_week_are_exact(
    found: dict[int, int], missing: set[int], is_tracked: bool
) -> None:
    """Each has the total that it had, though others before it and after it are not kept."""
    hour = NOW // HOUR
    week = range((NOW - 7 * DAY) // MINUTE, NOW // MINUTE + 1)
    earlier = {at - n * DAY // MINUTE: 3 for at in found for n in (2, 4)}
    both = dict(Counter(found) + Counter(earlier))

    def is_kept(tag: str, number: int) -> bool:
        return (hour - number) not in missing and (hour - number - 48) not in missing

    tracked = ["x"] if is_tracked else []
    fields = fields_of({"a": {"x": both}}, {"a": week}, NOW, tracked, is_kept)
    [past] = read(fields, "x", hours=7 * 24 - 1, tracked=tracked)
    line = past.sources["a"]
    for begin, end in line.counted:
        for at in range(max(begin, week[0] * MINUTE), min(end, NOW), MINUTE):
            assert total_at(line, at) == sum(n for m, n in both.items() if m * MINUTE <= at)
    assert (past.lost == []) == (
        is_tracked or bool(line.counted and line.counted[0][0] <= NOW - 7 * DAY)
    )
    assert all(end <= (hour - 47) * HOUR for _, end in past.lost)


def test_a_request_reads_a_bounded_number_of_keys() -> None:
    """A hash for each hour or day and source, and the totals."""
    for hours, by_hours, most in (
        (1, False, 2),
        (24, False, 25),
        (168, False, 169),
        (720, True, 79),
    ):
        begin = NOW - hours * HOUR
        assert len(periods(begin, NOW, by_hours)) <= most
        stored = Stored({}, ["a", "b"])
        read(stored, "x", "y", hours=hours, by_hours=by_hours, a=STREAM, b=ASKED)
        [asked] = stored.asked
        assert len(asked) <= 2 * (most + 1)


def test_places_follow_each_other() -> None:
    """Without a hole and without an overlap, up to the present hour."""
    for hours, by_hours in ((1, False), (24, False), (168, False), (720, True)):
        found = periods(NOW - hours * HOUR, NOW, by_hours)
        assert found[0].begin <= NOW - hours * HOUR
        assert all(before.end == after.begin for before, after in pairwise(found))
        assert found[-1].begin <= NOW < found[-1].end


def test_silence_is_not_the_same_as_what_was_not_asked_or_not_counted() -> None:
    """A complete source that was counted has silence; another one has nothing to say."""
    minutes = range(NOW // MINUTE - 600, NOW // MINUTE - 300)
    counted: Minutes = {"a": minutes, "b": MINUTES_BACK}
    fields = fields_of({"b": {"asked": {MINUTES_BACK[-5]: 2}}}, counted, NOW, tracked=())
    silent, asked = read(fields, "silent", "asked", a=STREAM, b=ASKED)
    assert set(silent.sources) == {"a"}
    assert silent.sources["a"].changes == []
    assert silent.sources["a"].counted == [(minutes[0] * MINUTE, minutes[-1] * MINUTE + MINUTE)]
    assert asked.sources["b"].counted == [(NOW // HOUR * HOUR, NOW // MINUTE * MINUTE + MINUTE)]
    assert silent.lost == asked.lost == []


def test_a_tracked_hashtag_has_all_sources() -> None:
    """Also those that were asked for it, and found nothing."""
    fields = fields_of({}, {"b": MINUTES_BACK}, NOW, tracked=["x"])
    [past] = read(fields, "x", tracked=["x"], a=STREAM, b=ASKED)
    assert set(past.sources) == {"a", "b"}
    assert past.sources["a"].counted == []
    assert past.sources["b"].counted[0][0] <= NOW - DAY


def test_a_source_that_became_complete_was_not_asked_before() -> None:
    """Silence only since it has all of its network."""
    states = [
        (NOW - 30 * HOUR, {b"sources": sources(a=ASKED).encode()}),
        (NOW - 3 * HOUR, {b"sources": sources(a=STREAM).encode()}),
    ]
    stored = Stored(fields_of({}, {"a": MINUTES_BACK}, NOW), ["a"], states)
    [past] = read(stored, "x")
    assert past.sources["a"].counted[0][0] == (NOW - 3 * HOUR) // HOUR * HOUR
    seen = read_states(states)
    assert complete_since(seen[:1]) == {"a": float("inf")}
    assert complete_since(seen) == {"a": NOW - 3 * HOUR}
    assert complete_since(seen[1:]) == {"a": 0}


def test_what_is_not_kept_is_lost_and_not_silent() -> None:
    """A hashtag that is not tracked, older than the hours; but not while nobody counted."""
    old = range((NOW - 60 * HOUR) // MINUTE, (NOW - 55 * HOUR) // MINUTE)
    counted = {"a": [*old, *MINUTES_BACK[600:]]}
    posts = {"a": {"x": {old[10]: 5, MINUTES_BACK[700]: 3}}}
    [past] = read(fields_of(posts, counted, NOW), "x", hours=100)
    assert past.lost == [(old[0] * MINUTE, old[-1] * MINUTE + MINUTE)]
    assert past.sources["a"].counted == [
        (MINUTES_BACK[600] * MINUTE, NOW // MINUTE * MINUTE + MINUTE)
    ]


def test_what_was_not_asked_is_not_lost() -> None:
    """A source that counts only what it was asked for has nothing else to keep."""
    old = range((NOW - 60 * HOUR) // MINUTE, NOW // MINUTE + 1)
    [past] = read(fields_of({}, {"b": old}, NOW), "x", hours=100, a=STREAM, b=ASKED)
    assert past == HashtagPast({"a": Running(0, [], [])}, [])


def test_a_day_has_the_hours_that_were_kept() -> None:
    """Of a hashtag that is not tracked; one that is has all of them, posts or not."""
    week = range((NOW - 7 * DAY) // MINUTE, NOW // MINUTE + 1)
    at = (NOW - 5 * DAY) // DAY * DAY + 3 * HOUR
    posts = {"a": {tag: {at // MINUTE: 4, NOW // MINUTE - 9: 2} for tag in ("x", "y")}}
    fields = fields_of(posts, {"a": week}, NOW, ["y"], lambda tag, hour: hour == at // HOUR)
    x, y = read(fields, "x", "y", hours=720, by_hours=True, tracked=["y"])
    border = (NOW // HOUR - 47) * HOUR
    begin = week[0] * MINUTE // HOUR * HOUR
    assert x.lost == [(begin, at), (at + HOUR, border)]
    assert y.lost == []
    assert y.sources["a"].counted[0][0] == begin
    for past in (x, y):
        line = past.sources["a"]
        assert [total_at(line, time) for time in (at - 1, at, border, NOW)] == [0, 4, 4, 6]


def test_what_one_source_has_kept_is_silence_in_another() -> None:
    """A hashtag is kept for all of an hour, whoever had the posts; but where nothing says what
    the other's total was then, between hours that are lost, it is not made up."""
    week = range((NOW - 7 * DAY) // MINUTE, NOW // MINUTE + 1)
    hour = (NOW - 4 * DAY) // HOUR
    a = {(hour + n) * 60: 4 for n in (0, 2, 3)}
    posts = {"a": {"x": a}, "b": {"x": {(hour + 3) * 60: 1, (hour + 5) * 60: 7}}}
    counted = dict.fromkeys("ab", week)
    fields = fields_of(posts, counted, NOW, (), lambda tag, at: (at - hour) in (0, 2, 3))
    [past] = read(fields, "x", hours=160, a=STREAM, b=STREAM)
    kept = [((hour + first) * HOUR, (hour + last) * HOUR) for first, last in ((0, 1), (2, 4))]
    assert past.sources["a"].counted[:-1] == kept
    assert past.sources["b"].counted[:-1] == kept[1:]
    b = past.sources["b"]
    assert [total_at(b, (hour + n) * HOUR) for n in (2, 3, 60)] == [0, 1, 8]
    assert [begin for begin, _ in past.lost][1:] == [end for _, end in kept]


def test_posts_of_late_minutes_raise_all_that_follows() -> None:
    """Whether or not the later hours were told of them."""
    early, late = MINUTES_BACK[-400], MINUTES_BACK[-300]
    fields = fields_of({"a": {"x": {early: 2, MINUTES_BACK[-9]: 3}}}, {"a": MINUTES_BACK}, NOW)
    later = fields_of({"a": {"x": {early: 2, late: 40}}}, {"a": MINUTES_BACK}, NOW)
    key = keys.hour(late // 60, "a")
    fields[key]["x"] = later[key]["x"]
    fields[keys.totals("a")]["x"] = keys.written_posts(45, NOW // HOUR).encode()
    line = read(fields, "x")[0].sources["a"]
    assert [total_at(line, at * MINUTE) for at in (early - 1, early, late - 1, late)] == [
        0,
        2,
        2,
        42,
    ]
    assert total_at(line, NOW) == 45


def test_a_hashtag_that_was_forgotten_began_at_zero_again() -> None:
    """What it had before is not taken from what it has now."""
    fields = fields_of({"a": {"x": {MINUTES_BACK[-900]: 50}}}, {"a": MINUTES_BACK}, NOW)
    anew = fields_of({"a": {"x": {MINUTES_BACK[-5]: 2}}}, {"a": MINUTES_BACK}, NOW)
    fields[keys.hour(NOW // HOUR, "a")]["x"] = anew[keys.hour(NOW // HOUR, "a")]["x"]
    fields[keys.totals("a")]["x"] = anew[keys.totals("a")]["x"]
    line = read(fields, "x")[0].sources["a"]
    assert [total_at(line, MINUTES_BACK[n] * MINUTE) for n in (-901, -900, -6, -5)] == [0, 50, 0, 2]


def test_a_total_that_is_less_than_its_posts_is_never_below_zero() -> None:
    """A hashtag that was forgotten and seen again within an hour has the posts of both times."""
    minutes = {MINUTES_BACK[-9]: 50, MINUTES_BACK[-5]: 2}
    fields = fields_of({"a": {"x": minutes}}, {"a": MINUTES_BACK}, NOW)
    fields[keys.totals("a")]["x"] = keys.written_posts(2, NOW // HOUR).encode()
    key = keys.hour(NOW // HOUR, "a")
    past = keys.Past.read(fields[key]["x"])
    past.total = 2
    fields[key]["x"] = past.pack()
    line = read(fields, "x")[0].sources["a"]
    assert [line.before, *(total for _, total in line.changes)] == [0, 0, 2]


@pytest.mark.parametrize("garbage", [b"", b"\xff" * 9, b"\x00\x01", b"\x01\x63\x00\x01", b"mine"])
@pytest.mark.parametrize("name", ["x", ""])
def test_garbage_in_a_field_is_skipped_and_nothing_else_is_lost(garbage: bytes, name: str) -> None:
    """One counted skip; the other hours, hashtags and sources are as they were."""
    posts: Posts = {s: {"x": dict.fromkeys(MINUTES_BACK[-600::7], 1), "y": {}} for s in "ab"}
    fields = fields_of(posts, dict.fromkeys("ab", MINUTES_BACK), NOW)
    whole = read(fields, "x", "y", a=STREAM, b=STREAM)
    bad = NOW // HOUR - 3
    fields[keys.hour(bad, "a")][name] = garbage
    stored = Stored(fields, "ab")
    x, y = read(stored, "x", "y", a=STREAM, b=STREAM)
    assert len(stored.skipped) == 1
    assert keys.hour(bad, "a") in stored.skipped[0]
    assert x.sources["b"] == whole[0].sources["b"]
    assert y.sources["b"] == whole[1].sources["b"]
    span = (bad * HOUR, bad * HOUR + HOUR)
    line, before = x.sources["a"], whole[0].sources["a"]
    if name:
        assert line.counted == before.counted
        assert line.changes[-1] == before.changes[-1]
    else:
        assert (line.before, line.changes) == (before.before, before.changes)
        for at, _ in line.changes:  # a post was counted, whoever says so
            assert any(begin <= at < end for begin, end in line.counted)
        assert y.sources["a"].counted == without(whole[1].sources["a"].counted, [span])


def test_garbage_in_a_total_leaves_what_the_hours_say() -> None:
    """Their own totals are there still."""
    fields = fields_of({"a": {"x": {MINUTES_BACK[-70]: 4, MINUTES_BACK[-3]: 1}}}, {}, NOW)
    fields[keys.totals("a")]["x"] = b"-5 apples"
    stored = Stored(fields, "a")
    assert total_at(read(stored, "x")[0].sources["a"], NOW) == 5
    assert len(stored.skipped) == 1


def test_a_source_that_nobody_knew_of_is_read_as_well() -> None:
    """One that counted before, and runs no longer."""
    fields = fields_of({"old": {"x": {MINUTES_BACK[-90]: 4}}}, {"old": MINUTES_BACK[:-60]}, NOW)
    stored = Stored(fields, ["old", "a"])
    [past] = read(stored, "x", a=STREAM)
    assert len(stored.asked) == 2
    assert total_at(past.sources["old"], NOW) == 4


@given(some.lists(some.tuples(some.integers(0, 30), some.integers(1, 9))), some.data())
def test_stretches_of_time_are_sets_of_moments(spans: list[tuple[int, int]], data: Any) -> None:
    """Joined they are the same time, and without others what is in none of those."""

    def moments(found: Sequence[tuple[int, int]]) -> set[int]:
        return {at for begin, end in found for at in range(begin, end)}

    spans = [(begin, begin + length) for begin, length in spans]
    holes = joined(data.draw(some.permutations(spans))[: len(spans) // 2])
    assert moments(joined(spans)) == moments(spans)
    assert all(before[1] < after[0] for before, after in pairwise(joined(spans)))
    assert moments(without(spans, holes)) == moments(spans) - moments(holes)


async def test_one_transaction_reads_it_all(store: Store) -> None:
    """However many hashtags and hours, from a real Redis: what is in it is of one moment."""
    posts = {"demo": {"x": {MINUTES_BACK[-90]: 4}, "サッカー": {MINUTES_BACK[-3]: 2}}}
    await write(store.redis, fields_of(posts, {"demo": MINUTES_BACK}, NOW))
    before = await asked_of(store.redis)
    tags = ["x", "サッカー", *(f"other{n}" for n in range(18))]
    pasts, _ = await read_past(store, tags, NOW - DAY, NOW, False, ["demo"], {"demo": LIVE}, ())
    assert [total_at(pasts[tag].sources["demo"], NOW) for tag in tags[:3]] == [4, 2, 0]
    after = await asked_of(store.redis)
    asked = {name: n - before[name] for name, n in after.items() if n > before[name]}
    asked.pop("info", None)
    assert asked == {
        "xrevrange": 1, "xrange": 1, "multi": 1, "time": 1, "hgetall": 1, "hmget": 26, "exec": 1
    }  # fmt: skip


@pytest.mark.parametrize(
    "key_of",
    [
        lambda hour: keys.hour(hour, "demo"),
        lambda hour: keys.totals("demo"),
        lambda hour: keys.STATES,
    ],
)
async def test_a_key_of_another_type_is_named_in_one_sentence(
    store: Store, key_of: Callable[[int], str]
) -> None:
    """The past is not known then, and nothing of it is made up."""
    key = key_of(NOW // HOUR)
    await store.redis.lpush(key, "mine")
    with pytest.raises(StoreLost) as lost:
        await read_past(store, ["x"], NOW - DAY, NOW, False, ["demo"], {"demo": LIVE}, ())
    assert key in str(lost.value)
    assert "\n" not in str(lost.value)


def test_a_minute_with_posts_was_counted() -> None:
    """Also one in which its source was lost before the tick: nobody says so but the posts."""
    begin, last = MINUTES_BACK[-9], MINUTES_BACK[-3]
    fields = fields_of({"a": {"x": {begin: 2, last: 5}}}, {"a": MINUTES_BACK[:-5]}, NOW)
    [past] = read(fields, "x")
    assert past.sources["a"].counted[-1] == (last * MINUTE, last * MINUTE + MINUTE)
