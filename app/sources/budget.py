"""How many posts a day may be read from a network that charges for each.

Posts are paid for in small blocks that are taken out of the day's ceiling in Redis before
they are read. So the ceiling holds to the post, whoever reads and however it ends: what a
block still had at a `kill -9` stays unread that day; a clean end gives it back.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from app.sources import SourceLost
from app.store import Store, StoreLost

log = logging.getLogger(__name__)

DOLLARS_A_POST = DOLLARS_A_REQUEST = 0.005
"""What X charges for a post of its stream, and for a request of its counts (August 2026)."""
FIRST_REQUESTS = 2
"""So many, for each hashtag, does the day before the first start take (X_BACKFILL)."""
ROUND_SECONDS = 300
"""Gaps are asked for at most so often: a stream that breaks all the time stays cheap."""
BLOCK = 25
DAY = 86_400


class Budget:
    """A day's ceiling; days begin at midnight UTC.

    price: dollars a post, for the log.
    """

    def __init__(
        self, store: Store, source: str, ceiling: int, price: float, clock: Callable[[], float]
    ) -> None:
        self.store, self.source, self.clock = store, source, clock
        self.ceiling, self.price = ceiling, price
        self.left = 0
        self.day = ""

    async def spend(self) -> None:
        """A post was read; see that the next one may be. Raises SourceLost like refill()."""
        self.left -= 1
        if not self.left:
            await self.refill()

    async def refill(self) -> None:
        """Take a block of posts out of the day's ceiling.

        Raises SourceLost when the ceiling is reached, or when Redis cannot say.
        """
        now = self.clock()
        self.day = f"{self.source} {datetime.fromtimestamp(now, UTC):%Y-%m-%d}"
        try:
            self.left = await self.store.spend(self.day, BLOCK, self.ceiling)
        except StoreLost as lost:
            raise SourceLost(f"the budget is not known: {lost}") from lost
        if not self.left:
            read = f"{self.ceiling:,} posts read today, about ${self.ceiling * self.price:,.2f}"
            log.warning("%s: budget reached, %s", self.source, read)
            raise SourceLost("budget reached until 00:00 UTC", wait=DAY - now % DAY, state="budget")

    async def give_back(self) -> None:
        """Return what was taken and not read."""
        left, self.left = self.left, 0
        if left:
            try:
                await self.store.spend(self.day, -left, self.ceiling)
            except StoreLost as lost:
                log.warning("%s: %d unread posts stay paid for: %s", self.source, left, lost)
