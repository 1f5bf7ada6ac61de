"""What takes long, a part at a time: all fan-outs have their turns after one another, and so have
requests."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

A_TURN = 1000
"""So much is made before others get their turn. A point of the past, a total of a missed tick and a
kilobyte that is joined count as one each: some 1 ms, 2 where totals are told by source."""
LONG_SECONDS = 0.01
"""So long a turn of small things lasts."""
BEGUN_AT_ONCE = 16
"""So many requests are begun before others get their turn: some 20 ms, for what all of Quart and
Hypercorn does for one. Of hundreds at once a tick would wait for all, several times."""


class Waits(Protocol):
    """A fan-out that has more to make than one turn is long."""

    def go_on(self) -> None: ...


class Turns:
    """Who waits for a turn, and what is left of this one. Bound: waiting has each fan-out once at
    most."""

    def __init__(self) -> None:
        self.left = A_TURN
        """Of this turn."""
        self.waiting: dict[Waits, None] = {}
        """The one first that waits longest."""
        self.is_next_due = False
        """Whether the loop will come back to us, when others had their turn."""

    @property
    def has_room(self) -> bool:
        """Whether enough is left to join what was written. The past of 15 minutes of 20 hashtags by
        source is two turns long, and nothing else comes in the one that it begins."""
        return self.left >= A_TURN // 2

    def spend(self, cost: int) -> None:
        self.left -= cost
        self.come_back()

    def wait(self, fanout: Waits) -> None:
        """Come back to a fan-out when others had their turn."""
        self.waiting[fanout] = None
        self.come_back()

    def come_back(self) -> None:
        if not self.is_next_due:
            self.is_next_due = True
            asyncio.get_running_loop().call_soon(self.next)

    def next(self) -> None:
        """One turn, for as many of those who wait as it is long enough for."""
        self.is_next_due, self.left = False, A_TURN
        for fanout in list(self.waiting):
            if not self.has_room:
                break
            del self.waiting[fanout]
            fanout.go_on()
        if self.waiting:
            self.come_back()


class LongTurn:
    """Who does many small things, and gives others a turn when it was at it for LONG_SECONDS: where
    theirs are long, it would fall ever further behind with one of each."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock, self.ends = clock, 0.0
        """When the turn is long enough, in seconds of the clock."""

    async def give(self) -> None:
        if self.clock() >= self.ends:
            await asyncio.sleep(0)
            self.ends = self.clock() + LONG_SECONDS


class RequestTurns:
    """When a request may begin: those that came first begin first. None holds a turn: however long
    it waits for Redis or for its client, others begin. Bound: waiting has each request once."""

    def __init__(self) -> None:
        self.left = BEGUN_AT_ONCE
        """Of this turn of the loop."""
        self.waiting: deque[asyncio.Future[None]] = deque()
        self.is_next_due = False
        """Whether the loop will come back to us, when others had their turn."""

    async def come(self) -> None:
        """Wait until this one may begin; mostly at once."""
        loop = asyncio.get_running_loop()
        if not self.is_next_due:
            self.is_next_due = True
            loop.call_soon(self.next)
        if self.left and not self.waiting:
            self.left -= 1
            return
        turn = loop.create_future()
        self.waiting.append(turn)
        await turn

    def next(self) -> None:
        self.is_next_due, self.left = False, BEGUN_AT_ONCE
        while self.waiting and self.left:
            turn = self.waiting.popleft()
            if not turn.done():  # else its client has gone
                turn.set_result(None)
                self.left -= 1
        if self.waiting:
            self.is_next_due = True
            asyncio.get_running_loop().call_soon(self.next)
