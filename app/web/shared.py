"""What is made for viewers beside the ticks: once for all who are to have the same, and bounded
in sum, whoever reads it and however slowly."""

from collections.abc import Hashable
from typing import Protocol

from app.metrics import Durations
from app.web.sse import PIECE
from app.web.turns import Turns

MOST_KEPT = 32 * 2**20
"""Bytes that are kept for those who come before the next tick."""
MOST_READ = 64 * 2**20
"""Bytes that viewers are being sent; 90 times what 20 hashtags have in 15 minutes."""


class Reader(Protocol):
    """A viewer that is being sent something long."""

    def let_go(self) -> None: ...


class Shared:
    """Bytes that several viewers are sent.

    Bounds: kept is emptied with every tick and has MOST_KEPT bytes at most, or one entry; reading
    has MOST_READ at most, or one entry, each with a reader at least.
    """

    def __init__(self) -> None:
        self.turns = Turns()
        self.kept: dict[Hashable, bytes] = {}
        """What was made since the newest tick."""
        self.size = 0
        """Bytes of all that is kept."""
        self.reading: dict[int, tuple[bytes, set[Reader]]] = {}
        """What is longer than a piece and was not taken whole by its readers, by its id(); the
        oldest first."""
        self.frames = self.frame_bytes = self.resumed = 0
        """How many parts of streams were handed to viewers, their bytes, and how many viewers
        went on from a last event."""
        self.ages = Durations()
        """How old each tick was when it was handed to viewers, once for each of them."""
        self.held = 0
        """Bytes of all that is being read."""

    def count(self, viewers: int, size: int) -> None:
        """So many viewers were handed so many bytes each."""
        self.frames += viewers
        self.frame_bytes += viewers * size

    def keep(self, key: Hashable, made: bytes) -> bytes:
        """Keep what this key stands for until the next tick."""
        self.kept[key] = made
        self.size += len(made)
        while self.size > MOST_KEPT and len(self.kept) > 1:
            self.size -= len(self.kept.pop(next(iter(self.kept))))
        return made

    def forget(self) -> None:
        """A tick came: what was made is not the newest any more."""
        self.kept.clear()
        self.size = 0

    def begin(self, reader: Reader, data: bytes) -> None:
        """A viewer has not taken all of it. Where that is too much in sum, those who read for
        longest are let go: who comes back gets something newer, and a quick one is never among
        them."""
        if len(data) <= PIECE:
            return
        if id(data) not in self.reading:
            self.reading[id(data)] = (data, set())
            self.held += len(data)
        self.reading[id(data)][1].add(reader)
        while self.held > MOST_READ and len(self.reading) > 1:
            oldest, readers = self.reading.pop(next(iter(self.reading)))
            self.held -= len(oldest)  # whose readers may need a turn of the loop to go
            for each in readers:
                each.let_go()

    def end(self, reader: Reader, data: bytes) -> None:
        """It has all, or is gone."""
        found = self.reading.get(id(data))
        if found:
            found[1].discard(reader)
            if not found[1]:
                del self.reading[id(data)]
                self.held -= len(data)
