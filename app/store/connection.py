"""A connection to Redis that gives up soon, and reads no more than it can hold."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

import hiredis
from redis.asyncio import Redis
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    DefaultParser,
    SSLConnection,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo
from redis.exceptions import (
    AskError,
    AuthenticationError,
    ConnectionError,
    RedisError,
    ResponseError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.maint_notifications import MaintNotificationsConfig

from app.sentences import Sentence
from app.store.primary import Primary
from app.store.refusals import Elsewhere, explained, is_elsewhere, readable

ANSWER_SECONDS = 5.0
"""A Redis that has not answered by then is lost: a hung one would never say so."""
LONGEST = 2 * 2**20
"""Bytes of anything that Redis sends; a tick of thousands of hashtags fits."""
NO_TLS = "does not answer, or speaks no TLS (redis in REDIS_URL)"
WANTS_TLS = "it is just ending, or it wants TLS (rediss in REDIS_URL)"
"""What we say where one side alone speaks TLS: no error names that."""
AROUND = 1100
"""Bytes that hiredis holds beside a value that has not come whole: the value's own header, and
up to 1,024 of what stands before it and was read already."""


class StoreLost(Exception):
    """Redis does not answer, or refuses; the message is one sentence, for the owner.

    public: the sentence for everybody else, where the message has an address in it, or what Redis
        wrote.
    """

    def __init__(self, sentence: str, public: str = "") -> None:
        super().__init__(sentence)
        self.public = public or sentence


class LeaseLost(StoreLost):
    """Another ingester is the writer now."""


def connect(url: str, **options: Any) -> Redis:
    """A client that gives up at once: whoever calls the store decides about trying again."""
    primary = Primary(url, partial(connect, **options)) if "+" in url.partition(":")[0] else None
    redis = Redis.from_url(
        primary.first if primary else url,
        socket_timeout=ANSWER_SECONDS,
        socket_connect_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),
        parser_class=BoundedParser,
        # to tell its version, redis-py would read its package's files anew for each connection
        driver_info=DriverInfo(lib_version=None),
        # with them, connections from before a restart of Redis are used again, once each
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
        **options,
    )
    pool = redis.connection_pool
    kinds, about = ((Following, Packing), {"primary": primary}) if primary else ((Packing,), {})
    pool.connection_class = type("Packing", (*kinds, pool.connection_class), about)
    return redis


class Packing(AbstractConnection):
    """Writes commands by hiredis, in C: redis-py's asyncio connections use that for reading alone.
    Says in words where one side alone speaks TLS."""

    async def _connect(self) -> None:
        try:
            await super()._connect()  # type: ignore[safe-super, no-untyped-call]
        except TimeoutError as error:
            if not isinstance(self, SSLConnection):
                raise
            raise ConnectionError(f"{self._host_error()} {NO_TLS}") from error

    def pack_command(self, *args: Any) -> list[bytes]:
        return [hiredis.pack_command((*args[0].split(), *args[1:]))]

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        """Log in. A Redis that does not know the command for it repeats that in its error, password
        and all, which is taken out."""
        try:
            await super().on_connect_check_health(check_health)
        except RedisError as error:
            text = readable(error).partition(", with args")[0]
            hangs_up = isinstance(error.__context__, OSError) or "closed by server" in text
            if hangs_up and not isinstance(self, SSLConnection):
                text = f"{self._host_error()} hangs up before it answers: {WANTS_TLS}"
            error.args = (text.replace(self.password or "\0", "(hidden)"),)
            raise


class Following(Connection):
    """A connection to where the primary is when it is opened. Once that is told, or found, to be
    elsewhere, each is opened anew before it is used again."""

    primary: ClassVar[Primary]

    async def connect(self) -> None:
        if self.is_connected and (self.host, self.port) != self.primary.found:
            await self.disconnect()
        await super().connect()  # type: ignore[no-untyped-call]

    async def _connect(self) -> None:
        self.host, self.port = await self.primary.find()
        await super()._connect()  # type: ignore[no-untyped-call]

    async def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*args, **options)
        except ResponseError as error:
            if why := is_elsewhere(error):
                self.primary.doubt()
                raise Elsewhere(why) from error
            raise


async def check_primary(connection: AbstractConnection | None) -> None:
    """Raises StoreLost where the primary is elsewhere by now than where this goes."""
    if not isinstance(connection, Following):
        return
    if await connection.primary.find() != (connection.host, connection.port):
        raise StoreLost(Sentence("Redis: its primary is another one now."))


class TooLong(ConnectionError):
    """Redis sends more than that; the connection cannot be used any more."""


class BoundedParser(DefaultParser):  # type: ignore[misc,valid-type]
    """redis-py's parser with a bound: its own reads a message of any length.

    It reads from the socket only when what it holds is no whole value. Then that is the beginning
    of one value and nothing else, so its length is the value's so far.
    """

    async def read_from_socket(self) -> bool:
        if self._reader.len() > LONGEST + AROUND:
            raise TooLong(f"it sends a message of more than {LONGEST} bytes")
        await super().read_from_socket()
        return True


@contextmanager
def store_lost(key: str = "") -> Iterator[None]:
    """Every way in which Redis can fail us, as StoreLost with one sentence, about the key."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise StoreLost(f"Redis: the Redis key {key} has bytes in it that are no text.") from error
    except (RedisError, OSError, TimeoutError) as error:
        public, text = "", readable(error).removeprefix("FOREIGN ").strip()
        if text.startswith("LEASE"):
            raise LeaseLost(text) from error
        if text.startswith("WRONGTYPE") and key:
            text = f"the Redis key {key} is of another type than ours"
        elif reason := explained(error):
            is_private = isinstance(error, AskError | AuthenticationError) or "unknown" in text
            text, public = reason, public_of(error) if is_private else ""
        elif not str(error).startswith("FOREIGN "):  # which is a sentence of our own script
            public = public_of(error)
        raise StoreLost(f"Redis: {text.rstrip('.')}.", public) from error


def public_of(error: Exception) -> str:
    """What everybody may know of it: no address, nothing that Redis wrote."""
    away = isinstance(error, ConnectionError | OSError | TimeoutError | RedisTimeoutError)
    if away and not isinstance(error, AuthenticationError):
        return Sentence("Redis does not answer.")
    return Sentence("Redis refuses what it is asked.")
