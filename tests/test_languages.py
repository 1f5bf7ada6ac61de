"""Which language a page speaks, and that each has every word."""

import json
import re
from typing import Any

import aiohttp
import pytest
from served import Site
from servers import ROOT

from app.web.page import LATER

TEXTS: dict[str, dict[str, str]] = {
    path.stem: json.loads(path.read_text()) for path in (ROOT / "templates/texts").iterdir()
}
OTHERS = sorted(TEXTS.keys() - {"en"})
PLACE = re.compile(r"{\w+}")
FORM = re.compile(r"\.(?:zero|one|two|few|many|other)$")
"""At the end of a key: the kind of number that the text is for (Intl.PluralRules)."""


async def spoken(site: Site, path: str, accepted: str = "") -> tuple[str, str]:
    """The language and the direction of a page; the answer says what it depends on."""
    url, headers = f"http://127.0.0.1:{site.port}/{path}", {"Accept-Language": accepted}
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        assert response.status == 200
        assert {"Accept-Language", "Accept-Encoding"} <= set(response.headers["Vary"].split(", "))
        found = re.search('<html lang="(..)" dir="(...)"', await response.text())
    assert found
    return found[1], found[2]


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-AT,en;q=0.5", "de"),
        ("en-US,de;q=0.9", "en"),
        ("fr, ja;q=0.3, ES-mx;q=0.8", "es"),
        ("ar;q=0, de;q=0.1", "de"),
        ("ar;q=0, fr", "en"),
        ("fr,*;q=0.5", "en"),
        ("jam, es-419", "es"),
        ("../en;;q=x,\xff", "en"),
    ],
)
async def test_the_browser_says_which(site: Site, accepted: str, language: str) -> None:
    """The best that there is, of any region; English where there is none."""
    assert (await spoken(site, "", accepted))[0] == language


@pytest.mark.parametrize("path", ["", "embed", "embed/board"])
async def test_the_address_has_the_last_word(site: Site, path: str) -> None:
    """In every frame, too; a language that there is not is as if none was named. A page that is
    kept is not the next visitor's in another language."""
    assert await spoken(site, f"{path}?lang=ar", "de") == ("ar", "rtl")
    assert await spoken(site, f"{path}?lang=ja", "de") == ("ja", "ltr")
    for unknown in ("", "fr", "DE", "../en", "en.json"):
        assert await spoken(site, f"{path}?lang={unknown}", "de") == ("de", "ltr")
    assert await spoken(site, path, "es") == ("es", "ltr")


async def test_a_frame_that_was_asked_for_in_a_language_has_it(site: Site) -> None:
    """oEmbed passes it on, and the frame's link to the whole page."""
    base = f"http://127.0.0.1:{site.port}/"
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{base}oembed", params={"url": f"{base}?lang=de"}) as response:
            told: dict[str, Any] = await response.json()
        assert f"{base}embed?lang=de" in told["html"]
        async with session.get(f"{base}embed?lang=de") as response:
            assert 'href="./?lang=de"' in await response.text()


def without_forms(texts: dict[str, str]) -> list[str]:
    """Their keys, one for all forms of a text."""
    return list(dict.fromkeys(FORM.sub("", key) for key in texts))


def general(key: str) -> str:
    """Of all forms of a text, the key of the one that each language has."""
    return FORM.sub(".other", key)


@pytest.mark.parametrize("language", OTHERS)
def test_a_language_has_every_word(language: str) -> None:
    """None is missing, left over, empty or without what is put into it; all are in one order.

    Which forms of numbers a language needs is known to languages.test.js."""
    english, texts = TEXTS["en"], TEXTS[language]
    assert without_forms(texts) == without_forms(english)
    assert [key for key, text in texts.items() if not text.strip()] == []
    for key, text in texts.items():
        places, wanted = (sorted(PLACE.findall(each)) for each in (text, english[general(key)]))
        if FORM.search(key) and "{n}" not in places:  # the number is a word
            places = sorted([*places, "{n}"])
        assert places == wanted, key
    assert texts["direction"] in ("ltr", "rtl")
    assert texts["csv.long"].startswith(texts["csv"])
    assert texts["png.long"].startswith(texts["png"])
    words = re.compile(r"[A-Za-z]{2,}\W+[A-Za-z]{2,}")
    same = [key for key, text in texts.items() if text == english.get(key)]
    assert [key for key in same if words.search(PLACE.sub("0", texts[key]))] == ["name"]


def test_what_is_said_before_the_first_line_is_there() -> None:
    """The page has the words of the modules that it begins with; the others come after it."""
    page = (ROOT / "templates/index.html").read_text()
    names = re.findall(r'for name in "([a-z ]+)"', page)[0].split()
    scripts = "".join(
        (ROOT / f"static/{name}.js").read_text() for name in [*names, "asking", "history_api"]
    )
    # the visitor has all words
    lines = [line for line in scripts.splitlines() if "text(" in line and "visitor?." not in line]
    said = {key for line in lines for key in re.findall(r'"([\w.]+)"', line)}
    assert {"began", "soon", "source.live", "gap.ingester", "noConnection"} <= said
    assert {key for key in said & TEXTS["en"].keys() if key.startswith(LATER)} == set()


def test_numbers_and_times_are_written_in_one_way() -> None:
    """In the page's language, which need not be the browser's."""
    files = set((ROOT / "static").glob("*.js")) - {ROOT / "static/smoothie.js"}
    scripts = "".join(file.read_text() for file in files)
    assert set(re.findall(r"new Intl\.(?!Locale)\w+\((\w*)", scripts)) == {"locale"}
    assert re.findall(r"\.toLocale\w*String\(", scripts) == []


def test_what_may_run_either_way_keeps_to_itself() -> None:
    """Names and sentences of others stand in isolates (U+2068): their # and points stay theirs. In
    languages that run from left to right, hashtags do where they are seen in a sentence."""
    strange = re.compile(r"(?<!\u2068)(?:#{tag}|{(?:tags|name|source|reason|word)})")
    assert [key for key, text in TEXTS["ar"].items() if strange.search(text)] == []
    for language, texts in TEXTS.items():
        seen = [key for key in texts if key.startswith(("board.with", "posts.of", "usual."))]
        assert [key for key in seen if strange.search(texts[key])] == [], language


def test_what_is_put_in_with_its_unit_has_no_second_one() -> None:
    """How many times as many as by chance: {times} is `24×` in every language."""
    second = re.compile(r"{times}[- ]?(?:times|mal|veces|倍|أضعاف)")
    assert [one for one, texts in TEXTS.items() if second.search(texts["board.lift"])] == []
