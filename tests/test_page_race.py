"""Who is winning: areas below few lines, and the view that counts from the left edge; in a real
Chromium."""

from collections.abc import Iterator

import pytest
from browser import opened
from playwright.sync_api import Browser, Page
from servers import App, wait_until
from yesterday import app_with_past

TAGS = ["science", "football", "art", "music"]
AREAS = """() => {
    const {lines, smoothie} = hashtagPulse.chart;
    const has = line => !line.disabled && smoothie.getTimeSeriesOptions(line).fillStyle;
    return [...lines.values()].filter(all => all.some(has)).length;
}"""
RACE = """() => {
    const {chart} = hashtagPulse, {series, range, tags} = chart.shown;
    chart.drawNow();
    const begin = chart.edge - range;
    return tags.map(tag => {
        const at = series.at, points = chart.lines.get(tag).flatMap(line => line.data);
        const start = points.findLast(([time]) => time <= begin) ?? points[0];
        return [start[1], chart.valueAt(tag, at), series.total(tag, at) - series.totalFrom(tag, begin)];
    });
}"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with app_with_past(tmp_path_factory.mktemp("app"), TAGS) as started:
        yield started


@pytest.fixture
def page(browser: Browser, app: App) -> Iterator[Page]:
    with opened(browser, f"{app.url}/?tags=science,football&range=1m") as shown:
        yield shown


def test_a_race_begins_at_zero_and_goes_on_so(page: Page) -> None:
    """Each line at the left edge, whatever its total; at its end it has what was posted since."""
    page.get_by_role("button", name="race").click()
    assert "view=race" in page.url
    assert page.locator("#unit").inner_text() == "posts since the left edge"
    for _ in range(3):  # the edge moves on
        for start, end, posts in page.evaluate(RACE):
            assert start == 0
            assert end == posts > 0
        before = page.evaluate("() => hashtagPulse.chart.starts.get('science')")
        now = "() => hashtagPulse.chart.starts.get('science')"
        wait_until(lambda now=now, before=before: page.evaluate(now) > before, "some left it")
    page.get_by_role("button", name="total", exact=True).click()
    assert (
        page.evaluate("() => hashtagPulse.chart.valueAt('science', hashtagPulse.state.live.at)")
        > 60
    )


def test_a_link_to_a_race_shows_one(browser: Browser, app: App) -> None:
    """In another site's frame, too; to two pixels, within which there is one point."""
    with opened(browser, f"{app.url}/embed?tags=art,music&view=race&range=5m") as page:
        for start, end, posts in page.evaluate(RACE):
            assert -3 <= start <= 0
            assert end == posts
        assert page.locator("#unit").is_visible()


def test_three_lines_have_areas_and_four_have_none(browser: Browser, app: App, page: Page) -> None:
    """Only where a line counts from 0; the one that is looked at keeps its own."""
    assert page.evaluate(AREAS) == 2
    page.evaluate("() => hashtagPulse.mark('science')")
    assert page.evaluate(AREAS) == 1
    page.evaluate("() => hashtagPulse.mark(null)")
    assert page.evaluate(AREAS) == 2
    page.get_by_role("button", name="total", exact=True).click()
    assert page.evaluate(AREAS) == 0
    with opened(browser, f"{app.url}/?tags={','.join(TAGS)}") as crowded:
        assert crowded.evaluate(AREAS) == 0
        crowded.locator("#rows").get_by_role("button", name="#art").click(modifiers=["Control"])
        assert crowded.evaluate(AREAS) == 3
