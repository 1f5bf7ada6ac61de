"""What strangers wrote, made fit to be shown as plain text; pure.

Bounds first, work after: each pattern goes over a text once, whatever stands in it.
"""

import re
from collections.abc import Iterable, Iterator
from html import unescape
from typing import Any

LONGEST_TEXT = 1000
"""Characters that are shown of a post."""
LONGEST_NAME = 100
LONGEST_URL = 500
LONGEST_HTML = 20_000
"""Characters of HTML that are looked at."""
MOST_DOMAINS = 10
"""Of one post."""

TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""What turns around the writing of all that follows it (Unicode Standard Annex 9)."""
UNSEEN = re.compile(f"[\0-\x09\x0b-\x1f\x7f-\x9f{TURNS}\ud800-\udfff]")
"""What has no shape, half an emoji, and what turns writing around."""
END_OF_LINE = re.compile(r"<br ?/?>|</p>", re.IGNORECASE)
TAG = re.compile(r"<[^<>]*>")
HOST = re.compile(r"https?://(?:[^/?#@\s]{0,100}@)?([\w.-]{1,100})(?=[/:?#]|$)", re.IGNORECASE)


def clean(text: Any, longest: int = LONGEST_TEXT) -> str:
    """A text without what cannot be shown, and its beginning where it is too long; "" for what is
    no text."""
    if not isinstance(text, str):
        return ""
    whole = UNSEEN.sub("", text[: longest + 1]).strip()
    return whole if len(text) <= longest else f"{whole[: longest - 1]}…"


def plain(html: Any) -> str:
    """The text of a post that its network has as HTML."""
    if not isinstance(html, str):
        return ""
    text = END_OF_LINE.sub("\n", html[:LONGEST_HTML])
    return clean(unescape(TAG.sub("", text)).strip())


def web_address(url: Any) -> str:
    """An address that a browser may be sent to; "" for any other."""
    fits = isinstance(url, str) and len(url) <= LONGEST_URL and HOST.match(url)
    return url if fits and url.isprintable() and " " not in url else ""


def domains(urls: Iterable[Any]) -> tuple[str, ...]:
    """The hosts of these addresses, each once, without what is no web address."""
    found: dict[str, None] = {}
    for url in urls:
        if host := domain(url):
            found[host] = None
            if len(found) == MOST_DOMAINS:
                break
    return tuple(found)


def domain(url: Any) -> str:
    """The host of a web address, in small letters and without "www."; "" where there is none."""
    host = HOST.match(url) if isinstance(url, str) else None
    return host[1].lower().removeprefix("www.") if host else ""


def links(html: Any) -> Iterator[str]:
    """Where a post that its network has as HTML links to, beside people and hashtags."""
    for part in html[:LONGEST_HTML].split("<a ")[1:] if isinstance(html, str) else ():
        tag = part.partition(">")[0]
        if "mention" not in tag and "hashtag" not in tag:
            yield unescape(tag.partition('href="')[2].partition('"')[0])
