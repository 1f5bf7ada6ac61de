"""docs/recipes.md: every command and program in it runs as it stands, against the real app."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from conftest import missing
from jinja2 import Environment
from playwright.sync_api import Browser
from servers import ROOT, App, wait_until

PLACE = "http://localhost:8000"
BLOCKS = re.findall(
    r"^```(\w+)\n(.*?)^```$", (ROOT / "docs" / "recipes.md").read_text(), re.M | re.S
)
NUMBER = r"\d+"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The demo, with a board already."""
    with App(tmp_path_factory.mktemp("recipes"), TICK_SECONDS="0.2") as started:
        started.started()
        wait_until(lambda: board_of(started), "there is a board", 30)
        yield started


def board_of(app: App) -> bool:
    try:
        with urlopen(f"{app.url}/api/board", timeout=10) as response:
            return bool(json.load(response)["used"])
    except OSError:
        return False


def block(kind: str, begins: str, app: App) -> str:
    """The one block of this kind that has this in it, for the running app."""
    [found] = [text for of, text in BLOCKS if of == kind and begins in text]
    return found.replace(PLACE, app.url)


def program(name: str) -> str:
    return shutil.which(name) or missing(name)


def output(*command: str, folder: Path, path: str = "") -> str:
    """What it prints; it must end well, in time."""
    env = {"PATH": f"{path}:{os.environ['PATH']}", "HOME": str(folder)}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_block_has_its_test() -> None:
    """Of each kind as many as the tests below run."""
    kinds = [kind for kind, _ in BLOCKS]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "sh": 4, "python": 1, "js": 1, "html": 2, "yaml": 1, "text": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("has", "prints"),
    [
        ("range=1h", rf"{NUMBER}\n{NUMBER}\n"),
        ("/api/board", rf"(#\w+ {NUMBER}\n)+(\w+\n)*"),
        ("jq -R", rf"({NUMBER}\n){{3}}"),
    ],
)
def test_commands(app: App, tmp_path: Path, has: str, prints: str) -> None:
    """Of curl and jq, by a plain shell."""
    program("jq")
    told = output("sh", "-ec", block("sh", has, app), folder=tmp_path)
    assert re.fullmatch(prints, told), told
    if has == "/api/board":
        head, *rows = (tmp_path / "day.csv").read_text().splitlines()
        assert head == "time,science,football" and len(rows) > 400


def test_python(app: App, tmp_path: Path) -> None:
    file = tmp_path / "recipe.py"
    file.write_text(block("python", "def totals", app))
    assert re.fullmatch(
        rf"({NUMBER} {NUMBER}\n){{3}}", output(sys.executable, file, folder=tmp_path)
    )


def test_javascript(app: App, tmp_path: Path) -> None:
    """By Node, as a module."""
    file = tmp_path / "recipe.mjs"
    file.write_text(block("js", "fetch(", app))
    told = output(program("node"), str(file), folder=tmp_path)
    assert re.fullmatch(rf"({NUMBER}\n){{3}}", told), told


def test_in_a_browser(app: App, browser: Browser, tmp_path: Path) -> None:
    """The script of a page of the same origin; and the frame of another page."""
    page = browser.new_page()
    page.goto(app.url)
    page.evaluate(
        block("html", "EventSource", app).strip().removeprefix("<script>")[: -len("</script>")]
    )
    page.wait_for_function("() => /^[0-9]+$/.test(document.title)")
    mine = tmp_path / "mine.html"
    mine.write_text(block("html", "<iframe", app))
    page.goto(mine.as_uri())
    page.frame_locator("iframe").locator("#rows tr").first.wait_for(state="attached")
    page.close()


def test_home_assistant(app: App) -> None:
    """Its template finds a number in the answer."""
    text = block("yaml", "value_template", app)
    [resource] = re.findall(r"resource: (\S+)", text)
    [template] = re.findall(r'value_template: "(.*)"', text)
    with urlopen(resource, timeout=10) as response:
        value = json.load(response)
    assert int(Environment().from_string(template).render(value_json=value)) >= 0


def test_grafana(app: App) -> None:
    """The answer has the columns that are named."""
    with urlopen(block("text", "format=csv", app).strip(), timeout=10) as response:
        head, *rows = response.read().decode().splitlines()
    named = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "recipes.md").read_text(), re.M)
    assert head.split(",") == named and all(re.match(r"\d{13},\d*$", row) for row in rows)


def test_a_screen_on_a_wall(app: App, chromium: str, tmp_path: Path) -> None:
    """The command itself, with a browser that has no screen and says what it shows."""
    browser = tmp_path / "chromium"
    options = f"--headless=new --no-sandbox --user-data-dir={tmp_path}/profile --dump-dom"
    options += " --virtual-time-budget=5000"  # it is a wall once all is loaded
    browser.write_text(f'#!/bin/sh\nexec {chromium} {options} "$@"\n')
    browser.chmod(0o755)
    command = block("sh", "--kiosk", app)
    shown = output("sh", "-ec", command, folder=tmp_path, path=str(tmp_path))
    assert re.search(r"<(html|body)[^>]*(wall|kiosk)", shown), shown[:2000]
