"""What a source is, and picking one by name; a network is one file, or one folder, in here.

A source is an async iterator of posts for one network. It ends by raising SourceLost, or
by returning when there is nothing more to come (a recording has an end); trying again
is not its business but the ingester's. CONTRIBUTING.md has a whole network in one file;
bluesky/ is the model of one that can go back.

    __init__.py   Source, SourceLost, pick
    bluesky/      Jetstream servers: the model for another network
    demo/         believable posts, with no network
    replay.py     a recording of any network
    mastodon/     a server's stream, or its hashtags' timelines
    x/            X's stream through tweepy, its counts, and what it costs
"""

import json
import logging
import os
import socket
import ssl
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from importlib import import_module
from typing import Any, ClassVar, TypeVar

import msgspec

from app.messages import Message, Post, SourceState
from app.settings import SOURCE_NAMES, Settings
from app.store.store import Store

log = logging.getLogger(__name__)

LONGEST_REASON = 300
"""Characters: it stands in every tick."""

Form = TypeVar("Form")


class SourceLost(Exception):
    """The connection is gone; the message is a short reason, for the owner.

    wait: seconds until another try makes sense; None leaves it to the ingester.
    for_good: no waiting will mend it (a wrong token, say): the source stays down.
    state: what the viewers are told meanwhile.
    public: the reason for viewers, where the message is not for them: it has an address in it,
        or words of the other side.
    """

    def __init__(
        self,
        reason: str,
        wait: float | None = None,
        for_good: bool = False,
        state: str = "down",
        public: str = "",
    ) -> None:
        super().__init__(reason)
        self.wait, self.for_good, self.state = wait, for_good, state
        self.public = public or reason


class Source(ABC):
    """One network. What a class of it declares is all that others know of the network."""

    name: ClassVar[str]
    """As in SOURCES; the name of its file."""
    needs: ClassVar[tuple[str, ...]] = ()
    """The settings that it cannot do without, such as "mastodon_url"."""
    is_live: ClassVar[bool] = True
    """Whether it is a network, whose messages are worth recording."""
    complete: bool = False
    """Whether it hands over all of its network. Of one that has only what was asked for, the
    tracked hashtags alone are counted: what else its posts name is a biased sample."""
    goes_back: bool = False
    """Whether posts() can start at a cursor of the past, and so give what was not stored."""
    goes_back_to_the_start: bool = False
    """Whether an empty cursor is the beginning of all, and not the present."""
    tells_authors: bool = True
    """Whether it says who wrote a post. Where it has numbers only, no people are counted."""
    repeats: bool = False
    """Whether going back brings posts again that were counted: they are then known by their
    id, for 15 minutes (Redis' `seen:…`)."""

    misses_deletions: bool = False
    """Whether it never learns which posts were deleted while it was away."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self.settings, self.clock = settings, clock
        self.state, self.reason, self.since = "connecting", "", clock()
        """What it is doing, why, and since when, in seconds since 1970."""
        self.unbroken_since = self.since
        """Since when none of its posts is missing, likewise."""
        self.catching_up = False
        """Whether what it hands over is of a time that it went back to: such posts count into
        the minute of their own time, and those that come as they happen into the present."""
        self.store: Store | None = None
        """Where one that costs money keeps its account."""
        self.tap: Callable[[str | bytes], None] = lambda message: None
        """Handed every message as it was received; for `python -m app record`."""
        self.bad = 0
        """Messages that could not be read and were skipped."""
        self._said = 0.0
        """When the log was told of them last, in seconds since 1970."""

    @abstractmethod
    def posts(self, cursor: str) -> AsyncIterator[Message]:
        """Connect, and yield what comes from the cursor on ("" for now). Raises SourceLost."""

    def first_look(self) -> str:
        """The cursor with which `python -m app check` asks, so that it has an answer at once."""
        return ""

    @classmethod
    def check(cls, settings: Settings) -> None:
        """Raises SettingsError when it lacks a setting that it cannot do without."""
        for setting in cls.needs:
            settings.demand(setting, f"because SOURCES has {cls.name!r}")

    @staticmethod
    def parse(line: bytes) -> Post | None:
        """A recorded message as a Post; None for what is no new post.

        Raises ValueError or RecursionError for a line that is not of the network's form. A
        network without this method cannot be replayed.
        """
        raise ValueError("no recording of this network can be read")

    @staticmethod
    def is_message(line: bytes) -> bool:
        """Whether a recorded line is a message of this network, by its shape."""
        return False

    def price(self) -> str:
        """A sentence about what it costs with these settings; empty where it costs nothing."""
        return ""

    def say(
        self,
        state: str,
        reason: str = "",
        unbroken_since: float | None = None,
        logged: str = "",
    ) -> None:
        """Change the state; said once in the log, however often it is said here.

        reason: for everybody: no address, nothing that the other side wrote.
        unbroken_since: since when no post is missing, in seconds since 1970, where the source
        went back and reads what it had missed; otherwise since it works.
        logged: what the owner reads in the log instead of the reason.
        """
        reason = reason.encode(errors="replace").decode()[:LONGEST_REASON]  # a name may be no text
        worked = self.public_state().works
        if (state, reason) != (self.state, self.reason):
            self.state, self.reason, self.since = state, reason, self.clock()
            why = logged or reason
            log.info("%s: %s%s", self.name, state, f" ({why})" if why else "")
        if unbroken_since is not None:
            self.unbroken_since = unbroken_since
        elif self.public_state().works and not worked:
            self.unbroken_since = self.since

    def public_state(self) -> SourceState:
        """Its state, as every viewer is told it."""
        return SourceState(
            self.state,
            int(self.since * 1000),
            self.reason,
            self.complete,
            int(self.unbroken_since * 1000),
        )

    def skip(self, why: str) -> None:
        """Count a message that could not be read; the log has at most one line a minute."""
        self.bad += 1
        if self.clock() - self._said >= 60:
            self._said = self.clock()
            last = self.settings.hide(why)
            log.warning(
                "%s: skipped %d bad messages so far, the last: %s", self.name, self.bad, last
            )


def classes() -> list[type[Source]]:
    """The class of every network, in the order of their names."""
    return [import_module(f"app.sources.{name}").SOURCE for name in SOURCE_NAMES]


def pick(name: str, settings: Settings, store: Store | None = None) -> Source:
    """The source of this name; its module is loaded only when it is wanted.

    store: where a source that costs money keeps its account.
    """
    source: Source = import_module(f"app.sources.{name}").SOURCE(settings)
    source.store = store
    return source


def check_sources(settings: Settings) -> None:
    """Raises SettingsError when a chosen source lacks a setting that it cannot do without."""
    for name in settings.sources:
        import_module(f"app.sources.{name}").SOURCE.check(settings)


class Part(msgspec.Struct, gc=False):
    """A part of a network's message: only the fields that we want are decoded. It is dropped at
    once and in no cycle, so it is none of the garbage collector's business."""


