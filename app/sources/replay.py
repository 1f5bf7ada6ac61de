"""Posts from a recording of any of the networks, one message a line in its wire form."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from app.messages import Post
from app.sources import Source, SourceLost, bluesky, mastodon, x

LONGEST_PAUSE = 1.0
"""Seconds between two posts at most: recordings have nights in them, and whole years."""
LINES_AT_ONCE = 100


def parse(message: dict[str, Any]) -> Post | None:
    """A recorded message as a Post; its shape tells which network it is from.

    Raises ValueError, KeyError, TypeError or AttributeError for one that is of no shape.
    """
    if "commit" in message or "kind" in message:
        return bluesky.parse(message)
    if "event" in message:
        return mastodon.parse(message)
    return x.parse(message)


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
            return parse(json.loads(line)) if line.strip() else None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
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
