"""Redis's clock, by which everything is dated."""

import time
from collections.abc import Callable

JUMP = 5000
"""Milliseconds: a clock that is further off than that from what it was is another one."""


def seconds_up() -> float:
    """A clock that only goes forward, and goes on while the machine sleeps where that can be."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class RedisClock:
    """Redis's clock as it was last heard, and what went by since."""

    def __init__(self, elapsed: Callable[[], float] = seconds_up) -> None:
        self.elapsed = elapsed
        self.offset: float | None = None
        """Milliseconds from our own clock to Redis's; None before it was heard."""
        self.asked: float | None = None
        """When Redis was asked for the time, in seconds of our own clock."""
        self.date = 0
        """The newest that was given."""

    def ask(self) -> None:
        """Redis is asked for the time now."""
        self.asked = self.elapsed()

    def hear(self, now: int) -> bool:
        """Redis says what time it is, in milliseconds since 1970; whether that is another
        clock than before (a failover, a clock set anew). It said so at some moment since it
        was asked: an answer that was long under way is no other clock."""
        low = now - self.elapsed() * 1000
        high = low if self.asked is None else now - self.asked * 1000
        self.asked = None
        before = high if self.offset is None else self.offset
        jumped = not low - JUMP <= before <= high + JUMP
        if jumped:
            self.date = 0
        self.offset = high if jumped else min(max(low, before), high)
        return jumped

    def now(self) -> int:
        """Milliseconds since 1970; it never goes back, but where Redis's clock is another one."""
        self.date = max(self.date, int(self.elapsed() * 1000 + (self.offset or 0)))
        return self.date
