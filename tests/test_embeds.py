"""Frames for other sites, and how they learn of them: https://oembed.com."""

import re
from html import unescape
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import aiohttp
import pytest
from served import Site, serving
from servers import RedisServer, get

from app.messages import SourceState


async def told(site: Site, **query: str) -> tuple[int, Any]:
    return await get(f"{base(site)}oembed?" + "&".join(f"{k}={quote(v)}" for k, v in query.items()))


def base(site: Site) -> str:
    return f"http://127.0.0.1:{site.port}/"


def frame(answer: Any) -> dict[str, str]:
    """The attributes of its frame, as a browser reads them."""
    found = re.fullmatch(r'<iframe((?: \w+="[^"<>]*")+)></iframe>', answer["html"])
    assert found
    return {name: unescape(value) for name, value in re.findall(r'(\w+)="([^"]*)"', found[1])}


async def test_a_page_of_ours_is_a_frame_elsewhere(site: Site) -> None:
    """With its hashtags and choices, and nothing else of its address."""
    await site.publish(names={"science": "Science"})
    await site.hears()
    url = f"{base(site)}?tags=%23SCIENCE,サッカー&view=total&evil=%22%3E&wall"
    status, answer = await told(site, url=url)
    assert status == 200
    about = {name: answer[name] for name in ("version", "type", "width", "height", "cache_age")}
    assert about == {
        "version": "1.0", "type": "rich", "width": 600, "height": 400, "cache_age": 3600,
    }  # fmt: skip
    assert answer["title"] == "#Science, #サッカー · hashtag pulse"
    assert (answer["provider_name"], answer["provider_url"]) == ("hashtag pulse", base(site))
    tags = "science,%E3%82%B5%E3%83%83%E3%82%AB%E3%83%BC"
    src = f"{base(site)}embed?tags={tags}&view=total"
    assert frame(answer) == {
        "src": src, "title": answer["title"], "width": "600", "height": "400", "loading": "lazy",
        "style": "border: 0",
    }  # fmt: skip
    assert (await get(src))[0] == 200


async def test_the_usual_page_and_the_board(site: Site) -> None:
    for place, src in [("", "embed"), ("embed", "embed"), ("embed/board", "embed/board")]:
        status, answer = await told(site, url=base(site) + place)
        assert (status, frame(answer)["src"]) == (200, base(site) + src)
        async with aiohttp.ClientSession() as session, session.get(base(site) + src) as response:
            assert response.status == 200
            assert "frame-ancestors" not in response.headers["Content-Security-Policy"]


async def test_it_is_no_larger_than_there_is_room(site: Site) -> None:
    """And no larger than it needs to be."""
    _, answer = await told(site, url=base(site), maxwidth="300", maxheight="9999")
    assert (answer["width"], answer["height"]) == (300, 400)
    assert (frame(answer)["width"], frame(answer)["height"]) == ("300", "400")
    for wrong in ("0", "-1", "1e3", "ten", "9" * 9, "１０"):
        assert (await told(site, url=base(site), maxwidth=wrong))[0] == 400, wrong


async def test_the_same_as_xml(site: Site) -> None:
    """Whatever the hashtags have in them."""
    await site.publish(names={"science": "<&'\">"})
    await site.hears()
    url = base(site) + "?tags=science&hide=<a>"
    _, answer = await told(site, url=url)
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{base(site)}oembed", params={"url": url, "format": "xml"}) as response,
    ):
        assert response.headers["Content-Type"] == "text/xml; charset=utf-8"
        root = ElementTree.fromstring(await response.text())
    assert root.tag == "oembed"
    assert {part.tag: part.text for part in root} == {k: str(v) for k, v in answer.items()}
    assert frame(answer)["title"] == answer["title"] == "#<&'\"> · hashtag pulse"


async def test_what_cannot_be_told_is_refused_as_the_protocol_says(site: Site) -> None:
    """501 for another format, 404 for an address that is not one of ours, or shows nothing."""
    assert (await told(site, url=base(site), format="yaml"))[0] == 501
    assert (await told(site))[0] == 400
    others = [
        "https://example.org/", "ftp://127.0.0.1/", "http://[", "science", "javascript:alert(1)",
        f"{base(site)}api/counts", f"{base(site)}embed/board/x", f"{base(site)}../embed",
        f"http://x@127.0.0.1:{site.port}/", f"{base(site)}?tags=!", f"{base(site)}?tags=2024",
        f"{base(site)}?{'a&' * 30}", f"{base(site)}?hide={'x' * 4000}",
    ]  # fmt: skip
    for url in others:
        status, answer = await told(site, url=url)
        assert (status, list(answer)) == (404, ["error"]), url
    for host in ("[", "[::1]x", "a/b", "x" * 3000):
        async with (
            aiohttp.ClientSession(headers={"X-Forwarded-Host": host}) as session,
            session.get(f"{base(site)}oembed", params={"url": base(site)}) as response,
        ):
            assert response.status == 404, host
    site.writer.sources = {"demo": SourceState("live", 1)}
    await site.publish()
    await site.hears()
    assert (await told(site, url=f"{base(site)}?tags=other"))[0] == 404


@pytest.mark.parametrize("query", ["", "?tags=science,%E3%82%B5"])
async def test_a_page_says_where_its_frame_can_be_had(site: Site, query: str) -> None:
    """In both forms, at an address that others can use."""
    _, page = await get(base(site) + query)
    links = re.findall(
        r'<link rel="alternate" type="([^"]+)" href="([^"]+)" title="([^"]+)">', page
    )
    assert [type for type, _, _ in links] == ["application/json+oembed", "text/xml+oembed"]
    for _, href, title in links:
        status, answer = await get(unescape(href))
        assert status == 200
        told_title = answer["title"] if isinstance(answer, dict) else answer
        assert unescape(title) in told_title
        assert ("tags=science,%E3%82%B5" in str(answer)) == bool(query)


async def test_behind_a_proxy_it_is_the_address_that_people_know(redis_server: RedisServer) -> None:
    """Of PUBLIC_URL; of the inside there is no page."""
    public = "https://example.org/pulse"
    async with serving(redis_server.url, PUBLIC_URL=public) as site:
        for url in (public, f"{public}/", f"{public}/?tags=science", "http://EXAMPLE.org/pulse/"):
            _, answer = await told(site, url=url)
            assert frame(answer)["src"].startswith(f"{public}/embed"), url
        for url in (base(site), "https://example.org/", "https://example.org/pulsedembed"):
            assert (await told(site, url=url))[0] == 404, url
