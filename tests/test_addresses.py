"""No answer leads to an address of the inside, and what names one names that of the outside."""

import re

import pytest
from aiohttp import ClientSession
from served import Site, serving
from servers import RedisServer


@pytest.mark.parametrize(
    "path", ["/api//counts", "//api/counts", "//api//counts", "/api/counts/", "/static//page.js"]
)
async def test_nobody_is_sent_elsewhere(site: Site, path: str) -> None:
    """Behind a proxy the address would be one that its visitors cannot reach."""
    async with ClientSession() as asks:
        url = f"http://127.0.0.1:{site.port}{path}"
        async with asks.get(url, allow_redirects=False) as answer:
            assert "Location" not in answer.headers
            assert answer.status in (200, 404)
            assert str(site.port) not in await answer.text()


FORWARDED = {
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "pulse.example",
    "X-Forwarded-Prefix": "/tags/",
}


@pytest.mark.parametrize(
    ("public", "headers", "begins"),
    [
        ("", {}, "http://127.0.0.1:{port}/"),
        ("", FORWARDED, "https://pulse.example/tags/"),
        ("https://other.example/x/", FORWARDED, "https://other.example/x/"),
    ],
)
async def test_a_preview_has_the_address_of_the_outside(
    redis_server: RedisServer, public: str, headers: dict[str, str], begins: str
) -> None:
    """By PUBLIC_URL, or by what the proxy says."""
    async with serving(redis_server.url, PUBLIC_URL=public) as site, ClientSession() as asks:
        url = f"http://127.0.0.1:{site.port}/"
        async with asks.get(url, headers=headers) as answer:
            found = re.search(r'og:image" content="([^"]+)"', await answer.text())
        assert found and re.fullmatch(
            re.escape(begins.format(port=site.port)) + r"static/\w+/preview\.png", found[1]
        )
