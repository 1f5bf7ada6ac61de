"""A message that cannot be taken, in the middle of Bluesky's stream: what is around it counts."""

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import pytest
from jetstream import BEGIN, SECOND, Jetstream, Network, Raw, create, numbered, source_of
from network import Counting
from servers import eventually

from app.ingest import ingester
from app.retry import Backoff
from app.sources import SourceLost
from app.sources.bluesky import Bluesky
from app.sources.bluesky.place import APART, ENOUGH
from app.sources.bluesky.source import LONGEST, READ_AT_MOST, Stuck

MIB = 2**20
NO_FRAME = Raw(b"\x83\x7f" + b"\xff" * 14)
"""An opcode that is none."""


def poison(size: int) -> dict[str, Any]:
    """A post of so many bytes."""
    return create("science", rkey="poison", text="x" * size)


@pytest.fixture
def failures(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many failures in a row there were, at each wait for another try."""
    found: list[int] = []

    class Noted(Backoff):
        def next(self) -> float:
            found.append(self.failures)
            return min(super().next(), 0.02)

    monkeypatch.setattr(ingester, "Backoff", Noted)
    return found


async def test_a_server_is_asked_for_no_message_that_is_too_long(
    counting: Counting, stack: AsyncExitStack
) -> None:
    """Jetstream's maxMessageSizeBytes: one of over 4 MiB does not even come."""
    network = Network()
    host = await stack.enter_async_context(Jetstream(network))
    source = source_of(host)
    async with counting.of(source):
        await eventually(lambda: host.open, "it is connected")
        network.put([*numbered(5), poison(4 * MIB), *numbered(5, begin=5)])
        await counting.reach({"science": 10})
    assert (len(host.asked), host.sent, source.bad) == (1, 10, 0)
    assert host.asked[0]["maxMessageSizeBytes"] == str(LONGEST)


@pytest.mark.parametrize("size", [LONGEST, 4 * MIB, 5 * MIB, READ_AT_MOST - 1000])
async def test_a_long_message_that_comes_all_the_same_is_skipped(
    counting: Counting, stack: AsyncExitStack, caplog: Any, size: int
) -> None:
    """Of ten posts with one of over 4 MiB between them, five were counted, on each of 224
    connections in 50 seconds. Now all are, on the first one."""
    network = Network()
    host = await stack.enter_async_context(Jetstream(network, bounds=False))
    source = source_of(host)
    async with counting.of(source):
        await eventually(lambda: host.open, "it is connected")
        network.put([*numbered(5), poison(size), *numbered(5, begin=5)])
        await counting.reach({"science": 10})
    assert (len(host.asked), host.sent, source.bad) == (1, 11, 1)
    assert "bluesky: skipped 1 bad messages so far, the last: ValueError" in caplog.text


@pytest.mark.parametrize("bad", [poison(READ_AT_MOST), NO_FRAME], ids=["long", "no frame"])
async def test_what_cannot_be_taken_twice_is_stepped_over(
    counting: Counting, stack: AsyncExitStack, failures: list[int], caplog: Any, bad: Any
) -> None:
    """Longer than any message can be, or no message at all: the connection ends there, and would
    end there for ever. What came before it is read a second time, and then what comes behind it;
    it is counted and said, and how much may be missing with it."""
    network = Network()
    host = await stack.enter_async_context(Jetstream(network, bounds=False))
    source = source_of(host)
    async with counting.of(source):
        await eventually(lambda: host.open, "it is connected")
        network.put([*numbered(ENOUGH), bad, *numbered(5, begin=ENOUGH)])
        await counting.reach({"science": ENOUGH + 5})
        assert (source.state, source.reason) == (
            "live",
            "the posts of up to 0:00:00.040000 are missing",
        )
        assert source.public_state().unbroken_since == (BEGIN + (ENOUGH + 1) * 40_000) // 1000
    assert source.bad == 1
    assert "one that cannot be taken, and the posts of up to 0:00:00.040000 after it" in caplog.text
    steps = [int(query["cursor"]) - BEGIN for query in host.asked[1:]]
    after = (ENOUGH - 1) * 40_000 + 1
    assert steps == [-APART, after, after + 10_000, after + 20_000, after + 40_000]
    assert failures == [0, 1, 2, 3, 4], "each wait is longer than the one before"


@pytest.mark.parametrize("time_us", [0, -1, 10**17, 10**300, BEGIN + 3_000 * SECOND])
async def test_the_message_before_it_may_be_of_no_time(
    counting: Counting, stack: AsyncExitStack, failures: list[int], time_us: int
) -> None:
    """Then it is behind the last one whose time is believed that we go on."""
    network = Network()
    host = await stack.enter_async_context(Jetstream(network, bounds=False))
    odd = json.dumps(create("science", rkey="odd") | {"time_us": time_us}).encode()
    async with counting.of(source_of(host)):
        await eventually(lambda: host.open, "it is connected")
        network.put([*numbered(5), odd, NO_FRAME, *numbered(5, begin=5)])
        await counting.reach({"science": 11})
    assert int(host.asked[2]["cursor"]) == BEGIN + 4 * 40_000 + 1


async def test_another_server_may_have_it_right(
    counting: Counting, stack: AsyncExitStack, failures: list[int]
) -> None:
    """Then nothing is stepped over."""
    network = Network()
    one = await stack.enter_async_context(Jetstream(network, bounds=False))
    two = await stack.enter_async_context(Jetstream(network))
    source = source_of(one, two)
    async with counting.of(source):
        await eventually(lambda: one.open, "it is connected")
        network.put([*numbered(5), poison(READ_AT_MOST), *numbered(5, begin=5)])
        await counting.reach({"science": 10})
        assert (source.state, source.reason, source.bad) == ("live", "", 0)
    assert (len(one.asked), len(two.asked)) == (1, 1)


async def test_nothing_before_it_is_stepped_over(
    counting: Counting, stack: AsyncExitStack, failures: list[int]
) -> None:
    """A Redis that came back older: what it lacks is read again from an earlier cursor, also
    where the next connection was to begin behind the bad message."""
    network = Network(SECOND)
    host = await stack.enter_async_context(Jetstream(network, bounds=False))
    source = source_of(host)
    async with counting.of(source):
        await eventually(lambda: host.open, "it is connected")
        network.put(numbered(100))
        await counting.reach({"science": 100})
        copied = await counting.copy()
        network.put([*numbered(100, begin=100), NO_FRAME])
        await eventually(lambda: times(source) >= 2, "it would begin behind the bad one")
        await counting.rewind(copied)
        network.put(numbered(100, begin=200))
        await counting.reach({"science": 300})


def times(source: Bluesky) -> int:
    return max((stuck.times for stuck in source.stuck.values()), default=0)


@pytest.mark.parametrize("ends", ["cut", "close"])
async def test_the_wait_grows_as_long_as_the_cursor_stands(
    counting: Counting, stack: AsyncExitStack, failures: list[int], ends: str
) -> None:
    """Messages came on each connection, but always the same: it is no success to read them. When
    the cursor moves, the next failure is the first again."""
    network = Network(SECOND)
    host = await stack.enter_async_context(Jetstream(network, *[(ends, 5)] * 6, (ends, 105)))
    async with counting.of(source_of(host)):
        await eventually(lambda: host.open, "it is connected")
        network.put(numbered(5))
        await eventually(lambda: len(host.fired) == 6, "it has ended six times")
        network.put(numbered(100, begin=5))
        await eventually(lambda: len(host.asked) == 8, "and once more")
        await counting.reach({"science": 105})
    assert failures == [0, 1, 2, 3, 4, 5, 0]


def test_how_far_is_stepped_is_bounded() -> None:
    """Twice as far each time, at most a day: also after weeks."""
    steps = [Stuck(0, 0, times).step for times in (*range(1, 8), 40, 10**6)]
    assert steps[:7] == [0, 0, 10_000, 20_000, 40_000, 80_000, 160_000]
    assert steps[7:] == [86_400 * SECOND] * 2


@pytest.mark.parametrize("fault", ["binary", "drip", "head"])
async def test_bytes_are_no_sign_of_life(stack: AsyncExitStack, fault: str) -> None:
    """Messages of another kind, one of which a byte comes now and then, an answer of which a
    byte comes now and then: the server is as good as silent."""
    host = await stack.enter_async_context(Jetstream(Network(), (fault, 0)))
    with pytest.raises(SourceLost, match=r"sent no message for 0\.3 s"):
        async with asyncio.timeout(20):
            async for _ in source_of(host, silence=0.3).posts(""):
                pass
    assert host.fired == [fault]
