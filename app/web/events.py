"""The event stream."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from quart import Quart, Response, request

from app.settings import Settings
from app.store.keys import LOG_SECONDS
from app.web.answers import Refused, respond, selected, typed_tags
from app.web.express import board
from app.web.feed import Feed
from app.web.viewer import Start, Viewer

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store, no-transform",  # a proxy that compresses would also wait
    "X-Accel-Buffering": "no",  # nginx otherwise holds events back until a buffer is full
}


def add_events(app: Quart, settings: Settings, feed: Feed) -> None:
    @app.get("/events")
    async def events() -> Response:
        tags, by_source = selected(settings, feed)
        start = asked_start(tags)
        wants = request.accept_mimetypes
        if wants and wants["text/event-stream"] <= 0:
            raise Refused(406, "This is an event stream: accept text/event-stream.")
        # HEAD must not start the stream: it would run for ever with nobody to read it
        body: bytes | AsyncIterator[bytes] = b""
        if request.method != "HEAD":
            # before the log is read nothing can be learnt: the stream begins and waits
            fanout = await feed.fanout(tags, by_source) if feed.loaded else None
            fanout = fanout or feed.watch(tags, by_source)
            body = streamed(Viewer(feed, fanout, start), request.scope)
        response = await respond(body, 200, HEADERS)
        response.timeout = None  # Quart would cut the stream after a minute
        return response


def asked_start(tags: tuple[str, ...]) -> Start:
    """What the request wants first. Raises Refused."""
    last_id = request.headers.get("Last-Event-ID") or request.args.get("last_event_id", "")
    new = typed_tags("new")
    for tag in new:
        if tag not in tags:
            raise Refused(400, f"new names #{tag}, which tags does not.")
    return Start(last_id, seconds_of_history(), new)


def seconds_of_history() -> float:
    """Raises Refused when the query's history is no number of seconds from 0 to 900."""
    text = request.args.get("history", "") or "0"
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= LOG_SECONDS:
        raise Refused(400, f"history={text!r}: expected seconds from 0 to {LOG_SECONDS}.")
    return seconds


def streamed(viewer: Viewer, scope: Any) -> AsyncIterator[bytes]:
    """The stream's body: its first bytes where the rest goes by the express lane, else all."""
    return opening(viewer) if board(scope, viewer) else viewer.stream()


async def opening(viewer: Viewer) -> AsyncGenerator[bytes, None]:
    yield viewer.first()
