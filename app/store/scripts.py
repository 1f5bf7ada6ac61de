"""What Redis's scripts are given, and what they answer: MessagePack and lists; pure."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

MOST_TEXTS = 4000
"""That the script takes at once, names and values in turns: Lua's stack has room for 8,000."""
HEADS = [bytes((0xA0 | size,) if size < 32 else (0xD9, size)) for size in range(256)]
"""What stands before a text of so many bytes, in MessagePack."""


def in_turns(names: Sequence[Any], values: Sequence[Any]) -> list[Any]:
    """A name, its value, the next name, its value ...; where there are only names, or only values,
    those. Where values are bytes, names become bytes: packed() takes one kind at a time."""
    if not (names and values):
        return [*names, *values]
    return alternating(map(str.encode, names) if isinstance(values[0], bytes) else names, values)


def alternating(first: Iterable[Any], second: Sequence[Any]) -> list[Any]:
    found = [None] * (2 * len(second))
    found[::2], found[1::2] = first, second
    return found


def portions(texts: Sequence[Any]) -> list[Sequence[Any]]:
    """As many texts as the script takes at once; of none, one portion."""
    starts = range(0, max(1, len(texts)), MOST_TEXTS)
    return [texts[start : start + MOST_TEXTS] for start in starts]


def packed(texts: Sequence[str] | Sequence[bytes]) -> bytes:
    """Texts as MessagePack, one after the other. Bytes are written as if they were texts: Redis
    does not know MessagePack's `bin`, which msgspec would write."""
    if not texts or isinstance(texts[0], str):
        listed = msgspec.msgpack.encode(texts, enc_hook=str)  # a Typed hashtag is a text, too
        return listed[1 if len(texts) < 16 else 3 :]  # without what says how many follow
    sizes = map(len, texts)
    heads = [HEADS[n] if n < 256 else b"\xdb" + n.to_bytes(4, "big") for n in sizes]
    return b"".join(alternating(heads, texts))


def pairs(told: Any) -> Any:
    """A hash as a script tells it, names and values in turns; an error stays one."""
    return dict(zip(told[::2], told[1::2], strict=True)) if isinstance(told, list) else told


def entries(told: Any) -> Any:
    """Entries of a stream likewise, as redis-py has them."""
    return [(id, pairs(of)) for id, of in told] if isinstance(told, list) else told
