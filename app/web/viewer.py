"""What one open page is sent, from its first byte to its last.

A viewer gets every tick in which its totals changed, in order. One that could not take its
bytes for a while is handed the newest totals when it can again: skipping ticks is right,
since each holds the whole totals, growing memory is not.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

from app.store.keys import LOG_SECONDS
from app.web import sse
from app.web.address import Address
from app.web.fanout import Due, FanOut
from app.web.feed import TIMER_SECONDS, Feed

RETRY = sse.retry(2000)
BLOCKED_SECONDS = 1.0
SLOW_SECONDS = 1.0
"""From the first look that found a connection full to the last one: its viewer is slow."""
BEHIND_SECONDS = 3.0
"""So long a viewer waits for a tick that it has from another process and we do not have yet."""
TICKS_AT_ONCE = 100
"""So many missed ticks are sent before others get their turn: 5 ms for 20 hashtags."""
WITH_THE_END = getattr(socket, "MSG_MORE", 0)
"""The last words wait for the end of the connection, which follows at once: one packet, not two."""
STREAM_SECONDS = 3600
"""A stream ends after about so long, so that viewers spread over new web processes; each at
a time of its own, and a browser comes back by itself without missing a tick."""


class Start(NamedTuple):
    """What a viewer wants first.

    An id that the log does not have counts as too old, but one that is later than what we have
    is waited for: another process was quicker, or we have just begun.
    """

    last_id: str = ""
    """The id of the last event that it has; empty for none."""
    history: float = 0
    """Seconds of past, 0 for none."""
    new: tuple[str, ...] = ()
    """The hashtags of which it has nothing, whatever its last event is."""


class Way(Protocol):
    """How a viewer's bytes go to its client."""

    def drop(self, viewer: Any) -> None:
        """End it now, whatever was not sent."""


