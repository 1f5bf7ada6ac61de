"""Posts from X, through tweepy's client of the v2 filtered stream.

tweepy speaks to X; when to come back, and what of a line is a post, is decided here:
tweepy alone reconnects without a wait after a clean close, ends for good on one bad line,
and retries a wrong token for ever. So each call of its `filter()` is one connection, and
how that connection ended is what posts() raises.

Wire form and limits: https://docs.x.com/x-api/posts/filtered-stream
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
from tweepy import StreamRule
from tweepy.asynchronous import AsyncStreamingClient

from app.hashtags import keyed
from app.messages import Post
from app.retry import XWaits
from app.sources import Source, SourceLost, milliseconds

RULE_TAG = "hashtag-pulse"
RULE_LENGTH = 1024
STALL_SECONDS = 25.0
"""X sends something, a keep-alive at the least, every 20 s."""
LINES_WAITING = 1000
IDS_REMEMBERED = 20_000


def parse(message: dict[str, Any]) -> Post | None:
    """A line of the stream as a Post; None for one that carries no post.

    Hashtags stand in `entities`, and for a long post in those of its `note_tweet`. Raises
    KeyError, TypeError or AttributeError for a message that is not of the wire form.
    """
    post = message.get("data")
    if post is None:
        return None
    whole = [post.get("entities") or {}, (post.get("note_tweet") or {}).get("entities") or {}]
    return Post(
        source="x",
        id=str(post["id"]),
        at=milliseconds(post.get("created_at")),
        author=str(post.get("author_id", "")),
        hashtags=keyed([tag["tag"] for part in whole for tag in part.get("hashtags") or ()]),
    )


class X(Source):
    name = "x"
    replays = False

    def __init__(self, *arguments: Any, stall: float = STALL_SECONDS) -> None:
        super().__init__(*arguments)
        self.waits, self.stall = XWaits(), stall
        self.seen: dict[str, None] = {}

    async def posts(self, cursor: str) -> AsyncIterator[Post]:
        """Set the rules, connect once, and yield each post; a repeated one only once."""
        await asyncio.sleep(self.waits.before_connect(self.clock()))
        session = aiohttp.ClientSession(
            raise_for_status=self.refuse,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=self.stall),
        )
        client = OneConnection(
            self.settings.x_bearer_token, Gateway(session, self.settings.x_api_url)
        )
        try:
            await self.sync_rules(client)
            async for line in client.lines():
                post = self.read(line)
                if post and self.is_new(post):
                    yield post
        except (aiohttp.ClientError, OSError) as error:
            raise SourceLost(
                f"the connection to X failed: {said(error)}", self.waits.cut()
            ) from error
        finally:
            await session.close()

    async def sync_rules(self, client: AsyncStreamingClient) -> None:
        """Make X's rules those of the tracked hashtags; touches no rule but our own."""
        wanted = set(rules(self.settings.hashtags))
        try:
            answer = await client.get_rules()
            ours = {r["value"]: r["id"] for r in answer.get("data", ()) if r.get("tag") == RULE_TAG}
            if stale := [ours[value] for value in ours if value not in wanted]:
                await client.delete_rules(stale)
            if missing := sorted(wanted - set(ours)):
                answer = await client.add_rules([StreamRule(value, RULE_TAG) for value in missing])
            problems = answer.get("errors") or ()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            text = f"X's answer about our rules could not be read: {said(error)}"
            raise SourceLost(text, self.waits.error()) from error
        for problem in problems:
            if problem.get("title") != "DuplicateRule":  # somebody else's rule brings it as well
                raise SourceLost(f"X refused a rule: {described(problem)}", self.waits.error())

    def read(self, line: bytes | None) -> Post | None:
        """What a line of the stream holds; a bad one is skipped and counted.

        Raises SourceLost when X says in the stream that it ends it.
        """
        self.say("live")
        self.waits.worked()
        if not line:
            return None
        try:
            message = json.loads(line)
            post = parse(message)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            self.skip(f"{type(error).__name__}: {line[:80]!r}")
            return None
        if post is None:
            self.hear(message)
        return post

    def hear(self, message: Mapping[str, Any]) -> None:
        """A message without a post: X ends the stream (raises SourceLost), or only remarks."""
        problems = message.get("errors") or [message.get("error") or message]
        for problem in problems:
            text = described(problem)
            if "TooManyConnections" in text or "oo many connections" in text:
                raise SourceLost(f"X: {text}", self.waits.limited(self.clock(), None))
            if "isconnect" in text or "losing connection" in text:
                raise SourceLost(f"X: {text}", self.waits.cut())
        if not {"delete", "limit", "warning"} & set(message):
            self.skip(described(problems[0]))

    def is_new(self, post: Post) -> bool:
        if post.id in self.seen:
            return False
        self.seen[post.id] = None
        if len(self.seen) > IDS_REMEMBERED:
            del self.seen[next(iter(self.seen))]
        return True

    async def refuse(self, response: aiohttp.ClientResponse) -> None:
        """Raise what an HTTP error of X means for us; called for every response."""
        if response.status < 400:
            return
        text = f"X answered {response.status}: {(await response.text())[:200]}"
        if response.status in (420, 429):
            reset = response.headers.get("x-rate-limit-reset", "")
            at = float(reset) if reset.isdigit() else None
            raise SourceLost(text, self.waits.limited(self.clock(), at))
        if response.status in (400, 401, 403):
            raise SourceLost(f"{text}. {MEANING[response.status]}", for_good=True)
        raise SourceLost(text, self.waits.error())


