"""All that is kept, read in small steps while an ingester goes on counting.

Hours and days that are over are read first. Then come the totals, each hashtag's together with its
present hour and at one moment: so they agree, and two hashtags are some seconds apart at the most.
Where each source goes on, and what it would bring again, comes last: who goes on from there counts
nothing twice. Late posts that come meanwhile may be missing in an hour that was read before; where
no ingester runs, all is of one moment.
"""

import logging
import secrets
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager

from app import VERSION
from app.messages import DAY, HOUR, MINUTE
from app.store import keys
from app.store.connection import StoreLost
from app.store.lines import (
    LONGEST_CURSOR,
    MARKS_A_LINE,
    Day,
    End,
    ExportHead,
    ExportLine,
    Hour,
    KeptHour,
    Marks,
    PeopleLine,
    Sources,
    Spent,
    Total,
)
from app.store.source_log import read_states
from app.store.state import SEVERAL, State
from app.store.store import Store

log = logging.getLogger(__name__)

PAGE = 1000
"""Fields that are read at once, some 5 milliseconds."""
Kind = type[Day] | type[KeptHour] | type[Hour]


async def export(store: Store, page: int = PAGE) -> AsyncIterator[ExportLine]:
    """Every line, the first to the last. Raises StoreLost, also where nothing was ever counted."""
    begun = await store.load()
    if not begun.version:
        raise StoreLost("Redis: nothing was ever counted in it, so there is nothing to export.")
    yield ExportHead(keys.SCHEMA, VERSION, secrets.token_hex(8), begun.time)
    lines = 1
    for part in (over, present, beside):
        async for line in part(store, begun, page):
            lines += 1
            yield line
    yield await end(store, begun, lines)


async def over(store: Store, begun: State, page: int) -> AsyncIterator[ExportLine]:
    """The hours and days of the past, and the days' numbers of people."""
    hour = keys.hour_of(begun.time)
    today = hour // 24
    places: dict[Kind, range] = {
        Day: range(today - keys.DAY_DAYS - 1, today + 1),
        KeptHour: range(hour - keys.KEPT_HOURS - 1, hour + 1),
        Hour: range(hour - keys.HOUR_HOURS - 1, hour),
    }
    for source in begun.networks:
        for kind, numbers in places.items():
            found = {kind.where.key(number, source): number for number in numbers}
            async for key, tag, value in fields_of_all(store, found, page):
                with skipping(store, tag):
                    yield part_of(kind, source, tag, found[key], value)
    days = {keys.people_kept(number): number for number in places[Day]}
    async for key, tag, value in fields_of_all(store, days, page):
        with skipping(store, tag):
            yield PeopleLine(tag, days[key] * DAY, int(value))


async def present(store: Store, begun: State, page: int) -> AsyncIterator[ExportLine]:
    """Totals, each with what its hashtag has in the present hour, and in one that begins now."""
    first = keys.hour_of(begun.time)
    last = begun
    for source in begun.networks:
        # when it was counted comes first: a minute that is read later has posts, or is not there
        hour = keys.hour(first, source)
        for counted in (await store.read({hour: [""]}))[1][hour].values():
            with skipping(store, hour):
                yield part_of(Hour, source, "", first, counted)
        async for tags in pages_of(store, keys.totals(source), page):
            hours = {keys.hour(n, source): n for n in range(first, keys.hour_of(last.time) + 2)}
            wanted = dict.fromkeys((keys.totals(source), *hours), tags)
            last, values = await store.read(wanted)
            for tag, value in values.pop(keys.totals(source)).items():
                with skipping(store, tag):
                    posts, seen = keys.read_posts(value)
                    yield Total(source, tag, posts, seen * HOUR)
            for key, fields in values.items():
                for tag, value in fields.items():
                    with skipping(store, tag):
                        yield part_of(Hour, source, tag, hours[key], value)


async def beside(store: Store, begun: State, page: int) -> AsyncIterator[ExportLine]:
    """What the sources did, what they would bring again, and what was paid for."""
    for at, sources in read_states(await store.states_since(0)):
        yield Sources(at, sources)
    for source in begun.networks:
        for number in (begun.time // DAY - 1, begun.time // DAY):
            found = fields_of(store, keys.spent(source, number), page)
            posts = [int(n) async for _, n in found if n.isdigit()]
            if posts:
                yield Spent(source, number * DAY, sum(posts))
    for source, newest in (await store.load()).seen.items():
        for minute in range(newest - keys.SEEN_MINUTES, newest + 1):
            [members] = await store.members([keys.seen(source, minute)])
            hashes = sorted(each.hex() for each in members)
            for n in range(0, len(hashes), MARKS_A_LINE):
                yield Marks(source, minute * MINUTE, hashes[n : n + MARKS_A_LINE])


async def end(store: Store, begun: State, lines: int) -> End:
    """Where all goes on. Of a source that began to count meanwhile there is nothing."""
    state = await store.load()
    states = read_states([(0, {b"sources": state.states.encode()})])
    return End(
        lines=lines,
        networks=list(begun.networks),
        moved=begun.moved * HOUR,
        frozen=begun.frozen * DAY,
        cursors=cursors_that_fit(state, begun.networks),
        sources=states[0][1] if states else {},
        people=[day * DAY for day in unknown_days(begun.people, begun.frozen)],
    )


def cursors_that_fit(state: State, networks: Collection[str]) -> dict[str, str]:
    """Without its own, a source begins with the present after an import."""
    found = {}
    for name in state.cursors.keys() & networks:
        cursor = state.cursors[name]
        if len(cursor) <= LONGEST_CURSOR:
            found[name] = cursor
        else:
            log.warning("where %s goes on is not exported: %d characters", name, len(cursor))
    return found


def unknown_days(people: Mapping[int, str], frozen: int) -> list[int]:
    """Days whose authors are known by their hashes alone, or not at all."""
    return [day for day, found in people.items() if day > frozen or found == SEVERAL]


async def fields_of_all(
    store: Store, names: Iterable[str], page: int
) -> AsyncIterator[tuple[str, str, bytes]]:
    """The fields of all of these hashes that are there, each with the hash's key."""
    names = list(names)
    for key, length in zip(names, await store.lengths(names), strict=True):
        if length:
            async for tag, value in fields_of(store, key, page):
                yield key, tag, value


async def fields_of(store: Store, key: str, page: int) -> AsyncIterator[tuple[str, bytes]]:
    """All fields of a hash, a page at a time; one may come twice."""
    cursor = -1
    while cursor:
        cursor, found = await store.scan(key, max(cursor, 0), page)
        for name, value in found.items():
            with skipping(store, key):
                yield name.decode(), value


async def pages_of(store: Store, key: str, page: int) -> AsyncIterator[list[str]]:
    """The names of its fields, some at a time."""
    names: list[str] = []
    async for name, _ in fields_of(store, key, page):
        names.append(name)
        if len(names) >= page:
            yield names
            names = []
    if names:
        yield names


def part_of(kind: Kind, source: str, tag: str, number: int, value: bytes) -> ExportLine:
    """Raises ValueError for a value that is none of ours."""
    past = keys.Past.read(value)
    return kind(source, tag, number * kind.lasts, past.total, sorted(past.slots.items()))


@contextmanager
def skipping(store: Store, what: str) -> Iterator[None]:
    """Pass over what is none of ours."""
    try:
        yield
    except ValueError as error:
        store.skip(f"{what[:100]!r} is not exported: {error}")
