"""Fast and small: bytes, the first line, frames, memory; in a real Chromium."""

import os
from collections.abc import Callable, Iterator
from urllib.request import Request, urlopen

import pytest
from browser import READY, opened
from playwright.sync_api import Browser, CDPSession, Page
from servers import ROOT, App
from web_line import WebLine
from yesterday import app_with_past

LANGUAGES = [path.stem for path in (ROOT / "templates/texts").iterdir()]
SECONDS = int(os.environ.get("PAGE_SECONDS", 20))
IS_LONG = SECONDS >= 300
MANY = [f"tag{n}" for n in range(20)]
BYTES, LATER_BYTES = 60 * 1024, 60 * 1024
DRAWN = "() => performance.getEntriesByName('first line').length && document.querySelectorAll('#rows td').length"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with app_with_past(tmp_path_factory.mktemp("app"), MANY) as started:
        yield started


def test_first_load_is_small_and_the_second_one_smaller(
    browser: Browser, app: App, record_property: Callable[[str, object], None]
) -> None:
    """60 KB over the wire until the first line with axes and table is drawn, every header counted;
    then what a visitor does with them, and a button that was pressed before does its work. On the
    second load hardly anything is carried."""
    with WebLine(app.port) as line:
        line.holds = b"/visitor."
        with opened(browser, line.url, DRAWN) as page:
            first, names = line.carried, loaded(page)
            record_property("bytes of the first load", first)
            heaviest = max(html_bytes(app, language) for language in LANGUAGES)
            assert 30_000 < first <= BYTES - (heaviest - html_bytes(app, "en"))
            needed = {"smoothie.js", "style.css", *preloaded(page)}
            assert needed == names - {"favicon.svg", "hub.js"}, "which no line waits for"
            page.locator("#ranges [value='1m']").click()
            line.release()
            page.wait_for_function(READY)
            page.wait_for_function("() => hashtagPulse.choice.range === '1m'")
            assert {"ask.js", "board.js", "crosshair.js", "en.json"} <= loaded(page) - names
            both = line.carried
            record_property("bytes loaded after it", both - first)
            assert both - first <= LATER_BYTES
            page.reload()
            page.wait_for_function(READY)
            assert 1000 < line.carried - both < 0.3 * first


def html_bytes(app: App, language: str) -> int:
    """Of the page itself, compressed: all else of the first load is the same in each language."""
    asked = Request(f"{app.url}/?lang={language}", headers={"Accept-Encoding": "gzip"})
    with urlopen(asked) as answer:
        return len(answer.read())


def loaded(page: Page) -> set[str]:
    """The names of all that the page asked for in its folder of static/."""
    names: list[str] = page.evaluate(
        "() => performance.getEntriesByType('resource').map(one => one.name).filter(name => name.includes('/static/'))"
    )
    return {name.rpartition("/")[2] for name in names}


def preloaded(page: Page) -> set[str]:
    links = page.locator("link[rel=modulepreload]")
    names: list[str] = links.evaluate_all("links => links.map(link => link.href)")
    return {name.rpartition("/")[2] for name in names}


WAITED = """() => performance.getEntriesByName('first line')[0].startTime
    - performance.getEntriesByType('navigation')[0].loadEventEnd"""


def test_first_line_is_soon_there(
    browser: Browser, app: App, record_property: Callable[[str, object], None]
) -> None:
    """Half a second of the page's CPU is enough for all from nothing to the first line, the least of
    three; in the long form of `make soak` half a second by the clock, from load to there."""
    with opened(browser, f"{app.url}/?tags=tag1,tag2") as page:
        session = working(page)
        session.send("Network.enable")
        session.send("Network.setCacheDisabled", {"cacheDisabled": True})
        took, waited = [], []
        for _ in range(3):
            page.reload(wait_until="commit")
            page.wait_for_function("() => performance.getEntriesByName('first line').length")
            took.append(work(session))
            waited.append(page.evaluate(WAITED))
        assert 0.01 < min(took) < 0.5, took
        record_property("milliseconds from load to the first line", min(waited))
        assert min(waited) < 500 or not IS_LONG, waited


def working(page: Page) -> CDPSession:
    """Has Chromium measure what the page's thread takes of the CPU, whatever else is running."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    return session


def work(session: CDPSession) -> float:
    """In seconds, since the page began to load."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return next(float(each["value"]) for each in metrics if each["name"] == "TaskDuration")


