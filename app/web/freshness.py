"""How fresh the ticks are, and what is said while none comes."""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import msgspec

from app.messages import SourceState
from app.sentences import Sentence
from app.store.refusals import trouble_of
from app.store.store import Store, StoreLost
from app.web.ticks import Head

log = logging.getLogger(__name__)

SILENT_TICKS = 3
"""After so many that did not come, nobody knows what the sources are doing; after a second at
the soonest."""
UNKNOWN, SILENCE = "unknown", "nothing was heard since the last tick"


class Freshness:
    """How long ago the last tick came, and what is wrong; times in seconds of the feed's clock."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self.seconds, self.clock = seconds, clock
        self.heard = float("-inf")
        """When the last tick came that was no old one."""
        self.begun = float("inf")
        """When the log was read to its end, for the first time."""
        self.silent: Head | None = None
        """The newest tick, as it is told while none comes."""
        self.trouble = self.public_trouble = ""
        """What is wrong with the store, as a sentence: for the owner, and for everybody."""
        self.ticks = self.lost = 0
        """How many ticks came as they happened; how often something began to be wrong."""
        self.reason = ""
        """What Redis itself says that may be wrong, as a sentence, while no tick comes."""

    def begin(self) -> None:
        """From now on ticks come as they happen."""
        self.begun = min(self.begun, self.clock())

    def come(self) -> bool:
        """A tick comes; whether that ends a silence that was told."""
        self.ticks += 1
        self.heard, silent, self.silent, self.reason = self.clock(), self.silent, None, ""
        return silent is not None

    async def ask(self, store: Store) -> None:
        """While no tick comes: may Redis be the reason?"""
        if self.why_not_ready():
            with suppress(StoreLost):
                trouble = trouble_of(await store.about(), store.may_evict)
                self.reason = f"Redis: {trouble}." if trouble else ""

    def present(self, newest: Head | None) -> Head | None:
        """The newest tick as it is to be told: what its sources did is of its time, and while no
        other comes nobody knows what they do now."""
        if newest is None:
            return None
        patience = max(1.0, SILENT_TICKS * max(self.seconds, newest.seconds))
        if self.clock() - max(self.heard, self.begun) < patience:
            return newest
        if self.silent is None or self.silent.id != newest.id:
            sources = {name: unknown(state, newest.at) for name, state in newest.sources.items()}
            self.silent = replace(newest, sources=sources)
        return self.silent

    def time(self, newest: Head | None) -> int:
        """Redis's clock, in milliseconds since 1970, by the newest tick that came as it
        happened; our own where none did."""
        if newest is None or self.heard == float("-inf"):
            return int(time.time() * 1000)
        return newest.at + int((self.clock() - newest.came) * 1000)

    def complain(self, trouble: str, public: str = "") -> None:
        """Say once what is wrong with the store, and once that it is mended; public: for all."""
        if trouble != self.trouble:
            self.lost += bool(trouble and not self.trouble)
            log.warning("%s", trouble or "Redis is back; the missed ticks are read from its log")
        self.trouble, self.public_trouble = trouble, public or trouble

    def why_not_ready(self) -> str:
        """A sentence about why no ticks arrive, or nothing when they do."""
        silent = self.clock() - self.heard
        if silent < max(3.0, 6 * self.seconds):
            return ""
        if self.public_trouble or self.reason:
            return self.public_trouble or self.reason
        if self.heard == float("-inf"):
            return Sentence("No tick has come yet: is an ingester running?")
        seconds = f"{silent:.0f}"
        return Sentence(
            "The last tick came {seconds} s ago: is an ingester running?", seconds=seconds
        )


def unknown(state: SourceState, since: int) -> SourceState:
    """What is known of a source, when nothing was heard since then."""
    return msgspec.structs.replace(state, state=UNKNOWN, since=since, reason=SILENCE)
