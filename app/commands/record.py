"""`python -m app record`: writes what a live source receives, one message a line, for replay."""

import asyncio
import logging
from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from app.messages import MinuteCount
from app.retry import Backoff
from app.sources import Source, SourceLost, classes

log = logging.getLogger(__name__)

ROTATE_BYTES = 100_000_000


def network(text: str) -> str:
    """The name of a network that can be recorded. Raises ArgumentTypeError for any other."""
    names = [source.name for source in classes() if source.is_live]
    if text not in names:
        raise ArgumentTypeError(f"{text!r}: expected one of {', '.join(names)}")
    return text


class Recording:
    """A file that is put aside, as FILE.1, FILE.2 and so on, when it has grown to its size.

    Every line is written whole and at once, so an interrupt leaves no half of one.
    """

    def __init__(self, path: Path, rotate: int = ROTATE_BYTES) -> None:
        self.path, self.rotate = path, rotate
        self.lines = 0
        self.file: BinaryIO = path.open("ab", buffering=0)

    def write(self, message: str | bytes) -> None:
        raw = message.encode() if isinstance(message, str) else message
        line = b" ".join(raw.splitlines()) + b"\n"
        if self.file.tell() and self.file.tell() + len(line) > self.rotate:
            self.put_aside()
        self.file.write(line)
        self.lines += 1

    def put_aside(self) -> None:
        self.file.close()
        number = 1
        while self.path.with_name(f"{self.path.name}.{number}").exists():
            number += 1
        self.path.rename(self.path.with_name(f"{self.path.name}.{number}"))
        self.file = self.path.open("ab", buffering=0)


@contextmanager
def recording(path: Path, rotate: int = ROTATE_BYTES) -> Iterator[Recording]:
    """Open the file for adding to it; raises OSError when it cannot be written."""
    made = Recording(path, rotate)
    try:
        yield made
    finally:
        made.file.close()
        log.info("%d messages written to %s", made.lines, path)


async def record(source: Source, into: Recording) -> None:
    """Write all that the source receives, until cancelled or until waiting cannot mend it.

    Raises SourceLost for the latter.
    """
    source.tap = into.write
    backoff, cursor = Backoff(), ""
    while True:
        try:
            async for message in source.posts(cursor):
                if not isinstance(message, MinuteCount):
                    cursor = message.cursor or cursor
                backoff.reset()
            return
        except SourceLost as lost:
            if lost.for_good:
                raise
            source.say(lost.state, lost.public, logged=str(lost))
            await asyncio.sleep(backoff.next() if lost.wait is None else lost.wait)
