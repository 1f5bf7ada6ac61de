"""The most used hashtags of the last day, for completion."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping
from heapq import nlargest

from app.ingest.counter import Cut
from app.ingest.rollup import most_used
from app.messages import dumps
from app.process import end_if_cancelled
from app.retry import Backoff
from app.store import keys
from app.store.state import Write
from app.store.store import Store, StoreLost

HOURS = 24
PRESENT_MOST, OVER_MOST = 50_000, 2 * keys.POPULAR_MOST
"""Hashtags of the present hour, and of one that is over and gets late posts, that are remembered;
with more, half of them go, those with the fewest posts."""
LONGEST_NAMES = 20
"""Code points of a hashtag, on an average: where strangers write longer ones, fewer are
remembered."""
BYTES = 2**20
"""Of the list, at most nearly: long names may make it shorter than so many hashtags."""
WRITE_SECONDS = 20
RECALL_TRIES = 100
"""That fail; some two minutes."""


class Popular:
    """Posts by hour: of hours that are over, of their 5,000 most used hashtags. Bound: PRESENT_MOST
    hashtags of the present hour and OVER_MOST of each of the HOURS before."""

    def __init__(self) -> None:
        self.hours: dict[int, dict[str, int]] = {}
        """Hour since 1970 to hashtag to posts."""
        self.length: dict[int, int] = {}
        """The same hours to the code points of their hashtags."""
        self.due = 0.0
        """When it is written next, in seconds since 1970."""

    async def recall(self, store: Store, networks: tuple[str, ...], hour: int) -> None:
        """Read what is kept of the hours before, after a start; what cannot be read, in so many
        tries, is done without."""
        backoff, tries = Backoff(longest=2.0), RECALL_TRIES
        left = deque(range(hour - HOURS, hour + 1))
        while left and tries:
            number = left.popleft()
            key_of = keys.hour if number == hour else keys.kept
            stored: Counter[str] = Counter()
            try:
                for source in networks:
                    stored.update(await most_used(store, key_of(number, source)))
            except StoreLost:
                end_if_cancelled()
                left.append(number)
                tries -= 1
                await asyncio.sleep(backoff.next())
            else:
                self.learn(number, stored)

    def learn(self, hour: int, posts: Mapping[str, int]) -> None:
        """Redis has these; what was counted since we came may be among them or not yet."""
        found = self.hours.get(hour, {})
        self.set(hour, {**found, **{tag: max(n, found.get(tag, 0)) for tag, n in posts.items()}})

    def count(self, cut: Cut) -> None:
        """Take in what is committed."""
        present = cut.minute // 60
        if present not in self.hours:
            kept = [n for n in self.hours if present - HOURS <= n < present]
            self.hours = {n: self.hours[n] for n in kept} | {present: {}}
            self.length = {n: self.length[n] for n in kept} | {present: 0}
        for posts in cut.present.values():
            self.add(present, posts)
        for minutes in cut.past.values():
            for minute, posts in minutes.items():
                if present - HOURS <= (hour := minute // 60) <= present:
                    self.add(hour, posts)
        for hour, of in list(self.hours.items()):
            bound = PRESENT_MOST if hour == present else OVER_MOST
            if len(of) > bound or self.length[hour] > bound * LONGEST_NAMES:
                self.set(hour, most(of, min(bound, len(of)) // 2))

    def add(self, hour: int, posts: Mapping[str, int]) -> None:
        found = self.hours.setdefault(hour, {})
        before = found.get
        new = sum(len(tag) for tag in posts if tag not in found)
        self.length[hour] = self.length.get(hour, 0) + new
        found.update({tag: before(tag, 0) + n for tag, n in posts.items()})

    def close(self, hour: int, posts: Mapping[str, int]) -> None:
        """An hour is over: of it, these."""
        if hour >= max(self.hours, default=hour) - HOURS:
            self.set(hour, dict(posts))

    def set(self, hour: int, posts: dict[str, int]) -> None:
        self.hours[hour], self.length[hour] = posts, sum(map(len, posts))

    def write(self, now: float, name_of: Callable[[str], str]) -> list[Write]:
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
            listed.append([tag, name_of(tag), n])
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