MEANING = {
    400: "It does not take our request.",
    401: "X_BEARER_TOKEN is not valid.",
    403: "This app may not read the filtered stream.",
}


class OneConnection(AsyncStreamingClient):  # type: ignore[misc]
    """tweepy's stream, made to end after one connection and to say how it ended."""

    def __init__(self, token: str, session: "Gateway") -> None:
        super().__init__(token, return_type=dict)
        self.session = session
        self.received: asyncio.Queue[bytes | Exception | None] = asyncio.Queue(LINES_WAITING)

    async def lines(self) -> AsyncIterator[bytes | None]:
        """Each line; None for a keep-alive and for the connect. Raises what ended it."""
        self.filter(tweet_fields=["created_at", "author_id", "entities", "note_tweet"])
        try:
            while not isinstance(line := await self.received.get(), Exception):
                yield line
            raise line if isinstance(line, SourceLost) else ConnectionError(said(line)) from line
        finally:
            self.task.cancel()
            await asyncio.wait([self.task])

    async def on_connect(self) -> None:
        await self.received.put(None)

    async def on_data(self, raw_data: bytes) -> None:
        await self.received.put(raw_data)

    async def on_keep_alive(self) -> None:
        await self.received.put(None)

    async def on_closed(self, resp: aiohttp.ClientResponse) -> None:
        raise aiohttp.ServerDisconnectedError("X closed the stream")

    async def on_connection_error(self) -> None:
        raise  # tweepy calls this while it handles the error: hand the error on

    async def on_exception(self, exception: Exception) -> None:
        await self.received.put(exception)


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


def rules(tags: tuple[str, ...]) -> list[str]:
    """Rules that match the hashtags, as few as their length allows."""
    packed: list[str] = []
    for tag in sorted(tags):
        longer = f"{packed[-1]} OR #{tag}" if packed else ""
        if longer and len(longer) <= RULE_LENGTH:
            packed[-1] = longer
        else:
            packed.append(f"#{tag}")
    return packed


def described(problem: Any) -> str:
    """What X says of a problem, in any of the forms it has for that."""
    if not isinstance(problem, dict):
        return str(problem)[:200]
    names = ("title", "connection_issue", "disconnect_type", "detail", "message")
    return ": ".join(str(problem[n]) for n in names if problem.get(n))[:200] or str(problem)[:200]


def said(error: BaseException) -> str:
    return str(error) or type(error).__name__


SOURCE = X
