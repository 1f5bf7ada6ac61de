"""Ranges and gaps: what the page shows of the past; in a real Chromium."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from browser import opened, rows
from playwright.sync_api import Browser, Page
from redis import Redis
from servers import App, RedisServer, free_port
from yesterday import remember, remember_days

from app.store import keys
from app.store.embedded import find_server

DOWN = range(180, 201)
LINES = """tag => hashtagPulse.chart.lines.get(tag).map(({data}) => data)"""


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
    assert page.evaluate("() => hashtagPulse.state.shownGaps('5m')").__len__() >= 1
    assert min(value for _, value in before + after) > 0
    page.wait_for_function("""() => hashtagPulse.state.shownGaps('5m')
        .some(gap => gap.reason === 'ingester was down' && gap.to - gap.from > 19e3 && gap.to - gap.from < 24e3)""")


def test_the_gap_is_shaded(page: Page) -> None:
    """The canvas behind the lines has the colour of a gap where nothing is known."""
    page.wait_for_function("""() => {
        const {axes, chart, state} = hashtagPulse;
        const gap = state.shownGaps('5m').find(({reason}) => reason === 'ingester was down');
        const {left, top, width, height} = axes.box;
        const x = left + width * (1 - (chart.edge - (gap.from + gap.to) / 2) / chart.shown.range);
        const dot = axes.context.getImageData(x * devicePixelRatio, (top + height * 0.47) * devicePixelRatio, 1, 1).data;
        const wanted = getComputedStyle(document.body).getPropertyValue('--gap').match(/\\w\\w/g).map(c => parseInt(c, 16));
        return wanted.every((c, i) => Math.abs(c - dot[i]) < 3);
    }""")


WRITTEN = """async () => {
    const {context} = hashtagPulse.axes, fill = context.fillText.bind(context), written = {};
    context.fillText = (words, x, y, room) => { written[words] = [x, y]; fill(words, x, y, room) };
    hashtagPulse.axes.paint();
    context.fillText = fill;
    return written;
}"""


def test_reasons_near_each_other_do_not_cover_each_other(page: Page) -> None:
    """Each is in a row of its own, with how long it lasted; what is far away is in the first."""
    page.wait_for_function("() => hashtagPulse.state.gaps.told.length")
    page.evaluate("""() => {
        const {state, clock} = hashtagPulse, now = clock.now();
        state.gaps.told = [[100, 80, 'one'], [78, 60, 'two'], [270, 250, 'three']].map(([from, to, reason]) =>
            ({from: now - from * 1000, to: now - to * 1000, reason: `a long reason, number ${reason}`}));
    }""")
    written = page.evaluate(WRITTEN)
    one, two, three = (
        written[f"a long reason, number {n}"]
        for n in ("one · 00:20", "two · 00:18", "three · 00:20")
    )
    assert two[1] > one[1] == three[1]


def test_before_the_first_start_nothing_looks_broken(
    browser: Browser, start_app: Callable[..., App]
) -> None:
    """A fresh start is no gap: nothing is shaded, and words say since when there is counting."""
    app = start_app(HASHTAGS="science", TICK_SECONDS=0.1).started()
    with opened(browser, f"{app.url}/?range=15m") as page:
        page.wait_for_function(
            "() => hashtagPulse.state.gaps.told.some(gap => gap.kind === 'start')"
        )
        written = page.evaluate(WRITTEN)
        [began] = [words for words in written if words.startswith("counting began · ")]
        assert "the lines follow soon" in written
        assert not [words for words in written if "not counted" in words]
        shade = """([x, y]) => {
            const {context, look} = hashtagPulse.axes;
            return [...context.getImageData((x - 100) * devicePixelRatio, (y - 13) * devicePixelRatio, 1, 1).data];
        }"""
        assert page.evaluate(shade, written[began]) == [0, 0, 0, 0]
        page.wait_for_function("() => !hashtagPulse.axes.empty")
        assert "the lines follow soon" not in page.evaluate(WRITTEN)
        begin = page.evaluate("() => hashtagPulse.state.live.stretches.get('science')[0].begin")
        [[[first, _], *_], *_] = page.evaluate(LINES, "science")
        assert first - begin >= 10_000, "a rate is drawn from where it is known"
        page.evaluate("""() => {
            hashtagPulse.link.listener.counts = hashtagPulse.link.listener.history = () => {};
            hashtagPulse.clock.offset += 30e3;
            hashtagPulse.beat();
        }""")
        assert "the lines follow soon" not in page.evaluate(WRITTEN), (
            "they are there, if not up to now"
        )


def test_where_all_lines_are_hidden_the_chart_says_so(page: Page) -> None:
    """And where they can be had again."""
    assert "All lines are hidden: choose one in the table." not in page.evaluate(WRITTEN)
    for button in page.locator("#rows button").all():
        button.click(modifiers=["Control"])
    assert "All lines are hidden: choose one in the table." in page.evaluate(WRITTEN)


def test_live_ranges_scroll_and_longer_ones_ask_for_more_history(page: Page) -> None:
    """One minute to fifteen come from the stream; each button shows as much time as it says."""
    for name, seconds in [
        ("1 m: 1 minute", 60),
        ("15 m: 15 minutes", 900),
        ("5 m: 5 minutes", 300),
    ]:
        page.get_by_role("button", name=name, exact=True).click()
        assert page.evaluate("() => hashtagPulse.chart.shown.range") == seconds * 1000
        assert (
            page.get_by_role("button", name=name, exact=True).get_attribute("aria-pressed")
            == "true"
        )
    assert page.evaluate("() => hashtagPulse.seconds") == 900


@pytest.mark.parametrize(
    ("name", "least"),
    [("1 h: 1 hour", 50), ("24 h: 24 hours", 400), ("7 d: 7 days", 400), ("30 d: 30 days", 60)],
)
def test_longer_ranges_come_from_the_servers_memory(page: Page, name: str, least: int) -> None:
    """Days of 40 posts a minute are a level line at 40, and the stream keeps it up to date."""
    page.get_by_role("button", name=name, exact=True).click()
    page.wait_for_function("() => hashtagPulse.series !== hashtagPulse.state.live")
    line = page.evaluate(LINES, "football")[0]
    assert len(line) >= least
    assert {round(value) for _, value in line[1:-8]} == {40}
    at = page.evaluate("() => hashtagPulse.series.at")
    page.wait_for_function("at => hashtagPulse.series.at > at", arg=at)
    ends = "() => hashtagPulse.chart.lines.get('football').at(-1).data.length"
    before = page.evaluate(ends)
    page.wait_for_function("at => hashtagPulse.series.at > at + 3000", arg=at)
    assert page.evaluate(ends) <= before + 2 + 8, "a tick moves the newest point and adds none"


FOOTBALL = (
    "[...document.querySelectorAll('#rows tr')].find(row => row.textContent.includes('#football'))"
)
"""Its row, wherever that is: they go by what was posted in the shown time."""


def test_the_table_follows_the_range(page: Page) -> None:
    """Days of 40 posts a minute: posts in the shown time, against the time before, and the rate at
    which the line ends."""
    page.wait_for_function(  # the ticks of the past that is made up do not know of the days
        "() => hashtagPulse.state.live.total('football', hashtagPulse.state.live.at) > 7 * 1440 * 40"
    )
    for name, minutes, has_before in [
        ("1 h: 1 hour", 60, True),
        ("24 h: 24 hours", 1440, True),
        ("7 d: 7 days", 7 * 1440, False),
    ]:
        page.get_by_role("button", name=name).click()
        page.wait_for_function(
            "range => hashtagPulse.state.earlier?.range === range && hashtagPulse.state.long?.range === range",
            arg=page.evaluate("() => hashtagPulse.choice.range"),
        )
        page.wait_for_function(
            f"has => ({FOOTBALL}.querySelector('.change').textContent !== '–') === has",
            arg=has_before,
        )
        row = {column: value.replace(",", "") for column, value in rows(page)["#football"].items()}
        assert abs(int(row["posts"]) - 40 * minutes) < 0.1 * 40 * minutes + 500
        if has_before:
            assert abs(int(row["change"].replace("−", "-"))) < 0.1 * 40 * minutes + 500
        page.wait_for_function(
            f"() => Math.abs({FOOTBALL}.querySelector('.rate').textContent - hashtagPulse.chart.endOf('football')) <= 2"
        )


def test_a_source_at_its_budget_breaks_the_line_and_says_so(page: Page) -> None:
    """With no source alive totals stand still: that is drawn as a gap, never as zero."""
    page.wait_for_function("() => hashtagPulse.state.gaps.told.length")
    page.evaluate("""() => {
        const page = hashtagPulse, {state} = page;
        page.link.listener.counts = page.link.listener.history = () => {};
        let {at} = state.live, {counts} = state.tick;
        const x = (state, reason = '') => ({sources: {x: state}, details: {x: {since: at, reason}}});
        state.clock.offset += 60e3;
        for (let i = 0; i < 40; i++) page.counts({at: at += 500, counts, ...x('budget', 'budget reached until 00:00 UTC')});
        for (let i = 0; i < 40; i++) {
            counts = {...counts, science: counts.science + 1};
            page.counts({at: at += 500, counts, ...x('live')});
        }
    }""")
    reasons = page.evaluate("() => hashtagPulse.state.shownGaps('5m').map(gap => gap.reason)")
    assert "X: budget reached until 00:00 UTC" in reasons
    before, after = page.evaluate(LINES, "science")[-2:]
    assert after[0][0] - before[-1][0] >= 20_000
    assert min(value for _, value in after) > 0
    page.wait_for_function("() => sources.textContent === 'X live'")


def test_a_memory_that_cannot_be_had_is_said_in_a_sentence(page: Page) -> None:
    """The server's own reason is shown, and is gone when another range is chosen."""
    answer = {"status": 503, "json": {"error": "Redis: connection refused."}}
    page.route("**/api/history*", lambda route: route.fulfill(**answer))
    page.get_by_role("button", name="24 h: 24 hours").click()
    page.wait_for_function("() => notice.textContent.endsWith('Redis: connection refused.')")
    page.unroute("**/api/history*")
    page.get_by_role("button", name="5 m: 5 minutes", exact=True).click()
    page.wait_for_function("() => notice.hidden")


