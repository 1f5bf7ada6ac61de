"""How many posts X had, minute by minute, at one price for a minute however busy it was.

`GET /2/tweets/counts/recent` (https://docs.x.com/x-api/posts/get-count-of-recent-posts)
tells the number of posts in each minute of the last seven days, $0.005 a request. It is
asked once a minute for each tracked hashtag, about whole minutes only, each exactly once:
the cursor says up to which minute each hashtag is counted.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import aiohttp
from tweepy.asynchronous import AsyncClient

from app.hashtags import spelling
from app.messages import Post
from app.sources import SourceLost, milliseconds, said
from app.sources.x import X
from app.sources.x_wire import Gateway

MINUTE = 60
SETTLE_SECONDS = 15
"""X answers only about what is 10 s ago or more, and counts late posts in the first seconds."""
LONGEST_SPAN = 12 * 3600
REACH = 6.9 * 86_400
"""X knows seven days; what is older than that is lost."""


class XCounts(X):
    replays = True
    sleep = staticmethod(asyncio.sleep)

    async def posts(self, cursor: str) -> AsyncIterator[Post]:
        """As many posts as X says, hashtag by hashtag, when their minute is over."""
        upto = self.begin(cursor)
        try:
            async with self.session() as session:
                client = AsyncClient(self.settings.x_bearer_token, return_type=dict)
                client.session = Gateway(session, self.settings.x_api_url)
                while True:
                    for tag in self.settings.hashtags:
                        minutes = await self.minutes(client, tag, upto[tag])
                        upto[tag] = minutes[-1][1] if minutes else upto[tag]
                        for post in self.handed_over(tag, minutes, json.dumps(upto)):
                            yield post
                    self.say("live", "counts by the minute")
                    self.waits.worked(self.clock())
                    await self.sleep(self.pause())
        except (aiohttp.ClientError, OSError) as error:
            raise SourceLost(
                f"the connection to X failed: {said(error)}", self.waits.cut()
            ) from error

    def begin(self, cursor: str) -> dict[str, int]:
        """Up to which second each hashtag is counted; the past of a new one is not."""
        now = int(self.clock())
        known = known_minutes(cursor)
        oldest = int(now - REACH) // MINUTE * MINUTE
        start = now // MINUTE * MINUTE
        return {tag: max(known.get(tag, start), oldest) for tag in self.settings.hashtags}

    async def minutes(
        self, client: AsyncClient, tag: str, begin: int
    ) -> list[tuple[int, int, int]]:
        """The whole minutes since then, as (begin, end, posts), in order and without a hole.

        Raises SourceLost when X's answer is not what was asked for.
        """
        end = int(self.clock() - SETTLE_SECONDS) // MINUTE * MINUTE
        end = min(end, begin + LONGEST_SPAN)
        if end <= begin:
            return []
        answer = await client.get_recent_tweets_count(
            f"#{spelling(tag)}",
            granularity="minute",
            start_time=moment(begin),
            end_time=moment(end),
        )
        try:
            counted = sorted(
                (milliseconds(m["start"]) // 1000, milliseconds(m["end"]) // 1000, m["tweet_count"])
                for m in answer["data"]
            )
            whole = all(one[1] == two[0] for one, two in pairwise(counted))
            if not (whole and counted and (counted[0][0], counted[-1][1]) == (begin, end)):
                raise ValueError("minutes are missing")
        except (KeyError, TypeError, ValueError) as error:
            raise SourceLost(f"X's counts could not be read: {said(error)}") from error
        return counted

    def handed_over(
        self, tag: str, minutes: Iterable[tuple[int, int, int]], cursor: str
    ) -> Iterable[Post]:
        """A post for each one counted, then one that only moves the cursor.

        There is no wait between them, so a tick has all of them and the cursor, or none.
        """
        for begin, _, count in minutes:
            for n in range(count):
                yield Post("x", f"{begin}-{tag}-{n}", begin * 1000, "", {tag: tag})
        if minutes:
            yield Post("x", cursor, 0, "", cursor=cursor)

    def pause(self) -> float:
        """Seconds until the next minute is over and settled."""
        return MINUTE - (self.clock() - SETTLE_SECONDS) % MINUTE


def known_minutes(cursor: str) -> dict[str, int]:
    """What a cursor says; nothing for one that is not ours."""
    try:
        found = json.loads(cursor or "{}")
        return {tag: int(second) // MINUTE * MINUTE for tag, second in found.items()}
    except (ValueError, TypeError, AttributeError, OverflowError):
        return {}


def moment(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)


SOURCE: Any = XCounts
