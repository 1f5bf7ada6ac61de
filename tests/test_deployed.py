"""Behind nginx, HAProxy, Apache and Caddy, by the files in deploy/: under the root over HTTP/1.1, and
under a path of its own with TLS and HTTP/2. `make proxies` tries all that there is (test_matrix.py)."""

import asyncio
import re
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from deployed import NAMES, Proxy, Shown, Way, fetch, fetch_all, streaming, tls_folder
from quart import request
from served import Site
from servers import ROOT, eventually, get, viewing


def shown(folder: Path, path: str, version: str) -> Shown:
    return Shown(path, tls_folder(folder / "tls") if version == "2" else None)


async def started(ending: ExitStack, name: str, folder: Path, site: Site, how: Shown) -> Proxy:
    ports = (site.port, site.port)
    proxy = await asyncio.to_thread(Proxy, name, folder / "proxy", ports, how)
    return ending.enter_context(proxy)


async def check_page(way: Way) -> int:
    """The page and all its files, compressed where one asks for it; the outside's address is named,
    and nothing leads to an absolute one; how many files there are."""
    head, page = await fetch(way, "/")
    assert head.startswith(f"http/{way.version} 200") and "content-encoding: gzip" in head, head
    folder = re.findall(r'href="(static/\w+)/favicon.svg"', page)[0]
    assert f'content="{way.url}/{folder}/preview.png"' in page
    files = [path.name for path in (ROOT / "static").iterdir()]
    found = await fetch_all(way, [f"/{folder}/{file}" for file in files])
    assert found == [f"200 {way.version}"] * len(files)
    for path in ("/api//counts", "/events//", "/static"):
        head, _ = await fetch(way, path)
        assert not re.search(r"^location: \w*:?//", head, re.M), head
    return len(files)


@pytest.mark.parametrize(("path", "version"), [("/", "1.1"), ("/pulse/", "2")])
@pytest.mark.parametrize("name", NAMES)
async def test_page_files_and_events(
    ending: ExitStack, tmp_path: Path, site: Site, name: str, path: str, version: str
) -> None:
    """Each event before the next is published; the viewer's going away is noticed."""
    proxy = await started(ending, name, tmp_path, site, shown(tmp_path, path, version))
    await check_page(proxy.way(version))
    async with streaming(proxy.way(version)) as events, asyncio.timeout(10):
        assert (await anext(events)).retry == 2000
        await anext(events)
        for total in range(2, 8):
            await site.publish()
            assert (await anext(events)).data["counts"] == {"science": total}
    await eventually(partial(is_gone, site), "the viewer is gone")


async def is_gone(site: Site) -> bool:
    """HAProxy and Apache notice it when they can write no more."""
    await site.publish()
    return not site.feed.fanouts


@pytest.mark.parametrize("name", NAMES)
async def test_the_door_that_its_streams_use(
    ending: ExitStack, tmp_path: Path, site: Site, name: str
) -> None:
    """Never the ordinary way: on a connection that is new to the app the front door, on one that
    the proxy kept from a request before the takeover; as deploy/README.md has it."""
    proxy = await started(ending, name, tmp_path, site, Shown())
    door = site.app.extensions["front_door"]
    async with aiohttp.ClientSession() as asks:
        async with viewing(f"{proxy.url}/events?tags=science") as events:
            await anext(events)
            assert (door.answered, len(site.taken)) == (1, 1)
        await eventually(partial(is_gone, site), "it is gone")
        for _ in range(3):  # a client of its own, which keeps its connection, too: only what was
            async with asks.get(f"{proxy.url}/healthz") as answer:  # read to its end keeps one
                assert await answer.read() and answer.status == 200
        async with asks.get(f"{proxy.url}/events?tags=science") as answer:
            await answer.content.readuntil(b"event: counts")
            assert (door.answered, len(site.taken)) == (1, 1)
    table = (ROOT / "deploy" / "README.md").read_text()
    assert re.search(rf"^\| {name} \| .* \| either \|$", table, re.M), name


async def test_pages_are_served_while_nothing_is_counted(
    ending: ExitStack, tmp_path: Path, site: Site
) -> None:
    """HAProxy asked `/readyz`, and answered 503 for all pages when no ingester ticked."""
    site.clock.ahead = 60
    assert (await get(f"http://127.0.0.1:{site.port}/readyz"))[0] == 503
    asked: list[str] = []
    site.app.before_request_funcs[None].append(lambda: asked.append(request.path))
    changes, ports = {"inter 1s": "inter 50ms"}, (site.port, site.port)
    proxy = await asyncio.to_thread(Proxy, "HAProxy", tmp_path / "proxy", ports, changes=changes)
    ending.enter_context(proxy)
    await eventually(lambda: len(asked) >= 8, "it has asked both often enough")
    assert (await fetch(proxy.way("1.1"), "/"))[0].startswith("http/1.1 200")
