"""For everybody: axe-core, the live region, less motion; in a real Chromium, on real processes."""

from collections.abc import Iterator
from typing import Any

import pytest
from browser import DESKTOP, PHONE, READY, opened
from conftest import missing
from playwright.sync_api import Browser
from servers import ROOT, App
from yesterday import app_with_past


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core, which comes from npm at set-up."""
    path = ROOT / "node_modules" / "axe-core" / "axe.min.js"
    return path.read_text() if path.exists() else missing("axe-core (run make setup)")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with app_with_past(tmp_path_factory.mktemp("app"), ["science", "football"], 200) as started:
        yield started


AXE = "() => axe.run({rules: {'label-content-name-mismatch': {enabled: true}}})"
"""Names of buttons begin with the words that are seen: a rule that is off where nobody asks."""
PAST = "from=1700000000000&to=1700000300000"
SIZES = {"phone": PHONE, "desktop": DESKTOP}
PATHS = ["", "?wall", "embed?tags=science", "embed/board?list=used"]


def ready(path: str) -> str:
    return "() => document.querySelector('#board li')" if "board" in path else READY


@pytest.mark.parametrize("path", PATHS)
def test_axe_finds_nothing_where_the_system_chooses_the_colours(
    browser: Browser, app: App, axe: str, path: str
) -> None:
    """Forced colours, on the page, the wall and in both frames."""
    with opened(browser, f"{app.url}/{path}", ready(path), forced_colors="active") as page:
        page.evaluate(axe)
        found = page.evaluate(AXE)
    assert found["passes"]
    assert [(v["id"], [n["html"] for n in v["nodes"]]) for v in found["violations"]] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("path", [*PATHS, "?tags=!&hide=science", f"?{PAST}"])
def test_axe_finds_nothing(
    browser: Browser, app: App, axe: str, path: str, size: str, scheme: str
) -> None:
    """Contrast (AA), names, roles: axe-core has nothing serious to say, nor anything else."""
    looks = {"color_scheme": scheme, "viewport": SIZES[size]}
    with opened(browser, f"{app.url}/{path}", ready(path), **looks) as page:
        page.evaluate(axe)
        if not path:
            page.locator("#plot").focus()
            page.keyboard.press("ArrowLeft")
        found: dict[str, Any] = page.evaluate(AXE)
    assert found["passes"]
    told = [(v["id"], v["impact"], [n["html"] for n in v["nodes"]]) for v in found["violations"]]
    assert told == []


def test_a_screen_reader_is_told_calmly(browser: Browser, app: App) -> None:
    """A polite live region names the busiest hashtags, and not again within ten seconds."""
    with opened(browser, app.url) as page:
        page.add_init_script("""addEventListener('DOMContentLoaded', () => {
            window.said = [];
            new MutationObserver(() => said.push([hashtagPulse.clock.now(), summary.textContent]))
                .observe(summary, {childList: true, characterData: true, subtree: true});
        })""")
        page.reload()
        assert page.locator("#summary").get_attribute("aria-live") == "polite"
        page.wait_for_function("() => said.length >= 2")
        (first, words), (second, _) = page.evaluate("() => said.slice(0, 2)")
    assert second - first > 9_900
    assert "posts per minute" in words
    assert "#science" in words


def test_a_screen_reader_is_told_once_that_nothing_comes(browser: Browser, app: App) -> None:
    """Numbers that stand still are not read out as if they were of now."""
    with opened(browser, app.url) as page:
        page.evaluate("""() => {
            const page = hashtagPulse;
            page.link.listener.counts = page.link.listener.history = () => {};
            window.said = [];
            new MutationObserver(() => said.push(summary.textContent)).observe(summary, {childList: true});
            page.clock.offset += 60e3;
            for (let seconds = 0; seconds < 60; seconds += 11) {
                page.clock.offset += 11e3;
                page.beat();
            }
        }""")
        page.wait_for_function("() => said.length > 0")
        assert set(page.evaluate("() => said")) == {
            "The numbers stand still: nothing new comes in."
        }


def test_arrow_keys_tell_a_screen_reader_what_they_read(browser: Browser, app: App) -> None:
    """The chart is a slider: each step is said, its time and its values."""
    with opened(browser, app.url) as page:
        chart = page.get_by_role("slider", name="Chart. Arrow keys read it")
        assert chart.get_attribute("aria-valuetext") == "now"
        chart.focus()
        page.keyboard.press("End")
        page.keyboard.press("PageDown")
        page.keyboard.press("ArrowLeft")
        said = chart.get_attribute("aria-valuetext") or ""
        told = page.locator("#values li").all_inner_texts()
        values = ", ".join(each.replace("\n", " ") for each in told)
        when = page.locator("#values p").inner_text().split(" · ")[0].removesuffix(" UTC")
        assert said == f"{when}: {values} posts per minute"
        assert {each.split("\n")[0] for each in told} == {"#science", "#football"}
        assert chart.get_attribute("aria-valuenow") == "-3", "seconds, a hundredth of the range"
        page.keyboard.press("Home")
        assert chart.get_attribute("aria-valuenow") == chart.get_attribute("aria-valuemin")
        page.keyboard.press("Escape")
        assert page.locator("#values").is_hidden()
        assert chart.get_attribute("aria-valuetext") == "now"


def test_the_summary_can_be_silenced(browser: Browser, app: App) -> None:
    """By a button that is seen when the keyboard reaches it; and it stays so after a reload."""
    with opened(browser, app.url) as page:
        page.wait_for_function("() => summary.textContent")
        button = page.get_by_role("button", name="Say every 10 seconds")
        button.focus()
        page.keyboard.press("Enter")
        box = button.bounding_box()
        assert box and box["width"] > 100
        page.evaluate("() => { hashtagPulse.visitor.said = 0; hashtagPulse.list() }")
        assert page.inner_text("#summary") == ""
        page.reload()
        page.wait_for_function("() => window.hashtagPulse?.visitor?.said")
        assert page.locator("#summary").text_content() == ""
        button.focus()
        page.keyboard.press("Enter")
        page.evaluate("() => { hashtagPulse.visitor.said = 0; hashtagPulse.list() }")
        assert "#science" in (page.locator("#summary").text_content() or "")


def test_less_motion_steps_once_a_second(browser: Browser, app: App) -> None:
    """With prefers-reduced-motion the chart does not scroll: it is drawn once a second."""
    count = """async () => {
        let drawn = 0, frames = 0;
        const paint = hashtagPulse.chart.onpaint;
        hashtagPulse.chart.onpaint = () => { drawn++; paint() };
        const from = performance.now();
        while (performance.now() < from + 3000) { await new Promise(requestAnimationFrame); frames++; }
        return [drawn, frames];
    }"""
    with opened(browser, f"{app.url}/?range=1m") as page:
        drawn, frames = page.evaluate(count)
        assert frames > 10
        assert drawn > 6
    with opened(browser, f"{app.url}/?range=1m", reduced_motion="reduce") as page:
        drawn, _ = page.evaluate(count)
        assert 1 <= drawn <= 4


def test_dark_and_light_follow_the_reader(browser: Browser, app: App) -> None:
    """Also while the page is open: colours of page and lines change with the system's."""
    back = "() => getComputedStyle(document.documentElement).backgroundColor"
    line = "() => hashtagPulse.chart.smoothie.seriesSet[0].options.strokeStyle"
    with opened(browser, app.url) as page:
        light = page.evaluate(back), page.evaluate(line)
        page.emulate_media(color_scheme="dark")
        page.wait_for_function(f"before => ({back})() !== before", arg=light[0])
        page.wait_for_function(f"before => ({line})() !== before", arg=light[1])
        assert page.evaluate(line) == page.evaluate("() => hashtagPulse.pen('science').colour")


