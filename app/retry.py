"""How long to wait before trying again: exponential, capped, with full jitter.

Full jitter as in "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015):
many clients that lost one server do not come back in step.
"""

from collections.abc import Callable
from random import random


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
