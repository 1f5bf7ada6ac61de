"""The Redis schema: keys, the atomic commit, history, the subscription.

All keys carry the hash tag {hashtag}, so that they live in one slot of a cluster.

    {hashtag}:totals   hash    hashtag -> total
    {hashtag}:sources  hash    "hashtag source" -> total of that source
    {hashtag}:names    hash    hashtag -> its commonest spelling, by {hashtag}:spellings (hash)
    {hashtag}:state    hash    version, commit, recent commits, second, cursor:<source>
    {hashtag}:log      stream  the ticks of the last 15 minutes, field "tick"
    {hashtag}:ticks    channel the same ticks as they happen, with their "id"
    {hashtag}:lease    string  which ingester is the writer
    {hashtag}:spent:<source> <day>
                       hash    reader -> posts read from a network that charges for each
    {hashtag}:states   stream  what the sources were doing, an entry for every change, and
                               which times were "filled" since (hashtag -> source -> spans),
                               "alone" where nobody ticked then (hashtag -> spans)
    {hashtag}:minutes:<day>:<hashtag>, {hashtag}:hours:<month>:<hashtag>
                       string  totals by minute and by hour (app/history.py)
"""

import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from app.client import TooLong
from app.client import connect as connect  # what a Store is made with
from app.messages import Tick, dumps, parse_id

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
TOTALS, SOURCES, STATE = "{hashtag}:totals", "{hashtag}:sources", "{hashtag}:state"
LOG, TICKS = "{hashtag}:log", "{hashtag}:ticks"
LEASE, STATES, SPENT = "{hashtag}:lease", "{hashtag}:states", "{hashtag}:spent"
SPELLINGS, NAMES = "{hashtag}:spellings", "{hashtag}:names"
LOG_SECONDS = 900
PAGE = 16
"""Entries of the log that are asked for at once."""
GIVE_LEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"


class StoreLost(Exception):
    """Redis does not answer, or refuses; the message is one sentence."""


class LeaseLost(StoreLost):
    """Another ingester is the writer now."""


@dataclass(frozen=True)
class State:
    """What the last commit left: its number, its name, and each source's cursor.

    recent: the names of the last 64 commits, the newest last.
    """

    version: str = "0"
    commit: str = ""
    recent: tuple[str, ...] = ()
    cursors: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_hash(cls, stored: Mapping[bytes, bytes]) -> "State":
        texts = {k.decode(): v.decode() for k, v in stored.items()}
        return cls(
            version=texts.get("version", "0"),
            commit=texts.get("commit", ""),
            recent=tuple(texts.get("recent", "").split()),
            cursors={
                name.removeprefix("cursor:"): cursor
                for name, cursor in texts.items()
                if name.startswith("cursor:")
            },
        )


