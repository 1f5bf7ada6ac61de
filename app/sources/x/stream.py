"""Posts from X, through tweepy's client of the v2 filtered stream.

tweepy speaks to X; when to come back, and what to do with a line, is decided here: each call
of posts() is one connection, and how that ended is what it raises.

Wire form and limits: https://docs.x.com/x-api/posts/filtered-stream
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import aiohttp
from aiohttp.http import HttpProcessingError
from msgspec.structs import replace
from tweepy import StreamRule
from tweepy.asynchronous import AsyncStreamingClient

from app.hashtags import spelling
from app.messages import Message, Post
from app.sources import Source, SourceLost, public_reason, trouble_with
from app.sources.x.budget import DOLLARS_A_POST, Budget
from app.sources.x.connection import (
    PLAIN,
    BoundedResponse,
    Gateway,
    Line,
    OneConnection,
    refusal,
)
from app.sources.x.waits import XWaits
from app.sources.x.wire import REMARKS, TOLD_AT_MOST, described, is_message, parse
from app.urls import showable

RULE_TAG = "hashtag-pulse"
RULE_LENGTH = 1024
STALL_SECONDS = 25.0
"""X sends something, a keep-alive at the least, every 20 s."""
LONGEST_LINE = 2**20
"""Bytes of a line: a long post has 25,000 characters, of up to 12 bytes where they are escaped. One
that is more than twice as long ends the connection before all of it is read."""
IDS_REMEMBERED = 20_000
NO_COVERAGE = "stream"
"""A cursor that nothing can be read from: it takes the place of one that is true no more."""


class X(Source):
    """The stream alone: it cannot go back, so what it missed is missing."""

    name = "x"
    needs = ("x_bearer_token",)
    parse = staticmethod(parse)
    is_message = staticmethod(is_message)

    def __init__(self, *arguments: Any, stall: float = STALL_SECONDS) -> None:
        super().__init__(*arguments)
        self.waits, self.stall = XWaits(), stall
        self.seen: dict[str, None] = {}
        """The ids of the last posts, at most IDS_REMEMBERED."""
        self.client: OneConnection | None = None
        self.budget: Budget | None = None

    async def posts(self, cursor: str) -> AsyncIterator[Message]:
        """Each post of one connection, a repeated one only once, within the day's budget."""
        self.client, budget = None, self.account_of_the_day()
        try:
            if budget:
                await budget.refill()
            async with aclosing(self.received()) as received:
                async for line in received:
                    post = self.read(line)
                    new = post if post and self.is_new(post) else None
                    for counted in self.counted(line, new):
                        yield counted
                    if post and budget:
                        await budget.spend()
        finally:
            if budget:
                await budget.give_back()

    def account_of_the_day(self) -> Budget | None:
        """One for all connections, lest what was read while Redis is away is forgotten."""
        if self.store and not self.budget:
            ceiling = self.settings.x_posts_per_day
            self.budget = Budget(
                self.store, self.name, ceiling, DOLLARS_A_POST, self.clock, self.waiting
            )
        return self.budget

    def waiting(self) -> int:
        return self.client.waiting if self.client else 0

    def counted(self, line: Line, new: Post | None) -> Sequence[Message]:
        """What is handed over for a line, and for the new post that it may have brought."""
        if new and new.hashtags:
            return [replace(new, cursor=NO_COVERAGE)]
        return [new] if new else []

    async def received(self) -> AsyncGenerator[Line, None]:
        """Set the rules, connect once, and yield what comes."""
        if wait := self.waits.connect(self.clock()):
            raise SourceLost("X allows no more connects in these 15 minutes", wait)
        try:
            async with self.session(self.waits) as session:
                client = OneConnection(
                    self.settings.x_bearer_token, Gateway(session, self.settings.x_api_url)
                )
                self.client = client
                await self.sync_rules(client)
                async with aclosing(self.lines(client)) as lines:
                    async for line in lines:
                        yield line
        except (aiohttp.ClientError, HttpProcessingError, OSError, UnicodeError) as error:
            raise self.cut(error) from None

    def cut(self, error: Exception) -> SourceLost:
        """The connection failed: viewers are told why, and the owner also where it was to."""
        why, to = public_reason(error), showable(self.settings.x_api_url)
        return SourceLost(
            f"the connection to {to} failed: {why}",
            self.waits.cut(),
            public=f"the connection to X failed: {why}",
        )

    def lines(self, client: OneConnection) -> AsyncGenerator[Line, None]:
        return client.lines()

    def session(self, waits: XWaits) -> aiohttp.ClientSession:
        """A session in which an answer that is no success raises SourceLost with its wait."""

        async def refuse(response: aiohttp.ClientResponse) -> None:
            await refusal(response, self.clock(), waits, self.settings.hide)

        return aiohttp.ClientSession(
            headers=PLAIN,
            cookie_jar=aiohttp.DummyCookieJar(),  # what X sets would be kept without bound
            raise_for_status=refuse,
            response_class=BoundedResponse,
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=self.stall),
            read_bufsize=LONGEST_LINE,
        )

    async def sync_rules(self, client: AsyncStreamingClient) -> None:
        """Make X's rules those of the tracked hashtags; touches no rule but our own."""
        wanted = set(rules(self.settings.hashtags))
        try:
            rows = (await client.get_rules()).get("data") or ()
            ours = {rule["value"]: rule["id"] for rule in rows if rule.get("tag") == RULE_TAG}
            if stale := [id for value, id in ours.items() if value not in wanted]:
                await client.delete_rules(stale)
            missing = [StreamRule(value, RULE_TAG) for value in sorted(wanted - set(ours))]
            answer = await client.add_rules(missing) if missing else {}
            # a duplicate is no problem: somebody else's rule brings these posts as well
            refused = [p for p in answer.get("errors") or () if p.get("title") != "DuplicateRule"]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            text = f"X's answer about our rules could not be read: {type(error).__name__}"
            raise SourceLost(text, self.waits.error()) from None
        if refused:
            told = "X refused a rule"
            raise SourceLost(f"{told}: {self.quoted(refused)}", self.waits.error(), public=told)

    def quoted(self, message: Any) -> str:
        """What X says of a problem, without our secrets, should something repeat them."""
        return self.settings.hide(described(message))[:TOLD_AT_MOST]

    def read(self, line: Line) -> Post | None:
        """What a line of the stream holds; a bad one is skipped and counted.

        Raises SourceLost when X says in the stream that it ends it.
        """
        if line is None:
            self.say("live")
            self.waits.worked(self.clock())
            return None
        if not isinstance(line, bytes):
            return None
        self.tap(line)
        try:
            if len(line) > LONGEST_LINE:
                raise ValueError(f"a line of {len(line)} bytes")
            if post := parse(line):
                self.waits.worked(self.clock())
            else:
                self.hear(json.loads(line), line)
        except SourceLost:
            raise
        except Exception as error:  # noqa: BLE001 - no post of a stranger ends the others' stream
            self.skip(trouble_with(error, line))
            return None
        return post

    def hear(self, message: dict[str, Any], line: bytes) -> None:
        """A message without a post: X ends the stream (raises SourceLost), or only remarks."""
        text = self.quoted(message)
        if "oo many connections" in text or "TooManyConnections" in text:
            wait = self.waits.limited(self.clock(), None)
            raise SourceLost(f"X: {text}", wait, public="X has too many connections of this app")
        if "isconnect" in text or "losing connection" in text:
            raise SourceLost(f"X: {text}", self.waits.cut(), public="X ended the stream")
        if REMARKS.isdisjoint(message):
            self.skip(text or f"no post, {len(line)} long")

    def is_new(self, post: Post) -> bool:
        """Whether it is the first of this id, of those that are remembered."""
        if post.id in self.seen:
            return False
        self.seen[post.id] = None
        if len(self.seen) > IDS_REMEMBERED:
            del self.seen[next(iter(self.seen))]
        return True

    def price(self) -> str:
        posts = self.settings.x_posts_per_day
        return (
            f"x: costs ${DOLLARS_A_POST} for every post read, "
            f"at most ${DOLLARS_A_POST * posts:,.2f} a day (X_POSTS_PER_DAY={posts})."
        )


def rules(tags: tuple[str, ...]) -> list[str]:
    """Rules that match the hashtags, as few as their length allows."""
    packed: list[str] = []
    for tag in sorted(tags):
        term = f"#{spelling(tag)}"
        longer = f"{packed[-1]} OR {term}" if packed else ""
        if longer and len(longer) <= RULE_LENGTH:
            packed[-1] = longer
        else:
            packed.append(term)
    return packed
