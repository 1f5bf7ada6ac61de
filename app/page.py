"""The page and the files that it loads: named by their content, compressed, strictly fenced."""

import gzip
import hashlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from quart import Quart, Response, abort, current_app, render_template, request
from quart.wrappers.response import DataBody

from app.hashtags import NotAHashtag, spelling, typed_list
from app.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
STATIC, TEXTS = ROOT / "static", ROOT / "templates" / "texts.json"

TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml; charset=utf-8",
    ".png": "image/png",
}

FENCE = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors "
)
COMMENT = re.compile(
    r"^[ \t]*(?:/\*(?:(?!\*/).)*\*/[ \t]*$|//[^\n]*(?:\n[ \t]*//[^\n]*)*)", re.M | re.S
)
LICENCE = re.compile(r"licen[cs]e|copyright", re.I)
WORTH_IT = frozenset({"text/html", "application/json"})
FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class File:
    """One file of static/ as it is sent."""

    type: str
    plain: bytes
    packed: bytes

    @classmethod
    def read(cls, path: Path) -> "File":
        code = path.suffix in (".js", ".css")
        plain = bare(path.read_text("utf-8")).encode() if code else path.read_bytes()
        return cls(TYPES[path.suffix], plain, gzip.compress(plain, 9, mtime=0))


def bare(code: str) -> str:
    """Code without the comments that have lines of their own: a third of what would be sent.

    The lines stay where they are, and so does a licence.
    """

    def emptied(comment: re.Match[str]) -> str:
        return comment[0] if LICENCE.search(comment[0]) else "\n" * comment[0].count("\n")

    return COMMENT.sub(emptied, code)


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
        return sent(files[rest], FOR_EVER if asked == edition else "no-cache")

    @app.after_request
    async def fence(response: Response) -> Response:
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers.setdefault("Content-Security-Policy", f"{FENCE}'none'")
        return await lightened(response)


async def shown(settings: Settings, embed: bool) -> Response:
    """The page for the hashtags that its query chooses."""
    texts = json.loads(TEXTS.read_bytes())
    tags, problem = chosen(settings, texts["notTracked"])
    edition, files = newest()
    tick = current_app.extensions["feed"].newest
    names = tick.names if tick else {}
    config = {
        "tracked": settings.hashtags,
        "tags": tags,
        "problem": problem,
        "now": int(time.time() * 1000),
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
        named=", ".join(f"#{names.get(tag, spelling(tag))}" for tag in tags or settings.hashtags),
        address=address(),
        query=request.query_string.decode(),
    )
    # not stored: the page tells the browser what time it is
    headers = {"Cache-Control": "no-store", "Referrer-Policy": "same-origin"}
    headers["Content-Security-Policy"] = FENCE + ("*" if embed else "'none'")
    return Response(html, headers=headers)


def chosen(settings: Settings, sentence: str) -> tuple[tuple[str, ...], str]:
    """The hashtags of the query that can be shown, and a sentence about those that cannot."""
    try:
        tags = typed_list(request.args.get("tags", ""))
    except NotAHashtag as error:
        return (), str(error)
    tracked = set(settings.hashtags)
    strange = ", ".join(f"#{tag}" for tag in tags if tag not in tracked)
    problem = sentence.replace("{tags}", strange) if strange else ""
    return tuple(tag for tag in tags if tag in tracked), problem


def address() -> str:
    """Where a stranger finds this folder; previews of links cannot use relative addresses."""
    scheme = request.headers.get("X-Forwarded-Proto", request.scheme).partition(",")[0]
    host = request.headers.get("X-Forwarded-Host", request.host).partition(",")[0]
    prefix = request.headers.get("X-Forwarded-Prefix", "").rstrip("/")
    return f"{scheme}://{host}{prefix}/"


def sent(file: File, caching: str) -> Response:
    """The file, compressed where that is welcome; or that it is still the same."""
    packed = "gzip" in request.headers.get("Accept-Encoding", "")
    response = Response(
        file.packed if packed else file.plain,
        content_type=file.type,
        headers={"Cache-Control": caching, "Vary": "Accept-Encoding"},
    )
    if packed:
        response.headers["Content-Encoding"] = "gzip"
    mark = hashlib.sha256(file.plain).hexdigest()[:16]
    response.set_etag(mark, weak=True)
    if request.if_none_match.contains_weak(mark):
        return Response(b"", 304, headers=response.headers)
    return response


async def lightened(response: Response) -> Response:
    """The response compressed, if it is one whole text worth the work, and that is welcome."""
    whole = isinstance(response.response, DataBody) and response.mimetype in WORTH_IT
    welcome = "gzip" in request.headers.get("Accept-Encoding", "")
    if whole and welcome and (response.content_length or 0) > 1000:
        response.set_data(gzip.compress(await response.get_data(as_text=False), 5))
        response.headers["Content-Encoding"] = "gzip"
        response.headers["Vary"] = "Accept-Encoding"
    return response


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
