"""Every word of the page is in templates/texts/; in a real Chromium."""

import json
import re
import shutil
from pathlib import Path

import pytest
from browser import opened
from playwright.sync_api import Browser
from servers import ROOT, App, RedisServer
from yesterday import remember

TAGS = ("블랙핑크", "サッカー")
HEARD = """() => [
    document.title,
    document.body.innerText,
    document.querySelector('meta[name=description]').content,
    ...[...document.querySelectorAll('*')].flatMap(one =>
        ['aria-label', 'title', 'data-words'].map(name => one.getAttribute(name) ?? '')),
    document.getElementById('summary').textContent,
    ...window.written,
].join('\\n')"""
LISTEN = """() => {
    const {context} = hashtagPulse.axes, fill = context.fillText.bind(context);
    window.written = [];
    context.fillText = (words, ...place) => { written.push(words); fill(words, ...place) };
}"""


def foreign(text: str) -> str:
    """The text in a language that nobody speaks: only what stands in braces is still to be read."""
    return "".join(
        part if part.startswith("{") else re.sub("[A-Za-z]", "ж", part)
        for part in re.split(r"(\{\w+\})", text)
    )


@pytest.fixture
def translated(tmp_path: Path) -> Path:
    """A copy of the app with one language, which nobody speaks."""
    for name in ("app", "static", "templates"):
        shutil.copytree(ROOT / name, tmp_path / "copy" / name)
    shutil.copy(ROOT / "hypercorn.toml", tmp_path / "copy")
    folder = tmp_path / "copy" / "templates" / "texts"
    for other in set(folder.iterdir()) - {folder / "en.json"}:
        other.unlink()
    file = folder / "en.json"
    texts = json.loads(file.read_text())
    file.write_text(
        json.dumps({k: v if k == "direction" else foreign(v) for k, v in texts.items()})
    )
    return tmp_path / "copy"


def test_a_translation_of_one_file_leaves_no_english(
    browser: Browser, redis_server: RedisServer, translated: Path, tmp_path: Path
) -> None:
    """Neither on the page nor in its chart, its titles and what a screen reader hears."""
    remember(redis_server.url, TAGS, 200, range(100, 121))
    settings = {"REDIS_URL": redis_server.url, "HASHTAGS": ",".join(TAGS)}
    with (
        App(tmp_path, PYTHONPATH=translated, **settings).started() as app,
        opened(browser, f"{app.url}/?tags={TAGS[0]},サッカーボール") as page,
    ):
        page.wait_for_function("() => hashtagPulse.state.gaps.told.length > 1")
        page.evaluate(LISTEN)
        page.locator("#plot").focus()
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("Space")
        page.evaluate("() => { navigator.share = undefined; share.click() }")
        page.wait_for_function("() => !told.hidden && summary.textContent && written.length > 20")
        heard = page.evaluate(HEARD).replace(page.url, "")
    assert "жж" in heard
    assert "00:2" in heard, "the gap's reason is on the chart"
    assert sorted(set(re.findall(r"[A-Za-z]{2,}", heard))) == []
