"""How long to wait before trying again: as a server says, or exponential, capped, with full jitter.

Full jitter as in "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015):
many clients that lost one server do not come back in step.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import random

WAIT_AT_MOST = 3600.0
"""Seconds, whatever a server says."""


class Backoff:
    """The waits of one connection, longer after every failure in a row."""

    def __init__(
        self, first: float = 0.25, longest: float = 30.0, jitter: Callable[[], float] = random
    ) -> None:
        self.first, self.longest, self.jitter = first, longest, jitter
        self.failures = 0

    def next(self) -> float:
        """Seconds to wait after one more failure: up to twice the last bound, at most longest."""
        bound = min(self.longest, self.first * 2.0 ** min(self.failures, 30))
        self.failures += 1
        return bound * self.jitter()

    def reset(self) -> None:
        """Something worked: the next failure counts as the first."""
        self.failures = 0


def wait_of(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds until a server wants to see us again, 1 at least; None where it does not say."""
    after = headers.get("Retry-After", "")
    seconds = float(after) if after.isdecimal() else seconds_until(after, now)
    if seconds is None:
        seconds = reset_in(headers, now)
    return None if seconds is None else min(max(1.0, seconds), WAIT_AT_MOST)


def reset_in(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds until the server's limit begins anew, as Mastodon and, without X-, Bluesky say it: a
    time, or seconds since 1970."""
    reset = headers.get("X-RateLimit-Reset") or headers.get("RateLimit-Reset", "")
    return max(0.0, float(reset) - now) if reset.isdecimal() else seconds_until(reset, now)


def seconds_until(written: str, now: float) -> float | None:
    """Seconds until a time in one of the forms that headers have; None if it is none."""
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            time = read(written)
            seconds = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            continue
        return max(0.0, seconds - now)
    return None
