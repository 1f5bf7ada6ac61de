"""Which posts there are at a time; pure.

What happens is a function of the seed and the time alone, so two runs agree on every second, and a
restarted ingester can go back to where it was. How many posts there are is drawn before what they
are: the minutes of a day are counted in a moment.
"""

import math
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from random import Random
from typing import NamedTuple

from app.messages import MINUTE, Post
from app.sources.demo.words import OTHERS, PEOPLE, SAYINGS, event_name, invented

SLOT = 100
"""Milliseconds; posts are handed over so many at once."""
PIECE = 15_000
"""Milliseconds, of which numbers of posts are drawn at once."""
DAY_SECONDS, BURST_SECONDS = 86_400, 240
OTHER_LEVEL = 0.12
"""How many posts the first of the hashtags beside the tracked ones has, of what those have; the
last has a quarter as many."""
EVENT_SECONDS, EVENT_LATEST, EVENT_LIFE, EVENT_FADE = 40, 10, 240, 80
"""In each stretch of so many seconds an event begins, with a hashtag of its own; so late in it at
the latest; it lasts so long; and fades by a factor of e in so many."""
BOTH = 0.2
"""The part of the posts that name a second hashtag."""
PARTNERS = 3


class Drawn(NamedTuple):
    """How many posts of a piece name a hashtag."""

    tag: str
    posts: int
    other: str
    """The second hashtag that some of them name."""
    both: int
    """How many do."""


