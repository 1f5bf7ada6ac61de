"""`python -m app export` and `import`: what was counted, as lines of JSON, and back."""

import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO

from app.ingest.lease import holder, own_name
from app.store import keys
from app.store.exporting import export
from app.store.importing import Import
from app.store.lines import LONGEST, End, NotAnExport, read_head, read_line, write_line
from app.store.store import Store, StoreLost

log = logging.getLogger(__name__)

LEASE_SECONDS = 30.0
"""So long nobody else may write after what an import has written: as long as its file may pause."""
WRITTEN_AT_ONCE = 2**16
"""Bytes."""


async def export_to(store: Store, out: int) -> None:
    """Write all that is kept to this descriptor. Raises StoreLost, and OSError."""
    lines, waiting = 0, bytearray()
    async for line in export(store):
        lines += 1
        waiting += write_line(line)
        if len(waiting) >= WRITTEN_AT_ONCE or isinstance(line, End):
            write(out, bytes(waiting))
            waiting.clear()
    log.info("%d lines exported", lines)


def write(out: int, text: bytes) -> None:
    while text:
        text = text[os.write(out, text) :]


async def import_from(store: Store, file: BinaryIO) -> None:
    """Write an export into a Redis that has nothing yet, in which nobody counts.

    Raises NotAnExport and StoreLost: what is half written then is believed by nobody, and the
    same export may be written again.
    """
    lines = lines_of(file)
    head = read_head(next(lines, b""), keys.SCHEMA)
    name = own_name()
    held = await holder(store)
    if held or not await store.take_lease(name, LEASE_SECONDS):
        raise StoreLost(f"Redis: an ingester counts in it ({held or 'just begun'}): stop it first.")
    try:
        into = await Import.begin(store, name, LEASE_SECONDS, head)
        for number, text in enumerate(lines, 2):
            line = read_line(text, number)
            await into.take(line)
            if isinstance(line, End):
                log.info("%d lines imported", number)
                return
        raise NotAnExport("The export is cut: its last lines are missing.")
    finally:
        with suppress(StoreLost):
            await store.give_lease(name)


def lines_of(file: BinaryIO) -> Iterator[bytes]:
    """Raises NotAnExport for one that is too long."""
    while text := file.readline(LONGEST + 1):
        if len(text) > LONGEST:
            raise NotAnExport("This is no export of hashtag pulse: it has a line that is too long.")
        yield text
