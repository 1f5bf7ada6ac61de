"""Asking for hashtags: the field, its chips and its offers; in a real Chromium."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import msgspec
import pytest
from browser import PHONE, READY, opened, rows
from conftest import missing
from playwright.sync_api import Browser, Page
from servers import ROOT, App, RedisServer, free_port, wait_until
from ticking import Ticking
from yesterday import remember

from app.messages import SourceState, Tick
from app.store import keys
from app.store.embedded import find_server
from app.store.store import Store, connect

POPULAR = [("eclipse", "Eclipse", 1204), ("eclipse2026", "eclipse2026", 311), ("echo", "echo", 7)]
SHOWN = "() => [...document.querySelectorAll('#chips bdi')].map(one => one.textContent)"
OFFERED = "() => [...document.querySelectorAll('#offers bdi')].map(one => one.textContent)"


class Site:
    """A web process for which two hashtags are tracked, and an ingester that does as it is told."""

    def __init__(self, redis: RedisServer, ticking: Ticking, web: App) -> None:
        self.redis, self.ticking, self.web = redis, ticking, web


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("ask")
    with ExitStack() as ending:
        redis = ending.enter_context(RedisServer(find_server(), folder / "redis"))
        remember(redis.url, ["science", "football", "curling"], 375)
        run(write(redis.url, keys.POPULAR, POPULAR))
        ticking = ending.enter_context(Ticking(redis.url))
        settings = {"REDIS_URL": redis.url, "HASHTAGS": "science,football"}
        web = App(folder, "web", port=free_port(), **settings)
        yield Site(redis, ticking, ending.enter_context(web).started())


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    with opened(browser, site.web.url) as shown:
        yield shown


def run(work: Any) -> Any:
    """In a thread of its own: Playwright has the event loop of this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


async def write(url: str, key: str, what: Any) -> None:
    redis = connect(url)
    await redis.set(key, msgspec.json.encode(what))
    await redis.aclose()


async def logged(url: str) -> list[Tick]:
    redis = connect(url)
    try:
        return list(await Store(redis).ticks_after(""))
    finally:
        await redis.aclose()


def ask(page: Page, text: str) -> None:
    page.locator("#typed").fill(text)
    page.keyboard.press("Enter")


def until_shown(page: Page, *names: str) -> None:
    wait_until(lambda: page.evaluate(SHOWN) == list(names), f"{names} are shown")


def test_it_is_asked_and_taken_back_by_keyboard(page: Page, site: Site) -> None:
    """A key leads to the field; what is typed is completed, chosen by arrows, and shown at once."""
    until_shown(page, "#science", "#football")
    page.keyboard.press("/")
    field = page.get_by_role("combobox", name="Show another hashtag")
    assert field.evaluate("field => field === document.activeElement")
    field.press_sequentially("#EC")
    wait_until(
        lambda: page.evaluate(OFFERED) == ["#Eclipse", "#eclipse2026", "#echo", "#EC"], "offers"
    )
    options = page.get_by_role("listbox").get_by_role("option")
    assert options.all_inner_texts()[0].split("\n")[-1] == "1,204 in a day"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    chosen = page.locator(f"#{field.get_attribute('aria-activedescendant')}")
    assert chosen.inner_text().startswith("#echo")
    assert chosen.get_attribute("aria-selected") == "true"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert field.get_attribute("aria-activedescendant") is None, "the field itself is among them"
    page.keyboard.press("Escape")
    assert (field.get_attribute("aria-expanded"), field.input_value()) == ("false", "#EC")
    field.fill("ecl")
    wait_until(lambda: len(page.evaluate(OFFERED)) == 3, "offers")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    until_shown(page, "#science", "#football", "#eclipse")
    wait_until(lambda: rows(page).get("#eclipse", {}).get("total") == "0", "its row")
    assert page.locator("#answer").text_content() == "Shown from now on: #eclipse."
    field.press_sequentially("Curling,")
    until_shown(page, "#science", "#football", "#eclipse", "#curling")
    assert field.input_value() == ""
    page.keyboard.press("Backspace")
    page.keyboard.press("Backspace")
    until_shown(page, "#science", "#football")
    assert sorted(rows(page)) == ["#football", "#science"]
    page.locator("#plot").focus()
    page.keyboard.press("Control+k")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")  # the button of the last chip
    until_shown(page, "#science")
    assert field.evaluate("field => field === document.activeElement")
    known = page.evaluate("() => [...hashtagPulse.state.live.stretches.keys()]")
    assert {"eclipse", "curling"}.isdisjoint(known), "of what is not shown nothing is kept"


