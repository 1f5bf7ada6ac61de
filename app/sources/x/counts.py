"""How many posts X had, minute by minute, at one price for a minute however busy it was.

X is asked once a minute for each tracked hashtag, about whole minutes only, each exactly
once: the cursor says which minutes are counted.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping

import aiohttp
from aiohttp.http import HttpProcessingError

from app.messages import Checkpoint, Message, MinuteCount, dumps
from app.sources.x.budget import DOLLARS_A_REQUEST, FIRST_REQUESTS
from app.sources.x.coverage import Coverage
from app.sources.x.minutes import MINUTE, SETTLE_SECONDS, CountsClient, minute_of
from app.sources.x.stream import X


class XCounts(X):
    """X's numbers instead of its posts."""

    goes_back = True
    tells_authors = False
    sleep = staticmethod(asyncio.sleep)

    async def posts(self, cursor: str) -> AsyncIterator[Message]:
        """As many posts as X says, hashtag by hashtag, when their minute is over."""
        coverage = Coverage(cursor, self.settings.hashtags, self.settings.x_backfill)
        try:
            async with self.session(self.waits) as session:
                counts = CountsClient(self.settings, session)
                while True:
                    now = self.clock()
                    coverage.open_holes(now, minute_of(now - SETTLE_SECONDS))
                    while hole := coverage.next_hole(now):
                        missed = coverage.fill(hole[0], await counts.minutes(*hole), now)
                        for message in handed_over(hole[0], missed, coverage.cursor()):
                            yield message
                    self.say("live", "counts by the minute", coverage.filled_since)
                    self.waits.worked(self.clock())
                    await self.sleep(self.pause())
        except (aiohttp.ClientError, HttpProcessingError, OSError, UnicodeError) as error:
            raise self.cut(error) from None

    def first_look(self) -> str:
        """The last settled minute of one hashtag, for the price of a request."""
        last = minute_of(self.clock() - SETTLE_SECONDS) - MINUTE
        return dumps({self.settings.hashtags[0]: last})

    def pause(self) -> float:
        """Seconds until the next minute is over and settled."""
        return MINUTE - (self.clock() - SETTLE_SECONDS) % MINUTE

    def price(self) -> str:
        hashtags = len(self.settings.hashtags)
        day = DOLLARS_A_REQUEST * 1440 * hashtags
        first = FIRST_REQUESTS * DOLLARS_A_REQUEST * hashtags
        once = f", and ${first:,.2f} once for the day before" if self.settings.x_backfill else ""
        return f"x: costs ${day:,.2f} a day in counts mode, whatever the number of posts{once}."


def handed_over(tag: str, missed: Mapping[int, int], cursor: str) -> Iterator[Message]:
    """Each minute, also a silent one, which is thereby known; then the cursor.

    There is no wait between them, so a tick has all of them and the cursor, or none.
    """
    for begin, posts in missed.items():
        yield MinuteCount("x", tag, begin * 1000, posts)
    yield Checkpoint("x", cursor)
