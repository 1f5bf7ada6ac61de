"""What curl, Chromium and the four proxies really send for a stream, byte by byte: the front door
answers it as Hypercorn would."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

from browser import TICKING, launched
from deployed import NAMES, Proxy, Shown, Way
from served import Site, serving
from servers import RedisServer, eventually
from test_frontdoor import answered, dateless, door, told

REQUEST = re.compile(rb"GET /events[^ ]* HTTP/1\.[01]\r\n(?:[^\r\n]+\r\n)+\r\n")
ITS_OWN = ("host", "connection", "accept-encoding")
"""What curl says itself where it is to say what a browser does."""


class Tap:
    """Hands bytes on to a server and back, and remembers what clients sent."""

    def __init__(self, port: int) -> None:
        self.to, self.port = port, 0
        self.sent: list[bytearray] = []
        """On each connection."""

    @property
    def heads(self) -> list[bytes]:
        """All requests for a stream."""
        return [head for each in self.sent for head in REQUEST.findall(each)]

    async def join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection("127.0.0.1", self.to)
        self.sent.append(bytearray())
        async with asyncio.TaskGroup() as group:
            group.create_task(self.hand_on(reader, ours, self.sent[-1]))
            group.create_task(self.hand_on(theirs, writer, bytearray()))

    async def hand_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: bytearray
    ) -> None:
        with suppress(ConnectionError):
            while piece := await reader.read(1 << 16):
                sent += piece
                writer.write(piece)
        writer.close()


@asynccontextmanager
async def tapped(site: Site) -> AsyncIterator[Tap]:
    tap = Tap(site.port)
    server = await asyncio.start_server(tap.join, "127.0.0.1", 0)
    tap.port = server.sockets[0].getsockname()[1]
    yield tap
    server.close()


def opened_in_chromium(executable: str, url: str) -> None:
    with launched(executable) as browser:
        page = browser.new_page()
        page.goto(url)
        page.wait_for_function(TICKING)


async def first_of(way: Way, *more: str) -> None:
    """curl, until a stream has begun."""
    curl = await asyncio.create_subprocess_exec(
        *way.curl(*more, f"{way.url}/events?tags=science"), stdout=asyncio.subprocess.PIPE
    )
    assert curl.stdout
    async with asyncio.timeout(10):
        await curl.stdout.readuntil(b"event: counts")
    curl.kill()
    await curl.wait()


async def test_both_doors_answer_what_is_really_sent_alike(
    redis_server: RedisServer, ending: ExitStack, tmp_path: Path, chromium: str
) -> None:
    """curl's, Chromium's for the page, and what each of the proxies makes of that."""
    async with (
        serving(redis_server.url) as one,
        serving(redis_server.url, "off") as other,
        tapped(one) as tap,
    ):
        url = f"http://127.0.0.1:{tap.port}"
        await first_of(Way(url))
        await asyncio.to_thread(opened_in_chromium, chromium, url)
        browsers = tap.heads[-1].decode().splitlines()[1:-1]
        assert any("Chrome" in line for line in browsers)
        more = [
            w for line in browsers if not line.lower().startswith(ITS_OWN) for w in ("-H", line)
        ]
        for name in NAMES:
            ports = (tap.port, tap.port)
            proxy = await asyncio.to_thread(Proxy, name, tmp_path / name, ports, Shown())
            await first_of(ending.enter_context(proxy).way("1.1"))
            await first_of(proxy.way("1.1"), *more)
        heads = set(tap.heads)
        assert len(heads) >= 2 + 2 * len(NAMES)
        await other.writer.commit({"football": 1})  # else its total would have to be read first
        for site in (one, other):
            await site.feed.until(lambda site=site: "football" in site.feed.ticks.lines)
            await eventually(lambda site=site: told(site) == {"unknown"}, "both say the same")
        for head in heads:
            before, found = door(one).answered, []
            for site in (one, other):
                reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
                writer.write(head)
                found.append(dateless(await answered(reader)))
                writer.transport.abort()
            assert found[0] == found[1], head
            assert door(one).answered == before + 1, head
