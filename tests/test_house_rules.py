"""House rules that we care about, as tests."""

import ast
import json
import re
import subprocess
from collections import Counter
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import pytest
from servers import ROOT

from app.messages import WORKING
from app.settings import Settings

LONGEST_FILE, LONGEST_FUNCTION = 400, 40
"""Lines."""


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
    """400 lines at most: what is longer has two jobs."""
    files = tracked(
        "app/*.py", "app/**/*.py", "app/**/*.lua", "static/*.js", "bench/*", "tests/*.py"
    )
    assert len(files) > 20
    long = {f.name: n for f in files if (n := len(f.read_text().splitlines())) > LONGEST_FILE}
    assert long == {}


def test_functions_are_short() -> None:
    """40 lines at most, in everything that is written in Python."""
    long = [
        f"{file.relative_to(ROOT)}: {node.name}"
        for file in tracked("app/**/*.py", "app/*.py", "bench/**/*.py", "bench/*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= LONGEST_FUNCTION
    ]
    assert long == []


def test_the_pages_functions_are_short() -> None:
    """40 lines at most: from a line that opens a function or a method to the one that closes it
    at the same depth."""
    begins = re.compile(r"^( *)(?!if|for|while|switch|else)[\w#*. ]*\w\(.*\) \{$")
    long = []
    for file in tracked("static/*.js"):
        lines = file.read_text().splitlines()
        for n, line in enumerate(lines):
            if (found := begins.match(line)) and not line.lstrip().startswith(("if", "for", "}")):
                end = next(
                    m for m in range(n + 1, len(lines)) if lines[m].startswith(f"{found[1]}}}")
                )
                long += [f"{file.name}: {line.strip()}"] if end - n >= LONGEST_FUNCTION else []
    assert long == []


def test_classes_of_many_fields_say_what_each_is() -> None:
    """A class that declares more than five has a line below each, or half of one beside it."""
    silent = [
        f"{file.relative_to(ROOT)}: {node.name}.{ast.unparse(field.target)}"
        for file in tracked("app/**/*.py", "app/*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef) and node.name != "Settings"  # docs/running.md has a table
        for field in undescribed(node)
    ]
    assert silent == []


def undescribed(node: ast.ClassDef) -> list[ast.AnnAssign]:
    """The fields of a class with more than five, without a text below them."""
    fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
    followed = [
        one
        for one, two in pairwise(node.body)
        if isinstance(two, ast.Expr) and isinstance(two.value, ast.Constant)
    ]
    return [each for each in fields if each not in followed] if len(fields) > 5 else []


def test_no_two_classes_have_one_name() -> None:
    """But for what networks call so in their messages: each has a file of its own for these."""
    names = Counter(
        node.name
        for file in tracked("app/**/*.py", "app/*.py")
        if file.name != "wire.py"
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef)
    )
    assert names.total() > 100
    assert [name for name, times in names.items() if times > 1] == []


def test_large_classes_say_what_their_numbers_and_collections_are() -> None:
    """Of a class that makes more than five in `__init__`, each that begins as a number, a text or
    a collection has a line below: the others are called what they are."""
    silent = [
        f"{file.relative_to(ROOT)}: {node.name}: {name}"
        for file in tracked("app/**/*.py", "app/*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef)
        for method in node.body
        if isinstance(method, ast.FunctionDef) and method.name == "__init__"
        for name in undescribed_beginnings(method)
    ]
    assert silent == []


COLLECTIONS = {"Counter", "OrderedDict", "defaultdict", "deque", "float", "set"}


def undescribed_beginnings(method: ast.FunctionDef) -> list[str]:
    """What is set to a number, a text or a collection without a text below, where much is set."""
    made = [
        (two, *each) for one, two in pairwise([*method.body, ast.Pass()]) for each in set_by(one)
    ]
    return [
        ast.unparse(target)
        for below, target, value in made
        if len(made) > 5
        and (
            isinstance(value, ast.Constant | ast.Dict | ast.List | ast.Set | ast.UnaryOp)
            or (isinstance(value, ast.Call) and ast.unparse(value.func) in COLLECTIONS)
        )
        and not (isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant))
    ]


def set_by(step: ast.stmt) -> list[tuple[ast.expr, ast.expr]]:
    """The fields that an assignment sets, and to what."""
    targets = step.targets if isinstance(step, ast.Assign) else []
    targets = [step.target] if isinstance(step, ast.AnnAssign) else targets
    found: list[tuple[ast.expr, ast.expr]] = []
    for target in targets:
        value: ast.expr = step.value  # type: ignore[attr-defined]
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            found += zip(target.elts, value.elts, strict=True)
        else:
            found.append((target, value))
    return [(target, value) for target, value in found if isinstance(target, ast.Attribute)]


GROWING = COLLECTIONS | {"WeakSet", "WeakValueDictionary", "dict", "list"}


def test_what_can_grow_says_its_bound() -> None:
    """Of a class that begins with an empty collection, either the class says its bounds or the
    line below the collection does."""
    silent = [
        f"{file.relative_to(ROOT)}: {node.name}: {name}"
        for file in tracked("app/**/*.py", "app/*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef)
        and not re.search("[Bb]ound", ast.get_docstring(node) or "")
        for method in node.body
        if isinstance(method, ast.FunctionDef)
        for name in unbounded(method)
    ]
    assert silent == []


def unbounded(method: ast.FunctionDef) -> list[str]:
    """What a method sets to an empty collection for the first time, by its annotation, without a
    bound beside it."""
    found = []
    for step, below in pairwise([*method.body, ast.Pass()]):
        told = ast.unparse(below) if isinstance(below, ast.Expr) else ""
        is_first = isinstance(step, ast.AnnAssign) and step.value is not None
        for target, value in set_by(step) if is_first else []:
            empty = isinstance(value, ast.Dict | ast.List) and not ast.unparse(value).strip("[]{}")
            made = (
                isinstance(value, ast.Call)
                and ast.unparse(value.func) in GROWING
                and not value.args
            )
            is_bounded = "maxlen" in ast.unparse(value) or re.search(
                r"at most|[Oo]f each|each source|MOST", told
            )
            if (empty or made) and not is_bounded:
                found.append(ast.unparse(target))
    return found


PACKAGES = (
    "store", "sources", "sources/bluesky", "sources/demo", "sources/mastodon", "sources/x", "ingest",
    "web", "commands",
)  # fmt: skip


def reading_order(folder: str = "") -> list[str]:
    """What the folder's `__init__.py` lists, in its order: files, and folders without files."""
    text = (ROOT / "app" / folder / "__init__.py").read_text()
    listed = re.findall(
        r"^    (\w+)(?:\.py|/)  ", ast.get_docstring(ast.parse(text), False) or "", re.M
    )
    return [name for name in listed if name != "__init__"]


def imported_by(file: Path) -> set[str]:
    """The modules of ours that a file imports, wherever it does, in full."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "app":
            base = str(node.module)
            whole = {f"{base}.{alias.name}" for alias in node.names}
            found |= {name if exists(name) else base for name in whole}
    return found


def exists(module: str) -> bool:
    path = ROOT / module.replace(".", "/")
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


@pytest.mark.parametrize("folder", ["", *PACKAGES])
def test_every_file_is_in_its_folders_reading_order(folder: str) -> None:
    """`__init__.py` names every file, in the order in which to read them."""
    inside = ROOT / "app" / folder
    there = {f.stem for f in inside.glob("*.py")} | {
        f.parent.name for f in inside.glob("*/__init__.py")
    }
    assert sorted(reading_order(folder)) == sorted(there - {"__init__"})


@pytest.mark.parametrize("folder", ["", *PACKAGES])
def test_modules_import_only_from_those_above(folder: str) -> None:
    """So there is an order in which each can be understood from what one has read."""
    order = reading_order(folder)
    wrong = []
    for file in tracked("app/*.py", "app/**/*.py"):
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        mine = place_within(module, folder)
        for name in imported_by(file) if mine else ():
            other = place_within(name, folder)
            if other and mine and order.index(other) > order.index(mine):
                wrong.append(f"{module} imports {name}")
    assert wrong == []


def place_within(module: str, folder: str) -> str:
    """The part of a module's name that the folder's list has; "" for one that is elsewhere."""
    prefix = ["app", *folder.split("/")] if folder else ["app"]
    parts = module.split(".")
    inside = parts[: len(prefix)] == prefix and len(parts) > len(prefix)
    return parts[len(prefix)] if inside else ""


def test_only_the_store_speaks_to_redis() -> None:
    """All of Redis is in app/store/: nobody else imports redis-py or takes the client."""
    for file in tracked("app/*.py", "app/**/*.py"):
        if file.parent != ROOT / "app" / "store":
            text = file.read_text()
            assert not re.search(r"^(from|import) redis\b|store\.redis\b|\.redis\.", text, re.M), (
                file
            )


def test_counting_and_serving_meet_in_redis_alone() -> None:
    """A web process loads nothing of the ingester, and an ingester nothing of the web."""
    for mine, other in (("ingest", "web"), ("web", "ingest")):
        for file in tracked(f"app/{mine}/*.py"):
            assert not {name for name in imported_by(file) if f"app.{other}" in name}, file


def test_every_task_is_begun_where_a_bug_in_it_ends_the_process() -> None:
    """In a group, or by process.begin; a recording waits for its own."""
    for file in tracked("app/*.py", "app/**/*.py"):
        if file.name not in ("process.py", "__main__.py"):
            begun = re.findall(r"\basyncio\.(?:create_task|ensure_future)\(", file.read_text())
            assert not begun, file


def test_page_and_server_agree_which_states_work() -> None:
    """Each says it once."""
    [told] = re.findall(r"WORKING = new Set\((\[.*\])\)", (ROOT / "static/feed.js").read_text())
    assert set(json.loads(told)) == WORKING


def settings_table() -> dict[str, str]:
    """Name to default, as docs/running.md has them."""
    text = (ROOT / "docs" / "running.md").read_text()
    table = text[text.index("## Settings") :].split("\n## ")[0]
    return dict(re.findall(r"^\| `([A-Z_]+)` \| ([^|]*?) ?\|", table, re.M))


def test_the_tables_settings_are_the_codes() -> None:
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
    assert len(locks) == 7
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
