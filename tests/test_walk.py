"""docs/walk.md follows one post to a pixel: every name in it exists, and it is short."""

import ast
import re

from servers import ROOT

STEP = re.compile(r"^\| `([\w.]+)` in (\S+\.(?:py|js)) \|", re.M)


def steps() -> list[tuple[str, str]]:
    """Name and file, in their order."""
    return STEP.findall((ROOT / "docs" / "walk.md").read_text())


def names_in(file: str) -> set[str]:
    """The functions, classes and methods of a file; a method as Class.method in Python."""
    text = (ROOT / file).read_text()
    if file.endswith(".js"):
        return set(
            re.findall(r"^(?:export )?(?:function |class )?(?:async )?  ?(\w+)\(.*\{$", text, re.M)
        )
    found = set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            inner = (n for n in node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
            found |= {f"{node.name}.{each.name}" for each in inner}
    return found


def test_every_step_exists() -> None:
    """A renamed function takes its step with it."""
    assert len(steps()) >= 25
    assert [step for step in steps() if step[0] not in names_in(step[1])] == []


def test_the_walk_is_a_page() -> None:
    """It can be read in five minutes, every line of its tables is a step, and the files that it
    names are there."""
    text = (ROOT / "docs" / "walk.md").read_text()
    rows = [row for row in text.splitlines() if row.startswith("| `")]
    assert len(rows) == len(steps()) and len(text.splitlines()) <= 60
    for file in re.findall(r"\b(?:app|static)/[\w/]+\.\w+", text):
        assert (ROOT / file).is_file(), file
