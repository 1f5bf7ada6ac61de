"""Reading the page: lines, table, views, ranges, gaps; with a past, in a real Chromium."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from browser import PHONE, launched, opened, rows
from playwright.sync_api import Browser, Page
from servers import App, RedisServer, free_port, wait_until
from yesterday import remember, remember_days

from app.embedded import find_server

DOWN = range(180, 201)
LINES = """tag => hashtagPulse.chart.series.get(tag).map(({data}) => data)"""


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with launched(chromium) as running:
        yield running


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """Six minutes of demo posts, with the ingester down for 21 s in the middle."""
    folder = tmp_path_factory.mktemp("reading")
    tags = ("science", "football", "블랙핑크")
    with ExitStack() as ending:
        redis = ending.enter_context(RedisServer(find_server(), folder / "redis"))
        remember(redis.url, tags, 375, DOWN)
        remember_days(redis.url, "football", 7, 40)
        settings = {"REDIS_URL": redis.url, "HASHTAGS": ",".join(tags)}
        yield ending.enter_context(App(folder, **settings)).started()


@pytest.fixture
def page(browser: Browser, app: App) -> Iterator[Page]:
    with opened(browser, app.url) as shown:
        yield shown


def test_the_past_is_there_at_once_and_a_gap_is_no_zero(page: Page) -> None:
    """The line breaks where the ingester was down, and nowhere is it drawn as zero."""
    before, after = page.evaluate(LINES, "science")[-2:]
    assert after[0][0] - before[-1][0] > 20_000
    assert page.evaluate("() => hashtagPulse.known.shownGaps(hashtagPulse.past)").__len__() >= 1
    assert min(value for _, value in before + after) > 0
    page.wait_for_function("""() => hashtagPulse.known.shownGaps(hashtagPulse.past)
        .some(gap => gap.reason === 'ingester was down' && gap.to - gap.from > 19e3 && gap.to - gap.from < 24e3)""")


def test_the_gap_is_shaded(page: Page) -> None:
    """The paper behind the lines has the colour of a gap where nothing is known."""
    page.wait_for_function("""() => {
        const {paper, chart, known, past} = hashtagPulse;
        const gap = known.shownGaps(past).find(({reason}) => reason === 'ingester was down');
        const {left, top, width, height} = paper.box;
        const x = left + width * (1 - (chart.edge - (gap.from + gap.to) / 2) / chart.shown.range);
        const dot = paper.context.getImageData(x * devicePixelRatio, (top + height * 0.47) * devicePixelRatio, 1, 1).data;
        const wanted = getComputedStyle(document.body).getPropertyValue('--gap').match(/\\w\\w/g).map(c => parseInt(c, 16));
        return wanted.every((c, i) => Math.abs(c - dot[i]) < 3);
    }""")


def test_the_table_says_what_the_line_says(page: Page) -> None:
    """Posts per minute now, and against a minute ago, are the totals' own differences."""

    def agrees() -> bool:
        told = page.evaluate("""() => {
            const {series, at} = hashtagPulse.known.live;
            const total = then => series.get('science').findLast(([at]) => at <= then)[1];
            return [total(at) - total(at - 60e3), total(at - 60e3) - total(at - 120e3)];
        }""")
        shown = rows(page)["#science"]
        return (
            shown["rate"] == str(told[0])
            and int(shown["change"].replace("−", "-")) == told[0] - told[1]
        )

    wait_until(agrees, "the table agrees with the totals")


def test_the_busiest_is_first_but_nothing_moves_under_the_pointer(page: Page) -> None:
    """Sorted by rate; while a pointer is on the table the order stays."""
    order = "() => hashtagPulse.table.order"
    rates = [int(row["rate"].replace(",", "")) for row in rows(page).values()]
    assert rates == sorted(rates, reverse=True) or max(rates) < 1.1 * rates[0] + 1
    before = page.evaluate(order)
    page.locator("#rows tr").first.hover()
    turned = """last => {
        hashtagPulse.list = () => {};
        hashtagPulse.table.sorted = 1;
        hashtagPulse.table.update(hashtagPulse.tags.map(tag => ({tag, total: 1, rate: tag === last ? 1e6 : 1, before: 1})));
    }"""
    page.evaluate(turned, before[-1])
    assert page.evaluate(order) == before
    page.mouse.move(1, 1)
    page.evaluate(turned, before[-1])
    assert page.evaluate(order)[0] == before[-1]


