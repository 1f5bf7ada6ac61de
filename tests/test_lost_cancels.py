"""Tasks whose cancel is lost, as redis-py may lose one before Python 3.12 and while it writes: each
ends all the same, or the end of the process, or of the lease, would wait for it for ever."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import pytest
from bluesky_api import BlueskyApi
from test_ingest import Script

from app import process
from app.ingest.ingester import Ingester
from app.ingest.rollup import most_used
from app.store import keys
from app.store.store import Store
from app.web import bluesky_posts
from app.web.bluesky_posts import Lookups
from app.web.feed import Feed


class Deaf:
    """A call of Redis that loses the first cancel; each ends with the next one only."""

    def __init__(self, answer: Any) -> None:
        self.answer, self.asked = answer, 0
        self.waits = asyncio.Event()

    async def __call__(self, *_: Any, **__: Any) -> Any:
        self.asked += 1
        self.waits.set()
        if self.asked > 1:
            await asyncio.sleep(0)  # others have their turn
            return self.answer
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return self.answer


async def ended(work: Coroutine[Any, Any, Any], deaf: Deaf) -> None:
    """Cancel it once, within the call."""
    task = asyncio.create_task(work)
    await deaf.waits.wait()
    task.cancel()
    await asyncio.wait([task], timeout=5)
    assert task.cancelled()
    assert deaf.asked == 1


async def test_what_completion_recalls(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A day's hours would be read to their end."""
    deaf = Deaf((1, {}))
    monkeypatch.setattr(store, "scan", deaf)
    await ended(most_used(store, keys.hour(1, "x")), deaf)


async def test_what_was_counted_already(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source would be read for ever by an ingester that is the writer no more."""
    deaf, source = Deaf([]), Script("x", replays=True)
    source.repeats = True
    ingester = Ingester([source], store, [], 0.5)
    monkeypatch.setattr(store, "members", deaf)
    await ended(ingester.count(source, None), deaf)
    assert not source.opened


async def test_what_goes_with_a_tick(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next tick never comes."""
    deaf, feed = Deaf(None), Feed(0.5)
    monkeypatch.setattr(feed.extras, "look", deaf)
    await ended(feed.run(store), deaf)


async def test_what_bluesky_is_asked(
    store: Store, api: BlueskyApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is cancelled until it ends."""
    deaf = Deaf(100)
    monkeypatch.setattr(process, "CANCEL_SECONDS", 0.05)
    monkeypatch.setattr(bluesky_posts, "may_look_up", deaf)
    lookups = Lookups(api.url, lambda: 0.0)
    asking = asyncio.create_task(lookups.shown(store, ["did:plc:a/1"]))
    await deaf.waits.wait()
    task = lookups.task
    await asyncio.wait_for(lookups.close(), 5)
    assert task and task.cancelled()
    asking.cancel()
    await asyncio.wait([asking])
