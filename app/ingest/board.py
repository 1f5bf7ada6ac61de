"""The board: which hashtags are rising, and which are most used, in the last ten minutes."""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from heapq import nlargest
from itertools import chain, islice
from typing import Any

from app.ingest.recent_uses import LEAST_PEOPLE, NOBODY, RecentUses, people
from app.messages import HOUR, MINUTE, dumps
from app.store import keys
from app.store.state import Write
from app.store.store import Store
from app.store.usual import BINS_AN_HOUR, read_hours, skipping, usual_at
from app.unusual import log_tail

MOSTLY_ENOUGH = 50
"""Hashtags that are sorted first: the lists are seldom made of more."""
RISING, UNUSUAL = 6.0, 4.0
"""From which score on a hashtag is rising, and unusual (alerts.py): 6 is one in a million."""
HALVES = 30 * MINUTE
"""Milliseconds, after which half of a peak is left."""
MOST_PEAKS = 1000
READ_AT_ONCE = 200
"""Hashtags of which it is read for one board what is usual: new ones first."""
LINE_MINUTES, LINE_STEP = 60, 5


@dataclass(frozen=True)
class Standing:
    """How a hashtag stands in the ten minutes."""

    tag: str
    """Its key."""
    posts: int
    """Of the ten minutes."""
    people: int
    """Who wrote them."""
    busiest_author: float
    """The part of the posts that the busiest author wrote."""
    busiest_link: float
    """The part of them that link to the host that most link to."""
    usual: float | None
    """Posts that ten minutes of this hour usually have; None where nobody knows."""
    score: float
    """How unlikely so many people are, as a power of ten: 6 is one in a million."""
    rank: float
    """What is left of its highest score."""

    @property
    def is_of_one(self) -> bool:
        """Whether it is mostly one author's, or for one host."""
        return max(self.busiest_author, self.busiest_link) > keys.MOST_OF_ONE


@dataclass(frozen=True)
class Usual:
    """What ten minutes of a hashtag usually have."""

    posts: float | None
    """None where nobody knows."""
    rises_from: float
    """So many people are rising; and so many are unusual (alerts.py)."""
    unusual_from: float


UNKNOWN = Usual(None, math.inf, math.inf)


