"""Posts from Bluesky, through a Jetstream websocket: the model for whoever adds a network.

A network is one file with one class, named SOURCE at its end. What the class declares is all
that the rest of the app knows of the network. In the order of reading: the class, the
websocket, and the wire form (https://github.com/bluesky-social/jetstream, "Legacy v1 JSON
Payload").

The cursor is a time, in microseconds since 1970. Every server has a time of its own for the
same post, and on one server, too, the times are not strictly in order. So after every cut
the last minute is read again, from whichever server answers, and the ingester drops what it
has counted by the post's id (`repeats`).
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from msgspec import field
from msgspec.structs import replace

from app.hashtags import named
from app.messages import Checkpoint, Message, Post
from app.sources import Part, Source, SourceLost, decoder, members, said

SILENCE_SECONDS = 20.0
"""Some 25 posts come in a second; a server without any is out of order, though it may ping."""
SECOND = 1_000_000
"""Times of Jetstream are in microseconds."""
DAY = 86_400 * SECOND
REREAD = 60 * SECOND
"""How much is read again after a cut: by so much two servers' times may differ."""
GAP = 60 * SECOND
"""When the first message is so much later than asked for, posts are missing."""
PRESENT = 10 * SECOND
"""Messages from the last seconds before the connect are the present, not the past."""
UNREAD_AT_MOST = 100
"""Messages without a hashtag that pass unread before one is read for its time."""
EARLIEST = 10**15
"""A time in the year 2001: a server takes a lower cursor for something else than a time."""
LATEST = 10**17
"""A time in the year 5138: what is later is no time."""