def test_the_table_is_the_charts_twin(browser: Browser, app: App) -> None:
    """Headers, row names and a caption; the canvases are nothing to a screen reader."""
    with opened(browser, app.url) as page:
        table = page.get_by_role("table", name="Hashtags, the busiest first")
        assert table.get_by_role("columnheader").count() >= 4
        assert table.get_by_role("rowheader").count() == 2
        assert table.get_by_role("img", name="% of all").count() == 2
        shares = page.evaluate("""() => {
            hashtagPulse.list = () => {};
            hashtagPulse.table.update(hashtagPulse.tags.map((tag, n) => ({tag, total: 1, rate: (2 - n) / 60, posts: 1, before: 1})));
            return [...document.querySelectorAll("td.bar div")].map(bar => [bar.ariaLabel, bar.style.transform]);
        }""")
        assert sorted(shares) == [["33% of all", "scaleX(0.5)"], ["67% of all", "scaleX(1)"]], (
            "of a few too"
        )
        assert page.locator("canvas:not([aria-hidden=true])").count() == 0


def test_forced_colours_leave_what_is_chosen_and_the_shares(browser: Browser, app: App) -> None:
    """Where the system takes backgrounds away, lines and borders say the same."""
    chosen = "() => getComputedStyle(document.querySelector('#ranges [aria-pressed=true]')).textDecorationLine"
    other = "() => getComputedStyle(document.querySelector('#ranges [aria-pressed=false]')).textDecorationLine"
    share = "() => getComputedStyle(document.querySelector('td.bar div')).backgroundColor"
    with opened(browser, app.url) as page:
        colour = page.evaluate(share)
        page.emulate_media(forced_colors="active")
        assert page.evaluate(chosen) == "underline"
        assert page.evaluate(other) == "none"
        assert page.evaluate(share) == colour
