"""Every key in Redis: its name, its type, its life, and how its values are packed; pure.

All keys carry the hash tag {hashtag}, so that they live in one slot of a cluster.

    state                    hash    for ever   schema, version, commit, recent, tick, networks,
                                                moved, people, frozen, sources, cursor:<source>,
                                                seen:<source>, importing
    totals:<source>          hash    a hashtag: 48 h after its last post in any source, a tracked
                                     one for ever: "posts hour", since it was first seen
    hour:<n>:<source>        hash    48 h       every hashtag: its minutes with posts (Past)
    kept:<n>:<source>        hash    8 days     the same of the tracked and the 1,000 most used
    day:<n>:<source>         hash    400 days   of the same: its hours with posts (Past)
    seen:<source>:<minute>   set     48 h       what was counted, as 64-bit hashes, of sources that
                                                go back; taken away 15 minutes later
    log                      stream  15 min     the ticks, field "tick"
    ticks                    channel            the same ticks as they happen, with their "id"
    lease                    string  seconds    which ingester is the writer
    people:<day>             hash    4 days     every hashtag: who used it that day, of all sources
    people:<day>:<hashtag>   HLL     4 days     the same, of one that more than 100 used
    day:<n>:people           hash    400 days   how many that were, of the hashtags that a day keeps
    states                   stream  ~10,000    what the sources were doing, an entry a change
    popular                  string  5 min      the most used of the last day, as JSON
    board                    string  5 min      what is rising and most used just now, as JSON
    posts                    stream  10 min     where the posts with hashtags are (posts.py)
    lookups                  string  seconds    while it is there, no posts are looked up
    lately                   hash    5 min      hashtag: its last ten minutes, and what came with it
    alerts                   string  for ever   which hashtags are unusual, and the last 100 alerts
    spent:<source> <day>     hash    3 days     reader: posts read from a network that charges

<n> counts the hours, days or minutes since 1970 (UTC). In `hour`, `kept` and `day` the field
with the empty name has the slots in which the source was being counted: silence and "not
counted" are two things. A tracked hashtag has a field in every hour that was counted, posts or
not, so that a missing one says that it was not kept.

People are authors by a keyed hash of 8 bytes, whose key is another one each day and is not in
Redis. Up to 100 of a hashtag stand in its field of `people:<day>` one after the other, so they are
exact. Where there are more, a HyperLogLog has them (standard error 0.81 %), and the field has only
what it counts, as a text: one key for each of 200,000 hashtags a day, most of one author, would
take twice the memory, and several commands for each in every commit.
"""

import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache

from app.messages import DAY, HOUR

SCHEMA = 2
PREFIX = "{hashtag}:"
STATE, LOG, TICKS = f"{PREFIX}state", f"{PREFIX}log", f"{PREFIX}ticks"
LEASE, STATES, SPENT = f"{PREFIX}lease", f"{PREFIX}states", f"{PREFIX}spent"
POPULAR, BOARD = f"{PREFIX}popular", f"{PREFIX}board"
POSTS, LOOKUPS = f"{PREFIX}posts", f"{PREFIX}lookups"
LATELY, ALERTS = f"{PREFIX}lately", f"{PREFIX}alerts"

LOG_SECONDS = 900
"""How far back the log of ticks reaches."""
LOG_ENTRIES = 9001
"""At most so many ticks are kept, which 15 minutes of the shortest ticks come to: a clock that
stands still must not make the log grow."""
LOG_BYTES = 16 * 2**20
"""Of ticks: in a flood of hashtags the oldest go before their time."""
HOUR_HOURS = 48
"""For so many hours every hashtag has its minutes, and a hashtag without a post is known."""
KEPT_HOURS = 8 * 24
DAY_DAYS = 400
KEPT_MOST = 1000
"""Of an hour, so many of its most used hashtags are kept longer."""
BOARD_MOST = 20
"""Hashtags in each list of the board, those not counted that are mostly of one."""
MOST_OF_ONE = 0.5
"""A hashtag is mostly of one where more than this part of its posts is by one author, or links to
one host: a bot's, as it seems."""
SEEN_MINUTES = 15
SEEN_LIFE = 48 * 3600
"""Seconds; for what an ingester that never came back has left."""
POPULAR_SECONDS = 300
BOARD_SECONDS = 300
LATELY_SECONDS = 60.0
"""How often `lately` is written anew."""
POSTS_SECONDS = 600
PEOPLE_DAYS = 4
FEW = 100
"""So many authors of a hashtag and a day are known each."""
AUTHOR_BYTES = 8
"""64 bits: of a million authors two are one in 37 million tries."""
POPULAR_MOST = 5000
"""Hashtags that completion knows."""


