"""Believable posts with no network, for a first look and for development.

What happens is a function of the seed and the time alone, so two runs agree on every
second, and a restarted ingester can go back to where it was.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from random import Random

from app.messages import Checkpoint, Message, Post, Shown
from app.sources import Source

SLOT_SECONDS = 0.1
CATCH_UP_SECONDS = 60
PRESENT_SECONDS = 10
"""What is not older than this at the start is the present, not the past."""
BURST_SECONDS = 240
PEOPLE = 500
FIRST_NAMES = ("Ada", "Bo", "Chidi", "Dana", "Emre", "Fia", "Goran", "Hana", "Ines", "Jun")
LAST_NAMES = ("Adler", "Birk", "Castro", "Dube", "Engel", "Faroe", "Gupta", "Holm", "Ito", "Juarez")
SAYINGS = (
    "What a day for {tag}!",
    "I have just read about {tag} and want to know more.",
    "Does anybody here know a good book on {tag}?",
    "Three things that I learnt this week. The first is about {tag}.",
    "{tag} again, and I do not tire of it.",
    "On my way to meet the others. {tag}",
)


class Demo(Source):
    name = "demo"
    is_live = False
    complete = goes_back = True

    async def posts(self, cursor: str) -> AsyncIterator[Message]:
        """Posts as their time comes; after a pause, those of the last minute at once."""
        now = self.due()
        slot = int(cursor) if cursor.isdecimal() else now
        slot = min(max(slot, now - slots(CATCH_UP_SECONDS)), now)
        self.say("live", "demo data", unbroken_since=slot * SLOT_SECONDS)
        while True:
            due = self.due()
            if abs(due - slot) > slots(2 * CATCH_UP_SECONDS):  # our clock was set, or we slept
                slot = now = due
            if slot >= due:
                await asyncio.sleep(SLOT_SECONDS)
                continue
            self.catching_up = slot < now - slots(PRESENT_SECONDS)
            for post in posts_in(slot, self.settings.hashtags, self.settings.demo_seed):
                yield post
            slot += 1
            # the slot is whole: only now may a restart begin after it
            yield Checkpoint(self.name, str(slot))

    def due(self) -> int:
        """The slot that is not over yet."""
        return int(self.clock() / SLOT_SECONDS)


def slots(seconds: int) -> int:
    return round(seconds / SLOT_SECONDS)


def posts_in(slot: int, tags: tuple[str, ...], seed: int) -> Iterator[Post]:
    """The posts of one tenth of a second; each names one hashtag, some a second one too."""
    chance = Random(f"{seed} {slot}")
    start = slot * SLOT_SECONDS
    for tag in tags:
        for n in range(poisson(rate(tag, seed, start) * SLOT_SECONDS, chance)):
            named = {tag: tag}
            if chance.random() < 0.1:
                other = chance.choice(tags)
                named[other] = other
            written = int((start + chance.uniform(0, SLOT_SECONDS)) * 1000)
            person = chance.randrange(PEOPLE)
            yield Post(
                source="demo",
                id=f"{slot}-{tag}-{n}",
                written=written,
                author=f"demo{person}",
                hashtags=named,
                shown=invented(tuple(named), person, chance.choice(SAYINGS)),
            )


def invented(tags: tuple[str, ...], person: int, saying: str) -> Shown:
    """What nobody said; there is nothing at its address."""
    first, last = FIRST_NAMES[person % 10], LAST_NAMES[person // 10 % 10]
    text = " ".join([saying.format(tag=f"#{tags[0]}"), *(f"#{tag}" for tag in tags[1:])])
    return Shown(f"https://example.org/demo{person}", text, f"{first} {last}", f"demo{person}")


def rate(tag: str, seed: int, at: float) -> float:
    """Posts per second that name the hashtag at this time (seconds since 1970).

    A hashtag has its own level (a third to three posts a second), swells over its own
    day-like period of some minutes, wavers, and in some stretches of four minutes bursts.
    """
    own = Random(f"{seed} {tag}")
    level, period, phase = own.uniform(0.35, 1.2), own.uniform(240, 600), own.uniform(0, math.tau)
    swell = 1 + 0.6 * math.sin(math.tau * at / period + phase)
    waver = 1 + 0.2 * math.sin(math.tau * at / 23 + 2 * phase)
    stretch = int(at // BURST_SECONDS)
    chance = Random(f"{seed} {tag} {stretch}")
    begin = stretch * BURST_SECONDS + chance.uniform(0, BURST_SECONDS / 2)
    bursts = chance.random() < 0.4 and at >= begin
    burst = 3 * math.exp((begin - at) / 25) if bursts else 0.0
    return level * (swell * waver + burst)


def poisson(mean: float, chance: Random) -> int:
    """How many events happen when `mean` are expected (Knuth's method, for small means)."""
    limit, product, events = math.exp(-mean), chance.random(), 0
    while product > limit:
        product *= chance.random()
        events += 1
    return events


SOURCE = Demo
