"""What is kept longer than an hour's key lives, when it is over: its most used hashtags, and
the tracked ones."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import nlargest

from app.ingest.ledger import Pages
from app.process import end_if_cancelled
from app.store import keys
from app.store.state import State
from app.store.store import Store

PAGE = 1000
"""Fields that are read at once."""
PAGES_A_TICK = 10
"""Pages that are read for one tick, some 5 milliseconds each."""


@dataclass(frozen=True)
class Rollup:
    """An hour that is over, and of each source the hashtags of it that are kept longer: the most
    used of all sources together, so that one that is kept is kept of all."""

    hour: int
    """Numbered since 1970."""
    tags: dict[str, list[str]] = field(default_factory=dict)
    most_used: dict[str, int] = field(default_factory=dict)
    """Hashtag to posts of all sources, for completion (popular.py)."""

    def wanted(self) -> dict[str, set[str]]:
        """The fields that are read before: key to names."""
        wanted: dict[str, set[str]] = defaultdict(set)
        for source, tags in self.tags.items():
            wanted[keys.hour(self.hour, source)].update(tags)
            wanted[keys.day(self.hour // 24, source)].update(tags)
        return wanted

    def enter(self, pages: Pages) -> None:
        """Copy the hour's fields, and put its posts into the day: absolute values, so that it
        may be done again."""
        day, slot = divmod(self.hour, 24)
        for source, tags in self.tags.items():
            for tag in tags:
                past = pages.past(keys.hour(self.hour, source), tag)
                if past is None:
                    continue
                pages.put(
                    keys.kept(self.hour, source), tag, past.pack(), keys.end_of_kept(self.hour)
                )
                of_day = pages.past(keys.day(day, source), tag) or keys.Past()
                of_day.slots[slot] = sum(past.slots.values())
                of_day.total = max(of_day.total, past.total)
                pages.put(keys.day(day, source), tag, of_day.pack(), keys.end_of_day(day))


class Rollups:
    """Which hour is rolled up next. One that is over is looked through first, a few pages a tick,
    so that no tick is late however many hashtags it has."""

    def __init__(self, tracked: Iterable[str] = ()) -> None:
        self.tracked = tuple(tracked)
        self.search = Search(0, ())

    def begin(self) -> None:
        """Nobody knows what Redis has: what was found of an hour may be another copy's."""
        self.search = Search(0, ())

    async def next(
        self, store: Store, state: State, networks: tuple[str, ...], hour: int
    ) -> Rollup | None:
        """The first hour that is over and not rolled up yet; None where there is none, and while it
        is looked through.

        hour: the present one, numbered since 1970. Raises StoreLost.
        """
        due = max(state.moved + 1, hour - keys.HOUR_HOURS + 1)
        if not state.moved or due >= hour:
            self.begin()  # an hour that the clock goes back to is another one then
            return None
        if (self.search.hour, self.search.networks) != (due, networks):
            self.search = Search(due, networks)
        return self.search.rollup(self.tracked) if await self.search.is_over(store) else None


class Search:
    """The most used hashtags of an hour of every source, as far as they are found."""

    def __init__(self, hour: int, networks: tuple[str, ...]) -> None:
        self.hour, self.networks = hour, networks
        self.left = [(source, of) for source in networks for of in (keys.hour, keys.kept)]
        """Sources, and which of their keys of the hour are not read to their end."""
        self.cursor = 0
        """Where the first of them goes on."""
        self.best: dict[str, list[tuple[int, str]]] = {source: [] for source in networks}
        """Source to posts and hashtag, the most used first."""
        self.kept: set[str] = set()
        """What is kept already: the tracked ones and, where Redis's clock went back and the hour is
        over for the second time, those that were kept of it before: so many of each source."""

    async def is_over(self, store: Store) -> bool:
        """Read some more pages; whether all are read. Raises StoreLost, and goes on there with the
        next tick."""
        for _ in range(PAGES_A_TICK):
            if not self.left:
                break
            source, key_of = self.left[0]
            cursor, page = await store.scan(key_of(self.hour, source), self.cursor, PAGE)
            if key_of == keys.hour:
                self.best[source] = better(self.best[source], page)
            else:
                self.kept.update(tag for _, tag in counted(page))
            self.cursor = cursor
            if not cursor:
                self.left.pop(0)
        return not self.left

    def rollup(self, tracked: Iterable[str]) -> Rollup:
        """What was found, once all is read."""
        together: dict[str, int] = {}
        for posts, tag in (each for best in self.best.values() for each in best):
            together[tag] = together.get(tag, 0) + posts
        best = nlargest(keys.KEPT_MOST, ((posts, tag) for tag, posts in together.items()))
        kept = list(dict.fromkeys([*(tag for _, tag in best), *tracked, *sorted(self.kept)]))
        return Rollup(self.hour, dict.fromkeys(self.networks, kept), together)


async def most_used(store: Store, key: str) -> dict[str, int]:
    """An hour's most used hashtags with their posts, the most used first; page by page."""
    best: list[tuple[int, str]] = []
    cursor = -1
    while cursor:
        cursor, page = await store.scan(key, max(cursor, 0), PAGE)
        end_if_cancelled()
        best = better(best, page)
    return {tag: posts for posts, tag in best}


def better(best: list[tuple[int, str]], page: dict[bytes, bytes]) -> list[tuple[int, str]]:
    """The most used of those before, and of a page; each once, should a scan bring it again."""
    newest = {tag: posts for posts, tag in (*best, *counted(page))}
    return nlargest(keys.POPULAR_MOST, ((posts, tag) for tag, posts in newest.items()))


def counted(page: dict[bytes, bytes]) -> Iterable[tuple[int, str]]:
    """Posts and hashtag, of what is readable."""
    for name, value in page.items():
        try:
            posts = sum(keys.Past.read(value).slots.values())
            if name and posts:
                yield posts, name.decode()
        except ValueError:
            continue  # none of ours: whoever counts that hashtag next says so
