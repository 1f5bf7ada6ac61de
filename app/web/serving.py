"""All of it, from the first request until a process is told to stop."""

import asyncio
from functools import partial
from pathlib import Path

from hypercorn.asyncio import serve

from app.metrics import Metrics
from app.process import beside
from app.settings import Settings
from app.store.store import Store
from app.web.app import create_app
from app.web.feed import Feed
from app.web.frontdoor import open_front_door
from app.web.server import ServerConfig, prepare_for_many
from app.web.worker_metrics import of_all_workers


async def serving(
    settings: Settings,
    opened: Store,
    config: ServerConfig,
    metrics: Metrics,
    socket: str,
    stop: asyncio.Event,
) -> None:
    """Serve until told to stop; then end every stream first, which lets the server end.

    socket: of one of several processes, in the folder where the others have theirs
    (worker_metrics.py).
    """
    prepare_for_many()  # first: the limits go by it
    feed = Feed(settings.tick_seconds, settings.hashtags)
    text = partial(of_all_workers, Path(socket).parent) if socket else metrics.text
    app = create_app(settings, feed, metrics, text)

    async def drained() -> None:
        await stop.wait()
        feed.close()
        # well before Hypercorn's patience ends, which would cancel connections with a traceback
        asyncio.get_running_loop().call_later(config.graceful_timeout / 2, config.cut)

    async with beside(feed.run(opened), "the feed"):
        open_front_door(app, config, settings, feed)
        await serve(app, config, shutdown_trigger=drained)
