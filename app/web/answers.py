"""What every answer has in common: JSON, one sentence for what is refused, the hashtags of a
query."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from quart import Response, make_response

from app.hashtags import MOST_TAGS, NotAHashtag, typed_list
from app.messages import dumps
from app.settings import Settings
from app.web.feed import Feed


class Refused(Exception):
    """A request that is answered with an error: one sentence and its HTTP status."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def selected(
    query: Mapping[str, str], settings: Settings, feed: Feed
) -> tuple[tuple[str, ...], bool]:
    """The hashtags that the query asks for (all that are tracked where it names none), and
    whether their totals are wanted by source.

    Raises Refused: 400 for what is no hashtag, for too many, or for another grouping, 404 for
    a hashtag that nobody counts here.
    """
    tags, by_source = typed_tags(query, "tags"), grouped(query)
    for tag in tags:
        check_is_counted(tag, settings, feed)
    return tags or settings.hashtags, by_source


def grouped(query: Mapping[str, str]) -> bool:
    """Whether totals are wanted by source. Raises Refused."""
    by = query.get("by", "")
    if by not in ("", "source"):
        raise Refused(400, f"by={by!r}: expected source, or nothing.")
    return by == "source"


def typed_tags(query: Mapping[str, str], name: str) -> tuple[str, ...]:
    """The keys of the hashtags that this part of the query names, each once.

    Raises Refused for what is no hashtag, and for too many.
    """
    try:
        tags = typed_list(query.get(name, ""))
    except NotAHashtag as error:
        raise Refused(400, str(error)) from error
    if len(tags) > MOST_TAGS:
        raise Refused(400, f"At most {MOST_TAGS} hashtags at once: {name} names {len(tags)}.")
    return tags


def check_is_counted(tag: str, settings: Settings, feed: Feed) -> None:
    """Raises Refused for a hashtag that is not tracked, where each source counts only those."""
    newest = feed.newest
    sources = newest.sources if newest else {}
    if tag in settings.hashtags or not sources or any(s.complete for s in sources.values()):
        return
    verb = "was" if len(sources) == 1 else "were"
    asked = f"{' and '.join(sources)} {verb} not asked for it"
    known = ", ".join(f"#{name}" for name in settings.hashtags[:MOST_TAGS])
    raise Refused(404, f"#{tag} is not tracked here, and {asked}; tracked are {known}.")


async def json(told: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    shown = {"Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-store"}
    return await respond(dumps(told).encode() + b"\n", status, {**shown, **(headers or {})})


async def respond(
    body: bytes | AsyncIterator[bytes], status: int, headers: dict[str, str]
) -> Response:
    response = await make_response(body, status, headers)
    assert isinstance(response, Response)
    return response
