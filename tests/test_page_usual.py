"""What is usual and what is unusual, on the page; in a real Chromium."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from browser import opened
from conftest import missing
from playwright.sync_api import Browser
from servers import ROOT, App, RedisServer, free_port, wait_until
from test_page_ask import run
from ticking import Ticking
from yesterday import remember_days

from app.store import keys
from app.store.alerts import Alert
from app.store.store import connect

BEHIND = """value => {
    const {axes, chart} = hashtagPulse, {box} = axes;
    chart.drawNow();
    const x = box.left + box.width * 0.8, y = box.top + axes.heightOf(value, box);
    return axes.context.getImageData(x * devicePixelRatio, y * devicePixelRatio, 1, 1).data[3];
}"""
"""How opaque the canvas behind the lines is there."""


DRAWN = """() => {
    const {axes: {context, box, look}, chart} = hashtagPulse, fill = context.fillText.bind(context);
    const found = [];
    context.fillText = (words, x, y, room) => {
        if (words.includes(hashtagPulse.tags[0]) && x <= box.left) found.push([words, context.measureText(words).width <= room, y < box.top]);
        fill(words, x, y, room);
    };
    chart.drawNow();
    delete context.fillText;
    return found;
}"""
"""Each line of words about what is drawn, whether it has room, and whether it is above all lines."""


async def tell(url: str, *alerts: Alert) -> None:
    """As the ingester writes them."""
    going = {alert.tag: vars_of(alert) for alert in alerts if alert.state == "start"}
    redis = connect(url)
    await redis.set(keys.ALERTS, json.dumps({"going": going, "last": [vars_of(a) for a in alerts]}))
    await redis.aclose()


def vars_of(alert: Alert) -> dict[str, object]:
    return {name: getattr(alert, name) for name in Alert.__struct_fields__}


@pytest.fixture(scope="module")
def web(file_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """Two days of 60 posts a minute, and as many now."""
    with ExitStack() as ending:
        remember_days(file_redis.url, "science", 2, 60)
        ending.enter_context(Ticking(file_redis.url)).post("science", 60)
        settings = {"REDIS_URL": file_redis.url, "HASHTAGS": "science,football"}
        folder = tmp_path_factory.mktemp("web")
        yield ending.enter_context(App(folder, "web", port=free_port(), **settings)).started()


def test_a_band_is_behind_the_line_and_a_range_in_the_table(browser: Browser, web: App) -> None:
    """Of two days of 60 posts a minute; not behind totals, and not where nobody knows."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{web.url}/?tags=science")
    small = page.locator("#rows td.rate small")
    [said] = wait_until(lambda: small.all_inner_texts(), "it is said")
    low, high = map(int, said.removeprefix("usual ").replace("\u2060", "").split("–"))
    assert 25 < low < 32, "nine of ten minutes of 60 on the average have 28 to 101"
    assert 95 < high < 107
    page.evaluate("() => { hashtagPulse.chart.smoothie.options.maxValue = 200 }")
    wait_until(lambda: page.evaluate(BEHIND, 61) > 0, "it is drawn")
    assert page.evaluate(BEHIND, 131) == 0
    page.get_by_role("button", name="total").click()
    assert page.evaluate(BEHIND, page.evaluate("() => hashtagPulse.chart.bounds.max * 0.9")) == 0
    context.close()
    with opened(browser, f"{web.url}/?tags=nobody") as page:
        page.wait_for_function("() => hashtagPulse.visitor.usual.bands.get('nobody')")
        assert page.locator("#rows td small").count() == 0
        page.evaluate("""() => {
            hashtagPulse.visitor.usual.bands.get('nobody').points = [[hashtagPulse.chart.edge - 1e5, 0, 0.4]];
        }""")
        assert page.evaluate(DRAWN) == [], "of what is hardly ever used nothing is usual"


LANGUAGES = sorted(path.stem for path in (ROOT / "templates/texts").iterdir())


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_is_read_whole_on_a_small_phone(browser: Browser, web: App, language: str) -> None:
    """Beside the rate, and above the lines what the band is: neither is cut, squeezed or crossed."""
    size = {"width": 320, "height": 640}
    with opened(browser, f"{web.url}/?tags=science&lang={language}", viewport=size) as page:
        small = page.locator("#rows td.rate small")
        wait_until(small.count, "it is said")
        assert small.evaluate("one => one.scrollWidth <= one.clientWidth")
        assert small.evaluate("one => one.getClientRects().length") == 1
        wait_until(lambda: page.evaluate(DRAWN), "it is explained")
        assert [(whole, above) for _, whole, above in page.evaluate(DRAWN)] == [(True, True)]


