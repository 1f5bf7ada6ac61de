"""Pictures of the page for the README and for link previews, taken from the running thing.

They are kept in docs/ and static/, and taken anew when they are missing or PICTURES=1 is
set: otherwise every run of the tests would change files.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import opened
from playwright.sync_api import Browser
from servers import ROOT, App
from yesterday import app_with_past

KEEP = os.environ.get("PICTURES") == "1"
DOWN = range(190, 211)
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "has_touch": True,
    "is_mobile": True,
}
PICTURES: list[tuple[str, str, dict[str, Any]]] = [
    ("docs/page.png", "", {}),
    ("docs/dark.png", "", {"color_scheme": "dark"}),
    ("docs/phone.png", "", PHONE),
    (
        "docs/wall.png",
        "?wall",
        {"color_scheme": "dark", "viewport": {"width": 1600, "height": 900}},
    ),
    ("static/preview.png", "?wall", {"viewport": {"width": 1200, "height": 630}}),
]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with app_with_past(
        tmp_path_factory.mktemp("app"), ["science", "football", "블랙핑크"], down=DOWN, by=3
    ) as started:
        yield started


@pytest.mark.parametrize(("name", "query", "options"), PICTURES, ids=[p[0] for p in PICTURES])
def test_picture(
    browser: Browser, app: App, tmp_path: Path, name: str, query: str, options: dict[str, Any]
) -> None:
    """The page with three lines, a gap and its reason; not an empty or a broken one."""
    with opened(browser, f"{app.url}/{query}", **options) as page:
        page.wait_for_function(
            "() => badge.textContent.startsWith('live · 0') && sources.children.length"
        )
        page.wait_for_function("() => hashtagPulse.state.gaps.told.length")
        page.wait_for_function(
            "() => hashtagPulse.chart.valueAt('science', hashtagPulse.chart.edge)"
        )
        if page.locator("#board").is_visible():
            page.get_by_role("button", name="Most used").click()
            page.wait_for_function("() => document.querySelectorAll('#board li').length > 2")
            page.wait_for_function("() => document.querySelectorAll('#posts li').length > 2")
            page.wait_for_function("() => document.getAnimations().length === 0")
        page.evaluate("() => scrollTo(0, 0)")
        path = ROOT / name if KEEP or not (ROOT / name).exists() else tmp_path / "picture.png"
        page.screenshot(path=path)
        ratio = page.evaluate("() => devicePixelRatio")
    picture = path.read_bytes()
    width = options.get("viewport", {"width": 1334})["width"] * ratio
    assert int.from_bytes(picture[16:20]) == width
    assert len(picture) > 20_000


def test_the_readme_shows_the_pictures() -> None:
    """Light, dark, phone and wall: whoever reads about the page sees it."""
    readme = (ROOT / "README.md").read_text()
    shown = set(re.findall(r"!\[[^]]+\]\(([^)]+)\)|<img src=\"([^\"]+)\"", readme))
    own = {name for each in shown if (name := each[0] or each[1]).startswith("docs/")}
    assert own == {name for name, *_ in PICTURES if name.startswith("docs/")}