class Store:
    """Everything that this project asks of Redis. Each method raises StoreLost."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        scripts = [(HERE / name).read_text() for name in ("fields.lua", "slots.lua", "commit.lua")]
        self.script = redis.register_script("\n".join(scripts))
        self.spending = redis.register_script((HERE / "spend.lua").read_text())
        self.skipped = 0
        """Messages on the channel and entries in the log that were no ticks of ours."""

    async def load(self) -> State:
        """What the last commit left, by whomever."""
        with store_lost(STATE):
            stored: Any = await self.redis.hgetall(STATE)
            return State.from_hash(stored)

    async def commit(
        self, seen: State, name: str, tick: Mapping[str, Any], writer: str = "", lease: float = 10
    ) -> State:
        """Store one tick, all of it or nothing (commit.lua says what a tick has).

        Answers with the state that is stored now: its commit is this one's name when the
        tick is in, by this call or by an earlier one whose answer was lost. Holds the
        writer's lease for so many seconds more; raises LeaseLost when another has it.
        """
        with store_lost(STATE):
            answer = await self.script(
                keys=[TOTALS, SOURCES, STATE, LOG, TICKS, LEASE, STATES, SPELLINGS, NAMES],
                args=[
                    seen.version,
                    seen.commit,
                    name,
                    LOG_SECONDS * 1000,
                    writer,
                    int(lease * 1000),
                    dumps(tick),
                ],
            )
            return State.from_hash(dict(zip(answer[::2], answer[1::2], strict=True)))

    async def writer(self) -> str:
        """Who holds the lease of the one writer; "" for nobody."""
        with store_lost(LEASE):
            held: Any = await self.redis.get(LEASE)
            return (held or b"").decode()

    async def take_lease(self, writer: str, seconds: float) -> bool:
        """Become the writer if nobody is."""
        with store_lost():
            return bool(await self.redis.set(LEASE, writer, nx=True, px=int(seconds * 1000)))

    async def give_lease(self, writer: str) -> None:
        """Stop being the writer, so that another need not wait for the lease to run out."""
        with store_lost():
            await self.redis.eval(GIVE_LEASE, 1, LEASE, writer)

    async def spend(self, day: str, reader: str, read: int, ahead: int, ceiling: int) -> int:
        """How many posts this reader may read in all that day; spend.lua says the rest.

        The account of a day is forgotten after three.
        """
        key = f"{SPENT}:{day}"
        with store_lost(key):
            return int(await self.spending(keys=[key], args=[reader, read, ahead, ceiling]))

    async def ticks_after(self, id: str) -> list[Tick]:
        """The ticks of the log after this id ("" for all of it), in order."""
        ticks: list[Tick] = []
        page: Any = None
        while page is None or len(page) == PAGE:
            with store_lost(LOG):
                page = await self.redis.xrange(LOG, min=f"({id}" if id else "-", count=PAGE)
            for entry, fields in page:
                id = entry.decode()
                ticks += filter(None, [self._read(fields.get(b"tick", b""), id)])
        return ticks

    async def follow(self, last: str, silence: float) -> AsyncIterator[Tick | None]:
        """Every tick after the id `last`, in order, each once, as it happens.

        Subscribes first and reads the log then, so nothing falls between the two, and
        does so again at *every* confirmation of the subscription: redis-py subscribes
        anew by itself after a short outage and says so in no other way. A gap between
        a tick and the one before it is filled from the log. None means that the log is
        read to its end, or that nothing came for `silence` seconds.
        """
        pubsub: PubSub = self.redis.pubsub()
        try:
            with store_lost():
                await pubsub.subscribe(TICKS)
            while True:
                message = await self._next(pubsub, silence)
                if message is None:
                    if await self.ticks_after(last):
                        raise StoreLost("Redis took our subscription away without a word.")
                    yield None
                    continue
                if message["type"] == "subscribe":
                    last, missed = await self._since(last)
                else:
                    missed = await self._up_to(self._read(message["data"]), last)
                for tick in missed:
                    yield tick
                    last = tick.id
                if message["type"] == "subscribe":
                    yield None
        finally:
            await pubsub.aclose()  # type: ignore[no-untyped-call]

    async def _next(self, pubsub: PubSub, silence: float) -> Any:
        try:
            with store_lost():
                return await pubsub.get_message(timeout=silence)
        except StoreLost as lost:
            if isinstance(lost.__cause__, TooLong):
                self._skip(str(lost))
            raise

    async def _since(self, last: str) -> tuple[str, list[Tick]]:
        """The id and the ticks after it; "" and all of the log where that has it no more."""
        with store_lost(LOG):
            there = last and await self.redis.xrange(LOG, last, last)
        return (last if there else ""), await self.ticks_after(last if there else "")

    async def _up_to(self, heard: Tick | None, last: str) -> list[Tick]:
        """What follows the id `last` up to the tick just heard, from the log if need be."""
        if heard is None or (last and not is_after(heard.id, last)):
            return []
        if heard.previous == last:
            return [heard]
        _, missed = await self._since(last)
        return missed if missed and not is_after(heard.id, missed[-1].id) else [*missed, heard]

    def _read(self, text: bytes, id: str = "") -> Tick | None:
        try:
            return Tick.from_json(text, id)
        except ValueError as error:
            self._skip(str(error))
            return None

    def _skip(self, why: str) -> None:
        self.skipped += 1
        if self.skipped & (self.skipped - 1) == 0:  # at 1, 2, 4, 8 ...: a flood stays readable
            log.warning("skipped %d messages in Redis so far: %s", self.skipped, why)


def is_after(id: str, other: str) -> bool:
    """Whether the stream id comes later; "" comes before all."""
    return bool(id) and (not other or parse_id(id) > parse_id(other))


@contextmanager
def store_lost(key: str = "") -> Iterator[None]:
    """Every way in which Redis can fail us, as StoreLost with one sentence, about the key."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise StoreLost(f"Redis: the Redis key {key} has bytes in it that are no text.") from error
    except (RedisError, OSError, TimeoutError) as error:
        text = str(error).removeprefix("FOREIGN ").strip() or type(error).__name__
        if text.startswith("LEASE"):
            raise LeaseLost(text) from error
        if text.startswith("WRONGTYPE") and key:
            text = f"the Redis key {key} is of another type than ours"
        raise StoreLost(f"Redis: {text.rstrip('.')}.") from error
