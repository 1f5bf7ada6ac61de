"""What Prometheus is told: numbers that the parts keep anyway, read when it asks.

Nothing is counted twice for it, and no hashtag is a label: there are too many. The table in
deploy/README.md has every name; `FIGURES` is the same, and a test holds one to the other.
"""

import asyncio
from bisect import bisect_left
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LONGEST_HEAD = 8192
HEAD_SECONDS = 5.0
"""So long, and of so many bytes, may a request on the address of its own be."""

FIGURES: dict[str, tuple[str, tuple[str, ...], str]] = {
    "pulse_info": ("gauge", ("version",), "1, with the version"),
    "pulse_posts_total": ("counter", ("source",), "posts counted, of which each has a hashtag"),
    "pulse_uses_total": ("counter", ("source",), "uses of hashtags stored"),
    "pulse_skipped_total": ("counter", ("source",), "messages that could not be read"),
    "pulse_source_state": (
        "gauge", ("source", "state"), "1, with what the source does; of the ingester that writes",
    ),
    "pulse_writer": ("gauge", (), "1 in the ingester that writes, 0 in one that stands by"),
    "pulse_commit_seconds": ("histogram", (), "how long a commit took"),
    "pulse_counted_again_total": ("counter", (), "ticks that Redis lost and that were made anew"),
    "pulse_hashtags": ("gauge", (), "hashtags known (one of two networks counts twice)"),
    "pulse_x_posts_read": ("gauge", (), "posts read of X today, by everybody with this Redis"),
    "pulse_x_posts_ceiling": ("gauge", (), "X_POSTS_PER_DAY"),
    "pulse_redis_trouble": ("gauge", ("part",), "1 while something is wrong with Redis"),
    "pulse_redis_lost_total": ("counter", ("part",), "how often it began to be"),
    "pulse_tick_length_seconds": ("gauge", ("part",), "how long ticks last: longer in overload"),
    "pulse_viewers": ("gauge", (), "open streams"),
    "pulse_viewers_most": ("gauge", (), "at most so many"),
    "pulse_connects_total": ("counter", (), "streams that were opened"),
    "pulse_resumes_total": ("counter", (), "of them, those that went on from a last event"),
    "pulse_frames_total": ("counter", (), "events with totals handed to viewers"),
    "pulse_frame_bytes_total": ("counter", (), "bytes of those"),
    "pulse_frame_age_seconds": (
        "histogram", (), "from a tick's end, by Redis's clock, to when a viewer was handed it"
    ),
    "pulse_ticks_total": ("counter", (), "ticks heard"),
    "pulse_tick_lag_seconds": ("gauge", (), "from the newest tick's end until it was heard"),
    "pulse_subscriptions_total": ("counter", (), "how often ticks were subscribed to"),
    "pulse_gaps_repaired_total": ("counter", (), "ticks missed on the channel, read from the log"),
    "pulse_refusals_total": ("counter", ("reason",), "requests that were not let in"),
}  # fmt: skip
"""Name to kind, labels, and what it is. Counters and histograms begin at 0 with the process."""

Value = float | Mapping[tuple[str, ...], float]
"""A number, or one for each combination of labels."""


class Durations:
    """How long things took, as a histogram; adding to it is two additions and a search."""

    BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
    """Seconds."""

    def __init__(self) -> None:
        self.counts = [0] * (len(self.BOUNDS) + 1)
        self.sum = 0.0

    def add(self, seconds: float, times: int = 1) -> None:
        self.counts[bisect_left(self.BOUNDS, seconds)] += times
        self.sum += seconds * times


def metric_of(name: str, value: Value | Durations) -> Metric:
    """One of FIGURES, as Prometheus is to have it."""
    kind, labels, what = FIGURES[name]
    if isinstance(value, Durations):
        bounds = [*map(str, value.BOUNDS), "+Inf"]
        counts = zip(bounds, accumulate(value.counts), strict=True)
        return HistogramMetricFamily(name, what, buckets=list(counts), sum_value=value.sum)
    metric = Metric(name.removesuffix("_total"), what, kind)
    values = value if isinstance(value, Mapping) else {(): value}
    for parts, number in values.items():
        metric.add_sample(name, dict(zip(labels, parts, strict=True)), number)
    return metric


class PartCollector(Collector):
    """A part of the process that tells its figures."""

    def __init__(self, tell: Callable[[], Iterable[tuple[str, Value | Durations]]]) -> None:
        self.tell = tell

    def collect(self) -> Iterator[Metric]:
        return (metric_of(name, value) for name, value in self.tell())


class Metrics:
    """All that this process tells, with what the system knows of it."""

    def __init__(self, version: str) -> None:
        self.registry = CollectorRegistry(support_collectors_without_names=True)
        ProcessCollector(registry=self.registry)
        self.add(lambda: [("pulse_info", {(version,): 1.0})])

    def add(self, tell: Callable[[], Iterable[tuple[str, Value | Durations]]]) -> None:
        self.registry.register(PartCollector(tell))

    async def text(self) -> bytes:
        return generate_latest(self.registry)


Text = Callable[[], Awaitable[bytes]]


@asynccontextmanager
async def serving_metrics(place: tuple[str, int] | str, text: Text) -> AsyncIterator[None]:
    """Answer `GET /metrics` on an address and port, or on the Unix socket at a path, within the
    block. Raises OSError where that cannot be had."""
    answer = answering(text)
    if isinstance(place, str):
        server = await asyncio.start_unix_server(answer, place, limit=LONGEST_HEAD)
    else:
        server = await asyncio.start_server(answer, *place, limit=LONGEST_HEAD)
    try:
        yield
    finally:
        server.close()


def answering(
    text: Text,
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                is_asked = head.startswith((b"GET /metrics ", b"GET /metrics?"))
                body, status = (await text(), "200 OK") if is_asked else (b"", "404 Not Found")
                about = f"Content-Type: {CONTENT_TYPE}\r\nContent-Length: {len(body)}\r\n"
                writer.write(f"HTTP/1.1 {status}\r\n{about}Connection: close\r\n\r\n".encode())
                writer.write(body)
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asks so gets nothing
        finally:
            writer.close()

    return answer
