"""What is usual at each point of a line: the band around it."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from app.messages import HOUR, MINUTE
from app.store.keys import hour_of
from app.store.store import Store
from app.store.usual import Hours, read_hours, usual_at
from app.unusual import band
from app.web.history import Grid

Band = list[tuple[int, int, int] | None]
"""Of each point: posts at the low end, in the middle and at the high end; None where nobody knows
what is usual, and where nothing was counted."""


async def bands(
    store: Store, tags: Sequence[str], grid: Grid, networks: Iterable[str]
) -> dict[str, Band]:
    """Hashtag to what is usual at each of the grid's points. Raises StoreLost."""
    present = hour_of(grid.now)
    hours = sorted({hour for at in grid.steps for hour in hours_of(grid, at)})
    read = await read_hours(store, tags, hours, present, networks)
    found = {}
    for tag in tags:
        await asyncio.sleep(0)  # a month of twenty hashtags takes a while: others get a turn
        found[tag] = band_of(grid, read[tag], hours)
    return found


def band_of(grid: Grid, sources: Mapping[str, Hours], hours: Iterable[int]) -> Band:
    """Of one hashtag: in each step or, where steps are shorter, in a minute: over so long a page
    takes its rate."""
    usual = {hour: usual_at(hour, sources.values()) for hour in hours}
    found: Band = []
    for at in grid.steps:
        here = hours_of(grid, at)
        known = [mean for hour in here if (mean := usual[hour]) is not None]
        mean = sum(known) / len(here) * window(grid) / HOUR
        found.append(band(mean) if len(known) == len(here) else None)
    return found


def window(grid: Grid) -> int:
    """How long a time the band is of, in milliseconds."""
    return max(grid.step, MINUTE)


def hours_of(grid: Grid, at: int) -> range:
    """The hours that the step which begins then has a part of; none of the future."""
    last = min(at + grid.step - 1, grid.now)
    return range(hour_of(at), hour_of(last) + 1)
