"""Posts that are counted when their minute is over, in a real Redis: where they belong."""

import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from servers import RedisServer

from app.history import HOURS, MINUTES, stored
from app.messages import Tick
from app.store import STATES, TOTALS, State, Store, StoreLost, connect

MINUTE = 60_000
DAY = 1440 * MINUTE
TAGS = ["science", "サッカー"]
Minutes = Mapping[str, Mapping[str, Mapping[int, int]]]


@pytest.fixture
async def store(redis_binary: str, tmp_path: Path) -> AsyncIterator[Store]:
    with RedisServer(redis_binary, tmp_path / "redis") as server:
        redis = connect(server.url)
        yield Store(redis)
        await redis.aclose()


async def commit(
    store: Store, seen: State, name: str, posts: int = 0, past: Minutes | None = None
) -> State:
    tick = {
        "at": 0,
        "tick": 0.5,
        "tracked": TAGS,
        "increments": {"science": {"x": posts}} if posts else {},
        "past": past or {},
        "cursors": {},
        "sources": {"x": "live"},
        "details": {"x": {"since": 1, "reason": ""}},
    }
    return await store.commit(seen, name, tick)


async def this_minute(store: Store) -> int:
    """Milliseconds at which the present minute of Redis began."""
    seconds, _ = await store.redis.time()
    return int(seconds) // 60 * MINUTE


async def newest(store: Store) -> Tick:
    return (await store.ticks_after(""))[-1]


async def line(store: Store, tag: str, now: int, slots: Any = MINUTES) -> dict[int, int]:
    """The totals of nine days, by slot; the present hour's may be a minute old in Redis, but
    the newest tick has it."""
    found = await stored(store, tag, slots, now - 9 * DAY, now + slots.seconds * 1000)
    present = now // 1000 // slots.seconds * slots.seconds * 1000
    if slots is HOURS and present in found:
        found[present] = (await newest(store)).counts[tag]
    return found


async def test_they_raise_their_own_minute_and_all_since(store: Store) -> None:
    """A minute without a tick gets what the total was, one that X did not tell of stays empty."""
    now = await this_minute(store)
    state = await commit(store, State(), "a", 5)
    first = {"x": {now - 9 * MINUTE: 2, now - 8 * MINUTE: 0, now - 6 * MINUTE: 4}}
    state = await commit(store, state, "b", 1, {"science": first})
    state = await commit(store, state, "c", 0, {"science": {"y": {now - 8 * MINUTE + 30_000: 10}}})
    assert state.commit == "c"
    found = await line(store, "science", now)
    present = [found.pop(at) for at in list(found) if at >= now]
    assert found == {now - 9 * MINUTE: 2, now - 8 * MINUTE: 12, now - 6 * MINUTE: 16}
    assert present[-1] == 22
    assert (await newest(store)).counts["science"] == 22
    assert (await newest(store)).by_source["science"] == {"x": 12, "y": 10}


async def test_the_tick_says_which_posts_are_of_the_past(store: Store) -> None:
    """In order of time, by source, with the minutes that had none; other ticks say nothing."""
    now = await this_minute(store)
    state = await commit(store, State(), "a", 5)
    found = {now - 2 * MINUTE: 3, now - 12 * MINUTE: 0, now - 10 * MINUTE: 10**15}
    await commit(store, state, "b", 0, {"サッカー": {"x": found}})
    ticks = await store.ticks_after("")
    assert [tick.past for tick in ticks] == [{}, {"サッカー": {"x": sorted(found.items())}}]
    assert ticks[-1].counts["サッカー"] == 10**15 + 3


async def test_the_times_that_are_filled_are_written_down(store: Store) -> None:
    """As spans from the first second to the end of the last minute, one for what is in one piece."""
    now = await this_minute(store)
    at = now - 20 * MINUTE
    found = {at + 12_000: 1, at + MINUTE: 0, at + 2 * MINUTE: 4, at + 9 * MINUTE: 1}
    await commit(store, State(), "a", 0, {"science": {"x": found}})
    [(_, entry)] = await store.redis.xrange(STATES)
    spans = f"[{at + 12_000},{at + 3 * MINUTE}],[{at + 9 * MINUTE},{at + 10 * MINUTE}]"
    assert entry[b"filled"].decode() == f'{{"science":{{"x":[{spans}]}}}}'
    assert entry[b"sources"] == b'{"x":"live"}'