class Bluesky(Source):
    name = "bluesky"
    complete = goes_back = repeats = True

    def __init__(self, *arguments: Any, silence: float = SILENCE_SECONDS) -> None:
        super().__init__(*arguments)
        self.silence = silence
        self.turn = 0
        """Which of the servers is next."""
        self.resume = 0
        """The time to go back to, in microseconds; 0 before there is one."""
        self.connected_at = 0
        """In microseconds."""
        self.heard = False
        """Whether this connection has brought a message whose time makes sense."""
        self.unread = 0
        """How many messages passed unread since the last one that was read."""

    async def posts(self, cursor: str) -> AsyncIterator[Message]:
        """One connection to one of the servers; the next call takes the next one.

        Every post with a hashtag, and now and then a checkpoint.
        """
        urls = self.settings.jetstream_url
        url, self.turn = urls[self.turn % len(urls)], self.turn + 1
        self.begin(cursor)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=2 * self.silence)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                self.connect(session, url) as socket,
            ):
                async for raw in messages(socket, self.silence):
                    if message := self.read(raw):
                        yield message
            raise SourceLost(f"{host(url)} closed the connection ({socket.close_code})")
        except TimeoutError as error:
            raise SourceLost(f"{host(url)} sent no message for {self.silence:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise SourceLost(f"{host(url)}: {said(error)}") from error

    def begin(self, cursor: str) -> None:
        """A new connection, which goes back to the cursor, if that is one of ours."""
        self.connected_at = int(self.clock() * SECOND)
        digits = len(cursor) < 20 and cursor.isascii() and cursor.isdigit()
        self.resume = int(cursor) if digits and self.is_a_time(int(cursor)) else 0
        self.catching_up = self.resume > 0
        self.heard, self.unread = False, UNREAD_AT_MOST

    def connect(self, session: aiohttp.ClientSession, url: str) -> Any:
        cursor = {"cursor": str(self.resume)} if self.resume else {}
        return session.ws_connect(
            url if urlsplit(url).path else f"{url}/subscribe",
            params={"wantedCollections": COLLECTION} | cursor,
            timeout=aiohttp.ClientWSTimeout(ws_receive=self.silence, ws_close=1.0),
            autoping=False,
            decode_text=False,  # else a text that is not UTF-8 ends the connection, every time
        )

    def read(self, raw: bytes) -> Message | None:
        """What a message brings; a bad one is skipped and counted."""
        self.tap(raw)
        if self.unread < UNREAD_AT_MOST and not may_have_hashtags(raw):
            self.unread += 1
            return None
        try:
            event = read_event(raw)
            post = post_of(event)
        except (ValueError, RecursionError) as error:
            self.skip(f"{type(error).__name__}: {raw[:80]!r}")
            return None
        self.came(event.time_us)
        cursor = str(self.resume or "")
        if post and post.hashtags:
            written = post.written if self.is_a_time(event.time_us) else 0
            return replace(post, cursor=cursor, written=written)
        return Checkpoint(self.name, cursor) if cursor else None

    def came(self, time_us: int) -> None:
        """A message of this time was read: we live, and the cursor may move."""
        self.unread = 0
        if not self.is_a_time(time_us):
            if not self.heard:
                self.say("live")
            return
        if not self.heard:
            self.say_what_is_missing(time_us)
        self.heard = True
        self.resume = max(self.resume or time_us, time_us - REREAD)
        if time_us >= self.connected_at - PRESENT:
            self.catching_up = False

    def say_what_is_missing(self, first: int) -> None:
        """The first message tells: where the cursor is too old, a server silently starts at
        the oldest that it has."""
        missing = first - self.resume if self.resume else 0
        if missing > GAP:
            span = timedelta(seconds=missing // SECOND)
            self.say("live", f"the posts of {span} are missing", first / SECOND)
        else:
            self.say("live", unbroken_since=self.resume / SECOND if self.resume else None)

    def is_a_time(self, time_us: int) -> bool:
        """A cursor far in the future would lose all that comes until then."""
        return EARLIEST <= time_us < self.clock() * SECOND + DAY

    @staticmethod
    def parse(line: bytes | str) -> Post | None:
        return post_of(read_event(line))

    @staticmethod
    def is_message(line: bytes) -> bool:
        found = members(line)
        return bool(found.get("commit") or found.get("kind"))


async def messages(
    socket: "aiohttp.ClientWebSocketResponse[Any]", silence: float
) -> AsyncIterator[bytes]:
    """Each message. Raises TimeoutError when none comes, however often the server pings."""
    now = asyncio.get_running_loop().time
    heard = now()
    async for frame in socket:
        if frame.type is aiohttp.WSMsgType.PING:
            await socket.pong(frame.data)
            if now() > heard + silence:
                raise TimeoutError
        elif frame.type is aiohttp.WSMsgType.TEXT:
            heard = now()
            yield frame.data
        elif frame.type is aiohttp.WSMsgType.ERROR:
            raise ConnectionError(said(frame.data))


def host(url: str) -> str:
    return urlsplit(url).netloc


def may_have_hashtags(raw: bytes) -> bool:
    """False only where decoding could find none; letters that JSON escapes are rare."""
    return b"facet#tag" in raw or b'"tags"' in raw or b"\\u00" in raw


COLLECTION = "app.bsky.feed.post"
TAG = "app.bsky.richtext.facet#tag"


class Feature(Part):
    """Clients write what they like here: a tag is one only where it is a text."""

    type: Any = field(name="$type", default=None)
    tag: Any = None


class Facet(Part):
    features: list[Feature] | None = None


class Record(Part):
    """What the client wrote; its hashtags stand in its facets and in its `tags`."""

    facets: list[Facet] | None = None
    tags: list[Any] | None = None


class Commit(Part):
    """A change to somebody's repository; only one that deletes has no record."""

    operation: str
    collection: str
    rkey: str
    record: Record | None = None


class Event(Part):
    """A message. time_us: when the server saw it, in microseconds since 1970."""

    did: str
    time_us: int
    commit: Commit | None = None


read_event = decoder(Event)


def post_of(event: Event) -> Post | None:
    """None for what is no new post. Raises ValueError for a new post without a record."""
    commit = event.commit
    if commit is None or commit.operation != "create" or commit.collection != COLLECTION:
        return None
    if commit.record is None:
        raise ValueError("a new post without a record")
    return Post(
        source="bluesky",
        id=f"{event.did}/{commit.rkey}",
        written=event.time_us // 1000 if 0 <= event.time_us < LATEST else 0,
        author=event.did,
        hashtags=named(tags_of(commit.record)),
    )


def tags_of(record: Record) -> Iterator[Any]:
    for facet in record.facets or ():
        for feature in facet.features or ():
            if feature.type == TAG:
                yield feature.tag
    yield from record.tags or ()


SOURCE = Bluesky
