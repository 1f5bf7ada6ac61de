"""Ticks as our ingester commits them, one cut handed over after the other."""

from collections.abc import Sequence
from os import urandom

from app.ingest.clock import RedisClock
from app.ingest.counter import DAY_MINUTES, Authors, Cut
from app.ingest.day_keys import DayKeys
from app.ingest.people import People
from app.ingest.writer import Writer
from app.messages import MINUTE, SourceState
from app.store.keys import AUTHOR_BYTES
from app.store.state import State
from app.store.store import Store

NETWORK = "bluesky"
TICK_SECONDS = 0.5
LEASE_SECONDS = 10
MOST = 1_000_000
"""Hashtags that may be known, as MAX_HASHTAGS has it by default."""
WRITER = "bench"
PEOPLE = People(DayKeys(random=bytes))
"""By one key in all processes and on all days."""


class Ticks:
    """The ingester's Writer, by Redis's clock or another, and what it stored last."""

    def __init__(
        self,
        store: Store,
        state: State,
        clock: RedisClock,
        since: int,
        has_people: bool = True,
    ) -> None:
        self.store, self.state, self.clock = store, state, clock
        self.people = PEOPLE if has_people else People(DayKeys(random=bytes), are_known=False)
        self.sources = {NETWORK: SourceState("live", since, "", True, since)}
        """All of the network is counted since then; milliseconds since 1970."""
        self.writer = Writer(store, (), MOST, clock, WRITER, self.people)
        self.writer.begin(state)

    @classmethod
    async def begun(cls, store: Store, has_people: bool = True) -> "Ticks":
        """By Redis's clock, from now on; has_people: whether posts say who wrote them."""
        state = await store.load()
        return cls(store, state, RedisClock(), state.time, has_people)

    def cut(self, hashtags: Sequence[str], posts: int = 1) -> Cut:
        """With so many posts of each, written as it is, by one author, in the present minute."""
        minute = self.clock.now() // MINUTE
        present = {NETWORK: dict.fromkeys(hashtags, posts)}
        self.writer.spellings.add({tag: {tag: posts} for tag in hashtags}, minute)
        authors = authors_of(minute, hashtags) if self.people.are_known else {}
        return Cut(minute, present, authors=authors)

    async def write(self, cut: Cut, seconds: float = TICK_SECONDS) -> None:
        """Read what the tick needs and store it. Raises StoreLost."""
        self.state = await self.writer.write(cut, self.state, self.sources, seconds, LEASE_SECONDS)


def authors_of(minute: int, uses: Sequence[str]) -> Authors:
    """Each use of a hashtag by another author, as short hashes."""
    found: dict[str, list[bytes]] = {}
    for tag, author in zip(uses, authors(len(uses)), strict=True):
        found.setdefault(tag, []).append(author)
    tags = {tag: b"".join(each) for tag, each in found.items()}
    return {NETWORK: {minute // DAY_MINUTES: tags}}


def authors(number: int) -> list[bytes]:
    """So many that were never before."""
    some = urandom(AUTHOR_BYTES * number)
    return [some[n : n + AUTHOR_BYTES] for n in range(0, len(some), AUTHOR_BYTES)]
