"""Posts from a recording of any of the networks, one message a line in its wire form."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO

from msgspec.structs import replace

from app.messages import Message, Post
from app.settings import Settings, SettingsError
from app.sources import Source, SourceLost, classes, trouble_with

LONGEST_PAUSE = 1.0
"""Seconds between two posts at most: recordings have nights in them, and whole years."""
LINES_AT_ONCE = 100
LONGEST = 2**23
"""Bytes of a line: as long as a network's message can be. Of a longer one no more is read."""
BEGINNING = 7
"""Bytes by which a line is believed to be of the same network as the line before."""


class Replay(Source):
    """The posts of a recording, at the pace in which they were written or another one."""

    name = "replay"
    needs = ("replay_file",)
    is_live = False
    complete = goes_back = goes_back_to_the_start = True

    @classmethod
    def check(cls, settings: Settings) -> None:
        super().check(settings)
        # os.path: it has no error of its own for a name that is too long or may not be looked at
        if not os.path.isfile(settings.replay_file):  # noqa: PTH113
            raise SettingsError(
                f"REPLAY_FILE={settings.replay_file!r}: "
                "expected a file that exists and can be read."
            )

    async def posts(self, cursor: str) -> AsyncIterator[Message]:
        """The recording from the cursor on, at its pace times REPLAY_SPEED; 0 is no pause.

        A cursor names the recording and the byte after the post, so that another
        recording begins at its own beginning.
        """
        path = Path(self.settings.replay_file)
        try:
            with path.open("rb") as file:
                mark = fingerprint(file)
                recording, _, offset = cursor.partition(":")
                file.seek(int(offset) if recording == mark and is_within(file, offset) else 0)
                self.say("live", f"replaying {path.name}")
                async for post, end in self.read(file):
                    # what was said so long ago may have been taken back since
                    yield replace(post, source=self.name, cursor=f"{mark}:{end}", shown=None)
        except OSError as error:
            why = f"cannot be read: {error.strerror}"
            raise SourceLost(f"REPLAY_FILE {path} {why}", public=f"the recording {why}") from error
        skipped = f", {self.bad} bad lines skipped" if self.bad else ""
        self.say("down", f"the recording {path.name} has ended{skipped}")

    async def read(self, file: BinaryIO) -> AsyncIterator[tuple[Post, int]]:
        """Each post of the file and the byte after it, when its time has come."""
        before, parser = 0, Parser()
        for number, line in enumerate(lines(file)):
            if number % LINES_AT_ONCE == 0:
                await asyncio.sleep(0)
            if post := self.read_line(line, parser):
                if self.settings.replay_speed:  # reading times takes a third as long as the rest
                    time = post.time
                    await self.pause(time - before if before else 0)
                    before = time
                yield post, file.tell()

    def read_line(self, line: bytes, parser: "Parser") -> Post | None:
        """What a line brings; a bad one is skipped and counted."""
        try:
            return None if line.isspace() else parser.parse(line)
        except Exception as error:  # noqa: BLE001 - else it ends us, comes again, and ends us again
            self.skip(trouble_with(error, line))
            return None

    async def pause(self, milliseconds: int) -> None:
        if milliseconds > 0:
            seconds = milliseconds / 1000 / self.settings.replay_speed
            await asyncio.sleep(min(LONGEST_PAUSE, seconds))


def lines(file: BinaryIO) -> Iterator[bytes]:
    """Each line; of one that is too long, only its beginning, which is no message."""
    while line := file.readline(LONGEST):
        yield line
        while len(line) == LONGEST and not line.endswith(b"\n"):
            line = file.readline(LONGEST)


class Parser:
    """Reads the messages of whichever network; nearly all lines are of that of the line before."""

    def __init__(self) -> None:
        self.networks = [network for network in classes() if network.is_live]
        self.last, self.beginning = self.networks[0], b""

    def parse(self, line: bytes) -> Post | None:
        """A recorded message as a Post; None for what is no new post.

        Raises ValueError or RecursionError for a line that is of no network.
        """
        if line[:BEGINNING] == self.beginning:
            try:
                if post := self.last.parse(line):
                    return post
            except (ValueError, RecursionError):
                pass  # another network's may begin so, too
        return self.parse_by_shape(line)

    def parse_by_shape(self, line: bytes) -> Post | None:
        for network in self.networks:
            if network.is_message(line):
                if post := network.parse(line):
                    self.last, self.beginning = network, line[:BEGINNING]
                return post
        raise ValueError("no network's message")


def is_within(file: BinaryIO, offset: str) -> bool:
    return (
        offset.isdecimal() and len(offset) < 19 and int(offset) <= os.fstat(file.fileno()).st_size
    )


def fingerprint(file: BinaryIO) -> str:
    """What tells one recording from another: a hash of its first line."""
    mark = hashlib.sha256(file.readline(LONGEST)).hexdigest()[:16]
    file.seek(0)
    return mark


SOURCE = Replay