def decoder(form: type[Form]) -> Callable[[bytes | str], Form]:
    """What reads JSON of this form; made once for each form.

    It builds only what the form names, so most of a message is never made into objects.
    Raises ValueError, with the place in the message, or RecursionError.
    """
    decode = quick_decoder(form)

    def read(raw: bytes | str) -> Form:
        try:
            return decode(raw)
        except REFUSED:
            return read_anyway(raw, form)

    return read


def quick_decoder(form: type[Form]) -> Callable[[bytes | str], Form]:
    """The same without a call between, for thousands of messages a second: who uses it gives what
    raises one of REFUSED to read_anyway."""
    return msgspec.json.Decoder(form).decode


REFUSED = (msgspec.DecodeError, UnicodeError)


def read_anyway(raw: bytes | str, form: type[Form]) -> Form:
    """The same by Python's own JSON, which takes half an emoji (a lone surrogate): in a text that
    we do not even want, that is no reason to lose a post."""
    return msgspec.convert(json.loads(raw), form)


read_members = decoder(dict)


def members(line: bytes) -> Mapping[str, Any]:
    """A recorded message as a dictionary, for is_message(); empty where it is no JSON object."""
    try:
        return read_members(line)
    except (ValueError, RecursionError):
        return {}


def trouble_with(error: Exception, message: str | bytes) -> str:
    """What is wrong with a message, for the log: nothing of what stands in it."""
    place = f" ({error})" if isinstance(error, msgspec.ValidationError) else ""
    return f"{type(error).__name__}{place}, {len(message)} long"


CLOSED = {
    "ServerDisconnectedError": "it closed the connection",
    "ClientPayloadError": "it closed the connection within an answer",
}
"""Errors of aiohttp that have no number, by their names: not every process loads aiohttp."""


def public_reason(error: BaseException) -> str:
    """What went wrong, in words that anybody may read.

    What errors say of themselves has addresses in it, with all that stands in their queries,
    or what the other side wrote.
    """
    cause = getattr(error, "certificate_error", getattr(error, "os_error", error))
    if isinstance(error, SourceLost):
        return error.public
    if isinstance(cause, socket.gaierror):
        return "its name cannot be found"
    if isinstance(cause, ssl.SSLCertVerificationError):  # after the comma stands a host's name
        return f"its certificate: {cause.verify_message.partition(',')[0]}"
    if isinstance(cause, ssl.SSLError):
        return "it does not speak TLS as we do"
    if status := getattr(error, "status", 0):
        return f"it answered {status}"
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if number := getattr(cause, "errno", 0):
        return os.strerror(number)
    return CLOSED.get(type(error).__name__, type(error).__name__)
