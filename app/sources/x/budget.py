"""How many posts a day may be read from a network that charges for each.

A post is paid for, in the day's account in Redis, before it is read: so the ceiling holds
to the post, whoever reads and however it ends; a `kill -9` leaves no more unread than the
one post that was paid for, and those that had arrived. While Redis is away the reading
goes on, as far as the ceiling was known to allow: a network that cannot go back is not
to be left for that.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

from app.process import end_if_cancelled
from app.sources import SourceLost
from app.store.store import Store, StoreLost

log = logging.getLogger(__name__)

DOLLARS_A_POST = DOLLARS_A_REQUEST = 0.005
"""What X charges for a post of its stream, and for a request of its counts (August 2026)."""
FIRST_REQUESTS = 2
"""So many, for each hashtag, does the day before the first start take (X_BACKFILL)."""
ROUND_SECONDS = 300
"""Gaps are asked for at most so often: a stream that breaks all the time stays cheap."""
AGAIN_SECONDS = 5.0
"""So long Redis is not asked again after it was away: it may hang each time."""
DAY = 86_400


class Budget:
    """A day's ceiling, for one reader and all its connections; days begin at midnight UTC.

    price: dollars a post, for the log.
    waiting: how many posts have arrived already; they are paid for together.
    """

    def __init__(
        self,
        store: Store,
        source: str,
        ceiling: int,
        price: float,
        clock: Callable[[], float],
        waiting: Callable[[], int] = lambda: 0,
    ) -> None:
        self.store, self.source, self.clock, self.waiting = store, source, clock, waiting
        self.ceiling, self.price = ceiling, price
        self.reader = uuid4().hex[:12]
        self.day = ""
        """The name of its account, such as "x 2026-01-31"."""
        self.begin_day()

    def begin_day(self) -> None:
        """Forget the account of the day before, if there was one."""
        day = f"{self.source} {datetime.fromtimestamp(self.clock(), UTC):%Y-%m-%d}"
        if day != self.day:
            self.day, self.read, self.paid, self.most = day, 0, 0, -1
            self.ask_again = float("inf")

    def read_today(self) -> int:
        """Posts that were read today by all readers, as far as this one knows."""
        self.begin_day()
        return self.read + (max(0, self.ceiling - self.most) if self.most >= 0 else 0)

    async def spend(self) -> None:
        """A post was read; see that the next one may be. Raises SourceLost like refill()."""
        self.begin_day()
        self.read += 1
        if self.read >= self.paid or self.clock() >= self.ask_again:
            await self.refill()

    async def refill(self) -> None:
        """Pay for the next post, and for those that wait.

        Raises SourceLost when the ceiling is reached, or when Redis has not said yet what
        was read today.
        """
        self.begin_day()
        ahead = 1 + self.waiting()
        try:
            self.most = await self.store.spend(
                self.day, self.reader, self.read, ahead, self.ceiling
            )
        except StoreLost as lost:
            if self.most < 0:
                unknown = "the budget is not known"
                raise SourceLost(f"{unknown}: {lost}", public=f"{unknown}: {lost.public}") from lost
            self.paid, self.ask_again = self.most, self.clock() + AGAIN_SECONDS
        else:
            self.paid, self.ask_again = min(self.read + ahead, self.most), float("inf")
        finally:
            end_if_cancelled()
        if self.read >= self.most:
            read = f"{self.ceiling:,} posts read today, about ${self.ceiling * self.price:,.2f}"
            log.warning("%s: budget reached, %s", self.source, read)
            wait = DAY - self.clock() % DAY
            raise SourceLost("budget reached until 00:00 UTC", wait=wait, state="budget")

    async def give_back(self) -> None:
        """Nothing more is read for now: what was paid for and not read is not charged."""
        try:
            await self.store.spend(self.day, self.reader, self.read, 0, self.ceiling)
        except StoreLost as lost:
            log.warning("%s: what was read today may not be stored: %s", self.source, lost)
