"""The past as a real ingester writes it, read back."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from test_past import total_at

from app.ingest.clock import RedisClock
from app.ingest.counter import Cut
from app.ingest.writer import Writer
from app.messages import DAY, HOUR, MINUTE, SourceState
from app.store import keys
from app.store.past import (
    Running,
    read_past,
)
from app.store.state import State
from app.store.store import Store


class AheadStore(Store):
    """A Redis whose clock is ahead, as far as the test says."""

    ahead = 0
    """Milliseconds."""

    async def read(self, fields: Any) -> Any:
        state, values = await super().read(fields)
        return replace(state, time=state.time + self.ahead), values

    async def commit(self, *args: Any) -> State:
        stored = await super().commit(*args)
        return replace(stored, time=stored.time + self.ahead)


async def written(writer: Writer, cut: Cut, state: State, live: Mapping[str, SourceState]) -> State:
    """The state with this cut in it."""
    while (state := await writer.write(cut, state, live, 0.5, 10.0)).commit != cut.name:
        pass
    return (await writer.store.read({}))[0]


@pytest.mark.parametrize("seed", range(6))
async def test_what_the_ingester_wrote_is_read_back(store: Store, seed: int) -> None:
    """Four days of it, with posts of the present and of late minutes, in two sources, with hours
    in which nobody ticked: each minute of each hashtag has its total, and none is a made-up one."""
    chance, store = Random(seed), AheadStore(store.redis)
    clock = RedisClock()
    writer = Writer(store, ["science"], 1000, clock, "test")
    writer.begin(state := (await store.read({}))[0])
    posts: dict[str, dict[str, Counter[int]]] = {
        source: {tag: Counter() for tag in ("science", "x", "y")} for source in "ab"
    }
    live: dict[str, SourceState] = {}
    while store.ahead < 4 * DAY:
        store.ahead += chance.choice([1, 7, 61, 61, 200]) * MINUTE
        clock.hear((await store.read({}))[0].time)
        now = clock.now() // MINUTE
        since = now - chance.choice([0, 0, 0, 30, 300])
        live = {name: SourceState("live", 1, "", True, since * MINUTE) for name in "ab"}
        present = {s: {t: chance.randrange(4) for t in "xy" if chance.random() < 0.3} for s in "ab"}
        past = {"b": {since: {chance.choice(["science", "x", "y"]): chance.randrange(1, 9)}}}
        cut = Cut(now, present, past if since < now else {})
        state = await written(writer, cut, state, live)
        while state.moved < now // 60 - 1:  # an hour a commit, of those that are over
            state = await written(writer, Cut(now), state, live)
        for source, minute, tag, n in cut.entries():
            posts[source][tag][minute] += n
    end = clock.now()
    for hours, by_hours in ((1, False), (24, False), (95, False), (96, True)):
        begin = end - hours * HOUR
        pasts, _ = await read_past(
            store, ["science", "x", "y"], begin, end, by_hours, (), live, ["science"]
        )
        for tag, past in pasts.items():
            # a day has no totals of single hours: before one that is lost, none is exact
            for source, line in past.sources.items() if not (by_hours and past.lost) else ():
                check(line, posts[source][tag], begin, end, by_hours)
            assert tag != "science" or past.lost == []


def check(line: Running, posts: Counter[int], begin: int, end: int, by_hours: bool) -> None:
    """Each known minute has the total that the posts have; where hours do, at their ends."""
    assert line.counted
    border = (keys.hour_of(end) - 47) * HOUR
    for first, last in line.counted:
        for at in range(max(first, begin) // MINUTE * MINUTE, min(last, end), MINUTE):
            step = HOUR if by_hours and at < border else MINUTE
            expected = sum(n for m, n in posts.items() if m * MINUTE < at // step * step + step)
            assert total_at(line, at) == expected


async def test_a_tracked_hashtag_is_kept_where_its_source_went_back(store: Store) -> None:
    """Also for an hour in which nobody ticked and nobody posted."""
    store, clock, begun = AheadStore(store.redis), RedisClock(), 0
    writer = Writer(store, ["science"], 1000, clock, "test")
    writer.begin(state := (await store.read({}))[0])
    for hours in (0, 5, 60):
        store.ahead = hours * HOUR
        clock.hear((await store.read({}))[0].time)
        begun = clock.now() if hours != 5 else begun
        live = {"a": SourceState("live", 1, "", True, begun)}
        for _ in range(2):
            state = await writer.write(Cut(clock.now() // MINUTE), state, live, 0.5, 10.0)
    now = clock.now()
    pasts, _ = await read_past(
        store, ["science"], now - 61 * HOUR, now, False, (), live, ["science"]
    )
    assert len(pasts["science"].sources["a"].counted) == 2
    assert total_at(pasts["science"].sources["a"], now) == 0
    assert pasts["science"].lost == []
