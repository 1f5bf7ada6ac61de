"""Everything that this project asks of Redis: reading, the atomic commit, the subscription."""

import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from app.messages import Tick, is_after
from app.store import keys
from app.store.connection import LeaseLost as LeaseLost
from app.store.connection import StoreLost as StoreLost
from app.store.connection import TooLong, store_lost
from app.store.connection import connect as connect  # what a Store is made with
from app.store.state import Commit, State

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
PAGE = 16
"""Entries of the log that are asked for at once."""
STATES_PAGE = 500
GIVE_LEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"

Fields = Mapping[str, Sequence[str]]
"""Key of a hash to the fields that are wanted of it."""
Values = dict[str, dict[str, bytes]]
"""Key of a hash to those of the fields that are there, and their values."""


class Store:
    """Everything that this project asks of Redis. Each method raises StoreLost."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.script = redis.register_script((HERE / "commit.lua").read_text())
        self.spending = redis.register_script((HERE / "spend.lua").read_text())
        self.skipped = 0
        """Messages on the channel and entries in the log that were no ticks of ours."""

    async def load(self) -> State:
        """What the last commit left, by whomever."""
        return (await self.read({}))[0]

    async def read(self, fields: Fields) -> tuple[State, Values]:
        """The state and these fields of hashes, all of one moment: the values are those of the
        state's last tick."""
        wanted = {key: list(names) for key, names in fields.items() if names}
        with store_lost(keys.STATE):
            async with self.redis.pipeline(transaction=True) as pipe:
                pipe.time()
                pipe.hgetall(keys.STATE)
                for key, names in wanted.items():
                    pipe.hmget(key, names)
                answers = await pipe.execute(raise_on_error=False)
            (seconds, micro), stored, *found = checked(answers, ["", keys.STATE, *wanted])
            state = State.from_hash(stored, seconds * 1000 + micro // 1000)
        values = {
            key: {n: v for n, v in zip(names, row, strict=True) if v is not None}
            for (key, names), row in zip(wanted.items(), found, strict=True)
        }
        return state, values

    async def commit(self, seen: State, commit: Commit, writer: str, lease: float = 10) -> State:
        """Store one tick, all of it or nothing.

        Answers with the state that is stored now: its commit is this one's name when the
        tick is in, by this call or by an earlier one whose answer was lost. Holds the
        writer's lease for so many seconds more; raises LeaseLost when another has it.
        """
        flat = [part for item in commit.state.items() for part in item]
        states = [part for item in commit.states.items() for part in item]
        args: list[Any] = [
            seen.version, seen.commit, commit.name, writer, int(lease * 1000), keys.TICKS,
            commit.tick, commit.oldest, keys.LOG_ENTRIES,
            "hash", 0, len(flat), *flat, "entry", 0, len(states), *states,
        ]  # fmt: skip
        for write in commit.writes:
            args += (write.kind, write.ends, len(write.values), *write.values)
        names = [keys.STATE, keys.LOG, keys.LEASE, keys.STATES, *(w.key for w in commit.writes)]
        with store_lost(keys.STATE):
            answer = await self.script(keys=names, args=args)
        version, name, time, tick = (part.decode() for part in answer)
        if name != commit.name:
            return await self.load()
        stored = seen.after(commit.state)
        return replace(stored, version=version, commit=name, time=int(time), tick=tick)

    async def scan(self, key: str, cursor: int, count: int) -> tuple[int, dict[bytes, bytes]]:
        """Some fields of a hash, about so many, and the cursor for the next ones; 0 at the end."""
        with store_lost(key):
            found: Any = await self.redis.hscan(key, cursor, count=count)
            return int(found[0]), found[1]

    async def lengths(self, names: Sequence[str]) -> list[int]:
        """How many fields each of these hashes has."""
        with store_lost():
            async with self.redis.pipeline(transaction=False) as pipe:
                for key in names:
                    pipe.hlen(key)
                return checked(await pipe.execute(raise_on_error=False), names)

    async def members(self, names: Sequence[str]) -> list[set[bytes]]:
        """All members of each of these sets."""
        with store_lost():
            async with self.redis.pipeline(transaction=False) as pipe:
                for key in names:
                    pipe.smembers(key)
                return checked(await pipe.execute(raise_on_error=False), names)

    async def text(self, key: str) -> bytes:
        """A string; b"" where there is none."""
        with store_lost(key):
            found: Any = await self.redis.get(key)
            return found or b""

    async def states_since(self, begin: int) -> list[tuple[int, dict[bytes, bytes]]]:
        """What the sources were doing: the entries from the last before a moment on, each with
        its time; milliseconds since 1970."""
        with store_lost(keys.STATES):
            found: Any = await self.redis.xrevrange(keys.STATES, max=str(begin), count=1)
            last = f"({begin}"
            page: Any = None
            while page is None or len(page) == STATES_PAGE:
                page = await self.redis.xrange(keys.STATES, min=last, count=STATES_PAGE)
                found += page
                last = f"({page[-1][0].decode()}" if page else last
        return [(int(id.split(b"-")[0]), entry) for id, entry in found]

    async def about(self) -> Mapping[str, Any]:
        """What the server says of itself (INFO)."""
        with store_lost():
            found: Any = await self.redis.info()
            return found  # type: ignore[no-any-return]

    async def server_setting(self, name: str) -> str | None:
        """A setting of the server; None where it does not tell."""
        try:
            with store_lost():
                found: Any = await self.redis.config_get(name)
                return found.get(name)  # type: ignore[no-any-return]
        except StoreLost:
            return None

    async def writer(self) -> str:
        """Who holds the lease of the one writer; "" for nobody."""
        with store_lost(keys.LEASE):
            held: Any = await self.redis.get(keys.LEASE)
            return (held or b"").decode()

    async def take_lease(self, writer: str, seconds: float) -> bool:
        """Become the writer if nobody is."""
        with store_lost():
            return bool(await self.redis.set(keys.LEASE, writer, nx=True, px=int(seconds * 1000)))

    async def give_lease(self, writer: str) -> None:
        """Stop being the writer, so that another need not wait for the lease to run out."""
        with store_lost():
            await self.redis.eval(GIVE_LEASE, 1, keys.LEASE, writer)

    async def spend(self, day: str, reader: str, read: int, ahead: int, ceiling: int) -> int:
        """How many posts this reader may read in all that day; spend.lua says the rest.

        The account of a day is forgotten after three.
        """
        key = f"{keys.SPENT}:{day}"
        with store_lost(key):
            return int(await self.spending(keys=[key], args=[reader, read, ahead, ceiling]))

    async def ticks_after(self, id: str) -> list[Tick]:
        """The ticks of the log after this id ("" for all of it), in order."""
        ticks: list[Tick] = []
        page: Any = None
        while page is None or len(page) == PAGE:
            with store_lost(keys.LOG):
                page = await self.redis.xrange(keys.LOG, min=f"({id}" if id else "-", count=PAGE)
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
                await pubsub.subscribe(keys.TICKS)
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
                self.skip(str(lost))
            raise

    async def _since(self, last: str) -> tuple[str, list[Tick]]:
        """The id and the ticks after it; "" and all of the log where that has it no more."""
        await self.load()  # refuses the data of another version
        with store_lost(keys.LOG):
            there = last and await self.redis.xrange(keys.LOG, last, last)
        return (last if there else ""), await self.ticks_after(last if there else "")

    async def _up_to(self, heard: Tick | None, last: str) -> list[Tick]:
        """What follows the id `last` up to the tick just heard, from the log if need be."""
        if heard is None:
            return []
        if last and not is_after(heard.id, last):
            there, anew = await self._since(last)
            return [] if there else anew  # the log began anew, by a clock that is behind
        if heard.previous == last:
            return [heard]
        _, missed = await self._since(last)
        return missed if missed and not is_after(heard.id, missed[-1].id) else [*missed, heard]

    def _read(self, text: bytes, id: str = "") -> Tick | None:
        try:
            return Tick.from_json(text, id)
        except ValueError as error:
            self.skip(str(error))
            return None

    def skip(self, why: str) -> None:
        """Count something in Redis that is none of ours."""
        self.skipped += 1
        if self.skipped & (self.skipped - 1) == 0:  # at 1, 2, 4, 8 ...: a flood stays readable
            log.warning("skipped %d messages in Redis so far: %s", self.skipped, why)


def checked(answers: list[Any], names: Iterable[str]) -> list[Any]:
    """The answers to what was asked together, each about the key of this name.

    Raises StoreLost, which names the key, for the first that is an error.
    """
    for answer, name in zip(answers, names, strict=True):
        if isinstance(answer, Exception):
            with store_lost(name):
                raise answer
    return answers
