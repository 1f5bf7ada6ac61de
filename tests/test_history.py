"""Totals of the past, from commits of a real Redis."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from servers import RedisServer, get

from app.history import (
    HOURS,
    MINUTES,
    MOST_POINTS,
    RANGES,
    as_csv,
    missing,
    past,
    pieces,
    points,
    step_of,
    stored,
    together,
)
from app.store import STATE, STATES, State, Store, connect


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[Store]:
    redis = connect(redis_server.url)
    yield Store(redis)
    await redis.aclose()


async def commit(
    store: Store, seen: State, name: str, posts: int, state: str = "live", **changes: Any
) -> State:
    tick = {
        "at": 0,
        "tick": 0.5,
        "tracked": ["science"],
        "increments": {"science": {"x": posts}},
        "cursors": {},
        "spellings": {},
        "sources": {"x": state},
        "details": {"x": {"since": 1, "reason": "budget reached" if state == "budget" else ""}},
        **changes,
    }
    return await store.commit(seen, name, tick)


async def server_time(store: Store) -> int:
    seconds, micro = await store.redis.time()
    return int(seconds * 1000 + micro // 1000)


@pytest.mark.parametrize("span", ["1h", "24h", "7d", "30d"])
async def test_what_is_committed_is_the_newest_point(store: Store, span: str) -> None:
    """In every range, and what was before the first commit is null, never zero."""
    state = await commit(store, State(), "a", 3)
    await commit(store, state, "b", 4)
    now = await server_time(store)
    told = await past(store, await store.ticks_after(""), ["science"], span, now)
    line = told["series"]["science"]
    assert [total for _, total in line if total is not None] == [7]
    assert line[-1][1] == 7 or line[-2][1] == 7  # the step may have turned in between
    assert len(line) <= MOST_POINTS
    assert line[-1][0] == now
    assert told["gaps"][0]["reason"] == "not counted yet"


async def test_the_slots_take_under_400_kilobytes_for_a_hashtag(store: Store) -> None:
    """The bound that the README states, with every string at its full length."""
    await commit(store, State(), "a", 1)
    sizes = {}
    for kind, slots, strings in (("minutes", MINUTES, 9), ("hours", HOURS, 15)):
        [key] = await store.redis.keys("{hashtag}:" + kind + ":*")
        await store.redis.setrange(key, slots.in_string * 8 - 1, b"\0")
        sizes[kind] = strings * int(await store.redis.memory_usage(key))
        assert await store.redis.ttl(key) > 0
    assert sum(sizes.values()) < 400_000


def test_a_range_has_at_most_600_points() -> None:
    """Whatever its length, in whole slots."""
    steps = {span: step_of(seconds, slots) for span, (seconds, slots) in RANGES.items()}
    assert steps == {"15m": 1500, "1h": 60_000, "24h": 180_000, "7d": 1_020_000, "30d": 7_200_000}
    for span, (seconds, _) in RANGES.items():
        assert seconds * 1000 / steps[span] <= MOST_POINTS


def test_a_step_shows_its_last_total() -> None:
    """At the step's end; a step without a tick is None."""
    line = {0: 1, 400: 2, 999: 3, 2500: 9}
    assert points(line, 0, 4000, 1000, []) == [(1000, 3), (2000, None), (3000, 9), (4000, None)]


def test_a_hashtag_that_is_tracked_later_makes_no_gap() -> None:
    """Nothing was counted only where no hashtag has a total."""
    later, sooner = [(1, None), (2, None), (3, 5)], [(1, None), (2, 8), (3, None)]
    assert together([later, sooner]) == [(1, None), (2, 8), (3, 5)]
    [gap] = missing(together([later, sooner]), 1, [])
    assert (gap["to"], gap["kind"]) == (1, "start")


def test_time_without_an_ingester_is_said_to_be_so() -> None:
    """A stretch of None between totals is the ingester's; before the first, nothing counted."""
    line = [(1, None), (2, 5), (3, None), (4, None), (5, 6), (6, None)]
    assert missing(line, 1, []) == [
        {"from": 0, "to": 1, "reason": "not counted yet", "kind": "start", "all": True},
        {"from": 2, "to": 4, "reason": "ingester was down", "kind": "ingester", "all": True},
    ]


async def test_time_without_a_source_is_null_and_says_why(store: Store, monkeypatch: Any) -> None:
    """Flat totals while the only source was out of budget are no zeros: they are a gap."""
    state = await commit(store, State(), "a", 3)
    state = await commit(store, state, "b", 0, "budget")
    now = await server_time(store)
    told = await past(store, [], ["science"], "1h", now + 30 * 60_000)
    [gap] = [gap for gap in told["gaps"] if "budget" in gap["reason"]]
    assert gap["reason"] == "x: budget reached"
    assert gap["sources"] == {"x": {"state": "budget", "reason": "budget reached"}}
    assert gap["all"]
    assert gap["to"] == now + 30 * 60_000


async def test_a_gap_that_was_filled_is_none_any_more(store: Store) -> None:
    """As far as it was filled, for all of the hashtags that are asked for."""
    two, minute = {"tracked": ["science", "cats"]}, await server_time(store) // 60_000 * 60_000
    science = {minute + n * 60_000: n for n in range(5)}
    now = minute + 20 * 60_000

    async def budget_gaps(*tags: str) -> int:
        gaps = [
            g for g in (await past(store, [], tags, "1h", now))["gaps"] if "budget" in g["reason"]
        ]
        assert gaps[-1]["to"] == now
        return int(gaps[0]["from"])

    state = await commit(store, State(), "a", 0, "budget", **two)
    state = await commit(store, state, "b", 0, "budget", past={"science": {"x": science}}, **two)
    assert await budget_gaps("science") == minute + 5 * 60_000
    assert await budget_gaps("science", "cats") < minute + 60_000
    await commit(store, state, "c", 0, "budget", past={"cats": {"x": {minute: 1}}}, **two)
    assert await budget_gaps("science", "cats") == minute + 60_000


