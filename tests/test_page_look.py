"""Looking at one line and at one moment; in a real Chromium."""

import re
from collections.abc import Iterator

import pytest
from browser import opened
from playwright.sync_api import Browser
from servers import App
from yesterday import app_with_past

COLOURS = """() => Object.fromEntries([...hashtagPulse.chart.lines].map(([tag, [line]]) =>
    [tag, hashtagPulse.chart.smoothie.getTimeSeriesOptions(line).strokeStyle]))"""
MARKED = "() => [...document.querySelectorAll('#rows .marked bdi')].map(name => name.textContent)"
DOT = """async tag => {
    const {axes, chart, visitor: {crosshair}} = hashtagPulse;
    chart.drawNow();
    const {left, top, width, height} = axes.box;
    const x = left + width * crosshair.part, y = top + axes.heightOf(chart.valueAt(tag, crosshair.at), axes.box);
    const dot = axes.context.getImageData((x - 2) * devicePixelRatio, y * devicePixelRatio, 1, 1).data;
    return '#' + [...dot].slice(0, 3).map(part => part.toString(16).padStart(2, '0')).join('');
}"""
APART = """tags => {
    const {chart} = hashtagPulse, parts = [0.3, 0.4, 0.5, 0.6, 0.7, 0.8];
    const values = part => tags.map(tag => chart.valueAt(tag, chart.edge - chart.shown.range * (1 - part)) ?? NaN);
    const apart = part => Math.abs(values(part)[0] - values(part)[1]) || 0;
    return parts.sort((a, b) => apart(b) - apart(a))[0];
}"""
"""The part of the way across at which two lines are apart: where they meet, one dot hides the other."""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with app_with_past(tmp_path_factory.mktemp("app"), ["science", "football"]) as started:
        yield started


def test_one_line_is_looked_at(browser: Browser, app: App) -> None:
    """By its row, under the pointer or with the focus, and by pointing near it: the others are
    faint. A line that is hidden makes no other one faint."""
    with opened(browser, app.url) as page:
        plain = page.evaluate(COLOURS)
        assert page.evaluate(MARKED) == []
        page.locator("#rows tr", has_text="#football").hover()
        seen = page.evaluate(COLOURS)
        assert seen["football"] == plain["football"]
        assert seen["science"] == f"{plain['science']}38"
        assert page.evaluate(MARKED) == ["#football"]
        page.mouse.move(5, 5)
        assert page.evaluate(COLOURS) == plain
        page.locator("#rows").get_by_role("button", name="#science").focus()
        assert page.evaluate(COLOURS)["football"] == f"{plain['football']}38"
        page.keyboard.press("Control+Enter")
        assert page.evaluate(COLOURS)["football"] == plain["football"]
        page.keyboard.press("Control+Enter")
        page.locator("#plot").focus()
        box = page.locator("#lines").bounding_box()
        assert box
        x = box["x"] + box["width"] * page.evaluate(APART, ["football", "science"])
        page.mouse.move(x, box["y"] + 5)
        for tag in ("football", "science"):
            height = page.evaluate(
                "tag => hashtagPulse.axes.heightOf(hashtagPulse.chart.valueAt(tag, hashtagPulse.visitor.crosshair.at), hashtagPulse.axes.box)",
                tag,
            )
            page.mouse.move(x, box["y"] + height)
            assert page.evaluate(MARKED) == [f"#{tag}"]
            assert page.evaluate(DOT, tag) == plain[tag], "a dot is where it meets the crosshair"
        page.keyboard.press("Escape")
        assert page.evaluate(COLOURS) == plain


def test_many_names_are_led_to_by_lines(browser: Browser, app: App) -> None:
    """With eight hashtags and more, names cannot stand beside the ends of their lines."""
    led = """() => {
        const {axes, chart} = hashtagPulse, drawn = axes.drawLeader.bind(axes);
        let count = 0;
        axes.drawLeader = (...place) => { count++; drawn(...place) };
        chart.drawNow();
        return count;
    }"""
    with opened(browser, f"{app.url}/?tags=science,football,a1,a2,a3,a4,a5,a6") as page:
        page.wait_for_function("() => hashtagPulse.chart.endOf('a6') !== null")
        assert page.evaluate(led) == 8
    with opened(browser, app.url) as page:
        assert page.evaluate(led) == 0


def test_a_moment_is_told_by_both_clocks(browser: Browser, app: App) -> None:
    """The reader's own and UTC."""
    with opened(browser, app.url, timezone_id="Asia/Tokyo") as page:
        page.locator("#plot").hover(position={"x": 300, "y": 150})
        words = page.locator("#values p").inner_text()
        told = re.fullmatch(r"(\d\d):(\d\d:\d\d) · (\d\d):(\d\d:\d\d) UTC", words)
        assert told and told[2] == told[4]
        assert (int(told[1]) - int(told[3])) % 24 == 9
    with opened(browser, app.url, timezone_id="UTC") as page:
        page.locator("#plot").hover(position={"x": 300, "y": 150})
        assert re.fullmatch(r"\d\d:\d\d:\d\d UTC", page.locator("#values p").inner_text())
