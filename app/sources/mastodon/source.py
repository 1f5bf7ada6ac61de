"""Posts from a Mastodon server: from its stream with a token, else from its timelines.

The wire form: https://docs.joinmastodon.org/methods/streaming/ (events and their payloads).

The public stream is quick but not all: it leaves out replies, and what came while we were
away. So with a token, too, the timelines of the hashtags are asked for, more slowly, and
what one way has brought is dropped from the other.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any

import aiohttp
from msgspec.structs import replace
from yarl import URL

from app.hashtags import spelling
from app.messages import Checkpoint, Message, Post
from app.sources import Source, SourceLost, said
from app.sources.mastodon.timelines import (
    SECONDS_A_PLAIN_REQUEST,
    SECONDS_A_REQUEST,
    Pace,
    Timelines,
    Windows,
)
from app.sources.mastodon.wire import (
    Event,
    as_line,
    events,
    is_message,
    order,
    parse,
    parse_event,
    parse_status,
    wait_of,
)

SILENCE_SECONDS = 45.0
"""The stream has a heartbeat every 15 s."""
PAGE_SECONDS = 15.0
ROUND_SECONDS = 60.0
"""Beside the stream, each timeline is asked for once in this time."""
TROUBLE_SECONDS = 300.0
LIMITED_SECONDS = 60.0
"""How long to wait when the server says that it is too much, but not until when."""
REDIRECTS = (301, 302, 303, 307, 308)


class Mastodon(Source):
    name = "mastodon"
    needs = ("mastodon_url",)
    goes_back = True
    parse = staticmethod(parse)
    is_message = staticmethod(is_message)

    def __init__(
        self,
        *arguments: Any,
        silence: float = SILENCE_SECONDS,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__(*arguments)
        self.silence, self.pause = silence, pause
        self.server, self.token = URL(self.settings.mastodon_url), self.settings.mastodon_token
        self.complete = bool(self.token)
        self.tracked = frozenset(self.settings.hashtags)
        self.pace = Pace(self.clock)
        self.windows = self.open_windows("")
        self.trouble = ""
        self.page_read: dict[str, Any] = {}
        """The statuses of the last page, by their ids: at most timelines.PAGE."""

    async def posts(self, cursor: str) -> AsyncIterator[Message]:
        """Every new post; what came since the cursor is in the timelines."""
        if cursor != self.windows.cursor:  # else it knows more than the cursor holds
            self.windows = self.open_windows(cursor)
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=self.silence)
        try:
            async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
                get = partial(self.page, session)
                timelines = Timelines(self.settings.hashtags, self.windows, get, self.clock)
                found = self.streamed(session, timelines) if self.token else self.polled(timelines)
                async with aclosing(found):
                    async for message in found:
                        yield message
        except TimeoutError as error:
            raise SourceLost(f"{self.server.host} was silent for {self.silence:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise SourceLost(f"{self.server.host}: {said(error)}") from error

    def open_windows(self, cursor: str) -> Windows:
        return Windows(str(self.server), self.settings.hashtags, cursor, self.clock())

    async def polled(self, timelines: Timelines) -> AsyncGenerator[Message, None]:
        """Without a token: the timelines in turn, at the pace that the server allows.

        When each was asked once, nothing is missing of the time since the cursor was made.
        """
        away_since: float | None = self.windows.as_of or None
        while True:
            await self.pause(self.pace.wait())
            async for post in timelines.step():
                yield self.found(post, timelines)
            whole_since = None if timelines.behind else away_since
            reason = "without MASTODON_TOKEN the hashtags are asked for in turn"
            self.say("polling", reason, unbroken_since=whole_since)
            away_since = away_since if timelines.behind else None
            yield self.checkpoint()

    async def streamed(
        self, session: aiohttp.ClientSession, timelines: Timelines
    ) -> AsyncGenerator[Message, None]:
        """With a token: the public stream and, when it is due, the next timeline.

        What was missed is whole for the tracked hashtags only, as only they have timelines
        that we ask for: so it is not said that no post is missing from that time.
        """
        async with await self.open_stream(session) as response:
            self.say("live", self.trouble)
            async for event in events(response.content):
                if event:
                    self.tap(as_line(event["event"], event["payload"]))
                post = self.read(parse_event, Event(**event))
                if post and (new := self.not_counted(post)):
                    yield new
                if not self.pace.wait():
                    async for post in self.beside(timelines):
                        yield self.found(post, timelines)
                    self.say("live", self.trouble)
                    yield self.checkpoint()
        raise SourceLost(f"{self.server.host} closed the stream")

    def not_counted(self, post: Post) -> Post | None:
        """What is not counted yet of a post of the stream."""
        self.catching_up = False
        if self.windows.is_new(post, self.clock()):
            return self.counted(post, post.hashtags)
        if self.windows.is_partly_counted(post):
            return self.counted(post, self.named(post, tracked=False))
        return None

    def found(self, post: Post, timelines: Timelines) -> Post:
        """A new post of a timeline; for a recording it looks like one of the stream.

        Only its tracked hashtags count: of the others we see but those that stand beside
        a tracked one, which would be a biased sample.
        """
        self.catching_up = timelines.behind
        self.tap(as_line("update", json.dumps(self.page_read[post.id])))
        return self.counted(post, self.named(post, tracked=True))

    def named(self, post: Post, tracked: bool) -> dict[str, str]:
        """The post's hashtags that are tracked, or those that are not."""
        return {
            tag: as_is for tag, as_is in post.hashtags.items() if (tag in self.tracked) == tracked
        }

    def counted(self, post: Post, hashtags: Mapping[str, str]) -> Post:
        return replace(post, hashtags=hashtags, cursor=self.windows.mark(self.clock()))

    def checkpoint(self) -> Checkpoint:
        return Checkpoint(self.name, self.windows.mark(self.clock()))

    async def beside(self, timelines: Timelines) -> AsyncIterator[Post]:
        """One request beside the stream, which goes on whatever comes of it."""
        try:
            async for post in timelines.step():
                yield post
        except (SourceLost, aiohttp.ClientError, OSError, TimeoutError) as error:
            self.trouble = f"its stream only; timelines: {said(error)}"
            self.pace.leave(getattr(error, "wait", None) or TROUBLE_SECONDS)
            return
        self.trouble = ""
        if not timelines.behind:
            self.pace.leave(ROUND_SECONDS / len(self.settings.hashtags))

    async def open_stream(self, session: aiohttp.ClientSession) -> aiohttp.ClientResponse:
        """The stream may be on another host: the server then redirects to it.

        aiohttp would follow, but without the token.
        """
        url = self.server / "api/v1/streaming/public"
        headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
        response = await session.get(url, headers=headers, allow_redirects=False)
        if response.status in REDIRECTS:
            response.release()
            url = self.elsewhere(response.headers.get("Location", ""))
            response = await session.get(url, headers=headers, allow_redirects=False)
        if response.status != 200:
            response.release()
            raise self.refused(response)
        return response

    def elsewhere(self, location: str) -> URL:
        """Where a redirect leads, if the token may go there."""
        try:
            url = URL(location)
        except ValueError:
            url = URL()
        if not url.host or (url.scheme != "https" and self.server.scheme == "https"):
            raise SourceLost(f"{self.server.host} sends us to {location[:80]!r}")
        return url

    async def page(self, session: aiohttp.ClientSession, tag: str, **query: Any) -> list[Post]:
        """A page of a hashtag's timeline, the oldest post first."""
        plain = query.keys() <= {"limit"}
        timeout = aiohttp.ClientTimeout(total=PAGE_SECONDS)
        url = self.server / "api/v1/timelines/tag" / spelling(tag)
        async with session.get(url, params=query, timeout=timeout) as response:
            self.pace.sent(
                SECONDS_A_PLAIN_REQUEST if plain else SECONDS_A_REQUEST, response.headers
            )
            if response.status == 404 and response.content_type == "application/json":
                return []  # a hashtag that nobody has used yet
            if response.status != 200:
                raise self.refused(response)
            text = await response.read()
        try:
            statuses = json.loads(text)
        except (ValueError, RecursionError):
            statuses = None
        if not isinstance(statuses, list):
            raise SourceLost(f"{self.server.host} answered with what is no timeline")
        read = [(self.read(parse_status, status), status) for status in statuses]
        self.page_read = {post.id: status for post, status in read if post}
        return sorted((post for post, _ in read if post), key=lambda post: order(post.id))

    def refused(self, response: aiohttp.ClientResponse) -> SourceLost:
        text, status = f"{self.server.host} answered {response.status}", response.status
        wait = wait_of(response.headers, self.clock())
        if status in (401, 403, 422):
            meaning = (
                "MASTODON_TOKEN is not valid, or not a user's, or lacks the scope read:statuses"
                if self.token
                else "it shows hashtags to its users only, so MASTODON_TOKEN is needed"
            )
            return SourceLost(f"{text}: {meaning}", for_good=True)
        if status == 429 and wait is None:
            wait = LIMITED_SECONDS
        return SourceLost(f"{text}: no such thing there" if status == 404 else text, wait)

    def read(self, parser: Callable[[Any], Post | None], given: Any) -> Post | None:
        """What a message brings; a bad one is skipped and counted."""
        try:
            return parser(given)
        except (ValueError, RecursionError) as error:
            self.skip(f"{type(error).__name__}: {str(given)[:80]!r}")
            return None
