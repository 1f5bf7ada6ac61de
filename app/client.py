"""A connection to Redis that gives up soon, and reads no more than it can hold."""

from typing import Any

from redis.asyncio import Redis
from redis.asyncio.connection import DefaultParser
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError
from redis.maint_notifications import MaintNotificationsConfig

ANSWER_SECONDS = 5.0
"""A Redis that has not answered by then is lost: a hung one would never say so."""
LONGEST = 2 * 2**20
"""Bytes of a message, of an entry in the log, of anything: hashtags by the thousand fit."""


def connect(url: str, **options: Any) -> Redis:
    """A client that gives up at once: whoever calls the store decides about trying again."""
    return Redis.from_url(
        url,
        socket_timeout=ANSWER_SECONDS,
        socket_connect_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),
        parser_class=BoundedParser,
        # with them, connections from before a restart of Redis are used again, once each
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
        **options,
    )


class TooLong(ConnectionError):
    """Redis sends more than that; the connection cannot be used any more."""


class BoundedParser(DefaultParser):  # type: ignore[misc,valid-type]
    """redis-py's own parser would read a message whole, however long it is."""

    async def read_from_socket(self) -> bool:
        await super().read_from_socket()
        if self._reader.len() > LONGEST + self._read_size:  # the end of one, and the next ones
            raise TooLong(f"it sends a message of more than {LONGEST} bytes")
        return True
