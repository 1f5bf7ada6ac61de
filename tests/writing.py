"""A writer in a real Redis whose clock a test sets."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from app.ingest.clock import RedisClock
from app.ingest.counter import Cut, Marks
from app.ingest.writer import Writer
from app.messages import MINUTE, SourceState, Tick
from app.store import keys
from app.store.state import State
from app.store.store import Store

BEGIN = 4_102_444_800_000
"""The year 2100: Redis's own clock forgets nothing that is dated by this one."""
HOUR = BEGIN // MINUTE // 60


class DatedStore(Store):
    """Says that it is another time; remembers what was committed."""

    now = BEGIN
    up = 0.0
    """Seconds, of our own clock."""

    def __init__(self, redis: Any) -> None:
        super().__init__(redis)
        self.commits: list[Any] = []
        self.scanned = 0

    async def read(self, fields: Any) -> Any:
        state, values = await super().read(fields)
        return replace(state, time=self.now), values

    async def commit(self, seen: State, commit: Any, *arguments: Any) -> State:
        self.commits.append(commit)
        # the log's ids are of Redis's own clock
        commit = replace(commit, oldest=commit.oldest and "0")
        return replace(await super().commit(seen, commit, *arguments), time=self.now)

    async def scan(self, *arguments: Any) -> Any:
        self.scanned += 1
        return await super().scan(*arguments)


class Desk:
    """One writer, and what it believes."""

    def __init__(self, store: DatedStore, tracked: Iterable[str] = (), most: int = 10**6) -> None:
        self.store, self.state = store, State()
        clock = RedisClock(lambda: store.up)
        self.writer = Writer(store, tracked, most, clock, "the test")
        self.sources = {"x": SourceState("live", 1, "", True, store.now)}

    async def open(self) -> "Desk":
        self.state = await self.store.load()
        self.writer.begin(self.state)
        return self

    async def write(
        self, present: dict[str, dict[str, int]] | None = None, *, marks: Marks | None = None,
        past: dict[str, dict[int, dict[str, int]]] | None = None,
    ) -> Tick:  # fmt: skip
        """One tick of the present minute."""
        cut = Cut(self.store.now // MINUTE, present or {}, past or {}, {}, marks or {})
        self.state = await self.writer.write(cut, self.state, self.sources, 0.5, 10)
        assert self.state.commit == cut.name
        return (await self.store.ticks_after(""))[-1]

    async def later(self, minutes: float) -> None:
        self.store.now += int(minutes * MINUTE)
        self.store.up += minutes * 60

    async def past(self, key: str, tag: str = "a") -> keys.Past | None:
        value: Any = await self.store.redis.hget(key, tag)
        return None if value is None else keys.Past.read(value)