def test_an_ingester_that_stops_is_seen_and_named(
    browser: Browser, redis_server: RedisServer, start_app: Callable[..., App]
) -> None:
    """Amber, then red with the server's own reason; a gap in the line, where the network does not
    bring again what was missed; and all well again."""
    settings = {"REDIS_URL": redis_server.url, "HASHTAGS": "science"}
    remember(redis_server.url, ["science"], 100)
    web = start_app("web", port=free_port(), **settings).started()
    ingester = start_app("ingest", **settings)
    with opened(browser, web.url) as page:
        page.wait_for_function("() => badge.dataset.level === 'live'")
        first = page.evaluate("() => hashtagPulse.state.live.at")
        page.wait_for_function(f"() => hashtagPulse.state.live.at > {first} + 1000")
        ingester.end()
        with Redis.from_url(redis_server.url) as redis:  # the demo would go back to it
            assert redis.hdel(keys.STATE, "cursor:demo") == 1
        page.wait_for_function("() => badge.dataset.level === 'late'")
        page.wait_for_function("() => badge.dataset.level === 'stale'")
        page.wait_for_function("() => badge.textContent.includes('is an ingester running?')")
        ended = page.evaluate("() => hashtagPulse.state.live.at")
        assert page.evaluate("() => hashtagPulse.state.missing().reason") == "ingester was down"
        start_app("ingest", **settings)
        page.wait_for_function("() => badge.dataset.level === 'live'")
        holes = page.evaluate("() => hashtagPulse.state.live.holes()")
        assert [hole["from"] for hole in holes] == [ended]
