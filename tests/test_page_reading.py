"""Reading the page: lines, table, views, values; with a past, in a real Chromium."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browser import DESKTOP, PHONE, opened, rows
from playwright.sync_api import Browser, Page
from posts import post
from servers import App, RedisServer, free_port, wait_until
from yesterday import app_with_past, remember

DOWN = range(180, 201)
TURNED = """last => {
    hashtagPulse.list = () => {};
    const {sorting} = hashtagPulse.visitor;
    const readings = hashtagPulse.tags.map(tag => ({tag, total: 1, rate: tag === last ? 1e6 : 1, posts: 1, before: 1}));
    hashtagPulse.table.update(readings);
    sorting.sorted = -1e6;
    sorting.sort(readings);
}"""
LINES = """tag => hashtagPulse.chart.lines.get(tag).map(({data}) => data)"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with app_with_past(
        tmp_path_factory.mktemp("app"), ["science", "football", "블랙핑크"]
    ) as started:
        yield started


@pytest.fixture
def page(browser: Browser, app: App) -> Iterator[Page]:
    with opened(browser, app.url) as shown:
        yield shown


def test_the_table_says_what_the_line_says(page: Page) -> None:
    """Posts in the shown time, and against the time before, are the totals' own differences."""
    page.get_by_role("button", name="1 m: 1 minute").click()
    heads = page.locator("thead th").all_inner_texts()
    assert {"per minute", "in 1 m", "vs the 1 m before"} <= set(heads)

    def agrees() -> bool:
        told = page.evaluate("""() => {
            const {live} = hashtagPulse.state, {at} = live;
            const total = then => live.points('science').findLast(([at]) => at <= then)[1];
            return [total(at) - total(at - 60e3), total(at - 60e3) - total(at - 120e3)];
        }""")
        shown = rows(page)["#science"]
        return (
            shown["rate"] == shown["posts"] == str(told[0])
            and int(shown["change"].replace("−", "-")) == told[0] - told[1]
        )

    wait_until(agrees, "the table agrees with the totals")
    page.get_by_role("button", name="5 m: 5 minutes", exact=True).click()
    assert page.locator("thead .posts").inner_text() == "in 5 m"
    assert rows(page)["#science"]["change"] == "–", "there are not ten minutes"


def test_the_busiest_is_first_but_nothing_moves_under_the_pointer(page: Page) -> None:
    """Sorted by rate; while a pointer is on the table the order stays."""
    order = "() => hashtagPulse.table.order"
    rates = [int(row["rate"].replace(",", "")) for row in rows(page).values()]
    assert rates == sorted(rates, reverse=True) or max(rates) < 1.1 * rates[0] + 1
    before = page.evaluate(order)
    page.locator("#rows tr").first.hover()
    page.evaluate(TURNED, before[-1])
    assert page.evaluate(order) == before
    page.mouse.move(1, 1)
    page.evaluate("() => document.querySelector('#plot').focus()")
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.closest('#rows') !== null")
    page.evaluate(TURNED, before[-1])
    assert page.evaluate(order) == before, "nor under the keyboard's focus"
    page.keyboard.press("Shift+Tab")
    page.evaluate(TURNED, before[-1])
    assert page.evaluate(order)[0] == before[-1]


def test_the_focus_that_a_click_leaves_does_not_hold_the_order(page: Page) -> None:
    """Once the pointer is gone the rows move again, and the focus moves with its row."""
    page.locator("#rows button").first.click()
    clicked = page.evaluate("() => document.activeElement.textContent")
    page.mouse.move(1, 1)
    last = page.evaluate("() => hashtagPulse.table.order.at(-1)")
    page.evaluate(TURNED, last)
    assert page.evaluate("() => hashtagPulse.table.order[0]") == last
    assert page.evaluate("() => document.activeElement.textContent") == clicked


