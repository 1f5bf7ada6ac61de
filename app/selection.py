"""The viewers that chose the same hashtags, and each recent tick as bytes for them."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from app import sse
from app.messages import Tick, dumps

REPEAT_SECONDS = 4.0
"""Unchanged totals are sent again after this long, well within the promised 5 s."""
FRAMES_KEPT = 128


class Selection:
    """The viewers that chose the same hashtags, and each recent tick as bytes for them."""

    def __init__(self, tags: tuple[str, ...], by_source: bool = False) -> None:
        self.tags, self.by_source = tags, by_source
        self.frames: dict[str, bytes] = {}
        self.quiet: dict[str, None] = {}
        self.past: tuple[object, bytes] = ((), b"")
        self.news = asyncio.Event()
        self.told = 0.0

    def totals(self, tick: Tick) -> dict[str, object]:
        """What this selection shows of a tick."""
        counts: Mapping[str, object] = tick.by_source if self.by_source else tick.counts
        return {tag: counts[tag] for tag in self.tags if tag in counts}

    def hear(self, tick: Tick | None, before: Tick | None, now: float) -> None:
        """Wake the viewers when their totals changed, or were not told for long."""
        changed = tick is not None
        if tick and before and self.totals(tick) == self.totals(before):
            changed = False
            keep(self.quiet, tick.id, None)
        if changed or now - self.told >= REPEAT_SECONDS:
            self.told = now
            self.wake()

    def wake(self) -> None:
        """Let every viewer look for what is new to it."""
        self.news, news = asyncio.Event(), self.news
        news.set()

    def frame(self, tick: Tick) -> bytes:
        """The tick as an event; made once, however many viewers want it."""
        if tick.id not in self.frames:
            told = {
                "at": tick.at,
                "counts": self.totals(tick),
                "sources": tick.sources,
                "details": tick.details,
            }
            keep(self.frames, tick.id, sse.event(dumps(told), "counts", tick.id))
        return self.frames[tick.id]

    def history(self, ticks: Sequence[Tick], seconds: float) -> bytes:
        """The totals of the last seconds as one event, by the newest tick's time."""
        newest = ticks[-1]
        made_for = (newest.id, seconds)
        if self.past[0] != made_for:
            oldest = newest.at - seconds * 1000
            shown = [(tick, self.totals(tick)) for tick in ticks if tick.at >= oldest]
            told = {
                "at": newest.at,
                "tick": newest.seconds,
                "series": {
                    tag: [(tick.at, totals[tag]) for tick, totals in shown if tag in totals]
                    for tag in self.tags
                },
                "names": {tag: newest.names[tag] for tag in self.tags if tag in newest.names},
            }
            self.past = made_for, sse.event(dumps(told), "history", newest.id)
        return self.past[1]


def keep(cache: dict[str, Any], id: str, value: Any) -> None:
    """Put into a dictionary that forgets its oldest."""
    cache[id] = value
    if len(cache) > FRAMES_KEPT:
        del cache[next(iter(cache))]
