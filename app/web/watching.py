"""Which hashtags are watched, and the fan-outs of all who watch the same."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from weakref import WeakSet, WeakValueDictionary, ref

from app.hashtags import spelling
from app.web.alerts import AlertEvents
from app.web.board import BoardEvents, NewestBoard
from app.web.extras import Extras
from app.web.fanout import FanOut
from app.web.series import AllSeries
from app.web.shared import Shared
from app.web.ticks import Ticks
from app.web.watched import Watched


class Watching:
    """What all fan-outs have in common.

    Bounds: ticks by time, number and bytes (ticks.py); watched, fanouts, order and lagging by the
    viewers that there are: what nobody shows any more leaves them by itself. untold has fan-outs
    of order only.
    """

    def __init__(self, tracked: Sequence[str], clock: Callable[[], float]) -> None:
        self.clock, self.tracked = clock, tuple(tracked)
        self.spellings = {str(tag): spelling(tag) for tag in tracked}
        """Key of a tracked hashtag to how it was typed."""
        self.ticks = Ticks()
        self.watched: dict[str, Watched] = {}
        """The hashtags that some fan-out shows, by their keys."""
        self.fanouts: WeakValueDictionary[object, FanOut] = WeakValueDictionary()
        """By their hashtags, whether totals are shown by source, and what is told beside them."""
        self.order: OrderedDict[ref[FanOut], tuple[str, ...]] = OrderedDict()
        """All fan-outs and their hashtags, the one first that was told something longest ago."""
        self.forgetting = self.forget
        """One object for all fan-outs."""
        self.untold: set[ref[FanOut]] = set()
        """Those with a change that they were not told yet."""
        self.lagging: WeakSet[FanOut] = WeakSet()
        """Those with viewers that are behind."""
        self.shared, self.past = Shared(), AllSeries(self.ticks)
        self.newest_board, self.alerts = NewestBoard(), AlertEvents()
        self.extras = Extras({"board": BoardEvents(self.newest_board), "alerts": self.alerts})

    def watch(self, tags: Sequence[str], by_source: bool, extras: tuple[str, ...] = ()) -> FanOut:
        """The fan-out of these hashtags, in whatever order, and of these events beside their
        totals, the same one for all who ask; it may not know all of its totals yet."""
        key = (tuple(sorted(map(str, tags))), by_source, extras)
        found = self.fanouts.get(key)
        if found is None:
            chosen = [self.watch_one(str(tag)) for tag in tags]
            beside, now = self.extras.of(extras), self.clock()
            parts = self.ticks, self.past, self.shared, self.lagging
            found = self.fanouts[key] = FanOut(chosen, by_source, beside, *parts, now)
            watched_by = ref(found, self.forgetting)
            self.order[watched_by] = key[0]
            self.extras.join(watched_by, extras)
            for watched in chosen:
                watched.fanouts.add(watched_by)
        return found

    def watch_one(self, tag: str) -> Watched:
        found = self.watched.get(tag)
        if found is None:
            found = self.watched[tag] = Watched(tag, self.name_of(tag), tag in self.spellings)
            if line := self.ticks.lines.get(tag):
                found.totals, found.people = line.now, line.people
        return found

    def forget(self, watched_by: ref[FanOut]) -> None:
        """A fan-out is gone, and hashtags that no other shows go with it."""
        self.untold.discard(watched_by)
        self.extras.leave(watched_by)
        for tag in self.order.pop(watched_by, ()):
            watched = self.watched.get(tag)
            if watched:
                watched.fanouts.discard(watched_by)
                if not watched.fanouts:
                    del self.watched[tag]

    def showing(self, tag: str) -> list[FanOut]:
        found = [each() for each in list(self.watched[tag].fanouts)]
        return [fanout for fanout in found if fanout is not None]

    def not_known(self) -> list[str]:
        """The hashtags that are watched and whose totals have to be learnt."""
        return [each.tag for each in list(self.watched.values()) if each.totals is None]

    def name_of(self, tag: str) -> str:
        """How a hashtag is shown: as most write it, else as the settings do."""
        if line := self.ticks.lines.get(tag):
            return line.name
        watched = self.watched.get(tag)
        return watched.name if watched else self.spellings.get(tag, tag)
