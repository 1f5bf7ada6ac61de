"""Overload stretches ticks and says so, instead of falling behind."""

import asyncio
import re
import signal
from collections.abc import Callable

import pytest
from links import Link
from servers import App, RedisServer, eventually, free_port, get
from test_feed import Clock, events, tick
from world import stop

from app.ingest.ingester import Ingester
from app.pace import SHARE, Pace
from app.settings import read
from app.sources import pick
from app.store.store import Store, connect
from app.web.fanout import FanOut
from app.web.feed import Feed
from app.web.viewer import Viewer


def test_a_tick_that_is_slow_by_chance_changes_nothing() -> None:
    """One in a while is no overload."""
    pace = Pace(0.5, "work")
    said = [pace.took(1.0 if n % 10 == 0 else 0.05) for n in range(100)]
    assert not any(said) and pace.lasts == 0.5


def test_ticks_last_as_long_as_they_need_and_no_longer_than_that() -> None:
    """With some air; said once when it begins and once when it is over."""
    pace = Pace(0.5, "work")
    said = [pace.took(2.0) for _ in range(50)]
    assert pace.lasts == pytest.approx(2.0 / SHARE, rel=0.01)
    assert [bool(each) for each in said].count(True) == 1
    assert next(filter(None, said)).startswith("overload: work takes ")
    said = [pace.took(0.01) for _ in range(50)]
    assert pace.lasts == 0.5
    assert list(filter(None, said)) == ["the overload is over: ticks last 0.5 s again"]


def test_what_takes_nearly_all_of_a_tick_keeps_up() -> None:
    """It begins where a tick takes longer than it lasts, or nearly; and is over with air again."""
    pace = Pace(1.0, "work")
    said = [pace.took(0.94) for _ in range(50)]
    assert not any(said) and pace.lasts == 1.0
    assert any(pace.took(0.97) for _ in range(50))
    said = [pace.took(0.82) for _ in range(50)]
    assert not any(said) and pace.lasts == pytest.approx(0.82 / SHARE, abs=0.01)
    assert any(pace.took(0.79) for _ in range(50))
    assert pace.lasts == 1.0


def test_a_pause_is_no_overload() -> None:
    """A process that was stopped for a minute, or a laptop that slept: ticks go on as chosen."""
    pace = Pace(0.5, "work")
    said = [pace.took(60.0), *(pace.took(0.05) for _ in range(10))]
    assert not any(said) and pace.lasts == 0.5


async def test_an_ingester_that_was_stopped_ticks_as_chosen_afterwards(
    start_app: Callable[..., App], redis_server: RedisServer
) -> None:
    """SIGSTOP in the midst of a commit, which so takes longer than several ticks last."""
    place = f"127.0.0.1:{free_port()}"
    settings = {"TICK_SECONDS": "0.5", "METRICS_BIND": place}
    async with Link(redis_server.port) as link:
        store = Store(connect(redis_server.url))
        app = start_app("ingest", REDIS_URL=link.url, **settings)

        async def ticked(number: int, after: str = "") -> bool:
            return len(await store.ticks_after(after)) >= number

        await eventually(lambda: ticked(5), f"it counts: {app.output}")
        link.flows.clear()
        await eventually(lambda: link.held, "an answer is under way")
        stop(app)
        link.flows.set()
        last = (await store.ticks_after(""))[-1].id
        await asyncio.sleep(1.6)
        app.signal(signal.SIGCONT)
        await eventually(lambda: ticked(10, last), f"it goes on: {app.output}")
        _, told = await get(f"http://{place}/metrics")
        [quick] = re.findall(r'^pulse_commit_seconds_bucket{le="1.0"} (.*)$', told, re.M)
        [commits] = re.findall(r"^pulse_commit_seconds_count (.*)$", told, re.M)
        assert float(commits) > float(quick), "it was stopped in the midst of a commit"
        assert {each.seconds for each in await store.ticks_after("")} == {0.5}
        assert "overload" not in app.output
        await store.redis.aclose()


async def test_an_ingester_whose_commits_are_slow_makes_fewer_ticks(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Each says how long it lasted, the log says why; when it is over, all is as chosen again."""
    async with Link(redis_server.port) as link:
        store, slow = Store(connect(redis_server.url)), Store(connect(link.url))
        ingester = Ingester([pick("demo", read({}))], slow, ("science",), 0.3)
        task = asyncio.create_task(ingester.run())

        async def lasted(least: float, most: float) -> bool:
            ticks = await store.ticks_after("")
            return bool(ticks) and least <= ticks[-1].seconds <= most

        await eventually(lambda: lasted(0.3, 0.3), "ticks as chosen")
        link.delay = 0.1
        await eventually(lambda: lasted(0.31, 5.0), "stretched ticks")
        assert link.delayed
        assert "overload: storing a tick takes" in caplog.text
        link.delay = 0.0
        await eventually(lambda: lasted(0.3, 0.3), "ticks as chosen again")
        assert "the overload is over: ticks last 0.3 s again" in caplog.text
        task.cancel()
        await asyncio.wait([task])
        await slow.redis.aclose()
        await store.redis.aclose()


async def test_a_web_process_that_cannot_keep_up_hands_over_fewer_ticks(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whole ones, the newest at the time, which say how long they lasted."""
    clock = Clock()
    feed = Feed(0.5, clock=clock, chance=lambda: 0.5)
    feed.hear(tick(1, a=1))
    feed.hear(None)
    viewer = Viewer(feed, feed.watch(("a",), False))
    stream = viewer.stream()
    assert events(await anext(stream))[0][1] == "1-0"
    hear = FanOut.hear

    def slowly(*arguments: object) -> None:
        hear(*arguments)  # type: ignore[arg-type]
        clock.now += 1.0

    monkeypatch.setattr(FanOut, "hear", slowly)
    told = []
    for n in range(2, 60):
        before = clock.now
        feed.hear(tick(n, a=n))
        told += [n] if clock.now > before else []
        clock.now = max(clock.now, n * 0.5)
    assert "overload: handing a tick to all viewers takes" in caplog.text
    assert len(told) < 40
    got = events(await anext(stream))
    assert got[-1][2]["counts"] == {"a": 59}
    assert got[-1][2]["tick"] > 1
    await stream.aclose()  # type: ignore[attr-defined]


def test_an_overload_leaves_out_no_more_ticks_than_it_must(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ticks that are to last a fifth longer are told five times of six, not every other time."""
    clock = Clock()
    feed = Feed(1.0, clock=clock)
    feed.hear(tick(1, a=1))
    feed.hear(None)
    fanout = feed.watch(("a",), False)
    feed.pace.lasts = 1.2
    monkeypatch.setattr(feed.pace, "took", lambda _: "")
    told = []
    for n in range(2, 62):
        clock.now += 1.0
        feed.hear(tick(n, a=n))
        told += [n] if fanout.told_at == clock.now else []
    assert len(told) == 51, "the first comes when there was time"
