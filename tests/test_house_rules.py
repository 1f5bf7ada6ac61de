"""House rules that we care about, as tests."""

import ast
import re
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest
from servers import ROOT

from app.settings import Settings

LONGEST_FILE = 250


def tracked(*patterns: str) -> list[Path]:
    """The files of the project, by git; a tree that is no checkout has all its files."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def test_files_are_short() -> None:
    """250 lines at most: what is longer has two jobs."""
    files = tracked("app/*.py", "app/**/*.py", "app/*.lua", "static/*.js", "bench/*")
    assert len(files) > 20
    long = {f.name: n for f in files if (n := len(f.read_text().splitlines())) > LONGEST_FILE}
    assert long == {}


def reading_order() -> list[str]:
    """The modules as app/__init__.py lists them, "sources" for the folder."""
    listed = re.findall(r"^    (\w+)(?:\.py|/)  ", (ROOT / "app/__init__.py").read_text(), re.M)
    return ["app", *listed]


def module_of(file: Path) -> str:
    parts = file.relative_to(ROOT / "app").parts
    return parts[0] if len(parts) > 1 else parts[0].removesuffix(".py")


def imports_of(file: Path) -> set[str]:
    """The modules of ours that a file imports, however."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "app":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("app."):
            found.add(str(node.module).split(".")[1])
    return found


def test_every_module_is_in_the_reading_order() -> None:
    """app/__init__.py names every file, in the order in which to read them."""
    files = {module_of(f) for f in tracked("app/*.py", "app/**/*.py")} - {"__init__"}
    assert files == set(reading_order()) - {"app"}


def test_modules_import_only_from_those_above() -> None:
    """So there is an order in which each can be understood from what one has read."""
    order = reading_order()
    wrong = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in tracked("app/*.py", "app/**/*.py")
        if file != ROOT / "app/__init__.py"
        for name in imports_of(file)
        if order.index(name) > order.index(module_of(file))
    ]
    assert wrong == []


def settings_table() -> dict[str, str]:
    """Name to default, as the README has them."""
    text = (ROOT / "README.md").read_text()
    table = text[text.index("## Settings") :].split("\n## ")[0]
    return dict(re.findall(r"^\| `([A-Z_]+)` \| ([^|]*?) ?\|", table, re.M))


def test_the_readmes_settings_are_the_codes() -> None:
    """Every setting is in the table with its default, and nothing else is."""
    table = settings_table()
    assert set(table) == {item.name.upper() for item in fields(Settings)}
    for item in fields(Settings):
        default, shown = item.metadata["default"], table[item.name.upper()].strip("`")
        if item.name == "jetstream_url":
            assert (shown, default.count(",") + 1) == ("four public servers", 4)
        else:
            assert shown == default, item.name


def test_the_example_names_only_settings() -> None:
    """A name that is none would be ignored silently."""
    text = (ROOT / ".env.example").read_text()
    named = set(re.findall(r"^#?([A-Z_]+)=", text, re.M))
    assert named
    assert named <= {item.name.upper() for item in fields(Settings)}


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (r"py[p]i\.org|pythonh[o]sted|npm[j]s\.|deb\.deb[i]an\.org", "a package registry's host"),
        (r"/w[o]rk/|/r[o]ot/|/h[o]me/\w", "a path of one machine"),
    ],
)
def test_nothing_of_one_machine_is_committed(pattern: str, why: str) -> None:
    """Neither in code nor in lock files."""
    for file in tracked():
        if file.suffix not in (".png", ".ico"):
            found = re.search(pattern, file.read_text())
            assert not found, f"{file.relative_to(ROOT)} has {why}: {found}"


def test_lock_files_have_hashes_and_no_addresses() -> None:
    """What is installed is what was tested, from whichever index a machine has."""
    locks = tracked("requirements*.txt")
    assert len(locks) == 4
    for lock_file in locks:
        text = lock_file.read_text()
        assert "://" not in text
        for block in re.split(r"\n(?=\w)", text.strip()):
            assert "--hash=sha256:" in block or block.startswith("#"), block.splitlines()[0]
    lock = (ROOT / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert lock.count('"integrity"') == lock.count('"node_modules/')


def test_no_third_partys_code_is_committed() -> None:
    """smoothie comes from npm at set-up."""
    names = [str(file.relative_to(ROOT)) for file in tracked()]
    foreign = re.compile(r"smoothie.*\.js$|node_modules/|vendor/|\.min\.js$", re.I)
    assert [name for name in names if foreign.search(name)] == []


def test_the_page_has_no_inline_script_or_style() -> None:
    """Nor does any script write HTML: a hashtag is a stranger's text."""
    for file in tracked("templates/*.html"):
        text = file.read_text()
        assert not re.search(r"\son\w+=|\sstyle=|<style|javascript:", text), file
        for attributes, body in re.findall(r"<script([^>]*)>(.*?)</script>", text, re.S):
            assert not body.strip() or "application/json" in attributes, file
    writes = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function"
    )
    for file in tracked("static/*.js"):
        code = re.sub(r"^\s*(//|\*).*$", "", file.read_text(), flags=re.M)
        assert not writes.search(code), file
        assert "// @ts-check" in file.read_text().splitlines()[0:3], file
