"""The frame that every peer sends: what ours looks like for two hashtags, about 300 bytes.

It needs nothing but the standard library, as the peers run in an environment of their own.
"""

import asyncio
import time
from collections.abc import Callable


def told(number: int) -> str:
    """The data of the frame."""
    at = time.time_ns() // 1_000_000
    total = 1000 + number
    each = f'{{"science":{total},"football":{total}}}'
    return (
        f'{{"at":{at},"tick":0.5,"counts":{each},"people":{each},"names":{{}},'
        '"sources":{"bluesky":"live"},"details":{"bluesky":{"since":1732390000000,"reason":""}}}'
    )


def id_of(number: int) -> str:
    """Rises with every frame."""
    return f"{time.time_ns() // 1_000_000}-{number}"


def frame(number: int) -> bytes:
    return f"event: counts\ndata: {told(number)}\nid: {id_of(number)}\n\n".encode()


async def beat(rate: float, each: Callable[[int], object]) -> None:
    """Call with 0, 1, 2 ... so many times a second, on average exactly."""
    loop = asyncio.get_running_loop()
    begun, number = loop.time(), 0
    while True:
        await asyncio.sleep(begun + number / rate - loop.time())
        each(number)
        number += 1


class News:
    """The newest frame, whole and in its parts, for generators that wait for it."""

    def __init__(self) -> None:
        self.id, self.told, self.newest = "", "", b""
        self.came = asyncio.Event()

    def tell(self, number: int) -> None:
        self.id, self.told, self.newest = id_of(number), told(number), frame(number)
        self.came, came = asyncio.Event(), self.came
        came.set()
