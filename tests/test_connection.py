"""What is read of Redis at once has a bound: one value's, and not that of what follows it."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.connection import Encoder

from app.store.connection import AROUND, LONGEST, BoundedParser, TooLong, connect

READ = 65536
"""Bytes that redis-py takes from the socket at once."""


def message(text: bytes) -> bytes:
    """What Redis sends to a subscriber."""
    return b">3\r\n$7\r\nmessage\r\n$15\r\n{hashtag}:ticks\r\n$%d\r\n%s\r\n" % (len(text), text)


async def read_all(data: bytes, number: int) -> list[Any]:
    """So many answers, read as they come when all is there already: 64 KiB at a time."""
    stream = asyncio.StreamReader(limit=2**30)
    stream.feed_data(data)
    parser = BoundedParser(READ)
    connection: Any = SimpleNamespace(_reader=stream, encoder=Encoder("utf-8", "strict", False))
    parser.on_connect(connection)
    return [await parser.read_response(push_request=True) for _ in range(number)]


@pytest.mark.parametrize("before", [0, 1, 11, 1000, 1023, 1024, 1025, READ - 3, READ - 1, 40_000])
async def test_the_longest_is_read_wherever_the_reads_fall(before: int) -> None:
    """With what stands before it and after it, in the same reads: three of them in a row."""
    text = b"x" * LONGEST
    first = message(b"y" * before)
    found = await read_all(first + message(text) * 3 + message(b"last"), 5)
    assert [len(answer[2]) for answer in found] == [before, LONGEST, LONGEST, LONGEST, 4]


@pytest.mark.parametrize("missing", range(16))
async def test_the_end_of_the_longest_comes_with_the_next_one(missing: int) -> None:
    """A read ends so many bytes before the message does; the next one is full of what follows."""
    text = b"x" * LONGEST
    longest = message(text)
    around = len(message(b"y" * 10_000)) - 10_000
    before = 10_000 + (missing - around - 10_000 - len(longest)) % READ
    first = message(b"y" * before)
    assert (len(first) + len(longest) - missing) % READ == 0
    found = await read_all(first + longest * 2, 3)
    assert [len(answer[2]) for answer in found] == [before, LONGEST, LONGEST]


async def test_a_longer_one_is_given_up_before_it_is_read() -> None:
    """However long it is to be: no more is held than the longest and a read."""
    begin = message(b"x" * (4 * LONGEST))[: LONGEST + AROUND + READ]
    with pytest.raises(TooLong, match=f"more than {LONGEST} bytes"):
        await read_all(begin + b"x" * READ, 1)


async def test_many_values_in_one_answer_may_be_longer_than_one() -> None:
    """The bound is a value's: a transaction may bring thousands of fields."""
    value = b"v" * 1000
    answer = b"*10000\r\n" + b"$1000\r\n%s\r\n" % value * 10_000
    [found] = await read_all(answer, 1)
    assert found == [value] * 10_000


async def test_our_connections_are_bounded() -> None:
    """Every one of them, without a server."""
    redis: Redis = connect("redis://127.0.0.1:1")
    made = redis.connection_pool.make_connection()
    assert isinstance(made._parser, BoundedParser)
    await redis.aclose()
