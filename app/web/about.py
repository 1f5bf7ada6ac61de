"""All that is known of one hashtag: its totals, since when it is used, what is usual, who used it
in the last ten minutes, and what came with it."""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from app.messages import HOUR, MINUTE, added_up
from app.store import keys
from app.store.store import Store
from app.store.usual import BINS_AN_HOUR, FIELDS_AT_ONCE, read_hours, skipping, usual_at
from app.web.feed import Feed

log = logging.getLogger(__name__)

OLD = 4 * keys.LATELY_SECONDS * 1000
"""Milliseconds: what the ingester said so long ago of the last ten minutes is not true any more."""


class With(msgspec.Struct, frozen=True):
    """A hashtag that came with another; app/ingest/co_occurrence.py says how that is counted."""

    tag: str
    name: str
    people: int
    """Who used both."""
    lift: float
    """How many times more they are than by chance."""


class TenMinutes(msgspec.Struct, frozen=True):
    """The last ten minutes of a hashtag that at least five people used; where its fields are not
    described, app/ingest/board.py does that."""

    at: int
    """When that was, in milliseconds since 1970."""
    posts: int
    """Of the ten minutes."""
    people: int
    """Who wrote them."""
    unusual: float | None
    """How unlikely so many people are: 6 is one in a million; None where nobody knows."""
    busiest_author: float
    """The part of the posts that one author wrote."""
    busiest_link: float
    """The part of them that link to one host."""
    others: list[With] = msgspec.field(name="with")
    """The hashtags that came with it, those of the most people first."""


read_lately = msgspec.json.Decoder(TenMinutes).decode


async def about(feed: Feed, store: Store, tag: str) -> dict[str, Any]:
    """The answer to /api/hashtags/TAG. Raises StoreLost."""
    fanout = await feed.fanout([tag], by_source=True)
    [sources], [people] = fanout.totals().values(), fanout.people().values()
    assert isinstance(sources, dict)
    now, networks = feed.time(), await feed.networks(store)
    present, hour = keys.hour_of(now), keys.hour_of(now - MINUTE)
    hours = (await read_hours(store, [tag], [hour], present, networks))[tag]
    usual = usual_at(hour, hours.values())
    lately = await lately_of(store, tag, now)
    return {
        "tag": tag,
        "name": feed.name_of(tag),
        "at": now,
        "total": added_up(sources),
        "sources": sources,
        "people": people,
        "first_seen": await first_seen(store, tag, [n for n in networks if sources.get(n)], now),
        "usual": None if usual is None else round(usual / BINS_AN_HOUR, 1),
        "unusual": lately.unusual if lately else None,
        "lately": {"posts": lately.posts, "people": lately.people} if lately else None,
        "with": lately.others if lately else None,
    }


async def lately_of(store: Store, tag: str, now: int) -> TenMinutes | None:
    """What the ingester wrote a moment ago; None where fewer than five people used it."""
    _, values = await store.read({keys.LATELY: [tag]})
    text = values[keys.LATELY].get(tag)
    try:
        found = read_lately(text) if text else None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        store.skip(f"{tag!r} in the Redis key {keys.LATELY}: {error}")
        return None
    return found if found and now - found.at <= OLD else None


async def first_seen(store: Store, tag: str, networks: Sequence[str], now: int) -> int | None:
    """When its first post came that is counted, in milliseconds since 1970: to the minute in the
    last two days, then to the hour; None where there was none, or what was before is not kept."""
    found = []
    for network in networks:
        at = await first_of(store, tag, network, now)
        if at is None:
            return None
        found.append(at)
    return min(found, default=None)


async def first_of(store: Store, tag: str, network: str, now: int) -> int | None:
    """The same of one network. The field in which the first post is has no posts before it: its
    running total is what its own slots come to."""
    present = keys.hour_of(now)
    hours = {keys.hour(n, network): n * HOUR for n in span(present, keys.HOUR_HOURS)}
    days = {keys.day(n, network): n * 24 * HOUR for n in span(present // 24, keys.DAY_DAYS)}
    for places, slot in ((hours, MINUTE), (days, HOUR)):
        names = list(places)
        for n in range(0, len(names), FIELDS_AT_ONCE):
            _, values = await store.read({key: [tag] for key in names[n : n + FIELDS_AT_ONCE]})
            for key, fields in values.items():
                with skipping(store, key, tag):
                    past = keys.Past.read(fields[tag]) if tag in fields else keys.Past()
                    if past.slots and past.total == sum(past.slots.values()):
                        return places[key] + min(past.slots) * slot
    return None


def span(last: int, number: int) -> Iterable[int]:
    """So many up to the last, the first one first."""
    return range(last - number, last + 1)
