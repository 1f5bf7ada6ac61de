"""What is made of the last ten minutes: the board, alerts, and which hashtags come together."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from app.ingest.alerts import AlertMaker
from app.ingest.board import BoardMaker
from app.ingest.co_occurrence import CoOccurrence
from app.process import end_if_cancelled
from app.retry import Backoff
from app.store.posts import StoredPost
from app.store.state import Write
from app.store.store import Store, StoreLost

BOARD_SECONDS = 5.0
SHORT = 60_000
"""Milliseconds: after a pause that was no longer, what was before it is as good as all."""


class Present:
    """Makes what is told of the last minutes, every few seconds, for the commit that follows."""

    def __init__(
        self, name_of: Callable[[str], str], blocked: Collection[str], delivered: Collection[str]
    ) -> None:
        """name_of: how a hashtag is written; blocked: hashtags of which nothing is told; delivered:
        those whose alerts are delivered to somebody."""
        self.board = BoardMaker(name_of, blocked)
        self.lately = self.board.lately
        self.recalled = 0
        """When the oldest post was that was recalled, in milliseconds since 1970."""
        self.alerts = AlertMaker(delivered, blocked)
        self.together = CoOccurrence(self.board)

    def recall(self, post: StoredPost, now: int) -> None:
        """A post of before our start, the oldest first; milliseconds since 1970."""
        lately = self.lately
        lately.put(post.source, post.author, post.tags, post.domains, post.at, now)
        self.recalled = min(self.recalled or post.at, post.at)
        lately.since = max(self.recalled, 1) if now - post.at <= SHORT else now

    async def run(self, store: Store, networks: Sequence[str], now: Callable[[], int]) -> None:
        """Until cancelled; without Redis, the next time will do. now: milliseconds since 1970."""
        await self.load(store)
        while True:
            end_if_cancelled()
            await asyncio.sleep(BOARD_SECONDS)
            with suppress(StoreLost):
                await self.board.make(store, networks, now())
                self.alerts.judge(self.board, now())
                await self.together.make(now())

    async def load(self, store: Store) -> None:
        """What is known of alerts, as soon as Redis answers."""
        backoff = Backoff(longest=2.0)
        while not self.alerts.is_loaded:
            try:
                await self.alerts.load(store)
            except StoreLost:
                end_if_cancelled()
                await asyncio.sleep(backoff.next())

    def write(self, now: int) -> list[Write]:
        """What the next commit is to write."""
        return [*self.board.write(now), *self.together.write(now), *self.alerts.write()]

    def wrote(self, writes: Sequence[Write]) -> None:
        """This is in Redis now."""
        for write in writes:
            self.alerts.wrote(write)
            self.together.wrote(write)
