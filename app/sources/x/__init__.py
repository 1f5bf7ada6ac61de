"""Posts from X, or X's numbers of them, and what that costs.

In the order of reading; each imports only from those above it:

    wire.py        what X says in its stream
    waits.py       when X wants to see us again
    connection.py  one connection, through tweepy
    budget.py      how many posts a day may be read, and the prices
    stream.py      the source: posts as they come
    minutes.py     X's counts, minute by minute
    coverage.py    which minutes are counted, for a stream that has gaps
    counts.py      the source by X's counts alone (X_MODE=counts)
    backfill.py    the stream, and X's counts of what it missed (X_BACKFILL)
"""

from collections.abc import Callable
from time import time

from app.settings import Settings
from app.sources.x.backfill import XBackfill
from app.sources.x.counts import XCounts
from app.sources.x.stream import X


class ChosenX(X):
    """X in the way that the settings choose."""

    def __new__(cls, settings: Settings, clock: Callable[[], float] = time) -> X:  # type: ignore[misc]
        if settings.x_mode == "counts":
            return XCounts(settings, clock)
        return XBackfill(settings, clock) if settings.x_backfill else X(settings, clock)


SOURCE = ChosenX
