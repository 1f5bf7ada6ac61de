"""Posts from a recording of any of the networks, one message a line in its wire form."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, BinaryIO

from msgspec.structs import replace

from app.messages import Post
from app.sources import Part, Source, SourceLost, bluesky_wire, decoder, mastodon_wire, x_wire

LONGEST_PAUSE = 1.0
"""Seconds between two posts at most: recordings have nights in them, and whole years."""
LINES_AT_ONCE = 100


class Shape(Part):
    """The members that tell which network a message is from."""

    commit: Any = None
    kind: Any = None
    event: Any = None


read_shape = decoder(Shape)
BEGINNINGS = {
    b'{"data"': x_wire.parse,
    b'{"did":': bluesky_wire.parse,
    b'{"event': mastodon_wire.parse,
}
"""How nearly all messages begin; the others are looked at once more."""


def parse(line: bytes) -> Post | None:
    """A recorded message as a Post; its shape tells which network it is from.

    Raises ValueError or RecursionError for one that is of no shape.
    """
    known = BEGINNINGS.get(line[:7])
    return known(line) if known else parse_by_shape(line)


def parse_by_shape(line: bytes) -> Post | None:
    shape = read_shape(line)
    if shape.commit or shape.kind:
        return bluesky_wire.parse(line)
    if shape.event:
        return mastodon_wire.parse(line)
    return x_wire.parse(line)


class Replay(Source):
    name = "replay"
    replays = True

    async def posts(self, cursor: str) -> AsyncIterator[Post]:
        """The recording from the cursor on, at its pace times REPLAY_SPEED; 0 is no pause.

        A cursor names the recording and the byte after the post, so that another
        recording begins at its own beginning.
        """
        path = Path(self.settings.replay_file)
        try:
            with path.open("rb") as file:
                mark = fingerprint(file)
                recording, _, offset = cursor.partition(":")
                file.seek(int(offset) if recording == mark and offset.isdecimal() else 0)
                self.say("live", f"replaying {path.name}")
                async for post, end in self.read(file):
                    yield replace(post, source=self.name, cursor=f"{mark}:{end}")
        except OSError as error:
            raise SourceLost(f"REPLAY_FILE {path} cannot be read: {error.strerror}") from error
        skipped = f", {self.bad} bad lines skipped" if self.bad else ""
        self.say("down", f"the recording {path.name} has ended{skipped}")

    async def read(self, file: BinaryIO) -> AsyncIterator[tuple[Post, int]]:
        """Each post of the file and the byte after it, when its time has come."""
        before = 0
        for number, line in enumerate(iter(file.readline, b"")):
            if number % LINES_AT_ONCE == 0:
                await asyncio.sleep(0)
            post = self.read_line(line)
            if post:
                await self.pause(post.at - before if before else 0)
                before = post.at
                yield post, file.tell()

    def read_line(self, line: bytes) -> Post | None:
        try:
            return None if line.isspace() else parse(line)
        except (ValueError, RecursionError) as error:
            self.skip(f"{type(error).__name__}: {line[:80]!r}")
            return None

    async def pause(self, milliseconds: int) -> None:
        speed = self.settings.replay_speed
        if speed and milliseconds > 0:
            await asyncio.sleep(min(LONGEST_PAUSE, milliseconds / 1000 / speed))


def fingerprint(file: BinaryIO) -> str:
    """What tells one recording from another: a hash of its first line."""
    mark = hashlib.sha256(file.readline()).hexdigest()[:16]
    file.seek(0)
    return mark


SOURCE = Replay