def test_nothing_shifts_as_numbers_grow(page: Page) -> None:
    """Columns keep their places when numbers get more digits."""
    places = "() => [...document.querySelectorAll('th, td, #lines')].map(cell => { const r = cell.getBoundingClientRect(); return [r.x, r.width] })"
    page.evaluate("() => { hashtagPulse.list = () => {} }")
    before = page.evaluate(places)
    page.evaluate(
        """() => hashtagPulse.table.update(hashtagPulse.tags.map(tag => ({tag, total: 123456789, rate: 98765, before: 1})))"""
    )
    assert rows(page)["#science"]["total"] == "123,456,789"
    assert page.evaluate(places) == before


@pytest.mark.parametrize(
    ("locale", "written"),
    [("de-DE", "1.234.567"), ("en-GB", "1,234,567"), ("fr-FR", "1\u202f234\u202f567")],
)
def test_numbers_are_written_as_their_reader_writes_them(
    browser: Browser, app: App, locale: str, written: str
) -> None:
    """The separator of thousands is the locale's."""
    with opened(browser, app.url, locale=locale) as page:
        page.evaluate("""() => { hashtagPulse.list = () => {};
            hashtagPulse.table.update([{tag: 'science', total: 1234567, rate: 1, before: 1}]) }""")
        assert rows(page)["#science"]["total"] == written


def test_a_click_on_a_name_hides_and_shows_its_line(page: Page) -> None:
    """The button says so, the chart obeys, and the address keeps it."""
    button = page.get_by_role("button", name="#football")
    disabled = "() => hashtagPulse.chart.series.get('football').every(series => series.disabled)"
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert page.evaluate(disabled)
    assert "hide=football" in page.url
    page.reload()
    page.wait_for_function("() => hashtagPulse.chart.series.get('football')?.length")
    assert page.evaluate(disabled)
    page.get_by_role("button", name="#football").click()
    assert not page.evaluate(disabled)


def test_two_views(page: Page) -> None:
    """The running total draws the totals themselves."""
    page.get_by_role("button", name="total").click()
    data = page.evaluate(LINES, "science")[-1]
    known = page.evaluate(
        "() => hashtagPulse.known.live.series.get('science').map(([at, total]) => [at, total])"
    )
    assert data[0] in known
    assert data[-1][1] >= data[0][1] > 0
    assert "view=total" in page.url


def test_live_ranges_scroll_and_longer_ones_ask_for_more_history(page: Page) -> None:
    """One minute to fifteen come from the stream; each button shows as much time as it says."""
    for name, seconds in [("1 minute", 60), ("15 minutes", 900), ("5 minutes", 300)]:
        page.get_by_role("button", name=name, exact=True).click()
        assert page.evaluate("() => hashtagPulse.chart.shown.range") == seconds * 1000
        assert (
            page.get_by_role("button", name=name, exact=True).get_attribute("aria-pressed")
            == "true"
        )
    assert page.evaluate("() => hashtagPulse.seconds") == 900


@pytest.mark.parametrize(("name", "least"), [("1 hour", 50), ("24 hours", 400), ("7 days", 400)])
def test_longer_ranges_come_from_the_servers_memory(page: Page, name: str, least: int) -> None:
    """Days of 40 posts a minute are a level line at 40, and the stream keeps it up to date."""
    page.get_by_role("button", name=name, exact=True).click()
    page.wait_for_function("() => hashtagPulse.past !== hashtagPulse.known.live")
    line = page.evaluate(LINES, "football")[0]
    assert len(line) >= least
    assert {round(value) for _, value in line[1:-8]} == {40}
    at = page.evaluate("() => hashtagPulse.past.at")
    page.wait_for_function("at => hashtagPulse.past.at > at", arg=at)
    ends = "() => hashtagPulse.chart.series.get('football').at(-1).data.length"
    before = page.evaluate(ends)
    page.wait_for_function("at => hashtagPulse.past.at > at + 3000", arg=at)
    assert page.evaluate(ends) <= before + 2 + 8, "a tick moves the newest point and adds none"


