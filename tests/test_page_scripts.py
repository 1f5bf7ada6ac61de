"""Hashtags in any script, on the page: recorded posts through the whole way to a real Chromium."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import PHONE, TICKING, opened, rows
from playwright.sync_api import Browser, Page
from servers import App, wait_until

FOLDERS = ("x_v2_twarc_csv", "x_v2_academic_mocks", "x_v2_academic_hk", "x_v2_client_fixtures")
TAGS = ("kpop", "잇츠라이브", "リンゴ日報", "香港デモ", "إليسا", "standwithhongkong")
EVIL = (
    "<img src=x onerror=window.broken=1>",
    "</script><script>window.broken=1</script>",
    "a" * 100,
    "ش" * 100,
    "한" * 100,
    "\u202egnp.exe",
    "👩‍🚀science👩‍🚀",
    "&amp;",
    "{{7*7}}",
    "__proto__",
    "constructor",
)


@pytest.fixture(scope="module")
def thai(recordings: Path) -> str:
    """A Thai hashtag of the recordings."""
    for folder in FOLDERS:
        for row in (recordings / folder / "expected_counts.tsv").read_text().splitlines():
            if any("\u0e00" <= letter <= "\u0e7f" for letter in row.split("\t")[0]):
                return row.split("\t")[0]
    raise AssertionError("no Thai hashtag in the recordings")


@pytest.fixture(scope="module")
def truth(recordings: Path, thai: str) -> dict[str, int]:
    counts = dict.fromkeys((*TAGS, thai), 0)
    for folder in FOLDERS:
        for row in (recordings / folder / "expected_counts.tsv").read_text().splitlines()[1:]:
            tag, posts, *_ = row.split("\t")
            if tag in counts:
                counts[tag] += int(posts)
    return counts


@pytest.fixture(scope="module")
def app(
    tmp_path_factory: pytest.TempPathFactory, recordings: Path, truth: dict[str, int]
) -> Iterator[App]:
    """Real posts, as fast as they go."""
    folder = tmp_path_factory.mktemp("scripts")
    file = folder / "posts.jsonl"
    file.write_bytes(
        b"".join((recordings / f / "wire_reduced.jsonl").read_bytes() for f in FOLDERS)
    )
    settings = {"SOURCES": "replay", "REPLAY_FILE": file, "REPLAY_SPEED": 0}
    with App(folder, HASHTAGS=",".join(truth), **settings) as started:
        yield started.started()


@pytest.mark.parametrize("size", [None, PHONE], ids=["desktop", "phone"])
def test_recorded_posts_are_shown_with_their_true_totals(
    browser: Browser, app: App, truth: dict[str, int], size: dict[str, int] | None
) -> None:
    """Hangul, Japanese, Arabic and Thai hashtags: every total is the recordings' own."""
    options = {"viewport": size} if size else {}
    with opened(browser, app.url, TICKING, **options) as page:

        def shown() -> dict[str, int]:
            return {tag: int(row["total"].replace(",", "")) for tag, row in rows(page).items()}

        def wanted() -> dict[str, int]:
            names = page.request.get(f"{app.url}/api/counts").json()["names"]
            return {f"#{names.get(tag, tag)}": posts for tag, posts in truth.items()}

        wait_until(lambda: shown() == wanted(), f"the truth {truth}")
        assert {"#StandWithHongKong", "#잇츠라이브"} < set(shown())
        page.wait_for_function("() => sources.textContent.includes('recording')")
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


def test_a_finished_recording_is_no_live_source(browser: Browser, app: App) -> None:
    """After its end the page does not claim to be live, and the line does not go on as zero."""
    with opened(browser, app.url, TICKING) as page:
        page.wait_for_function(
            "() => badge.dataset.level !== 'live' && badge.textContent === 'no source is live'"
        )
        at = page.evaluate("() => hashtagPulse.state.live.at")
        tick = page.evaluate("() => hashtagPulse.state.tick.at")
        page.wait_for_function("tick => hashtagPulse.state.tick.at > tick", arg=tick)
        assert page.evaluate("() => hashtagPulse.state.live.at") == at


@pytest.fixture(params=[None, PHONE], ids=["desktop", "phone"])
def evil(browser: Browser, app: App, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page whose stream names hashtags that no setting would let through."""
    options = {"viewport": request.param} if request.param else {}
    with opened(browser, app.url, TICKING, **options) as page:
        page.evaluate(
            """tags => {
            const page = hashtagPulse, at = page.clock.now();
            page.link.listener.counts = page.link.listener.history = () => {};
            document.getElementById('rows').replaceChildren();
            page.table.rows.clear();
            page.selection.wished = tags;
            const known = total => Object.fromEntries(tags.map((tag, i) => [tag, total(i)]));
            const series = i => Array.from({length: 200}, (_, n) => [at - 100e3 + n * 500, n * (i + 1)]);
            page.counts({at, counts: known(i => 200 * (i + 1)), sources: {demo: 'live'}, details: {}});
            page.history({at, tick: 0.5, series: known(series)});
        }""",
            list(EVIL),
        )
        yield page


def test_a_hashtag_is_text_whatever_is_in_it(evil: Page) -> None:
    """Markup becomes no element; right-to-left, long and odd names break no layout."""
    names = evil.locator("#rows bdi").all_text_contents()
    assert sorted(names) == sorted(f"#{tag}" for tag in EVIL)
    evil.locator("#plot").focus()
    evil.keyboard.press("ArrowLeft")
    told = evil.locator("#values bdi").all_text_contents()
    assert sorted(told) == sorted(f"#{tag}" for tag in EVIL)
    values, plot = (evil.locator(place).bounding_box() for place in ("#values", "#plot"))
    assert values
    assert plot
    assert plot["x"] <= values["x"] + 1
    assert values["x"] + values["width"] <= plot["x"] + plot["width"] + 1
    assert values["y"] + values["height"] <= plot["y"] + plot["height"]
    assert evil.locator("img").count() == 0
    assert evil.evaluate("() => window.broken") is None
    assert evil.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    heights = evil.evaluate(
        "() => [...document.querySelectorAll('#rows tr')].map(row => row.offsetHeight)"
    )
    assert max(heights) - min(heights) <= 2
    assert evil.evaluate(
        "() => hashtagPulse.canvas.offsetWidth > 0.4 * document.getElementById('plot').offsetWidth"
    )


def test_markup_in_the_address_is_text_too(browser: Browser, app: App) -> None:
    """What the query asks for comes back only as text, in the page's title and its notice."""
    bad = "%3Cimg%20src=x%20onerror=alert(1)%3E"
    with opened(browser, f"{app.url}/?tags={bad}", TICKING) as page:
        assert "<img" in page.locator("#notice").inner_text()
        assert page.locator("img").count() == 0
    answer = browser.new_context().request.get(f"{app.url}/embed?tags={bad}&x=%22%3E%3Cscript%3E")
    assert "<img" not in answer.text()
    assert '"><script>' not in answer.text()


def test_the_fence(browser: Browser, app: App) -> None:
    """No inline script or style runs, and nothing from elsewhere is loaded."""
    with opened(browser, app.url, TICKING) as page:
        policy = page.request.get(app.url).headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        html = page.request.get(app.url).text()
        assert " style=" not in html
        assert " onclick=" not in html
        hosts = page.evaluate(
            "() => performance.getEntriesByType('resource').map(one => new URL(one.name).host)"
        )
        assert set(hosts) == {app.url.removeprefix("http://")}
