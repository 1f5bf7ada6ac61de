"""With a certificate in hypercorn.toml: streams go the ordinary way, over HTTP/1.1 and HTTP/2, with
the same bytes, and end as all others do."""

import asyncio
import logging
import signal
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import h2.connection
import h2.events
import h2.settings
import pytest
from deployed import Way, streaming, tls_folder
from raw import Raw, get, lane, shape
from served import Site, serving
from servers import ROOT, App, RedisServer, eventually
from test_endings import LONG, nobody
from test_shutdown import COMPLAINTS, LIMIT_SECONDS

from app.web import takeover

VERSIONS = ["1.1", "2"]
ALPN = {"1.1": "http/1.1", "2": "h2"}


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a certificate, which the hypercorn.toml here names."""
    folder = tls_folder(tmp_path / "tls")
    toml = f'certfile = "{folder}/server.pem"\nkeyfile = "{folder}/server.key"\n'
    (tmp_path / "hypercorn.toml").write_text((ROOT / "hypercorn.toml").read_text() + toml)
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
async def site(tls: Path, redis_server: RedisServer) -> AsyncIterator[Site]:
    async with serving(redis_server.url) as opened:
        yield opened


def way(port: int, version: str, tls: Path) -> Way:
    return Way(f"https://127.0.0.1:{port}", version, tls)


class Client:
    """A connection that TLS is spoken on; it reads no more than it is told to."""

    def __init__(self, port: int, version: str, tls: Path) -> None:
        self.port, self.received = port, b""
        self.context = ssl.create_default_context(cafile=f"{tls}/ca.pem")
        self.context.set_alpn_protocols([ALPN[version]])

    async def send(self, data: bytes) -> "Client":
        if not self.received:
            where = ("127.0.0.1", self.port)
            opened = asyncio.open_connection(*where, ssl=self.context, limit=2048)
            self.reader, self.writer = await opened
            self.received = b" "
        self.writer.write(data)
        return self

    async def until(self, end: bytes) -> bytes:
        async with asyncio.timeout(10):
            while end not in self.received:
                piece = await self.reader.read(4096)
                assert piece, self.received[-300:]
                self.received += piece
        return self.received[1:]

    def close(self) -> None:
        self.writer.transport.abort()


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_stream_by_tls_goes_the_ordinary_way(site: Site, tls: Path, version: str) -> None:
    """Each event before the next is published; whoever goes away is noticed; its hour ends."""
    limits = site.app.extensions["limits"]
    for end in ("client", "hour"):
        async with streaming(way(site.port, version, tls)) as events, asyncio.timeout(10):
            assert (await anext(events)).retry == 2000
            total = (await anext(events)).data["counts"]["science"]
            for later in range(total + 1, total + 4):
                await site.publish()
                assert (await anext(events)).data["counts"] == {"science": later}
            assert limits.viewers == site.connections == 1 and not site.taken
            if end == "hour":
                site.clock.ahead = 5000
                await site.publish()
                assert 500 <= [event.retry async for event in events][-1] <= 4000
        await nobody(site)


async def test_bytes_by_tls_are_those_of_the_ordinary_way(
    site: Site, tls: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Head, chunks and end."""
    first, last = b"event: counts", b"\r\n0\r\n\r\n"
    secure = await Client(site.port, "1.1", tls).send(get("ordinary").encode())
    await secure.until(first)
    site.feed.chance = lambda: 0.5
    site.feed.close()
    by_tls = await secure.until(last)
    secure.close()
    monkeypatch.chdir(tls)  # where no hypercorn.toml is
    async with serving(redis_server.url, lane("ordinary")) as other:
        plain = await Raw(other).send(get("ordinary"))
        await plain.until(first)
        other.feed.chance = lambda: 0.5
        other.feed.close()
        await plain.until(last)
        assert shape(plain.received) == shape(by_tls)
        plain.close()


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_stream_by_tls_that_nobody_takes_is_let_go(
    site: Site,
    tls: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    version: str,
) -> None:
    """After half a minute, here a third of a second, and without a word."""
    assert takeover.UNREAD_SECONDS == 30
    monkeypatch.setattr(takeover, "UNREAD_SECONDS", 0.3)
    asked = get("ordinary", f"tags=science,{LONG}").encode()
    if version == "2":
        asked = asked_by_http2(f"/events?tags=science,{LONG}")
    client = await Client(site.port, version, tls).send(asked)
    limits = site.app.extensions["limits"]
    await eventually(lambda: limits.viewers == 1, "it is here")
    async with asyncio.timeout(20):
        while limits.viewers:
            await site.publish()
    client.close()
    await nobody(site)
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


def asked_by_http2(path: str) -> bytes:
    """A request of a client that allows no byte of its answer."""
    client = h2.connection.H2Connection()
    client.initiate_connection()
    client.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
    head = [(":method", "GET"), (":path", path), (":scheme", "https"), (":authority", "h")]
    client.send_headers(1, head, end_stream=True)
    return client.data_to_send()


async def test_a_process_with_streams_by_tls_ends(
    tls: Path, tmp_path: Path, redis_server: RedisServer, start_app: Callable[..., App]
) -> None:
    """Within two seconds, each stream with its last words; whoever takes nothing is cut."""
    start_app("ingest", REDIS_URL=redis_server.url, TICK_SECONDS=0.1)
    web = start_app("web", REDIS_URL=redis_server.url)
    await eventually(lambda: "page" in web.output, "it serves")
    assert f"https://localhost:{web.port}" in web.output
    stalled = await Client(web.port, "2", tls).send(asked_by_http2("/events"))
    async with (
        streaming(way(web.port, "1.1", tls)) as one,
        streaming(way(web.port, "2", tls)) as other,
    ):
        for events in (one, other):
            assert (await anext(events)).retry == 2000
            assert (await anext(events)).name == "counts"
        web.signal(signal.SIGTERM)
        assert await asyncio.to_thread(web.wait, LIMIT_SECONDS) == 0, web.output
        for events in (one, other):
            assert 500 <= [event.retry async for event in events][-1] <= 4000
    stalled.close()
    assert not COMPLAINTS.search(web.output), web.output[-3000:]
