"""The page in each language: nothing is cut, numbers are its own; in a real Chromium."""

from collections.abc import Iterator

import pytest
from browser import opened
from conftest import missing
from playwright.sync_api import Browser
from servers import ROOT, App
from yesterday import app_with_past

LANGUAGES = sorted(path.stem for path in (ROOT / "templates/texts").iterdir())
CUT = """() => [...document.querySelectorAll('h1, .pill, .choices button:not([value=with]), .controls > button, #chips li, thead th, td, #board p, #posts p, #posts button, footer select')]
    .filter(one => one.offsetParent && (one.scrollWidth > one.clientWidth || one.scrollHeight > one.clientHeight + 3))
    .map(one => `${one.textContent} ${one.scrollWidth}x${one.scrollHeight} in ${one.clientWidth}x${one.clientHeight}`)"""
OUTSIDE = """() => [...document.querySelectorAll('button, .pill, select, th, li')]
    .filter(one => one.offsetParent)
    .filter(one => {
        const {left, right} = one.getBoundingClientRect();
        const room = (one.parentElement.closest('.panel') ?? document.documentElement).getBoundingClientRect();
        return left < room.left - 1 || right > room.right + 1;
    })
    .map(one => one.textContent)"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with app_with_past(tmp_path_factory.mktemp("app"), ["science", "football"], 200) as started:
        yield started


def test_no_language_is_cut_on_a_small_phone(browser: Browser, app: App) -> None:
    """At 320 pixels: buttons, chips, heads, and nothing reaches out of the page; of a time of the
    past, too."""
    for language in LANGUAGES:
        size = {"width": 320, "height": 640}
        with opened(browser, f"{app.url}/?lang={language}", viewport=size) as page:
            assert page.evaluate(CUT) == [], language
            assert page.evaluate(OUTSIDE) == [], language
            assert page.evaluate("() => document.documentElement.scrollWidth") <= 320, language
            page.evaluate("() => hashtagPulse.visitor.look([1.7e12, 1.7e12 + 6e4])")
            page.wait_for_function("() => !back.hidden && !moment.hidden")
            assert page.evaluate(CUT) == page.evaluate(OUTSIDE) == [], language


PLACES = """words => {
    const place = document.getElementById('badge').firstChild, at = words.map(word => place.data.indexOf(word));
    const lefts = at.map((begin, i) => {
        const range = document.createRange();
        range.setStart(place, begin);
        range.setEnd(place, begin + words[i].length);
        return range.getBoundingClientRect().left;
    });
    return at.every(one => one >= 0) && lefts.every((left, i) => i === 0 || left < lefts[i - 1]);
}"""


def test_a_time_of_the_past_is_read_in_order_from_right_to_left(browser: Browser, app: App) -> None:
    """Its day, its begin, its end: `UTC` does not draw the end to its own side."""
    query = "lang=ar&tags=science&from=1769958000000&to=1769961660000"
    size = {"width": 1334, "height": 640}
    with opened(browser, f"{app.url}/?{query}", viewport=size, timezone_id="UTC") as page:
        page.wait_for_function("() => badge.textContent.includes('2026')")
        assert page.evaluate(PLACES, ["2026", "3:00:00", "UTC", "4:01:00"])


def test_an_answer_is_as_wide_as_its_words(browser: Browser, app: App) -> None:
    """On a phone, too, as far as there is room."""
    with opened(browser, app.url, viewport={"width": 390, "height": 640}) as page:
        page.evaluate("() => hashtagPulse.visitor.tell('thirty letters are in one line')")
        box = page.locator("#told").bounding_box()
        assert box and box["height"] < 50


def test_the_menu_speaks_another_language_and_the_address_keeps_it(
    browser: Browser, app: App
) -> None:
    """The browser's comes first; what is shown stays, and so does the language with each choice."""
    with opened(browser, f"{app.url}/?tags=science&range=1m", locale="de-AT") as page:
        menu = page.locator("#language")
        assert menu.input_value() == page.locator("html").get_attribute("lang") == "de"
        assert page.locator("#pause").inner_text() == "Pause"
        assert menu.locator("option").count() == len(LANGUAGES)
        menu.select_option(label="日本語")
        page.wait_for_url("**/?tags=science&range=1m&lang=ja")
        page.wait_for_function("() => window.hashtagPulse?.visitor?.side")
        assert page.locator("#pause").inner_text() == "一時停止"
        page.locator("#ranges [value='15m']").click()
        page.wait_for_url("**/?tags=science&range=15m&lang=ja")
        page.locator("#typed").fill("football,")
        page.wait_for_url("**/?range=15m&lang=ja")  # all that the page shows by itself
        page.go_back()
        page.wait_for_url("**/?tags=science&range=15m&lang=ja")
        assert page.locator("html").get_attribute("lang") == "ja"


def test_arabic_runs_from_right_to_left_and_time_from_left_to_right(
    browser: Browser, app: App
) -> None:
    """Names stand at the right, the newest end of a line does, too; axe-core has nothing to say."""
    axe = ROOT / "node_modules" / "axe-core" / "axe.min.js"
    if not axe.exists():
        missing("axe-core (run make setup)")
    with opened(browser, f"{app.url}/?lang=ar", locale="ar") as page:
        left = "heads => heads.map(head => head.getBoundingClientRect().left)"
        name, *_, total = page.locator("thead th").evaluate_all(left)
        assert name > total
        assert page.locator("#lines").evaluate("lines => lines.offsetLeft") < 100, "values are left"
        newest, oldest = page.evaluate("""() => {
            const {chart} = hashtagPulse, {places} = hashtagPulse.visitor.crosshair;
            plot.focus();
            const at = key => { plot.dispatchEvent(new KeyboardEvent('keydown', {key})); return places.cross.getBoundingClientRect().left };
            return [at('End'), at('Home')];
        }""")
        assert oldest < newest
        page.evaluate(axe.read_text())
        found = page.evaluate(
            "() => axe.run({rules: {'label-content-name-mismatch': {enabled: true}}})"
        )
    assert found["passes"]
    assert [(one["id"], [n["html"] for n in one["nodes"]]) for one in found["violations"]] == []
