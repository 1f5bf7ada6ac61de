"""What viewers are told while no tick comes."""

from collections.abc import AsyncIterator

import pytest
from served import serving
from servers import Event, RedisServer, get, viewing
from test_feed import changed, feed_with, tick, view

UNKNOWN = {"since": 1000, "reason": "nothing was heard since the last tick"}


async def test_a_repeat_after_three_silent_ticks_says_that_nothing_is_known() -> None:
    """Its totals are as old as its `at`, and a source that was live then may be down now: it is
    `unknown`, since the last tick, until the next one, of which everybody hears at once."""
    feed, clock = feed_with(tick(1, a=1))
    feed.hear(tick(2, a=2))
    viewer = view(feed)
    [(_, _, told)] = await viewer.read()
    assert told["sources"] == {"x": "live"}
    assert await viewer.waits()
    clock.now += 4.5
    feed.beat()
    [(name, id, told)] = await viewer.then()
    assert (name, id, told["counts"], told["at"]) == ("counts", "2-0", {"a": 2}, 1000)
    assert (told["sources"], told["details"]) == ({"x": "unknown"}, {"x": UNKNOWN})
    for start in ({}, {"last_id": "garbage"}):  # who comes in the meantime
        told = (await view(feed, **start).read())[-1][2]
        assert (told["sources"], told["details"]) == ({"x": "unknown"}, {"x": UNKNOWN})
    assert await viewer.waits()
    feed.hear(tick(3))
    [(_, id, told)] = await viewer.then()
    assert (id, told["counts"], told["sources"]) == ("3-0", {"a": 2}, {"x": "live"})
    assert [id for _, id, _ in await view(feed, last_id="2-0").read()] == ["3-0"]


@pytest.mark.parametrize(("lasts", "silent"), [(0.1, 1.0), (0.5, 1.5), (10.0, 30.0)])
def test_how_long_nothing_is_heard_before_that_is_told(lasts: float, silent: float) -> None:
    """Three ticks of the length that they have, and a second at the least."""
    feed, clock = feed_with(tick(1, a=1))
    feed.hear(changed(tick(2, a=2), seconds=lasts))
    feed.seconds = feed.freshness.seconds = 0.1
    clock.now += silent - 0.01
    assert feed.present is feed.newest
    clock.now += 0.02
    assert feed.present and feed.present.sources["x"].state == "unknown"
    assert feed.newest and feed.newest.sources["x"].state == "live"


def test_a_web_process_that_has_just_begun_waits_for_a_tick_as_long() -> None:
    """All that it has is old, and it has not listened for longer."""
    feed, clock = feed_with()
    clock.now += 100
    for each in (tick(1, a=1), None):
        feed.hear(each)
    assert feed.present is feed.newest
    clock.now += 2
    assert feed.present and feed.present.sources["x"].state == "unknown"
    clock.now += 100
    assert not feed.hear(tick(9, a=9))  # the log is read anew, after an outage of Redis
    for each in (tick(8, a=8), tick(9, a=9), None):
        feed.hear(each)
    assert feed.present and feed.present.sources["x"].state == "unknown"


async def first_with(stream: AsyncIterator[Event], state: str) -> Event:
    """The first event that tells this of the demo; a slow machine may have told the state before once
    more, and no more than that."""
    for _ in range(3):
        event = await anext(stream)
        if event.data["sources"] == {"demo": state}:
            return event
    raise AssertionError(event.data)


@pytest.mark.parametrize("lane", ["on", "off"])
async def test_everybody_is_told_that_nothing_is_known(
    redis_server: RedisServer, lane: str
) -> None:
    """Over real connections: the stream by either lane, and /api/counts."""
    async with serving(redis_server.url, lane) as site:
        site.feed.freshness.seconds = 10  # on a busy machine it takes a while until all is asked
        await site.publish()
        await site.hears()
        url = f"http://127.0.0.1:{site.port}"
        at = site.feed.ticks.heads[-1].at
        async with viewing(f"{url}/events?tags=science") as stream:
            events = [await anext(stream) for _ in range(2)]
            assert events[1].data["sources"] == {"demo": "live"}
            site.clock.ahead += 100
            repeated = await first_with(stream, "unknown")
            status, told = await get(f"{url}/api/counts?tags=science")
            for data in (repeated.data, told):
                assert (data["sources"], data["at"]) == ({"demo": "unknown"}, at)
                assert data["details"]["demo"] == {**UNKNOWN, "since": at}
            assert (status, told["counts"]) == (200, repeated.data["counts"])
            await site.publish(science=0)
            await first_with(stream, "live")
        _, told = await get(f"{url}/api/counts?tags=science")
        assert told["sources"] == {"demo": "live"}
