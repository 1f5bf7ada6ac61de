"""Each fault of the soak alone, with real processes and files: what happened, and what held."""

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from judge import Judge, Ledger
from links import Link
from redis.exceptions import RedisError
from servers import (
    ROOT,
    App,
    Event,
    Process,
    RedisServer,
    eventually,
    free_port,
    viewing,
    wait_until,
)
from soak import state
from test_ingest import Script, counted, ingesting, total
from test_store import commit, count, hearing

from app import store as store_module
from app.embedded import find_server
from app.ingest import Ingester
from app.messages import Post
from app.store import TICKS, State, Store, connect

KEEPS = ("--appendonly", "yes", "--appendfsync", "always")
FAST = {"TICK_SECONDS": 0.1, "HASHTAGS": "science"}


@pytest.fixture
def redis(tmp_path: Path, ending: ExitStack) -> RedisServer:
    """A Redis that has every commit in its file before it answers."""
    return ending.enter_context(RedisServer(find_server(), tmp_path / "redis", *KEEPS))


@pytest.fixture
async def link(redis: RedisServer) -> AsyncIterator[Link]:
    async with Link(redis.port) as opened:
        yield opened


@pytest.fixture
async def store(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    """A store that loses patience soon."""
    monkeypatch.setattr(store_module, "ANSWER_SECONDS", 0.3)
    opened = Store(connect(redis.url))
    yield opened
    await opened.close()


def kill(process: Process) -> None:
    process.signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def stop(process: Process) -> None:
    process.signal(signal.SIGSTOP)
    wait_until(lambda: state(process) == "T", "it is stopped")


def again(redis: RedisServer) -> RedisServer:
    return RedisServer(redis.binary, redis.folder, *KEEPS, port=redis.port)


def copied(redis: RedisServer) -> Path:
    return shutil.copytree(redis.folder / "appendonlydir", redis.folder / "copy")


def put_back(redis: RedisServer, copy: Path) -> None:
    shutil.rmtree(redis.folder / "appendonlydir")
    copy.rename(redis.folder / "appendonlydir")


def write(file: Path, posts: int, milliseconds: int = 20) -> Path:
    """A recording of so many posts with #science, one after so long."""
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    times = (begin + timedelta(milliseconds=n * milliseconds) for n in range(posts))
    hashtags = {"hashtags": [{"start": 0, "end": 8, "tag": "science"}]}
    lines = (
        {"data": {"id": str(n), "created_at": at.isoformat(), "text": "x", "entities": hashtags}}
        for n, at in enumerate(times)
    )
    file.write_text("\n".join(json.dumps(line) for line in lines))
    return file


async def has(store: Store, posts: int) -> bool:
    with suppress(RedisError):
        return await total(store) >= posts
    return False


@pytest.mark.parametrize("replays", [True, False])
async def test_a_stopped_redis(store: Store, redis: RedisServer, replays: bool) -> None:
    """SIGSTOP: it never says no. The counting goes on, and all is committed once."""
    source = Script("a", replays)
    async with ingesting(store, source) as ingester:
        source.give(2)
        await counted(store, 2)
        stop(redis)
        source.give(5)
        await eventually(lambda: ingester.trouble and ingester.trying, "a commit has no answer")
        redis.signal(signal.SIGCONT)
        await counted(store, 7)


@pytest.mark.parametrize("replays", [True, False])
async def test_a_killed_redis_comes_back_with_its_file(
    store: Store, redis: RedisServer, ending: ExitStack, replays: bool
) -> None:
    """kill -9 while posts come: each is counted once."""
    source = Script("a", replays)
    async with ingesting(store, source) as ingester:
        for n in range(1, 4):
            source.give(5)
            kill(redis)
            source.give(5)
            await eventually(lambda: ingester.trouble, "it is missed")
            redis = ending.enter_context(again(redis))
            await counted(store, 10 * n)


@pytest.mark.parametrize("replays", [True, False])
async def test_a_redis_with_an_older_file_while_the_ingester_lives(
    store: Store, redis: RedisServer, ending: ExitStack, replays: bool
) -> None:
    """What the older file lacks is counted again from memory, also for a source that cannot
    go back."""
    source = Script("a", replays)
    async with ingesting(store, source) as ingester:
        source.give(4)
        await counted(store, 4)
        copy = copied(redis)
        source.give(6)
        await counted(store, 10)
        version = int((await store.load()).version)
        kill(redis)
        put_back(redis, copy)
        ending.enter_context(again(redis))
        assert int(ingester.stored.version) >= version
        await eventually(lambda: int(ingester.stored.version) < version, "Redis was older")
        await counted(store, 10)
    assert source.opened == [""]


async def test_a_redis_with_an_older_file_while_the_ingester_was_killed(
    store: Store,
    redis: RedisServer,
    ending: ExitStack,
    tmp_path: Path,
    start_app: Callable[..., App],
) -> None:
    """Nobody remembers what is missing: it is read again from the cursor in the older file."""
    settings = {
        **FAST,
        "SOURCES": "replay",
        "REPLAY_FILE": write(tmp_path / "recording", 150),
        "REDIS_URL": redis.url,
    }
    ingester = start_app("ingest", **settings)
    await eventually(lambda: has(store, 10), "ten posts are counted")
    copy = copied(redis)
    before = await total(store)
    await eventually(lambda: has(store, before + 10), "ten more are counted")
    kill(ingester)
    kill(redis)
    put_back(redis, copy)
    ending.enter_context(again(redis))
    await eventually(lambda: has(store, 1), "Redis is back")
    assert await total(store) < before + 10
    start_app("ingest", **settings)
    await counted(store, 150)


async def test_the_reply_to_a_commit_is_dropped(store: Store, link: Link) -> None:
    """Redis has done it and nobody knows: it is asked for again by its name, and counts once."""
    source, through = Script("a", False), Store(connect(link.url))
    async with ingesting(through, source) as ingester:
        for posts in (1, 2, 3):
            await between_ticks(store, ingester)
            link.dropped, link.dropping = 0, True
            ingester.counter.add(Post("a", "1", 0, "", {"science": "science"}))
            await eventually(partial(has, store, posts), "the commit is in")
            await eventually(lambda: link.dropped, "its reply is dropped")
            assert ingester.trying
            link.cut()
            link.dropping = False
            await counted(store, posts)
    await through.close()


async def between_ticks(store: Store, ingester: Ingester) -> None:
    """Wait for a moment without a commit on its way, after Redis has learnt the script."""
    await eventually(lambda: has_version(store, 1), "there was a commit")
    await eventually(lambda: ingester.trying is None, "none is on its way")


async def has_version(store: Store, version: int) -> bool:
    return int((await store.load()).version) >= version


async def test_a_reply_that_comes_too_late(store: Store, link: Link) -> None:
    """The commit is tried again on another connection before the first try has even arrived."""
    source, through = Script("a", False), Store(connect(link.url))
    async with ingesting(through, source) as ingester:
        await between_ticks(store, ingester)
        link.delay = 0.5
        ingester.counter.add(Post("a", "1", 0, "", {"science": "science"}))
        await eventually(lambda: ingester.trouble, "no answer in time")
        assert link.delayed
        assert await total(store) == 0
        await eventually(lambda: has(store, 1), "the late one has arrived")
        assert ingester.trying
        link.delay = 0.0
        await counted(store, 1)
    await through.close()


async def test_the_link_breaks_again_and_again(store: Store, link: Link) -> None:
    """Cut at any byte, a commit is in or not, and is found out."""
    source, through = Script("a", False), Store(connect(link.url))
    async with ingesting(through, source):
        for n in range(1, 30):
            source.give(1)
            await eventually(link.cut, "a connection was cut")
            await asyncio.sleep(0.003 * (n % 7))  # at another moment each time
        await counted(store, 29)
    await through.close()


FLOOD = "for n = 1, 200 do redis.call('PUBLISH', KEYS[1], ARGV[1]) end"


async def test_a_subscriber_whose_output_buffer_is_full(store: Store) -> None:
    """Redis drops it; it comes back and has every tick once, in order."""
    async with hearing(store) as heard:
        limit = "pubsub 32768 0 0"
        await store.redis.config_set("client-output-buffer-limit", limit)
        state, before = await commit(store, State(), "a"), await subscribers(store)
        assert before
        await store.redis.eval(FLOOD, 1, TICKS, "x" * 10_000)
        await eventually(lambda: lost(store, before), "it was dropped")
        for name in "bcd":
            state = await commit(store, state, name)
        await eventually(lambda: count(heard) == 4, "all ticks are heard")
    assert [t for t in heard if t] == await store.ticks_after("")


async def subscribers(store: Store) -> set[str]:
    return {client["id"] for client in await store.redis.client_list(_type="pubsub")}


async def lost(store: Store, before: set[str]) -> bool:
    return not before & await subscribers(store)


async def test_a_hung_ingester_is_replaced_and_does_no_harm_when_it_awakes(
    store: Store, redis: RedisServer, tmp_path: Path, start_app: Callable[..., App]
) -> None:
    """SIGSTOP: the second one writes within ten seconds; the first one then stands by."""
    settings = {
        **FAST,
        "SOURCES": "replay",
        "REPLAY_FILE": write(tmp_path / "recording", 300),
        "REDIS_URL": redis.url,
    }
    both = [start_app("ingest", **settings) for _ in range(2)]
    await eventually(lambda: has(store, 20), "one of them counts")
    first = await store.writer()
    hung = next(each for each in both if f"/{each.popen.pid}/" in first)
    stop(hung)
    version = (await store.load()).version

    async def replaced() -> bool:
        writer = await store.writer()
        return writer not in ("", first) and (await store.load()).version > version

    await eventually(replaced, "the other one writes", 10)
    assert state(hung) == "T"
    hung.signal(signal.SIGCONT)
    await eventually(lambda: "another ingester took over" in hung.output, "it stands by")
    await counted(store, 300)
    assert await store.writer() != first


async def test_a_viewer_of_a_killed_web_process_resumes_at_the_other_one(
    store: Store, redis: RedisServer, tmp_path: Path, start_app: Callable[..., App]
) -> None:
    """And back, as soon as that one serves again: no gap, no repeat, no new beginning."""
    start_app(
        "ingest",
        **FAST,
        SOURCES="replay",
        REPLAY_FILE=write(tmp_path / "recording", 2000),
        REDIS_URL=redis.url,
    )
    one, two = (start_app("web", **FAST, REDIS_URL=redis.url).started() for _ in range(2))
    seen: list[Event] = []
    await watch(one.url, seen, 5)
    for _ in range(3):
        kill(one)
        await watch(two.url, seen, 5)
        one = start_app("web", port=one.port, **FAST, REDIS_URL=redis.url)
        await eventually(partial(serves, one.port), "it is back")
        await watch(one.url, seen, 5)
    ledger = Ledger()
    ledger.add(await store.ticks_after(""))
    judge = Judge(ledger, ["science"]).read(seen)
    assert not judge.wrong
    assert judge.histories == 0


async def watch(url: str, seen: list[Event], events: int) -> None:
    """Get so many events more, from where we are on."""
    last = {"Last-Event-ID": seen[-1].id} if seen else {}
    have = len(seen)
    async with viewing(f"{url}/events", **last) as stream:
        async for event in stream:
            if event.data:
                seen.append(event)
            if len(seen) >= have + events:
                return


def serves(port: int) -> bool:
    with socket.socket() as opened:
        return opened.connect_ex(("127.0.0.1", port)) == 0


UNREAD = """
from app import server
server.UNREAD_MILLISECONDS = 2000
from app.__main__ import main
main()
"""
VIEWERS = 20


async def test_viewers_that_do_not_read_are_let_go_and_cost_no_memory(
    store: Store, redis: RedisServer, tmp_path: Path, ending: ExitStack
) -> None:
    """With 2 s in the place of 30; meanwhile megabytes of ticks pass each of them by."""
    port, large = free_port(), {"x": {"since": 1, "reason": "x" * 8_000}}
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "BIND": f"127.0.0.1:{port}",
        "REDIS_URL": redis.url,
        "HASHTAGS": "science",
        "TICK_SECONDS": "0.1",
    }
    web = ending.enter_context(Process(sys.executable, "-c", UNREAD, "web", cwd=tmp_path, env=env))
    await eventually(lambda: serves(port), web.output)
    now = await commit(store, State(), "first")
    deaf = [ending.enter_context(not_reading(port)) for _ in range(VIEWERS)]
    await eventually(lambda: len(queues(port)) >= VIEWERS, "all are connected")
    before, stalled = peak(web), 0
    for n in range(400):
        now = await commit(store, now, f"c{n}", 1, details=large)
        await asyncio.sleep(0.01)
        stalled = max(stalled, sum(queue > 10_000 for queue in queues(port)))
    assert stalled >= VIEWERS
    await eventually(lambda: not queues(port), "all were let go")
    assert peak(web) - before < 24
    assert all(each.fileno() >= 0 for each in deaf)


def not_reading(port: int) -> socket.socket:
    opened = socket.socket()
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    opened.connect(("127.0.0.1", port))
    opened.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
    return opened


def queues(port: int) -> list[int]:
    """The bytes that wait in the kernel for each open connection of the server's."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ours = f":{port:04X}"
    return [int(r[4].partition(":")[0], 16) for r in rows if r[1].endswith(ours) and r[3] == "01"]


def peak(process: Process) -> int:
    """The most memory that the process ever had, in MiB."""
    rows: Any = Path(f"/proc/{process.popen.pid}/status").read_text().splitlines()
    return int(next(row for row in rows if row.startswith("VmHWM")).split()[1]) // 1024
