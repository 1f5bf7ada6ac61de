"""The board beside the chart: what is rising and most used; in a real Chromium."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from browser import DESKTOP, PHONE, opened, rows
from conftest import missing
from playwright.sync_api import Browser, Page
from servers import ROOT, App, RedisServer, free_port, wait_until
from ticking import Ticking
from yesterday import remember, run

from app.store import keys
from app.store.store import connect

RISING = [
    ("eclipse", "Eclipse", 402, 16.8),
    ("地震", "地震", 131, 0.0),
    ("kabaddi", "kabaddi", 77, None),
]
NAMES = "() => [...document.querySelectorAll('#board bdi')].map(one => one.textContent)"
HEAR = (
    "board => hashtagPulse.link.listener.extra('board', {...hashtagPulse.visitor.board, ...board})"
)


def listed(tag: str, name: str, posts: int, usual: float | None) -> dict[str, Any]:
    """A hashtag as the ingester writes it."""
    return {
        "tag": tag, "name": name, "posts": posts, "people": posts // 2, "usual": usual,
        "unusual": None, "hour": list(range(12)), "busiest_author": 0.1,
    }  # fmt: skip


async def write(url: str, text: str) -> None:
    redis = connect(url)
    await redis.set(keys.BOARD, text)
    await redis.aclose()


@pytest.fixture(scope="module")
def web(file_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """A web process, an ingester that counts, and a board as if it had made one."""
    folder = tmp_path_factory.mktemp("board")
    used = [
        listed("science", "Science", 500, 400.0),
        *(listed(f"t{n}", f"t{n}", 50 - n, 1.0) for n in range(19)),
    ]
    board = {"at": 2, "since": 1, "rising": [listed(*each) for each in RISING], "used": used}
    with ExitStack() as ending:
        remember(file_redis.url, ["science", "football"], 200)
        run(write(file_redis.url, json.dumps(board)))
        ending.enter_context(Ticking(file_redis.url))
        settings = {"REDIS_URL": file_redis.url, "HASHTAGS": "science,football"}
        web = App(folder, "web", port=free_port(), **settings)
        yield ending.enter_context(web).started()


@pytest.fixture
def page(browser: Browser, web: App) -> Iterator[Page]:
    with opened(browser, web.url) as shown:
        until_listed(shown, *[f"#{name}" for _, name, *_ in RISING])
        yield shown


def until_listed(page: Page, *names: str) -> None:
    wait_until(lambda: page.evaluate(NAMES) == list(names), f"{names} are listed")


def test_what_rises_is_listed_and_shown_by_a_click(page: Page) -> None:
    """Rank, name, people and posts, how many times the usual; a second click takes it away."""
    row = page.locator("#board li")
    assert row.nth(0).inner_text().split("\n") == [
        "1",
        "#Eclipse",
        "201 people · 402 posts",
        "24×",
    ]
    assert row.nth(1).inner_text().split("\n")[-1] == "new", "where nothing is usual"
    assert row.nth(2).inner_text().split("\n")[-1] == "38 people · 77 posts", "nobody knows"
    button = row.nth(0).get_by_role("button")
    assert button.get_attribute("title") == (
        "402 posts in ten minutes, where 16.8 are usual at this hour"
    )
    button.click()
    wait_until(lambda: "#eclipse" in rows(page), "it is shown")
    assert button.get_attribute("aria-pressed") == "true"
    page.locator("#typed").fill("ec")
    wait_until(lambda: "eclipse" not in page.locator("#offers").inner_text(), "shown already")
    page.locator("#chips button").last.click()
    assert button.get_attribute("aria-pressed") == "false", "wherever it is taken away"
    button.focus()
    page.keyboard.press("Enter")
    wait_until(lambda: "#eclipse" in rows(page), "it is shown")
    page.keyboard.press("Enter")
    wait_until(lambda: "#eclipse" not in rows(page), "it is not")
    page.get_by_role("button", name="Most used").click()
    assert page.evaluate(NAMES)[:2] == ["#Science", "#t0"]
    assert row.nth(0).get_by_role("button").get_attribute("aria-pressed") == "true"
    assert row.count() == 20


def test_fingers_show_and_take_away_too(browser: Browser, web: App) -> None:
    """On a phone: a list, a row, its second tap, and the cross of its chip."""
    with opened(browser, web.url, viewport=PHONE, has_touch=True, is_mobile=True) as page:
        page.locator("#board [value=used]").tap()
        row = page.locator("#board li button", has_text="#t0")
        row.tap()
        wait_until(lambda: "#t0" in rows(page), "it is shown")
        row.tap()
        wait_until(lambda: "#t0" not in rows(page), "it is not")
        row.tap()
        wait_until(lambda: "#t0" in rows(page), "it is shown")
        page.locator("#chips button").last.tap()
        wait_until(lambda: "#t0" not in rows(page), "it is not")


def test_rows_move_but_not_under_a_hand(page: Page) -> None:
    """While the pointer or the keyboard's focus is on them their numbers change, not their places."""
    other = [listed("地震", "地震", 900, 1.0), listed("eclipse", "Eclipse", 403, 16.8)]
    rising = [*other, listed("new", "new", 5, 0.0)]
    before = page.evaluate(NAMES)
    page.locator("#board li").first.hover()
    page.evaluate(HEAR, {"rising": rising})
    assert page.evaluate(NAMES) == before
    assert "403 posts" in page.locator("#board li").first.inner_text()
    page.mouse.move(5, 5)
    until_listed(page, "#地震", "#Eclipse", "#new")
    moves = "() => document.getAnimations().filter(one => one.effect.target.closest('#board li')).length"
    wait_until(lambda: page.evaluate(moves) == 0, "they have arrived")
    page.evaluate(HEAR, {"rising": rising[::-1]})
    assert page.evaluate(moves) == 2, "the one in the middle stays"
    behind = page.locator("#board li").first.evaluate(
        "row => getComputedStyle(row).backgroundColor"
    )
    assert behind != "rgba(0, 0, 0, 0)", "one text over another cannot be read"
    ranks = page.locator("#board li span").all_inner_texts()
    assert ranks == ["1", "2", "3"]
    page.locator("#board [value=with]").focus()
    page.keyboard.press("Tab")
    page.evaluate(HEAR, {"rising": rising})
    assert page.evaluate(NAMES) == ["#new", "#Eclipse", "#地震"]
    page.keyboard.press("Shift+Tab")
    until_listed(page, "#地震", "#Eclipse", "#new")


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_names_have_room_before_all_else(browser: Browser, web: App, width: int) -> None:
    """Seventeen letters are read whole; below them people and posts are in one line."""
    size = {"width": width, "height": 700}
    with opened(browser, web.url, viewport=size) as page:
        rising = [listed("gentleviolinwatch", "GentleViolinWatch", 402, 1.0)]
        page.evaluate(HEAR, {"rising": rising})
        until_listed(page, "#GentleViolinWatch")
        name, about = page.locator("#board li bdi"), page.locator("#board li small")
        assert name.evaluate("one => one.scrollWidth <= one.clientWidth")
        assert about.bounding_box()["height"] < 24  # type: ignore[index]


