"""What tests read of Redis, past our own code for it."""

from collections.abc import Mapping
from typing import Any

from app.store import keys
from app.store.store import Store


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