def test_what_cannot_be_shown_is_said(page: Page) -> None:
    """What is no hashtag stays to be mended; all others of a pasted list are shown, up to twenty."""
    answer, field = page.locator("#answer"), page.locator("#typed")
    ask(page, "#2026")
    wait_until(lambda: "“#2026” is no hashtag" in answer.inner_text(), "a sentence")
    assert field.input_value() == "#2026"
    page.keyboard.press("Home")
    page.keyboard.insert_text("x")
    assert answer.inner_text() == "", "it is being mended"
    ask(page, "2026")
    wait_until(lambda: "“2026” is no hashtag" in answer.inner_text(), "a sentence")
    page.keyboard.press("Escape")
    assert (field.input_value(), answer.inner_text()) == ("", ""), "nothing is left to be mended"
    ask(page, "SCIENCE")
    wait_until(lambda: answer.inner_text() == "#science is shown already.", "a sentence")
    page.locator("#plot").focus()
    assert answer.inner_text() == "", "it was read"
    paste(page, "#luge\nbiathlon, no! science")
    until_shown(page, "#science", "#football", "#luge", "#biathlon")
    assert "“no!” is no hashtag" in answer.inner_text()
    assert field.input_value() == "no!"
    paste(page, " ".join(f"tag{n:02}" for n in range(30)))
    wait_until(lambda: len(page.evaluate(SHOWN)) == 20, "twenty are shown")
    assert answer.inner_text() == "At most 20 hashtags can be shown at once."
    assert page.evaluate("() => new Set(hashtagPulse.chart.lines.keys()).size") == 20
    for _ in range(19):
        page.locator("#chips button").last.click()
    page.locator("#chips button").click()
    assert answer.inner_text() == "One hashtag has to stay: add another one first."
    until_shown(page, "#science")


def paste(page: Page, text: str) -> None:
    page.locator("#typed").fill("")
    page.evaluate(
        """text => {
        const clipboardData = new DataTransfer();
        clipboardData.setData('text', text);
        document.getElementById('typed').dispatchEvent(new ClipboardEvent('paste', {clipboardData, bubbles: true, cancelable: true}));
    }""",
        text,
    )


def test_the_address_goes_with_it_and_the_back_button_goes_back(page: Page, site: Site) -> None:
    """No new load of the page; and whoever opens the address sees the same."""
    page.evaluate("() => { window.stillTheSamePage = true }")
    page.get_by_role("button", name="total").first.click()
    ask(page, "curling")
    until_shown(page, "#science", "#football", "#curling")
    assert page.url == f"{site.web.url}/?tags=science,football,curling&view=total"
    assert page.title().startswith("#science, #football, #curling")
    page.get_by_role("button", name="Take #science off the page").click()
    until_shown(page, "#football", "#curling")
    page.get_by_role("button", name="1 m: 1 minute").click()
    page.go_back()
    until_shown(page, "#science", "#football", "#curling")
    wait_until(lambda: len(rows(page)) == 3, "three rows")
    page.go_back()
    until_shown(page, "#science", "#football")
    assert page.url == f"{site.web.url}/?view=total"
    page.go_forward()
    until_shown(page, "#science", "#football", "#curling")
    known = "() => hashtagPulse.state.live.points('curling').length > 20"
    page.wait_for_function(known)
    assert page.evaluate("() => window.stillTheSamePage")
    page.reload()
    until_shown(page, "#science", "#football", "#curling")


LISTEN = """() => {
    window.heard = [], window.histories = 0, window.pasts = [];
    document.addEventListener('pulse:tick', ({detail}) => heard.push([detail.at, detail.counts.science]));
    document.addEventListener('pulse:history', () => histories++);
    document.addEventListener('pulse:past', ({detail}) => pasts.push(...Object.keys(detail.series)));
    window.line = hashtagPulse.chart.lines.get('science')[0];
}"""


