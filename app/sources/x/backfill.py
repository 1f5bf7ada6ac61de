"""X's stream, and beside it X's counts of what the stream missed.

Each connection asks, once its first whole minute is settled, about the minutes since the
stream was last up; at the very first start about the day before. What comes of that takes its
place among the stream's lines, so there is one order in which all is counted, and the cursor
(coverage.py) is true after each post.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

import aiohttp
from aiohttp.http import HttpProcessingError
from msgspec.structs import replace

from app.messages import Checkpoint, Message, Post
from app.process import begin
from app.sources import SourceLost, public_reason
from app.sources.x.budget import DOLLARS_A_REQUEST, FIRST_REQUESTS, ROUND_SECONDS
from app.sources.x.connection import CountsAnswer, Line, OneConnection
from app.sources.x.counts import handed_over
from app.sources.x.coverage import Coverage
from app.sources.x.minutes import MINUTE, CountsClient
from app.sources.x.stream import X
from app.sources.x.waits import XWaits

log = logging.getLogger(__name__)

STALL_MARGIN = 5.0


class XBackfill(X):
    """X's posts, and its numbers where posts were missed."""

    goes_back = True
    sleep = staticmethod(asyncio.sleep)

    async def posts(self, cursor: str) -> AsyncIterator[Message]:
        """Each post of one connection, and as many as X says of the minutes that were missed."""
        self.coverage = Coverage(cursor, self.settings.hashtags, backfill=True)
        self.connected = asyncio.Event()
        self.heard = self.clock()
        async with aclosing(super().posts(cursor)) as messages:  # type: ignore[type-var]
            async for message in messages:
                yield message

    async def lines(self, client: OneConnection) -> AsyncGenerator[Line, None]:
        asking = begin(self.ask(client), "x counts")
        try:
            async with aclosing(client.lines()) as lines:
                async for line in lines:
                    yield line
        finally:
            asking.cancel()
            await asyncio.wait([asking])

    def counted(self, line: Line, new: Post | None) -> Sequence[Message]:
        if isinstance(line, CountsAnswer):
            return self.filled(line)
        now = self.clock()
        if not self.connected.is_set():
            self.coverage.connect(now)
            self.connected.set()
        elif now - self.heard > self.stall + STALL_MARGIN:
            # we were stopped: what X sent meanwhile may be lost, though the connection is there
            silence = f"nothing was heard of X for {now - self.heard:.0f} s"
            raise SourceLost(silence, self.waits.cut())
        self.heard = now
        self.coverage.advance(now)
        if new:
            return [self.kept(new, now)]
        return [Checkpoint(self.name, self.coverage.cursor())]

    def kept(self, post: Post, now: float) -> Post:
        """The post, without hashtags of which X's counts have it already."""
        # no minute of the future: each is remembered until it is over
        second = min(post.time / 1000 or now, now + MINUTE)
        tags = post.hashtags.keys() & set(self.settings.hashtags)
        kept = {tag: post.hashtags[tag] for tag in sorted(tags) if self.coverage.add(tag, second)}
        return replace(post, hashtags=kept, cursor=self.coverage.cursor())

    def filled(self, answer: CountsAnswer) -> Sequence[Message]:
        """The minutes that were missed. With the last of them nothing is missing any more since
        the first of them."""
        missed = self.coverage.fill(answer.hashtag, answer.minutes, self.clock())
        answer.counted.set()
        log.info("x: %d missed posts with #%s are counted", sum(missed.values()), answer.hashtag)
        if not self.coverage.next_hole(self.clock()):
            self.say(self.state, self.reason, self.coverage.filled_since)
        return list(handed_over(answer.hashtag, missed, self.coverage.cursor()))

    async def ask(self, client: OneConnection) -> None:
        """Ask for each hole until none is left; whatever comes of that, the stream goes on."""
        try:
            await self.connected.wait()
            waits = XWaits()
            async with self.session(waits) as session:
                counts = CountsClient(self.settings, session)
                while self.coverage.next_hole(self.clock()):
                    await self.sleep(max(0.0, self.coverage.due() - self.clock()))
                    try:
                        await self.ask_all(counts, client)
                    except (aiohttp.ClientError, HttpProcessingError, OSError) as error:
                        why = f"the connection failed: {public_reason(error)}"
                        await self.later(SourceLost(why), waits)
                    except SourceLost as lost:
                        await self.later(lost, waits)
        except SourceLost as refused:
            log.warning("x: what the stream missed stays missing for now: %s", refused)
        except Exception as bug:  # noqa: BLE001 - handed to who reads the lines
            client.received.put_nowait(bug)

    async def ask_all(self, counts: CountsClient, client: OneConnection) -> None:
        while hole := self.coverage.next_hole(self.clock()):
            answer = CountsAnswer(hole[0], await counts.minutes(*hole), asyncio.Event())
            client.received.put_nowait(answer)
            await answer.counted.wait()

    async def later(self, lost: SourceLost, waits: XWaits) -> None:
        """Wait as X wants; what no waiting mends is raised again."""
        if lost.for_good:
            raise lost
        wait = waits.error() if lost.wait is None else lost.wait
        log.warning("x: what the stream missed is asked for again in %.0f s: %s", wait, lost)
        await self.sleep(wait)

    def price(self) -> str:
        gap = DOLLARS_A_REQUEST * len(self.settings.hashtags)
        return (
            f"{super().price().rstrip('.')}; X_BACKFILL adds ${FIRST_REQUESTS * gap:,.2f} at the "
            f"first start and ${gap:,.3f} after each disconnect, "
            f"at most ${gap * 86_400 / ROUND_SECONDS:,.2f} a day."
        )
