"""What a web process tells Prometheus: numbers that its parts keep."""

import time
from collections.abc import Iterator

from quart import Quart, Response

from app.metrics import CONTENT_TYPE, Durations, Text, Value
from app.web.feed import Feed
from app.web.limits import Limits

FigureValues = Iterator[tuple[str, Value | Durations]]


def figures(feed: Feed, limits: Limits) -> FigureValues:
    """All of it."""
    shared, freshness = feed.shared, feed.freshness
    yield "pulse_viewers", limits.viewers
    yield "pulse_viewers_most", limits.most
    yield "pulse_connects_total", limits.came
    yield "pulse_resumes_total", shared.resumed
    yield "pulse_refusals_total", {(why,): number for why, number in limits.refused.items()}
    yield "pulse_frames_total", shared.frames
    yield "pulse_frame_bytes_total", shared.frame_bytes
    yield "pulse_frame_age_seconds", shared.ages
    yield "pulse_ticks_total", freshness.ticks
    yield "pulse_tick_length_seconds", {("web",): feed.pace.lasts}
    yield "pulse_redis_trouble", {("web",): float(bool(freshness.trouble))}
    yield "pulse_redis_lost_total", {("web",): freshness.lost}
    if newest := feed.newest:
        came = time.time() - (feed.clock() - newest.came)
        yield "pulse_tick_lag_seconds", came - newest.at / 1000
    if feed.store:
        yield "pulse_subscriptions_total", feed.store.subscriptions
        yield "pulse_gaps_repaired_total", feed.store.repaired


def add_metrics(app: Quart, text: Text) -> None:
    """Answer `GET /metrics` where all else is answered."""

    @app.get("/metrics")
    async def metrics() -> Response:
        headers = {"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"}
        return Response(await text(), headers=headers)
