"""Which requests are plain enough to be answered without an HTTP server; pure.

A whitelist: what has another form, or a header that changes what follows the head, is for
Hypercorn to read. So nothing here has to agree with it about what is malformed.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

LONGEST_HEAD = 8192
"""Bytes; a head that is longer is not plain."""
KEPT_HEADS, KEPT_LENGTH = 256, 512
"""Of so many heads, none of more bytes, is remembered what they say: those who come back after a
restart send one of few."""
BEGINNINGS = (b"GET /events?", b"GET /events ")
PLAIN = re.compile(
    rb"GET /events(?:\?([\w.~!$&'()*+,;=:@/?%-]*))? HTTP/1\.([01])\r\n"
    rb"(?:[\w!#$%&'*+.^`|~-]+:[\t\x20-\x7e]*\r\n)*\r\n",
    re.ASCII,
)
"""A whole head and nothing after it (RFC 9112, sections 2 to 5), in the form that all have."""
READ = frozenset({b"host", b"accept", b"connection", b"last-event-id", b"x-forwarded-for"})
RARE = frozenset(
    {b"upgrade", b"expect", b"content-length", b"transfer-encoding", b"http2-settings"}
)
"""The headers that change an answer, and those that change what follows the head; every other one
is harmless."""
LOOKED_AT = re.compile(rb"\n(%b):([^\r]*)" % b"|".join([*READ, *RARE]), re.I)
"""One of these in a head, and its value."""
HOST = re.compile(rb"[\w.:\[\]-]+", re.ASCII)
CONNECTIONS = {(b"", True): False, (b"keep-alive", True): False, (b"close", True): True}
CONNECTIONS |= {(b"", False): True, (b"close", False): True}
"""What Connection says, and whether it is HTTP/1.1, to whether the connection is to end with the
answer."""


class RequestHead(NamedTuple):
    """A plain request for the event stream."""

    query: str
    """Still encoded."""
    last_id: str
    """The value of Last-Event-ID, empty where it is missing; and so those of two others."""
    accept: str
    """Of Accept."""
    forwarded: bytes
    """Of X-Forwarded-For; of several with commas between."""
    is_1_1: bool
    """Whether it is HTTP/1.1; else HTTP/1.0."""
    closes: bool
    """Whether the connection is to end with the answer."""


def plain(head: bytes) -> RequestHead | None:
    """What the head says, if it is that of a plain request and nothing comes after it."""
    return parsed(head) if len(head) <= KEPT_LENGTH else parsed.__wrapped__(head)


@lru_cache(KEPT_HEADS)
def parsed(head: bytes) -> RequestHead | None:
    found = PLAIN.fullmatch(head) if len(head) < LONGEST_HEAD else None
    if not found:
        return None
    query, version = found.groups()
    said: dict[bytes, bytes] = {}
    for name, value in LOOKED_AT.findall(head):
        name, value = name.lower(), value.strip(b"\t ")
        if name in RARE or (name in said and name != b"x-forwarded-for"):
            return None
        said[name] = said[name] + b"," + value if name in said else value
    return understood((query or b"").decode(), version == b"1", said)


def understood(query: str, is_1_1: bool, said: Mapping[bytes, bytes]) -> RequestHead | None:
    """said: the values of the headers that we look at."""
    host, connection = said.get(b"host"), said.get(b"connection", b"").lower()
    closes = CONNECTIONS.get((connection, is_1_1))
    if (
        closes is None
        or (host is None and is_1_1)
        or (host is not None and not HOST.fullmatch(host))
    ):
        return None
    last_id, accept = said.get(b"last-event-id", b"").decode(), said.get(b"accept", b"").decode()
    return RequestHead(query, last_id, accept, said.get(b"x-forwarded-for", b""), is_1_1, closes)


def may_become_plain(head: bytes) -> bool:
    """Whether what is still to come can make a plain request of it."""
    if not head or len(head) >= LONGEST_HEAD or b"\r\n\r\n" in head:
        return False
    if head.count(b"\n") != head.count(b"\r\n"):  # Hypercorn lets a line end so
        return False
    return any(head.startswith(begin) or begin.startswith(head) for begin in BEGINNINGS)
