"""What takes long to make, a part at a time: all fan-outs have their turns after one another."""

import asyncio
from typing import Protocol

A_TURN = 1000
"""So much is made before others get their turn. A point of the past, a total of a missed tick and a
kilobyte that is joined count as one each: some 1 ms, 2 where totals are told by source."""


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
