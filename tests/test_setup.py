"""What a newcomer does: clone, one command, a page; and what is said when something is missing."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import missing
from jetstream import Jetstream, Network, create
from servers import ROOT, Process, eventually, free_port, get, wait_until

MAKE = shutil.which("make") or "make"
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "npm_config_offline": "true"}


def make(folder: Path, *arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(("VIRTUAL_ENV", "MAKE", "MFLAGS"))
    }
    env = {**kept, **environ}
    return subprocess.run([MAKE, *arguments], cwd=folder, env=env, capture_output=True, text=True)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A fresh clone of the repository, as it was committed."""
    if not (ROOT / ".git").exists():
        missing("a git checkout")
    folder = tmp_path_factory.mktemp("fresh") / "a clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def ready(clone: Path) -> Path:
    """The clone after its first `make setup`."""
    done = make(clone, "setup", f"PYTHON={sys.executable}")
    assert done.returncode == 0, done.stdout + done.stderr
    return clone


def test_setup_makes_all_that_is_needed(ready: Path) -> None:
    """One command makes the environment and brings smoothie, and git sees nothing of it."""
    assert (ready / ".venv" / "bin" / "python").exists()
    assert b"SmoothieChart" in (ready / "static" / "smoothie.js").read_bytes()
    changed = subprocess.run(
        ["git", "status", "--porcelain"], cwd=ready, capture_output=True, text=True, check=True
    )
    assert changed.stdout == ""


def test_second_setup_needs_no_network(ready: Path) -> None:
    """Once it is done, set-up does nothing at all: neither pip nor npm is started."""
    again = make(ready, "setup", **OFFLINE)
    assert again.returncode == 0, again.stderr
    assert "installing" not in again.stdout
    assert "Nothing to be done" in again.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_run_serves_and_says_what_a_newcomer_needs(ready: Path, number: int) -> None:
    """`make run` prints the address, the sources, the place of the data and how to go live,
    serves the page, and ends with its process group, its Redis included."""
    port = free_port()
    names = ("PATH", "HOME", "LANG", "TMPDIR")
    env = {k: v for k, v in os.environ.items() if k in names}
    with Process(
        MAKE, "run", cwd=ready, env={**env, **OFFLINE, "BIND": f"127.0.0.1:{port}"}
    ) as run:
        wait_until(lambda: "go live" in run.output, f"it greets: {run.output}")
        told = run.output
        assert f"http://localhost:{port}\n" in told
        assert "sources   demo\n" in told
        assert f"{ready / 'data'} (embedded Redis)" in told
        assert "hashtags  #science #football\n" in told
        status, page = await get(f"http://localhost:{port}/")
        assert status == 200 and "demo data" in page and "smoothie" in page
        assert (await get(f"http://localhost:{port}/static/smoothie.js"))[0] == 200

        server = embedded_server(ready)
        os.killpg(run.popen.pid, number)
        run.wait(10)
        assert "I app: stopped" in run.output and "Traceback" not in run.output
        wait_until(lambda: not Path(f"/proc/{server}").exists(), "its Redis has ended")


async def test_live_counts_every_hashtag_of_bluesky(ready: Path) -> None:
    """`make live` needs no key: it shows what Bluesky sends, also a hashtag that nobody chose."""
    port, network = free_port(), Network()
    names = ("PATH", "HOME", "LANG", "TMPDIR")
    env = {k: v for k, v in os.environ.items() if k in names}
    chosen = {**OFFLINE, "BIND": f"127.0.0.1:{port}"}
    async with Jetstream(network) as bluesky:
        with Process(
            MAKE, "live", cwd=ready, env={**env, **chosen, "JETSTREAM_URL": bluesky.url}
        ) as live:
            await eventually(lambda: bluesky.open, f"it asks Bluesky: {live.output}")
            network.put([create("art"), create("Caturday", rkey="r2")])
            assert "sources   bluesky\n" in live.output
            assert f"{ready / 'data' / 'live'} (embedded Redis)" in live.output
            url = f"http://localhost:{port}/api/counts?tags=art,caturday"

            async def shown() -> bool:
                return bool((await get(url))[1].get("counts") == {"art": 1, "caturday": 1})

            await eventually(shown, "both are counted")
            os.killpg(live.popen.pid, signal.SIGTERM)
            live.wait(10)
            assert "Traceback" not in live.output


