"""How a Mastodon server says things: events, ids, and when it wants to see us again."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
from msgspec import convert

from app.hashtags import named
from app.messages import Post, dumps
from app.sources import Part, SourceLost, decoder, members

LINE_BYTES = 2**20
WAIT_AT_MOST = 3600.0


class Event(Part):
    """One of a stream; the payload is JSON again."""

    event: str = ""
    payload: Any = ""


class Account(Part):
    id: str | int = ""


class Tag(Part):
    name: str


class Status(Part):
    """As much of it as we want. reblog is the other status that this one only hands on.

    created_at may be anything: a time that is none is no reason to drop a post.
    """

    id: str | int
    created_at: Any = ""
    reblog: Any = None
    account: Account | None = None
    tags: list[Tag] | None = None


read_event, read_status = decoder(Event), decoder(Status)


def parse(line: bytes | str) -> Post | None:
    """A streaming event as a Post; None for what is no new post (an edit, a delete, a boost).

    Raises ValueError or RecursionError for a line that is not of the wire form; so do all
    these.
    """
    return parse_event(read_event(line))


def is_message(line: bytes) -> bool:
    """Whether a recorded line is a streaming event."""
    return bool(members(line).get("event"))


def parse_event(event: Event) -> Post | None:
    if event.event != "update":
        return None
    payload = event.payload
    return post_of(read_status(payload)) if isinstance(payload, str) else parse_status(payload)


def parse_status(status: Any) -> Post | None:
    """A status as the REST API gives it, as a Post; None for a boost of another one."""
    return post_of(convert(status, Status))


def post_of(status: Status) -> Post | None:
    if status.reblog:
        return None
    return Post(
        source="mastodon",
        id=checked_id(status.id),
        written=f"{status.created_at}",
        author=f"{status.account.id if status.account else ''}",
        hashtags=named(tag.name for tag in status.tags or ()),
    )


async def events(content: aiohttp.StreamReader) -> AsyncIterator[dict[str, str]]:
    """Each event of a stream; {} for a comment, which is a sign of life."""
    event: dict[str, str] = {}
    async for line in lines(content):
        field, _, value = line.partition(b":")
        if line.startswith(b":"):
            yield {}
        elif not line:
            if "event" in event:
                yield {"payload": "", **event}
            event = {}
        elif field in (b"event", b"data"):
            name = "event" if field == b"event" else "payload"
            event[name] = value.strip().decode(errors="replace")


def as_line(event: str, payload: str) -> str:
    """An event as recordings have it, which is how it comes over a websocket."""
    return dumps({"event": event, "payload": payload})


async def lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Each whole line; one that never ends ends the stream."""
    rest = b""
    async for chunk in content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.rstrip(b"\r")
        if len(rest) > LINE_BYTES:
            raise SourceLost(f"the stream has a line of more than {LINE_BYTES} bytes")


def order(id: str) -> tuple[int, str]:
    """Ids are numbers as text, on some servers words of one length: longer is later."""
    return len(id), id


def checked_id(id: Any) -> str:
    """An id as text; raises ValueError for what is no id of any server."""
    text = str(id) if type(id) in (str, int) else ""
    if not (text.isascii() and text.replace("-", "").isalnum()):
        raise ValueError("not an id")
    return text


def wait_of(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds until a server wants to see us again; None where it does not say."""
    after = headers.get("Retry-After", "")
    seconds = float(after) if after.isdecimal() else seconds_until(after, now)
    if seconds is None:
        seconds = reset_in(headers, now)
    return None if seconds is None else min(max(1.0, seconds), WAIT_AT_MOST)


def reset_in(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds until the server's limit begins anew."""
    reset = headers.get("X-RateLimit-Reset", "")
    return max(0.0, float(reset) - now) if reset.isdecimal() else seconds_until(reset, now)


def seconds_until(written: str, now: float) -> float | None:
    """Seconds until a time in one of the forms that headers have; None if it is none."""
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            time = read(written)
        except ValueError:
            continue
        return max(0.0, (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() - now)
    return None
