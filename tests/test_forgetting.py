"""Which hashtags are forgotten, and when."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
import stored
from served import serving
from servers import RedisServer, viewing
from writing import HOUR, DatedStore, Desk

from app.ingest.forgetting import MOST, MOST_BYTES
from app.messages import Tick
from app.store import keys
from app.store.store import connect


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[DatedStore]:
    redis = connect(redis_server.url)
    yield DatedStore(redis)
    await redis.aclose()


async def known(store: DatedStore) -> set[str]:
    return set(await stored.totals_by_source(store))


async def rounds(desk: Desk, number: int, seconds: float = 2.1) -> list[Tick]:
    """Ticks, each some seconds after the other."""
    ticks = []
    for _ in range(number):
        await desk.later(seconds / 60)
        ticks.append(await desk.write())
    return ticks


async def test_one_that_is_unseen_for_48_hours_is_forgotten(store: DatedStore) -> None:
    """After the end of its last hour; it is named in the tick, and begins at 0 again."""
    desk = await Desk(store, ["tracked"]).open()
    await desk.write({"x": {"old": 3, "tracked": 2}})
    await desk.later(30)
    await desk.write({"x": {"newer": 1}})
    await desk.later(48 * 60 + 29)
    await rounds(desk, 3, 5)
    assert await known(store) == {"old", "tracked", "newer"}
    await desk.later(1)
    ticks = await rounds(desk, 1)
    assert sorted(ticks[0].gone) == ["newer", "old"]
    assert await known(store) == {"tracked"}
    assert not any(tick.gone for tick in await rounds(desk, 3))
    tick = await desk.write({"x": {"old": 1}})
    assert (tick.counts, tick.added) == ({"old": {"x": 1}}, {"old": {"x": 1}})


async def test_who_watches_one_that_is_forgotten_is_told_a_fresh_past(
    redis_server: RedisServer,
) -> None:
    """It is forgotten all the same; over HTTP its line is 0 from then on, and goes on."""
    async with serving(redis_server.url) as site:
        desk = await Desk(DatedStore(site.store.redis)).open()
        await desk.write({"x": {"old": 3, "other": 1}})
        url = f"http://127.0.0.1:{site.port}/events?tags=old&history=60"
        async with asyncio.timeout(20), viewing(url) as events:
            assert (await anext(events)).retry
            assert (await anext(events)).data["series"]["old"][-1][1] == 3
            await desk.later(50 * 60)
            ticks = [await desk.write({"x": {"other": 1}}), *await rounds(desk, 2)]
            assert [tag for tick in ticks for tag in tick.gone] == ["old"]
            told = [await anext(events)]
            while told[-1].name != "counts" or told[-1].data["counts"] != {"old": 0}:
                told.append(await anext(events))
            history, now = told[-2:]
            assert (history.name, history.id) == ("history", now.id)
            assert {total for _, total in history.data["series"]["old"]} == {0}
            await desk.write({"x": {"old": 2}})
            while (event := await anext(events)).data["counts"] == {"old": 0}:
                pass
            assert (event.name, event.data["counts"]) == ("counts", {"old": 2})


async def test_another_source_has_seen_it(store: DatedStore) -> None:
    """Then it is known in all of them; and whoever is used just now, too."""
    desk = await Desk(store).open()
    await desk.write({"x": {"a": 1, "b": 1}, "y": {"a": 1, "c": 1}})
    await desk.later(40 * 60)
    await desk.write({"y": {"a": 1}})
    await desk.later(9 * 60 + 1)
    tick = await desk.write({"y": {"b": 1}})
    gone = [tag for tick in [tick, *await rounds(desk, 4)] for tag in tick.gone]
    assert gone == ["c"]
    assert await stored.totals_by_source(store) == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 1}}


async def test_it_is_forgotten_in_small_steps(store: DatedStore) -> None:
    """Some at a time, every two seconds, until none is left."""
    desk = await Desk(store).open()
    await desk.write({"x": {f"t{n}": 1 for n in range(7000)}})
    await desk.later(50 * 60)
    ticks = await rounds(desk, 12)
    steps = [len(tick.gone) for tick in ticks]
    assert sum(steps) == 7000
    assert max(steps) <= MOST
    assert not await known(store)
    await rounds(desk, 10, seconds=0.1)
    commits = [commit for commit in store.commits[-10:] if commit.writes]
    assert len(commits) <= 1


async def test_a_tick_that_forgets_is_bounded_by_bytes(store: DatedStore) -> None:
    """Long names: many fewer in one tick, and all in the end."""
    desk = await Desk(store).open()
    for n in range(0, 300, 30):
        await desk.write({"x": {f"{n + m}" + "\ufdfa" * 1800: 1 for m in range(30)}})
    await desk.later(50 * 60)
    ticks = await rounds(desk, 40)
    assert sum(len(tick.gone) for tick in ticks) == 300
    sizes = [sum(len(tag.encode()) for tag in tick.gone) for tick in ticks]
    assert max(sizes) <= MOST_BYTES


async def test_a_flood_of_names_does_not_push_out_what_people_use(store: DatedStore) -> None:
    """4,000 new names in every tick, of the same hour: of these go those with the fewest posts,
    as many as come, and what was used five times stays."""
    desk = await Desk(store, most=3000).open()
    used = {f"used{n}": 5 for n in range(500)}
    await desk.write({"x": used})
    sizes = []
    for tick in range(20):
        await desk.write({"x": {f"flood{tick}-{n}": 1 for n in range(MOST)}})
        await desk.later(0.01)
        sizes.append(len(await known(store)))
    assert used.keys() <= await known(store)
    assert max(sizes[10:]) <= 3000 + 8 * MOST, "it does not grow"


async def test_what_one_network_hardly_uses_is_not_taken_from_another(store: DatedStore) -> None:
    """Of a hashtag with a post on y and five on x, y's turn to look must not take x's five."""
    desk = await Desk(store, most=3000).open()
    used = {f"art{n}": 5 for n in range(500)}
    await desk.write({"x": used, "y": dict.fromkeys(used, 1)})
    for tick in range(10):
        flood = {f"flood{tick}-{n}": 1 for n in range(MOST // 2)}
        await desk.write({"x": flood, "y": flood})
        await desk.later(0.01)
    assert used.keys() <= await known(store)


async def test_too_many_go_oldest_first_until_there_are_few_enough(
    store: DatedStore, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once, though new ones come all the time; their hours go, too. Never a tracked
    one, nor one that is used just now."""
    desk = await Desk(store, ["tracked"], most=1000).open()
    for hour in range(3):
        tags = {f"{hour}.{n}": 1 for n in range(500)}
        await desk.write({"x": {**tags, "tracked": 1}})
        await desk.later(60)
    with caplog.at_level(logging.WARNING):
        ticks = await rounds(desk, 10)
        gone = [tag for tick in ticks for tag in tick.gone]
        assert len(await known(store)) == 1000
        assert len(gone) in (500, 501) and "tracked" not in gone
        assert sum(tag.startswith("0.") for tag in gone) > 250
        hour = await store.redis.hkeys(keys.hour(HOUR, "x"))
        assert not {tag.encode() for tag in gone} & set(hour)
        for n in range(20):
            await desk.write({"x": {f"new{n}": 1}})
            await rounds(desk, 1)
        assert len(await known(store)) <= 1001
        assert len(caplog.records) == 1
        assert "more than 1000 hashtags are known (MAX_HASHTAGS)" in caplog.text
        await desk.later(60 * 60)
        await rounds(desk, 10)
        assert "no more than 1000 hashtags are known again" in caplog.text


async def test_what_is_unreadable_is_forgotten(store: DatedStore) -> None:
    """Nobody can count on it; what is not even a name stays, and blocks nobody."""
    desk = await Desk(store).open()
    await desk.write({"x": {"a": 1}})
    await store.redis.hset(keys.totals("x"), mapping={"bad": "many", b"\xff": "1 1"})
    ticks = await rounds(desk, 2)
    assert [tag for tick in ticks for tag in tick.gone] == ["bad"]
    assert set(await store.redis.hkeys(keys.totals("x"))) == {b"a", b"\xff"}


async def test_looking_takes_a_bounded_time(store: DatedStore) -> None:
    """Between two looks there is none; when Redis's clock goes back, it goes on all the same."""
    desk = await Desk(store).open()
    await desk.write({"x": {"a": 1}})
    store.scanned = 0
    for _ in range(5):
        await desk.write()
    assert store.scanned == 0
    store.now -= 24 * 3_600_000
    await desk.open()
    await desk.write()
    assert store.scanned > 0