def totals(source: str) -> str:
    return f"{PREFIX}totals:{source}"


def hour(number: int, source: str) -> str:
    return f"{PREFIX}hour:{number}:{source}"


def kept(number: int, source: str) -> str:
    return f"{PREFIX}kept:{number}:{source}"


def day(number: int, source: str) -> str:
    return f"{PREFIX}day:{number}:{source}"


def seen(source: str, minute: int) -> str:
    return f"{PREFIX}seen:{source}:{minute}"


def spent(source: str, number: int) -> str:
    """The account of a day, as app/sources/x/budget.py has it."""
    return f"{SPENT}:{source} {datetime.fromtimestamp(number * DAY // 1000, UTC):%Y-%m-%d}"


def people(number: int) -> str:
    return f"{PREFIX}people:{number}"


def crowd(number: int, tag: str) -> str:
    return f"{PREFIX}people:{number}:{tag}"


def people_kept(number: int) -> str:
    return f"{PREFIX}day:{number}:people"


def end_of_people(number: int) -> int:
    return (number + PEOPLE_DAYS) * DAY // 1000


def end_of_hour(number: int) -> int:
    """When the hour's key is forgotten, in seconds since 1970."""
    return (number + 1 + HOUR_HOURS) * HOUR // 1000


def end_of_kept(number: int) -> int:
    return (number + 1 + KEPT_HOURS) * HOUR // 1000


def end_of_day(number: int) -> int:
    return (number + 1 + DAY_DAYS) * DAY // 1000


ENTRY = struct.Struct(">BH")
pack_entry = lru_cache(4096)(ENTRY.pack)  # in a minute most hashtags have one post, or a few
MOST = 0xFFFF
"""Posts in one entry; more of a slot are in further ones."""


@dataclass
class Past:
    """What a hashtag's field of an hour or a day holds, or the field with the empty name.

    Packed as the total (7 bits a byte, the highest bit set on all but the last), then three
    bytes a slot: its number and how many posts, in order.
    """

    total: int = 0
    """The running total at the end of the hour or day, of its source."""
    slots: dict[int, int] = field(default_factory=dict)
    """Minute of the hour, or hour of the day, to posts; none for silence. Of the field with
    the empty name: the slots that were counted, to 1."""

    def pack(self) -> bytes:
        packed = bytearray(pack_total(self.total))
        for slot, posts in sorted(self.slots.items()):
            for more in range(posts, 0, -MOST):
                packed += ENTRY.pack(slot, min(more, MOST))
        return bytes(packed)

    @classmethod
    def read(cls, packed: bytes) -> "Past":
        """Raises ValueError for what is not packed so."""
        past = cls(read_total(packed)[0])
        for slot, posts in read_slots(packed):
            past.slots[slot] = past.slots.get(slot, 0) + posts
        return past


def read_slots(packed: bytes) -> Iterator[tuple[int, int]]:
    """Slots and posts of a field, as they are packed: one of very many posts comes several times.
    Raises ValueError, before the first, for what is not packed so."""
    begin = read_total(packed)[1]
    if (len(packed) - begin) % ENTRY.size:
        raise ValueError("not the minutes of an hour or the hours of a day")
    if max(packed[begin :: ENTRY.size], default=0) >= 60:
        raise ValueError("no such minute")
    return ENTRY.iter_unpack(packed[begin:])