async def test_minutes_in_which_nobody_ticked_are_written_down(store: Store) -> None:
    """Those of them that the posts fill: no other source is counted in them."""
    now = await this_minute(store)
    state = await commit(store, State(), "a", 0, {"science": {"x": {now - 5 * MINUTE: 1}}})
    minutes = {now - n * MINUTE + 7: n for n in (7, 6, 5, 3)}
    await commit(store, state, "b", 0, {"science": {"x": minutes}})
    entries = [entry for _, entry in await store.redis.xrange(STATES)]
    spans = [(7, 5), (3, 2)]
    told = ",".join(f"[{now - begin * MINUTE},{now - end * MINUTE}]" for begin, end in spans)
    assert (
        entries[0][b"alone"].decode() == f'{{"science":[[{now - 5 * MINUTE},{now - 4 * MINUTE}]]}}'
    )
    assert entries[1][b"alone"].decode() == f'{{"science":[{told}]}}'


async def test_what_cannot_be_is_put_as_near_as_can_be(store: Store) -> None:
    """The future into the present, and what is older than the minutes reach into the oldest."""
    now = await this_minute(store)
    found = {now + DAY: 2, 0: 3}
    await commit(store, State(), "a", 0, {"science": {"x": found}})
    totals = list((await line(store, "science", now)).values())
    assert totals == [3, 5]


async def test_after_weeks_away_the_hours_know_the_total(store: Store) -> None:
    """The minutes of then are forgotten: a line that begins at zero would be false."""
    now = await this_minute(store)
    state = await commit(store, State(), "a", 7)
    month = now // HOURS.seconds // 1000 // HOURS.in_string
    for key in await store.redis.keys("{hashtag}:*:*:science"):
        await store.redis.delete(key)
    old = f"{{hashtag}}:hours:{month - 1}:science"
    await store.redis.setrange(old, 8, b"@ \0\0\0\0\0\0")  # 8.0: a total of 7
    await commit(store, state, "b", 0, {"science": {"x": {now - DAY: 1}}})
    assert (await line(store, "science", now))[now - DAY] == 8


async def test_a_string_of_another_type_is_named_and_nothing_is_changed(store: Store) -> None:
    """Also one of a day that only posts of the past lead to."""
    now = await this_minute(store)
    key = f"{{hashtag}}:minutes:{(now - 2 * DAY) // DAY}:science"
    await store.redis.lpush(key, "mine")
    before = {key: await store.redis.dump(key) for key in await store.redis.keys()}
    with pytest.raises(StoreLost, match=f"the Redis key {key} is a list, expected a string"):
        await commit(store, State(), "a", 1, {"science": {"x": {now - DAY: 1}}})
    assert {key: await store.redis.dump(key) for key in await store.redis.keys()} == before


async def test_past_and_present_against_a_model(store: Store) -> None:
    """Two writers with right and stale states: each slot is the sum of what is up to it."""
    chance = random.Random(11)
    events: dict[str, Counter[int]] = {tag: Counter() for tag in TAGS}
    seen, version = [State(), State()], 0
    for n in range(150):
        writer, posts = chance.randrange(2), chance.randrange(3)
        state = chance.choice([seen[writer], seen[1 - writer]])
        past = some_past(chance, await this_minute(store))
        seen[writer] = await commit(store, state, f"c{n}", posts, past)
        if seen[writer].commit == f"c{n}":
            version += 1
            minute = int((await newest(store)).id.split("-")[0]) // MINUTE * MINUTE
            events["science"][minute] += posts
            for tag in TAGS:
                events[tag][minute] += 0  # a tick makes its minute known
                for found in past.get(tag, {}).values():
                    events[tag].update({at // MINUTE * MINUTE: p for at, p in found.items()})
                    for at in found:
                        events[tag][at // MINUTE * MINUTE] += 0
    assert version > 50
    now = await this_minute(store)
    for tag in TAGS:
        for slots in (MINUTES, HOURS):
            assert await line(store, tag, now, slots) == model(events[tag], slots.seconds * 1000)
        assert int(await store.redis.hget(TOTALS, tag) or 0) == events[tag].total()


def some_past(chance: random.Random, now: int) -> dict[str, dict[str, dict[int, int]]]:
    """Nothing, or some minutes in a row of some sources, up to three days ago."""
    if chance.random() < 0.6:
        return {}
    return {
        tag: {
            source: {
                now - (begin - n) * MINUTE + (7_000 if n == 0 else 0): chance.randrange(4)
                for n in range(chance.randrange(1, 9))
            }
            for source in chance.sample(["x", "y"], chance.randrange(1, 3))
            for begin in [chance.randrange(9, 4000)]
        }
        for tag in chance.sample(TAGS, chance.randrange(1, 3))
    }


def model(events: Counter[int], milliseconds: int) -> dict[int, int]:
    """The running total at the end of each slot that is known."""
    totals, total = {}, 0
    for at in sorted(events):
        total += events[at]
        totals[at // milliseconds * milliseconds] = total
    return totals
