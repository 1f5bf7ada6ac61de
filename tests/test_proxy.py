"""Behind a plain nginx: nothing is held back, nobody is forgotten, nothing is cut."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientPayloadError, ClientSession, TCPConnector
from conftest import missing
from proxies import Nginx, bundled, debians
from served import Site, serving
from servers import RedisServer, events_of, eventually, free_port, get, viewing

LANES = ("on", "off")
"""With EXPRESS_LANE and without it."""


@pytest.fixture(params=LANES)
async def site(request: pytest.FixtureRequest, redis_server: RedisServer) -> AsyncIterator[Site]:
    async with serving(redis_server.url, lane=request.param) as opened:
        yield opened


@pytest.fixture(params=["bundled", "Debian's"])
def start_nginx(
    request: pytest.FixtureRequest, tmp_path: Path, ending: ExitStack, site: Site
) -> Callable[..., Nginx]:
    """Start each nginx before the site."""
    binary = bundled() if request.param == "bundled" else debians() or missing("nginx")

    def start(path: str = "/", **options: Any) -> Nginx:
        started = Nginx(tmp_path / "nginx", site.port, path, binary, **options)
        return ending.enter_context(started)

    return start


@pytest.mark.parametrize("path", ["/", "/pulse/"])
async def test_each_event_reaches_curl_before_the_next_is_published(
    start_nginx: Callable[..., Nginx], site: Site, path: str
) -> None:
    """A client behind the proxy sees every event as it happens, not once a buffer is full."""
    nginx = start_nginx(path)
    curl = await asyncio.create_subprocess_exec(
        "curl", "-sN", f"{nginx.url}/events?tags=science", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert curl.stdout
        events = events_of(curl.stdout)
        async with asyncio.timeout(10):
            assert (await anext(events)).retry == 2000
            assert (await anext(events)).data["counts"] == {"science": 1}
            for total in range(2, 8):
                await site.publish()
                assert (await anext(events)).data["counts"] == {"science": total}
    finally:
        curl.kill()
        await curl.wait()


async def test_client_that_goes_away_is_noticed(
    start_nginx: Callable[..., Nginx], site: Site
) -> None:
    """The app lets go of a viewer soon after it closed its connection to the proxy."""
    nginx = start_nginx()
    async with viewing(f"{nginx.url}/events") as events:
        await anext(events)
        assert len(site.feed.fanouts) == site.connections == 1
    await eventually(lambda: not site.feed.fanouts, "the viewer is gone")
    await eventually(lambda: not site.connections, "its connection is gone")


async def test_idle_stream_outlives_the_proxys_time_limit(
    start_nginx: Callable[..., Nginx], site: Site
) -> None:
    """Where no total changes, repeats come often enough for a proxy that waits 6 s."""
    nginx = start_nginx(options="proxy_read_timeout 6s;")

    async def ingest_nothing() -> None:
        while True:
            await site.publish(science=0)
            await asyncio.sleep(0.5)

    async with viewing(f"{nginx.url}/events?tags=football") as events, asyncio.timeout(30):
        ingester = asyncio.create_task(ingest_nothing())
        began = time.monotonic()
        assert (await anext(events)).retry == 2000
        while time.monotonic() - began < 7:
            event = await anext(events)
            assert event.data["counts"] == {"football": 0}
        ingester.cancel()


async def test_silent_stream_is_cut_by_this_proxy(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """The test above can fail: this proxy does cut a stream that is silent for its limit."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.0 200 OK\r\nX-Accel-Buffering: no\r\n\r\nretry: 1\n\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", free_port())
    port = server.sockets[0].getsockname()[1]
    with Nginx(tmp_path / "nginx", port, options="proxy_read_timeout 1s;") as nginx:
        async with viewing(f"{nginx.url}/") as events, asyncio.timeout(10):
            assert (await anext(events)).retry == 1
            with pytest.raises((StopAsyncIteration, ClientPayloadError)):
                await anext(events)
    server.close()


async def test_head_leaves_a_shared_connection_usable(
    start_nginx: Callable[..., Nginx], site: Site
) -> None:
    """HEAD on the stream answers and ends, and the next request on its connection works."""
    nginx = start_nginx(keep_alive=True)
    for _ in range(3):
        curl = await asyncio.create_subprocess_exec(
            "curl", "-sI", "-m", "20", f"{nginx.url}/events", stdout=asyncio.subprocess.PIPE
        )
        headers = (await curl.communicate())[0].decode().lower()
        assert curl.returncode == 0
        assert headers.startswith("http/1.1 200") and "text/event-stream" in headers
        async with asyncio.timeout(5):
            assert (await get(f"{nginx.url}/api/counts"))[0] == 200
    assert site.connections == 1, "all six requests shared one connection to the app"
    assert not site.feed.fanouts


NAMED = {
    "alone": "proxy_set_header X-Forwarded-For $remote_addr;",
    "added": "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
    "not": "",
}
"""What nginx may say of whom it serves; without a word it passes on what the visitor says."""


@pytest.fixture(params=["bundled", "Debian's"])
async def ask(
    request: pytest.FixtureRequest, redis_server: RedisServer, tmp_path: Path, stack: AsyncExitStack
) -> Callable[..., Any]:
    """Ask for a stream, through each nginx, from an address and with what it says of itself;
    each address may have two. The streams are open to the end of the test."""
    limits = {"TRUSTED_PROXIES": "127.0.0.1/32", "MAX_VIEWERS_PER_ADDRESS": "2"}
    site = await stack.enter_async_context(serving(redis_server.url, **limits))
    binary = bundled() if request.param == "bundled" else debians() or missing("nginx")
    started: dict[str, Nginx] = {}

    async def asked(named: str, address: str, forged: str = "") -> int:
        if named not in started:
            nginx = Nginx(tmp_path / named, site.port, binary=binary, options=NAMED[named])
            started[named] = stack.enter_context(nginx)
        connector = TCPConnector(local_addr=(address, 0))
        asks = await stack.enter_async_context(ClientSession(connector=connector))
        headers = {"X-Forwarded-For": forged} if forged else {}
        answer = await asks.get(f"{started[named].url}/events", headers=headers)
        stack.callback(answer.close)
        return answer.status

    return asked


@pytest.mark.parametrize("named", ["alone", "added"])
async def test_behind_a_proxy_that_names_them_each_address_has_its_limit(
    ask: Callable[..., Any], named: str
) -> None:
    """Nobody gets more by naming another address, nor takes anything from its owner."""
    assert [await ask(named, "127.0.0.66") for _ in range(3)] == [200, 200, 429]
    assert await ask(named, "127.0.0.66", forged="203.0.113.7") == 429
    assert await ask(named, "127.0.0.66", forged="127.0.0.67, 127.0.0.1") == 429
    assert [await ask(named, "127.0.0.67") for _ in range(3)] == [200, 200, 429]


async def test_behind_a_proxy_that_names_nobody_everybody_is_served(
    ask: Callable[..., Any],
) -> None:
    """The plain line: no limit of an address holds, but for one who names himself."""
    assert [await ask("not", "127.0.0.66") for _ in range(8)] == [200] * 8
    assert [await ask("not", "127.0.0.66", forged="203.0.113.7") for _ in range(3)] == [
        200,
        200,
        429,
    ]
    assert await ask("not", "127.0.0.66") == 200
