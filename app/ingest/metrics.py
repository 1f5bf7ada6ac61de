"""What the ingester tells Prometheus: numbers that it has at hand."""

from collections import Counter
from collections.abc import Iterator, Mapping

from app.ingest.counter import Cut
from app.metrics import Durations, Value
from app.sources import Source


class Figures:
    """What the ingester did since the process began. Bound: an entry for each source."""

    def __init__(self) -> None:
        self.posts: Counter[str] = Counter()
        """Source name to posts that were counted."""
        self.uses: Counter[str] = Counter()
        """Source name to uses of hashtags that are stored."""
        self.commits = Durations()
        """Of those that stored a tick."""
        self.counted_again = 0
        """Ticks that Redis lost."""
        self.redis_lost, self.is_redis_lost = 0, False
        """How often something began to be wrong with Redis; whether it is now."""
        self.writes = False
        """Whether this ingester is the one that writes."""

    def see_redis(self, is_redis_lost: bool) -> None:
        """Whether something is wrong with Redis; that another ingester writes is not."""
        self.redis_lost += is_redis_lost and not self.is_redis_lost
        self.is_redis_lost = is_redis_lost

    def store(self, cut: Cut) -> None:
        """It is stored."""
        for source, tags in cut.present.items():
            self.uses[source] += sum(tags.values())
        for source, minutes in cut.past.items():
            self.uses[source] += sum(sum(tags.values()) for tags in minutes.values())

    def tell(
        self, sources: Mapping[str, Source], known: int, tick_seconds: float
    ) -> Iterator[tuple[str, Value | Durations]]:
        """All of it, and how the sources are now; who stands by does nothing with them."""
        states: Value = {(name, s.state): 1 for name, s in sources.items() if self.writes}
        yield "pulse_posts_total", {(name,): self.posts[name] for name in sources}
        yield "pulse_uses_total", {(name,): self.uses[name] for name in sources}
        yield "pulse_skipped_total", {(name,): each.bad for name, each in sources.items()}
        yield "pulse_source_state", states
        yield "pulse_writer", float(self.writes)
        yield "pulse_commit_seconds", self.commits
        yield "pulse_counted_again_total", self.counted_again
        yield "pulse_hashtags", known
        yield "pulse_redis_trouble", {("ingest",): float(self.is_redis_lost)}
        yield "pulse_redis_lost_total", {("ingest",): self.redis_lost}
        yield "pulse_tick_length_seconds", {("ingest",): tick_seconds}
        for source in sources.values():
            yield from of_source(source)


def of_source(source: Source) -> Iterator[tuple[str, Value]]:
    """What a network costs, where it charges for each post."""
    if budget := getattr(source, "budget", None):
        yield "pulse_x_posts_read", budget.read_today()
        yield "pulse_x_posts_ceiling", budget.ceiling
