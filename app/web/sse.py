"""A server-sent event as bytes; pure.

The format is the HTML standard's: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import re
from collections.abc import Iterable, Iterator

LINE_END = re.compile(r"\r\n|\r|\n")
PIECE = 16 * 1024
"""Bytes of a chunk at most. Each holds memory once more while it is on its way through a server."""
Bytes = bytes | bytearray
LAST_CHUNK = b"0\r\n\r\n"
"""Ends a chunked body."""


def event(data: str, name: str = "", id: str = "") -> bytes:
    """One event. Line ends in the data become several `data:` lines, as the standard wants.

    The id stands last: some clients take it when they read its line, and would lose an event
    that is cut after it.

    Raises ValueError for a name or an id with a line end (or an id with NUL, which a
    browser would ignore): they would end the field and let a stranger write events.
    """
    check(name, id)
    lines = [f"event: {name}"] if name else []
    has_line_end = "\n" in data or "\r" in data  # which is looked for faster than it is cut there
    lines += [f"data: {line}" for line in (LINE_END.split(data) if has_line_end else [data])]
    if id:
        lines.append(f"id: {id}")
    return ("\n".join(lines) + "\n\n").encode()


def event_of(parts: Iterable[Bytes], name: str, id: str) -> list[Bytes]:
    """The same of data without a line end, as JSON is, that is long: in parts, not joined yet."""
    check(name, id)
    return [f"event: {name}\ndata: ".encode(), *parts, f"\nid: {id}\n\n".encode()]


def check(name: str, id: str) -> None:
    if LINE_END.search(name) or LINE_END.search(id) or "\0" in id:
        raise ValueError("a line end in an event's name or id")


def chunk(data: bytes) -> bytes:
    """The data as one chunk of a chunked body (RFC 9112, section 7.1); not for no data."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def pieces(data: bytes) -> Iterator[bytes]:
    """The data in its order, as no more than so many bytes at a time."""
    if len(data) <= PIECE:
        yield data
        return
    for begin in range(0, len(data), PIECE):
        yield data[begin : begin + PIECE]


def body(data: bytes, chunked: bool) -> bytes:
    """The data as a part of a body, which is chunked or not; not for no data."""
    return chunk(data) if chunked and len(data) <= PIECE else body_of([data], chunked)


def body_of(parts: Iterable[Bytes], chunked: bool) -> bytes:
    """The same of data in parts that may be long: each byte of it is copied once."""
    return b"".join(chunks(parts) if chunked else parts)


def chunks(parts: Iterable[Bytes]) -> Iterator[Bytes | memoryview]:
    """Chunks as long as a piece, but for the last one, in parts of which nothing is copied."""
    begun: list[memoryview] = []
    room = PIECE
    for part in parts:
        rest = memoryview(part)
        while len(rest) >= room:
            yield b"%x\r\n" % PIECE
            yield from (*begun, rest[:room])
            yield b"\r\n"
            begun, rest, room = [], rest[room:], PIECE
        if rest:
            begun.append(rest)
            room -= len(rest)
    if begun:
        yield b"%x\r\n" % (PIECE - room)
        yield from begun
        yield b"\r\n"


def retry(milliseconds: int) -> bytes:
    """How long a browser waits before it connects again."""
    return f"retry: {milliseconds}\n\n".encode()
