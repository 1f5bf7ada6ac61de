"""An export, written into a Redis that has nothing yet.

All values are absolute, and the state says whose import is under way: until it is whole nobody
takes it for what was counted, and it may be written again. It is written as ticks are, in commits
that add nothing: so Redis refuses what it would refuse an ingester, all of one or nothing.
"""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from msgspec.json import encode

from app.messages import DAY, HOUR, MINUTE, dumps
from app.store import keys
from app.store.connection import StoreLost, store_lost
from app.store.lines import (
    AnyLine,
    Day,
    End,
    ExportHead,
    Hour,
    KeptHour,
    Marks,
    NotAnExport,
    PeopleLine,
    Sources,
    Spent,
    Total,
)
from app.store.state import SEVERAL, Commit, State, Write
from app.store.store import Store

FIELDS_AT_ONCE = 4000
"""That are written in one commit, some 20 milliseconds."""
SPENT_LIFE = 3 * DAY // 1000
"""Seconds, as in spend.lua."""


class Import:
    """Takes the lines of one export; what is not written yet is bounded by FIELDS_AT_ONCE."""

    def __init__(
        self, store: Store, writer: str, lease: float, head: ExportHead, state: State
    ) -> None:
        self.store, self.writer, self.lease, self.head = store, writer, lease, head
        self.state = state
        """What is stored."""
        self.run, self.commits, self.lines = uuid4().hex[:12], 0, 1
        """What its commits are named by, how many it made, and how many lines it was given."""
        self.hashes: dict[str, tuple[int, dict[str, bytes]]] = {}
        """Key to when it is forgotten, and fields."""
        self.marks: list[Write] = []
        """Sets of `seen:...` that are to be written."""
        self.seen: dict[str, int] = {}
        """Source to the newest minute of which it has marks."""
        self.states: list[Sources] = []
        """Entries of `states` that are."""
        self.waiting = 0
        """How many fields, marks and states wait to be written."""

    @classmethod
    async def begin(cls, store: Store, writer: str, lease: float, head: ExportHead) -> "Import":
        """Raises StoreLost where there are counts, or half of another import."""
        with store_lost(keys.STATE):
            seconds, _ = await store.redis.time()
            stored: Any = await store.redis.hgetall(keys.STATE)
            texts = {name.decode(): value.decode() for name, value in stored.items()}
        if texts and texts.get("importing") != head.id:
            what = "half of another import" if "importing" in texts else "counts"
            raise StoreLost(f"Redis: there are {what} in it already: an import needs an empty one.")
        return cls(store, writer, lease, head, State.from_texts(texts, seconds * 1000))

    async def take(self, line: AnyLine) -> None:
        """The next line. Raises StoreLost, and NotAnExport."""
        self.waiting += 1
        match line:
            case Total():
                value = keys.written_posts(line.posts, line.hour // HOUR).encode()
                self.put(keys.totals(line.source), 0, line.tag, value)
            case Hour() | KeptHour() | Day():
                number, packed = line.begin // line.lasts, keys.Past(line.total, dict(line.posts))
                key, ends = line.where.key(number, line.source), line.where.ends(number)
                self.put(key, ends, line.tag, packed.pack())
            case PeopleLine():
                number = line.begin // DAY
                key, ends = keys.people_kept(number), keys.end_of_day(number)
                self.put(key, ends, line.tag, b"%d" % line.people)
            case Spent():
                number, ends = line.begin // DAY, line.begin // 1000 + SPENT_LIFE
                self.put(keys.spent(line.source, number), ends, "imported", b"%d" % line.posts)
            case Marks():
                self.mark(line)
            case Sources():
                self.states.append(line)
            case End():
                await self.end(line)
            case ExportHead():
                raise NotAnExport(f"Line {self.lines + 1} begins another export.")
        self.lines += 1
        if self.waiting >= FIELDS_AT_ONCE:
            await self.write()

    def put(self, key: str, ends: int, name: str, value: bytes) -> None:
        self.hashes.setdefault(key, (ends, {}))[1][name] = value

    def mark(self, line: Marks) -> None:
        self.waiting += len(line.hashes)
        minute, ends = line.minute // MINUTE, line.minute // 1000 + keys.SEEN_LIFE
        members = [bytes.fromhex(each) for each in line.hashes]
        key = keys.seen(line.source, minute)
        self.marks.append(Write("set", key, values=members, ends=ends))
        self.seen[line.source] = max(minute, self.seen.get(line.source, 0))

    async def write(self, fields: Mapping[str, str] | None = None) -> None:
        """One commit. fields: of the state, with which the import is whole; None before."""
        writes = [
            Write("hash", key, [*found], [*found.values()], ends)
            for key, (ends, found) in self.hashes.items()
        ] + self.marks
        await self.write_states()
        if fields is None:
            fields = {"importing": self.head.id}
        else:
            writes.append(Write("forget", keys.STATE, ["importing"]))
        self.commits += 1
        version = f"{keys.SCHEMA}.{self.state.number + 1}"
        commit = Commit(
            name=f"import-{self.run}-{self.commits}",
            tick=dumps({"at": self.state.time, "seconds": 1}),
            state={"schema": str(keys.SCHEMA), "version": version, **fields},
            writes=writes,
        )
        stored = await self.store.commit(self.state, commit, self.writer, self.lease)
        if stored.commit != commit.name:
            raise StoreLost("Redis: somebody else has written in it meanwhile.")
        self.state = stored
        self.hashes, self.marks, self.waiting = {}, [], 0

    async def write_states(self) -> None:
        """What the sources did, each at its moment, as far as that is not there yet."""
        if not self.states:
            return
        with store_lost(keys.STATES):
            newest: Any = await self.store.redis.xrevrange(keys.STATES, count=1)
            last = int(newest[0][0].split(b"-")[0]) if newest else -1
            async with self.store.redis.pipeline(transaction=False) as pipe:
                for line in self.states:
                    if line.at > last:
                        last = line.at
                        entry: dict[Any, Any] = {"sources": encode(line.sources)}
                        pipe.xadd(keys.STATES, entry, id=f"{line.at}-0")
                await pipe.execute()
        self.states = []

    async def end(self, line: End) -> None:
        """It is whole. Raises NotAnExport where lines are missing."""
        if line.lines != self.lines:
            raise NotAnExport(f"The export has {self.lines} lines, and should have {line.lines}.")
        fields = {
            "networks": " ".join(line.networks),
            "moved": str(line.moved // HOUR),
            "frozen": str(line.frozen // DAY),
            "people": " ".join(f"{day // DAY}={SEVERAL}" for day in sorted(line.people)),
            "sources": encode(line.sources).decode() if line.sources else "",
        }
        fields |= {f"cursor:{source}": cursor for source, cursor in line.cursors.items()}
        fields |= {f"seen:{source}": str(minute) for source, minute in self.seen.items()}
        await self.write(fields)
