"""The lines of an export, and how each is written and read; pure.

An export is JSON, one object a line, each with its `kind`: `export` comes first, `end` last. All
times are milliseconds since 1970; an hour or a day is named by its beginning (UTC).
"""

from collections.abc import Callable
from typing import Annotated, ClassVar, NamedTuple

import msgspec

from app.messages import DAY, HOUR, MINUTE, SourceState
from app.store import keys

LONGEST = 2**20
"""Bytes of a line: a minute's marks are the longest, and have a tenth of that."""
MARKS_A_LINE = 1000
LONGEST_CURSOR = 100_000
"""Characters. Mastodon's has some 600 for each tracked hashtag; all of them stand in one line."""

Number = Annotated[int, msgspec.Meta(ge=0, lt=10**15)]
"""Posts, as many as Redis is given digits for (keys.read_posts), or a time."""
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_-]{1,40}\Z")]
"""Of a source."""
Tag = Annotated[str, msgspec.Meta(max_length=2000)]
"""The key of a hashtag: of 100 code points as written, folding makes at most 18 times as many."""
Used = Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]
"""The same where the empty one stands for nothing."""
SlotPosts = tuple[Annotated[int, msgspec.Meta(ge=0)], Annotated[int, msgspec.Meta(ge=1, le=10**8)]]
"""A minute of an hour, or an hour of a day, and its posts."""
Hash = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{2}){1,32}\Z")]


class NotAnExport(Exception):
    """What is to be imported, or a line of it, is no export; the message is one sentence, for the
    owner."""


class ExportLine(msgspec.Struct, frozen=True, gc=False, tag_field="kind"):
    """One line of an export."""


class ExportHead(ExportLine, frozen=True, tag="export"):
    """The first line."""

    schema: int
    """Of the data (keys.SCHEMA)."""
    version: str
    """Of the program that wrote it."""
    id: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{8,40}\Z")]
    """Nobody else's: by it a cut import is known again."""
    at: Number
    """When it began, by Redis's clock."""


class Total(ExportLine, frozen=True, tag="total"):
    """A hashtag in one source."""

    source: Name
    tag: Used
    posts: Number
    """Since it was first seen."""
    hour: Number
    """In which it was last seen."""


class Where(NamedTuple):
    """Where the hours or days of a kind of line are in Redis."""

    key: Callable[[int, str], str]
    """Of an hour or a day, numbered since 1970, and a source."""
    ends: Callable[[int], int]
    """When that is forgotten, in seconds since 1970."""


class PastLine(ExportLine, frozen=True):
    """A hashtag in one source in an hour or a day; of the one with the empty name, the posts are
    1 in each part in which the source was being counted."""

    where: ClassVar[Where]
    """Where it is in Redis."""
    lasts: ClassVar[int] = HOUR
    """Milliseconds."""
    slots: ClassVar[int] = 60
    """Into so many parts it is divided."""

    source: Name
    """The network."""
    tag: Tag
    """The hashtag's key."""
    begin: Number
    """Of the hour or day."""
    total: Number
    """The running total at its end."""
    posts: list[SlotPosts]
    """In order; none of silence."""

    def __post_init__(self) -> None:
        numbers = [slot for slot, _ in self.posts]
        if self.begin % self.lasts or any(n >= self.slots for n in numbers):
            raise ValueError("no such time")
        if len(set(numbers)) < len(numbers):
            raise ValueError("the same time twice")


class Hour(PastLine, frozen=True, tag="hour"):
    """The minutes of an hour, as every hashtag has them for 48 hours."""

    where = Where(keys.hour, keys.end_of_hour)


class KeptHour(PastLine, frozen=True, tag="kept"):
    """The same of an hour's most used hashtags, which have them for 8 days."""

    where = Where(keys.kept, keys.end_of_kept)


class Day(PastLine, frozen=True, tag="day"):
    """The hours of a day of those, which have them for 400 days."""

    where = Where(keys.day, keys.end_of_day)
    lasts, slots = DAY, 24


class PeopleLine(ExportLine, frozen=True, tag="people"):
    """How many authors used a hashtag on a day that is over."""

    tag: Used
    begin: Number
    people: Number


class Spent(ExportLine, frozen=True, tag="spent"):
    """How many posts were read that day of a network that charges for each."""

    source: Name
    begin: Number
    posts: Number


class Sources(ExportLine, frozen=True, tag="sources"):
    """What the sources did from a moment on."""

    at: Number
    sources: dict[Name, SourceState]


class Marks(ExportLine, frozen=True, tag="marks"):
    """Hashes of what was counted in a minute, of a source that may bring it again."""

    source: Name
    minute: Number
    hashes: Annotated[list[Hash], msgspec.Meta(max_length=MARKS_A_LINE)]

    def __post_init__(self) -> None:
        if self.minute % MINUTE:
            raise ValueError("no such time")


class End(ExportLine, frozen=True, tag="end"):
    """The last line: without it an export is not whole."""

    lines: int
    """How many there are before this one."""
    networks: list[Name]
    """Every source that ever counted."""
    moved: Number
    """The newest hour whose most used hashtags are kept longer."""
    frozen: Number
    """The newest day whose people are numbers."""
    cursors: dict[Name, Annotated[str, msgspec.Meta(max_length=LONGEST_CURSOR)]]
    """Where each source goes on."""
    sources: dict[Name, SourceState]
    """What each did last."""
    people: list[Number]
    """The days whose authors were counted, and are not in the export."""


AnyLine = ExportHead | Total | Hour | KeptHour | Day | PeopleLine | Spent | Sources | Marks | End

decode_head = msgspec.json.Decoder(ExportHead).decode
decode_line: Callable[[bytes], AnyLine] = msgspec.json.Decoder(AnyLine).decode


def write_line(line: ExportLine) -> bytes:
    return msgspec.json.encode(line, enc_hook=str) + b"\n"  # a Typed hashtag is a text, too


def read_head(line: bytes, schema: int) -> ExportHead:
    """The first line. Raises NotAnExport for what is none, and for data of another schema."""
    try:
        head = decode_head(line)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise NotAnExport("This is no export of hashtag pulse: its first line is none.") from error
    if head.schema != schema:
        advice = "update this program" if head.schema > schema else "use the one that wrote it"
        has = f"The export has data of schema {head.schema}"
        raise NotAnExport(f"{has}, and this program knows {schema}: {advice}.")
    return head


def read_line(line: bytes, number: int) -> AnyLine:
    """A later line; number: which one it is. Raises NotAnExport."""
    try:
        return decode_line(line)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        place = f" ({error})" if isinstance(error, msgspec.ValidationError) else ""
        raise NotAnExport(f"Line {number} is none of an export{place}.") from error
