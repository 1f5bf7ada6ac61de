"""The page and the files that it loads: named by their content, compressed, and allowed little."""

import gzip
import hashlib
import json
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from quart import Quart, Response, abort, current_app, render_template, request
from quart.wrappers.response import DataBody

from app.hashtags import MOST_TAGS
from app.settings import Settings
from app.store.store import StoreLost
from app.web import ROOT
from app.web.answers import Refused, check_is_counted, typed_tags
from app.web.bodies import Body, accepts_gzip, respond_with
from app.web.feed import Feed
from app.web.languages import in_language, language

STATIC, TEXTS = ROOT / "static", ROOT / "templates" / "texts"

TYPES = {
    ".js": "text/javascript",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml; charset=utf-8",
    ".png": "image/png",
    ".json": "application/json",
}

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors "
)
WORKER_POLICY = "default-src 'none'; script-src 'self'; connect-src 'self'"
FREE_OF_POLICY = frozenset({"text/javascript", "text/css", "image/png"})
"""A page's own policy holds for what it loads; the 200 bytes would go with every file."""
COMPRESSIBLE = frozenset({"text/html", "application/json"})
FOR_EVER = "max-age=31536000, immutable"

LATER = (
    *("ask", "backToLive", "badge", "board", "changed", "chart", "copied", "copyThis", "counted"),
    *("csv", "demo.long", "description", "direction", "hashtag", "kiosk", "language", "moment"),
    *("noScript", "open", "pause", "people.long", "perMinute", "png", "posts", "race.name"),
    *("ranges", "reading", "resume", "share.column", "silent", "source.unknown", "speak"),
    *("summary", "usual", "views", "when"),
)
"""What begins so no script says before the first line; after it they have all words."""

LOOK_SECONDS = 2.0
"""Whoever edits a file sees it by then."""
KEPT_PAGES, KEPT_LENGTH = 100, 32 * 1024
"""So many pages are kept, none of more characters than that: with a query of 30 KB each would be
another one."""
MOST_WORDS = 100
"""Of a list of hashtags that has something else in it, so many words are looked at."""
NOW = '"now":0'
"""What of a page is another with each request."""


@dataclass(frozen=True)
class File:
    """One file of static/ as it is sent."""

    body: Body
    mark: str
    """Of its content, by which a browser asks whether it is still the same."""

    @classmethod
    def read(cls, path: Path) -> "File":
        plain = path.read_bytes()
        body = Body(TYPES[path.suffix], plain, gzip.compress(plain, 9, mtime=0))
        return cls(body, hashlib.sha256(plain).hexdigest()[:16])


@dataclass(frozen=True)
class Edition:
    """The files of static/ and the page's words as they are now.

    One name for all of them, as a folder in their addresses: so modules can import each
    other by plain relative names and still be kept for ever by every cache.
    """

    name: str
    files: dict[str, File]
    texts: dict[str, dict[str, str]]
    """Of each language."""
    pages: OrderedDict[tuple[Any, ...], tuple[str, str]] = field(default_factory=OrderedDict)
    """What a page was made of to what is before and after its time, KEPT_PAGES of them."""


