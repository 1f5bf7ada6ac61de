"""Everything that this project asks of Redis: reading, the atomic commit, the subscription."""

import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from app.messages import Tick, is_after
from app.store import keys
from app.store.connection import LeaseLost as LeaseLost
from app.store.connection import StoreLost as StoreLost
from app.store.connection import TooLong, check_primary, store_lost
from app.store.connection import connect as connect  # what a Store is made with
from app.store.refusals import evicts
from app.store.scripts import entries, in_turns, packed, pairs, portions
from app.store.state import Commit, State, is_id

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
PAGE, STATES_PAGE = 16, 500
"""Entries of the log, and of `states`, that are asked for at once."""
AN_ANSWER = 15
"""Values of each hash: for fewer a script is quicker, else MULTI. MULTI has an answer for each
hash, which costs the reader; a script has one for all, but in it each value costs Redis."""
BOUND_LEASE = (
    "local held, left = redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1]) if held and "
    "(left == -1 or left > ARGV[1] + 0) then redis.call('SET', KEYS[1], held, 'PX', ARGV[1]) end"
)
GIVE_LEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"

Fields = Mapping[str, Sequence[str]]
"""Key of a hash to the fields that are wanted of it."""
Values = dict[str, dict[str, bytes]]
"""Key of a hash to those of the fields that are there, and their values."""
StatesLog = list[tuple[int, dict[bytes, bytes]]]
"""Entries of `states`, each with its time in milliseconds since 1970."""


