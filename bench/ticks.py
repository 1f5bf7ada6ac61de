"""Ticks as our ingester commits them, one cut handed over after the other."""

from collections.abc import Sequence

from app.ingest.clock import RedisClock
from app.ingest.counter import Cut
from app.ingest.writer import Writer
from app.messages import MINUTE, SourceState
from app.store.state import State
from app.store.store import Store

NETWORK = "bluesky"
TICK_SECONDS = 0.5
LEASE_SECONDS = 10
MOST = 1_000_000
"""Hashtags that may be known, as MAX_HASHTAGS has it by default."""
WRITER = "bench"


class Ticks:
    """The ingester's Writer, by Redis's clock or another, and what it stored last."""

    def __init__(self, store: Store, state: State, clock: RedisClock, since: int) -> None:
        self.store, self.state, self.clock = store, state, clock
        self.sources = {NETWORK: SourceState("live", since, "", True, since)}
        """All of the network is counted since then; milliseconds since 1970."""
        self.writer = Writer(store, (), MOST, clock, WRITER)
        self.writer.begin(state)

    @classmethod
    async def begun(cls, store: Store) -> "Ticks":
        """By Redis's clock, from now on."""
        state = await store.load()
        return cls(store, state, RedisClock(), state.time)

    def cut(self, hashtags: Sequence[str], posts: int = 1) -> Cut:
        """With so many posts of each, in the present minute."""
        return Cut(self.clock.now() // MINUTE, {NETWORK: dict.fromkeys(hashtags, posts)})

    async def write(self, cut: Cut, seconds: float = TICK_SECONDS) -> None:
        """Read what the tick needs and store it. Raises StoreLost."""
        self.state = await self.writer.write(cut, self.state, self.sources, seconds, LEASE_SECONDS)