class Folder:
    """static/ and the page's words, looked at again and again: those who edit them need no
    restart, and a crowd of visitors no look for each."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock, self.due = clock, -math.inf
        self.looks = 0
        self.found: Edition

    def newest(self) -> Edition:
        if self.clock() >= self.due:
            self.looks += 1
            self.found = edition(tuple((path, path.stat().st_mtime_ns) for path in listed()))
            self.due = self.clock() + LOOK_SECONDS
        return self.found


def add_page(app: Quart, settings: Settings, folder: Folder) -> None:
    """Serve the page, its frame for other sites, and what both load."""
    app.json.ensure_ascii = False  # type: ignore[attr-defined]  # escaped, most languages are longer
    app.jinja_env.policies["json.dumps_kwargs"] = {"separators": (",", ":")}

    @app.get("/")
    async def page() -> Response:
        return await page_for_query(settings, folder.newest(), embed=False)

    @app.get("/embed")
    async def embed() -> Response:
        return await page_for_query(settings, folder.newest(), embed=True)

    @app.get("/static/<path:name>")
    async def static(name: str) -> Response:
        newest = folder.newest()
        asked, _, rest = name.rpartition("/")
        if rest not in newest.files:
            abort(404)
        file = newest.files[rest]
        if asked == newest.name:  # nobody will ask whether it is still the same
            response = respond_with(file.body, FOR_EVER)
        else:
            response = respond_with(file.body, "no-cache", file.mark)
        if rest == "hub.js":  # it runs beside all pages
            response.headers["Content-Security-Policy"] = WORKER_POLICY
        return response

    @app.after_request
    async def security_headers(response: Response) -> Response:
        response.headers["X-Content-Type-Options"] = "nosniff"
        if response.mimetype not in FREE_OF_POLICY:
            policy = f"{CONTENT_SECURITY_POLICY}'none'"
            response.headers.setdefault("Content-Security-Policy", policy)
        return await compressed(response)


async def page_for_query(settings: Settings, newest: Edition, embed: bool) -> Response:
    """The page for the hashtags that its query chooses."""
    feed: Feed = current_app.extensions["feed"]
    lang = language(request.scope, newest.texts)
    tags, problem = await chosen(settings, feed, lang)
    named = ", ".join(f"#{feed.name_of(tag)}" for tag in tags or settings.hashtags)
    query = request.query_string.decode() if embed else ""  # a frame has a link to the whole page
    made_of = embed, tags, problem, named, address(settings), query, lang
    if made_of not in newest.pages:
        newest.pages[made_of] = await rendered(settings, newest, *made_of)
    newest.pages.move_to_end(made_of)
    before, after = newest.pages[made_of]
    if len(newest.pages) > KEPT_PAGES:
        newest.pages.popitem(last=False)
    if len(before) + len(after) > KEPT_LENGTH:
        del newest.pages[made_of]
    # not stored: the page tells the browser what time it is
    headers = {"Cache-Control": "no-store", "Referrer-Policy": "same-origin"}
    headers |= {"Vary": "Accept-Language"}
    if embed:  # anybody may frame it, a file on a disk too, which * does not mean
        headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY.rpartition(";")[0]
    return Response(f"{before}{NOW[:-1]}{feed.time()}{after}", headers=headers)


async def rendered(
    settings: Settings,
    newest: Edition,
    embed: bool,
    tags: tuple[str, ...],
    problem: str,
    named: str,
    address: str,
    query: str,
    lang: str,
) -> tuple[str, str]:
    """The page, what is before its time and what is after it."""
    texts = newest.texts[lang]
    config = {
        "tracked": settings.hashtags,
        "tags": tags,
        "problem": problem,
        "now": 0,
        "tick": settings.tick_seconds * 1000,
        "embed": embed,
        "texts": {key: said for key, said in texts.items() if not key.startswith(LATER)},
    }
    html = await render_template(
        "index.html",
        t=texts,
        lang=lang,
        languages={code: texts["language"] for code, texts in newest.texts.items()},
        config=config,
        static=f"static/{newest.name}",
        named=named,
        address=address,
        query=query,
        posts=settings.show_posts,
    )
    before, now, after = html.partition(NOW)  # nothing else has such quotes: they are escaped
    assert now
    return before, after


async def chosen(settings: Settings, feed: Feed, lang: str) -> tuple[tuple[str, ...], str]:
    """The hashtags of the query that can be shown, and a sentence about those that cannot."""
    try:
        tags, problem = typed_tags(request.args, "tags"), ""
    except Refused as error:
        tags = good_ones(request.args["tags"])
        problem = in_language(error.sentence, lang)
    if not feed.loaded and not set(tags) <= set(settings.hashtags):
        with suppress(StoreLost):  # which sources there are is known only then
            await feed.until(lambda: feed.loaded)
    shown = []
    for tag in tags:
        try:
            check_is_counted(tag, settings, feed)
            shown.append(tag)
        except Refused as error:
            problem = problem or in_language(error.sentence, lang)
    return tuple(shown), problem


def good_ones(text: str) -> tuple[str, ...]:
    """Of a list with something else in it, or too much, the first hashtags, as many as may be."""
    found: dict[str, None] = {}
    for word in text.split(",", MOST_WORDS)[:MOST_WORDS]:
        with suppress(Refused):
            found.update(dict.fromkeys(typed_tags({"tags": word}, "tags")))
    return tuple(found)[:MOST_TAGS]


def address(settings: Settings) -> str:
    """Where a stranger finds this folder; previews of links cannot use relative addresses.

    Without PUBLIC_URL it is what a proxy says in X-Forwarded-Proto, -Host and -Prefix.
    """
    if settings.public_url:
        return f"{settings.public_url}/"
    scheme = request.headers.get("X-Forwarded-Proto", request.scheme).partition(",")[0]
    host = request.headers.get("X-Forwarded-Host", request.host).partition(",")[0]
    prefix = request.headers.get("X-Forwarded-Prefix", "").rstrip("/")
    return f"{scheme}://{host}{prefix}/"


async def compressed(response: Response) -> Response:
    """The response compressed, if it is one whole text of some length, and the client can."""
    whole = isinstance(response.response, DataBody) and response.mimetype in COMPRESSIBLE
    whole = whole and "Content-Encoding" not in response.headers
    if whole and accepts_gzip() and (response.content_length or 0) > 1000:
        response.set_data(gzip.compress(await response.get_data(as_text=False), 5))
        response.headers["Content-Encoding"] = "gzip"
        response.vary.add("Accept-Encoding")
    return response


def listed() -> Iterator[Path]:
    """In the order of their names, and last the page's words, which are some of them."""
    yield from sorted(path for path in STATIC.iterdir() if path.suffix in TYPES)
    yield from sorted(TEXTS.glob("*.json"))


@lru_cache(maxsize=1)
def edition(paths: tuple[tuple[Path, int], ...]) -> Edition:
    """Of these files, each with the time of its last change, which is looked at and not read."""
    files = {path.name: File.read(path) for path, _ in paths}
    contents = hashlib.sha256()
    for name, file in files.items():
        plain = file.body.plain
        contents.update(f"{name}\0{len(plain)}\0".encode() + plain)
    texts = {path.stem: json.loads(path.read_bytes()) for path, _ in paths if path.parent == TEXTS}
    return Edition(contents.hexdigest()[:12], files, texts)
