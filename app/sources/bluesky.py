"""Posts from Bluesky, through a Jetstream websocket.

A cursor is a time, and every server has its own for the same post; on one server, too, the
times are not strictly in order. So after every cut the last minute is read again, from
whichever server answers, and what was counted is dropped by its id. Those ids travel in
the cursor, short and bounded, as they have to outlive a restart together with the counts.
"""

import asyncio
import re
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from datetime import timedelta
from hashlib import blake2b
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from msgspec.structs import replace

from app.messages import Post
from app.sources import Source, SourceLost, said
from app.sources.bluesky_wire import COLLECTION, post_of, read_event

SILENCE_SECONDS = 20.0
"""Some 25 posts come in a second; a server without any is out of order, though it may ping."""
GAP = 60_000_000
"""Microseconds between our cursor and the first message that mean posts are missing."""
REREAD = 60_000_000
"""Microseconds that are read again, which is how far two servers' times may differ."""
KEEP = 2 * REREAD
"""A post that was counted before what is read again can be in it under a later time."""
MOST = 1000
"""Ids in a cursor; with more in the time to keep, less is read again."""
UNREAD_AT_MOST = 100
"""Messages without a hashtag that pass unread before one is read for its time."""
MARK = 8
EARLIEST = 10**15
"""Microseconds since 1970: a server takes a lower cursor for something else than a time."""
DAY = 86_400_000_000


class Bluesky(Source):
    name = "bluesky"
    replays = True

    def __init__(self, *arguments: Any, silence: float = SILENCE_SECONDS) -> None:
        super().__init__(*arguments)
        self.silence = silence
        self.tracked = frozenset(self.settings.hashtags)
        self.turn = 0
        self.heard = False
        self.unread = 0

    async def posts(self, cursor: str) -> AsyncIterator[Post]:
        """One connection to one of the servers; the next call takes the next one.

        Every new post with a hashtag, and now and then one without, which moves the
        cursor. A post without a tracked hashtag may come again after a cut: it does not
        count, so its id is not kept.
        """
        urls = self.settings.jetstream_url
        url, self.turn = urls[self.turn % len(urls)], self.turn + 1
        counted, self.heard, self.unread = Counted(cursor), False, UNREAD_AT_MOST
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=2 * self.silence)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                self.connect(session, url, counted.resume) as socket,
            ):
                async for raw in messages(socket, self.silence):
                    if post := self.read(raw, counted):
                        yield post
            raise SourceLost(f"{host(url)} closed the connection ({socket.close_code})")
        except TimeoutError as error:
            raise SourceLost(f"{host(url)} sent no message for {self.silence:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise SourceLost(f"{host(url)}: {said(error)}") from error

    def connect(self, session: aiohttp.ClientSession, url: str, resume: int) -> Any:
        query = {"wantedCollections": COLLECTION} | ({"cursor": str(resume)} if resume else {})
        return session.ws_connect(
            url if urlsplit(url).path else f"{url}/subscribe",
            params=query,
            timeout=aiohttp.ClientWSTimeout(ws_receive=self.silence, ws_close=1.0),
            autoping=False,
            decode_text=False,  # else a text that is not UTF-8 ends the connection, every time
        )

    def read(self, raw: bytes, counted: "Counted") -> Post | None:
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
        self.came(event.time_us, counted)
        if post and counted.is_new(post, self.tracked):
            return replace(post, cursor=counted.cursor())
        return Post(self.name, "", event.time_us // 1000, "", cursor=counted.cursor())

    def came(self, time_us: int, counted: "Counted") -> None:
        """A message of this time was read. The first one tells whether posts are missing:

        with a cursor that is too old, a server silently starts at the oldest that it has.
        """
        if not self.heard:
            missing = time_us - counted.last if counted.last else 0
            span = timedelta(seconds=missing // 1_000_000)
            self.say("live", f"the posts of {span} are missing" if missing > GAP else "")
        self.heard, self.unread = True, 0
        if EARLIEST <= time_us < self.clock() * 1_000_000 + DAY:
            counted.move(time_us)


class Counted:
    """The posts that were counted lately, as the cursor carries them through a restart.

    The cursor has the time to go back to, the newest time, and a mark for each post that
    names a tracked hashtag: a short hash of its id.
    """

    FORM = re.compile(rf"(\d{{16}}):(\d{{16}}):((?:[\w-]{{{MARK}}})*)", re.ASCII)

    def __init__(self, cursor: str) -> None:
        stored = self.FORM.fullmatch(cursor)
        self.resume, self.last = (int(stored[1]), int(stored[2])) if stored else (0, 0)
        marks = stored[3] if stored else ""
        self.times = {marks[n : n + MARK]: self.last for n in range(0, len(marks), MARK)}
        self.marks = "".join(self.times)

    def cursor(self) -> str:
        return f"{self.resume}:{self.last}:{self.marks}" if self.resume else ""

    def move(self, time_us: int) -> None:
        """A message of this time was read: forget what is too old to come again."""
        self.last = max(self.last, time_us)
        self.resume = max(self.resume or time_us, self.last - REREAD)
        while self.times and next(iter(self.times.values())) < self.last - KEEP:
            self.forget()

    def is_new(self, post: Post, tracked: frozenset[str]) -> bool:
        """Whether the post was not counted yet; remembers it, as it will be now."""
        if tracked.isdisjoint(post.hashtags):
            return True
        mark = mark_of(post.id)
        if mark in self.times:
            return False
        self.times[mark] = self.last
        self.marks += mark
        if len(self.times) > MOST:
            self.resume = max(self.resume, (self.forget() + self.last) // 2)
        return True

    def forget(self) -> int:
        """Drop the oldest mark, and say its time."""
        self.marks = self.marks[MARK:]
        return self.times.pop(next(iter(self.times)))


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


def may_have_hashtags(raw: bytes) -> bool:
    """False only where decoding could find none; letters that JSON escapes are rare."""
    return b"facet#tag" in raw or b'"tags"' in raw or b"\\u00" in raw


def mark_of(id: str) -> str:
    """A short hash; of a thousand posts, two have the same one in 500 million tries."""
    short = blake2b(id.encode(errors="replace"), digest_size=MARK * 3 // 4).digest()
    return urlsafe_b64encode(short).decode()


def host(url: str) -> str:
    return urlsplit(url).netloc


SOURCE = Bluesky