def test_a_list_that_was_scrolled_stays_there(page: Page) -> None:
    """A browser would follow a row that overtakes others, and the list would jump."""
    page.get_by_role("button", name="Most used").click()
    page.mouse.move(5, 5)
    scrolled = page.locator("#board ol")
    assert scrolled.evaluate("list => { list.scrollTop = 200; return list.scrollTop }") == 200
    page.evaluate(f"""async () => {{
        const {{used}} = hashtagPulse.visitor.board;
        await new Promise(requestAnimationFrame);
        ({HEAR})({{used: [...used.slice(15), ...used.slice(0, 15)]}});
        await new Promise(requestAnimationFrame);
    }}""")
    assert page.evaluate(NAMES)[0] == "#t14", "others are above"
    assert scrolled.evaluate("list => list.scrollTop") == 200


def test_what_is_left_out_is_said(page: Page) -> None:
    """How many are blocked or one author's; and where there is nothing, that there is nothing."""
    about = page.locator("#board .about")
    assert about.inner_text() == ""
    page.evaluate(HEAR, {"hidden": {"blocked": 2, "of_one": 1}})
    assert about.inner_text() == (
        "3 hashtags are not listed: they are blocked, or one author wrote most of their posts, "
        "or most of them link to one site."
    )
    page.evaluate(HEAR, {"rising": [], "hidden": {}})
    assert about.inner_text() == "Nothing to see here just now."


def test_what_came_with_a_hashtag_is_listed(page: Page, file_redis: RedisServer) -> None:
    """Of the one that was added last, and of another one as soon as that is added."""
    run(
        lately(
            file_redis.url, "football", ("goal", "Goal", 31, 12.4), ("science", "Science", 8, 1.2)
        )
    )
    run(lately(file_redis.url, "eclipse", ("moon", "moon", 9, 30.0)))
    page.get_by_role("button", name="With \u2068#football").click()
    until_listed(page, "#Goal", "#Science")
    row = page.locator("#board li")
    assert row.nth(0).inner_text().split() == ["1", "#Goal", "31", "people", "used", "both", "12×"]
    title = row.nth(1).get_by_role("button").get_attribute("title")
    assert title == "1.2× as many as by chance"
    page.locator("#typed").fill("eclipse")
    page.keyboard.press("Enter")
    until_listed(page, "#moon")
    page.locator("#typed").fill("nobodyusesit")
    page.keyboard.press("Enter")
    about = page.locator("#board .about")
    wait_until(lambda: about.inner_text() == "Nothing to see here just now.", "nothing")


