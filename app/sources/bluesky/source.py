"""The source: one connection after the other, to the servers in turn.

The cursor is a time, in microseconds since 1970 (place.py). After every cut the last minute is
read again, from whichever server answers, and the ingester drops what it has counted by the
post's id (`repeats`).
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import aiohttp
from aiohttp.http import WebSocketError
from msgspec.structs import replace
from yarl import URL

from app.messages import Checkpoint, Message
from app.sources import Source, SourceLost, public_reason, trouble_with
from app.sources.bluesky.place import AGREE, APART, EARLIEST, EARLY_AT_MOST, MINUTE, SECOND, Place
from app.sources.bluesky.wire import (
    COLLECTION,
    LATEST,
    Event,
    committed_at,
    deletion_of,
    is_message,
    may_have_hashtags,
    may_take_back,
    parse,
    post_of,
    read_event,
)
from app.urls import showable

SILENCE_SECONDS = 20.0
"""Some 25 posts come in a second; a server without any is out of order, though it may ping."""
DAY = 1440 * MINUTE
GAP = MINUTE
"""When the first message is so much later than asked for, posts are missing."""
PRESENT = 10 * SECOND
"""Messages from the last seconds before the connect are the present, not the past."""
UNREAD_AT_MOST = 100
"""Messages without a hashtag that pass unread before one is read for its time."""
LONGEST = 2**20
"""Bytes of a message. Servers are asked for none that is longer; a record has a megabyte at most,
and a post some kilobytes."""
READ_AT_MOST = 8 * LONGEST
"""Of a message that comes all the same, and is skipped: as long as JSON can make a record."""
FIRST_STEP = SECOND // 100
"""How far to step over a message that cannot be taken, at first; then twice as far, and so on."""
LONGEST_STEP = DAY


@dataclass(frozen=True)
class Stuck:
    """A message at which the connections of a server end."""

    after: int
    """When the one before it was, by the server's clock."""
    cursor: int
    """What the connection went back to."""
    times: int = 1
    """How often it came."""

    @property
    def step(self) -> int:
        """How far behind that one we go on; it came twice already."""
        return min(FIRST_STEP << min(self.times, 50) - 3, LONGEST_STEP) if self.times > 2 else 0


