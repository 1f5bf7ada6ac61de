"""How many posts X had, minute by minute: `GET /2/tweets/counts/recent`.

https://docs.x.com/x-api/posts/get-count-of-recent-posts tells the number of posts in each
minute of the last seven days, $0.005 a request. We ask about whole minutes only.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise

import aiohttp
from tweepy.asynchronous import AsyncClient

from app.hashtags import spelling
from app.messages import milliseconds
from app.settings import Settings
from app.sources import SourceLost
from app.sources.x.connection import Gateway

MINUTE = 60
SETTLE_SECONDS = 15
"""X answers only about what is 10 s ago or more, and counts late posts in the first seconds."""
LONGEST_SPAN = 12 * 3600
"""Our own limit, lest an answer is of several pages."""
REACH = 6.9 * 86_400
"""X knows seven days; what is older than that is lost."""
NOT_READ = "X's counts could not be read"

Minutes = Sequence[tuple[int, int, int]]
"""Whole minutes in order and without a hole: (begin, end, posts), in seconds since 1970."""


class CountsClient:
    """X's counts, through a session that raises SourceLost for an answer that is no success."""

    def __init__(self, settings: Settings, session: aiohttp.ClientSession) -> None:
        self.client = AsyncClient(settings.x_bearer_token, return_type=dict)
        self.client.session = Gateway(session, settings.x_api_url)

    async def minutes(self, tag: str, begin: int, end: int) -> Minutes:
        """The minutes from begin to end, or as many of the first as one request may be about.

        Raises SourceLost when X's answer is not what was asked for.
        """
        end = min(end, begin + LONGEST_SPAN)
        try:
            answer = await self.client.get_recent_tweets_count(
                f"#{spelling(tag)}",
                granularity="minute",
                start_time=moment(begin),
                end_time=moment(end),
            )
            counted = sorted(
                (milliseconds(m["start"]) // 1000, milliseconds(m["end"]) // 1000, m["tweet_count"])
                for m in answer["data"]
            )
            whole = all(one[1] == two[0] for one, two in pairwise(counted))
            if not (whole and counted and (counted[0][0], counted[-1][1]) == (begin, end)):
                raise SourceLost(f"{NOT_READ}: minutes are missing")
            if not all(type(posts) is int and posts >= 0 for _, _, posts in counted):
                raise SourceLost(f"{NOT_READ}: a count is not a whole number")
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise SourceLost(f"{NOT_READ}: {type(error).__name__}") from None
        return counted


def minute_of(second: float) -> int:
    """The second at which its minute began."""
    return int(second) // MINUTE * MINUTE


def moment(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)
