"""Kill any process at any moment, as often as you like: the totals equal the posts, and no
viewer misses a tick. `make soak FAULTS=100 SEED=1` is the long form."""

import asyncio
import json
import os
import random
import sys
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import stored
from judge import Judge
from network import truth
from redis.exceptions import RedisError
from servers import eventually, get
from soak import Viewer, schedule, suffer
from world import TICK, WEBS, World

from app.hashtags import extract, key
from app.ingest import day_keys
from app.messages import DAY, MINUTE
from app.sources.replay import Parser
from app.store.embedded import find_server
from app.store.keys import Past
from app.web.fanout import REPEAT_SECONDS

VIEWERS, FAITHFUL = 20, 6
"""In all; and those of them that never choose other hashtags."""
FAULTS, SEED = int(os.environ.get("FAULTS", 16)), int(os.environ.get("SEED", 1))
SECONDS_A_FAULT = 1.3
MOST_MEMORY = 160
"""MiB that a process may ever have: an empty one with its libraries has some 60."""
FOLDERS = [
    "x_v2_academic_hk",
    "bsky_jetstream_misc",
    "mastodon_client_fixtures",
    "x_v2_twarc_csv",
    "x_v2_academic_mocks",
    "x_v2_client_fixtures",
    "bsky_posts_wrapped",
]
UNUSED = ["nobodyusesthis", "gibtesnicht", "誰も使わない"]
TRACKED, AUTHORS = 8, 1999
ASKED = 20
"""Hashtags of one question."""


