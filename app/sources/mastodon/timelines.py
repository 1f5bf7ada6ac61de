"""The timelines of hashtags on a Mastodon server, asked for in turn.

A post from another server gets an id of the time when it was written, so it can appear
*below* posts that were there before it. So a timeline is not asked for what is newer than
the newest post but than an older one, and what was counted is dropped by its id. And a
post stands in the timeline of each of its hashtags, but counts once.
"""

import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from app.messages import Post, dumps
from app.retry import WAIT_AT_MOST, reset_in
from app.sources.mastodon.wire import PageTooLong, checked_id, order

PAGE = 40
"""Posts on a page; servers give no more, whatever one asks for."""
FEWER = 10
"""By so much a page is made shorter that has more bytes than are read: some posts on it are very
long, and none of them may hide the others."""
LATE_SECONDS = 600.0
LATE_POSTS = 30
"""How late a post may appear and still be counted: ten minutes, or below so many others."""
SEEN_AT_MOST = 1000
"""Ids to carry along of a timeline that cannot be read."""
KNOWN_AT_MOST = 20_000
SECONDS_A_REQUEST = 3.2
"""Mastodon allows 300 requests with since_id or min_id in 15 minutes ..."""
SECONDS_A_PLAIN_REQUEST = 1.1
"""... and 300 of all kinds in 5 minutes (its config/initializers/rack_attack.rb)."""


@dataclass(frozen=True)
class Page:
    """What a server answers: some statuses of a timeline, the newest or the next ones."""

    posts: list[Post]
    """The oldest first."""
    newest: str
    """The id of the newest status, also where that could not be read; "" where there is none."""
    length: int
    """How many statuses were on it, also such as could not be read: by that it is full or not."""


@dataclass
class Window:
    """What is known of one timeline: up to `since` it is done; what was seen is above."""

    since: str
    seen: dict[str, float] = field(default_factory=dict)
    """Id to when it was seen."""

    def add(self, id: str, now: float) -> None:
        if order(id) > order(self.since):
            self.seen.setdefault(id, now)
        if len(self.seen) > SEEN_AT_MOST:
            self.close(min(self.seen, key=order))

    def trim(self, now: float, read_to: str) -> None:
        """Move up what is done, now that the timeline was read up to this id."""
        for id in sorted(self.seen, key=order):
            young = now - self.seen[id] < LATE_SECONDS and len(self.seen) <= LATE_POSTS
            if young or order(id) > order(read_to):
                break
            self.close(id)

    def close(self, id: str) -> None:
        self.since = id
        del self.seen[id]


class Windows:
    """The window of each timeline, and which posts were counted.

    All that a restart needs of it is in its cursor: the server, the windows, and the time.
    """

    def __init__(self, server: str, tags: tuple[str, ...], cursor: str, now: float) -> None:
        self.server, self.cursor = server, cursor
        self.as_of, windows = stored(server, cursor, now)
        """When the cursor was made, in seconds since 1970; 0 where that is not known."""
        self.of = {tag: window for tag, window in windows.items() if tag in tags}
        """Of each tracked hashtag."""
        self.known = {id: False for window in self.of.values() for id in window.seen}
        """The last posts' ids, and whether the post was found in a timeline only, so that not
        all of its hashtags are counted; KNOWN_AT_MOST of them."""

    def is_new(self, post: Post, now: float, asked: str = "") -> bool:
        """Whether the post was not counted yet; remembers it, as it will be now.

        asked: the hashtag whose timeline it is from. A server may find a post there that
        spells the hashtag in another way than ours.
        """
        # of a timeline that was not read for long, more is seen in the stream than is known
        seen = self.of[asked].seen if asked in self.of else ()
        new = post.id not in self.known and post.id not in seen
        self.known.setdefault(post.id, bool(asked))
        if len(self.known) > KNOWN_AT_MOST:
            del self.known[next(iter(self.known))]
        for tag in {asked, *post.hashtags} if new else {asked}:
            if tag in self.of:
                self.of[tag].add(post.id, now)
        return new

    def is_partly_counted(self, post: Post) -> bool:
        """Whether a post of the stream was found in a timeline before; asked once for each."""
        partly = self.known.get(post.id, False)
        if partly:
            self.known[post.id] = False
        return partly

    def mark(self, now: float) -> str:
        """The cursor as of now."""
        self.as_of = int(now)
        parts = {tag: [window.since, *window.seen] for tag, window in self.of.items()}
        self.cursor = dumps([self.server, parts, self.as_of])
        return self.cursor


