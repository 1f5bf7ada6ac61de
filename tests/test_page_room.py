"""Room for what matters, at every size: names, totals, the chart; in a real Chromium."""

from collections.abc import Iterator

import pytest
from browser import opened
from playwright.sync_api import Browser
from servers import App
from yesterday import app_with_past

FILLED = """() => {
    const boxes = [...document.querySelectorAll('.chart, .list, #board, #posts')].map(one => one.getBoundingClientRect());
    const most = (...values) => Math.max(...values);
    return [
        (most(...boxes.map(box => box.right)) + most(...boxes.map(box => -box.left))) / innerWidth,
        most(...boxes.map(box => box.bottom)) / innerHeight,
    ];
}"""
CONTROLS = """() => [...document.querySelectorAll('.controls > *')].map(one => one.getBoundingClientRect())
    .map(({left, top, height}) => [Math.round(left), Math.round((top + height / 2) / 10)])"""
CUT = """selector => [...document.querySelectorAll(selector)]
    .filter(one => one.offsetParent && (one.scrollWidth > one.clientWidth || one.clientWidth < 20)).map(one => one.textContent)"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with app_with_past(tmp_path_factory.mktemp("app"), ["science", "football"]) as started:
        yield started


@pytest.mark.parametrize(
    ("path", "width", "height"),
    [
        ("", 320, 640),
        ("", 360, 780),
        ("", 740, 900),
        ("", 820, 1180),
        ("", 930, 900),
        ("", 1334, 896),
        ("?wall", 390, 844),
        ("?wall", 820, 1180),
        ("?wall", 1600, 900),
        ("embed", 320, 700),
        ("embed", 600, 600),
        ("embed", 800, 600),
        ("embed", 1400, 700),
    ],
)
def test_names_and_totals_are_read_whole(
    browser: Browser, app: App, path: str, width: int, height: int
) -> None:
    """Names are the content: other columns go first. A total that has no room is told in millions."""
    with opened(browser, f"{app.url}/{path}", viewport={"width": width, "height": height}) as page:
        assert page.evaluate(CUT, "#rows bdi") == []
        page.evaluate("""() => {
            hashtagPulse.list = () => {};
            hashtagPulse.table.update(hashtagPulse.tags.map(tag => ({tag, total: 123456789, rate: 9876, posts: 123456, before: 1})));
        }""")
        assert page.evaluate(CUT, "#rows td:not(.bar), thead th:not(.bar)") == []
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
        shown = page.locator("thead .change").is_visible()
        assert shown == (width > 992)


def test_what_the_keyboard_reaches_is_seen(browser: Browser, app: App) -> None:
    """In a small frame the table has no room, until one goes through its rows."""
    size = {"width": 380, "height": 400}
    with opened(browser, f"{app.url}/embed", viewport=size) as page:
        row, seen = (
            page.locator("#rows button").first,
            "row => row.getBoundingClientRect().width > 20",
        )
        rows = page.locator(".list")
        assert rows.evaluate("list => list.clientWidth") <= 1
        while not row.evaluate("row => row === document.activeElement"):
            page.keyboard.press("Tab")
            assert page.evaluate("() => document.activeElement !== document.body")
        assert row.evaluate(seen) and rows.evaluate("list => list.clientWidth") > 100
        chart = page.locator("#lines").bounding_box()
        assert chart and chart["height"] > 80


@pytest.mark.parametrize("width", [800, 1024, 1280, 1440])
def test_each_row_of_buttons_begins_below_the_one_before(
    browser: Browser, app: App, width: int
) -> None:
    """And no button is left alone in one."""
    with opened(browser, app.url, viewport={"width": width, "height": 800}) as page:
        rows: dict[int, list[int]] = {}
        for left, top in page.evaluate(CONTROLS):
            rows.setdefault(top, []).append(left)
        assert len(rows) == 2
        assert len({lefts[0] for lefts in rows.values()}) == 1
        assert len(list(rows.values())[-1]) > 1


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (2560, 1440)])
def test_a_large_screen_is_filled(browser: Browser, app: App, width: int, height: int) -> None:
    """With two hashtags, too: chart, table, board and posts reach nearly to its edges."""
    size = {"width": width, "height": height}
    with opened(browser, app.url, viewport=size) as page:
        across, down = page.evaluate(FILLED)
        assert 0.9 < across <= 1
        assert 0.9 < down < 1.1
