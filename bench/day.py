"""A day of every hashtag of a network, in Redis, and how such a day is made.

New hashtags come as in a Pitman-Yor process with discount 0.8 and concentration 10, which has
the long tail that real ones have (144,000 different ones in 870,000 uses of a sample of Twitter).
The others repeat any earlier use, so that rare ones come again more often than in that process:
an hour has 32,000 different ones at last, twice as many, which is harder for us. 60 posts a
second with 0.3 uses a post, which is all of Bluesky, are 1.56 million uses a day of some 200,000
hashtags.

The day is written by the real Writer, whose clock is put forward by hand: a commit a minute,
and at the end 15 minutes of ticks of half a second, so that the log has what it should.
"""

import time
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from math import inf
from random import Random

from msgspec.json import encode

from app.ingest.clock import RedisClock
from app.ingest.counter import Cut
from app.messages import MINUTE
from app.store import keys
from app.store.store import Store
from bench.ticks import NETWORK, TICK_SECONDS, WRITER, Ticks, authors_of

DISCOUNT, CONCENTRATION = 0.8, 10
USES_A_POST = 0.3
POSTS_A_SECOND = 60
DAY_MINUTES = 1440
LOG_MINUTES = keys.LOG_SECONDS // 60

CONSONANTS, VOWELS = "bcdfghjklmnprstvwxyz", "aeiou"
SYLLABLES = [consonant + vowel for consonant in CONSONANTS for vowel in VOWELS]
ENDING = "ndrthmsplwstgfkb"


def name(number: int) -> str:
    """2 to 24 letters, another name for each number: syllables, and letters that are none."""
    letters, rest = "", number + 1
    while rest:
        rest, syllable = divmod(rest - 1, len(SYLLABLES))
        letters += SYLLABLES[syllable]
    return letters + ENDING[: number % (len(ENDING) + 1)]


class Stream:
    """Uses of hashtags, one after the other; a hashtag is a number, the first one's is 0.

    The next use is of a new hashtag with probability (10 + 0.8 kinds) / (10 + uses), and else
    repeats an earlier use, whichever.
    """

    def __init__(self, seed: int = 1) -> None:
        self.chance = Random(seed)
        self.uses, self.kinds = array("I"), 0

    def take(self, number: int) -> Sequence[int]:
        """The next so many uses."""
        uses, kinds, random = self.uses, self.kinds, self.chance.random
        begin = len(uses)
        for so_far in range(begin, begin + number):
            if random() * (CONCENTRATION + so_far) < CONCENTRATION + DISCOUNT * kinds:
                uses.append(kinds)
                kinds += 1
            else:
                uses.append(uses[int(random() * so_far)])
        self.kinds = kinds
        return uses[begin:]

    def different(self, number: int) -> list[str]:
        """So many different hashtags, drawn as they are used."""
        found: dict[int, None] = {}
        while len(found) < min(number, self.kinds):
            found[self.chance.choice(self.uses)] = None
        return [name(each) for each in found]


class HandClock(RedisClock):
    """It stands where it was put, whatever Redis says."""

    def hear(self, now: int) -> bool:
        return False

    def now(self) -> int:
        return self.date


def cut_of(minute: int, uses: Sequence[int], stream: Stream, is_marked: bool) -> Cut:
    """A cut with these uses, each by another author; is_marked: with a mark for each, as of a
    source that goes back."""
    posts = {name(number): n for number, n in Counter(uses).items()}
    marks = {stream.chance.randbytes(8) for _ in uses} if is_marked else set()
    authors = authors_of(minute, [name(number) for number in uses])
    marked = {NETWORK: {minute: marks}} if marks else {}
    return Cut(minute, {NETWORK: posts}, marks=marked, authors=authors)


async def fill(
    store: Store, minutes: int = DAY_MINUTES, posts: float = POSTS_A_SECOND, seed: int = 1
) -> Stream:
    """Write a day, or so many minutes, that ends now; the stream that it was made of."""
    stream, clock = Stream(seed), HandClock()
    end = time.time_ns() // 1_000_000
    ticks = Ticks(store, await store.load(), clock, since=end - minutes * MINUTE)
    is_logged = False
    for clock.date, seconds in moments(end, minutes):
        passed = (clock.date - end) / 1000 + minutes * 60
        uses = stream.take(int(posts * USES_A_POST * passed) - len(stream.uses))
        ticks.writer.log_anew, is_logged = not is_logged, seconds == TICK_SECONDS
        # its list is worth a minute's work, and only the last one is read
        ticks.writer.popular.due = 0 if clock.date == end else inf
        await ticks.write(cut_of(clock.date // MINUTE, uses, stream, is_logged), seconds)
    await store.give_lease(WRITER)
    await say_once(store, ticks, end - minutes * MINUTE)
    return stream


async def say_once(store: Store, ticks: Ticks, begin: int) -> None:
    """What the network was doing, as it is stored where nothing changed all day: one entry, of the
    time when that began. A log that begins anew with each commit has one each, by Redis's clock."""
    entry = {"sources": encode(ticks.sources).decode()}
    await store.redis.delete(keys.STATES)
    await store.redis.xadd(keys.STATES, entry, id=f"{begin}-0")


def moments(end: int, minutes: int) -> Iterator[tuple[int, float]]:
    """When something is committed, in milliseconds since 1970, and for how many seconds: a
    minute at a time, and at the end the ticks of which the log is made."""
    ticks = int(min(minutes, LOG_MINUTES) * 60 / TICK_SECONDS)
    for left in range(minutes - 1, LOG_MINUTES - 1, -1):
        yield end - left * MINUTE, 60
    for left in range(ticks - 1, -1, -1):
        yield end - int(left * TICK_SECONDS * 1000), TICK_SECONDS


async def fill_log(store: Store, hashtags: Sequence[str]) -> None:
    """15 minutes of ticks that end now, in each of which all of the hashtags change."""
    clock, end = HandClock(), time.time_ns() // 1_000_000
    ticks = Ticks(store, await store.load(), clock, since=end - LOG_MINUTES * MINUTE)
    for clock.date, seconds in moments(end, LOG_MINUTES):
        await ticks.write(ticks.cut(hashtags), seconds)
    await store.give_lease(WRITER)
