"""Another server becomes the primary, by Sentinels or in a cluster, while posts are counted: no
post is lost or counted twice, and no viewer misses a tick. What the dead one alone had is counted
again. `make soak` does it ten times (FAILOVERS=10), every other time with the ingester killed too."""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from conftest import missing
from judge import Judge
from primaries import Cluster, Moving, Sentinels
from servers import App, Event, eventually
from world import INGESTERS, WEBS, watched, write

from app.store.embedded import find_server

FAILOVERS = int(os.environ.get("FAILOVERS", 1))
POSTS = 250
"""For each failover, one every 20 ms."""
HASHTAGS = "science"


@asynccontextmanager
async def counting(
    kind: type[Moving], folder: Path, binary: str, posts: int
) -> AsyncIterator[Moving]:
    """All of it, while a recording is replayed; in the end all is counted, once, and seen."""
    recording = write(folder / "recording", posts)
    chosen = {"SOURCES": "replay", "REPLAY_FILE": recording, "HASHTAGS": HASHTAGS}
    async with kind(folder, binary, **chosen) as world, AsyncExitStack() as viewers:
        seen: list[list[Event]] = [[] for _ in WEBS]
        for name, events in zip(WEBS, seen, strict=True):
            web = world.processes[name]
            assert isinstance(web, App)
            await asyncio.to_thread(web.started)
            await viewers.enter_async_context(watched(web, events))
        await eventually(lambda: all(len(events) > 3 for events in seen), "both see ticks")
        try:
            yield world
            await counted(world, posts)
            await eventually(lambda: all(shows(events, posts) for events in seen), "all is seen")
        finally:
            sys.stdout.writelines(f"{proof}\n" for proof in world.proofs)
        await asyncio.sleep(1)
        assert await world.totals() == {HASHTAGS: posts}
        await world.remember()
        for events in seen:
            assert not Judge(world.ledger, [HASHTAGS]).read(events).wrong
        assert not world.ledger.wrong()
        for log in world.logs:
            assert "Traceback" not in log.read_text(), log.read_text()


async def counted(world: Moving, posts: int) -> None:
    async def has_all() -> bool:
        return sum((await world.totals()).values()) >= posts

    await eventually(has_all, "all are counted", 60 + posts // 50)


def shows(events: list[Event], total: int) -> bool:
    return events[-1].data.get("counts") == {HASHTAGS: total}


async def test_sentinels_choose_another_primary(tmp_path: Path) -> None:
    """Each time the dead primary had answered for posts that its heir never had."""
    binary = shutil.which("redis-server") or missing("redis-server")
    async with counting(Sentinels, tmp_path, binary, POSTS * FAILOVERS) as world:
        assert isinstance(world, Sentinels)
        for n in range(FAILOVERS):
            assert sum((await world.totals()).values()) < POSTS * FAILOVERS, "posts still come"
            also = await writer(world) if n % 2 else ""
            world.proofs.append(await world.fail_over(also))
            if also:
                await world.start(also)
            if n + 1 < FAILOVERS:
                await world.restore()
        assert len(world.proofs) == FAILOVERS


async def writer(world: Moving) -> str:
    """Which of the ingesters writes."""
    async with world.store() as store:
        held = await store.writer()
    return next(name for name in INGESTERS if f"/{world.processes[name].popen.pid}/" in held)


async def test_a_cluster_fails_over_and_moves_our_slot(tmp_path: Path) -> None:
    """Its primary is killed as above; then the slot of our keys goes to another primary, key by
    key, and meanwhile no commit is possible."""
    async with counting(Cluster, tmp_path, find_server(), POSTS + 50) as world:
        assert isinstance(world, Cluster)
        world.proofs.append(await world.fail_over())
        ours = [world.processes[name] for name in INGESTERS]

        def complained() -> bool:
            return any("being moved to another node" in each.output for each in ours)

        assert not complained()
        world.proofs.append(await world.move_slot(complained))
