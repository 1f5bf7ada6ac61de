"""What is usual of a hashtag, from hours and days in Redis; and the band around a line."""

from random import Random
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from yesterday import Posts, fields_of, write

from app.messages import HOUR, MINUTE
from app.store import keys
from app.store.store import Store
from app.store.usual import FIELDS_AT_ONCE, Hours, read_hours, usual_at
from app.unusual import band, tail
from app.web.history import RANGES, Grid
from app.web.usual_band import bands

NOW = 494_000 * HOUR + 1234 * 1000
PRESENT = 494_000
BEGIN = PRESENT * 60 - 36 * 24 * 60
"""The first minute that was counted, five weeks ago."""
WEEK = 7 * 24


def weekly(seed: int, begin: int = BEGIN) -> dict[int, int]:
    """Minute to posts: 60 in the hours of the present weekday, hardly any else."""
    chance, found = Random(seed), {}
    for hour in range(begin // 60, PRESENT + 1):
        is_its_day = (PRESENT - hour) % WEEK < 12 or (hour - PRESENT) % WEEK < 12
        for _ in range(chance.randrange(50, 70) if is_its_day else chance.random() < 0.2):
            minute = hour * 60 + chance.randrange(60)
            found[minute] = found.get(minute, 0) + 1
    return {minute: n for minute, n in found.items() if begin <= minute <= NOW // MINUTE}


def posts_in(posts: dict[int, int], hour: int) -> int:
    return sum(posts.get(hour * 60 + n, 0) for n in range(60))


async def put(store: Store, posts: Posts, counted: dict[str, Any], kept: bool = True) -> None:
    """What an ingester would have left of these posts."""
    fields = fields_of(posts, counted, NOW, is_kept=lambda tag, hour: kept)
    await write(store.redis, fields, tuple(counted))


async def test_it_is_the_median_of_the_same_hours_of_four_weeks(store: Store) -> None:
    """Of each source that was counted then, together; each hour of a month is right."""
    posts = {"a": {"x": weekly(1)}, "b": {"x": weekly(2)}}
    await put(store, posts, dict.fromkeys("ab", range(BEGIN, NOW // MINUTE + 1)))
    hours = range(PRESENT - 6 * 24, PRESENT + 1)
    found = await read_hours(store, ["x"], hours, PRESENT, "ab")
    for hour in hours:
        expected = sum(
            median([posts_in(posts[source]["x"], hour - n * WEEK) for n in (1, 2, 3, 4)])
            for source in "ab"
        )
        assert usual_at(hour, found["x"].values()) == expected
    [its_day, another] = [usual_at(at, found["x"].values()) for at in (PRESENT, PRESENT - 72)]
    assert its_day and another is not None
    assert tail(posts_in(posts["a"]["x"], PRESENT - 1), its_day) > 0.5
    assert tail(posts_in(posts["a"]["x"], PRESENT - 1), another) < 1e-9


async def test_without_weeks_it_is_the_last_48_hours(store: Store) -> None:
    """By the minutes of them that were counted: 20 posts in the 90 before this hour."""
    begin = PRESENT * 60 - 90
    posts = {begin + n: 2 for n in range(10)} | {PRESENT * 60 + 1: 99}
    await put(store, {"a": {"x": posts}}, {"a": range(begin, NOW // MINUTE + 1)}, kept=False)
    found = await read_hours(store, ["x", "never"], [PRESENT, PRESENT - 1], PRESENT, ["a"])
    assert usual_at(PRESENT, found["x"].values()) == pytest.approx(20 / 1.5)
    assert usual_at(PRESENT, found["never"].values()) == 0
    assert usual_at(PRESENT - 1, found["x"].values()) == pytest.approx(40)
    assert usual_at(PRESENT - 2, found["x"].values()) is None
    assert usual_at(PRESENT + 1, found["x"].values()) is None


async def test_a_source_of_which_nobody_knows_makes_all_unknown(store: Store) -> None:
    """It began this hour: what the others usually have is not what all have."""
    counted = {"a": range(BEGIN, NOW // MINUTE + 1), "b": range(PRESENT * 60, PRESENT * 60 + 20)}
    await put(store, {"a": {"x": weekly(1)}, "b": {"x": {PRESENT * 60: 9}}}, counted)
    found = await read_hours(store, ["x"], [PRESENT], PRESENT, "ab")
    assert usual_at(PRESENT, found["x"].values()) is None
    assert usual_at(PRESENT, [found["x"]["a"]]) is not None
    assert usual_at(PRESENT, [found["x"]["a"], Hours({}, {})]) is not None
    assert usual_at(PRESENT, [Hours({}, {})]) is None


async def test_what_is_none_of_ours_is_skipped(store: Store) -> None:
    """And counted; the rest is as good as before."""
    await put(store, {"a": {"x": weekly(1)}}, {"a": range(BEGIN, NOW // MINUTE + 1)})
    await store.redis.hset(keys.day((PRESENT - WEEK) // 24, "a"), "x", b"no hours")
    found = await read_hours(store, ["x"], [PRESENT], PRESENT, "a")
    assert store.skipped == 1
    assert 30 < (usual_at(PRESENT, found["x"].values()) or 0) < 80


async def test_many_hashtags_are_read_in_pages(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of them asks for more than so many fields."""
    await put(store, {"a": {"x": weekly(1)}}, {"a": range(PRESENT * 60 - 3000, NOW // MINUTE)})
    asked: list[int] = []
    read = store.read

    async def counting(fields: Any) -> Any:
        asked.append(sum(map(len, fields.values())))
        return await read(fields)

    monkeypatch.setattr(store, "read", counting)
    tags = ["x", *map(str, range(300))]
    found = await read_hours(store, tags, [PRESENT], PRESENT, ["a"])
    assert len(found) == 301
    assert len(asked) > 7
    assert max(asked) <= FIELDS_AT_ONCE


@given(some.integers(0, 10**12), some.dictionaries(some.integers(0, 59), some.integers(1, 200_000)))
def test_the_posts_of_an_hour_need_no_slots(total: int, slots: dict[int, int]) -> None:
    """They are the sum of them, whatever stands before; what is cut is none."""
    packed = keys.Past(total, slots).pack()
    assert keys.posts_in(packed) == sum(slots.values())
    for bad in (packed + b"\x01", b"", b"\xff"):
        with pytest.raises(ValueError, match=r"not the minutes|no total"):
            keys.posts_in(bad)


@pytest.mark.parametrize("span", sorted(RANGES))
async def test_a_band_is_what_is_usual_at_each_point(store: Store, span: str) -> None:
    """Of a step, or of a minute where steps are shorter; worked out here from the posts."""
    posts = weekly(1)
    await put(store, {"a": {"x": posts}}, {"a": range(BEGIN, NOW // MINUTE + 1)})
    grid = Grid.of(span, NOW)
    found = (await bands(store, ["x"], grid, ["a"]))["x"]
    assert len(found) == len(grid.steps)
    seen = 0
    for at, usual in zip(grid.steps, found, strict=True):
        hours = range(at // HOUR, min(at + grid.step - 1, NOW) // HOUR + 1)
        if hours[0] - 4 * WEEK <= BEGIN // 60:
            continue
        means = [median([posts_in(posts, hour - n * WEEK) for n in (1, 2, 3, 4)]) for hour in hours]
        assert usual == band(sum(means) / len(means) * max(grid.step, MINUTE) / HOUR)
        seen += 1
    assert seen > 50


async def test_where_nothing_is_known_there_is_no_band(store: Store) -> None:
    """Counted since five hours ago, with a break of one; the first hour has none before it."""
    minutes = [
        *range(PRESENT * 60 - 300, PRESENT * 60 - 120),
        *range(PRESENT * 60 - 60, NOW // MINUTE),
    ]
    await put(store, {"a": {"x": {PRESENT * 60 - 240: 60}}}, {"a": minutes})
    found = (await bands(store, ["x", "y"], Grid.of("24h", NOW), "a"))["x"]
    by_hour = {}
    for at, usual in zip(Grid.of("24h", NOW).steps, found, strict=True):
        by_hour.setdefault(at // HOUR - PRESENT, set()).add(usual)
    assert by_hour.pop(-5) == by_hour.pop(-2) == {None}
    known = {hour: usual for hour, usual in by_hour.items() if hour > -5}
    assert sorted(known) == [-4, -3, -1, 0]
    assert known[-4] == {band(0)}
    assert known[-3] == {band(30 / 20)}
    assert all(usual == {None} for hour, usual in by_hour.items() if hour < -5)
    week = Grid.of("7d", NOW)
    lines = zip(week.steps, (await bands(store, ["x"], week, "a"))["x"], strict=True)
    for at, usual in lines:
        touched = {at // HOUR - PRESENT, min(at + week.step - 1, NOW) // HOUR - PRESENT}
        assert (usual is None) is not touched.issubset({-4, -3, -1, 0})
