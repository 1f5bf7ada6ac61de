"""The Pythons of this machine that the app promises to run on, each with an environment."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from conftest import missing
from servers import ROOT

PROMISED = ("3.11", "3.12", "3.13")
OWN = f"{sys.version_info.major}.{sys.version_info.minor}"


def found(version: str) -> str:
    """The path of a Python of this version, or nothing."""
    if version == OWN:
        return sys.executable
    versions = (Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin")
    folders = [*map(str, versions), *os.environ.get("PATH", "").split(os.pathsep)]
    for folder in folders:
        path = shutil.which(f"python{version}", path=folder)
        if path and works(path):
            return path
    return ""


@cache
def works(path: str) -> bool:
    """A version manager's stand-in is there for Pythons that are not chosen, and fails."""
    return subprocess.run([path, "-c", "import venv"], capture_output=True).returncode == 0


def versions() -> list[str]:
    """Those to test on: all promised ones, so that absent ones are named as skipped.

    CI takes what there is: a clean Debian has no more than one Python.
    """
    in_ci = os.environ.get("CI") == "true"
    return [version for version in PROMISED if not in_ci or found(version)]


@cache
def environment(version: str) -> str:
    """The path of a Python of this version that has what the app needs; skips without one."""
    python = found(version)
    if not python:
        pytest.skip(f"this machine lacks Python {version}")
    if version == OWN:
        return python
    folder = ROOT / f".venv-{version}"
    with one_at_a_time():
        made = subprocess.run(
            ["make", f"{folder.name}/.app", f"VENV={folder.name}", f"PYTHON={python}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
    if made.returncode:
        missing(f"an environment for Python {version}: {made.stderr[-300:]}")
    return str(folder / "bin" / "python")


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Two runs of the tests may want the same environment; in a worktree .git is a file."""
    lock = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
