"""Each fault of the soak alone, with real processes and files: what happened, and what held."""

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from judge import Judge, Ledger
from links import Link
from servers import App, RedisServer, eventually
from test_following import count, hearing
from test_ingest import Script, counted, ingesting, is_version, total
from test_store import commit
from world import kill, stop, watched, write

from app.ingest.ingester import Ingester
from app.messages import Post
from app.store import connection
from app.store.embedded import find_server
from app.store.keys import TICKS
from app.store.state import State
from app.store.store import Store, connect

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
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.3)
    opened = Store(connect(redis.url))
    yield opened
    await opened.redis.aclose()


def again(redis: RedisServer) -> RedisServer:
    return RedisServer(redis.binary, redis.folder, *KEEPS, port=redis.port)


def copied(redis: RedisServer) -> Path:
    return shutil.copytree(redis.folder / "appendonlydir", redis.folder / "copy")


def put_back(redis: RedisServer, copy: Path) -> None:
    shutil.rmtree(redis.folder / "appendonlydir")
    copy.rename(redis.folder / "appendonlydir")


async def has(store: Store, posts: int) -> bool:
    return await total(store) >= posts


@pytest.mark.parametrize("replays", [True, False])
async def test_a_stopped_redis(store: Store, redis: RedisServer, replays: bool) -> None:
    """SIGSTOP: it never says no. The counting goes on, and all is committed once."""
    source = Script("a", replays)
    async with ingesting(store, source) as ingester:
        source.give(2)
        await counted(store, 2)
        stop(redis)
        source.give(5)
        await eventually(
            lambda: ingester.trouble and ingester.commits.trying, "a commit has no answer"
        )
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
            await eventually(partial(has, store, 10 * n), "all is counted")
            await counted(store, 10 * n)


async def test_after_a_restart_of_redis_all_who_ask_are_answered(
    store: Store, redis: RedisServer, ending: ExitStack
) -> None:
    """None is given a connection from before it."""
    await asyncio.gather(*(store.load() for _ in range(5)))
    kill(redis)
    ending.enter_context(await asyncio.to_thread(again, redis))
    states = await asyncio.gather(*(store.load() for _ in range(5)))
    assert [replace(each, time=0) for each in states] == [State()] * 5


@pytest.mark.parametrize("replays", [True, False])
async def test_a_redis_with_an_older_file_while_the_ingester_lives(
    store: Store,
    redis: RedisServer,
    ending: ExitStack,
    replays: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What the older file lacks is counted again from memory, also for a source that cannot
    go back."""
    source = Script("a", replays)
    async with ingesting(store, source):
        source.give(4)
        await counted(store, 4)
        copy = copied(redis)
        source.give(6)
        await counted(store, 10)
        assert "not as we left it" not in caplog.text
        kill(redis)
        put_back(redis, copy)
        ending.enter_context(again(redis))
        await eventually(lambda: "not as we left it" in caplog.text, "Redis was older")
        await eventually(lambda: has(store, 10), "all is counted again")
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
        "REPLAY_FILE": write(tmp_path / "recording", 400),
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
    await counted(store, 400)


class Watched(Store):
    """A store that tells when it sends a commit: what comes before is only looking."""

    at_commit: Callable[[], None] = staticmethod(lambda: None)
    after_commit: Callable[[], None] = staticmethod(lambda: None)

    async def commit(self, *arguments: Any, **options: Any) -> State:
        self.at_commit()
        try:
            return await super().commit(*arguments, **options)
        finally:
            self.after_commit()


async def test_the_reply_to_a_commit_is_dropped(store: Store, link: Link) -> None:
    """Redis has done it and nobody knows: it is asked for again by its name, and counts once."""
    source, through = Script("a", False), Watched(connect(link.url))
    async with ingesting(through, source) as ingester:
        for posts in (1, 2, 3):
            await between_ticks(store, ingester)
            link.dropped = 0
            through.at_commit = partial(setattr, link, "dropping", True)
            ingester.counter.add(Post("a", "1", 0, "", {"science": "science"}))
            await eventually(partial(has, store, posts), "the commit is in")
            await eventually(lambda: link.dropped, "its reply is dropped")
            assert ingester.commits.trying
            through.at_commit = lambda: None
            link.cut()
            link.dropping = False
            await counted(store, posts)
    await through.redis.aclose()


async def between_ticks(store: Store, ingester: Ingester) -> None:
    """Wait for a moment without a commit on its way, after Redis has learnt the script."""
    await eventually(lambda: is_version(store, 1), "there was a commit")
    await eventually(lambda: ingester.commits.trying is None, "none is on its way")


@pytest.mark.parametrize("overtaken", [True, False])
async def test_a_commit_that_arrives_too_late(
    store: Store, link: Link, overtaken: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """It is tried again on another connection when the first try has not even arrived; or when
    it has, and nobody knows."""
    source, through = Script("a", False), Watched(connect(link.url))

    def stop_delays() -> None:
        link.delay, through.at_commit = 0.0, lambda: None

    async with ingesting(through, source) as ingester:
        await between_ticks(store, ingester)
        through.at_commit = partial(setattr, link, "delay", 5.0 if overtaken else 0.6)
        if overtaken:
            through.after_commit = stop_delays
        ingester.counter.add(Post("a", "1", 0, "", {"science": "science"}))
        await eventually(lambda: "Timeout reading" in caplog.text, "no answer in time")
        await eventually(lambda: has(store, 1), "one of them has arrived")
        assert bool(link.arrived) != overtaken
        assert overtaken or ingester.commits.trying
        stop_delays()
        await eventually(lambda: link.arrived, "the late one has arrived")
        await counted(store, 1)
    await through.redis.aclose()


async def test_the_link_breaks_again_and_again(store: Store, link: Link) -> None:
    """Cut at any byte, a commit is in or not, and is found out."""
    source, through = Script("a", False), Store(connect(link.url))
    async with ingesting(through, source):
        for n in range(1, 30):
            source.give(1)
            await eventually(link.cut, "a connection was cut")
            await asyncio.sleep(0.003 * (n % 7))  # at another moment each time
        await counted(store, 29)
    await through.redis.aclose()


async def test_pages_go_on_after_redis_forgot_everything(
    store: Store, redis: RedisServer, start_app: Callable[..., App]
) -> None:
    """All connections stand, the log begins anew: each page is told its past, and goes on."""
    source, seen = Script("a", True), []
    web = await asyncio.to_thread(start_app("web", REDIS_URL=redis.url, **FAST).started)
    async with ingesting(store, source), watched(web, seen):
        source.give(4)
        await eventually(lambda: seen and seen[-1].data.get("counts") == {"science": 4}, "4 posts")
        ledger = Ledger()
        ledger.add(await store.ticks_after(""))
        await store.redis.flushall()
        source.give(2)
        await eventually(lambda: seen[-1].data.get("counts") == {"science": 6}, "6 posts")
        source.give(1)
        await eventually(lambda: seen[-1].data.get("counts") == {"science": 7}, "7 posts")
        ledger.add(await store.ticks_after(""))
    judge = Judge(ledger, ["science"]).read(seen)
    assert not judge.wrong
    assert judge.histories == 1
    assert "Redis is back" not in web.output, "no connection was lost"


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
