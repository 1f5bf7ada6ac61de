"""What one open page is sent, from its first byte to its last.

A viewer gets every tick in which its totals changed, in order. One that could not take its
bytes for a while is handed the newest totals when it can again: skipping ticks is right,
since each holds the whole totals, growing memory is not.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import NamedTuple

from app.store.keys import LOG_SECONDS
from app.web import sse
from app.web.fanout import FanOut
from app.web.feed import TIMER_SECONDS, Feed
from app.web.ticks import Head

RETRY_MILLISECONDS = 2000
BLOCKED_SECONDS = 1.0
BEATS_UNREAD = 3
"""So many looks in a row at a connection that takes nothing: its viewer is slow."""
BEHIND_SECONDS = 3.0
"""So long a viewer waits for a tick that it has from another process and we do not have yet."""
STREAM_SECONDS = 3600
"""A stream ends after about so long, so that viewers spread over new web processes; each at
a time of its own, and a browser comes back by itself without missing a tick."""


class Start(NamedTuple):
    """What a viewer wants first.

    An id that the log does not have counts as too old, unless it is later than what we have:
    then another process was quicker, or we have just begun.
    """

    last_id: str = ""
    """The id of the last event that it has; empty for none."""
    history: float = 0
    """Seconds of past, 0 for none."""
    new: tuple[str, ...] = ()
    """The hashtags of which it has nothing, whatever its last event is."""


class Viewer:
    """One open stream: its place in the feed's log, and until when it goes on.

    There are two ways to its connection: stream() through the server, where it asks for what
    is due; and the express lane (express.py), where its fan-out hands it each tick.
    """

    __slots__ = (
        "begun", "chunked", "ends", "fanout", "feed", "limit", "position", "send", "start",
        "transport", "unread",
    )  # fmt: skip
    transport: asyncio.WriteTransport
    send: Callable[[bytes], int]
    chunked: bool
    limit: asyncio.Timeout

    def __init__(self, feed: Feed, fanout: FanOut, start: Start | None = None) -> None:
        self.feed, self.fanout = feed, fanout
        self.start: Start | None = start or Start()
        """None once its beginning was sent."""
        self.position = 0
        """The number of the newest tick that it has, once its beginning was sent."""
        self.unread = 0
        """How many looks in a row found its connection full."""
        self.begun = feed.clock()
        """When it came, in seconds of the feed's clock; and when its time is over."""
        self.ends = self.begun + STREAM_SECONDS * (0.75 + 0.5 * feed.chance())

    def first(self) -> bytes:
        """What it is sent at once: something in any case, so that a proxy does not give up."""
        return sse.retry(RETRY_MILLISECONDS) + self.due()

    def due(self) -> bytes:
        """What it lacks, and that it is taken to have from now on; nothing when it has all."""
        newest = self.feed.newest
        if not newest or not self.is_served:
            return b""
        before, self.position = self.position, newest.number
        if self.start:
            start, self.start = self.start, None
            return self.beginning(start)
        missed = self.fanout.missed(before)
        if missed is None:
            return self.past(newest, LOG_SECONDS) + self.now()
        return self.now() if missed and self.unread >= BEATS_UNREAD else missed

    @property
    def is_served(self) -> bool:
        """Whether we know what it is to be sent."""
        feed, start = self.feed, self.start
        waits = feed.clock() < self.begun + BEHIND_SECONDS
        if start and waits and feed.is_ahead(start.last_id):
            return False
        return feed.loaded and self.fanout.is_known

    def beginning(self, start: Start) -> bytes:
        """The past that it wants, and the totals; or all that it missed since its last event."""
        ticks, fanout = self.feed.ticks, self.fanout
        position = ticks.numbers.get(start.last_id, 0)
        head, missed = ticks.head(position), fanout.missed(position)
        if head and missed is not None:
            # as of its last event: should it be cut here, it comes back to the same place
            return self.past(head, start.history, start.new) + missed if start.new else missed
        new = () if start.history or start.last_id else start.new
        wants = start.history or start.last_id or start.new
        assert ticks.newest
        return self.past(ticks.newest, start.history, new) + self.now() if wants else self.now()

    def past(self, head: Head, seconds: float, tags: tuple[str, ...] = ()) -> bytes:
        return self.fanout.history(head, seconds or LOG_SECONDS, tags)

    def now(self) -> bytes:
        present = self.feed.present
        return self.fanout.frame(present) if present else b""

    def last(self) -> bytes:
        """The end: when to come back, so that not all do at once."""
        return sse.retry(int(500 + 3500 * self.feed.chance()))

    async def stream(self) -> AsyncIterator[bytes]:
        """All of it, piece by piece, for a server that takes the next when it has sent one."""
        feed, owed = self.feed, False
        yield self.first()
        while not self.is_over():
            news = self.fanout.news
            due = self.due()
            if not due and owed and not self.start and self.is_served:
                due = self.now()  # woken although nothing changed: it is time to repeat
            owed = not due
            if due:
                yield due
                if feed.waited(self.position) > BLOCKED_SECONDS:
                    self.position, owed = feed.ticks.last, True
            else:
                await self.news(news)
        yield self.last()

    async def news(self, news: asyncio.Event) -> None:
        """Wait until the fan-out has something to tell, or a tick we lack may have come."""
        ahead = self.start and self.feed.loaded
        with suppress(TimeoutError):
            async with asyncio.timeout(TIMER_SECONDS if ahead else None):
                await news.wait()

    def is_over(self) -> bool:
        """Whether the stream is to end."""
        return self.feed.closing or self.feed.clock() >= self.ends

    def end(self) -> None:
        """End its stream on the express lane."""
        self.fanout.leave(self)
        self.limit.reschedule(asyncio.get_running_loop().time())
