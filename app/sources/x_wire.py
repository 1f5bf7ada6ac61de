"""What X says over the wire, and tweepy's stream made to end when its connection does."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
from tweepy.asynchronous import AsyncStreamingClient

from app.hashtags import add_tag
from app.messages import Post
from app.retry import XWaits
from app.sources import Part, SourceLost, decoder

MEANING = {
    400: "It does not take our request.",
    401: "X_BEARER_TOKEN is not valid.",
    403: "This app may not read posts from X.",
}
"""What no waiting will mend."""
LIMITS = (402, 420, 429)
"""Too much for now: credits used up, calm down, too many requests."""


@dataclass(frozen=True)
class Answer:
    """X's answer to a question that was asked beside the stream, in its place among the lines.

    heeded: set when it was counted.
    """

    hashtag: str
    minutes: Sequence[tuple[int, int, int]]
    heeded: asyncio.Event


Line = bytes | Answer | None
"""A line of the stream; None for a keep-alive and for the connect."""


class Hashtag(Part):
    tag: str


class Entities(Part):
    hashtags: list[Hashtag] | None = None


class Note(Part):
    """The whole of a long post."""

    entities: Entities | None = None


class PostData(Part):
    """created_at may be anything: a time that is none is no reason to drop a post."""

    id: str | int
    edit_history_tweet_ids: list[str | int] | None = None
    created_at: Any = ""
    author_id: str | int | None = None
    entities: Entities | None = None
    note_tweet: Note | None = None


class Message(Part):
    """A line of the stream, as much of it as we want."""

    data: PostData | None = None


read_message = decoder(Message)


def parse(line: bytes | str) -> Post | None:
    """A line of the stream as a Post; None for one that carries no post.

    Hashtags stand in `entities`, and for a long post in those of its `note_tweet`. An
    edited post comes again under a new id: here it has the id it was first posted under.
    Raises ValueError or RecursionError for a line that is not of the wire form.
    """
    post = read_message(line).data
    if post is None:
        return None
    tags: dict[str, str] = {}
    if post.entities:
        add_tags(tags, post.entities)
    if post.note_tweet and post.note_tweet.entities:
        add_tags(tags, post.note_tweet.entities)
    versions = post.edit_history_tweet_ids
    return Post(
        source="x",
        id=f"{versions[0] if versions else post.id}",
        written=f"{post.created_at}",
        author=f"{post.author_id or ''}",
        hashtags=tags,
    )


def add_tags(tags: dict[str, str], entities: Entities) -> None:
    for hashtag in entities.hashtags or ():
        add_tag(tags, hashtag.tag)


class OneConnection(AsyncStreamingClient):  # type: ignore[misc]
    """tweepy's stream, but it ends with its connection and says how that ended."""

    def __init__(self, token: str, session: "Gateway") -> None:
        super().__init__(token, return_type=dict)
        self.session = session
        # not bounded: what aiohttp has received and tweepy not yet read is lost with a cut
        self.received: asyncio.Queue[Line | Exception] = asyncio.Queue()
        self.waiting = 0
        """Lines that have been received and not yet read, keep-alives left out."""

    async def lines(self) -> AsyncGenerator[Line, None]:
        """Each line, and what else is put among them. Raises what ended it."""
        self.filter(tweet_fields=["created_at", "author_id", "entities", "note_tweet"])
        try:
            while not isinstance(line := await self.received.get(), Exception):
                self.waiting -= isinstance(line, bytes)
                yield line
            raise line
        finally:
            self.task.cancel()
            await asyncio.wait([self.task])

    async def on_connect(self) -> None:
        self.received.put_nowait(None)

    async def on_data(self, raw_data: bytes) -> None:
        self.waiting += 1
        self.received.put_nowait(raw_data)

    async def on_keep_alive(self) -> None:
        self.received.put_nowait(None)

    async def on_closed(self, resp: aiohttp.ClientResponse) -> None:
        raise aiohttp.ServerDisconnectedError("X closed the stream")

    async def on_request_error(self, status_code: int) -> None:
        raise ConnectionError(f"X answered {status_code}, which is no stream")

    async def on_connection_error(self) -> None:
        raise  # tweepy calls this while it handles the error: hand the error on

    async def on_exception(self, exception: Exception) -> None:
        self.received.put_nowait(exception)


class Gateway:
    """As much of an aiohttp session as tweepy uses, with the host that we choose.

    tweepy has its host fixed, but takes a session that is already there as it is.
    """

    def __init__(self, session: aiohttp.ClientSession, host: str) -> None:
        self.session, self.host = session, host
        self.headers, self.close = session.headers, session.close

    @property
    def closed(self) -> bool:
        return self.session.closed

    def request(self, method: str, url: str, **options: Any) -> Any:
        path = url.removeprefix("https://api.twitter.com")
        return self.session.request(method, self.host + path, **options)


async def refusal(response: aiohttp.ClientResponse, now: float, waits: XWaits) -> None:
    """Raise SourceLost for an answer that is no success, with the wait that X wants."""
    if 200 <= response.status < 300:
        return
    text = f"X answered {response.status}: {await told(response)}"
    if response.status in LIMITS:
        raise SourceLost(text, waits.limited(now, reset_time(response.headers)))
    if response.status in MEANING:
        raise SourceLost(f"{text}. {MEANING[response.status]}", for_good=True)
    raise SourceLost(text, waits.error())


async def told(response: aiohttp.ClientResponse) -> str:
    """The reason in an answer's body, without our token, should something echo it."""
    body = await response.text(errors="replace")
    try:
        text = described(json.loads(body))
    except (ValueError, RecursionError):
        text = ""
    token = response.request_info.headers.get("Authorization", "").removeprefix("Bearer ")
    text = text or printable(body)
    return (text.replace(token, "(hidden)") if token else text)[:200]


def reset_time(headers: Mapping[str, str]) -> float | None:
    """When X lifts its limit on requests; None when it is not this limit that we met.

    The headers are in every answer: a 429 for another reason has requests remaining.
    """
    remaining = headers.get("x-rate-limit-remaining", "0")
    reset = headers.get("x-rate-limit-reset", "")
    return float(reset) if remaining == "0" and reset.isdecimal() else None


def described(message: Any) -> str:
    """What X says of a problem, in any of the forms it has for that; "" for no problem."""
    if isinstance(message, list):
        return "; ".join(filter(None, map(described, message)))[:200]
    if not isinstance(message, dict):
        return printable(message) if isinstance(message, str) else ""
    if inner := message.get("errors") or message.get("error"):
        return described(inner)
    names = ("title", "connection_issue", "disconnect_type", "detail", "message", "value")
    said = [message[name] for name in names if isinstance(message.get(name), str)]
    return printable(": ".join(said))[:200]


def printable(text: str) -> str:
    """The text on one line, without what a terminal or UTF-8 cannot show."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
