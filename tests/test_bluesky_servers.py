"""Jetstream servers that differ by minutes, one after the other: every post once all the same."""

import json
import logging
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import web
from jetstream import BEGIN, SECOND, Jetstream, Network, create, numbered, source_of, tid
from network import Counting
from servers import eventually

from app.sources.bluesky.place import APART

MINUTES = 60 * SECOND


async def test_a_server_five_minutes_behind_brings_no_post_twice(
    counting: Counting, stack: AsyncExitStack
) -> None:
    """Of 600 posts, one a second, it brings 362 again: they were counted twice."""
    await brought_again(counting, stack, 600, 5 * MINUTES, 362)


async def test_after_a_server_five_minutes_behind_no_post_is_lost(
    counting: Counting, stack: AsyncExitStack
) -> None:
    """Its cursor was five minutes later than the posts: of the next 600, 239 were lost."""
    network = Network(SECOND)
    one = await stack.enter_async_context(Jetstream(network, ("cut", 600), late=5 * MINUTES))
    two = await stack.enter_async_context(Jetstream(network))
    async with counting.of(source_of(one, two)):
        await eventually(lambda: one.open, "it is connected")
        network.put([*numbered(600), *numbered(600, begin=600)])
        await counting.reach({"science": 1200})
    assert (one.fired, len(two.asked)) == (["cut"], 1)
    assert int(two.asked[0]["cursor"]) == BEGIN + 539 * SECOND - APART, "in the posts' own time"


@pytest.mark.parametrize("behind", [5, 10])
async def test_before_a_server_whose_clock_is_behind_no_post_is_lost(
    counting: Counting, stack: AsyncExitStack, behind: int
) -> None:
    """For it, the cursor is of five minutes later, or of the future: it is asked once more, for
    so much earlier a time; and right at once the next time."""
    network = Network(SECOND)
    one = await stack.enter_async_context(Jetstream(network, *[("cut", 600)] * 2))
    two = await stack.enter_async_context(
        Jetstream(network, ("", 0), ("cut", 700), late=-behind * MINUTES)
    )
    async with counting.of(source_of(one, two)):
        await eventually(lambda: one.open, "it is connected")
        network.put(numbered(600))
        await eventually(lambda: two.open, "the other one is asked")
        network.put(numbered(1200, begin=600))
        await eventually(lambda: len(one.asked) == 2, "it is the first one's turn again")
        await eventually(lambda: len(two.asked) == 3, "and that of the other one")
        network.put(numbered(100, begin=1800))
        await counting.reach({"science": 1900})
    first, again, *more = [int(query["cursor"]) for query in two.asked]
    assert first + APART - again == (behind + 1) * MINUTES and len(more) == 1
    assert (one.fired, two.fired) == (["cut", "cut"], ["cut"])


async def test_a_server_an_hour_behind_brings_no_post_twice(
    counting: Counting, stack: AsyncExitStack
) -> None:
    """It brings an hour again, of which 15 minutes are known by their ids: older ones by their
    commits' own times."""
    await brought_again(counting, stack, 3600, 60 * MINUTES, 3600)


async def brought_again(
    counting: Counting, stack: AsyncExitStack, posts: int, late: int, again: int
) -> None:
    """One server is cut after so many posts, one a second; another one, whose clock says so much
    more, brings some of them again, and then a hundred that are new: each counts once."""
    network = Network(SECOND)
    one = await stack.enter_async_context(Jetstream(network, ("cut", posts)))
    two = await stack.enter_async_context(Jetstream(network, late=late))
    async with counting.of(source_of(one, two)):
        await eventually(lambda: one.open, "it is connected")
        network.put(numbered(posts))
        await eventually(lambda: two.sent >= again, "the other one has brought them again")
        network.put(numbered(100, begin=posts))
        await counting.reach({"science": posts + 100})
    assert (one.fired, two.sent) == (["cut"], again + 100)


async def test_a_first_message_of_a_year_ago_brings_no_post_twice(
    counting: Counting, stack: AsyncExitStack
) -> None:
    """Whoever lies to a connection that knows no time yet dates the posts right behind."""
    network = Network(SECOND)
    one = await stack.enter_async_context(Jetstream(network, ("cut", 44)))
    async with counting.of(source_of(one)):
        await eventually(lambda: one.open, "it is connected")
        lie = create("lie") | {"time_us": BEGIN}
        lie["commit"]["rev"] = tid(BEGIN - 365 * 1440 * MINUTES)
        network.put([*[json.dumps(lie).encode()] * 3, *numbered(40)])
        await counting.reach({"science": 40, "lie": 1})
        network.put(numbered(1, begin=40))
        await counting.reach({"science": 41, "lie": 1})
        await eventually(lambda: one.sent >= 83, "all came again but what came before it is sure")
        network.put(numbered(1, begin=41))
        await counting.reach({"science": 42, "lie": 1})
    assert one.fired == ["cut"]


async def test_what_cannot_be_had_is_said(counting: Counting, stack: AsyncExitStack) -> None:
    """A server whose clock is an hour behind has nothing for a time that is its future: what
    lies between is missing, and the source says how much."""
    network = Network(SECOND)
    one = await stack.enter_async_context(Jetstream(network, ("cut", 600)))
    two = await stack.enter_async_context(Jetstream(network, late=-60 * MINUTES))
    source = source_of(one, two)
    async with counting.of(source):
        await eventually(lambda: one.open, "it is connected")
        network.put(numbered(600))
        await eventually(lambda: two.open, "the other one is asked")
        network.put(numbered(5000, begin=600))
        await eventually(lambda: "are missing" in source.reason, "it is said")
    assert (one.fired, source.state) == (["cut"], "live")
    assert source.public_state().unbroken_since > (BEGIN + 600 * SECOND) // 1000


async def test_a_clock_that_goes_back_and_back_ends_the_connection(
    counting: Counting, stack: AsyncExitStack, caplog: Any
) -> None:
    """It is not asked again and again without a wait."""

    class Falling(Jetstream):
        async def subscribe(self, request: web.Request) -> web.StreamResponse:
            self.late -= 5 * MINUTES
            return await super().subscribe(request)

    network = Network(SECOND)
    one = await stack.enter_async_context(Jetstream(network, ("cut", 600)))
    two = await stack.enter_async_context(Falling(network))
    caplog.set_level(logging.INFO)
    async with counting.of(source_of(one, two)):
        await eventually(lambda: one.open, "it is connected")
        network.put(numbered(2400))
        await eventually(lambda: "its clock goes back" in caplog.text, "it is said")
    assert len(two.asked) == 2


async def test_a_clock_that_is_set_back_brings_no_post_twice(
    counting: Counting, stack: AsyncExitStack
) -> None:
    """A server's clock goes back by five seconds in the middle of a long connection: it went back
    to where that had begun, half an hour before, of which 15 minutes are known by their ids."""
    network = Network(SECOND)
    one = await stack.enter_async_context(Jetstream(network, ("cut", 100)))
    async with counting.of(source_of(one)):
        await eventually(lambda: one.open, "it is connected")
        network.put(numbered(2000))
        await counting.reach({"science": 2000})
        one.late = -5 * SECOND
        network.put(numbered(200, begin=2000))
        await eventually(lambda: len(one.asked) == 3, "it is asked once more")
        network.put(numbered(100, begin=2200))
        await counting.reach({"science": 2300})
    assert one.fired == ["cut"]