def posts_in(slot: int, tags: tuple[str, ...], seed: int) -> Iterator[Post]:
    """The posts of one tenth of a second, numbered since 1970."""
    yield from posts_of(slot * SLOT // PIECE, tags, seed).get(slot, ())


def counted(minute: int, tags: tuple[str, ...], seed: int) -> Counter[str]:
    """Hashtag to how many posts of a minute (numbered since 1970) name it."""
    found: Counter[str] = Counter()
    pieces = MINUTE // PIECE
    for piece in range(minute * pieces, (minute + 1) * pieces):
        for drawn in numbers_of(piece, tags, seed):
            found[drawn.tag] += drawn.posts
            if drawn.both:
                found[drawn.other] += drawn.both
    return found


@lru_cache(maxsize=4)
def posts_of(piece: int, tags: tuple[str, ...], seed: int) -> dict[int, list[Post]]:
    """The posts of a piece (numbered since 1970), by their slots."""
    chance = Random(f"{seed} {piece} posts")
    spelt = {name.lower(): name for name in events_at(middle_of(piece), seed)}
    found: dict[int, list[Post]] = {}
    for drawn in numbers_of(piece, tags, seed):
        for n in range(drawn.posts):
            named = [drawn.tag, drawn.other] if n < drawn.both else [drawn.tag]
            hashtags = {tag: spelt.get(tag, tag) for tag in named}
            person = chance.randrange(PEOPLE)
            post = Post(
                source="demo",
                id=f"{piece}-{drawn.tag}-{n}",
                written=chance.randrange(piece * PIECE, (piece + 1) * PIECE),
                author=f"demo{person}",
                hashtags=hashtags,
                shown=invented(tuple(hashtags.values()), person, chance.choice(SAYINGS)),
            )
            found.setdefault(post.time // SLOT, []).append(post)
    return found


def numbers_of(piece: int, tags: tuple[str, ...], seed: int) -> Iterator[Drawn]:
    """How many posts there are in a piece, by the hashtag that they name first."""
    chance = Random(f"{seed} {piece}")
    for tag, rate_here, partners in rates(middle_of(piece), tags, seed):
        posts = poisson(rate_here * PIECE / 1000, chance)
        if posts:
            other = partners[int(chance.random() * len(partners))]
            both = sum([chance.random() < BOTH for _ in range(posts)])
            yield Drawn(tag, posts, other, both)


def middle_of(piece: int) -> float:
    """In seconds since 1970."""
    return (piece + 0.5) * PIECE / 1000


def rates(
    at: float, tags: tuple[str, ...], seed: int
) -> Iterator[tuple[str, float, tuple[str, ...]]]:
    """Each hashtag that is used at this time (seconds since 1970), its posts per second, and what
    may be named with it."""
    for tag in tags:
        yield tag, rate(tag, seed, at), partners_of(tag, tags, seed)
    for n, tag in enumerate(others(tags)):
        level = OTHER_LEVEL * (1 - 0.75 * n / len(OTHERS))
        yield tag, level * rate(tag, seed, at), partners_of(tag, (), seed)
    for name, rate_here in events_at(at, seed).items():
        if (tag := name.lower()) not in tags:
            yield tag, rate_here, partners_of(tag, (), seed)


@lru_cache(maxsize=256)
def partners_of(tag: str, tags: tuple[str, ...], seed: int) -> tuple[str, ...]:
    """The other tracked hashtags, if these are given, and some that are always there."""
    known = [other for other in others(tags) if other != tag]
    some = Random(f"{seed} {tag} partners").sample(known, PARTNERS)
    return (*(other for other in tags if other != tag), *some)


@lru_cache(maxsize=4)
def others(tags: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(tag for tag in OTHERS if tag not in tags)


def events_at(at: float, seed: int) -> dict[str, float]:
    """Name of each event that is going on (seconds since 1970) to its posts per second."""
    found = {}
    for number in range(int(at - EVENT_LIFE) // EVENT_SECONDS, int(at) // EVENT_SECONDS + 1):
        begin, peak = event(number, seed)
        if 0 <= at - begin < EVENT_LIFE:
            found[event_name(number + seed)] = peak * math.exp((begin - at) / EVENT_FADE)
    return found


@lru_cache(maxsize=64)
def event(number: int, seed: int) -> tuple[float, float]:
    """When it begins, in seconds since 1970, and how many posts a second it has then."""
    chance = Random(f"{seed} event {number}")
    return number * EVENT_SECONDS + chance.uniform(0, EVENT_LATEST), chance.uniform(0.15, 0.9)


def rate(tag: str, seed: int, at: float) -> float:
    """Posts per second of a tracked hashtag at this time (seconds since 1970).

    A hashtag has its own level, rises and falls with the day, though it is never so still that a
    first look shows nothing, swells over a period of its own of some minutes, wavers, and in some
    stretches of four minutes bursts.
    """
    level, period, phase = temper(tag, seed)
    day = 1 + 0.2 * math.sin(math.tau * at / DAY_SECONDS + phase)
    swell = 1 + 0.4 * math.sin(math.tau * at / period + phase)
    waver = 1 + 0.2 * math.sin(math.tau * at / 97 + 2 * phase)
    begin = burst(tag, seed, int(at // BURST_SECONDS))
    height = 3 * math.exp((begin - at) / 25) if at >= begin else 0.0
    return level * (day * swell * waver + height)


@lru_cache(maxsize=256)
def temper(tag: str, seed: int) -> tuple[float, float, float]:
    """A hashtag's level, period in seconds, and phase."""
    own = Random(f"{seed} {tag}")
    return own.uniform(0.7, 1.5), own.uniform(240, 600), own.uniform(0, math.tau)


@lru_cache(maxsize=256)
def burst(tag: str, seed: int, stretch: int) -> float:
    """When the hashtag bursts in a stretch, in seconds since 1970; infinity where it does not."""
    chance = Random(f"{seed} {tag} {stretch}")
    begin = stretch * BURST_SECONDS + chance.uniform(0, BURST_SECONDS / 2)
    return begin if chance.random() < 0.4 else math.inf


def poisson(mean: float, chance: Random) -> int:
    """How many events happen when `mean` are expected (Knuth's method, for small means)."""
    limit, product, events = math.exp(-mean), chance.random(), 0
    while product > limit:
        product *= chance.random()
        events += 1
    return events
