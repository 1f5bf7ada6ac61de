"""Posts from a Mastodon server: from its stream with a token, else from its timelines.

The wire form: https://docs.joinmastodon.org/methods/streaming/ (events and their payloads).

The public stream is quick but not all: it leaves out replies, and what came while we were
away. So with a token, too, the timelines of the hashtags are asked for, more slowly, and
what one way has brought is dropped from the other.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any, TypeVar

import aiohttp
from msgspec.structs import replace
from yarl import URL

from app.hashtags import spelling
from app.messages import Checkpoint, Message, Post, Shown
from app.retry import wait_of
from app.sources import Source, SourceLost, public_reason, trouble_with
from app.sources.mastodon.timelines import (
    PAGE,
    SECONDS_A_PLAIN_REQUEST,
    SECONDS_A_REQUEST,
    Page,
    RequestPace,
    Timelines,
    Windows,
)
from app.sources.mastodon.wire import (
    PAGE_BYTES,
    Event,
    PageTooLong,
    as_line,
    body,
    deletion_of,
    events,
    id_of,
    is_message,
    order,
    parse,
    parse_event,
    parse_text,
    statuses_of,
    streaming_url,
)
from app.urls import showable

SILENCE_SECONDS = 45.0
"""The stream has a heartbeat every 15 s."""
PAGE_SECONDS = 15.0
ROUND_SECONDS = 60.0
"""Beside the stream, each timeline is asked for once in this time."""
TROUBLE_SECONDS = 300.0
LIMITED_SECONDS = 60.0
"""How long to wait when the server says that it is too much, but not until when."""
REDIRECTS = (301, 302, 303, 307, 308)

Found = TypeVar("Found")


class Mastodon(Source):
    """With a token the stream of a server; without one the timelines of the tracked hashtags."""

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
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(*arguments)
        self.silence, self.pause = silence, pause
        self.server, self.token = URL(self.settings.mastodon_url), self.settings.mastodon_token
        if self.token and self.server.host:  # a request has room for one of both
            self.server = self.server.with_user(None)
        self.complete = self.misses_deletions = bool(self.token)
        self.tracked = frozenset(self.settings.hashtags)
        self.pace = RequestPace(elapsed)
        self.windows = self.open_windows("")
        self.turn = deque(self.settings.hashtags)
        """Whose timeline is asked for next: it goes on where a lost connection left it, lest the
        last ones never have their turn."""
        self.trouble = ""
        """Why the timelines beside a stream cannot be read; viewers are told."""
        self.page_read: dict[str, bytes] = {}
        """The statuses of the last page as their JSON, by their ids: at most timelines.PAGE."""

    async def posts(self, cursor: str) -> AsyncIterator[Message]:
        """Every new post; what came since the cursor is in the timelines."""
        if cursor != self.windows.cursor:  # else it knows more than the cursor holds
            self.windows = self.open_windows(cursor)
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=self.silence)
        try:
            cookies = aiohttp.DummyCookieJar()  # what it sets would be kept without bound
            async with aiohttp.ClientSession(
                headers=headers, timeout=timeout, cookie_jar=cookies
            ) as session:
                get = partial(self.page, session)
                timelines = Timelines(self.turn, self.windows, get, self.clock)
                found = self.streamed(session, timelines) if self.token else self.polled(timelines)
                async with aclosing(found):
                    async for message in found:
                        yield message
        except aiohttp.ConnectionTimeoutError as error:
            raise self.lost(public_reason(error)) from None
        except TimeoutError:
            raise self.lost(f"it was silent for {self.silence:g} s") from None
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            raise self.lost(public_reason(error)) from None

    def lost(self, why: str, wait: float | None = None, for_good: bool = False) -> SourceLost:
        """The server is lost: viewers are told why, and the owner also which one it is."""
        return SourceLost(f"{showable(str(self.server))}: {why}", wait, for_good, public=why)

    def open_windows(self, cursor: str) -> Windows:
        return Windows(showable(str(self.server)), self.settings.hashtags, cursor, self.clock())

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
            async for event in events(response.content, self.silence):
                if event:
                    self.tap(as_line(event["event"], event["payload"]))
                told, payload = Event(**event), event.get("payload", "")
                if gone := self.read(deletion_of, told, payload):
                    yield gone
                post = self.read(parse_event, told, payload)
                if post and (new := self.not_counted(post)):
                    yield new
                if not self.pace.wait():
                    async for post in self.beside(timelines):
                        yield self.found(post, timelines)
                    self.say("live", self.trouble)
                    yield self.checkpoint()
        raise self.lost("it closed the stream")

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
        self.tap(as_line("update", self.page_read[post.id].decode(errors="replace")))
        found = self.counted(post, self.named(post, tracked=True))
        # without the stream nobody would tell us that it was deleted
        told = Shown(post.shown.url) if post.shown and not self.token else post.shown
        return replace(found, shown=told)

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
            self.trouble = f"its stream only; timelines: {public_reason(error)}"
            self.pace.leave(getattr(error, "wait", None) or TROUBLE_SECONDS)
            return
        self.trouble = ""
        if not timelines.behind:
            self.pace.leave(ROUND_SECONDS / len(self.settings.hashtags))

    async def open_stream(self, session: aiohttp.ClientSession) -> aiohttp.ClientResponse:
        """The public stream. The server may have it on another host, and redirect to it."""
        headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
        url = self.server / "api/v1/streaming/public"
        async with asyncio.timeout(self.silence):
            response = await session.get(url, headers=headers, allow_redirects=False)
            if response.status in REDIRECTS:
                response.release()
                url = self.elsewhere(response)
                if not self.is_here(url) and not await self.has_its_stream_at(url, session):
                    raise self.sent_to(url)
                response = await session.get(url, headers=headers, allow_redirects=False)
        if response.status != 200:
            response.release()
            raise self.refused(response)
        return response

    async def has_its_stream_at(self, there: URL, session: aiohttp.ClientSession) -> bool:
        """Whether the server itself names that host as the one of its stream. A redirect alone
        may be anybody's, and the token must not go there."""
        url = self.server / "api/v2/instance"
        async with session.get(url, allow_redirects=False) as response:
            told = streaming_url(await body(response)) if response.status == 200 else ""
        try:
            named = URL(told)
        except ValueError:
            return False
        return (named.host, named.port) == (there.host, there.port)

    def is_here(self, url: URL) -> bool:
        """Whether it is the same server, at another path or with TLS."""
        here = self.server.origin()
        return url.origin() in (here, here.with_scheme("https") if here.is_default_port() else here)

    def elsewhere(self, response: aiohttp.ClientResponse) -> URL:
        """Where a redirect leads."""
        try:
            url = response.url.join(URL(response.headers.get("Location", "")))
            url = url.with_user(None)  # whose header is the token's
        except ValueError:
            raise self.lost("it redirects to what is no address") from None
        if url.scheme not in ("http", "https") or (url.scheme, self.server.scheme) == (
            "http",
            "https",
        ):
            raise self.sent_to(url)
        return url

    def sent_to(self, url: URL) -> SourceLost:
        """Its path and query may hold what we sent."""
        why = "it sends us elsewhere, which MASTODON_URL does not name"
        text = f"{showable(str(self.server))}: it sends us to {url.host or 'no host'}"
        return SourceLost(f"{text}, which MASTODON_URL does not name", public=why)

    async def page(self, session: aiohttp.ClientSession, tag: str, **query: Any) -> Page:
        """A page of a hashtag's timeline."""
        try:
            async with asyncio.timeout(PAGE_SECONDS):
                return await self.asked_page(session, tag, query)
        except TimeoutError as error:
            raise self.lost(public_reason(error)) from None

    async def asked_page(
        self, session: aiohttp.ClientSession, tag: str, query: Mapping[str, Any]
    ) -> Page:
        plain = query.keys() <= {"limit"}
        url = self.server / "api/v1/timelines/tag" / spelling(tag)
        async with session.get(url, params=query, allow_redirects=False) as response:
            seconds = SECONDS_A_PLAIN_REQUEST if plain else SECONDS_A_REQUEST
            self.pace.sent(seconds, response.headers, self.clock())
            if response.status == 404 and response.content_type == "application/json":
                return Page([], "", 0)  # a hashtag that nobody has used yet
            if response.status in REDIRECTS:
                raise self.sent_to(self.elsewhere(response))
            if response.status != 200:
                raise self.refused(response)
            try:
                return self.read_page(await body(response))
            except PageTooLong as error:
                if query["limit"] > 1 or not error.first:
                    raise
                self.skip(f"a status of more than {PAGE_BYTES} bytes")
                return Page([], error.first, 1)

    def read_page(self, text: bytes) -> Page:
        """What an answer brings; statuses that cannot be read are skipped and counted."""
        try:
            statuses = statuses_of(text)[:PAGE]
        except (ValueError, RecursionError):
            raise self.lost("it answered with what is no timeline") from None
        found = [(self.read(parse_text, status, status), status) for status in statuses]
        self.page_read = {post.id: status for post, status in found if post}
        posts = sorted((post for post, _ in found if post), key=lambda post: order(post.id))
        newest = max((post.id if post else id_of(it) for post, it in found), key=order, default="")
        return Page(posts, newest, len(statuses))

    def refused(self, response: aiohttp.ClientResponse) -> SourceLost:
        text, status = f"it answered {response.status}", response.status
        wait = wait_of(response.headers, self.clock())
        if status in (401, 403, 422):
            meaning = (
                "MASTODON_TOKEN is not valid, or not a user's, or lacks the scope read:statuses"
                if self.token
                else "it shows hashtags to its users only, so MASTODON_TOKEN is needed"
            )
            return self.lost(f"{text}: {meaning}", for_good=True)
        if status == 429 and wait is None:
            wait = LIMITED_SECONDS
        return self.lost(f"{text}: no such thing there" if status == 404 else text, wait)

    def read(
        self, parser: Callable[[Any], Found | None], given: Any, shown: str | bytes
    ) -> Found | None:
        """What a message brings; a bad one is skipped and counted."""
        try:
            return parser(given)
        except Exception as error:  # noqa: BLE001 - else it ends us, comes again, and ends us again
            self.skip(trouble_with(error, shown))
            return None