@pytest.mark.parametrize("way", ["worker", "own", "beside others"])
def test_ten_changes_lose_no_tick_of_the_lines_that_stay(
    browser: Browser, site: Site, way: str
) -> None:
    """Every tick's total of #science comes, once the log is compared; its line is the same one.

    In tabs that share a worker, in one without, and beside a tab that follows what is tracked:
    that one keeps its stream."""
    context = browser.new_context()
    if way == "own":
        context.add_init_script("delete window.SharedWorker")
    others = [context.new_page() for _ in range(way == "beside others")]
    page = context.new_page()
    for each in [*others, page]:
        each.goto(site.web.url)
        each.wait_for_function(READY)
        each.evaluate(LISTEN)
    begun, shown = page.evaluate("() => hashtagPulse.state.tick.at"), ["#science", "#football"]
    for tag in ("curling", "luge", "", "skeleton", "", "", "curling", "", "ski", ""):
        if tag:
            ask(page, tag)
        else:
            page.keyboard.press("Backspace")
        for _ in range(3):
            site.ticking.post("science")
        shown = [*shown, f"#{tag}"] if tag else shown[:-1]
        until_shown(page, *shown)
        if tag in ("luge", "ski"):
            page.wait_for_function("() => hashtagPulse.selection.owed.size === 0")
    assert_nothing_is_lost(page, site, begun)
    pasts = set(page.evaluate("() => pasts"))
    assert {"luge", "ski"} <= pasts <= {"curling", "luge", "skeleton", "ski"}, "of the new alone"
    for other in others:
        assert_nothing_is_lost(other, site, begun)
        assert other.evaluate(SHOWN) == ["#science", "#football"]
    context.close()


def assert_nothing_is_lost(page: Page, site: Site, since: int) -> None:
    ticks = [tick for tick in run(logged(site.redis.url)) if "science" in tick.counts]
    wanted = [(tick.at, tick.counts["science"]["demo"]) for tick in ticks if tick.at > since]
    assert len(wanted) == 30
    page.wait_for_function("at => hashtagPulse.state.tick.at >= at", arg=wanted[-1][0])
    heard = [tuple(each) for each in page.evaluate("() => heard")]
    assert [each for each in wanted if each not in heard] == []
    assert page.evaluate("() => histories") == 0, "nothing was told anew"
    assert page.evaluate("() => hashtagPulse.state.live.holes()") == []
    [line, *more] = page.evaluate(
        "() => hashtagPulse.chart.lines.get('science').map(each => each === line)"
    )
    assert (line, more) == (True, []), "it was never drawn anew"
    times = page.evaluate("() => line.data.map(([at]) => at)")
    assert times == sorted(set(times))


def test_a_network_that_was_never_asked_is_named(browser: Browser, site: Site) -> None:
    """X counts what is tracked alone: another hashtag's line is without it, and says so."""
    asked = SourceState("live", 1, "", False, 1)
    site.ticking.go_on(x=asked)
    try:
        with opened(browser, f"{site.web.url}/?tags=science,luge") as page:
            page.wait_for_function("() => sources.textContent.includes('X live')")
            chips = page.locator("#chips li")
            wait_until(
                lambda: chips.nth(1).inner_text().split("\n") == ["#luge", "without X"], "so"
            )
            ask(page, "curling")
            wait_until(lambda: "without X" in chips.nth(2).inner_text(), "for a new one, too")
            assert chips.nth(0).inner_text().strip() == "#science"
    finally:
        site.ticking.writer.sources.pop("x")


@pytest.mark.parametrize(("size", "scheme"), [(PHONE, "dark"), (None, "light")])
def test_axe_finds_nothing_in_an_open_list(
    browser: Browser, site: Site, size: dict[str, int] | None, scheme: str
) -> None:
    """While offers are shown and after a refusal; and on a phone it is all done by touch."""
    path = ROOT / "node_modules" / "axe-core" / "axe.min.js"
    axe = path.read_text() if path.exists() else missing("axe-core (run make setup)")
    options: dict[str, Any] = {"viewport": size, "has_touch": True} if size else {}
    with opened(browser, site.web.url, color_scheme=scheme, **options) as page:
        page.evaluate(axe)
        ask(page, "!")
        wait_until(lambda: page.locator("#answer").inner_text(), "a sentence")
        page.locator("#typed").fill("e")
        wait_until(lambda: page.evaluate(OFFERED), "offers")
        page.keyboard.press("ArrowDown")
        found = page.evaluate(
            "() => axe.run({rules: {'label-content-name-mismatch': {enabled: true}}})"
        )
        assert [(v["id"], [n["html"] for n in v["nodes"]]) for v in found["violations"]] == []
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
        if size:
            page.locator("#offers li").first.tap()
            until_shown(page, "#science", "#football", "#eclipse")
            page.locator("#chips button").first.tap()
            until_shown(page, "#football", "#eclipse")


def test_a_frame_of_another_site_has_no_field(browser: Browser, site: Site) -> None:
    """Neither the field nor the board, and nothing of them is loaded."""
    with opened(browser, f"{site.web.url}/embed?tags=science") as page:
        assert page.locator("#ask, #board").count() == 0
        loaded = "() => performance.getEntriesByType('resource').map(one => one.name).join()"
        assert "ask.js" not in page.evaluate(loaded)
