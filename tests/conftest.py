"""Fixtures: what the machine has to test with, and servers that end with their test.

With CI=true nothing may be missing; elsewhere a test that lacks something is skipped and
says what.
"""

import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import pytest
from bluesky_api import BlueskyApi
from browser import launched
from hypothesis import HealthCheck, settings
from network import Counting
from playwright.sync_api import Browser
from raw import Raw, connecting
from served import Site, serving
from servers import ROOT, App, RedisServer

from app.store.embedded import find_server
from app.store.store import Store, connect

# how long a case takes says how busy the machine is; what is slow is found in bench/
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

RECORDINGS = ROOT.parent / "shared" / "recordings"


def missing(what: str) -> Any:
    """Skip for want of something; in CI, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must have {what}")
    pytest.skip(f"this machine lacks {what}")


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of recorded posts with their true counts."""
    return RECORDINGS if RECORDINGS.is_dir() else missing(f"the recordings in {RECORDINGS}")


@pytest.fixture(scope="session")
def chromium() -> str:
    path = shutil.which("chromium") or shutil.which("google-chrome")
    return path or missing("Chromium")


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """One Chromium for a file: Playwright's own loop must not meet an asyncio test's."""
    with launched(chromium) as running:
        yield running


@pytest.fixture(params=["bundled", "redis-server"])
def redis_binary(request: pytest.FixtureRequest) -> str:
    """Both servers that we promise to work with, one after the other."""
    if request.param == "bundled":
        return find_server()
    return shutil.which("redis-server") or missing("redis-server")


@pytest.fixture
def ending() -> Iterator[ExitStack]:
    """Whatever is entered here ends with the test, the last first."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def redis_server(tmp_path: Path, ending: ExitStack) -> RedisServer:
    return ending.enter_context(RedisServer(find_server(), tmp_path / "redis"))


@pytest.fixture(scope="module")
def file_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One for all tests of a file."""
    with RedisServer(find_server(), tmp_path_factory.mktemp("redis")) as started:
        yield started


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[Store]:
    redis = connect(redis_server.url)
    yield Store(redis)
    await redis.aclose()


@pytest.fixture
async def site(redis_server: RedisServer) -> AsyncIterator[Site]:
    """A web process's server in this one, on a real socket."""
    async with serving(redis_server.url) as opened:
        yield opened


@pytest.fixture
async def raw(site: Site) -> AsyncIterator[Callable[..., Raw]]:
    """Open connections to the site; they are closed with the test."""
    with connecting(site) as connect_to:
        yield connect_to


@pytest.fixture
async def api() -> AsyncIterator[BlueskyApi]:
    """A server that answers what Bluesky shows of posts."""
    async with BlueskyApi() as server:
        yield server
        server.held.set()


@pytest.fixture
def start_app(tmp_path: Path, ending: ExitStack) -> Callable[..., App]:
    """Start `python -m app ...` in the test's folder; settings as keywords."""

    def start(*command: str, **settings: Any) -> App:
        return ending.enter_context(App(tmp_path, *command, **settings))

    return start


@pytest.fixture
async def counting(redis_server: RedisServer) -> AsyncIterator[Counting]:
    """A real ingester for the test's sources, and a real Redis."""
    opened = Counting(redis_server)
    yield opened
    await opened.aclose()


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Whatever is entered here ends with the test, the last first."""
    async with AsyncExitStack() as opened:
        yield opened
