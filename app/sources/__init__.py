"""What a source is, and picking one by name.

A source is an async iterator of Post for one network. It ends by raising SourceLost, or
by returning when there is nothing more to come (a recording has an end); trying again
is not its business but the ingester's.
"""

import json
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from importlib import import_module
from typing import TypeVar

import msgspec

from app.messages import Post
from app.settings import Settings
from app.store import Store

log = logging.getLogger(__name__)

Form = TypeVar("Form")


class SourceLost(Exception):
    """The connection is gone; the message is a short reason.

    wait: seconds until another try makes sense; None leaves it to the ingester.
    for_good: no waiting will mend it (a wrong token, say): the source stays down.
    state: what the viewers are told meanwhile.
    """

    def __init__(
        self,
        reason: str,
        wait: float | None = None,
        for_good: bool = False,
        state: str = "down",
    ) -> None:
        super().__init__(reason)
        self.wait, self.for_good, self.state = wait, for_good, state


class Source(ABC):
    """One network. Its state is what every viewer is told of it."""

    name: str
    replays: bool
    """Whether posts() can go back to a cursor, and so give again what was not yet stored."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self.settings, self.clock = settings, clock
        self.state, self.reason, self.since = "connecting", "", clock()
        self.store: Store | None = None
        self.tap: Callable[[str | bytes], None] = lambda message: None
        """Handed every message as it was received; for `python -m app record`."""
        self.bad = 0
        """Messages that could not be read and were skipped."""
        self._said = 0.0

    @abstractmethod
    def posts(self, cursor: str) -> AsyncIterator[Post]:
        """Connect, and yield each post from the cursor on ("" for now). Raises SourceLost."""

    def say(self, state: str, reason: str = "") -> None:
        """Change the state; said once in the log, however often it is said here."""
        reason = reason.encode(errors="replace").decode()  # a file's name may be no text
        if (state, reason) != (self.state, self.reason):
            self.state, self.reason, self.since = state, reason, self.clock()
            log.info("%s: %s%s", self.name, state, f" ({reason})" if reason else "")

    def skip(self, why: str) -> None:
        """Count a message that could not be read; the log has at most one line a minute."""
        self.bad += 1
        if self.clock() - self._said >= 60:
            self._said = self.clock()
            log.warning(
                "%s: skipped %d bad messages so far, the last: %s", self.name, self.bad, why
            )


def pick(name: str, settings: Settings, store: Store | None = None) -> Source:
    """The source of this name; its module is loaded only when it is wanted.

    store: where a source that costs money keeps its budget.
    """
    file = name
    if name == "x" and settings.x_mode == "counts":
        file = "x_counts"
    elif name == "x" and settings.x_backfill:
        file = "x_backfill"
    source: Source = import_module(f"app.sources.{file}").SOURCE(settings)
    source.store = store
    return source


class Part(msgspec.Struct, gc=False):
    """A part of a message, as much of it as we want; it lives for a moment, and in no cycle."""


def decoder(form: type[Form]) -> Callable[[bytes | str], Form]:
    """What reads JSON of this form; made once for each form.

    It builds only what the form names, so most of a message is never made into objects.
    Raises ValueError, with the place in the message, or RecursionError.
    """
    decode = msgspec.json.Decoder(form).decode

    def read(raw: bytes | str) -> Form:
        try:
            return decode(raw)
        except (msgspec.DecodeError, UnicodeError):
            # half an emoji, in a text that we do not even want, is no reason to lose a post
            return msgspec.convert(json.loads(raw), form)

    return read


def said(error: BaseException) -> str:
    """What an error says of itself, or at least what it is."""
    return str(error) or type(error).__name__