def write(recordings: Path, file: Path) -> int:
    """The recordings one after the other, ten messages a second; how many seconds they last."""
    lines = [
        json.loads(line)
        for folder in FOLDERS
        for line in (recordings / folder / "wire_reduced.jsonl").read_bytes().splitlines()
    ]
    for n, line in enumerate(lines):
        set_time(line, datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=n // 10))
        if "data" in line:  # of most of X's recordings the authors are gone
            line["data"].setdefault("author_id", f"{n % AUTHORS}")
    file.write_text("\n".join(map(json.dumps, lines)))
    return len(lines) // 10


def set_time(line: dict[str, Any], time: datetime) -> None:
    """A message of another time: in the recordings' own, years pass and nothing happens."""
    if "time_us" in line:
        line["time_us"] = int(time.timestamp() * 1_000_000)
    elif "payload" in line:
        status = json.loads(line["payload"])
        if isinstance(status, dict):
            status["created_at"] = time.isoformat()
            line["payload"] = json.dumps(status)
    elif "data" in line:
        line["data"]["created_at"] = time.isoformat()


def typed(counts: dict[str, int]) -> list[str]:
    """The hashtags that can be typed, the commonest first."""
    able = {tag: n for tag, n in counts.items() if extract(f"#{tag}") == [tag] == [key(tag)]}
    return sorted(able, key=lambda tag: -able[tag])


async def test_no_fault_loses_or_repeats_anything(recordings: Path, tmp_path: Path) -> None:
    """After a seeded schedule of faults, each with a proof: exact totals of every hashtag, as many
    posts in its minutes, and as many people as there are authors; no viewer with a gap or a
    repeat (judge.Judge says what that is), whatever it asks for; no process that grew, no
    traceback."""
    seconds = write(recordings, tmp_path / "recording.jsonl")
    expected = truth(recordings, *FOLDERS)
    tags, today = typed(expected), int(time.time() * 1000) // DAY
    # by one key as good as any: by another each time, one of a hundred runs has 127 for 130
    day_keys.write(tmp_path / "people.key", dict.fromkeys((today - 1, today), bytes(32)))
    world = World(
        tmp_path,
        find_server(),
        SOURCES="replay",
        REPLAY_FILE=tmp_path / "recording.jsonl",
        REPLAY_SPEED=seconds / (0.4 * SECONDS_A_FAULT * FAULTS),
        HASHTAGS=",".join(tags[:TRACKED]),
        PEOPLE_KEY_FILE=tmp_path / "people.key",
    )
    say(
        f"\nseed {SEED}, {FAULTS} faults, {sum(expected.values())} uses of {len(expected)} hashtags\n"
    )
    begun = time.monotonic()
    try:
        async with world:
            viewers = [viewer(world, tags, number) for number in range(VIEWERS)]
            tasks = [asyncio.create_task(viewer.run()) for viewer in viewers]
            tasks.append(asyncio.create_task(world.watch()))
            try:
                await eventually(lambda: all(len(v.visits) > 1 for v in viewers), "all viewers see")
                async with asyncio.TaskGroup() as lanes:
                    faults = schedule(SEED, FAULTS)
                    for _ in range(2):
                        lanes.create_task(suffer(world, faults))
                await settled(world, viewers, expected)
                await check_past(world, expected)
                await check_people(world, tmp_path / "recording.jsonl")
                for name in WEBS:
                    await check_answers(f"http://127.0.0.1:{world.ports[name]}", world, expected)
            finally:
                await end(tasks)
            await world.remember()
        judge(world, viewers, time.monotonic() - begun)
    finally:
        for number, proof in enumerate(world.proofs, 1):
            say(f"{number:4} {proof}\n")
        say(f"memory in MiB: {world.memory}; seed {SEED}; {time.monotonic() - begun:.0f} s\n")


def viewer(world: World, tags: list[str], number: int) -> Viewer:
    """One that watches some of the tracked hashtags all the time, or any that there are."""
    chance = random.Random(f"{SEED} {number}")
    urls = [f"http://127.0.0.1:{world.ports[name]}" for name in WEBS]
    first = chance.sample(tags[:TRACKED], chance.randint(1, TRACKED))
    if number < FAITHFUL:
        return Viewer(urls, first, [], chance)
    often = [*tags[: 5 * TRACKED], *UNUSED]  # rare ones would hardly ever change
    return Viewer(urls, first, often + chance.sample(tags, len(often)), chance)


async def end(tasks: list["asyncio.Task[None]"]) -> None:
    """Cancel them; what went wrong in one of them before is raised."""
    for task in tasks:
        task.cancel()
    for error in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(error, Exception):
            raise error


async def settled(world: World, viewers: list[Viewer], expected: dict[str, int]) -> None:
    """Wait for the totals, see that they stay so, and that every viewer has them."""

    async def counted() -> bool:
        await asyncio.sleep(0.2)
        with suppress(RedisError):  # it may have been the last one hit
            return sum((await world.totals()).values()) >= sum(expected.values())
        return False

    await eventually(counted, "all are counted", 60 + FAULTS)
    assert await world.totals() == expected
    for each in viewers:
        each.stays = True
    try:
        await eventually(lambda: all(v.has(expected) for v in viewers), "all viewers have them", 30)
    finally:
        for number, each in enumerate(viewers):
            if not each.has(expected):
                say(f"viewer {number} lacks them: {each.visits[-1]}\n")
    await asyncio.sleep(20 * TICK)
    assert await world.totals() == expected
    for name, process in world.processes.items():
        assert process.running, f"{name}: {process.output}"


async def check_past(world: World, expected: dict[str, int]) -> None:
    """The minutes of every hashtag have all of its posts, and its running total is right."""
    for kind, tags in (("hour", set(expected)), ("kept", tracked(world)), ("day", tracked(world))):
        past = await world.past(kind)
        posts = {tag: sum(sum(of.slots.values()) for of in past[tag].values()) for tag in tags}
        assert posts == {tag: expected[tag] for tag in tags}, kind
        ends = {tag: past[tag][max(past[tag])].total for tag in tags}
        assert ends == {tag: expected[tag] for tag in tags}, kind


async def check_people(world: World, recording: Path) -> None:
    """Each hashtag has as many as the recordings have authors: to the last one up to 100, and within
    2 % above that, whatever was killed, was counted again or came back older."""
    authors, parser = dict[str, set[str]](), Parser()
    for line in recording.read_bytes().splitlines():
        if (post := parser.parse(line)) and post.author:
            for tag in post.hashtags:
                authors.setdefault(tag, set()).add(post.author)
    async with world.store() as store:
        days = await stored.people(store)
    if len(days) > 1:
        return  # it was midnight: some are of both days
    [found] = days.values()
    wrong = {
        tag: (found.get(tag), len(of))
        for tag, of in authors.items()
        if abs(found.get(tag, 0) - len(of)) > (0.02 * len(of) if len(of) > 100 else 0)
    }
    assert wrong == {}
    assert sum(found.values()) > 5000 and max(found.values()) > 100
    say(f"{len(authors)} hashtags with people, the most {max(found.values())}\n")


def tracked(world: World) -> set[str]:
    return set(world.settings["HASHTAGS"].split(","))


async def check_answers(url: str, world: World, expected: dict[str, int]) -> None:
    """What is asked for at the end, of any hashtags: the present, and the past that led to it."""
    chance, hours = random.Random(SEED), await world.past("hour")
    for _ in range(3):
        tags = [*chance.sample(typed(expected), ASKED - 1), chance.choice(UNUSED)]
        query = f"tags={quote(','.join(tags))}"
        status, told = await get(f"{url}/api/counts?{query}")
        assert (status, told["counts"]) == (200, {tag: expected.get(tag, 0) for tag in tags})
        status, told = await get(f"{url}/api/history?range=15m&{query}")
        ends = {tag: last_known(line) for tag, line in told["series"].items()}
        assert (status, ends) == (200, {tag: expected.get(tag, 0) for tag in tags})
        status, told = await get(f"{url}/api/history?range=1h&{query}")
        assert status == 200
        for tag in tags:
            check_minutes(told, tag, hours.get(tag, {}))


def last_known(line: list[tuple[int, int | None]]) -> int | None:
    """The last total: since the recording ended, nothing is counted."""
    return next((total for _, total in reversed(line) if total is not None), None)


def check_minutes(told: Any, tag: str, hours: dict[int, Past]) -> None:
    """Minute by minute the answer has the posts of the hours; none where nothing is known."""
    posts = {
        (hour * 60 + slot) * MINUTE: n for hour, of in hours.items() for slot, n in of.slots.items()
    }
    line = told["series"][tag]
    assert last_known(line) == sum(posts.values())
    for at, total in line:
        if total is None:
            assert at - told["step"] not in posts
        else:
            assert total == sum(n for minute, n in posts.items() if minute < at), (tag, at)


def judge(world: World, viewers: list[Viewer], seconds: float) -> None:
    assert len(world.proofs) == FAULTS
    judges = [Judge(world.ledger).visits(viewer.visits) for viewer in viewers]
    wrong = [f"viewer {n}: {what}" for n, each in enumerate(judges) for what in each.wrong]
    visits = [visit for viewer in viewers for visit in viewer.visits[1:]]
    say(
        f"{len(world.ledger.ticks)} ticks; {VIEWERS} viewers made {len(visits)} visits "
        f"({sum(len(v.refused) for v in viewers)} more refused) for "
        f"{len({tag for visit in visits for tag in visit.tags})} hashtags "
        f"and got {sum(len(visit.events) for visit in visits)} events, "
        f"{sum(each.histories for each in judges)} histories "
        f"({sum(each.news for each in judges)} asked for), "
        f"{sum(each.heartbeats for each in judges)} heartbeats; {len(wrong)} wrong\n"
        f"refused: {dict(Counter(why for viewer in viewers for why in viewer.refused))}\n"
    )
    wrong += world.ledger.wrong()
    assert not wrong, "\n".join(wrong[:20])
    starts = sum("web" in log.parent.name for log in world.logs)
    most = 2 * seconds / REPEAT_SECONDS + starts
    assert max(each.heartbeats for each in judges) <= most
    assert max(world.memory.values()) <= MOST_MEMORY, world.memory
    for log in world.logs:
        assert "Traceback" not in log.read_text(), log.read_text()


def say(text: str) -> None:
    sys.stdout.write(text)
