"""How a Mastodon server says things: events, pages and ids."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import aiohttp
from msgspec import DecodeError, Raw, convert

from app.hashtags import named
from app.messages import Deletion, Post, Shown, dumps
from app.sources import Part, SourceLost, decoder, members
from app.texts import LONGEST_NAME, clean, domains, links, plain, web_address

LINE_BYTES = 2**20
"""Of a line of the stream, what is read of it: ten times as long as a long post."""
PAGE_BYTES = 2**22
"""Of an answer: ten times as much as forty long posts take, and four of the longest, which servers
take from each other (1 MiB)."""
LONGEST_ID = 40
"""Characters; ids are numbers of 64 bits, on some servers words or UUIDs."""
LONGEST_LOOKED_AT = 200
"""Bytes at the beginning of an answer that is too long."""
FIRST_ID = re.compile(rb'\s*\[\s*\{\s*"id"\s*:\s*"([\w-]{1,40})"')
"""Where Mastodon has a status's id: before all else of it."""


class PageTooLong(SourceLost):
    """An answer has more bytes than are read of one; first: the id of the first status in it, ""
    where that is not known."""

    def __init__(self, begin: bytes) -> None:
        super().__init__(f"it answered with more than {PAGE_BYTES} bytes")
        found = FIRST_ID.match(begin)
        self.first = found[1].decode() if found else ""


class Event(Part):
    """One of a stream; the payload is JSON again."""

    event: str = ""
    payload: Any = ""


class Account(Part):
    id: str | int = ""
    display_name: Any = ""
    acct: Any = ""


class Tag(Part):
    name: str


class Status(Part):
    """As much of it as we want."""

    id: str | int
    """A number of 64 bits, on some servers a word or a UUID."""
    created_at: Any = ""
    """It may be anything: a time that is none is no reason to drop a post."""
    reblog: Any = None
    """The other status that this one only hands on."""
    account: Account | None = None
    """Who wrote it."""
    tags: list[Tag] | None = None
    """Its hashtags."""
    sensitive: Any = False
    """Whether its author, or the server, says that it is not for everybody."""
    spoiler_text: Any = ""
    """What its author says before showing the rest."""
    visibility: Any = ""
    """"public" where everybody may see it."""
    content: Any = ""
    """Its text, as HTML."""
    url: Any = ""
    """Where it can be read."""


class Numbered(Part):
    """Of a status that cannot be read, still its id."""

    id: str | int


read_event, read_status = decoder(Event), decoder(Status)
read_numbered, read_page = decoder(Numbered), decoder(list[Raw])


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


def parse_text(status: bytes) -> Post | None:
    """The same of its JSON."""
    return post_of(read_status(status))


def statuses_of(page: bytes) -> list[bytes]:
    """The statuses on a page, each as its JSON; b"" for one that is none.

    Raises ValueError or RecursionError for what is no page.
    """
    try:
        return [bytes(raw) for raw in read_page(page)]
    except DecodeError:  # half an emoji in one of them
        found = json.loads(page)
        if not isinstance(found, list):
            raise
        return [written(status) for status in found]


def written(status: Any) -> bytes:
    try:
        return json.dumps(status).encode()
    except RecursionError:
        return b""


def id_of(status: bytes) -> str:
    """A status's id, also where it cannot be read; "" where that cannot be, either."""
    try:
        return checked_id(read_numbered(status).id)
    except (ValueError, RecursionError):
        return ""


def deletion_of(event: Event) -> Deletion | None:
    """A status that was deleted, or edited, which may have changed whatever it said."""
    payload = event.payload
    if event.event == "delete":
        return Deletion("mastodon", checked_id(payload))
    if event.event != "status.update":
        return None
    edited = read_numbered(payload) if isinstance(payload, str) else convert(payload, Numbered)
    return Deletion("mastodon", checked_id(edited.id))


def post_of(status: Status) -> Post | None:
    if status.reblog:
        return None
    hashtags = named(tag.name for tag in status.tags or ())
    return Post(
        source="mastodon",
        id=checked_id(status.id),
        written=f"{status.created_at}",
        author=f"{status.account.id if status.account else ''}",
        hashtags=hashtags,
        adult=status.sensitive is True,
        domains=domains(links(status.content)) if hashtags else (),
        shown=shown_of(status) if hashtags else None,
    )


def shown_of(status: Status) -> Shown | None:
    """What of it is for everybody; a remark before it says that it is not."""
    url, account = web_address(status.url), status.account or Account()
    hides = status.sensitive is True or bool(status.spoiler_text)
    if hides or status.visibility != "public" or not url:
        return None
    name, handle = (clean(each, LONGEST_NAME) for each in (account.display_name, account.acct))
    return Shown(url, plain(status.content), name, handle)


async def events(
    content: aiohttp.StreamReader, silence: float
) -> AsyncGenerator[dict[str, str], None]:
    """Each event of a stream; {} for a comment, which is a sign of life.

    Raises TimeoutError when none comes for so many seconds: bytes alone are no sign of life.
    """
    async with aclosing(parsed(content)) as coming:
        while True:
            async with asyncio.timeout(silence):
                event = await anext(coming, None)
            if event is None:
                return
            yield event


async def parsed(content: aiohttp.StreamReader) -> AsyncGenerator[dict[str, str], None]:
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
    """Each line; of one that is too long its beginning, which then is no post: a stranger's long
    one must neither fill the memory nor end the stream, which does not go back."""
    rest = b""
    async for chunk in content.iter_any():
        first, *others = chunk.split(b"\n")
        rest += first[: LINE_BYTES - len(rest)]
        for line in others:
            yield rest.rstrip(b"\r")
            rest = line[:LINE_BYTES]


async def body(response: aiohttp.ClientResponse) -> bytes:
    """What a server has answered; raises PageTooLong for more than PAGE_BYTES."""
    found = bytearray()
    async for chunk in response.content.iter_any():
        found += chunk
        if len(found) > PAGE_BYTES:
            raise PageTooLong(bytes(found[:LONGEST_LOOKED_AT]))
    return bytes(found)


def streaming_url(instance: bytes) -> str:
    """Where a server has its stream, by what it says of itself (GET /api/v2/instance); "" where
    it does not say (https://docs.joinmastodon.org/entities/Instance/)."""
    try:
        found = json.loads(instance)["configuration"]["urls"]["streaming"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""
    return found if isinstance(found, str) else ""


def order(id: str) -> tuple[int, str]:
    """Ids are numbers as text, on some servers words of one length: longer is later."""
    return len(id), id


def checked_id(id: Any) -> str:
    """An id as text; raises ValueError for what is no id of any server."""
    text = str(id) if type(id) in (str, int) else ""
    fits = len(text) <= LONGEST_ID and text.isascii()
    if not (fits and text.replace("-", "").isalnum()):
        raise ValueError("not an id")
    return text
