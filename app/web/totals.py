"""The totals of hashtags that are in no recent tick, read from Redis."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from app.messages import UNKNOWN_PEOPLE, BySource, DayPeople
from app.process import end_if_cancelled
from app.store import keys
from app.store.state import State
from app.store.store import Store, StoreLost, Values

READ_AT_ONCE = 200
"""Hashtags that are read together, and some more: about a millisecond of ours."""


class Totals:
    """Reads totals, and remembers which sources there are."""

    def __init__(self) -> None:
        self.networks: tuple[str, ...] = ()
        """Every source that ever counted, as far as we know."""
        self.day = 0
        """The UTC day that the last tick's people are of, as far as we know."""

    async def read(
        self, store: Store, tags: Sequence[str]
    ) -> tuple[str, dict[str, tuple[BySource, DayPeople]]]:
        """The id of the last tick, and the totals and the people of these hashtags at it. Raises
        StoreLost."""
        await self.all_networks(store)
        while True:
            names, day = {network: keys.totals(network) for network in self.networks}, self.day
            of_people = [keys.people(day)] if day else []
            state, values = await store.read(dict.fromkeys([*names.values(), *of_people], tags))
            self.hear(state)
            if set(state.networks) <= names.keys() and self.day == day:
                return state.tick, {
                    tag: (found(store, tag, names, values), people(store, tag, day, values))
                    for tag in tags
                }  # else there are more of them, or it is another day: all is read again

    async def all_networks(self, store: Store) -> tuple[str, ...]:
        """Every source that ever counted. Raises StoreLost."""
        if not self.networks:
            self.hear(await store.load())
        return self.networks

    def hear(self, state: State) -> None:
        self.networks, self.day = state.networks, max(state.people, default=0)


def found(store: Store, tag: str, names: Mapping[str, str], values: Values) -> BySource:
    """A hashtag's total of each source that has one; what is none is skipped and counted."""
    totals: BySource = {}
    for network, key in names.items():
        value = values.get(key, {}).get(tag)
        if value is not None:
            try:
                totals[network], _ = keys.read_posts(value)
            except ValueError as error:
                store.skip(f"{tag!r} in the Redis key {key} is {error}")
    return totals


def people(store: Store, tag: str, day: int, values: Values) -> DayPeople:
    """How many authors used a hashtag that day; what is none is skipped and counted."""
    if not day:
        return UNKNOWN_PEOPLE
    key = keys.people(day)
    try:
        return day, keys.read_people(values.get(key, {}).get(tag, b""))
    except ValueError as error:
        store.skip(f"{tag!r} in the Redis key {key} is {error}")
        return UNKNOWN_PEOPLE


class Batch:
    """Hashtags that are read together. Bound: READ_AT_ONCE, and those of one request more."""

    def __init__(self) -> None:
        self.tags: dict[str, None] = {}
        self.is_led = self.is_read = False
        """Whether somebody will see to it; whether their totals are known."""
        self.lost: StoreLost | None = None
        """Why they are not."""
        self.over = asyncio.Event()


class SharedReads:
    """Reads one batch at a time; who asks meanwhile is in the next one, with all who do.

    So Redis is asked as often as it can answer, however many ask, and whoever asks waits for what
    is being read and for a share of what all others ask for.
    """

    def __init__(self, read: Callable[[Sequence[str]], Awaitable[None]]) -> None:
        self.read = read
        self.gathering, self.turn = Batch(), asyncio.Lock()

    async def ask(self, tags: Sequence[str]) -> None:
        """Return when these were read. Raises StoreLost."""
        while True:
            batch = self.gathering
            batch.tags.update(dict.fromkeys(tags))
            if len(batch.tags) >= READ_AT_ONCE:
                self.gathering = Batch()
            if not batch.is_led:
                await self.lead(batch)
            else:
                await batch.over.wait()
            if batch.lost:
                raise StoreLost(str(batch.lost), batch.lost.public)
            if batch.is_read:
                return  # else who led was cancelled: they are asked for again

    async def lead(self, batch: Batch) -> None:
        """Read the batch when it is its turn."""
        batch.is_led = True
        try:
            async with self.turn:
                self.close(batch)
                await self.read(list(batch.tags))
            batch.is_read = True
            end_if_cancelled()
        except StoreLost as lost:
            batch.lost = lost
        finally:
            self.close(batch)
            batch.over.set()

    def close(self, batch: Batch) -> None:
        """Nothing comes to it any more."""
        if self.gathering is batch:
            self.gathering = Batch()