async def lately(url: str, tag: str, *others: tuple[str, str, int, float]) -> None:
    """What the ingester says of the last ten minutes of a hashtag."""
    told = {
        "at": int(time.time() * 1000), "posts": 50, "people": 40, "unusual": None,
        "busiest_author": 0.1, "busiest_link": 0.0,
        "with": [dict(zip(("tag", "name", "people", "lift"), each, strict=True)) for each in others],
    }  # fmt: skip
    redis = connect(url)
    await redis.hset(keys.LATELY, tag, json.dumps(told))
    await redis.aclose()


def test_what_rises_is_marked_where_it_is_offered(page: Page) -> None:
    """In the field, beside its posts of a day."""
    page.locator("#typed").fill("eclipse")
    wait_until(lambda: "rising" in page.locator("#offers").inner_text(), "rising")


def test_field_and_board_are_loaded_after_the_chart(page: Page) -> None:
    """Whoever waits for the first line does not wait for them; they wait for it for two seconds."""
    line = page.evaluate("() => performance.getEntriesByName('first line')[0].startTime")
    for name in ("visitor.js", "ask.js", "board.js"):
        begun = page.evaluate(
            "name => performance.getEntriesByType('resource').find(one => one.name.endsWith(`/${name}`)).startTime",
            name,
        )
        assert begun > min(line, 2000)


@pytest.mark.parametrize(("size", "scheme"), [(PHONE, "dark"), (DESKTOP, "light")])
def test_axe_finds_nothing(browser: Browser, web: App, size: dict[str, int], scheme: str) -> None:
    """With a row that is pressed; beside the chart where there is room, else below it."""
    path = ROOT / "node_modules" / "axe-core" / "axe.min.js"
    axe = path.read_text() if path.exists() else missing("axe-core (run make setup)")
    with opened(browser, web.url, color_scheme=scheme, viewport=size) as page:
        page.get_by_role("button", name="Most used").click()
        wait_until(lambda: page.locator("#board li").count() == 20, "twenty rows")
        page.evaluate(axe)
        found = page.evaluate(
            "() => axe.run({rules: {'label-content-name-mismatch': {enabled: true}}})"
        )
        assert [(v["id"], [n["html"] for n in v["nodes"]]) for v in found["violations"]] == []
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
        chart, board = (page.locator(each).bounding_box() for each in (".chart", "#board"))
        assert chart and board
        beside = board["x"] > chart["x"] + chart["width"]
        assert beside == (size is DESKTOP)
        if beside:
            assert page.evaluate("() => document.documentElement.scrollHeight") < 1000


OTHER_TAB = """async () => {
    const hub = document.querySelector('script[type=module]').src.replace('board_frame.js', 'hub.js');
    const {port} = new SharedWorker(hub, {type: 'module'});
    await new Promise(heard => {
        port.onmessage = ({data}) => data.extra?.[0] === 'gone' && heard();
        port.postMessage({url: new URL('../events', document.baseURI).href, open: {tags: ['science'], seconds: 0, extras: ['board', 'posts']}});
    });
    await new Promise(requestAnimationFrame);
}"""


def test_a_frame_of_the_board_shows_it_whatever_another_tab_asks_for(
    browser: Browser, web: App
) -> None:
    """They share a stream, which brings posts, too."""
    ready = "() => document.querySelectorAll('#board li').length > 0"
    with opened(browser, f"{web.url}/embed/board", ready) as page:
        page.evaluate(OTHER_TAB)
        assert page.evaluate(NAMES) == [f"#{name}" for _, name, *_ in RISING]


def test_the_board_alone_in_another_sites_frame(browser: Browser, web: App) -> None:
    """The list that its address names; a click opens the page with the hashtag."""
    ready = "() => document.querySelectorAll('#board li').length > 0"
    size = {"width": 380, "height": 520}
    with opened(browser, f"{web.url}/embed/board", ready, viewport=size) as page:
        until_listed(page, *[f"#{name}" for _, name, *_ in RISING])
        assert page.locator("#notice").is_hidden()
        last = page.locator(".full").bounding_box()
        assert last and last["y"] + last["height"] <= size["height"]
        with page.expect_popup() as popup:
            page.locator("#board li button").first.click()
        assert popup.value.url == f"{web.url}/?tags=eclipse"
        popup.value.wait_for_function("() => window.hashtagPulse")
        page.goto(f"{web.url}/embed/board?list=used")
        page.wait_for_function(ready)
        assert page.evaluate(NAMES)[:2] == ["#Science", "#t0"]
        assert page.get_by_role("button", name="Most used").get_attribute("aria-pressed") == "true"