class BoardMaker:
    """Makes the board, every few seconds, of what came lately and what is usual.

    Bounds: usual has the hashtags of at least five people, of which there are at most a fifth of
    RecentUses' uses, and may_rise and stale some of them; peaks has MOST_PEAKS; met the blocked
    hashtags at most.
    """

    def __init__(self, name_of: Callable[[str], str], blocked: Collection[str] = ()) -> None:
        self.name_of, self.blocked = name_of, frozenset(blocked)
        self.lately = RecentUses()
        self.usual: dict[str, Usual] = {}
        """Hashtag to what is usual of it at this hour."""
        self.hour = 0
        """The one of which it is usual, numbered since 1970."""
        self.stale: set[str] = set()
        """Of which only that of an hour before is known."""
        self.may_rise: dict[str, None] = {}
        """Where rising ones are looked for, beside those that grew since: those that rose on the
        board before, and those of which it was just learned what is usual."""
        self.peaks: dict[str, tuple[float, int]] = {}
        """Hashtag to its highest score that still counts, and when it had it."""
        self.met: set[str] = set()
        """Blocked ones that would be among the first."""
        self.text = ""
        """The newest board, as JSON, until it is written."""

    async def make(self, store: Store, networks: Sequence[str], now: int) -> None:
        """Work it out anew; now: milliseconds since 1970. Raises StoreLost."""
        self.lately.forget(now)
        self.met.clear()
        await self.learn(store, networks, now)
        rising = best(self.rising(now), lambda e: (e.rank, e.people))
        used = best(self.most_used(now), lambda e: (e.people, e.posts))
        tags = list(dict.fromkeys(standing.tag for standing in (*rising, *used)))
        lines = await read_lines(store, tags, now // MINUTE, networks)
        told = {
            "at": now,
            "since": self.lately.since,
            "blocked": len(self.met),
            "rising": [self.entry_of(standing, lines) for standing in rising],
            "used": [self.entry_of(standing, lines) for standing in used],
        }
        self.text = dumps(told)

    def write(self, now: int) -> list[Write]:
        """The board, for a commit, once."""
        text, self.text = self.text, ""
        ends = now // 1000 + keys.BOARD_SECONDS
        return [Write("string", keys.BOARD, values=[text], ends=ends)] if text else []

    async def learn(self, store: Store, networks: Sequence[str], now: int) -> None:
        """What is usual of those of which that is not known yet, or of another hour."""
        # only when its first minute is over, Redis is sure to know that an hour is counted
        hour, crowded = keys.hour_of(now - MINUTE), self.lately.crowded
        if not self.usual.keys() <= crowded.keys():  # thousands, most often the same as before
            self.usual = {tag: usual for tag, usual in self.usual.items() if tag in crowded}
        if hour != self.hour:
            self.hour, self.stale = hour, set(self.usual)
        self.stale &= crowded.keys()
        more = crowded if len(crowded) > len(self.usual) else ()
        new = (tag for tag in more if tag not in self.usual)
        if wanted := list(islice(chain(new, self.stale), READ_AT_ONCE)):
            found = await read_hours(store, wanted, [hour], keys.hour_of(now), networks)
            for tag, sources in found.items():
                self.usual[tag] = usual_of(usual_at(hour, sources.values()))
            self.may_rise.update(dict.fromkeys(found))
            self.stale -= found.keys()

    def rising(self, now: int) -> list[Standing]:
        """Those that are, by what is left of their peaks."""
        crowded, usual = self.lately.crowded, self.usual
        among = self.may_rise | self.lately.take_grown()
        up = [tag for tag in among if crowded.get(tag, 0) >= usual.get(tag, UNKNOWN).rises_from]
        self.may_rise = dict.fromkeys(up)
        for tag in up:
            score = score_of(crowded[tag], usual[tag].posts)
            if score >= self.left(tag, now):
                self.peaks[tag] = score, now
        left = {tag: rank for tag in self.peaks if (rank := self.left(tag, now)) >= RISING}
        kept = nlargest(MOST_PEAKS, left, key=left.__getitem__)
        self.peaks = {tag: self.peaks[tag] for tag in kept}
        return self.first([tag for tag in kept if tag in crowded], left, now)

    def most_used(self, now: int) -> list[Standing]:
        """Those of the most people."""
        crowded = self.lately.crowded
        return self.first(highest_first(crowded), crowded, now)

    def first(self, ranked: Iterable[str], values: Mapping[str, float], now: int) -> list[Standing]:
        """The first of these, in their order, until there are enough that are not of one;
        with all whose value is that of the last."""
        found: list[Standing] = []
        honest = 0
        for tag in ranked:
            if honest >= keys.BOARD_MOST and values[tag] < values[found[-1].tag]:
                break
            if tag in self.blocked:
                self.met.add(tag)
            else:
                found.append(self.standing(tag, now))
                honest += not found[-1].is_of_one
        return found

    def unusual(self, now: int) -> list[Standing]:
        """Those of which an alert tells when they stay so."""
        crowded, usual = self.lately.crowded, self.usual
        tags = [tag for tag, n in crowded.items() if n >= usual.get(tag, UNKNOWN).unusual_from]
        found = [self.standing(tag, now) for tag in tags if tag not in self.blocked]
        return [standing for standing in found if not standing.is_of_one]

    def left(self, tag: str, now: int) -> float:
        """What is left of the hashtag's peak; all of it where the clock went back."""
        peak, at = self.peaks.get(tag, (0.0, now))
        return peak * math.pow(0.5, max(0, now - at) / HALVES)

    def standing(self, tag: str, now: int) -> Standing:
        authors, hosts = self.lately.tags.get(tag, {}), self.lately.hosts.get(tag, {})
        usual, number = self.usual.get(tag, UNKNOWN).posts, people(authors)
        posts, busiest = sum(authors.values()), most_of_one(authors)
        linked = max(hosts.values(), default=0)
        return Standing(
            tag=tag,
            posts=posts,
            people=number,
            busiest_author=busiest / max(1, posts),
            busiest_link=linked / max(1, posts),
            usual=usual,
            score=score_of(number, usual),
            rank=self.left(tag, now),
        )

    def entry_of(self, standing: Standing, lines: Mapping[str, list[int]]) -> dict[str, Any]:
        named = {"tag": standing.tag, "name": self.name_of(standing.tag)}
        return {**named, **self.about(standing), "hour": lines[standing.tag]}

    def about(self, standing: Standing) -> dict[str, Any]:
        """The numbers of a hashtag, for JSON."""
        return {
            "posts": standing.posts,
            "people": standing.people,
            "usual": None if standing.usual is None else round(standing.usual, 1),
            "unusual": None if standing.usual is None else round(standing.score, 1),
            "busiest_author": round(standing.busiest_author, 3),
            "busiest_link": round(standing.busiest_link, 3),
        }


def highest_first(values: Mapping[str, int]) -> Iterator[str]:
    """The keys, that of the highest value first. Mostly a few are enough, so that thousands need
    not be put in order."""
    border = min(nlargest(MOSTLY_ENOUGH, values.values()), default=0)
    first = [key for key, value in values.items() if value >= border]
    yield from sorted(first, key=values.__getitem__, reverse=True)
    rest = [key for key, value in values.items() if value < border]
    yield from sorted(rest, key=values.__getitem__, reverse=True)


def most_of_one(authors: Mapping[int, int]) -> int:
    """Posts of the busiest author. A hashtag may have thousands, and most often all are known."""
    if NOBODY in authors:
        return max((n for author, n in authors.items() if author != NOBODY), default=0)
    return max(authors.values(), default=0)


def best(
    standings: Iterable[Standing], order: Callable[[Standing], tuple[float, float]]
) -> list[Standing]:
    """The first of all, and the first of those that are not of one, in their order."""
    among = list(standings)

    def ordered(standing: Standing) -> tuple[float, float, str]:
        return *order(standing), standing.tag

    honest = nlargest(keys.BOARD_MOST, (e for e in among if not e.is_of_one), key=ordered)
    all_of_them = nlargest(keys.BOARD_MOST, among, key=ordered)
    first = {standing.tag: standing for standing in (*honest, *all_of_them)}
    return sorted(first.values(), key=ordered, reverse=True)


@lru_cache(4096)
def usual_of(hourly: float | None) -> Usual:
    """Of so many posts an hour; None where nobody knows."""
    if hourly is None:
        return UNKNOWN
    posts = hourly / BINS_AN_HOUR
    return Usual(posts, least_with(RISING, posts), least_with(UNUSUAL, posts))


def least_with(score: float, usual: float) -> int:
    """How many people have this score at the least."""
    below, least = 0, LEAST_PEOPLE
    while score_of(least, usual) < score:
        below, least = least, 2 * least
    while least - below > 1:
        middle = (below + least) // 2
        below, least = (below, middle) if score_of(middle, usual) >= score else (middle, least)
    return max(least, LEAST_PEOPLE)


@lru_cache(8192)  # most are as they were for the board before
def score_of(number: int, usual: float | None) -> float:
    """How unlikely so many people are, where so many posts are usual, as a power of ten."""
    if usual is None or number <= usual:
        return 0.0
    return -log_tail(number, usual) / math.log(10)


async def read_lines(
    store: Store, tags: Sequence[str], minute: int, networks: Iterable[str]
) -> dict[str, list[int]]:
    """Hashtag to the posts of the last hour, in twelve parts of five minutes; minute: the
    present one, numbered since 1970, which is in the last part. Raises StoreLost."""
    first = minute - LINE_MINUTES + 1
    hours = {first * MINUTE // HOUR, minute * MINUTE // HOUR}
    where = {keys.hour(hour, network): hour for network in networks for hour in hours}
    _, values = await store.read(dict.fromkeys(where, tags))
    found = {tag: [0] * (LINE_MINUTES // LINE_STEP) for tag in tags}
    for key, hour in where.items():
        before = hour * 60 - first
        for tag, value in values.get(key, {}).items():
            with skipping(store, key, tag):
                line = found[tag]
                for slot, posts in keys.read_slots(value):
                    if 0 <= (place := before + slot) < LINE_MINUTES:
                        line[place // LINE_STEP] += posts
    return found
