"""What tests read of Redis, past our own code for it."""

from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from app.store import keys
from app.store.store import Store

Of = tuple[str, str, int]
"""Source, hashtag, and the number of an hour or a day."""
Fields = dict[str, dict[Of, keys.Past]]
"""Kind of the past to what is in Redis of it."""


async def totals_by_source(store: Store) -> dict[str, dict[str, int]]:
    """Hashtag to source to total."""
    found: dict[str, dict[str, int]] = {}
    for key in await store.redis.keys(keys.totals("*").replace("{", "[{]").replace("}", "[}]")):
        source = key.decode().rpartition(":")[2]
        stored: Any = await store.redis.hgetall(key)
        for tag, value in stored.items():
            found.setdefault(tag.decode(), {})[source] = keys.read_posts(value)[0]
    return found


async def totals(store: Store) -> dict[str, int]:
    """Hashtag to total."""
    found = await totals_by_source(store)
    return {tag: sum(parts.values()) for tag, parts in found.items() if sum(parts.values())}


async def total(store: Store, tag: str) -> int:
    return (await totals(store)).get(tag, 0)


async def people(store: Store) -> dict[int, dict[str, int]]:
    """Day since 1970 to hashtag to people."""
    found: dict[int, dict[str, int]] = {}
    for key in await store.redis.keys("[{]hashtag[}]:people:*"):
        _, _, day, *crowd = key.decode().split(":")
        if not crowd:
            values: Any = await store.redis.hgetall(key)
            found[int(day)] = {tag.decode(): keys.read_people(of) for tag, of in values.items()}
    return found


async def minutes(store: Store, tag: str, kind: str = "hour") -> dict[int, int]:
    """Minute since 1970 to posts, of all sources, as the hours have them."""
    found: dict[int, int] = {}
    for key in await store.redis.keys(f"[{{]hashtag[}}]:{kind}:*"):
        number = int(key.decode().split(":")[2])
        value = await store.redis.hget(key, tag)
        for slot, posts in (keys.Past.read(value) if value else keys.Past()).slots.items():
            at = number * (60 if kind != "day" else 24) + slot
            found[at] = found.get(at, 0) + posts
    return found


def as_bytes(fields: Mapping[str, Any]) -> dict[bytes, bytes]:
    return {name.encode(): str(value).encode() for name, value in fields.items()}


async def numbered(redis: Any) -> dict[str, tuple[str, int, str]]:
    """The keys of hours and days: kind, number, source."""
    names = [key.decode() for key in await redis.keys()]
    parts = {name: name.split(":") for name in names}
    return {
        name: (of[1], int(of[2]), of[3])
        for name, of in parts.items()
        if of[1] in ("hour", "kept", "day")
    }


async def all_fields(redis: Any) -> Fields:
    """All of the past that is in Redis."""
    found: Fields = {"hour": {}, "kept": {}, "day": {}}
    for key, (kind, number, source) in (await numbered(redis)).items():
        for name, value in (await redis.hgetall(key)).items():
            if name and source != "people":
                found[kind][source, name.decode(), number] = keys.Past.read(value)
    return found


def slots(fields: dict[Of, keys.Past], of_one: int) -> Counter[Of]:
    """Source, hashtag and minute (or hour) to posts."""
    return Counter(
        {
            (source, tag, number * of_one + slot): posts
            for (source, tag, number), past in fields.items()
            for slot, posts in past.slots.items()
        }
    )


def check_chain(fields: dict[Of, keys.Past], totals: dict[tuple[str, str], int]) -> None:
    """What a field has at its end, less its posts, is what the one before it has; the last one
    has the total."""
    for source, tag in {of[:2] for of in fields}:
        mine = [past for of, past in sorted(fields.items()) if of[:2] == (source, tag)]
        for earlier, later in pairwise(mine):
            assert later.total - sum(later.slots.values()) == earlier.total
        assert mine[-1].total == totals.get((source, tag), 0)
