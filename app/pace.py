"""How long ticks last: as chosen, or longer while they take more time than that; pure.

Who cannot keep up must not fall behind further and further: fewer ticks, each of them whole,
are all that is needed, since a tick holds totals.
"""

FULL = 0.95
"""Of a tick's time: work that takes more than this, on an average, cannot keep up."""
SHARE = 0.8
"""Of a stretched tick's time, what the work may take: everything else needs some, too."""
WEIGHT = 0.25
"""How much the newest tick counts in the average: one that is slow by chance stretches little."""


class Pace:
    """The ticks of one process. lasts: how many seconds the next one is to last."""

    def __init__(self, seconds: float, work: str) -> None:
        self.seconds = self.lasts = seconds
        self.work, self.average = work, 0.0

    def took(self, seconds: float) -> str:
        """A tick took so long. The answer is a sentence for the log when that changes matters.

        One that took very long by itself is a pause (the process was stopped, the machine
        slept) and no overload: it counts as two ticks, so that only several in a row stretch.
        """
        self.average += (min(seconds, 2 * self.lasts) - self.average) * WEIGHT
        before = self.is_stretched
        limit = SHARE if before else FULL
        self.lasts = self.seconds
        if self.average > self.seconds * limit:
            self.lasts = round(self.average / SHARE, 3)
        if self.is_stretched and not before:
            return (
                f"overload: {self.work} takes {self.average:.2f} s, so ticks last "
                f"{self.lasts:.2f} s instead of {self.seconds:g} s"
            )
        if before and not self.is_stretched:
            return f"the overload is over: ticks last {self.seconds:g} s again"
        return ""

    @property
    def is_stretched(self) -> bool:
        return self.lasts > self.seconds
