"""The event stream."""

from collections.abc import AsyncGenerator, AsyncIterator
from functools import lru_cache
from math import ceil
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from quart import Quart, Response, request
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from app.messages import parse_id
from app.sentences import Sentence
from app.settings import Settings
from app.store.keys import LOG_SECONDS
from app.web.answers import Refused, check_is_counted, grouped, one_of, respond, typed_tags
from app.web.extras import NAMES
from app.web.feed import Feed
from app.web.takeover import note_viewer
from app.web.viewer import Start, Viewer

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store, no-transform",  # a proxy that compresses would also wait
    "X-Accel-Buffering": "no",  # nginx otherwise holds events back until a buffer is full
}
KEPT_QUERIES, KEPT_LENGTH = 1024, 512
"""Of so many queries, none of more characters, is remembered what they say: at most a few MB."""
KEPT_IDS = 64
"""Of so many last ids, of no more than KEPT_LENGTH characters: who comes back after a restart has
one of few."""


class Wanted(NamedTuple):
    """What a request for the stream wants."""

    tags: tuple[str, ...]
    """Those of the query in alphabetical order, so that who asks for the same shares it; where
    it names none, all that are tracked, in their order."""
    by_source: bool
    extras: tuple[str, ...]
    """What it wants to be told beside the totals, by the words of the query."""
    start: Start


def add_events(app: Quart, settings: Settings, feed: Feed) -> None:
    @app.get("/events")
    async def events() -> Response:
        last_id, accept = (request.headers.get(name, "") for name in ("Last-Event-ID", "Accept"))
        wants = wanted(request.query_string.decode(), last_id, accept, settings, feed)
        # HEAD must not start the stream: it would run for ever with nobody to read it
        body: bytes | AsyncIterator[bytes] = b""
        if request.method != "HEAD":
            # before the log is read nothing can be learnt: the stream begins and waits
            asked = wants.tags, wants.by_source, wants.extras
            fanout = await feed.fanout(*asked) if feed.loaded else feed.watch(*asked)
            body = streamed(Viewer(feed, fanout, wants.start), request.scope)
        response = await respond(body, 200, HEADERS)
        response.timeout = None  # Quart would cut the stream after a minute
        return response


def wanted(query: str, last_id: str, accept: str, settings: Settings, feed: Feed) -> Wanted:
    """What a request wants: by its query, still encoded, and the values of its headers
    Last-Event-ID and Accept, empty where it has none. Raises Refused: 400, 404 or 406."""
    ask = asked if len(query) <= KEPT_LENGTH else asked.__wrapped__
    wants = ask(query)
    for tag in wants.tags:
        check_is_counted(tag, settings, feed)
    if not is_welcome(accept[:KEPT_LENGTH]):
        raise Refused(406, Sentence("This is an event stream: accept text/event-stream."))
    tags, start = wants.tags or settings.hashtags, wants.start
    check_is_watched(start.new, tags)
    if last_id:
        start = Start(an_id(last_id[:KEPT_LENGTH]), start.history, start.new)
    return Wanted(tags, wants.by_source, wants.extras, start)


@lru_cache(KEPT_QUERIES)
def asked(query: str) -> Wanted:
    """What the query alone says; no tags where it names none. Raises Refused."""
    parts: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True, errors="werkzeug.url_quote"):
        parts.setdefault(name, value)
    tags, new = typed_tags(parts, "tags"), typed_tags(parts, "new")
    last_id = an_id(parts.get("last_event_id", "")[:KEPT_LENGTH])
    start = Start(last_id, seconds_of_history(parts), new)
    extras = tuple(name for name in NAMES if one_of(parts, name, "0", "1") == "1")
    return Wanted(tuple(sorted(tags)), grouped(parts), extras, start)


def check_is_watched(new: tuple[str, ...], tags: tuple[str, ...]) -> None:
    """Raises Refused for what is to be new and is not among the hashtags of the stream."""
    for tag in new:
        if tag not in tags:
            raise Refused(400, Sentence("new names #{tag}, which tags does not.", tag=tag))


def seconds_of_history(parts: dict[str, str]) -> int:
    """In whole seconds, none of those asked for is missing.

    Raises Refused when the query's history is no number of seconds from 0 to 900.
    """
    text = parts.get("history", "") or "0"
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= LOG_SECONDS:
        why = Sentence(
            "history={text}: expected seconds from 0 to {most}.", text=repr(text), most=LOG_SECONDS
        )
        raise Refused(400, why)
    return ceil(seconds)


@lru_cache(KEPT_IDS)
def an_id(text: str) -> str:
    """The id of an event, or nothing: what is no id names no event."""
    try:
        parse_id(text)
    except ValueError:
        return ""
    return text


@lru_cache(64)
def is_welcome(accept: str) -> bool:
    """Whether an event stream is an answer to a request with this Accept."""
    wants = parse_accept_header(accept, MIMEAccept)
    return not wants or wants["text/event-stream"] > 0


def streamed(viewer: Viewer, scope: Any) -> AsyncIterator[bytes]:
    """The stream's body: nothing where its connection is taken after the head, else all."""
    return nothing() if note_viewer(scope, viewer) else viewer.stream()


async def nothing() -> AsyncGenerator[bytes, None]:
    """A body of which no length is told, and no byte sent."""
    for piece in list[bytes]():
        yield piece