class Bluesky(Source):
    """All of Bluesky. Bounds: early and stuck have an entry for each of the servers."""

    name = "bluesky"
    complete = goes_back = repeats = True
    parse = staticmethod(parse)
    is_message = staticmethod(is_message)

    def __init__(self, *arguments: Any, silence: float = SILENCE_SECONDS) -> None:
        super().__init__(*arguments)
        self.silence = silence
        self.turn = 0
        """Which of the servers is next."""
        self.early: dict[str, int] = {}
        """How much earlier a server is asked for a time, as its clock is behind."""
        self.stuck: dict[str, Stuck] = {}
        """Of each server, where its last connection ended at a message that cannot be taken."""
        self.begin("")

    async def posts(self, cursor: str) -> AsyncIterator[Message]:
        """One connection to one of the servers; the next call takes the next one.

        Every post with a hashtag, what is taken back, and now and then a checkpoint.
        """
        urls = self.settings.jetstream_url
        url, self.turn = urls[self.turn % len(urls)], self.turn + 1
        for _ in range(2):
            self.begin(cursor, url)
            async with aclosing(self.connected(url)) as received:
                async for raw in received:
                    if message := self.read(raw):
                        yield message
                    if self.place.begun_too_late and self.place.is_sure:
                        break
            # its clock may have been set back in a connection of hours: then on from here
            cursor = str(self.place.cursor)
            self.early[url] = min(AGREE - self.place.behind, EARLY_AT_MOST)
        raise lost_at(url, "its clock goes back")

    def begin(self, cursor: str, url: str = "") -> None:
        """A new connection, which goes back to the cursor, if that is one of ours."""
        self.connected_at = int(self.clock() * SECOND)
        digits = len(cursor) < 20 and cursor.isascii() and cursor.isdigit()
        begun = int(cursor) if digits else 0
        is_a_time = EARLIEST <= begun < LATEST  # our own clock may be behind by years
        self.place = Place(begun if is_a_time else 0, self.early.get(url, 0))
        self.catching_up = self.place.begun > 0
        self.last, self.heard, self.unread = b"", False, UNREAD_AT_MOST
        stuck = self.stuck.get(url)
        steps = stuck and stuck.times > 1 and stuck.cursor <= self.place.begun
        self.stepping = stuck if steps else None
        """Whether this connection is to begin behind a message that cannot be taken."""

    async def connected(self, url: str) -> AsyncGenerator[bytes, None]:
        """Each message of one connection. Raises SourceLost when it is over."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=2 * self.silence)
        try:
            async with aiohttp.ClientSession(timeout=timeout) as session:
                async with asyncio.timeout(self.silence):
                    opened = await self.connect(session, url)
                async with opened as socket:
                    async for raw in messages(socket, self.silence):
                        yield raw
            raise lost_at(url, f"it closed the connection ({socket.close_code})")
        except aiohttp.ConnectionTimeoutError as error:
            raise lost_at(url, public_reason(error)) from None
        except TimeoutError:
            raise lost_at(url, f"it sent no message for {self.silence:g} s") from None
        except WebSocketError:
            self.remember_where_it_ended(url)
            raise lost_at(url, "it sent a message that cannot be taken") from None
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            raise lost_at(url, public_reason(error)) from None

    def connect(self, session: aiohttp.ClientSession, url: str) -> Any:
        asked = URL(url)
        return session.ws_connect(
            asked if asked.path != "/" else asked.with_path("/subscribe", keep_query=True),
            params={
                "wantedCollections": COLLECTION,
                "maxMessageSizeBytes": str(LONGEST),
                **({"cursor": str(self.asked())} if self.asked() else {}),
            },
            timeout=aiohttp.ClientWSTimeout(ws_receive=self.silence, ws_close=1.0),
            autoping=False,
            decode_text=False,  # else a text that is not UTF-8 ends the connection, every time
            max_msg_size=READ_AT_MOST + 1,
        )

    def asked(self) -> int:
        """The time that the server is asked to begin with; 0 for the present."""
        place = self.place
        begun = place.begun - max(place.early, APART) if place.begun else 0
        stuck = self.stepping
        return max(begun, stuck.after + 1 + stuck.step) if stuck else begun

    def remember_where_it_ended(self, url: str) -> None:
        """The server sent what cannot be taken. A message that comes twice is stepped over: we
        go on right behind the one before it, and then further and further, until others come."""
        before, after = self.stuck.get(url), time_of(self.last)
        newest = self.place.newest + self.place.behind if self.place.newest else self.connected_at
        if abs(after - newest) > (AGREE if self.place.newest else DAY):  # its time is none
            after = newest if self.place.newest else self.asked() - 1
        if self.stepping and not self.heard:
            after = self.stepping.after
        times = before.times + 1 if before and after <= before.after else 1
        if after > 0:
            self.stuck[url] = Stuck(after, self.place.begun, times)

    def read(self, raw: bytes) -> Message | None:
        """What a message brings; a bad one is skipped and counted."""
        self.tap(raw)
        self.last = raw
        if self.unread < UNREAD_AT_MOST and not (may_have_hashtags(raw) or may_take_back(raw)):
            self.unread += 1
            return None
        try:
            if len(raw) > LONGEST:
                raise ValueError(f"a message of {len(raw)} bytes")
            return self.brought(read_event(raw))
        except Exception as error:  # noqa: BLE001 - else it ends us, comes again, and ends us again
            self.skip(trouble_with(error, raw))
            return None

    def brought(self, event: Event) -> Message | None:
        """The post of a message, if it is a new one, or that one is there no more; or else how
        far we have come."""
        post, revised = post_of(event), committed_at(event)
        self.came(at := self.place.hear(event.time_us, revised, int(self.clock() * SECOND)), event)
        cursor = str(self.place.cursor or "")
        if post and post.hashtags and not self.place.was_counted(event.time_us, revised):
            return replace(post, cursor=cursor, written=at // 1000)
        if gone := deletion_of(event):
            return replace(gone, cursor=cursor)
        return Checkpoint(self.name, cursor) if cursor else None

    def came(self, at: int, event: Event) -> None:
        """A message of this time was read: we live, and may have come to the present."""
        self.unread = 0
        unproven = self.place.begun_too_late or (self.stepping and not self.place.newest)
        if not at or unproven:
            if not self.heard and not self.place.begun:
                self.say("live")
            return
        if not self.heard:
            self.heard = True
            self.say_what_is_missing(at)
        if max(at, event.time_us) >= self.connected_at - PRESENT:
            self.catching_up = False

    def say_what_is_missing(self, first: int) -> None:
        """The first message tells: where the cursor is too old, a server silently starts at
        the oldest that it has."""
        begun, stuck = self.place.begun, self.stepping
        missing = first - begun if begun else 0
        if stuck:
            span = timedelta(microseconds=stuck.step)
            self.skip(f"one that cannot be taken, and the posts of up to {span} after it")
            self.say("live", f"the posts of up to {span} are missing", first / SECOND)
            self.stuck = {url: it for url, it in self.stuck.items() if it is not stuck}
        elif missing > GAP:
            span = timedelta(seconds=missing // SECOND)
            self.say("live", f"the posts of {span} are missing", first / SECOND)
        else:
            self.say("live", unbroken_since=begun / SECOND if begun else None)


async def messages(
    socket: "aiohttp.ClientWebSocketResponse[Any]", silence: float
) -> AsyncIterator[bytes]:
    """Each message. Raises TimeoutError when none comes, whatever else the server sends; and
    WebSocketError at what is no message, or one that is too long."""
    now = asyncio.get_running_loop().time
    heard = now()
    async for frame in socket:
        if frame.type is aiohttp.WSMsgType.TEXT:
            heard = now()
            yield frame.data
            continue
        if frame.type is aiohttp.WSMsgType.ERROR:
            raise frame.data
        if frame.type is aiohttp.WSMsgType.PING:
            await socket.pong(frame.data)
        if now() > heard + silence:
            raise TimeoutError


def time_of(raw: bytes) -> int:
    """When a message was, by the server's clock; 0 for one that does not say."""
    try:
        return read_event(raw).time_us
    except (ValueError, RecursionError):
        return 0


def lost_at(url: str, reason: str) -> SourceLost:
    """A server is lost: viewers are told why, and the owner also which one it is."""
    return SourceLost(f"{showable(url)}: {reason}", public=reason)