def test_nothing_shifts_as_numbers_grow(page: Page) -> None:
    """Columns keep their places when numbers get more digits."""
    places = "() => [...document.querySelectorAll('th, td, #lines')].map(cell => { const r = cell.getBoundingClientRect(); return [r.x, r.width] })"
    page.evaluate("() => { hashtagPulse.list = () => {} }")
    before = page.evaluate(places)
    page.evaluate(
        """() => hashtagPulse.table.update(hashtagPulse.tags.map(tag => ({tag, total: 123456789, rate: 98765, posts: 1, before: 1})))"""
    )
    assert rows(page)["#science"]["total"] == "123,456,789"
    assert page.evaluate(places) == before


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_nothing_moves_while_it_loads_and_is_used(
    browser: Browser, app: App, size: dict[str, int]
) -> None:
    """As the browser itself counts layout shifts: from the first byte on, and at every button.

    The canvas of the lines takes its place when it is still empty: that moves nothing to see.
    """
    shifts = """() => moved.filter(([much, ...what]) => much > 0.001 && what.join() !== 'lines')"""
    with opened(browser, app.url, viewport=size) as page:
        page.evaluate("""() => {
            window.moved = [];
            new PerformanceObserver(list => moved.push(...list.getEntries().map(one =>
                [one.value, ...one.sources.map(({node}) => node?.id || node?.nodeName)])))
                .observe({type: 'layout-shift', buffered: true});
            navigator.share = undefined;
        }""")
        page.wait_for_function("() => hashtagPulse.state.gaps.told && sources.children.length")
        for control in (
            "#pause",
            "#share",
            "#views [value=total]",
            "#ranges [value='1h']",
            "#pause",
        ):
            page.evaluate("control => document.querySelector(control).click()", control)
        page.wait_for_function(
            "() => told.textContent && hashtagPulse.series !== hashtagPulse.state.live"
        )
        at = page.evaluate("() => hashtagPulse.state.tick.at")
        page.wait_for_function("at => hashtagPulse.state.tick.at > at + 1500", arg=at)
        assert page.evaluate(shifts) == []
        page.evaluate("() => { document.querySelector('header').style.marginTop = '50px' }")
        page.wait_for_function(f"() => ({shifts})().length")


@pytest.mark.parametrize(
    ("locale", "written"),
    [
        ("de-DE", "1.234.567"),
        ("en-GB", "1,234,567"),
        ("en-IN", "12,34,567"),
        ("fr-FR", "1,234,567"),
    ],
)
def test_numbers_are_written_as_their_reader_writes_them(
    browser: Browser, app: App, locale: str, written: str
) -> None:
    """The separators are the locale's; a page does not mix two languages, so they are English where
    it does not speak the reader's."""
    with opened(browser, app.url, locale=locale) as page:
        page.evaluate("""() => { hashtagPulse.list = () => {};
            hashtagPulse.table.update([{tag: 'science', total: 1234567, rate: 1, posts: 1, before: 1}]) }""")
        assert rows(page)["#science"]["total"] == written


def test_a_click_on_a_name_shows_its_line_alone(page: Page) -> None:
    """Another click on it shows all; with Ctrl it shows or hides this one. The buttons say so, the
    chart obeys, and the address keeps it."""
    button = page.locator("#rows").get_by_role("button", name="#football")
    seen = "() => hashtagPulse.tags.filter(tag => hashtagPulse.chart.lines.get(tag).every(line => !line.disabled))"
    button.click()
    assert page.evaluate(seen) == ["football"]
    assert button.get_attribute("aria-pressed") == "true"
    assert page.locator("#rows [aria-pressed=false]").count() == 2
    page.locator("#rows").get_by_role("button", name="#science").click()
    assert page.evaluate(seen) == ["science"]
    button.click(modifiers=["Control"])
    assert page.evaluate(seen) == ["science", "football"]
    assert "hide=%EB%B8%94%EB%9E%99%ED%95%91%ED%81%AC" in page.url
    page.reload()
    page.wait_for_function(
        "() => hashtagPulse?.visitor && hashtagPulse.chart.lines.get('football')?.length"
    )
    assert page.evaluate(seen) == ["science", "football"]
    button.click()
    button.click()
    assert page.evaluate(seen) == ["science", "football", "블랙핑크"]
    assert "hide" not in page.url


def test_three_views(page: Page) -> None:
    """The running total draws the totals themselves; people are those of today, from when the page
    was opened, as the server has no more."""
    page.get_by_role("button", name="total").click()
    data, is_whole = page.evaluate(f"""() => {{
        const data = ({LINES})('science').at(-1);
        return [data, data.every(([at, total]) => hashtagPulse.state.live.total('science', at) === total)];
    }}""")
    assert is_whole
    assert data[-1][1] >= data[0][1] > 0
    assert "view=total" in page.url
    page.get_by_role("button", name="people").click()
    assert "view=people" in page.url
    page.wait_for_function("() => hashtagPulse.chart.lines.get('science').at(-1)?.data.length > 1")
    known = "tag => hashtagPulse.chart.lines.get(tag).at(-1).data.at(-1)[1] === hashtagPulse.state.tick.people[tag]"
    page.wait_for_function(known, arg="science")
    began = page.evaluate("() => hashtagPulse.gaps.at(-1)")
    assert began["kind"] == "start"
    assert began["to"] == page.evaluate("() => hashtagPulse.state.people.points('science')[0][0]")