def embedded_server(folder: Path) -> int:
    """The process that holds the folder's lock beside us, by its working folder."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            here, name = (process / "cwd").resolve(), (process / "comm").read_text().strip()
        except OSError:
            continue
        if here == folder / "data" and name != "sh":
            return int(process.name)
    raise AssertionError("no server runs")


@pytest.fixture
def pretend(clone: Path, tmp_path: Path) -> Path:
    """A folder for a PATH on which python3 is what a test writes there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("rm", "touch", "git"):
        (folder / name).symlink_to(str(shutil.which(name)))
    return folder


def python3(folder: Path, body: str) -> dict[str, str]:
    file = folder / "python3"
    file.write_text(f'#!/bin/sh\n{body}\nexec {sys.executable} "$@"\n')
    file.chmod(0o755)
    return {"PATH": str(folder)}


FAILS_FOR = 'case "$*" in {}) exit 1;; esac'


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("exit 127", "hashtag pulse needs Python 3.11, 3.12 or 3.13, and none is on PATH."),
        (
            FAILS_FOR.format("*version_info*"),
            "needs Python 3.11, 3.12 or 3.13, and none is on PATH.",
        ),
        (FAILS_FOR.format("*'import venv'*"), "python3 lacks the venv module: install it"),
        (FAILS_FOR.format("*'-m venv'*"), "python3 can make no virtual environment with pip"),
        (
            FAILS_FOR.format("*'-m venv .fresh'|*'-m pip'*"),
            "can make no virtual environment with pip",
        ),
    ],
)
def test_what_is_missing_is_one_sentence(clone: Path, pretend: Path, body: str, says: str) -> None:
    """A machine without a fitting Python, venv or pip is told so, and what to install."""
    done = make(clone, "setup", "VENV=.fresh", **python3(pretend, body))
    told = [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]
    assert done.returncode != 0
    assert len(told) == 1 and says in told[0], done.stderr
    assert not (clone / ".fresh").exists()


def test_chosen_python_must_fit(clone: Path) -> None:
    """PYTHON= with one that does not exist is refused with its name."""
    done = make(clone, "setup", "VENV=.fresh", "PYTHON=python2.7")
    assert done.returncode != 0
    assert "python2.7 is not Python 3.11, 3.12 or 3.13." in done.stderr


def test_python_without_ensurepip_works_by_its_own_pip(clone: Path, pretend: Path) -> None:
    """Debian's python3 without python3-venv has no ensurepip: its pip serves as well."""
    fails = 'case "$*" in "-m venv .fresh") mkdir -p .fresh; exit 1;; esac'
    (pretend / "mkdir").symlink_to(str(shutil.which("mkdir")))
    done = make(clone, ".fresh/bin/python", "VENV=.fresh", **python3(pretend, fails))
    assert done.returncode == 0, done.stderr
    pip = subprocess.run(
        [clone / ".fresh" / "bin" / "python", "-m", "pip", "--version"], capture_output=True
    )
    assert pip.returncode == 0 and b".fresh" in pip.stdout
    shutil.rmtree(clone / ".fresh")


def test_without_npm_a_wheel_brings_it(clone: Path, pretend: Path, request: Any) -> None:
    """Where no npm is on PATH, the recipe installs the wheel that has one, and only there."""
    environ = python3(pretend, "")
    without = make(clone, "-nB", "static/smoothie.js", "VENV=.fresh", **environ)
    assert without.returncode == 0, without.stderr
    order = [without.stdout.index(step) for step in ("requirements-npm.txt", "npm ci", "cp node_")]
    assert order == sorted(order)
    recipe = next(line for line in without.stdout.splitlines() if "requirements-npm" in line)
    (pretend / "python").write_text('#!/bin/sh\necho "installed $*"\n')
    (pretend / "python").chmod(0o755)
    script = recipe.replace(".fresh/bin/python", "python")

    def run() -> str:
        done = subprocess.run(
            ["/bin/sh", "-c", script], env=environ, capture_output=True, text=True
        )
        return done.stdout

    assert "installed -m pip" in run()
    (pretend / "npm").symlink_to("/bin/true")
    assert run() == ""