def stored(server: str, cursor: str, now: float) -> tuple[int, dict[str, Window]]:
    """The time and the windows in a cursor; none, if it is not ours or another server's."""
    try:
        of, parts, *more = json.loads(cursor)
        if of != server:
            return 0, {}
        windows = {
            tag: Window(checked_id(since), {checked_id(id): now for id in seen})
            for tag, (since, *seen) in parts.items()
        }
        return (max(0, min(int(more[0]), int(now))) if more else 0), windows
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return 0, {}


class RequestPace:
    """When the next request may go; by a clock that is never set."""

    def __init__(self, elapsed: Callable[[], float]) -> None:
        self.elapsed, self.free_at = elapsed, 0.0

    def wait(self) -> float:
        """Seconds."""
        return max(0.0, self.free_at - self.elapsed())

    def sent(self, seconds: float, headers: Mapping[str, str], now: float) -> None:
        """A request went: the next one waits so long, and as long as the server's limit needs.

        now: seconds since 1970.
        """
        self.leave(seconds)
        remaining = headers.get("X-RateLimit-Remaining", "")
        reset = reset_in(headers, now)
        if remaining.isdecimal() and reset is not None:
            self.leave(min(reset, WAIT_AT_MOST) / max(1.0, float(remaining)))

    def leave(self, seconds: float) -> None:
        self.free_at = max(self.free_at, self.elapsed() + seconds)


class Timelines:
    """Asks for one page at a time; a timeline with more than one keeps its turn."""

    def __init__(
        self,
        turn: deque[str],
        windows: Windows,
        get: Callable[..., Awaitable[Page]],
        clock: Callable[[], float],
    ) -> None:
        """turn: the hashtags in the order in which they are asked for."""
        self.turn, self.windows, self.get, self.clock = turn, windows, get, clock
        self.after = ""
        """The newest id of the pages that were read of a timeline with more; empty between two."""
        self.limit = PAGE
        """Posts on the next page."""
        self.first_round = len(turn)
        """How many of them were not asked for yet since we came."""

    @property
    def behind(self) -> bool:
        """Whether there may be posts from while we were away."""
        return self.first_round > 0 or bool(self.after)

    async def step(self) -> AsyncIterator[Post]:
        """One request; the new posts that it brought, the oldest first."""
        tag = self.turn[0]
        window = self.windows.of.get(tag)
        limit = self.limit if window else 1
        page = await self.ask(tag, limit, window)
        if page is None:
            return
        if window is None:
            if page.newest or not page.length:
                self.windows.of[tag] = Window(page.newest or "0")
            self.next_turn()
            return
        is_full = page.length >= limit
        if not self.after and is_full:
            self.after = window.since  # these are the newest: go upwards, lest some are left out
            return
        now = self.clock()
        for post in page.posts:
            if self.windows.is_new(post, now, asked=tag):
                yield post
        if page.newest and not page.posts:
            window.add(page.newest, now)  # nothing of it could be read, and that is done, too
        self.finish(window, page, is_full, now)

    async def ask(self, tag: str, limit: int, window: Window | None) -> Page | None:
        """A page; None where it is to be asked for again, with fewer posts. One that cannot be had
        leaves its turn to the next one."""
        since: dict[str, str] = {}
        if window:
            since = {"min_id": self.after} if self.after else {"since_id": window.since}
        try:
            page = await self.get(tag, limit=limit, **since)
        except BaseException as error:
            if isinstance(error, PageTooLong) and limit > 1:
                self.limit = max(1, limit // FEWER)
                return None
            self.after = ""
            self.turn.rotate(-1)
            raise
        self.limit = min(PAGE, self.limit * FEWER)
        return page

    def finish(self, window: Window, page: Page, is_full: bool, now: float) -> None:
        """The page is counted; the next one is of this timeline, if there may be more of it."""
        if is_full and order(page.newest) > order(self.after):
            self.after = page.newest
            window.trim(now, read_to=page.newest)
        else:
            window.trim(now, read_to=max(window.seen, key=order, default=""))
            self.next_turn()

    def next_turn(self) -> None:
        self.after = ""
        self.first_round -= 1
        self.turn.rotate(-1)
