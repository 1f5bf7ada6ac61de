"""How long to wait before connecting to X again, as X documents it."""

from collections import deque


class XWaits:
    """When X wants to see us again; pure: times are arguments, in seconds.

    After a cut: at once, then a quarter of a second more each time, up to 16 s. After an
    HTTP error: 5 s, doubled each time, up to 320 s. After 429: a minute, doubled, up to a
    quarter of an hour, or until the time that X names. Never more than 50 connects in 15
    minutes. https://docs.x.com/x-api/fundamentals/handling-disconnections
    """

    WINDOW = 900.0
    STOOD = 20.0
    """Seconds after which a connection counts as one that worked: X also accepts what it cuts a
    moment later. After one that lasted so long, coming back at once is allowed."""

    def __init__(self) -> None:
        self.connects: deque[float] = deque(maxlen=50)
        self.cuts = self.errors = self.limits = 0

    def connect(self, now: float) -> float:
        """Seconds until X allows another connect; with 0, this is one."""
        full = len(self.connects) == self.connects.maxlen
        wait = max(0.0, self.connects[0] + self.WINDOW - now) if full else 0.0
        if not wait:
            self.connects.append(now)
        return wait

    def worked(self, now: float) -> None:
        """A line came: of a connection that has lasted, the next failure counts as the first."""
        if self.connects and now - self.connects[-1] >= self.STOOD:
            self.cuts = self.errors = self.limits = 0

    def cut(self) -> float:
        self.cuts += 1
        return min(16.0, 0.25 * (self.cuts - 1))

    def error(self) -> float:
        self.errors += 1
        return min(320.0, 5.0 * 2.0 ** min(self.errors - 1, 10))

    def limited(self, now: float, reset: float | None) -> float:
        self.limits += 1
        if reset is not None and now < reset <= now + 3600:
            return reset - now + 1
        return min(self.WINDOW, 60.0 * 2.0 ** min(self.limits - 1, 10))
