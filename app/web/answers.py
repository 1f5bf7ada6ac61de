"""What every answer has in common: JSON, one sentence for what is refused, the hashtags of a
query."""

from collections.abc import AsyncIterator, Mapping
from functools import reduce
from typing import Any

from quart import Response, make_response

from app.hashtags import MOST_TAGS, NotAHashtag, typed_list
from app.messages import dumps
from app.sentences import Sentence
from app.settings import Settings
from app.web.feed import Feed


class Refused(Exception):
    """A request that is answered with an error: one sentence and its HTTP status.

    sentence: a Sentence, but for what is wrong with Redis (languages.py).
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


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
        raise Refused(400, Sentence("by={by}: expected source, or nothing.", by=repr(by)))
    return by == "source"


def one_of(query: Mapping[str, str], name: str, *words: str) -> str:
    """A part of the query that is one of these words, the first where it is left out. Raises
    Refused."""
    found = query.get(name, words[0])
    if found not in words:
        why = Sentence(
            "{name}={text}: expected one of {words}.",
            name=name,
            text=repr(found),
            words=", ".join(words),
        )
        raise Refused(400, why)
    return found


def typed_tags(query: Mapping[str, str], name: str) -> tuple[str, ...]:
    """The keys of the hashtags that this part of the query names, each once.

    Raises Refused for what is no hashtag, and for too many.
    """
    try:
        tags = typed_list(query.get(name, ""))
    except NotAHashtag as error:
        raise Refused(400, error.args[0]) from error
    if len(tags) > MOST_TAGS:
        why = Sentence(
            "At most {most} hashtags at once: {name} names {number}.",
            most=MOST_TAGS,
            name=name,
            number=len(tags),
        )
        raise Refused(400, why)
    return tags


def check_is_counted(tag: str, settings: Settings, feed: Feed) -> None:
    """Raises Refused for a hashtag that is not tracked, where each source counts only those."""
    newest = feed.newest
    sources = newest.sources if newest else {}
    if tag in settings.hashtags or not sources or any(s.complete for s in sources.values()):
        return
    why = Sentence(
        "#{tag} is not tracked here, and {asked}; tracked are {known}.",
        tag=tag,
        asked=not_asked(list(sources)),
        known=", ".join(f"#{name}" for name in settings.hashtags[:MOST_TAGS]),
    )
    raise Refused(404, why)


def not_asked(sources: list[str]) -> Sentence:
    if len(sources) == 1:
        return Sentence("{source} was not asked for it", source=sources[0])
    named = reduce(lambda some, last: Sentence("{some} and {last}", some=some, last=last), sources)
    return Sentence("{sources} were not asked for it", sources=named)


async def json(told: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    shown = {"Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-store"}
    return await respond(dumps(told).encode() + b"\n", status, {**shown, **(headers or {})})


def refusal_without_quart(sentence: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Headers and body of an answer to a request that does not come as far as Quart."""
    body = dumps({"error": sentence}).encode() + b"\n"
    headers = [
        (b"content-type", b"application/json; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    return headers, body


async def respond(
    body: bytes | AsyncIterator[bytes], status: int, headers: dict[str, str]
) -> Response:
    response = await make_response(body, status, headers)
    assert isinstance(response, Response)
    return response
