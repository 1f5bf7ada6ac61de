"""What is usual of a hashtag at an hour, and the hours in Redis that it is made of.

All hours are numbered since 1970.
"""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from app.store import keys
from app.store.store import Store
from app.unusual import WEEKS, usual

WEEK_HOURS = 7 * 24
RECENT_HOURS = 48
BINS_AN_HOUR = 6
"""Ten minutes each: board and alerts are about so long a time."""
FIELDS_AT_ONCE = 300
"""That are read in one go, some milliseconds' work: Redis has others to answer, and so have we."""


@dataclass(frozen=True)
class Hours:
    """The hours of one hashtag in one source."""

    counted: Mapping[int, int]
    """Hour to how many minutes of it were counted; an hour without any is not here."""
    posts: Mapping[int, int]
    """Hour to posts. A counted hour that is not here had none or, more than 48 hours ago, too few
    to be kept."""


def usual_at(hour: int, sources: Iterable[Hours]) -> float | None:
    """Posts an hour, of those of these sources together that were counted then; None where there
    are none, and where of one of them nobody can say."""
    here = [source for source in sources if hour in source.counted]
    together = 0.0
    for source in here:
        weeks, recent = hours_for(hour, source.counted)
        found = usual(
            [source.posts.get(at, 0) for at in weeks],
            sum(source.posts.get(at, 0) for at in recent),
            sum(source.counted[at] for at in recent),
        )
        if found is None:
            return None
        together += found
    return together if here else None


def hours_for(hour: int, counted: Mapping[int, int]) -> tuple[list[int], list[int]]:
    """By which counted hours it is known what is usual at this one: the same of weeks before or,
    where there are none, those of the 48 hours before."""
    weeks = [at for n in range(1, WEEKS + 1) if (at := hour - n * WEEK_HOURS) in counted]
    recent = [] if weeks else [at for at in range(hour - RECENT_HOURS, hour) if at in counted]
    return weeks, recent


async def read_hours(
    store: Store, tags: Sequence[str], hours: Collection[int], present: int, networks: Iterable[str]
) -> dict[str, dict[str, Hours]]:
    """Hashtag to source to all that usual_at() needs for any of these hours.

    present: the present hour, by which it is known where the others lie. Raises StoreLost.
    """
    found: dict[str, dict[str, Hours]] = {tag: {} for tag in tags}
    possible = {at for hour in hours for at in range(hour - RECENT_HOURS, hour + 1)}
    possible |= {hour - n * WEEK_HOURS for hour in hours for n in range(1, WEEKS + 1)}
    for network in networks:
        read = Reading(store, network, present)
        counted = await read.counted(possible)
        wanted = {at for hour in hours for part in hours_for(hour, counted) for at in part}
        posts = await read.posts(tags, wanted)
        for tag in tags:
            found[tag][network] = Hours(counted, posts[tag])
    return found


class Reading:
    """Reads the hours of one source: those of the last 48 have a key each, others a day's."""

    def __init__(self, store: Store, network: str, present: int) -> None:
        self.store, self.network, self.present = store, network, present

    async def counted(self, hours: Iterable[int]) -> dict[int, int]:
        """Hour to how many minutes of it were counted; of a day's hours it is only known whether
        they were."""
        found = (await self.page([""], self.places(hours)))[""]
        border = self.border
        return {at: n if at >= border else 60 for at, n in found.items() if n}

    async def posts(self, tags: Sequence[str], hours: Iterable[int]) -> dict[str, dict[int, int]]:
        """Hashtag to hour to posts."""
        where = self.places(hours)
        at_once = max(1, FIELDS_AT_ONCE // max(1, len(where)))
        found: dict[str, dict[int, int]] = {}
        for n in range(0, len(tags), at_once):
            found |= await self.page(tags[n : n + at_once], where)
            await asyncio.sleep(0)
        return found

    async def page(
        self, names: Sequence[str], where: Mapping[str, tuple[int, bool]]
    ) -> dict[str, dict[int, int]]:
        """Name to hour to what its slots come to."""
        _, values = await self.store.read(dict.fromkeys(where, names))
        found: dict[str, dict[int, int]] = {name: {} for name in names}
        for key, (number, is_day) in where.items():
            for name, value in values.get(key, {}).items():
                with skipping(self.store, key, name):
                    if is_day:
                        hours = keys.Past.read(value).slots.items()
                        of_day = ((number * 24 + slot, n) for slot, n in hours)
                        found[name].update((at, n) for at, n in of_day if at < self.border)
                    else:
                        found[name][number] = keys.posts_in(value)
        return found

    @property
    def border(self) -> int:
        """The first hour that has a key of its own."""
        return self.present - keys.HOUR_HOURS + 1

    def places(self, hours: Iterable[int]) -> dict[str, tuple[int, bool]]:
        """The keys in which these hours lie, with the number of the hour or the day, and whether
        it is a day's."""
        found: dict[str, tuple[int, bool]] = {}
        for at in sorted(hours):
            if at < self.border:
                found[keys.day(at // 24, self.network)] = at // 24, True
            elif at <= self.present:
                found[keys.hour(at, self.network)] = at, False
        return found


@contextmanager
def skipping(store: Store, key: str, name: str) -> Iterator[None]:
    """Within it a field of this key that is none of ours is skipped and counted."""
    try:
        yield
    except ValueError as error:
        store.skip(f"the field {name[:100]!r} of {key}: {error}")
