"""The totals of hashtags that are in no recent tick, read from Redis."""

import logging
from collections.abc import Mapping, Sequence

from app.messages import BySource
from app.store import keys
from app.store.store import Store, Values

log = logging.getLogger(__name__)


class Totals:
    """Reads totals, and remembers which sources there are."""

    def __init__(self) -> None:
        self.networks: tuple[str, ...] = ()
        """Every source that ever counted, as far as we know."""
        self.skipped = 0
        """Values in Redis that were no totals."""

    async def read(self, store: Store, tags: Sequence[str]) -> tuple[str, dict[str, BySource]]:
        """The id of the last tick, and the totals of these hashtags at it. Raises StoreLost."""
        self.networks = self.networks or (await store.load()).networks
        while True:
            names = {network: keys.totals(network) for network in self.networks}
            state, values = await store.read(dict.fromkeys(names.values(), tags))
            if set(state.networks) <= names.keys():
                return state.tick, {tag: self.of(tag, names, values) for tag in tags}
            self.networks = state.networks  # there are more of them: all is read again

    def of(self, tag: str, names: Mapping[str, str], values: Values) -> BySource:
        found: BySource = {}
        for network, key in names.items():
            value = values.get(key, {}).get(tag)
            if value is not None:
                try:
                    found[network], _ = keys.read_posts(value)
                except ValueError as error:
                    self.skip(f"{tag!r} in the Redis key {key} is {error}")
        return found

    def skip(self, why: str) -> None:
        self.skipped += 1
        if self.skipped & (self.skipped - 1) == 0:  # at 1, 2, 4, 8 ...: a flood stays readable
            log.warning("skipped %d totals in Redis so far: %s", self.skipped, why)
