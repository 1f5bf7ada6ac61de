"""The posts behind a line, on the page; in a real Chromium."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from browser import DESKTOP, PHONE, opened, rows
from conftest import missing
from playwright.sync_api import Browser, Page
from servers import ROOT, App, RedisServer, free_port, wait_until
from test_page_ask import run
from ticking import Ticking
from yesterday import remember

from app.messages import Shown
from app.store.embedded import find_server
from app.store.posts import StoredPost, write_post, write_posts
from app.store.store import Store, connect

TEXTS = "() => [...document.querySelectorAll('#posts li p')].map(one => one.textContent)"
PANEL = "hashtagPulse.visitor.side.posts"
HURRY = f"() => {{ {PANEL}.shown = {PANEL}.heard = -1e6 }}"
"""The newest one was read, and nothing was heard for long."""


class Site:
    """A web process for two hashtags, and whoever writes posts."""

    def __init__(self, redis: RedisServer, ticking: Ticking, web: App) -> None:
        self.redis, self.ticking, self.web = redis, ticking, web
        self.number = 0

    def put(
        self, text: str, *tags: str, url: str = "https://m.example/@ada/1", name: str = "Ada"
    ) -> str:
        """A post that its network has in its stream; its id."""
        self.number += 1
        at = int(time.time() * 1000)
        shown = Shown(url, text, name, "ada@m.example")
        post = StoredPost("mastodon", f"{self.number}", "1", at, tags or ("science",), shown=shown)
        return self.write(post)

    def write(self, post: StoredPost) -> str:
        ids: list[str] = run(written(self.redis.url, [write_post(post)], []))
        for tag in post.tags:
            self.ticking.post(tag)
        return ids[0]

    def delete(self, *ids: str) -> None:
        run(written(self.redis.url, [], ids))


async def written(url: str, posts: Any, gone: Any) -> list[str]:
    redis = connect(url)
    try:
        return await write_posts(Store(redis), "the test", posts, gone, 0, False)
    finally:
        await redis.aclose()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("posts")
    with ExitStack() as ending:
        redis = ending.enter_context(RedisServer(find_server(), folder / "redis"))
        remember(redis.url, ["football", "science"], 100)
        ticking = ending.enter_context(Ticking(redis.url))
        settings = {"REDIS_URL": redis.url, "HASHTAGS": "football,science"}
        web = App(folder, "web", port=free_port(), **settings)
        yield Site(redis, ticking, ending.enter_context(web).started())


def until_shown(page: Page, *texts: str) -> None:
    wait_until(lambda: page.evaluate(TEXTS) == list(texts), f"{texts} are shown")


def test_posts_of_the_selected_hashtag(browser: Browser, site: Site) -> None:
    """The newest first, as text, with author, network, age and a link that leads nowhere but
    there, hashtags in bold; new ones wait while a hand is on the list, deleted ones do not."""
    evil = "<img src=x onerror=window.broken=1> #<b>x</b> by #science_1, #地震."
    first = site.put(evil, url="javascript:alert(1)")
    site.put("", url="https://m.example/2")
    x = StoredPost("x", "9", "secret", int(time.time() * 1000), ("science",))
    site.write(x)
    with opened(browser, site.web.url) as page:
        until_shown(page, "A post on Mastodon. Its text is shown there.", evil)
        assert page.locator("#posts h2").inner_text() == "Posts with \u2068#science\u2069"
        assert page.evaluate("() => window.broken") is None
        assert page.locator("#posts li b").all_inner_texts() == ["#science_1", "#地震"]
        [link] = page.locator("#posts li a").all()
        assert link.get_attribute("href") == "https://m.example/2"
        assert (link.get_attribute("target"), link.get_attribute("rel")) == (
            "_blank",
            "noopener noreferrer",
        )
        assert "Ada · Mastodon · " in page.locator("#posts li small").last.text_content()
        assert page.locator("#posts .there").inner_text() == "1 post on X: read it there"
        page.evaluate(HURRY)
        site.put("".join(f"#{n}" for n in range(200)))
        wait_until(lambda: page.evaluate(TEXTS)[0].endswith("#199"), "one full of hashtags came")
        assert page.locator("#posts li").first.locator("b").count() == 30
        page.evaluate(HURRY)
        site.put("a new one")
        wait_until(lambda: page.evaluate(TEXTS)[0] == "a new one", "it came by the stream")
        page.locator("#posts li").last.hover()
        page.evaluate(HURRY)
        site.put("not yet", "science", "football")
        page.wait_for_function(f"() => {PANEL}.waiting.length === 1")
        before = page.evaluate(TEXTS)
        site.delete(first)
        wait_until(lambda: page.evaluate(TEXTS) == before[:-1], "it is gone")
        page.mouse.move(5, 5)
        wait_until(lambda: page.evaluate(TEXTS)[0] == "not yet", "the hand is away")
        page.locator("#posts > button").focus()
        page.keyboard.press("Tab")
        page.evaluate(HURRY)
        site.put("nor now")
        page.wait_for_function(f"() => {PANEL}.waiting.length === 1")
        assert page.evaluate(TEXTS)[0] == "not yet", "the keyboard's focus is on a link"
        page.keyboard.press("Shift+Tab")
        page.locator("#chips button").last.click()
        until_shown(page, "not yet")
        site.put("another's", "science")
        assert page.locator("#posts h2").inner_text() == "Posts with \u2068#football\u2069"


def test_one_that_came_not_by_the_stream_is_asked_for(browser: Browser, site: Site) -> None:
    """Beside busy hashtags few posts of another one are told; and where the server cannot tell
    what is gone, or not now, that is said, and it is asked again."""
    with opened(browser, f"{site.web.url}/?tags=art") as page:
        page.wait_for_function("() => document.querySelector('#posts .about').textContent")
        said = page.locator("#posts .about")
        assert said.inner_text() == "None of the last ten minutes can be shown."
        page.evaluate(
            f"() => {{ hashtagPulse.link.listener.extra = () => {{}}; {PANEL}.heard = -1e6 }}"
        )
        site.put("rare", "art")
        overdue = (
            f"() => {{ {PANEL}.heard = -1e6; {PANEL}.known = -1 }}"  # Redis is read now and then
        )
        wait_until(
            lambda: page.evaluate(overdue) or page.evaluate(TEXTS) == ["rare"], "it is asked for"
        )
        page.route(
            "**/api/posts?*", lambda route: route.fulfill(status=503, json={"error": "Not now."})
        )
        page.evaluate(f"() => {PANEL}.gone(['*'])")
        wait_until(
            lambda: said.inner_text() == "The posts cannot be loaded now: Not now.", "it is said"
        )
        assert page.evaluate(TEXTS) == []
        page.unroute_all()
        page.evaluate(HURRY)
        until_shown(page, "rare")


def test_what_is_closed_is_not_asked_for(browser: Browser, site: Site) -> None:
    """Neither in the stream nor beside it, also after the page is loaded anew; and opened again it
    is."""
    site.put("seen", "football")
    context = browser.new_context()
    context.add_init_script("delete window.SharedWorker")
    page, asked = context.new_page(), list[str]()
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{site.web.url}/?tags=football")
    wait_until(lambda: "seen" in page.evaluate(TEXTS), "shown")
    assert [url for url in asked if "/events" in url][-1].count("posts=1") == 1
    button = page.locator("#posts > button")
    button.focus()
    page.keyboard.press("Enter")
    assert (button.inner_text(), button.get_attribute("aria-expanded")) == ("show posts", "false")
    assert page.locator("#posts li").count() == 0

    def stream() -> str:
        page.evaluate("0")  # requests are heard of only while the page is asked for something
        return [url for url in asked if "/events" in url][-1]

    wait_until(lambda: "posts=1" not in stream(), "no more")
    assert "last_event_id=" in stream(), "nothing is lost"
    asked.clear()
    page.reload()
    wait_until(lambda: "#football" in rows(page) and button.inner_text() == "show posts", "again")
    site.put("not seen", "football")
    page.wait_for_function(
        "() => hashtagPulse.visitor?.side && hashtagPulse.state.tick.counts.football"
    )
    assert [
        url for url in asked if "posts" in url.rpartition("/")[2].removeprefix("posts.js")
    ] == []
    button.click()
    page.mouse.move(0, 0)  # under a hand nothing moves, and the first answer may be 0.4 s old
    wait_until(lambda: page.evaluate(TEXTS)[:2] == ["not seen", "seen"], "shown")
    context.close()


@pytest.mark.parametrize(("size", "scheme"), [(PHONE, "dark"), (DESKTOP, "light")])
def test_axe_finds_nothing(browser: Browser, site: Site, size: dict[str, int], scheme: str) -> None:
    """Open, and closed; nothing is wider than the screen, and beside the chart nothing is longer."""
    path = ROOT / "node_modules" / "axe-core" / "axe.min.js"
    axe = path.read_text() if path.exists() else missing("axe-core (run make setup)")
    site.put("word " * 60)
    with opened(browser, site.web.url, color_scheme=scheme, viewport=size) as page:
        page.wait_for_function("() => document.querySelector('#posts li')")
        page.evaluate(axe)
        for _ in range(2):
            found = page.evaluate(
                "() => axe.run({rules: {'label-content-name-mismatch': {enabled: true}}})"
            )
            assert [(v["id"], [n["html"] for n in v["nodes"]]) for v in found["violations"]] == []
            assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
            if size is DESKTOP:
                assert page.evaluate("() => document.documentElement.scrollHeight") < 1000
            page.locator("#posts > button").click()


SEEN = """() => {
    const {top, bottom} = document.querySelector('#posts ol').getBoundingClientRect();
    const rows = [...document.querySelectorAll('#posts li')].map(row => row.getBoundingClientRect());
    return rows.filter(row => row.top >= top - 1 && row.bottom <= bottom + 1).map(row => row.bottom <= innerHeight);
}"""
"""Of each post that the panel shows whole: whether the window does, too."""


@pytest.mark.parametrize("size", [(1366, 768), (1280, 800)])
def test_a_laptop_shows_several_beside_two_hashtags(
    browser: Browser, site: Site, size: tuple[int, int]
) -> None:
    """Three whole ones of two lines, two of them before anything is scrolled."""
    for n in range(4):
        site.put(f"{n} First light from the new mirror, and the raw frames, too", "luge")
    viewport = {"width": size[0], "height": size[1]}
    with opened(browser, f"{site.web.url}/?tags=science,luge", viewport=viewport) as page:
        wait_until(lambda: page.locator("#posts li").count() >= 4, "they are there")
        seen = page.evaluate(SEEN)
        assert len(seen) >= 3
        assert seen.count(True) >= 2
        assert page.evaluate("() => document.documentElement.scrollHeight - innerHeight") < 200


@pytest.mark.parametrize(
    ("viewport", "tag", "away", "back"),
    [(DESKTOP, "biathlon", "document.querySelector('#posts-list').scrollTo(0, 150)",
      "document.querySelector('#posts-list').scrollTo(0, 0)"),
     (PHONE, "curling", "document.querySelectorAll('#posts li')[3].scrollIntoView()", "scrollTo(0, 0)")],
)  # fmt: skip
def test_what_fingers_have_scrolled_is_held(
    browser: Browser, site: Site, viewport: Any, tag: str, away: str, back: str
) -> None:
    """They leave nothing on it: while the list is scrolled or, where it is as long as its posts, the
    page, new posts wait until it is at its top again."""
    for n in range(12):
        site.put(f"{n} First light from the new mirror, and the raw frames, too", tag)
    size = {"viewport": viewport, "has_touch": True, "is_mobile": True}
    with opened(browser, f"{site.web.url}/?tags={tag}", **size) as page:
        wait_until(lambda: page.locator("#posts li").count() == 12, "they are there")
        page.evaluate(away)
        page.evaluate(HURRY)
        site.put("not yet", tag)
        page.wait_for_function(f"() => {PANEL}.waiting.length === 1")
        page.evaluate(f"() => {PANEL}.update()")
        assert page.locator("#posts li").count() == 12
        page.evaluate(back)
        wait_until(lambda: page.evaluate(TEXTS)[0] == "not yet", "at its top again")


AGE = """() => {
    const [from] = document.querySelectorAll('#posts small'), range = document.createRange();
    range.selectNodeContents(from.lastChild);
    return range.getBoundingClientRect().right <= from.getBoundingClientRect().right + 1;
}"""


def test_that_there_are_none_is_said_where_they_would_be(browser: Browser, site: Site) -> None:
    """Below the head, not below the room for them."""
    with opened(browser, f"{site.web.url}/?tags=quidditch") as page:
        said = page.locator("#posts .about")
        wait_until(lambda: said.inner_text() == "None of the last ten minutes can be shown.", "it")
        head, about = page.locator("#posts h2").bounding_box(), said.bounding_box()
        assert head and about
        assert about["y"] - head["y"] - head["height"] < 10


def test_a_long_name_leaves_room_for_the_age(browser: Browser, site: Site) -> None:
    """On a small phone the name is cut, and nothing else is."""
    site.put("First light", "tennis", name="The Society for the History of Mirrors")
    with opened(
        browser, f"{site.web.url}/?tags=tennis", viewport={"width": 320, "height": 640}
    ) as page:
        small = page.locator("#posts small")
        wait_until(small.count, "it is there")
        assert small.locator("bdi").evaluate("one => one.scrollWidth > one.clientWidth")
        assert page.evaluate(AGE)
