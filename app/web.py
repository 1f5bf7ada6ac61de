"""The Quart app: the page, the event stream, the JSON."""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from quart import Quart, Response, make_response, request
from werkzeug.exceptions import MethodNotAllowed

from app.embedded import store
from app.express import Express, board
from app.feed import Feed
from app.hashtags import NotAHashtag, typed_list
from app.history import RANGES, as_csv, past
from app.messages import dumps
from app.page import ROOT, add_page
from app.selection import Selection
from app.settings import Settings, SettingsError, load
from app.stop import end_of
from app.store import LOG_SECONDS, Store, StoreLost
from app.viewer import Viewer

log = logging.getLogger(__name__)

STREAM_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store, no-transform",  # a proxy that compresses would also wait
    "X-Accel-Buffering": "no",  # nginx otherwise holds events back until a buffer is full
}


class Refused(Exception):
    """A request that is answered with an error: one sentence and its HTTP status."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def create_app(settings: Settings | None = None, feed: Feed | None = None) -> Quart:
    """The app that shows the feed; with no feed given it runs one of its own while it serves.

    Without arguments it is what `hypercorn 'app:create_app()'` calls; a wrong setting
    then ends the process with its sentence.
    """
    try:
        settings = settings or load()
    except SettingsError as error:
        sys.exit(str(error))
    app = built(settings, feed or Feed(settings.tick_seconds))
    if feed is None:

        @app.while_serving
        async def run_own_feed() -> AsyncGenerator[None, None]:
            async with following(app.extensions["feed"], settings):
                yield

    return app


@asynccontextmanager
async def following(feed: Feed, settings: Settings) -> AsyncIterator[None]:
    """Run the feed while the app serves; a bug of ours in it ends the process."""

    async def run(store: Store) -> None:
        try:
            await feed.run(store)
        except Exception:
            log.exception("the feed broke")
            os.kill(os.getpid(), signal.SIGTERM)

    async with store(settings, join=True) as opened, asyncio.TaskGroup() as group:
        task = group.create_task(run(opened))
        yield
        feed.close()
        await end_of(task)


def built(settings: Settings, feed: Feed) -> Quart:
    app = Quart(
        "hashtag-pulse",
        root_path=str(ROOT),
        static_folder=None,
        template_folder=str(ROOT / "templates"),
    )
    app.extensions["feed"] = feed
    if settings.express_lane == "on":
        app.asgi_app = Express(app.asgi_app)  # type: ignore[method-assign]
    add_page(app, settings)

    @app.get("/events")
    async def events() -> Response:
        selection = selected(settings, feed)
        history = seconds_of_history()
        wants = request.accept_mimetypes
        if wants and wants["text/event-stream"] <= 0:
            raise Refused(406, "This is an event stream: accept text/event-stream.")
        last_id = request.headers.get("Last-Event-ID") or request.args.get("last_event_id", "")
        # HEAD must not start the stream: it would run for ever with nobody to read it
        head = request.method == "HEAD"
        body = b"" if head else streamed(Viewer(feed, selection, last_id, history), request.scope)
        response = await made(body, 200, STREAM_HEADERS)
        response.timeout = None  # Quart would cut the stream after a minute
        return response

    @app.get("/api/counts")
    async def counts() -> Response:
        selection = selected(settings, feed)
        if not feed.ticks:
            raise Refused(503, feed.why_not_ready())
        tick = feed.ticks[-1]
        told = {"at": tick.at, "counts": selection.totals(tick)}
        names = {tag: tick.names[tag] for tag in selection.tags if tag in tick.names}
        about = {"names": names, "sources": tick.sources, "details": tick.details}
        return await json({**told, **about})

    @app.get("/api/history")
    async def history() -> Response:
        selection = selected(settings, feed)
        span, form = request.args.get("range", "15m"), request.args.get("format", "json")
        if span not in RANGES:
            raise Refused(400, f"range={span!r}: expected one of {', '.join(RANGES)}.")
        if form not in ("json", "csv"):
            raise Refused(400, f"format={form!r}: expected json or csv.")
        if not feed.store:
            raise Refused(503, feed.why_not_ready())
        try:
            told = await past(feed.store, feed.ticks, selection.tags, span, int(time.time() * 1000))
        except StoreLost as lost:
            raise Refused(503, str(lost)) from lost
        if form == "csv":
            headers = {"Content-Type": "text/csv; charset=utf-8", "Cache-Control": "no-store"}
            return await made(as_csv(told).encode(), 200, headers)
        return await json(told)

    @app.get("/healthz")
    async def health() -> Response:
        return await json({"ok": True})

    @app.get("/readyz")
    async def ready() -> Response:
        if why := feed.why_not_ready():
            raise Refused(503, why)
        return await json({"ok": True})

    @app.errorhandler(Refused)
    async def refused(error: Refused) -> Response:
        headers = {"Retry-After": "2"} if error.status in (429, 503) else {}
        return await json({"error": str(error)}, error.status, headers)

    @app.errorhandler(404)
    async def not_found(error: Exception) -> Response:
        return await json({"error": f"There is nothing at {request.path}."}, 404)

    @app.errorhandler(405)
    async def not_allowed(error: MethodNotAllowed) -> Response:
        allowed = {"Allow": ", ".join(sorted(error.valid_methods or ()))}
        return await json({"error": f"{request.path} is for reading: use GET."}, 405, allowed)

    return app


def streamed(viewer: Viewer, scope: Any) -> AsyncIterator[bytes]:
    """The stream's body: its first bytes where the rest goes by the express lane, else all."""
    return opening(viewer) if board(scope, viewer) else viewer.stream()


async def opening(viewer: Viewer) -> AsyncGenerator[bytes, None]:
    yield viewer.first()


async def json(told: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    shown = {"Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-store"}
    return await made(dumps(told).encode() + b"\n", status, {**shown, **(headers or {})})


async def made(
    body: bytes | AsyncIterator[bytes], status: int, headers: dict[str, str]
) -> Response:
    response = await make_response(body, status, headers)
    assert isinstance(response, Response)
    return response


def selected(settings: Settings, feed: Feed) -> Selection:
    """The hashtags that the query asks for: all that are tracked where it names none.

    Raises Refused: 400 for what is no hashtag or no grouping, 404 for one not tracked.
    """
    by = request.args.get("by", "")
    if by not in ("", "source"):
        raise Refused(400, f"by={by!r}: expected source, or nothing.")
    try:
        tags = typed_list(request.args.get("tags", ""))
    except NotAHashtag as error:
        raise Refused(400, str(error)) from error
    for tag in tags:
        if tag not in settings.hashtags:
            known = ", ".join(f"#{name}" for name in settings.hashtags[:20])
            raise Refused(404, f"#{tag} is not tracked here; tracked are {known}.")
    return feed.selection(tags or settings.hashtags, by == "source")


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
