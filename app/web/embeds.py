"""What other sites may show of us in a frame, and how they learn of it (https://oembed.com)."""

from collections.abc import Mapping
from html import escape
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qs, quote, urlencode, urlsplit
from xml.etree.ElementTree import Element, SubElement, tostring

from quart import Quart, Response, render_template, request

from app.hashtags import MARKS
from app.sentences import Sentence
from app.settings import Settings
from app.web.answers import Refused, check_is_counted, json, respond, typed_tags
from app.web.feed import Feed
from app.web.languages import ENGLISH, language
from app.web.page import CONTENT_SECURITY_POLICY, Folder, address

CHART, BOARD = (600, 400), (380, 520)
"""Width and height of a frame, in pixels, where less is not asked for."""
KEPT_SECONDS = 3600
"""So long whoever asked may keep the answer."""
CHOICES = ("hide", "view", "range", "lang")
"""What else of an address the frame takes, beside the hashtags."""
LONGEST_URL, MOST_PARTS = 4000, 20
"""Characters of an address that is asked about, and parts of its query."""


def add_embeds(app: Quart, settings: Settings, feed: Feed, folder: Folder) -> None:
    @app.get("/embed/board")
    async def framed_board() -> Response:
        newest = folder.newest()
        lang = language(request.scope, newest.texts)
        said = newest.texts[lang]
        texts = {key: text for key, text in said.items() if key.startswith(("board", "counted"))}
        config = {"tracked": settings.hashtags[0], "texts": texts}
        static = f"../static/{newest.name}"
        html = await render_template("board.html", t=said, lang=lang, config=config, static=static)
        policy = CONTENT_SECURITY_POLICY.rpartition(";")[0]  # anybody may frame it
        headers = {"Cache-Control": "no-store", "Content-Security-Policy": policy}
        return Response(html, headers=headers | {"Vary": "Accept-Language"})

    @app.get("/oembed")
    async def oembed() -> Response:
        form = request.args.get("format", "json")
        if form not in ("json", "xml"):
            why = Sentence("format={form}: expected json or xml.", form=repr(form))
            raise Refused(501, why)
        base = address(settings)
        frame = frame_of(request.args.get("url", ""), base, settings, feed)
        told = answer(
            frame, base, folder.newest().texts[ENGLISH], most("maxwidth"), most("maxheight")
        )
        if form == "json":
            return await json(told)
        headers = {"Content-Type": "text/xml; charset=utf-8", "Cache-Control": "no-store"}
        return await respond(as_xml(told), 200, headers)


class Frame(NamedTuple):
    """What is to be shown in a frame."""

    address: str
    names: tuple[str, ...]
    """Of its hashtags; none for the board."""
    width: int
    height: int


def frame_of(url: str, base: str, settings: Settings, feed: Feed) -> Frame:
    """The frame for one of our addresses; base: where our pages are. Raises Refused."""
    if not url:
        why = Sentence("url is missing: expected the address of a page of ours.")
        raise Refused(400, why)
    place, parts = place_of(url, base)
    if place == "embed/board":
        return Frame(f"{base}embed/board", (), *BOARD)
    try:
        tags = typed_tags({"tags": parts.get("tags", "")}, "tags")
        for tag in tags:
            check_is_counted(tag, settings, feed)
    except Refused as refused:  # whatever is wrong with it, we have nothing to show for it
        raise Refused(404, refused.sentence) from refused
    chosen = {"tags": ",".join(tags)} | {name: parts.get(name, "") for name in CHOICES}
    query = urlencode(
        {name: part for name, part in chosen.items() if part}, safe=",", quote_via=quote
    )
    names = tuple(feed.name_of(tag) for tag in tags or settings.hashtags)
    return Frame(f"{base}embed?{query}" if query else f"{base}embed", names, *CHART)


def place_of(url: str, base: str) -> tuple[str, dict[str, str]]:
    """Which of our pages an address is of, as the rest of its path, and the parts of its query.
    Raises Refused for another one."""
    try:
        ours = urlsplit(base)  # a stranger's proxy may have said what that is
        asked = urlsplit(url[: LONGEST_URL + 1])
        found = parse_qs(asked.query, max_num_fields=MOST_PARTS)
    except ValueError:
        ours = asked = SplitResult("", "", "", "", "")
        found = {}
    place = asked.path.removeprefix(ours.path.rstrip("/")).strip("/")
    is_ours = asked.scheme in ("http", "https") and asked.netloc.lower() == ours.netloc.lower()
    is_inside = f"{asked.path}/".startswith(ours.path) and place in ("", "embed", "embed/board")
    if not (is_ours and is_inside) or len(url) > LONGEST_URL:
        why = Sentence(
            "url: expected the address of a page at {base}, of at most {most} characters.",
            base=base,
            most=LONGEST_URL,
        )
        raise Refused(404, why)
    return place, {name: parts[0] for name, parts in found.items()}


def most(name: str) -> int:
    """The largest width or height that is asked for; 0 for any. Raises Refused."""
    text = request.args.get(name, "")
    if text and not (text.isascii() and text.isdecimal() and 0 < len(text) < 6 and int(text)):
        shown = repr(text[:20])
        why = Sentence("{name}={text}: expected a whole number of pixels.", name=name, text=shown)
        raise Refused(400, why)
    return int(text or 0)


def answer(
    frame: Frame, base: str, texts: Mapping[str, str], width: int, height: int
) -> dict[str, Any]:
    width, height = (
        min(width or frame.width, frame.width),
        min(height or frame.height, frame.height),
    )
    named = ", ".join(f"{MARKS[0]}{name}" for name in frame.names) or texts["board"]
    title = f"{named} · {texts['name']}"
    html = (
        f'<iframe src="{escape(frame.address)}" title="{escape(title)}" width="{width}" '
        f'height="{height}" loading="lazy" style="border: 0"></iframe>'
    )
    size = {"html": html, "width": width, "height": height}
    provider = {"provider_name": texts["name"], "provider_url": base, "cache_age": KEPT_SECONDS}
    return {"version": "1.0", "type": "rich", "title": title, **provider, **size}


def as_xml(told: Mapping[str, Any]) -> bytes:
    root = Element("oembed")
    for name, value in told.items():
        SubElement(root, name).text = str(value)
    found: bytes = tostring(root, "utf-8", xml_declaration=True)
    return found
