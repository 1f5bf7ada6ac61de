"""The totals of hashtags that are in no recent tick, read from Redis."""

from collections.abc import Mapping, Sequence

from app.messages import BySource
from app.store import keys
from app.store.store import Store, Values


class Totals:
    """Reads totals, and remembers which sources there are."""

    def __init__(self) -> None:
        self.networks: tuple[str, ...] = ()
        """Every source that ever counted, as far as we know."""

    async def read(self, store: Store, tags: Sequence[str]) -> tuple[str, dict[str, BySource]]:
        """The id of the last tick, and the totals of these hashtags at it. Raises StoreLost."""
        self.networks = self.networks or (await store.load()).networks
        while True:
            names = {network: keys.totals(network) for network in self.networks}
            state, values = await store.read(dict.fromkeys(names.values(), tags))
            if set(state.networks) <= names.keys():
                return state.tick, {tag: found(store, tag, names, values) for tag in tags}
            self.networks = state.networks  # there are more of them: all is read again


def found(store: Store, tag: str, names: Mapping[str, str], values: Values) -> BySource:
    """A hashtag's total of each source that has one; what is none is skipped and counted."""
    totals: BySource = {}
    for network, key in names.items():
        value = values.get(key, {}).get(tag)
        if value is not None:
            try:
                totals[network], _ = keys.read_posts(value)
            except ValueError as error:
                store.skip(f"{tag!r} in the Redis key {key} is {error}")
    return totals