def test_pointing_at_the_chart_shows_the_values_at_that_moment(page: Page) -> None:
    """Each visible hashtag with the value of its line there, highest first."""
    box = page.locator("#lines").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 50)
    told = page.locator("#values li").all_inner_texts()
    assert {text.split("\n")[0] for text in told} == {"#science", "#football", "#블랙핑크"}
    drawn = page.evaluate("() => hashtagPulse.chart.valueAt('science', hashtagPulse.reader.at)")
    assert f"#science\n{drawn:.0f}" in told
    page.mouse.move(5, 5)
    assert page.locator("#values").is_hidden()


def test_a_tap_reads_the_chart_too(browser: Browser, app: App) -> None:
    """On a phone: a tap shows the values, a tap elsewhere puts them away."""
    with opened(browser, app.url, viewport=PHONE, has_touch=True, is_mobile=True) as page:
        page.locator("#plot").tap(position={"x": 150, "y": 100})
        assert page.locator("#values").is_visible()
        assert page.evaluate("() => hashtagPulse.chart.frozen !== null")
        page.locator("h1").tap()
        assert page.locator("#values").is_hidden()
        assert page.evaluate("() => hashtagPulse.chart.frozen === null")


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


def test_a_source_at_its_budget_breaks_the_line_and_says_so(page: Page) -> None:
    """With no source alive totals stand still: that is drawn as a gap, never as zero."""
    page.wait_for_function("() => hashtagPulse.known.gaps.told.length")
    page.evaluate("""() => {
        const page = hashtagPulse, {known} = page;
        page.link.listener.counts = page.link.listener.history = () => {};
        let {at} = known.live, {counts} = known.tick;
        const x = (state, reason = '') => ({sources: {x: state}, details: {x: {since: at, reason}}});
        known.clock.offset += 60e3;
        for (let i = 0; i < 40; i++) page.counts({at: at += 500, counts, ...x('budget', 'budget reached until 00:00 UTC')});
        for (let i = 0; i < 40; i++) {
            counts = {...counts, science: counts.science + 1};
            page.counts({at: at += 500, counts, ...x('live')});
        }
    }""")
    reasons = page.evaluate(
        "() => hashtagPulse.known.shownGaps(hashtagPulse.past).map(gap => gap.reason)"
    )
    assert "x: budget reached until 00:00 UTC" in reasons
    before, after = page.evaluate(LINES, "science")[-2:]
    assert after[0][0] - before[-1][0] >= 20_000
    assert min(value for _, value in after) > 0
    page.wait_for_function("() => sources.textContent === 'x live'")


def test_a_memory_that_cannot_be_had_is_said_in_a_sentence(page: Page) -> None:
    """The server's own reason is shown, and is gone when another range is chosen."""
    answer = {"status": 503, "json": {"error": "Redis: connection refused."}}
    page.route("**/api/history*", lambda route: route.fulfill(**answer))
    page.get_by_role("button", name="24 hours", exact=True).click()
    page.wait_for_function("() => notice.textContent.endsWith('Redis: connection refused.')")
    page.unroute("**/api/history*")
    page.get_by_role("button", name="5 minutes", exact=True).click()
    page.wait_for_function("() => notice.hidden")


def test_an_ingester_that_stops_is_seen_and_named(
    browser: Browser, redis_server: RedisServer, start_app: Callable[..., App]
) -> None:
    """Amber, then red with the server's own reason; a gap in the line; and all well again."""
    settings = {"REDIS_URL": redis_server.url, "HASHTAGS": "science"}
    remember(redis_server.url, ["science"], 100)
    web = start_app("web", port=free_port(), **settings).started()
    ingester = start_app("ingest", **settings)
    with opened(browser, web.url) as page:
        page.wait_for_function("() => badge.dataset.level === 'live'")
        ingester.end()
        page.wait_for_function("() => badge.dataset.level === 'late'")
        page.wait_for_function("() => badge.dataset.level === 'stale'")
        page.wait_for_function("() => badge.textContent.includes('is an ingester running?')")
        ended = page.evaluate("() => hashtagPulse.known.live.at")
        assert page.evaluate("() => hashtagPulse.known.missing().reason") == "ingester was down"
        start_app("ingest", **settings)
        page.wait_for_function("() => badge.dataset.level === 'live'")
        holes = page.evaluate("() => hashtagPulse.known.live.holes()")
        assert [hole["from"] for hole in holes] == [ended]
