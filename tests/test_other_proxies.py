"""Behind HAProxy, Apache and Caddy, by the files in deploy/: under the root and a path of its own."""

import asyncio
import re
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from other_proxies import Proxy
from proxies import Nginx
from served import Site
from servers import ROOT, eventually, viewing

NAMES = ("HAProxy", "Apache", "Caddy")


def start(ending: ExitStack, name: str, folder: Path, site: Site, path: str = "/") -> Proxy:
    return ending.enter_context(Proxy(name, folder / "proxy", site.port, path))


def begin_nginx(ending: ExitStack, folder: Path, site: Site) -> Nginx:
    return ending.enter_context(Nginx(folder / "nginx", site.port))


@pytest.mark.parametrize("path", ["/", "/pulse/"])
@pytest.mark.parametrize("name", NAMES)
async def test_page_files_and_events(
    ending: ExitStack, tmp_path: Path, site: Site, name: str, path: str
) -> None:
    """The page and all its files, compressed where one asks for it; each event before the next is
    published; the viewer's going away is noticed; its address and the outside's are named."""
    proxy = await asyncio.to_thread(start, ending, name, tmp_path, site, path)
    async with aiohttp.ClientSession() as asks:
        async with asks.get(f"{proxy.url}/") as answer:
            page = await answer.text()
            assert answer.status == 200 and answer.headers["Content-Encoding"] == "gzip"
        assert f'content="http://127.0.0.1:{proxy.port}/static/' in page
        for file in re.findall(r'(?:src|href)="(static/[^"]+)"', page):
            async with asks.get(f"{proxy.url}/{file}") as answer:
                assert answer.status == 200, file
    async with viewing(f"{proxy.url}/events?tags=science") as events, asyncio.timeout(10):
        assert (await anext(events)).retry == 2000
        await anext(events)
        for total in range(2, 8):
            await site.publish()
            assert (await anext(events)).data["counts"] == {"science": total}
    await eventually(lambda: not site.feed.fanouts, "the viewer is gone")


@pytest.mark.parametrize("name", ["nginx", *NAMES])
async def test_the_door_that_its_streams_use(
    ending: ExitStack, tmp_path: Path, site: Site, name: str
) -> None:
    """Never the ordinary way; as deploy/README.md has it."""
    begin = begin_nginx if name == "nginx" else partial(start, name=name)
    proxy = await asyncio.to_thread(begin, ending=ending, folder=tmp_path, site=site)
    async with aiohttp.ClientSession() as asks:
        async with asks.get(f"{proxy.url}/healthz") as answer:
            assert answer.status == 200
        async with viewing(f"{proxy.url}/events?tags=science") as events:
            await anext(events)
            door = site.app.extensions["front_door"]
            await eventually(lambda: site.taken, "its connection is the app's own")
            assert name != "nginx" or door.answered == 1
    told = "the front door" if name == "nginx" else "either"
    table = (ROOT / "deploy" / "README.md").read_text()
    assert re.search(rf"^\| {name} \| .* \| {told} \|$", table, re.M), name


async def test_the_proxy_is_restarted(ending: ExitStack, tmp_path: Path, site: Site) -> None:
    """What was missed meanwhile comes by the next one, in order."""
    first = await asyncio.to_thread(start, ending, "HAProxy", tmp_path, site)
    async with viewing(f"{first.url}/events?tags=science") as events:
        await anext(events)
        last = (await anext(events)).id
    await asyncio.to_thread(first.end)
    await site.publish()
    await site.publish()
    second = await asyncio.to_thread(start, ending, "HAProxy", tmp_path / "2", site)
    headers = {"Last-Event-ID": last}
    async with viewing(f"{second.url}/events?tags=science", **headers) as events:
        await anext(events)
        came = [(await anext(events)).data["counts"]["science"] for _ in range(2)]
    assert came == [2, 3]
