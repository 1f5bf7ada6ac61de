"""The most used hashtags of the last day, for completion."""

from collections.abc import Callable, Mapping
from heapq import nlargest

from app.ingest.counter import Cut
from app.ingest.moving import most_used
from app.messages import dumps
from app.store import keys
from app.store.state import Write
from app.store.store import Store

HOURS = 24
PRESENT_MOST = 50_000
"""Hashtags of the present hour that are remembered; with more, those with the fewest posts go."""
BYTES = 2**20
"""Of the list, at most nearly: long names may make it shorter than so many hashtags."""
WRITE_SECONDS = 20


class Popular:
    """Posts by hour: of hours that are over, of their 5,000 most used hashtags."""

    def __init__(self) -> None:
        self.hours: dict[int, dict[str, int]] = {}
        """Hour since 1970 to hashtag to posts; 24 hours and the present one, at most
        PRESENT_MOST hashtags each."""
        self.due = 0.0
        """When it is written next, in seconds since 1970."""

    async def recall(self, store: Store, networks: tuple[str, ...], hour: int) -> None:
        """Read what is kept of the hours before, after a start. Raises StoreLost."""
        for number in range(hour - HOURS, hour + 1):
            key_of = keys.hour if number == hour else keys.kept
            for source in networks:
                self.add(number, await most_used(store, key_of(number, source)))

    def count(self, cut: Cut) -> None:
        """Take in what is committed."""
        present = cut.minute // 60
        if present not in self.hours:
            self.hours = {n: of for n, of in self.hours.items() if present - HOURS <= n < present}
            self.hours[present] = {}
        for posts in cut.present.values():
            self.add(present, posts)
        for minutes in cut.past.values():
            for minute, posts in minutes.items():
                if present - HOURS <= (hour := minute // 60) <= present:
                    self.add(hour, posts)
        for hour, of in self.hours.items():
            if len(of) > PRESENT_MOST:
                self.hours[hour] = most(of, PRESENT_MOST // 2)

    def add(self, hour: int, posts: Mapping[str, int]) -> None:
        found = self.hours.setdefault(hour, {})
        before = found.get
        found.update({tag: before(tag, 0) + n for tag, n in posts.items()})

    def close(self, hour: int, posts: Mapping[str, int]) -> None:
        """An hour is over: of it, these."""
        if hour >= max(self.hours, default=hour) - HOURS:
            self.hours[hour] = dict(posts)

    def write(self, now: float, shown: Callable[[str], str]) -> list[Write]:
        """The list as JSON, [hashtag, spelling, posts] each, the most used first; when due."""
        if now < self.due <= now + WRITE_SECONDS or not any(self.hours.values()):
            return []
        self.due = now + WRITE_SECONDS
        together: dict[str, int] = {}
        for posts in self.hours.values():
            for tag, n in posts.items():
                together[tag] = together.get(tag, 0) + n
        best = most(together, keys.POPULAR_MOST)
        room, listed = BYTES, []
        for tag, n in best.items():
            listed.append([tag, shown(tag), n])
            room -= 30 + 2 * len(tag.encode())
            if room < 0:
                break
        text = dumps(listed)
        ends = int(now) + keys.POPULAR_SECONDS
        return [Write("string", keys.POPULAR, values=[text], ends=ends)]


def most(posts: Mapping[str, int], number: int) -> dict[str, int]:
    """So many of the most used, the most used first."""
    best = nlargest(number, ((n, tag) for tag, n in posts.items()))
    return {tag: n for n, tag in best}