def test_pointing_at_the_chart_shows_the_values_at_that_moment(page: Page) -> None:
    """Each visible hashtag with the value of its line there, highest first."""
    page.get_by_role("button", name="pause").click()  # else it goes on between two looks
    box = page.locator("#lines").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 50)
    told = page.locator("#values li").all_inner_texts()
    assert {text.split("\n")[0] for text in told} == {"#science", "#football", "#블랙핑크"}
    drawn = page.evaluate(
        "() => hashtagPulse.chart.valueAt('science', hashtagPulse.visitor.crosshair.at)"
    )
    assert f"#science\n{drawn:.0f}" in told
    page.mouse.move(5, 5)
    assert page.locator("#values").is_hidden()


def test_a_tap_reads_the_chart_too(browser: Browser, app: App) -> None:
    """On a phone: a tap shows the values, a tap elsewhere puts them away."""
    with opened(browser, app.url, viewport=PHONE, has_touch=True, is_mobile=True) as page:
        page.locator("#plot").tap(position={"x": 150, "y": 100})
        assert page.locator("#values").is_visible()
        page.locator("h1").tap()
        assert page.locator("#values").is_hidden()


def test_a_hashtag_is_written_as_most_people_write_it(
    browser: Browser, redis_server: RedisServer, start_app: Callable[..., App], tmp_path: Path
) -> None:
    """#Science, once most posts have it so, those that were counted before among them: in the table,
    by the line, under the pointer, as CSV."""
    settings = {"REDIS_URL": redis_server.url, "HASHTAGS": "science"}
    remember(redis_server.url, ["science"], 100)
    written = [post(n).replace('"science"', '"Science"') for n in range(500)]
    (tmp_path / "posts.jsonl").write_text("".join(written))
    web = start_app("web", port=free_port(), **settings).started()
    with opened(browser, web.url) as page:
        assert list(rows(page)) == ["#science"]
        replay = {"SOURCES": "replay", "REPLAY_FILE": tmp_path / "posts.jsonl", "REPLAY_SPEED": 0}
        start_app("ingest", **settings, **replay)
        page.wait_for_function(
            "() => document.querySelector('#rows bdi').textContent === '#Science'"
        )
        assert (
            page.locator("#rows")
            .get_by_role("button", name="#Science")
            .get_attribute("title")
            .startswith("Only the line of #Science,")
        )
        page.evaluate("""() => {
            const {context} = hashtagPulse.axes, fill = context.fillText.bind(context);
            context.fillText = (words, ...place) => { window.byTheLine ||= words.includes('#Science'); fill(words, ...place) };
        }""")
        page.wait_for_function("() => window.byTheLine")
        page.locator("#plot").hover(position={"x": 300, "y": 150})
        assert page.locator("#values bdi").all_text_contents() == ["#Science"]
        with page.expect_download() as got:
            page.locator("#csv").click()
        assert got.value.path().read_text("utf-8-sig").splitlines()[0] == "time (UTC),#Science"
        page.wait_for_function("() => document.title === '#Science · hashtag pulse'")
        page.evaluate("""() => {
            const {tick} = hashtagPulse.state;
            hashtagPulse.link.listener.counts = () => {};  // no repeat comes in between
            hashtagPulse.counts({...tick, at: tick.at + 1, names: {science: 'SCIENCE'}});
        }""")
        assert list(rows(page)) == ["#SCIENCE"]


def test_colours_are_the_same_after_a_reload_and_for_a_part(browser: Browser, app: App) -> None:
    """A hashtag's colour does not depend on which others are shown."""
    pen = "() => hashtagPulse.pen('football').colour"
    with opened(browser, app.url) as page:
        before = page.evaluate(pen)
        page.reload()
        page.wait_for_function("() => window.hashtagPulse")
        assert page.evaluate(pen) == before
    with opened(browser, f"{app.url}/?tags=football") as page:
        assert page.evaluate(pen) == before
        assert list(rows(page)) == ["#football"]
