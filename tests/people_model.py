"""What the model says of people: the exact authors of each day and hashtag, as Redis has them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

from app.ingest.day_keys import DayKeys
from app.messages import DAY, MINUTE
from app.store import keys
from app.store.state import SEVERAL

DAY_MINUTES = DAY // MINUTE
Hashed = tuple[int, bytes]
"""The day that an author is of, and what that author is then."""


@dataclass
class Crowds:
    """Day and hashtag to authors; keys: those that every ingester here hashes by."""

    keys: DayKeys
    known: dict[tuple[int, str], frozenset[bytes]] = field(default_factory=dict)

    def copy(self) -> "Crowds":
        return replace(self, known=dict(self.known))

    def hashed(self, source: str, author: str, minute: int, now: int) -> Hashed | None:
        """An author of a post of this minute, in the minute in which it was cut; None where nobody
        counts any more whom that day had."""
        day = min(minute, now) // DAY_MINUTES
        key = self.keys.keys.get(day)
        if not (author and key and day >= now // DAY_MINUTES - 1):
            return None
        size = keys.AUTHOR_BYTES
        return day, blake2b(f"{source} {author}".encode(), key=key, digest_size=size).digest()

    def enter(self, tag: str, hashed: Hashed | None, now: int, prints: Mapping[int, str]) -> None:
        """A post is stored in this minute; prints: as `state` has them then."""
        today = now // DAY_MINUTES
        if hashed and today - 1 <= hashed[0] <= today and prints[hashed[0]] != SEVERAL:
            of = hashed[0], tag
            self.known[of] = self.known.get(of, frozenset()) | {hashed[1]}

    def forget(self, tag: str, now: int) -> None:
        """The hashtag is gone."""
        today = now // DAY_MINUTES
        for day in range(today - keys.PEOPLE_DAYS + 1, today + 1):
            self.known.pop((day, tag), None)

    async def expire(self, redis: Any, hour: int) -> None:
        """What Redis forgets by its clock."""
        for day in {day for day, _ in self.known if (day + keys.PEOPLE_DAYS) * 24 <= hour}:
            tags = [tag for of, tag in self.known if of == day]
            await redis.delete(keys.people(day), *(keys.crowd(day, tag) for tag in tags))
            for tag in tags:
                del self.known[day, tag]

    async def compare(self, redis: Any, frozen: int, tracked: tuple[str, ...]) -> None:
        """Each author is in Redis, and no other; what is kept for longer is how many there were.
        frozen: the last day of which that is kept."""
        fields, crowds, kept = await stored(redis)
        assert fields.keys() == self.known.keys()
        assert crowds <= self.known.keys()
        for of, authors in self.known.items():
            value = fields[of]
            if len(authors) <= keys.FEW:
                assert len(value) == len(authors) * keys.AUTHOR_BYTES
                assert {value[n : n + 8] for n in range(0, len(value), 8)} == authors
            else:
                assert keys.read_people(value) == await counted(redis, authors)
                assert await redis.pfcount(keys.crowd(*of)) == await counted(redis, authors)
        for of, number in kept.items():
            if of in self.known and of[0] <= frozen:
                assert number == keys.read_people(fields[of])
        assert {of for of in self.known if of[0] <= frozen and of[1] in tracked} <= kept.keys()

    def number(self, day: int, tag: str) -> int:
        return len(self.known.get((day, tag), ()))


async def counted(redis: Any, authors: frozenset[bytes]) -> int:
    """How many a HyperLogLog of these says that there are."""
    await redis.delete("these")
    await redis.pfadd("these", *authors)
    found: int = await redis.pfcount("these")
    await redis.delete("these")
    return found


async def stored(
    redis: Any,
) -> tuple[dict[tuple[int, str], bytes], set[tuple[int, str]], dict[tuple[int, str], int]]:
    """Of each day and hashtag the field, whether there is a HyperLogLog, and the number kept."""
    fields, crowds, kept = {}, set(), {}
    for key in [name.decode() for name in await redis.keys()]:
        _, kind, *parts = key.split(":")
        if kind == "people" and len(parts) == 1:
            found = await redis.hgetall(key)
            fields.update({(int(parts[0]), tag.decode()): value for tag, value in found.items()})
        elif kind == "people":
            crowds.add((int(parts[0]), parts[1]))
        elif kind == "day" and parts[1] == "people":
            found = await redis.hgetall(key)
            kept.update({(int(parts[0]), tag.decode()): int(n) for tag, n in found.items()})
    return fields, crowds, kept