def test_the_band_of_a_time_of_the_past_reaches_its_edges(browser: Browser, web: App) -> None:
    """Also where that begins between two minutes."""
    begin = int(time.time() * 1000) // 60_000 * 60_000 - 630_000
    with opened(browser, f"{web.url}/?tags=science&from={begin}&to={begin + 120_000}") as page:
        page.wait_for_function("() => hashtagPulse.visitor.usual.bands.get('science')")
        points = page.evaluate("() => hashtagPulse.visitor.usual.bands.get('science').points")
        assert points[0][0] <= begin


def test_what_is_unusual_is_said_until_it_is_read_or_over(
    browser: Browser, web: App, file_redis: RedisServer
) -> None:
    """Of the hashtags that are shown; and the browser tells it to whoever asked for that."""
    now = int(time.time() * 1000)
    evil = "<b>Sci</b>"
    start = Alert("1", "start", "science", evil, now, now - 60_000, 214, 9.4, 7.0, "")
    other = Alert("2", "start", "football", "football", now, now - 60_000, 21, 1.0, 7.0, "")
    run(tell(file_redis.url, start, other))
    path = ROOT / "node_modules" / "axe-core" / "axe.min.js"
    axe = path.read_text() if path.exists() else missing("axe-core (run make setup)")
    with opened(browser, web.url) as page:
        notices = page.locator("#alerts p")
        wait_until(lambda: notices.count() == 2, "both are said")
        words = page.locator("#alerts [data-tag=science] span").inner_text().replace("\u2068", "")
        assert words.replace("\u2069", "").startswith(
            f"#{evil} is unusual: 214 people in ten minutes, where 9 posts are usual at this hour. Since "
        )
        page.evaluate(axe)
        found = page.evaluate("() => axe.run()")
        assert [(v["id"], [n["html"] for n in v["nodes"]]) for v in found["violations"]] == []
        page.evaluate("""() => {
            window.told = [];
            window.Notification = class {
                static permission = 'default';
                static requestPermission = async () => Notification.permission = 'granted';
                constructor(title, {body}) { told.push(body) }
            };
        }""")
        notices.first.get_by_role("button", name="tell me").click()
        page.wait_for_function("() => localStorage.getItem('notify') === 'true'")
        page.locator("#alerts [data-tag=football]").get_by_role("button", name="hide").click()
        assert notices.count() == 1
        run(
            tell(
                file_redis.url, start, Alert("3", "end", "science", evil, now, now, 3, 9.4, 1.0, "")
            )
        )
        wait_until(lambda: notices.count() == 0, "it is over")
        assert page.evaluate("() => window.told") == [], "the page is seen"
        page.evaluate("() => Object.defineProperty(document, 'hidden', {value: true})")
        run(
            tell(
                file_redis.url,
                Alert("4", "start", "football", "football", now, now, 1, 1.0, 7.0, ""),
            )
        )
        [told] = wait_until(lambda: page.evaluate("() => window.told"), "the browser says it")
        assert told.startswith(
            "\u2068#football\u2069 is unusual: 1 person in ten minutes, where 1 post is usual"
        )


MARKED = """() => {
    const {axes: {context}, chart} = hashtagPulse, arc = context.arc.bind(context);
    let marks = 0;
    context.arc = (x, y, radius, ...turn) => { marks += radius === 7; arc(x, y, radius, ...turn) };
    chart.drawNow();
    delete context.arc;
    return marks;
}"""


def test_where_it_became_unusual_is_marked_on_the_line(
    browser: Browser, web: App, file_redis: RedisServer
) -> None:
    """As long as that moment is in sight, and the line is not hidden."""
    with opened(browser, f"{web.url}/?tags=science") as page:
        page.wait_for_function("() => hashtagPulse.chart.endOf('science') !== null")
        assert page.evaluate(MARKED) == 0
        now = round(page.evaluate("() => hashtagPulse.chart.edge"))
        run(
            tell(
                file_redis.url,
                Alert("5", "start", "science", "science", now, now, 99, 9.0, 9.0, ""),
            )
        )
        wait_until(lambda: page.evaluate(MARKED) == 1, "it is marked")
        page.locator("#rows button").click(modifiers=["Control"])
        assert page.evaluate(MARKED) == 0
