"""Redis's clock, by which everything is dated."""

import time
from collections.abc import Callable

from msgspec.structs import replace

from app.messages import SourceState
from app.sources import Source

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
        self.begun = 0
        """When Redis's clock was found to be another one (hear), by the new one; 0 for never."""

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
        if jumped:
            self.begun = self.now()
        return jumped

    def now(self) -> int:
        """Milliseconds since 1970; it never goes back, but where Redis's clock is another one."""
        self.date = max(self.date, int(self.elapsed() * 1000 + (self.offset or 0)))
        return self.date


class DatedStates:
    """What the sources are doing, dated by Redis's clock: theirs may be wrong by hours, or be set
    at any time. Bound: one entry for each source."""

    def __init__(self, clock: RedisClock) -> None:
        self.clock, self.begun = clock, clock.begun
        self.states: dict[str, tuple[SourceState, SourceState]] = {}
        """As a source said it last, and as that was dated then."""

    def of(self, source: Source) -> SourceState:
        """As ticks have it; the same as long as the source says the same."""
        if self.begun != self.clock.begun:
            self.states.clear()
            self.begun = self.clock.begun
        said, (before, dated) = source.public_state(), self.states.get(source.name, (None, None))
        if dated is None or said != before:
            dated = self.dated(said, self.clock.now() - int(source.clock() * 1000))
            self.states[source.name] = said, dated
        return dated

    def dated(self, said: SourceState, ahead: int) -> SourceState:
        """ahead: how many milliseconds Redis's clock is ahead of the source's; which of them is
        wrong nobody knows. Since when no post is missing is often a time that the network told:
        it is not dated back, lest it is said that something was counted which was not."""
        if abs(ahead) <= JUMP and not self.begun:
            return said
        since = min(max(said.since + ahead, self.begun), self.clock.now())
        unbroken = max(said.unbroken_since, said.unbroken_since + ahead, self.begun)
        return replace(said, since=since, unbroken_since=min(unbroken, since))
