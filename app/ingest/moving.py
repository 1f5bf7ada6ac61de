"""What is kept longer than an hour's key lives, when it is over: its most used hashtags, and
the tracked ones."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import nlargest

from app.ingest.ledger import Pages
from app.store import keys
from app.store.state import State
from app.store.store import Store

PAGE = 1000
"""Fields that are read at once."""


@dataclass(frozen=True)
class Move:
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


async def next_move(
    store: Store, state: State, networks: Iterable[str], hour: int, tracked: Iterable[str] = ()
) -> Move | None:
    """The first hour that is over and not moved yet; None where there is none.

    hour: the present one, numbered since 1970. Raises StoreLost.
    """
    due = max(state.moved + 1, hour - keys.HOUR_HOURS + 1)
    if not state.moved or due >= hour:
        return None
    found = {source: await most_used(store, keys.hour(due, source)) for source in networks}
    together: dict[str, int] = {}
    for tags in found.values():
        for tag, posts in tags.items():
            together[tag] = together.get(tag, 0) + posts
    best = nlargest(keys.KEPT_MOST, ((posts, tag) for tag, posts in together.items()))
    kept = list(dict.fromkeys([*(tag for _, tag in best), *tracked]))
    return Move(due, dict.fromkeys(found, kept), together)


async def most_used(store: Store, key: str) -> dict[str, int]:
    """An hour's most used hashtags with their posts, the most used first; page by page."""
    best: list[tuple[int, str]] = []
    cursor = -1
    while cursor:
        cursor, page = await store.scan(key, max(cursor, 0), PAGE)
        best = nlargest(keys.POPULAR_MOST, [*best, *counted(page)])
    return {tag: posts for posts, tag in best}


def counted(page: dict[bytes, bytes]) -> Iterable[tuple[int, str]]:
    """Posts and hashtag, of what is readable."""
    for name, value in page.items():
        try:
            posts = sum(keys.Past.read(value).slots.values())
            if name and posts:
                yield posts, name.decode()
        except ValueError:
            continue  # none of ours: whoever counts that hashtag next says so
