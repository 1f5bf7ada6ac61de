"""The page and the files that it loads: named by their content, compressed, and allowed little."""

import gzip
import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from quart import Quart, Response, abort, current_app, render_template, request
from quart.wrappers.response import DataBody

from app.settings import Settings
from app.store.store import StoreLost
from app.web import ROOT
from app.web.answers import Refused, check_is_counted, typed_tags
from app.web.feed import Feed

STATIC, TEXTS = ROOT / "static", ROOT / "templates" / "texts.json"

TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml; charset=utf-8",
    ".png": "image/png",
}

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors "
)
FREE_OF_POLICY = frozenset({"text/javascript", "text/css", "image/png"})
"""A page's own policy holds for what it loads; the 200 bytes would go with every file."""
COMPRESSIBLE = frozenset({"text/html", "application/json"})
FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class File:
    """One file of static/ as it is sent."""

    type: str
    plain: bytes
    gzipped: bytes

    @classmethod
    def read(cls, path: Path) -> "File":
        plain = path.read_bytes()
        return cls(TYPES[path.suffix], plain, gzip.compress(plain, 9, mtime=0))


def add_page(app: Quart, settings: Settings) -> None:
    """Serve the page, its frame for other sites, and what both load."""

    @app.get("/")
    async def page() -> Response:
        return await shown(settings, embed=False)

    @app.get("/embed")
    async def embed() -> Response:
        return await shown(settings, embed=True)

    @app.get("/static/<path:name>")
    async def static(name: str) -> Response:
        edition, files = newest()
        asked, _, rest = name.rpartition("/")
        if rest not in files:
            abort(404)
        response = sent(files[rest], FOR_EVER if asked == edition else "no-cache")
        if rest == "worker.js":  # it is no part of a page
            response.headers["Content-Security-Policy"] = f"{CONTENT_SECURITY_POLICY}'none'"
        return response

    @app.after_request
    async def security_headers(response: Response) -> Response:
        response.headers["X-Content-Type-Options"] = "nosniff"
        if response.mimetype not in FREE_OF_POLICY:
            policy = f"{CONTENT_SECURITY_POLICY}'none'"
            response.headers.setdefault("Content-Security-Policy", policy)
        return await compressed(response)


async def shown(settings: Settings, embed: bool) -> Response:
    """The page for the hashtags that its query chooses."""
    texts = json.loads(TEXTS.read_bytes())
    feed: Feed = current_app.extensions["feed"]
    tags, problem = await chosen(settings, feed)
    edition, files = newest()
    config = {
        "tracked": settings.hashtags,
        "tags": tags,
        "problem": problem,
        "now": feed.time(),
        "tick": settings.tick_seconds * 1000,
        "embed": embed,
        "texts": texts,
    }
    html = await render_template(
        "index.html",
        t=texts,
        config=config,
        static=f"static/{edition}",
        modules=[name for name in files if name.endswith(".js") and name != "smoothie.js"],
        named=", ".join(f"#{feed.name_of(tag)}" for tag in tags or settings.hashtags),
        address=address(),
        query=request.query_string.decode(),
    )
    # not stored: the page tells the browser what time it is
    headers = {"Cache-Control": "no-store", "Referrer-Policy": "same-origin"}
    headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY + ("*" if embed else "'none'")
    return Response(html, headers=headers)


async def chosen(settings: Settings, feed: Feed) -> tuple[tuple[str, ...], str]:
    """The hashtags of the query that can be shown, and a sentence about those that cannot."""
    try:
        tags = typed_tags("tags")
    except Refused as error:
        return (), str(error)
    if not feed.loaded and not set(tags) <= set(settings.hashtags):
        with suppress(StoreLost):  # which sources there are is known only then
            await feed.until(lambda: feed.loaded)
    shown, problem = [], ""
    for tag in tags:
        try:
            check_is_counted(tag, settings, feed)
            shown.append(tag)
        except Refused as error:
            problem = problem or str(error)
    return tuple(shown), problem


def address() -> str:
    """Where a stranger finds this folder; previews of links cannot use relative addresses."""
    scheme = request.headers.get("X-Forwarded-Proto", request.scheme).partition(",")[0]
    host = request.headers.get("X-Forwarded-Host", request.host).partition(",")[0]
    prefix = request.headers.get("X-Forwarded-Prefix", "").rstrip("/")
    return f"{scheme}://{host}{prefix}/"


def sent(file: File, caching: str) -> Response:
    """The file, compressed where that is welcome; or that it is still the same."""
    gzipped = accepts_gzip()
    response = Response(
        file.gzipped if gzipped else file.plain,
        content_type=file.type,
        headers={"Cache-Control": caching, "Vary": "Accept-Encoding"},
    )
    if gzipped:
        response.headers["Content-Encoding"] = "gzip"
    if caching == FOR_EVER:
        return response  # nobody will ask whether it is still the same
    mark = hashlib.sha256(file.plain).hexdigest()[:16]
    response.set_etag(mark, weak=True)
    if request.if_none_match.contains_weak(mark):
        return Response(b"", 304, headers=response.headers)
    return response


async def compressed(response: Response) -> Response:
    """The response compressed, if it is one whole text of some length, and the client can."""
    whole = isinstance(response.response, DataBody) and response.mimetype in COMPRESSIBLE
    if whole and accepts_gzip() and (response.content_length or 0) > 1000:
        response.set_data(gzip.compress(await response.get_data(as_text=False), 5))
        response.headers["Content-Encoding"] = "gzip"
        response.headers["Vary"] = "Accept-Encoding"
    return response


def accepts_gzip() -> bool:
    return "gzip" in request.headers.get("Accept-Encoding", "")


def newest() -> tuple[str, dict[str, File]]:
    """The files of static/ and the name of this edition of them; read again when one changed.

    One name for all of them, as a folder in their addresses: so modules can import each
    other by plain relative names and still be kept for ever by every cache.
    """
    return edition(tuple(sorted((path, path.stat().st_mtime_ns) for path in listed())))


def listed() -> Iterator[Path]:
    return (path for path in STATIC.iterdir() if path.suffix in TYPES)


@lru_cache(maxsize=1)
def edition(files: tuple[tuple[Path, int], ...]) -> tuple[str, dict[str, File]]:
    read: dict[str, Any] = {path.name: File.read(path) for path, _ in files}
    contents = hashlib.sha256()
    for name, file in read.items():
        contents.update(f"{name}\0{len(file.plain)}\0".encode() + file.plain)
    return contents.hexdigest()[:12], read