class Store:
    """Everything that this project asks of Redis. Each method raises StoreLost."""

    def __init__(self, redis: Redis, may_evict: bool = False) -> None:
        self.redis = redis
        self.may_evict = may_evict
        """Whether to count also on a server that throws data away when it is full."""
        self.script = redis.register_script((HERE / "commit.lua").read_text())
        self.reading = redis.register_script((HERE / "read.lua").read_text())
        self.spending = redis.register_script((HERE / "spend.lua").read_text())
        self.posting = redis.register_script((HERE / "posts.lua").read_text())
        self.subscriptions = self.repaired = 0
        """How often ticks were subscribed to, and how often one was missing on the channel."""
        self.skipped = 0
        """Messages on the channel and entries in the log that were no ticks of ours."""

    async def load(self) -> State:
        """What the last commit left, by whomever."""
        return (await self.read({}))[0]

    async def read(self, fields: Fields) -> tuple[State, Values]:
        """The state and these fields of hashes, all of one moment: the values are those of the
        state's last tick."""
        state, values, _ = await self.read_with_states(fields, None)
        return state, values

    async def read_with_states(
        self, fields: Fields, begin: int | None
    ) -> tuple[State, Values, StatesLog]:
        """The same, and what the sources were doing: the entries from the last before `begin` on;
        milliseconds since 1970. None for no entry."""
        wanted = {key: list(names) for key, names in fields.items() if names}
        is_wide = sum(map(len, wanted.values())) < AN_ANSWER * len(wanted)
        with store_lost(keys.STATE):
            ask = self.ask_script if is_wide else self.ask_in_multi
            (seconds, micro), stored, last, page, *found = checked(
                await ask(wanted, begin), ["", keys.STATE, keys.STATES, keys.STATES, *wanted]
            )
            state = State.from_hash(stored, int(seconds) * 1000 + int(micro) // 1000)
        values = {
            key: {n: v for n, v in zip(names, row, strict=True) if v is not None}
            for (key, names), row in zip(wanted.items(), found, strict=True)
        }
        return state, values, [timed(entry) for entry in last + await self._all_states(page)]

    async def ask_in_multi(self, wanted: Fields, begin: int | None) -> list[Any]:
        """By MULTI: Redis's clock, all of the state, the last entry of `states` up to a time and
        the first STATES_PAGE after it, then the values of each hash."""
        async with self.redis.pipeline(transaction=True) as pipe:
            pipe.time()
            pipe.hgetall(keys.STATE)
            if begin is not None:
                pipe.xrevrange(keys.STATES, max=str(begin), count=1)
                pipe.xrange(keys.STATES, min=f"({begin}", count=STATES_PAGE)
            for key, names in wanted.items():
                pipe.hmget(key, list(names))
            answers: list[Any] = await pipe.execute(raise_on_error=False)
        return answers if begin is not None else [*answers[:2], [], [], *answers[2:]]

    async def ask_script(self, wanted: Fields, begin: int | None) -> list[Any]:
        """The same by a script."""
        fields = [packed(names) for names in wanted.values()]
        since = "" if begin is None else str(begin)
        answers: Any = await self.reading(
            keys=[keys.STATE, keys.STATES, *wanted], args=[since, STATES_PAGE, *fields]
        )
        time, state, last, page, *found = answers
        state, last, page = pairs(state), entries(last), entries(page)
        return [time, state, last, page, *found]

    async def _all_states(self, page: list[Any]) -> list[Any]:
        """This page of `states`, and what follows it."""
        found = page
        while len(page) == STATES_PAGE:
            with store_lost(keys.STATES):
                last = page[-1][0].decode()
                told: Any = await self.redis.xrange(keys.STATES, min=f"({last}", count=STATES_PAGE)
            page = told
            found = found + page
        return found

    async def commit(self, seen: State, commit: Commit, writer: str, lease: float = 10) -> State:
        """Store one tick, all of it or nothing.

        Answers with the state that is stored now: its commit is this one's name when the
        tick is in, by this call or by an earlier one whose answer was lost. Holds the
        writer's lease for so many seconds more; raises LeaseLost when another has it.
        """
        args: list[Any] = [
            seen.version, seen.commit, commit.name, writer, int(lease * 1000), keys.TICKS,
            commit.tick, commit.oldest, keys.LOG_ENTRIES,
            *(packed(in_turns([*of], [*of.values()])) for of in (commit.state, commit.states)),
            commit.people,
        ]  # fmt: skip
        names = [keys.STATE, keys.LOG, keys.LEASE, keys.STATES]
        for write in commit.writes:
            for part in portions(in_turns(write.names, write.values)):
                names.append(write.key)
                args += (write.kind, write.ends, packed(part))
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

    async def states_since(self, begin: int) -> StatesLog:
        """What the sources were doing: the entries from the last before a moment on, each with
        its time; milliseconds since 1970."""
        return (await self.read_with_states({}, begin))[2]

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
        """Become the writer if nobody is; of no server that throws away what it likes."""
        await self.refuse_eviction()
        with store_lost():
            return bool(await self.redis.set(keys.LEASE, writer, nx=True, px=int(seconds * 1000)))

    async def refuse_eviction(self) -> None:
        """Raises StoreLost where the server may throw totals away; who hides it is believed."""
        why = ""
        with suppress(StoreLost):
            why = "" if self.may_evict else evicts(await self.about())
        if why:
            raise StoreLost(f"Redis: {why} (or ALLOW_EVICTION=true).")

    async def bound_lease(self, seconds: float) -> None:
        """Let the lease run out so soon, if it would last longer, or for ever."""
        with store_lost(keys.LEASE):
            await self.redis.eval(BOUND_LEASE, 1, keys.LEASE, int(seconds * 1000))

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
        return [tick async for tick in self.log_after(id)]

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
                    async for _ in self.log_after(last):
                        raise StoreLost("Redis took our subscription away without a word.")
                    yield None
                    continue
                heard = None
                if message["type"] == "subscribe":
                    self.subscriptions += 1
                    await self.load()  # refuses the data of another version
                elif (heard := await self._heard(message["data"])) is None:
                    continue
                if heard and heard.previous == last and is_after(heard.id, last):
                    yield heard
                    last = heard.id
                    continue
                self.repaired += heard is not None
                last = await self._kept(last)
                async for tick in self.log_after(last):
                    yield tick
                    last = tick.id
                if not heard:
                    yield None
        finally:
            await pubsub.aclose()  # type: ignore[no-untyped-call]

    async def log_after(self, last: str) -> AsyncIterator[Tick]:
        """The ticks of the log after an id, a page at a time: a log may be longer than what
        anybody wants to hold of it."""
        page: Any = None
        while page is None or len(page) == PAGE:
            with store_lost(keys.LOG):
                page = await self.redis.xrange(keys.LOG, f"({last}" if last else "-", count=PAGE)
            for entry, fields in page:
                last = entry.decode()
                if tick := self._read(fields.get(b"tick", b""), last):
                    yield tick

    async def _next(self, pubsub: PubSub, silence: float) -> Any:
        try:
            with store_lost():
                if (message := await pubsub.get_message(timeout=silence)) is None:
                    await check_primary(pubsub.connection)
                return message
        except StoreLost as lost:
            if isinstance(lost.__cause__, TooLong):
                self.skip(str(lost))
            raise

    async def _kept(self, id: str) -> str:
        """The id, or "" where the log has it no more, or began anew."""
        with store_lost(keys.LOG):
            return id if id and await self.redis.xrange(keys.LOG, id, id) else ""

    async def _heard(self, text: bytes) -> Tick | None:
        """A tick of the channel, if it was stored so: who may publish there need not be the
        ingester, and neither an id of the future nor totals of anybody's choice are to be told."""
        heard = self._read(text)
        if heard is None:
            return None
        if is_id(heard.id):
            with store_lost(keys.LOG):
                found: Any = await self.redis.xrange(keys.LOG, heard.id, heard.id)
            stored = found[0][1].get(b"tick", b"") if found else b""
            if stored and text == b'{"id":"%b",%b' % (heard.id.encode(), stored[1:]):
                return heard
        self.skip(f"{heard.id} on the channel is no tick that was stored")
        return None

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


def timed(entry: tuple[bytes, dict[bytes, bytes]]) -> tuple[int, dict[bytes, bytes]]:
    return int(entry[0].split(b"-")[0]), entry[1]
