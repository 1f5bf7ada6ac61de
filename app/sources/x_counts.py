"""How many posts X had, minute by minute, at one price for a minute however busy it was.

X is asked once a minute for each tracked hashtag, about whole minutes only, each exactly
once: the cursor says which minutes are counted.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

import aiohttp

from app.hashtags import spelling
from app.messages import Post
from app.sources import SourceLost, said
from app.sources.x import X
from app.sources.x_account import Account
from app.sources.x_minutes import MINUTE, SETTLE_SECONDS, Asking, minute_of

LATE_SECONDS = 5 * MINUTE
"""Minutes that are counted so long after their end were missed, and are put where they belong."""


class XCounts(X):
    replays = True
    sleep = staticmethod(asyncio.sleep)

    async def posts(self, cursor: str) -> AsyncIterator[Post]:
        """As many posts as X says, hashtag by hashtag, when their minute is over."""
        account = Account(cursor, self.settings.hashtags, self.settings.x_backfill)
        try:
            async with self.session(self.waits) as session:
                asking = Asking(self.settings, session)
                while True:
                    now = self.clock()
                    account.open_holes(now, minute_of(now - SETTLE_SECONDS))
                    while hole := account.next_hole(now):
                        tag, begin, end = hole
                        minutes = await asking.minutes(tag, begin, end)
                        found = account.fill(tag, minutes, now)
                        for post in self.handed_over(tag, found, account.cursor()):
                            yield post
                    self.say("live", "counts by the minute")
                    self.waits.worked(self.clock())
                    await self.sleep(self.pause())
        except (aiohttp.ClientError, OSError) as error:
            raise SourceLost(
                f"the connection to X failed: {said(error)}", self.waits.cut()
            ) from error

    def handed_over(self, tag: str, found: Mapping[int, int], cursor: str) -> Iterable[Post]:
        """A post for each minute, then one that only moves the cursor.

        There is no wait between them, so a tick has all of them and the cursor, or none.
        """
        for begin, posts in found.items():
            past = begin + MINUTE + LATE_SECONDS < self.clock()
            if posts or past:
                yield minute_post(tag, begin, posts, past)
        yield Post("x", cursor, 0, "", cursor=cursor)

    def pause(self) -> float:
        """Seconds until the next minute is over and settled."""
        return MINUTE - (self.clock() - SETTLE_SECONDS) % MINUTE


def minute_post(tag: str, begin: int, posts: int, past: bool) -> Post:
    """So many posts of the minute that began at this second."""
    return Post(
        "x", f"{begin}-{tag}", begin * 1000, "", {tag: spelling(tag)}, posts=posts, past=past
    )


SOURCE: Any = XCounts
