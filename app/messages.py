"""The two things that travel: a Post into the counter, a Tick to everybody else."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec


class Post(msgspec.Struct, frozen=True, gc=False):
    """One post as its source hands it over.

    A struct, because there are many: a frozen dataclass takes ten times as long to make. It
    is in no cycle, so it is none of the garbage collector's business.

    written: when, in milliseconds since 1970 or as the network wrote it; `at` reads it.
    hashtags: key (see hashtags.key) to spelling; a hashtag repeated in the post is here once.
    cursor: where the source would start reading again to get what follows this post;
        empty for a network that cannot go back.
    posts: how many there were, where a network tells numbers and no single posts.
    past: whether they belong to the minute of `at`, which is over, and not to the present.
    """

    source: str
    id: str
    written: int | str
    author: str
    hashtags: Mapping[str, str] = msgspec.field(default_factory=dict)
    cursor: str = ""
    posts: int = 1
    past: bool = False

    @property
    def at(self) -> int:
        """Milliseconds since 1970; 0 where the network does not say.

        Few ask for it, and reading a time takes a third as long as all the rest.
        """
        return self.written if isinstance(self.written, int) else milliseconds(self.written)


Past = Mapping[str, Mapping[str, Sequence[tuple[int, int]]]]
"""Hashtag key to source to (milliseconds since 1970, posts from then to the minute's end)."""


@dataclass(frozen=True, slots=True)
class Tick:
    """The absolute totals of every tracked hashtag at one moment.

    Totals, not differences: a lost tick repairs itself with the next one.

    id: the entry's id in the Redis stream, "milliseconds-sequence".
    previous: the id of the tick before, by which a gap is seen; "" for the first.
    at: the tick's closing time, milliseconds since 1970.
    seconds: how long the tick was meant to last.
    counts: hashtag key to total; by_source: the same split, {"science": {"x": 3}}.
    names: hashtag key to the spelling that most posts had.
    sources: source name to its state: "live", "connecting" or "down".
    details: source name to {"since": milliseconds since 1970, "reason": text}.
    past: which of the posts that this tick is the first to count belong to earlier minutes;
        empty for nearly all ticks.
    """

    id: str
    previous: str
    at: int
    seconds: float
    counts: Mapping[str, int]
    by_source: Mapping[str, Mapping[str, int]]
    names: Mapping[str, str]
    sources: Mapping[str, str]
    details: Mapping[str, Mapping[str, Any]]
    past: Past = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash(self.id)

    @classmethod
    def from_json(cls, text: bytes | str, id: str = "") -> "Tick":
        """Read what the commit script wrote (app/store.py); id where it is not in the text.

        Raises ValueError with a short reason when the text is no tick.
        """
        try:
            # a name that is no text, put there by a stranger, is not worth the tick
            raw = json.loads(text.decode(errors="replace") if isinstance(text, bytes) else text)
            tick = cls(
                id=id or checked_id(raw["id"]),
                previous=str(raw["previous"]),
                at=int(raw["at"]),
                seconds=float(raw["tick"]),
                counts=whole_numbers(raw["counts"]),
                by_source={tag: whole_numbers(part) for tag, part in raw["by_source"].items()},
                names={tag: str(spelling) for tag, spelling in raw["names"].items()},
                sources={str(name): str(state) for name, state in raw["sources"].items()},
                details={str(name): dict(about) for name, about in raw["details"].items()},
                past=past_numbers(raw.get("past", {})),
            )
        except (KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
            raise ValueError(f"not a tick: {type(error).__name__} {error}") from error
        return tick


def checked_id(text: Any) -> str:
    """The text, if it is a Redis stream id; raises ValueError otherwise."""
    parse_id(text)
    return str(text)


def parse_id(text: Any) -> tuple[int, int]:
    """A stream id as numbers that compare in its order: "5-1" is (5, 1).

    Raises ValueError for anything else, whatever its type or length.
    """
    if not isinstance(text, str) or len(text) > 41:
        raise ValueError("not a stream id")
    milliseconds, dash, sequence = text.partition("-")
    if not (dash and text.isascii() and milliseconds.isdigit() and sequence.isdigit()):
        raise ValueError("not a stream id")
    return int(milliseconds), int(sequence)


def whole_numbers(raw: Any) -> dict[str, int]:
    """A JSON object of whole numbers; raises ValueError if anything else is in it."""
    numbers = dict(raw)
    if not all(type(n) is int and n >= 0 for n in numbers.values()):
        raise ValueError("not a tick: a count is not a whole number")
    return numbers


def past_numbers(raw: Any) -> Past:
    """The posts of the past, in order of time; raises ValueError for anything else."""
    past = {
        tag: {source: sorted((at, posts) for at, posts in found) for source, found in parts.items()}
        for tag, parts in raw.items()
    }
    for at_and_posts in (
        pair for parts in past.values() for found in parts.values() for pair in found
    ):
        if not all(type(n) is int and n >= 0 for n in at_and_posts):
            raise ValueError("not a tick: a count of the past is not a whole number")
    return past


def milliseconds(written: Any) -> int:
    """An ISO 8601 time as milliseconds since 1970; 0 where it is none, or out of range."""
    try:
        return int(datetime.fromisoformat(written).timestamp() * 1000)
    except (TypeError, ValueError, OverflowError):
        return 0


def dumps(value: Any) -> str:
    """JSON as we send it: no spaces, hashtags in their own script."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