FRAMES = """async how => {
    const {chart} = hashtagPulse, {canvas, smoothie} = chart, context = canvas.getContext('2d');
    const x = at => canvas.offsetWidth - (chart.edge - at) / smoothie.options.millisPerPixel;
    const y = value => canvas.offsetHeight * (1 - (value - smoothie.currentVisMinValue) / smoothie.currentValueRange);
    const stroke = (tag, {data}) => {
        const {colour, dash, width} = hashtagPulse.pen(tag);
        context.save();
        context.beginPath();
        for (const [at, value] of data) context.lineTo(Math.round(x(at)), Math.round(y(value)));
        Object.assign(context, {strokeStyle: colour, lineWidth: width, lineCap: dash.length ? 'round' : 'butt'});
        context.setLineDash(dash.map(length => length * width / 2));
        context.stroke();
        context.restore();
    };
    const draw = {
        nothing() {},
        bare() {
            context.clearRect(0, 0, canvas.offsetWidth, canvas.offsetHeight);
            for (const [tag, all] of chart.lines) for (const line of all) stroke(tag, line);
        },
        page() { // though it moved less than a pixel, and rows of the board or of posts changed
            Object.assign(smoothie, {lastChartTimestamp: 0});
            chart.rests = false;
            smoothie.render();
        },
    }[how];
    let drawn = 0;
    const paint = chart.onpaint;
    chart.onpaint = () => { drawn++; paint() };
    chart.stop();
    for (let n = 0; n < 40; n++) {
        await new Promise(requestAnimationFrame);
        draw();
    }
    chart.onpaint = paint;
    chart.start();
    return drawn;
}"""
MOVED = """async () => {
    const {chart} = hashtagPulse, paint = chart.onpaint;
    let drawn = 0;
    chart.onpaint = () => { drawn++; paint() };
    for (let n = 0; n < 100; n++) await new Promise(requestAnimationFrame);
    chart.onpaint = paint;
    return drawn;
}"""


def test_a_frame_of_twenty_lines_costs_no_more_than_bare_strokes(
    browser: Browser, app: App
) -> None:
    """Of the page's CPU, with axes and all, against the same lines in the same page; the least of three.
    By itself it draws whenever the lines moved by a pixel. `make soak` counts frames."""
    with opened(browser, f"{app.url}/?range=1m") as page:
        assert page.evaluate("() => hashtagPulse.chart.lines.size") == 20
        session = working(page)

        def cost(how: str) -> float:
            before = work(session)
            assert page.evaluate(FRAMES, how) in {"page": (39, 40)}.get(how, (0,))
            return work(session) - before

        least = {how: min(cost(how) for _ in range(3)) for how in ("nothing", "bare", "page")}
        assert least["page"] < least["bare"], least
        assert least["nothing"] < least["page"] / 2, least
        assert 10 < page.evaluate(MOVED) <= 100


NODES = "() => document.querySelectorAll(':not(#side *)').length"


def test_eight_hours_open_do_not_make_it_grow(browser: Browser, app: App) -> None:
    """After an hour of ticks and after many more hours, the heap and the document are the same, but
    for board and posts, which have as many rows as there are."""
    with opened(browser, f"{app.url}/?tags=tag1,tag2") as page:
        page.wait_for_function("() => hashtagPulse.visitor?.side")
        session = page.context.new_cdp_session(page)
        page.evaluate("""() => {
            window.hours = 0;
            hashtagPulse.link.listener.counts = () => {}; // the live ones would be out of order
            window.drive = ticks => {
                const {state, clock} = hashtagPulse;
                let {at} = state.live, {tag1} = state.tick.counts;
                for (let i = 0; i < ticks; i++) {
                    at += 500; clock.learn(at); tag1 += i % 3;
                    hashtagPulse.counts({at, counts: {tag1, tag2: tag1}, sources: {demo: 'live'}, details: {}});
                    if (i % 50 === 0) hashtagPulse.beat();
                    if (i % 100 === 0) { hashtagPulse.chart.smoothie.lastChartTimestamp = 0; hashtagPulse.chart.smoothie.render() }
                    if (i % 1000 === 0) hashtagPulse.visitor.pause(true), hashtagPulse.visitor.pause(false);
                }
            };
            drive(7200);
        }""")
        before, nodes = heap(session), page.evaluate(NODES)
        page.evaluate("() => drive(28800)")
        after = heap(session)
        assert page.evaluate(NODES) == nodes
        points = page.evaluate("() => hashtagPulse.state.live.points('tag1').length")
    assert points < 18 * 120 + 200
    assert after < before * 1.1 + 200_000, (before, after)


def heap(session: CDPSession) -> int:
    """Bytes in use after everything unused is thrown away."""
    for _ in range(3):
        session.send("HeapProfiler.collectGarbage")
    return int(session.send("Runtime.getHeapUsage")["usedSize"])
