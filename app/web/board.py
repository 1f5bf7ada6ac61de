"""The board, as the ingester wrote it (app/ingest/board.py): as an answer, and as events."""

import logging
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

import msgspec

from app.messages import dumps
from app.store import keys
from app.store.store import Store
from app.web import sse

log = logging.getLogger(__name__)

READ_SECONDS = 2.0
"""For so long, what Redis said is not asked again."""
EVENT_SECONDS = 5.0
"""Between two events at the least."""


class Listed(msgspec.Struct, frozen=True):
    """A hashtag on the board; app/ingest/board.py says what its Standing is."""

    tag: str
    """Its key."""
    name: str
    """As most posts write it."""
    posts: int
    """Of the last ten minutes."""
    people: int
    """Who wrote them."""
    usual: float | None
    """Posts that ten minutes of this hour usually have; None where nobody knows."""
    unusual: float | None
    """How unlikely so many people are: 6 is one in a million."""
    hour: list[int]
    """Posts of the last hour, in twelve parts."""
    busiest_author: float
    """The part of the posts that one author wrote."""
    busiest_link: float = 0.0
    """The part of them that link to one host."""

    @property
    def is_of_one(self) -> bool:
        return max(self.busiest_author, self.busiest_link) > keys.MOST_OF_ONE


class Board(msgspec.Struct, frozen=True):
    """The board as the ingester wrote it."""

    at: int
    """When it was made, in milliseconds since 1970."""
    since: int
    """From when on all posts are in it: ten minutes before or, after a start, less."""
    rising: list[Listed]
    used: list[Listed]
    blocked: int = 0
    """Hashtags that would be among these, and are blocked."""

    def answer(self, whole: bool) -> dict[str, Any]:
        """As /api/board tells it; whole: also the hashtags that are mostly one author's, or for one
        host, of which otherwise only the number is told."""
        of_one = {one.tag for one in (*self.rising, *self.used) if one.is_of_one}
        return {
            "at": self.at,
            "since": self.since,
            "rising": first(self.rising, whole),
            "used": first(self.used, whole),
            "hidden": {"blocked": self.blocked, "of_one": 0 if whole else len(of_one)},
        }


def first(listed: Sequence[Listed], whole: bool) -> list[dict[str, Any]]:
    found = [one for one in listed if whole or not one.is_of_one]
    return [msgspec.structs.asdict(one) for one in found[: keys.BOARD_MOST]]


read_board = msgspec.json.Decoder(Board).decode


class NewestBoard:
    """The newest board that Redis has."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock, self.due = clock, float("-inf")
        self.found: Board | None = None

    async def read(self, store: Store) -> Board | None:
        """None where there is none: nobody counts, or only just began to. Raises StoreLost."""
        if self.clock() >= self.due:
            text = await store.text(keys.BOARD)
            self.due = self.clock() + READ_SECONDS
            try:
                self.found = read_board(text) if text else None
            except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
                log.warning("the Redis key %s is not what we write: %s", keys.BOARD, error)
                self.found = None
        return self.found


class BoardEvents:
    """The board for those who chose to be told it (extras.py): all are told the same."""

    def __init__(self, newest: NewestBoard) -> None:
        self.newest, self.due = newest, float("-inf")
        """When it is looked at again, in seconds of the feed's clock."""
        self.made: Board | None = None
        """The newest board that was looked at."""
        self.lists: Sequence[Any] = ()
        """What it said, besides its time."""
        self.event, self.number = b"", 0
        """The newest event, and the number of the tick that it goes with."""

    async def read(self, store: Store, now: float) -> bool:
        if now < self.due:
            return False
        before, self.made = self.made, await self.newest.read(store)
        if self.made is before:
            return False
        told = self.made.answer(whole=False) if self.made else {}
        lists = [told.get("rising"), told.get("used")]
        if lists == self.lists:
            return False
        self.lists, self.due = lists, now + EVENT_SECONDS
        self.event = sse.event(dumps(told), "board") if told else b""
        return bool(told)

    def take(self, number: int) -> Collection[str] | None:
        self.number = number
        return None

    def first(self, tags: Sequence[str]) -> bytes:
        return self.event

    def between(self, tags: Sequence[str], before: int, last: int) -> bytes:
        """The newest alone: nobody needs one that another has followed."""
        return self.event if before < self.number <= last else b""