def with_posts(packed: bytes, slot: int, posts: int, total: int) -> bytes:
    """The field with so many posts more in a slot, and this total.

    Nearly always the slot is the last one, or comes after it, so that the others need not be
    read. Raises ValueError for what is not packed so.
    """
    begin = 1 if packed and packed[0] < 0x80 else read_total(packed)[1]
    size = len(packed) - begin
    if size % ENTRY.size:
        raise ValueError("not the minutes of an hour or the hours of a day")
    last = packed[-ENTRY.size] if size else -1
    if last == slot and (here := posts + (packed[-2] << 8 | packed[-1])) <= MOST:
        return pack_total(total) + packed[begin : -ENTRY.size] + pack_entry(slot, here)
    if last >= slot or posts > MOST:
        past = Past.read(packed)
        past.total, past.slots[slot] = total, past.slots.get(slot, 0) + posts
        return past.pack()
    return pack_total(total) + packed[begin:] + (pack_entry(slot, posts) if posts else b"")


def first_posts(slot: int, posts: int, total: int) -> bytes:
    """The field of a hashtag that has none yet."""
    if 0 < posts <= MOST:
        return pack_total(total) + pack_entry(slot, posts)
    return Past(total, {slot: posts}).pack()


def posts_in(packed: bytes) -> int:
    """All posts of an hour's or a day's field, without reading their slots. Raises ValueError for
    what is not packed so."""
    begin = read_total(packed)[1]
    if (len(packed) - begin) % ENTRY.size:
        raise ValueError("not the minutes of an hour or the hours of a day")
    return (sum(packed[begin + 1 :: ENTRY.size]) << 8) + sum(packed[begin + 2 :: ENTRY.size])


@lru_cache(4096)  # most totals are small
def pack_total(total: int) -> bytes:
    packed = bytearray()
    while total > 0x7F:
        packed.append(total & 0x7F | 0x80)
        total >>= 7
    packed.append(total)
    return bytes(packed)


def read_total(packed: bytes) -> tuple[int, int]:
    """The total, and where it ends. Raises ValueError where there is none."""
    total = 0
    for place, byte in enumerate(packed[:9]):
        total |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return total, place + 1
    raise ValueError("no total")


def read_posts(value: bytes) -> tuple[int, int]:
    """Of a field of `totals`: posts, and the hour last seen. Raises ValueError for another.

    Up to 15 digits: every reader of JSON can hold that.
    """
    posts, space, last = value.partition(b" ")
    if not (space and posts.isdigit() and last.isdigit() and len(posts) <= 15 and len(last) <= 9):
        raise ValueError("not a total")
    return int(posts), int(last)


def read_all_posts(values: Collection[bytes]) -> list[int]:
    """The posts of many at once, in half the time. Raises ValueError where one of them is another,
    or may be: then they are to be read one by one."""
    text = b"\n".join([*values, b""])
    if text.translate(None, b"0123456789") != b" \n" * len(values):
        raise ValueError("not all are totals")
    numbers = text.split()
    posts, last = list(map(int, numbers[::2])), set(numbers[1::2])
    if len(numbers) != 2 * len(values) or max(map(len, last), default=0) > 9:
        raise ValueError("not all are totals")
    if max(posts, default=0) >= 10**9:
        raise ValueError("one by one")
    return posts


def read_people(value: bytes) -> int:
    """How many authors a field of `people` has. Raises ValueError for another."""
    if len(value) % AUTHOR_BYTES == 0 and len(value) <= FEW * AUTHOR_BYTES:
        return len(value) // AUTHOR_BYTES
    if not is_crowd(value):
        raise ValueError("not people")
    return int(value)


def is_crowd(value: bytes) -> bool:
    """Whether the field has a number only (`commit.lua` writes it), of what a HyperLogLog has."""
    return len(value) == 11 and value[:1] == b"+" and value[1:].isdigit()


@lru_cache(4096)  # most totals are small
def written_posts(posts: int, last: int) -> str:
    return f"{posts} {last}"


def hour_of(at: int) -> int:
    """The number of the hour of a time in milliseconds."""
    return at // HOUR