async def test_time_that_one_source_alone_fills_is_said_to_be_so(store: Store) -> None:
    """The ingester was down, and what the others had then nobody knows; a single source has
    no others, and while the ingester ran they were counted."""
    minute = await server_time(store) // 60_000 * 60_000
    for source, more in (("x", {}), ("y", {"z": "live"})):
        seen, sources = await store.load(), {source: "live", **more}
        details = {name: {"since": 1, "reason": ""} for name in sources}
        times = {minute - n * 60_000: 1 for n in ((9, 8), (8, 7, 6))[source == "y"]}
        found = {"science": {source: times}}
        await commit(store, seen, source, 0, past=found, sources=sources, details=details)
    told = await past(store, [], ["science"], "1h", await server_time(store))
    [gap] = [gap for gap in told["gaps"] if not gap["all"]]
    assert gap["reason"] == "only y was counted"
    assert (gap["from"], gap["to"]) == (minute - 7 * 60_000, minute - 5 * 60_000)


def test_what_other_sources_lack_is_still_said() -> None:
    """Of two that were out, the one that was filled is left out of the reason."""
    filled = [("a", "x", 10, 20), ("a", "x", 15, 40), ("a", "y", 30, 50)]
    assert list(pieces(0, 35, ["x", "y"], ["a"], filled)) == [
        (0, 10, ["x", "y"]),
        (10, 15, ["y"]),
        (15, 20, ["y"]),
        (20, 30, ["y"]),
        (30, 35, []),
    ]


@pytest.mark.parametrize("states", [("polling",), ("connecting", "live"), ("down", "polling")])
async def test_a_source_that_works_or_is_soon_back_has_no_gap(
    store: Store, states: tuple[str, ...]
) -> None:
    """Polling is work, and a pause of less than five seconds cannot be seen."""
    stored = await commit(store, State(), "a", 3)
    for state in states:
        stored = await commit(store, stored, state, 0, state)
    told = await past(store, [], ["science"], "1h", await server_time(store) + 30 * 60_000)
    assert not [gap for gap in told["gaps"] if gap["reason"].startswith("x:")]


async def test_a_foreign_entry_among_the_states_is_passed_over(store: Store) -> None:
    """Whatever somebody put there, the past is answered."""
    await commit(store, State(), "a", 3)
    for entry in (
        {"x": "y"},
        {"sources": "[", "details": "{}"},
        {"sources": "[]", "details": "{}"},
        {"sources": "{}", "details": "{}", "filled": '{"science":{"x":[1,[2]]}}'},
        {"sources": "[1]", "details": "{}", "alone": '{"science":[1,[2]]}'},
        {"sources": "[1]", "details": "{}", "alone": "[[1,2]]"},
    ):
        await store.redis.xadd(STATES, entry)
    told = await past(store, [], ["science"], "1h", await server_time(store))
    assert any(total == 3 for _, total in told["series"]["science"])


async def test_a_table_for_a_spreadsheet(store: Store) -> None:
    """A row a time, empty where there is no total."""
    await commit(store, State(), "a", 3)
    told = await past(store, [], ["science"], "1h", await server_time(store))
    rows = as_csv(told).split("\r\n")
    assert rows[0] == "time,science"
    assert rows[1].endswith(",")
    assert any(row.endswith(",3") for row in rows)


async def test_history_over_http(start_app: Any) -> None:
    """JSON and CSV, and one sentence for a bad request."""
    app = start_app(TICK_SECONDS=0.1).started()
    for span in RANGES:
        status, told = await get(f"{app.url}/api/history?tags=science&range={span}")
        assert status == 200
        assert list(told["series"]) == ["science"]
    status, text = await get(f"{app.url}/api/history?format=csv")
    assert text.startswith("time,science,football\r\n")
    assert (await get(f"{app.url}/api/history?range=1y"))[0] == 400
    assert (await get(f"{app.url}/api/history?format=xml"))[0] == 400
    assert (await get(f"{app.url}/api/history?tags=nobody"))[0] == 404


@pytest.mark.parametrize("late", [False, True])
async def test_an_hour_ends_with_its_last_total(store: Store, late: bool) -> None:
    """The hour's slot is written once a minute; when the hour is over it is put right."""
    state = await commit(store, State(), "a", 3)
    await commit(store, state, "b", 4)
    hour = await server_time(store) // 3_600_000 * 3600 - 3600
    # as if these commits had been made at the end of the hour before this one
    await store.redis.hset(STATE, "second", str(hour + 3599))
    for key in await store.redis.keys("{hashtag}:hours:*"):
        await store.redis.delete(key)
    last_minute = {"science": {"x": {(hour + 3540) * 1000: 2}}} if late else {}
    await commit(store, await store.load(), "c", 5, past=last_minute)
    found = await stored(store, "science", HOURS, hour * 1000, hour * 1000 + 2 * 3_600_000)
    assert found == {hour * 1000: 7 + 2 * late, (hour + 3600) * 1000: 12 + 2 * late}
