"""The Quart app: the page, the event stream, the JSON, and what goes wrong with them."""

import sys
from collections.abc import AsyncGenerator
from functools import partial

from quart import Quart, Response, request
from werkzeug.exceptions import MethodNotAllowed

from app import VERSION
from app.metrics import Metrics, Text
from app.process import beside
from app.sentences import Sentence
from app.settings import Settings, SettingsError, load
from app.store.embedded import store
from app.store.store import StoreLost
from app.web import ROOT
from app.web.answers import Refused, json
from app.web.api import add_api
from app.web.badge import add_badge
from app.web.embeds import add_embeds
from app.web.events import add_events
from app.web.feed import Feed
from app.web.hypercorn_fixes import fix_hypercorn
from app.web.languages import in_language, language
from app.web.limits import Limited, Limits, limits_of
from app.web.metrics import add_metrics, figures
from app.web.openapi import add_description
from app.web.page import Folder, add_page
from app.web.posts import add_posts
from app.web.taken import Taken
from app.web.takeover import Takeover
from app.web.viewer import Viewer


def create_app(
    settings: Settings | None = None,
    feed: Feed | None = None,
    metrics: Metrics | None = None,
    text: Text | None = None,
) -> Quart:
    """The app that shows the feed; with no feed given it runs one of its own while it serves.

    metrics: of this process, to which it adds its own; text: what is told of more than this one.

    Without arguments it is what `hypercorn 'app:create_app()'` calls; a wrong setting
    then ends the process with its sentence.
    """
    try:
        settings = settings or load()
    except SettingsError as error:
        sys.exit(str(error))
    app = bare_app()
    fix_hypercorn()
    shown = app.extensions["feed"] = feed or Feed(settings.tick_seconds, settings.hashtags)
    limits = app.extensions["limits"] = limits_of(settings)
    taken = app.extensions["taken"] = Taken(shown, partial(end, limits))
    taking = taken if settings.express_lane else None
    app.asgi_app = Takeover(app.asgi_app, taking)  # type: ignore[method-assign]
    app.asgi_app = Limited(app.asgi_app, settings, limits)  # type: ignore[method-assign]
    add_answers(app, settings, shown)
    told = metrics or Metrics(VERSION)
    told.add(lambda: figures(shown, limits))
    if not settings.metrics_bind:
        add_metrics(app, text or told.text)
    app.after_serving(taken.close)
    if feed is None:
        add_own_feed(app, settings, shown)
    return app


def add_answers(app: Quart, settings: Settings, feed: Feed) -> None:
    """All that can be asked, but for the figures."""
    folder = Folder()
    add_page(app, settings, folder)
    add_badge(app, settings, feed, folder)
    add_embeds(app, settings, feed, folder)
    add_events(app, settings, feed)
    add_api(app, settings, feed)
    add_posts(app, settings, feed)
    add_description(app)
    add_errors(app)


def bare_app() -> Quart:
    """Without anything that answers."""
    app = Quart(
        "hashtag-pulse",
        root_path=str(ROOT),
        static_folder=None,
        template_folder=str(ROOT / "templates"),
    )
    app.url_map.merge_slashes = False  # else //api leads to an absolute address, of the inside
    app.config["MAX_CONTENT_LENGTH"] = 0  # nothing here takes a body; Quart would keep 16 MiB of it
    return app


def end(limits: Limits, viewer: Viewer) -> None:
    """The end of a viewer whose connection was taken."""
    limits.go(viewer.address)
    if viewer.visit:
        viewer.visit.tell()


def add_errors(app: Quart) -> None:
    """Answer whatever is refused with one sentence of JSON, in the language that is asked for."""

    @app.errorhandler(Refused)
    async def refused(error: Refused) -> Response:
        headers = {"Retry-After": "2"} if error.status in (429, 503) else {}
        return await refusal(error.sentence, error.status, headers)

    @app.errorhandler(StoreLost)
    async def lost(error: StoreLost) -> Response:
        return await refusal(error.public, 503, {"Retry-After": "2"})

    @app.errorhandler(404)
    async def not_found(error: Exception) -> Response:
        return await refusal(Sentence("There is nothing at {path}.", path=request.path), 404)

    @app.errorhandler(405)
    async def not_allowed(error: MethodNotAllowed) -> Response:
        allowed = {"Allow": ", ".join(sorted(error.valid_methods or ()))}
        why = Sentence("{path} is for reading: use GET.", path=request.path)
        return await refusal(why, 405, allowed)


async def refusal(sentence: str, status: int, headers: dict[str, str] | None = None) -> Response:
    return await json({"error": in_language(sentence, language(request.scope))}, status, headers)


def add_own_feed(app: Quart, settings: Settings, feed: Feed) -> None:
    """Run the feed while the app serves."""

    @app.while_serving
    async def run_feed() -> AsyncGenerator[None, None]:
        async with store(settings, join=True) as opened, beside(feed.run(opened), "the feed"):
            yield