class Viewer:
    """One open stream: its place in the feed's log, and until when it goes on.

    There are two ways to its client: stream() through the server, which asks for what is due; and
    its own connection (taken.py), where its fan-out hands it each tick.
    """

    __slots__ = (
        "address", "begun", "chunked", "connection", "ends", "fanout", "feed", "full_since",
        "heard", "is_ending", "owed", "place", "position", "start", "visit", "was_blocked", "way",
    )  # fmt: skip
    connection: socket.socket

    def __init__(self, feed: Feed, fanout: FanOut, start: Start | None = None) -> None:
        self.feed, self.fanout = feed, fanout
        self.start: Start | None = start or Start()
        """None once its beginning was sent."""
        self.position = 0
        """The number of the newest tick that it has, once its beginning was sent."""
        self.begun = feed.clock()
        """When it came, in seconds of the feed's clock; and when its time is over."""
        self.ends = self.begun + STREAM_SECONDS * (0.75 + 0.5 * feed.chance())
        self.chunked = False
        """Whether what is due is to be made as chunks."""
        self.way: Way | None = None
        """None where nobody but the server can end it."""
        self.address: Address | None = None
        """Whose it is; none where that is not known."""
        self.visit: Any = None
        """What the access log is to have of it, if there is one (takeover.py)."""
        self.owed, self.place = b"", 0
        """What it is being sent and has not taken whole, in bytes that are shared; and where in
        it the first byte is that it has not."""
        self.full_since: float | None = None
        """The first look that found it full since it took something, in seconds of the feed's
        clock; None where none did."""
        self.was_blocked = False
        """Whether the server waited long until it had taken the last piece."""
        self.heard = 0
        """Bytes that it sent."""
        self.is_ending = False
        """Whether its last words are sent, or owed."""

    def first(self) -> bytes:
        """What it is sent at once: something in any case, so that a proxy does not give up."""
        return self.due(RETRY) or sse.body(RETRY, self.chunked)

    def due(self, first: bytes = b"") -> bytes:
        """What it lacks, after these bytes, and that it is taken to have from now on; nothing
        when it has all, or when we do not know, or not yet. Of many ticks some at a time."""
        present = self.feed.present
        while present and self.is_served and not self.has_all:
            start, before = self.start, self.position
            due = self.beginning(start) if start else self.going_on(before)
            data = self.fanout.written(due, present, first, self.chunked)
            if data is None:
                return b""
            self.position, self.start = due.ticks[1] if due.ticks else self.feed.ticks.last, None
            self.feed.shared.resumed += bool(start and due.ticks)
            if data:
                self.feed.shared.count(1, len(data))
                if not self.has_all:
                    self.feed.shared.turns.wait(self.fanout)
                return data
        return b""

    @property
    def has_all(self) -> bool:
        """Whether it has what it wants first, and the newest tick."""
        return self.start is None and self.position == self.feed.ticks.last

    @property
    def is_served(self) -> bool:
        """Whether we know what it is to be sent."""
        feed, start = self.feed, self.start
        if not feed.loaded or not self.fanout.is_known:
            return False
        if not start or not start.last_id or start.last_id in feed.ticks.numbers:
            return True
        return feed.clock() >= self.begun + BEHIND_SECONDS or not feed.is_ahead(start.last_id)

    def beginning(self, start: Start) -> Due:
        """The past that it wants, and the totals; or all that it missed since its last event."""
        ticks, fanout = self.feed.ticks, self.fanout
        position = ticks.numbers.get(start.last_id, 0)
        if fanout.reaches(position):
            head = ticks.head(position) if start.new else None
            # as of its last event: should it be cut here, it comes back to the same place
            past = (head, start.history or LOG_SECONDS, start.new) if head else None
            return Due(past, self.next_ticks(position), None)
        new = () if start.history or start.last_id else start.new
        wants = start.history or start.last_id or new
        assert ticks.newest
        past = (ticks.newest, start.history or LOG_SECONDS, new) if wants else None
        return Due(past, None, None)

    def going_on(self, before: int) -> Due:
        """The ticks since the one that it has; the newest alone for one that reads slowly."""
        ticks, fanout = self.feed.ticks, self.fanout
        if not fanout.reaches(before):
            assert ticks.newest
            return Due((ticks.newest, LOG_SECONDS, ()), None, before)
        if self.is_slow and ticks.has_changed(fanout.tags, before):
            return Due(None, None, before)
        return Due(None, self.next_ticks(before), before)

    @property
    def is_slow(self) -> bool:
        """On its own connection by looks alone: while our loop stands still it is not the client
        that is slow."""
        since = self.full_since
        if self.was_blocked:
            return True
        return since is not None and self.feed.beaten - since >= SLOW_SECONDS

    def next_ticks(self, before: int) -> tuple[int, int]:
        return before, min(before + TICKS_AT_ONCE, self.feed.ticks.last)

    def last(self) -> bytes:
        """The end: when to come back, so that not all do at once."""
        return sse.retry(int(500 + 3500 * self.feed.chance()))

    def begin(self, head: bytes) -> None:
        """Send its first bytes on its own connection, after the head of the answer."""
        first = self.first()
        if len(first) <= sse.PIECE:
            self.hand(head + first)
        else:
            self.hand(head)
            self.hand(first)

    def take_due(self) -> None:
        """Send what it lacks on its own connection, which has taken all before it."""
        if due := self.due():
            self.hand(due)

    def hand(self, data: bytes, flags: int = 0) -> None:
        """Send this on its own connection, as much of it as that takes now."""
        if self.owed:
            self.owe(self.owed[self.place :] + data, 0)
            return
        try:
            sent = self.connection.send(data, flags)
        except OSError:  # it takes nothing now, or is gone, which its end tells
            sent = 0
        if sent < len(data):
            self.owe(data, sent)

    def owe(self, data: bytes, sent: int) -> None:
        """Note what was not taken; so many bytes of it were."""
        self.owed, self.place = data, sent
        self.feed.shared.begin(self, data)

    def flush(self) -> bool:
        """Send on of what it is owed; whether it has all now."""
        try:
            sent = self.connection.send(memoryview(self.owed)[self.place :])
        except OSError:
            return False
        self.place += sent
        if self.place < len(self.owed):
            self.full_since = None
            return False
        self.forget_owed()
        return True

    def forget_owed(self) -> None:
        owed, self.owed = self.owed, b""
        if owed:
            self.feed.shared.end(self, owed)

    def is_over(self) -> bool:
        """Whether the stream is to end."""
        return self.is_ending or self.feed.closing or self.feed.clock() >= self.ends

    def end(self) -> None:
        """Send its last words on its own connection, once; when it has them, let it go."""
        if not self.is_ending:
            self.is_ending = True
            end = sse.LAST_CHUNK if self.chunked else b""
            self.hand(sse.body(self.last(), self.chunked) + end, WITH_THE_END)
        if not self.owed:
            self.let_go()

    def let_go(self) -> None:
        """End it now, whatever was not sent."""
        self.is_ending = True
        if self.way:
            self.way.drop(self)

    def leave(self) -> None:
        """It is gone: nobody hands it anything any more."""
        self.fanout.leave(self)
        self.forget_owed()

    async def stream(self) -> AsyncIterator[bytes]:
        """All of it, piece by piece, for a server that takes the next when it has sent one."""
        feed, owed = self.feed, False
        try:
            for piece in self.pieces(self.first()):
                yield piece
            while not self.is_over():
                news = self.fanout.news
                due = self.due()
                if not due and owed and self.has_all and self.is_served:
                    due = self.now()  # woken although nothing changed: it is time to repeat
                owed, had_all = not due, self.has_all
                if due:
                    for piece in self.pieces(due):
                        yield piece
                    self.was_blocked = had_all and feed.waited(self.position) > BLOCKED_SECONDS
                else:
                    await self.news(news)
            if not self.is_ending:
                yield self.last()
        finally:  # what ended it may hold this viewer until the collector comes by, which is rarely
            del self.fanout

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """All of it, unless the viewer is to go meanwhile."""
        if len(data) <= sse.PIECE:
            yield data
            return
        self.feed.shared.begin(self, data)
        try:
            for piece in sse.pieces(data):
                if self.is_ending:
                    return
                yield piece
        finally:
            self.feed.shared.end(self, data)

    def now(self) -> bytes:
        """The totals, whether they changed or not."""
        present = self.feed.present
        return self.fanout.frame(present) if present else b""

    async def news(self, news: asyncio.Event) -> None:
        """Wait until the fan-out has something to tell, or a tick we lack may have come."""
        ahead = self.start and self.feed.loaded
        with suppress(TimeoutError):
            async with asyncio.timeout(TIMER_SECONDS if ahead else None):
                await news.wait()
