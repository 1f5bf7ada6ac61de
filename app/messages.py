"""What travels: a Post into the counter, a Tick to everybody else.

What is neither has a name of its own: a MinuteCount, where a network tells a number and no
posts, a Deletion, where a post is there no more, and a Checkpoint, where a source came further and
there is nothing to count.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec

MINUTE = 60_000
"""Milliseconds."""
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WORKING = frozenset({"live", "polling"})
"""The states of a source in which posts are counted."""

Whole = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
"""A whole number that every reader of JSON holds exactly."""
BySource = dict[str, Whole]
"""Source name to a number of posts."""
DayPeople = tuple[int, int]
"""A UTC day, numbered since 1970, and how many authors used a hashtag that day."""
UNKNOWN_PEOPLE: DayPeople = (0, 0)


class Shown(msgspec.Struct, frozen=True, gc=False):
    """What everybody may be shown of a post whose network has it in its stream alone."""

    url: str
    """Where it can be read."""
    text: str = ""
    """Plain text; empty where only the address may be told."""
    name: str = ""
    """What its author wants to be called."""
    handle: str = ""
    """What its network calls its author."""


class Post(msgspec.Struct, frozen=True, gc=False):
    """One post as its source hands it over.

    A struct, because there are many: a frozen dataclass takes ten times as long to make. It
    is in no cycle, so it is none of the garbage collector's business.
    """

    source: str
    """The network's name."""
    id: str
    """What tells the post from all others of its network."""
    written: int | str
    """When the network had it: milliseconds since 1970, or as the network wrote it (`time`)."""
    author: str
    """The network's id of who wrote it; empty where it does not say."""
    hashtags: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Key (hashtags.key) to spelling; one that is repeated in the post is here once."""
    cursor: str = ""
    """Where to read on after this post; empty where that is as before."""
    adult: bool = False
    """Whether its author or its network says that it is not for everybody."""
    domains: tuple[str, ...] = ()
    """The hosts that it links to, at most texts.MOST_DOMAINS."""
    shown: Shown | None = None
    """None where nothing of it may be shown, or its network is to be asked for that."""

    @property
    def time(self) -> int:
        """Milliseconds since 1970; 0 where the network does not say.

        Few ask for it, and reading a time takes a third as long as all the rest.
        """
        return self.written if isinstance(self.written, int) else milliseconds(self.written)


class MinuteCount(msgspec.Struct, frozen=True, gc=False):
    """So many posts with a hashtag in a minute that is over, from a network that tells numbers."""

    source: str
    hashtag: str
    """Its key."""
    minute: int
    """When the minute began, in milliseconds since 1970."""
    posts: int
    """0 says that the minute is known, and silent."""


class Checkpoint(msgspec.Struct, frozen=True, gc=False):
    """A source came so far, and there is nothing to count."""

    source: str
    cursor: str


class Deletion(msgspec.Struct, frozen=True, gc=False):
    """A post was deleted or changed, or all posts of somebody are to be seen no more."""

    source: str
    id: str
    """The post's. One that ends in "/" stands for all posts whose ids begin so."""
    cursor: str = ""
    """As in a Checkpoint; empty where the place is as before."""


Message = Post | MinuteCount | Checkpoint | Deletion
"""What a source hands over."""


class SourceState(msgspec.Struct, frozen=True):
    """What a source is doing, as every viewer is told it."""

    state: str
    """"live" or "polling" while posts are counted, else "connecting", "down", "budget" ..."""
    since: int = 0
    """When that began, in milliseconds since 1970."""
    reason: str = ""
    """A sentence about why; empty where there is nothing to say."""
    complete: bool = False
    """Whether all of its network is counted: every hashtag, not only those asked for."""
    unbroken_since: int = 0
    """Since when none of its posts is missing, in milliseconds since 1970: earlier than `since`
    where the source went back and read what it had missed."""

    @property
    def works(self) -> bool:
        return self.state in WORKING


class Tick(msgspec.Struct, frozen=True):
    """The hashtags that changed, with their absolute totals, at one moment.

    Totals and not only what was added: a late reader needs no sum, and a lost tick of a busy
    hashtag repairs itself with the next.
    """

    id: str
    """The entry's id in the Redis stream, "milliseconds-sequence"."""
    previous: str
    """The id of the tick before, by which a gap is seen; "" for the first of a log."""
    at: Whole
    """The closing time by Redis's clock, in milliseconds since 1970."""
    seconds: float
    """How long the tick was meant to last."""
    counts: dict[str, BySource] = {}
    """Hashtag key to the total of every source that ever counted it, for what changed."""
    added: dict[str, BySource] = {}
    """Hashtag key to how much of that is new, for the sources that added some: the total
    before is the difference."""
    late: dict[str, dict[str, list[tuple[Whole, Whole]]]] = {}
    """Hashtag key to source to (minute in milliseconds since 1970, posts): how much of what was
    added belongs to minutes that were over already."""
    names: dict[str, str] = {}
    """Hashtag key to the spelling that most posts of the last hour had, where it is another."""
    day: Whole = 0
    """The UTC day, numbered since 1970, that people are of; 0 where authors are not counted."""
    people: dict[str, Whole] = {}
    """Hashtag key to how many authors used it that day so far, for what changed."""
    gone: list[str] = []
    """Hashtags that are forgotten: their totals begin again at 0."""
    sources: dict[str, SourceState] = {}
    """Source name to what it is doing."""
    taken_back: bool = False
    """Whether posts were taken back since the tick before: which, is in `posts`."""

    @classmethod
    def from_json(cls, text: bytes | str, id: str = "") -> "Tick":
        """Read what the ingester wrote (app/ingest/writer.py); id where it is not in the text.

        Raises ValueError with a short reason when the text is no tick.
        """
        try:
            tick = read_tick(text)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise ValueError(f"not a tick: {error}") from error
        parse_id(id or tick.id)
        return msgspec.structs.replace(tick, id=id) if id else tick


class TickText(Tick, frozen=True, kw_only=True):
    """A tick as it stands in Redis; in the log its id is the entry's."""

    id: str = ""


read_tick = msgspec.json.Decoder(TickText).decode


def parse_id(text: Any) -> tuple[int, int]:
    """A stream id as numbers that compare in its order: "5-1" is (5, 1).

    Raises ValueError for anything else, whatever its type or length, as Redis does: both are
    of 64 bits.
    """
    if not isinstance(text, str) or len(text) > 41:
        raise ValueError("not a stream id")
    milliseconds, dash, sequence = text.partition("-")
    if not (dash and text.isascii() and milliseconds.isdigit() and sequence.isdigit()):
        raise ValueError("not a stream id")
    id = int(milliseconds), int(sequence)
    if max(id) >= 2**64:
        raise ValueError("not a stream id")
    return id


def milliseconds(written: Any) -> int:
    """An ISO 8601 time as milliseconds since 1970; 0 where it is none, or out of range."""
    try:
        return max(0, int(datetime.fromisoformat(written).timestamp() * 1000))
    except (TypeError, ValueError, OverflowError):
        return 0


def dumps(value: Any) -> str:
    """JSON as we send it: no spaces, hashtags in their own script."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def added_up(parts: Mapping[str, int]) -> int:
    """The total of all sources."""
    return sum(parts.values())


def is_after(id: str, other: str) -> bool:
    """Whether the stream id comes later; "" comes before all."""
    return bool(id) and (not other or parse_id(id) > parse_id(other))
