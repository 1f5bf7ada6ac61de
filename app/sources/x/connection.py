"""One connection to X: tweepy's stream made to end when its connection does.

tweepy alone reconnects without a wait after a clean close, ends for good on one bad line, and
retries a wrong token for ever.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
from tweepy.asynchronous import AsyncStreamingClient
from yarl import URL

from app.sources import SourceLost, public_reason
from app.sources.x.waits import XWaits
from app.sources.x.wire import TOLD_AT_MOST, described, printable

MEANING = {
    400: "It does not take our request.",
    401: "X_BEARER_TOKEN is not valid.",
    403: "This app may not read posts from X.",
}
"""What no waiting will mend."""
CLOCK_SECONDS = 2.0
"""X takes no question about what is to come, so by more than that our clock must not be ahead."""
LIMITS = (402, 420, 429)
"""Too much for now: credits used up, calm down, too many requests."""
LONGEST_ANSWER = 2**23
"""Bytes of an answer that is no stream: a thousand rules of 1,024 characters take 7 MB where each
is escaped as six bytes."""
ANSWER_SECONDS = 60.0
"""So long may it take to come, whatever it says."""
PLAIN = {"Accept-Encoding": "identity"}
"""What every request asks for: of a compressed answer nobody knows how long it will be."""


@dataclass(frozen=True)
class CountsAnswer:
    """X's counts for some minutes of a hashtag, in their place among the lines of the stream.

    counted: set when they were counted.
    """

    hashtag: str
    minutes: Sequence[tuple[int, int, int]]
    counted: asyncio.Event


Line = bytes | CountsAnswer | None
"""A line of the stream; None for a keep-alive and for the connect."""


class NoStream(ConnectionError):
    """X's answer is no failure, and no stream either."""

    def __init__(self, status: int) -> None:
        super().__init__(f"X answered {status}, which is no stream")
        self.status = status


class OneConnection(AsyncStreamingClient):  # type: ignore[misc]
    """tweepy's stream, but it ends with its connection and says how that ended."""

    def __init__(self, token: str, session: "Gateway") -> None:
        super().__init__(token, return_type=dict)
        self.session = session
        self.received: asyncio.Queue[Line | Exception] = asyncio.Queue()
        """Lines, and what ended them. Without a bound of its own, as a line that is left with
        aiohttp is lost with a cut: X sends at most 250 a second, and the day's ceiling holds."""
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
        raise NoStream(status_code)

    async def on_connection_error(self) -> None:
        raise  # tweepy calls this while it handles the error: hand the error on

    async def on_exception(self, exception: Exception) -> None:
        self.received.put_nowait(exception)


class BoundedResponse(aiohttp.ClientResponse):
    """An answer of which no more than LONGEST_ANSWER is read; a stream's lines have their limit
    from the session."""

    async def read(self) -> bytes:
        """Raises SourceLost for a longer one, TimeoutError for one that takes too long."""
        if self._body is None:
            found = bytearray()
            async with asyncio.timeout(ANSWER_SECONDS):
                async for chunk in self.content.iter_any():
                    found += chunk
                    if len(found) > LONGEST_ANSWER:
                        self.close()
                        raise SourceLost(f"X answered with more than {LONGEST_ANSWER} bytes")
            self._body = bytes(found)
        return self._body


class Gateway:
    """As much of an aiohttp session as tweepy uses, with the address that we choose.

    tweepy has its host fixed, but takes a session that is already there as it is. A user in the
    address is left out: the header for it has the token.
    """

    def __init__(self, session: aiohttp.ClientSession, address: str) -> None:
        self.session, self.address = session, URL(address).with_user(None)
        self.headers, self.close = session.headers, session.close

    @property
    def closed(self) -> bool:
        return self.session.closed

    def request(self, method: str, url: str, **options: Any) -> Any:
        path = self.address.path.rstrip("/") + url.removeprefix("https://api.twitter.com")
        asked = self.address.with_path(path, keep_query=True)
        # X leads nowhere else, and whoever does is not to have the token
        return self.session.request(method, asked, allow_redirects=False, **options)


async def refusal(
    response: aiohttp.ClientResponse, now: float, waits: XWaits, hide: Callable[[str], str]
) -> None:
    """Raise SourceLost for an answer that is no success, with the wait that X wants.

    hide: takes our secrets out of a text, should something repeat what it was sent.
    """
    told = f"X answered {response.status}"
    compressed = response.headers.get("Content-Encoding", "identity") != "identity"
    if 200 <= response.status < 300:
        if compressed:
            raise SourceLost(f"{told}, compressed, which was not asked for", waits.error())
        return
    why = "compressed" if compressed else hide(reason(await body(response)))[:TOLD_AT_MOST]
    text = f"{told}: {why}"
    if response.status in LIMITS:
        raise SourceLost(text, waits.limited(now, reset_time(response.headers)), public=told)
    ahead = ahead_of(response.headers, now) if "end_time" in response.url.query else 0
    if response.status == 400 and ahead > CLOCK_SECONDS:
        clock = f"This machine's clock is {ahead:,.0f} s ahead of X's."
        raise SourceLost(f"{text}. {clock}", waits.error(), public=f"{told}. {clock}")
    if meaning := MEANING.get(response.status):
        raise SourceLost(f"{text}. {meaning}", for_good=True, public=f"{told}. {meaning}")
    raise SourceLost(text, waits.error(), public=told)


async def body(response: aiohttp.ClientResponse) -> str:
    """What it says of the refusal; what cannot be read does not hide the refusal itself."""
    try:
        return await response.text(errors="replace")
    except (SourceLost, TimeoutError) as lost:
        return public_reason(lost)


def ahead_of(headers: Mapping[str, str], now: float) -> float:
    """By how many seconds our clock is ahead of X's; 0 where its answer has no date."""
    try:
        return now - parsedate_to_datetime(headers.get("Date", "")).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def reason(body: str) -> str:
    """The reason in an answer's body, as X or something between us wrote it."""
    try:
        return described(json.loads(body)) or printable(body)
    except (ValueError, RecursionError):
        return printable(body)


def reset_time(headers: Mapping[str, str]) -> float | None:
    """When X lifts its limit on requests; None when it is not this limit that we met.

    The headers are in every answer: a 429 for another reason has requests remaining.
    """
    remaining = headers.get("x-rate-limit-remaining", "0")
    reset = headers.get("x-rate-limit-reset", "")
    return float(reset) if remaining == "0" and reset.isdecimal() else None
