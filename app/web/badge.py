"""A hashtag's last minutes as a small picture, for a README or another site's page."""

import hashlib
import re
from html import escape
from itertools import pairwise
from unicodedata import combining, east_asian_width

from quart import Quart, Response

from app.hashtags import MARKS
from app.messages import added_up
from app.settings import Settings
from app.store.keys import LOG_SECONDS
from app.store.store import StoreLost
from app.web.alerts import NO_XML
from app.web.answers import check_is_counted
from app.web.api import newest_head, typed_tag
from app.web.bodies import Body, Kept, packed, respond_with
from app.web.feed import BEGAN_ANEW, Feed
from app.web.languages import ENGLISH
from app.web.page import Folder

MOMENT = 10_000
"""Milliseconds: for so long, a badge is not made again."""
CACHING = "public, max-age=30"
"""GitHub's proxy of pictures and others keep it no longer."""
LONGEST_NAME = 30
"""Characters of a hashtag that are shown."""
HEIGHT, PADDING = 20, 6
THIN, BROAD = "fijlrtI .,:;!|'()[]-", "mwMW@#%"
"""How wide letters of Verdana are, at 11 px, and those of East Asian scripts: nearly. The browser
then makes a text as wide as it is said to be."""
LEFT, RIGHT, SILENT = "#555", "#0072b2", "#6a6a6a"


def add_badge(app: Quart, settings: Settings, feed: Feed, folder: Folder) -> None:
    kept = Kept()

    @app.get("/badge/<name>.svg")
    async def badge(name: str) -> Response:
        tag = typed_tag(name)
        check_is_counted(tag, settings, feed)

        async def make() -> Body:
            text = await said(feed, tag, folder.newest().texts[ENGLISH])
            picture = svg(f"{MARKS[0]}{cut(feed.name_of(tag))}", text, is_live(feed))
            return await packed("image/svg+xml; charset=utf-8", picture.encode())

        body = await kept.get(tag, lambda: feed.time() // MOMENT, make)
        response = respond_with(body, CACHING, hashlib.sha256(body.plain).hexdigest()[:16])
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"  # it is for others' pages
        return response


async def said(feed: Feed, tag: str, texts: dict[str, str]) -> str:
    """How many posts there were in 15 minutes, or since counting began. Raises StoreLost."""
    newest_head(feed)
    begun = feed.begun
    fanout = await feed.fanout([tag], by_source=False)  # the feed knows the totals while we have it
    now = newest_head(feed).at
    points = feed.points(tag, now - LOG_SECONDS * 1000)
    del fanout
    if feed.begun != begun or not points:
        raise StoreLost(BEGAN_ANEW)
    pairs = pairwise([added_up(totals) for _, totals in points])
    # one that falls began at 0 again
    posts = sum(later - total if later >= total else later for total, later in pairs)
    minutes = max(1, round((now - points[0][0]) / 60_000))
    return texts["badge"].format(posts=f"{posts:,}", minutes=minutes)


def is_live(feed: Feed) -> bool:
    return any(source.works for source in newest_head(feed).sources.values())


def cut(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def svg(left: str, right: str, live: bool) -> str:
    """Two fields beside each other with a text in each, which may be a stranger's."""
    ends = [width(left), width(left) + width(right)]
    left, right = (escape(re.sub(NO_XML, "", text)) for text in (left, right))
    colour = RIGHT if live else SILENT
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{ends[1]}" height="{HEIGHT}" role="img" '
        f'aria-label="{left}: {right}"><title>{left}: {right}</title>'
        f'<clipPath id="r"><rect width="{ends[1]}" height="{HEIGHT}" rx="3"/></clipPath>'
        f'<g clip-path="url(#r)"><rect width="{ends[0]}" height="{HEIGHT}" fill="{LEFT}"/>'
        f'<rect x="{ends[0]}" width="{ends[1] - ends[0]}" height="{HEIGHT}" fill="{colour}"/></g>'
        '<g fill="#fff" font-family="Verdana,Geneva,DejaVu Sans,sans-serif" font-size="11">'
        f"{written(left, 0, ends[0])}{written(right, ends[0], ends[1])}</g></svg>\n"
    )


def written(text: str, begin: int, end: int) -> str:
    place, length = begin + PADDING, end - begin - 2 * PADDING
    return f'<text x="{place}" y="14" textLength="{length}">{text}</text>'


def width(text: str) -> int:
    """Of a field, in pixels, as far as one can know without the letters' shapes."""
    return round(sum(map(letter_width, text))) + 2 * PADDING


def letter_width(letter: str) -> float:
    if combining(letter):
        return 0.0
    if letter in THIN:
        return 3.9
    if letter in BROAD:
        return 9.5
    return 11.0 if east_asian_width(letter) in "WF" else 6.4
