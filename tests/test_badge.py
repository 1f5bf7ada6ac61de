"""A hashtag's last minutes as a small picture."""

import re
from typing import Any
from xml.etree import ElementTree

import aiohttp
import pytest
from served import Site, serving
from servers import RedisServer, eventually

from app.messages import SourceState
from app.web import badge as module
from app.web.alerts import NO_XML
from app.web.badge import LONGEST_NAME, MOMENT, SILENT, svg, width

SVG = "{http://www.w3.org/2000/svg}"


async def asked(site: Site, name: str, **headers: str) -> tuple[int, Any, str]:
    """Status, headers and text of a badge."""
    url = f"http://127.0.0.1:{site.port}/badge/{name}.svg"
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        return response.status, response.headers, await response.text()


def texts(picture: str) -> list[str | None]:
    return [text.text for text in ElementTree.fromstring(picture).iter(f"{SVG}text")]


async def early_in_a_moment(site: Site) -> None:
    """Return when the next seconds are of the same one."""
    await eventually(lambda: site.feed.time() % MOMENT < MOMENT - 2000, "another moment begins")


async def test_it_says_how_many_posts_there_were(site: Site) -> None:
    """By the commonest spelling; whoever asks again a moment later is told what was made then."""
    await early_in_a_moment(site)
    await site.publish(science=1234, names={"science": "Science"})
    await site.hears()
    status, headers, picture = await asked(site, "%23SCIENCE")
    assert (status, headers["Content-Type"]) == (200, "image/svg+xml; charset=utf-8")
    assert texts(picture) == ["#Science", "1,234 in 1 min"]
    await site.publish(science=1, names={"science": "Science"})
    await site.hears()
    again = await asked(site, "science")
    assert again[2] == picture
    site.clock.ahead += MOMENT / 1000
    assert texts((await asked(site, "science"))[2]) == ["#Science", "1,235 in 1 min"]
    assert texts((await asked(site, "neverused"))[2]) == ["#neverused", "0 in 1 min"]


async def test_a_total_that_was_spoilt_in_redis_is_no_negative_number(site: Site) -> None:
    """It counts as not there, so it begins anew, and what is counted from then on is told."""
    await site.publish(science=500)
    site.writer.totals["science"] = 0
    await site.publish(science=3)
    await site.hears()
    assert texts((await asked(site, "science"))[2]) == ["#science", "503 in 1 min"]


async def test_proxies_of_pictures_may_keep_it_for_some_seconds(site: Site) -> None:
    """And ask whether it is still the same; any site may show it, and nothing in it runs."""
    _, headers, picture = await asked(site, "science")
    assert headers["Cache-Control"] == "public, max-age=30"
    assert headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "style" not in picture and "script" not in picture
    status, headers, rest = await asked(site, "science", **{"If-None-Match": headers["ETag"]})
    assert (status, rest) == (304, "")
    assert headers["Cache-Control"] == "public, max-age=30"


async def test_it_is_made_once_for_all_who_ask_in_a_moment(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, said = [], module.said

    async def counted(*arguments: Any) -> str:
        made.append(arguments)
        return await said(*arguments)

    monkeypatch.setattr(module, "said", counted)
    await early_in_a_moment(site)
    for _ in range(5):
        await asked(site, "science")
    assert len(made) == 1


async def test_what_is_no_hashtag_or_not_counted_is_refused(redis_server: RedisServer) -> None:
    """As everywhere: one sentence."""
    async with serving(redis_server.url) as site:
        for wrong in ("two%20words", "2024", "x" * 101, "%3Cscript%3E"):
            status, _, text = await asked(site, wrong)
            assert (status, text[:10]) == (400, '{"error":"'), wrong
        site.writer.sources = {"demo": SourceState("live", 1)}
        await site.publish()
        await site.hears()
        assert (await asked(site, "other"))[0] == 404
        assert (await asked(site, "science"))[0] == 200


async def test_it_is_grey_while_nobody_counts(site: Site) -> None:
    """Each of these is a hashtag of which no badge was made yet."""
    for state in ("live", "down", "polling"):
        site.writer.sources = {"demo": SourceState(state, 1, "", True)}
        await site.publish()
        await site.hears()
        assert (SILENT in (await asked(site, state))[2]) == (state == "down")


@pytest.mark.parametrize(
    "name", ["<script>\"&'", "]]>", "a\x00b\x1b", "\ud800", "\ufffe", "日本" * 50, "e\u0301" * 9]
)
async def test_whatever_a_stranger_writes_it_is_one_picture(site: Site, name: str) -> None:
    """Well-formed, with the name as text, as wide as it is."""
    picture = svg(f"#{module.cut(name)}", "1 in 15 min", live=True)
    root = ElementTree.fromstring(picture)
    shown = re.sub(NO_XML, "", f"#{module.cut(name)}")
    assert texts(picture) == [shown, "1 in 15 min"]
    assert len(shown) <= LONGEST_NAME + 1
    assert int(root.attrib["width"]) == width(f"#{module.cut(name)}") + width("1 in 15 min") < 600
