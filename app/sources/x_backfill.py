"""X's stream, and beside it X's counts of what the stream missed.

Each connection asks, once its first whole minute is settled, about the minutes since the
stream stood last; at the very first start about the day before. What comes of that takes its
place among the stream's lines, so there is one order in which all is counted, and the cursor
(x_account.py) is true after each post.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import aiohttp
from aiohttp.http import HttpProcessingError
from msgspec.structs import replace

from app.messages import Post
from app.retry import XWaits
from app.sources import SourceLost, said
from app.sources.x import X
from app.sources.x_account import Account
from app.sources.x_counts import minute_post
from app.sources.x_minutes import Asking
from app.sources.x_wire import Answer, Line, OneConnection

log = logging.getLogger(__name__)

STALL_MARGIN = 5.0


class XBackfill(X):
    replays = True
    sleep = staticmethod(asyncio.sleep)

    async def posts(self, cursor: str) -> AsyncIterator[Post]:
        """Each post of one connection, and as many as X says of the minutes that were missed."""
        self.account = Account(cursor, self.settings.hashtags, backfill=True)
        self.stands = asyncio.Event()
        self.heard = self.clock()
        async with aclosing(super().posts(cursor)) as posts:  # type: ignore[type-var]
            async for post in posts:
                yield post

    async def lines(self, client: OneConnection) -> AsyncGenerator[Line, None]:
        asking = asyncio.create_task(self.ask(client), name="x counts")
        try:
            async with aclosing(client.lines()) as lines:
                async for line in lines:
                    yield line
        finally:
            asking.cancel()
            await asyncio.wait([asking])

    def counted(self, line: Line, new: Post | None) -> Sequence[Post]:
        if isinstance(line, Answer):
            return self.filled(line)
        now = self.clock()
        if not self.stands.is_set():
            self.account.connect(now)
            self.stands.set()
        elif now - self.heard > self.stall + STALL_MARGIN:
            # we were stopped: what X sent meanwhile may be lost, though the line still stands
            silence = f"nothing was heard of X for {now - self.heard:.0f} s"
            raise SourceLost(silence, self.waits.cut())
        self.heard = now
        self.account.advance(now)
        post = self.kept(new, now) if new else Post(self.name, "", 0, "")
        return [replace(post, cursor=self.account.cursor())]

    def kept(self, post: Post, now: float) -> Post:
        """The post, without hashtags of which X's counts have it already."""
        at = post.at / 1000 or now
        tags = post.hashtags.keys() & set(self.settings.hashtags)
        kept = {tag: post.hashtags[tag] for tag in sorted(tags) if self.account.add(tag, at)}
        return replace(post, hashtags=kept)

    def filled(self, answer: Answer) -> Sequence[Post]:
        """A post for each minute that was missed, then one that only moves the cursor."""
        found = self.account.fill(answer.hashtag, answer.minutes, self.clock())
        answer.heeded.set()
        log.info("x: %d missed posts with #%s are counted", sum(found.values()), answer.hashtag)
        posts = [minute_post(answer.hashtag, at, n, past=True) for at, n in found.items()]
        return [*posts, Post(self.name, "", 0, "", cursor=self.account.cursor())]

    async def ask(self, client: OneConnection) -> None:
        """Ask for each hole until none is left; whatever comes of that, the stream goes on."""
        try:
            await self.stands.wait()
            waits = XWaits()
            async with self.session(waits) as session:
                asking = Asking(self.settings, session)
                while self.account.next_hole(self.clock()):
                    await self.sleep(max(0.0, self.account.due() - self.clock()))
                    try:
                        await self.ask_all(asking, client)
                    except (aiohttp.ClientError, HttpProcessingError, OSError) as error:
                        await self.later(SourceLost(f"the connection failed: {said(error)}"), waits)
                    except SourceLost as lost:
                        await self.later(lost, waits)
        except SourceLost as refused:
            log.warning("x: what the stream missed stays missing for now: %s", refused)
        except Exception as bug:  # noqa: BLE001 - handed to who reads the lines
            client.received.put_nowait(bug)

    async def ask_all(self, asking: Asking, client: OneConnection) -> None:
        while hole := self.account.next_hole(self.clock()):
            answer = Answer(hole[0], await asking.minutes(*hole), asyncio.Event())
            client.received.put_nowait(answer)
            await answer.heeded.wait()

    async def later(self, lost: SourceLost, waits: XWaits) -> None:
        """Wait as X wants; what no waiting mends is raised again."""
        if lost.for_good:
            raise lost
        wait = waits.error() if lost.wait is None else lost.wait
        log.warning("x: what the stream missed is asked for again in %.0f s: %s", wait, lost)
        await self.sleep(wait)


SOURCE: Any = XBackfill
