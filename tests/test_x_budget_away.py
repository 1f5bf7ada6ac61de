"""The day's ceiling on posts read from X while Redis is away, with a real ingester."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from network import Counting, settings
from servers import App, Process, RedisServer, eventually
from test_x_budget import chosen, paid, script
from world import kill, stop
from x_server import TOKEN, x_server

from app.sources.x.backfill import XBackfill
from app.sources.x.stream import X
from app.store import connection
from app.store.embedded import find_server

KEEPS = ("--appendonly", "yes", "--appendfsync", "always")


@pytest.mark.parametrize("source", [X, XBackfill])
@pytest.mark.parametrize("fault", [stop, kill])
async def test_x_is_not_left_because_redis_is_away(
    tmp_path: Path,
    ending: ExitStack,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[Process], None],
    source: type[X],
) -> None:
    """X does not send again what it sent meanwhile: all of it counts, once, on one connection."""
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.3)
    redis = ending.enter_context(RedisServer(find_server(), tmp_path / "redis", *KEEPS))
    counting = Counting(redis)
    async with x_server() as api:
        api.keep_alive = 0.02
        x = source(settings(("science",), x_api_url=api.url, x_bearer_token=TOKEN))
        x.store = counting.store
        async with counting.of(x):
            api.later.extend(script(0, 10))
            await counting.reach({"science": 10})
            fault(redis)
            await eventually(lambda: counting.ingester.trouble, "it is noticed")
            api.later.extend(script(10, 210))
            await eventually(lambda: held(counting) >= 200, "all are counted meanwhile")
            if fault is stop:
                redis.signal(signal.SIGCONT)
            else:
                ending.enter_context(
                    RedisServer(redis.binary, redis.folder, *KEEPS, port=redis.port)
                )
            await eventually(lambda: not counting.ingester.trouble, "Redis is back")
            api.later.extend(script(210, 220))
            await counting.reach({"science": 220})
        assert await paid(counting.store) == 220
        assert api.connects == 1
    await counting.aclose()


@pytest.mark.parametrize("source", [X, XBackfill])
async def test_a_connection_that_breaks_while_redis_is_away_is_made_anew(
    tmp_path: Path, ending: ExitStack, source: type[X]
) -> None:
    """What was read before it broke is in the account when Redis is back, and the ceiling holds."""
    redis = ending.enter_context(RedisServer(find_server(), tmp_path / "redis", *KEEPS))
    counting = Counting(redis)
    chosen = {"x_bearer_token": TOKEN, "x_posts_per_day": "45"}
    async with x_server() as api:
        api.keep_alive = 0.02
        x = source(settings(("science",), x_api_url=api.url, **chosen))
        x.store = counting.store
        async with counting.of(x):
            api.later.extend(script(0, 10))
            await counting.reach({"science": 10})
            kill(redis)
            await eventually(lambda: counting.ingester.trouble, "it is noticed")
            api.later.extend(script(10, 30))
            await eventually(lambda: held(counting) >= 20, "they are counted")
            api.connections.append(script(30, 40))
            api.hang_up = True
            await eventually(lambda: held(counting) >= 30, "and those after the break")
            ending.enter_context(RedisServer(redis.binary, redis.folder, *KEEPS, port=redis.port))
            await counting.reach({"science": 40})
            api.later.extend(script(40, 60))
            await eventually(lambda: x.state == "budget", "the ceiling is reached")
            await counting.reach({"science": 45})
        assert await paid(counting.store) == 45
        assert (api.connects, api.fired) == (2, ["hang up"])
    await counting.aclose()


def held(counting: Counting) -> int:
    """Posts that are counted and not stored; all of them name one hashtag."""
    ingester = counting.ingester
    trying = [ingester.commits.trying] if ingester.commits.trying else []
    tried = [entry[3] for cut in (*trying, *ingester.commits.again) for entry in cut.entries()]
    past = [sum(tags.values()) for tags in ingester.counter.past.get("x", {}).values()]
    return sum((*tried, *past, *ingester.counter.counted.get("x", {}).values()))


async def test_the_end_does_not_wait_for_a_redis_that_hangs(
    redis_server: RedisServer, start_app: Callable[..., App]
) -> None:
    """With X connected, too, SIGTERM is heeded, and not by the last resort."""
    async with x_server() as x:
        app = start_app("ingest", **chosen(x, redis_server, 1000))
        x.connections.append(script(0, 10))
        await eventually(lambda: x.sent == 10, f"it reads: {app.output}")
        stop(redis_server)
        app.signal(signal.SIGTERM)
        assert await asyncio.to_thread(app.wait, 10) == 0, app.output
    assert "Traceback" not in app.output
