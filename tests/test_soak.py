"""Kill any process at any moment, as often as you like: the totals equal the posts, and no
viewer misses a tick. `make soak FAULTS=100 SEED=1` is the long form."""

import asyncio
import itertools
import os
import random
import sys
import time
from contextlib import suppress
from pathlib import Path

from judge import Judge
from network import truth
from redis.exceptions import RedisError
from servers import eventually
from soak import Viewer, schedule, suffer
from world import TICK, WEBS, World

from app.embedded import find_server
from app.hashtags import extract, key
from app.selection import REPEAT_SECONDS
from app.sources.replay import LONGEST_PAUSE, parse

VIEWERS = 20
FAULTS, SEED = int(os.environ.get("FAULTS", 16)), int(os.environ.get("SEED", 1))
SECONDS_A_FAULT = 1.3
MOST_MEMORY = 160
"""MiB that a process may ever have: an empty one with its libraries has some 60."""
QUICK = ["x_v2_academic_hk", "bsky_jetstream_misc", "mastodon_client_fixtures"]
ALL = [
    *QUICK,
    "x_v2_twarc_csv",
    "x_v2_academic_mocks",
    "x_v2_client_fixtures",
    "bsky_posts_wrapped",
]


def write(recordings: Path, folders: list[str], file: Path) -> list[int]:
    """The recordings one after the other; when each post was written."""
    lines = [
        line
        for folder in folders
        for line in (recordings / folder / "wire_reduced.jsonl").read_bytes().splitlines()
    ]
    file.write_bytes(b"\n".join(lines))
    posts = [parse(line) for line in lines]
    return [post.at for post in posts if post]


def speed_for(times: list[int], seconds: float) -> float:
    """The REPLAY_SPEED at which these posts take about so long."""
    waits = [max(0, later - at) / 1000 for at, later in itertools.pairwise(times)]
    slow, fast = 1.0, 1e6
    for _ in range(40):
        speed = (slow * fast) ** 0.5
        takes = sum(min(LONGEST_PAUSE, wait / speed) for wait in waits)
        slow, fast = (speed, fast) if takes > seconds else (slow, speed)
    return fast


def typed(counts: dict[str, int], most: int = 8) -> dict[str, int]:
    """The commonest hashtags that can be typed."""
    able = {tag: n for tag, n in counts.items() if extract(f"#{tag}") == [tag] == [key(tag)]}
    return dict(sorted(able.items(), key=lambda item: -item[1])[:most])


async def test_no_fault_loses_or_repeats_anything(recordings: Path, tmp_path: Path) -> None:
    """After a seeded schedule of faults, each with a proof: exact totals, no viewer with a gap
    or a repeat (judge.Judge says what that is), no process that grew, no traceback."""
    folders = QUICK if FAULTS < 80 else ALL
    times = write(recordings, folders, tmp_path / "recording.jsonl")
    expected = typed(truth(recordings, *folders))
    world = World(
        tmp_path,
        find_server(),
        SOURCES="replay",
        REPLAY_FILE=tmp_path / "recording.jsonl",
        REPLAY_SPEED=speed_for(times, 0.6 * SECONDS_A_FAULT * FAULTS),
        HASHTAGS=",".join(expected),
    )
    say(f"\nseed {SEED}, {FAULTS} faults, {len(times)} posts, expecting {expected}\n")
    begun = time.monotonic()
    try:
        async with world:
            viewers = [viewer(world, list(expected), number) for number in range(VIEWERS)]
            tasks = [asyncio.create_task(viewer.run()) for viewer in viewers]
            tasks.append(asyncio.create_task(world.measure()))
            try:
                await eventually(lambda: all(v.events for v in viewers), "all viewers see")
                faults = schedule(SEED, FAULTS)
                async with asyncio.TaskGroup() as lanes:
                    for _ in range(2):
                        lanes.create_task(suffer(world, faults))
                await settled(world, viewers, expected)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            await world.remember()
        judge(world, viewers, time.monotonic() - begun)
    finally:
        for number, proof in enumerate(world.proofs, 1):
            say(f"{number:4} {proof}\n")
        say(f"memory in MiB: {world.memory}; seed {SEED}; {time.monotonic() - begun:.0f} s\n")


def viewer(world: World, tags: list[str], number: int) -> Viewer:
    chance = random.Random(f"{SEED} {number}")
    urls = [f"http://127.0.0.1:{world.ports[name]}" for name in WEBS]
    return Viewer(urls, chance.sample(tags, chance.randint(1, len(tags))), chance)


async def settled(world: World, viewers: list[Viewer], expected: dict[str, int]) -> None:
    """Wait for the totals, see that they stay so, and that every viewer has them."""

    async def counted() -> bool:
        with suppress(RedisError):  # it may have been the last one hit
            return sum((await world.totals()).values()) >= sum(expected.values())
        return False

    def seen(viewer: Viewer) -> bool:
        mine = {tag: expected[tag] for tag in viewer.tags}
        return bool(viewer.events[-1].data.get("counts") == mine)

    await eventually(counted, f"totals of {expected}", 60 + FAULTS)
    assert await world.totals() == expected
    await eventually(lambda: all(seen(viewer) for viewer in viewers), "all viewers have them", 30)
    await asyncio.sleep(20 * TICK)
    assert await world.totals() == expected
    for name, process in world.processes.items():
        assert process.running, f"{name}: {process.output}"


def judge(world: World, viewers: list[Viewer], seconds: float) -> None:
    assert len(world.proofs) == FAULTS
    judges = [Judge(world.ledger, viewer.tags).read(viewer.events) for viewer in viewers]
    wrong = [f"viewer {n}: {what}" for n, each in enumerate(judges) for what in each.wrong]
    say(
        f"{len(world.ledger.ticks)} ticks; {VIEWERS} viewers made {sum(v.visits for v in viewers)} "
        f"visits and got {sum(len(v.events) for v in viewers)} events, "
        f"{sum(each.histories for each in judges)} histories, "
        f"{sum(each.heartbeats for each in judges)} heartbeats; {len(wrong)} wrong\n"
    )
    assert not wrong, "\n".join(wrong[:20])
    starts = sum("web" in log.parent.name for log in world.logs)
    most = 2 * seconds / REPEAT_SECONDS + starts
    assert max(each.heartbeats for each in judges) <= most
    assert max(world.memory.values()) <= MOST_MEMORY, world.memory
    for log in world.logs:
        assert "Traceback" not in log.read_text(), log.read_text()


def say(text: str) -> None:
    sys.stdout.write(text)
