"""What one open page is sent, from its first byte to its last.

A viewer gets every tick in which its totals changed, in order. One that could not take its
bytes for a while is handed the newest totals when it can again: skipping ticks is right,
since each holds the whole totals, growing memory is not.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from app import sse
from app.feed import TIMER_SECONDS, Feed
from app.selection import Selection
from app.store import LOG_SECONDS

RETRY_MILLISECONDS = 2000
BLOCKED_SECONDS = 1.0
BEATS_UNREAD = 3
"""So many looks in a row at a connection that takes nothing: its viewer is slow."""
BEHIND_SECONDS = 3.0
"""So long a viewer waits for a tick that it has from another process and we do not have yet."""
STREAM_SECONDS = 3600
"""A stream ends after about so long, so that viewers spread over new web processes; each at
a time of its own, and a browser comes back by itself without missing a tick."""


class Viewer:
    """One open stream: its place in the feed's log, and until when it goes on.

    last_id: the id of the last event it has, "" for none; history: seconds of past that it
    wants first. An id that the log does not have counts as too old, unless it is later than
    what we have: then another process was quicker, or we have just begun.

    There are two ways to its connection: stream() through the server, where it asks for what
    is due; and the express lane (app/express.py), where its selection hands it each tick.
    """

    __slots__ = (
        "begun", "chunked", "ends", "feed", "history", "limit", "position", "selection",
        "send", "transport", "unread",
    )  # fmt: skip
    transport: asyncio.WriteTransport
    send: Callable[[bytes], int]
    chunked: bool
    limit: asyncio.Timeout

    def __init__(
        self, feed: Feed, selection: Selection, last_id: str = "", history: float = 0
    ) -> None:
        self.feed, self.selection, self.history = feed, selection, history
        self.position = last_id
        self.unread = 0
        self.begun = feed.clock()
        self.ends = self.begun + STREAM_SECONDS * (0.75 + 0.5 * feed.chance())

    def first(self) -> bytes:
        """What it is sent at once: something in any case, so that a proxy does not give up."""
        opening = sse.comment("resuming")
        if not self.feed.is_ahead(self.position):
            opening = self.opening()
        return sse.retry(RETRY_MILLISECONDS) + opening

    def opening(self) -> bytes:
        last_id, ticks = self.position, self.feed.ticks
        missed = self.feed.after(last_id) if last_id else None
        self.position = ticks[-1].id if ticks else ""
        if missed is None:
            return self.anew(self.history or (LOG_SECONDS if last_id else 0))
        return self.selection.missed(missed)

    def due(self) -> bytes:
        """What it lacks, and that it is taken to have from now on; nothing when it has all."""
        feed, before = self.feed, self.position
        if not feed.ticks or (feed.is_ahead(before) and feed.clock() < self.begun + BEHIND_SECONDS):
            return b""
        missed = feed.after(before) if before else None
        self.position = feed.ticks[-1].id
        if missed is None:
            return self.anew(LOG_SECONDS if before else self.history)
        if missed and self.unread >= BEATS_UNREAD:
            return self.now()
        quiet = self.selection.quiet
        return self.selection.missed([tick for tick in missed if tick.id not in quiet])

    def anew(self, seconds: float) -> bytes:
        """The past of so many seconds (0 for none), and the current totals."""
        ticks = self.feed.ticks
        past = self.selection.history(ticks, seconds) if seconds and ticks else b""
        return past + self.now()

    def now(self) -> bytes:
        newest = self.feed.newest
        return self.selection.frame(newest) if newest else sse.comment("no tick yet")

    def last(self) -> bytes:
        """The end: when to come back, so that not all do at once."""
        return sse.retry(int(500 + 3500 * self.feed.chance()))

    async def stream(self) -> AsyncIterator[bytes]:
        """All of it, piece by piece, for a server that takes the next when it has sent one."""
        feed, owed = self.feed, False
        yield self.first()
        while not self.is_over():
            news = self.selection.news
            due = self.due()
            if not due and owed and not feed.is_ahead(self.position):
                due = self.now()  # woken although nothing changed: it is time to repeat
            owed = not due
            if due:
                yield due
                if feed.waited(self.position) > BLOCKED_SECONDS:
                    self.position, owed = feed.ticks[-1].id, True
            else:
                await self.news(news)
        yield self.last()

    async def news(self, news: asyncio.Event) -> None:
        """Wait until the selection has something to tell, or a tick we lack may have come."""
        ahead = self.feed.is_ahead(self.position)
        with suppress(TimeoutError):
            async with asyncio.timeout(TIMER_SECONDS if ahead else None):
                await news.wait()

    def is_over(self) -> bool:
        """Whether the stream is to end."""
        return self.feed.closing or self.feed.clock() >= self.ends

    def end(self) -> None:
        """End its stream on the express lane."""
        self.selection.leave(self)
        self.limit.reschedule(asyncio.get_running_loop().time())
