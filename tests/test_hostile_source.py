"""A network of strangers at full speed: honest posts are counted to the last one, nothing grows,
nobody is silent. `make soak` has it for longer: STRANGE_SECONDS=3600."""

import asyncio
import os
import sys
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from hostile_source import HONEST, HostileServer, Strangers
from servers import App, Event, RedisServer, eventually, viewing
from stored import totals

from app.store.store import Store, connect

SECONDS, SEED = float(os.environ.get("STRANGE_SECONDS", 60)), int(os.environ.get("SEED", 1))
MOST_MEMORY = 400
"""MiB of the ingester, of the web process, and of Redis."""
MOST_HASHTAGS = 20_000
TICK, LATE_SECONDS, SILENT_SECONDS = 0.5, 1.0, 6.0
"""By so much may a tick come late, and so long may a page hear nothing: where it runs for long,
with nothing beside it."""
LONG_SECONDS = 100
LOOK_SECONDS = 2.0
"""How often the log is read: in a flood its oldest ticks go after some seconds."""


async def test_honest_posts_are_exact_among_the_worst_of_everything(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """Names of every length up to a megabyte and of every plane, storms of marks, ten thousand
    hashtags, times of every year, no JSON, repeats, another order, messages that no server
    should send, cut lines, and hosts that are five minutes apart."""
    strangers = Strangers(SEED)
    chosen = {"REDIS_URL": redis_server.url, "HASHTAGS": ",".join(HONEST[:10])}
    async with HostileServer(strangers, 300, -300) as server:
        network = {
            "SOURCES": "bluesky",
            "JETSTREAM_URL": server.urls,
            "MAX_HASHTAGS": MOST_HASHTAGS,
        }
        with (
            App(tmp_path / "web", "web", **chosen) as web,
            App(tmp_path / "ingest", "ingest", **chosen, **network) as ingester,
        ):
            await asyncio.to_thread(web.started)
            seen: list[tuple[float, Event]] = []
            steps: list[float] = []
            watching = asyncio.gather(watch(web, seen), look(redis_server, steps))
            memory = await memory_meanwhile({"web": web, "ingest": ingester, "redis": redis_server})
            server.over = True
            with suppress(AssertionError):  # what is wrong is said next
                await eventually(lambda: counted(redis_server, strangers), "all is counted", 60)
            assert await honest(redis_server) == {tag: strangers.truth[tag] for tag in HONEST}
            await eventually(lambda: shows(seen, strangers), "the page shows it", 20)
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            outputs = web.output + ingester.output
    late, silent = max(steps) - TICK, seen_silence(seen)
    say(
        f"\nseed {SEED}: {server.next} messages, {sum(strangers.truth.values())} honest uses, "
        f"{server.cuts} cuts, {memory} MiB, {len(steps)} ticks, the latest by {late:.1f} s, no page silent for "
        f"more than {silent:.1f} s; {dict(strangers.made)}\n"
    )
    assert server.cuts, "the line was cut"
    assert "Traceback" not in outputs, outputs
    assert max(memory.values()) <= MOST_MEMORY, memory
    if SECONDS >= LONG_SECONDS:
        assert late <= LATE_SECONDS
        assert silent <= SILENT_SECONDS


async def watch(web: App, seen: list[tuple[float, Event]]) -> None:
    """All that a viewer of honest hashtags is sent, on one connection, and when it came."""
    async with viewing(f"{web.url}/events?tags={','.join(HONEST[:20])}") as stream:
        async for event in stream:
            if event.name == "counts":
                seen.append((asyncio.get_running_loop().time(), event))


async def look(server: RedisServer, steps: list[float]) -> None:
    """Seconds between one tick and the next, of all that were stored; until cancelled."""
    store = Store(connect(server.url))
    last, before = "", 0
    try:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            for tick in await store.ticks_after(last):
                steps += [(tick.at - before) / 1000] if before else []
                last, before = tick.id, tick.at
    finally:
        await store.redis.aclose()


async def memory_meanwhile(processes: dict[str, Any]) -> dict[str, int]:
    """The most memory that each process has for so long, in MiB."""
    memory, now = dict.fromkeys(processes, 0), asyncio.get_running_loop().time
    end = now() + SECONDS
    while now() < end:
        for name, process in processes.items():
            assert process.running, process.output
            pages = Path(f"/proc/{process.popen.pid}/statm").read_text().split()[1]
            memory[name] = max(memory[name], int(pages) // 256)
        await asyncio.sleep(0.2)
    return memory


async def counted(server: RedisServer, strangers: Strangers) -> bool:
    return await honest(server) == {tag: strangers.truth[tag] for tag in HONEST}


async def honest(server: RedisServer) -> dict[str, int]:
    """The totals of the honest hashtags."""
    store = Store(connect(server.url))
    try:
        found = await totals(store)
    finally:
        await store.redis.aclose()
    return {tag: found.get(tag, 0) for tag in HONEST}


def shows(seen: list[tuple[float, Event]], strangers: Strangers) -> bool:
    """Whether the last event has the truth."""
    return bool(seen) and seen[-1][1].data["counts"] == {t: strangers.truth[t] for t in HONEST[:20]}


def seen_silence(seen: list[tuple[float, Event]]) -> float:
    """The longest time in which nothing came."""
    return max((two - one for (one, _), (two, _) in pairwise(seen)), default=0.0)


def say(text: str) -> None:
    sys.stdout.write(text)
