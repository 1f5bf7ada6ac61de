"""`make audit`: what is known against packages, and what is said where nobody could be asked."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from servers import ROOT

FILES = len(list(ROOT.glob("requirements*.txt")))
CLEAN = {"dependencies": [{"name": "quart", "version": "0.22.0", "vulns": []}]}
KNOWN = {
    "dependencies": [
        {"name": "quart", "version": "0.22.0", "vulns": [{"id": "A-1", "fix_versions": ["0.23"]}]},
        {"name": "redis", "version": "8.1.0", "vulns": [{"id": "A-2", "fix_versions": []}]},
    ]
}
UNKNOWN = {"dependencies": [{"name": "quart", "skip_reason": "not found"}]}
NPM_CLEAN = {"vulnerabilities": {}, "metadata": {"dependencies": {"total": 2}}}
WHY = [{"url": "u/A-3", "title": "t"}, "another package"]
NPM_KNOWN = {
    "vulnerabilities": {
        "smoothie": {"name": "smoothie", "range": "<2", "severity": "high", "via": WHY}
    },
    "metadata": {"dependencies": {"total": 2}},
}
NPM_UNKNOWN = {"message": "405 Method Not Allowed - POST https://mirror.example/-/npm"}


def audit(folder: Path, python: Any, npm: Any) -> tuple[int, str]:
    """The status and the output of .ci/audit.py, with tools that write this as JSON; None is a
    tool that is not there, a text one that writes that."""
    for name, told in (("pip-audit", python), ("npm", npm)):
        if told is not None:
            text = told if isinstance(told, str) else json.dumps(told)
            (folder / f"{name}.json").write_text(text)
            script = f"#!/bin/sh\necho https://mirror.example >&2\n/bin/cat {folder}/{name}.json\nexit 1\n"
            (folder / name).write_text(script)
            (folder / name).chmod(0o755)
    done = subprocess.run(
        [sys.executable, str(ROOT / ".ci" / "audit.py"), str(folder / "pip-audit")],
        env={"PATH": str(folder)},
        capture_output=True,
        text=True,
    )
    assert done.stderr == "" and "mirror.example" not in done.stdout
    return done.returncode, done.stdout


def test_nothing_known_is_said_with_how_many_were_asked_about(tmp_path: Path) -> None:
    """Every lock file is asked about, and npm's."""
    status, told = audit(tmp_path, CLEAN, NPM_CLEAN)
    assert (status, told) == (0, f"ok     Nothing is known against the {FILES + 2} packages.\n")


def test_what_is_known_fails_and_is_named_once(tmp_path: Path) -> None:
    """Package, version, where to read about it, and what mends it."""
    status, told = audit(tmp_path, KNOWN, NPM_KNOWN)
    assert status == 1
    assert told.splitlines() == [
        "KNOWN  quart 0.22.0: A-1, mended in 0.23.",
        "KNOWN  redis 8.1.0: A-2, not mended yet.",
        "KNOWN  smoothie <2: u/A-3, high.",
    ]


@pytest.mark.parametrize("python", [UNKNOWN, None, "", "[]", "<html>", "{}"])
@pytest.mark.parametrize("npm", [NPM_CLEAN, NPM_UNKNOWN])
def test_who_could_not_be_asked_is_no_all_clear(tmp_path: Path, python: Any, npm: Any) -> None:
    """pip-audit ends with "no known vulnerabilities" where its service has none of the packages:
    one sentence says of which files nothing is known, and the status is another one."""
    status, told = audit(tmp_path, python, npm)
    assert status == 2
    [line] = told.splitlines()
    assert line.startswith("WARN   Nobody could be asked from here about all that these name: req")
    assert "requirements.txt" in line
    assert ("package-lock.json" in line) == (npm is NPM_UNKNOWN)


def test_what_is_known_counts_more_than_who_could_not_be_asked(tmp_path: Path) -> None:
    """Both are said."""
    status, told = audit(tmp_path, KNOWN, NPM_UNKNOWN)
    assert status == 1 and "KNOWN  quart" in told and told.endswith(": package-lock.json.\n")


def test_without_npm_its_packages_are_named(tmp_path: Path) -> None:
    """As with any tool that cannot be run."""
    status, told = audit(tmp_path, CLEAN, None)
    assert status == 2 and told.endswith("name: package-lock.json.\n")
