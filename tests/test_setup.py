"""What a newcomer does: clone, one command, a page; and what is said when something is missing."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
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
    pinned = (clone / "requirements-pip.txt").read_text().split()[0].replace("==", " ")
    assert pip.returncode == 0 and b".fresh" in pip.stdout
    assert pip.stdout.decode().startswith(f"{pinned} from"), "it is the one whose hash we know"
    shutil.rmtree(clone / ".fresh")


def test_another_pip_than_the_pinned_one_is_refused(pretend: Path, tmp_path: Path) -> None:
    """What an index hands over under the pinned version, and is another file, is not installed."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    pinned = (ROOT / "requirements-pip.txt").read_text()
    (tmp_path / "requirements-pip.txt").write_text(re.sub("sha256:....", "sha256:0000", pinned))
    fails = 'case "$*" in "-m venv .fresh") mkdir -p .fresh; exit 1;; esac'
    (pretend / "mkdir").symlink_to(str(shutil.which("mkdir")))
    done = make(tmp_path, ".fresh/bin/python", "VENV=.fresh", **python3(pretend, fails))
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert done.returncode != 0 and not (tmp_path / ".fresh").exists()


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


def recipe_of(target: str, words: str) -> str:
    """The line of the Makefile's recipes for this target that has these words."""
    lines = make(ROOT, "-nB", target, "VENV=.fresh").stdout.replace("\\\n", " ").splitlines()
    return next(line for line in lines if words in line)


@pytest.mark.parametrize(
    "target", ["setup", ".venv/.test", ".venv-bench/.done", ".venv-audit/.done"]
)
def test_only_what_is_pinned_and_built_already_is_installed(target: str) -> None:
    """Every package by its hash, as a wheel; nothing that is installed runs a program of its own."""
    done = make(ROOT, "-nB", target)
    lines = done.stdout.replace("\\\n", " ").splitlines()
    pip = [line for line in lines if re.search(r"-m pip.* install\b", line)]
    assert pip
    for line in pip:
        assert "install --require-hashes --only-binary :all: -r requirements" in line
    npm = [line for line in lines if re.search(r"\bnpm (ci|install)\b", line)]
    assert all("npm ci --silent --ignore-scripts" in line for line in npm)
    assert npm or target != "setup"


def test_a_package_that_would_have_to_be_built_is_refused(tmp_path: Path) -> None:
    """Its program would run as us. The same file is built, and that runs, where it is allowed."""
    (tmp_path / "odd-1").mkdir()
    for name, text in SOURCE_ONLY.items():
        (tmp_path / "odd-1" / name).write_text(text)
    with tarfile.open(tmp_path / "odd-1.tar.gz", "w:gz") as packed:
        packed.add(tmp_path / "odd-1", "odd-1")
    digest = hashlib.sha256((tmp_path / "odd-1.tar.gz").read_bytes()).hexdigest()
    (tmp_path / "requirements.txt").write_text(f"odd==1 --hash=sha256:{digest}\n")
    recipe = recipe_of(".fresh/.app", "-r requirements.txt").lstrip("@")
    python = recipe.replace(".fresh/bin/python", f"{sys.executable}")
    ran = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_TARGET": str(tmp_path / "t")}
    for script, builds in ((python, False), (python.replace("--only-binary :all:", ""), True)):
        done = subprocess.run(
            ["/bin/sh", "-c", script], cwd=tmp_path, env={**os.environ, **ran},
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode != 0
        assert (tmp_path / "ran").exists() == builds, done.stderr
        assert ("No matching distribution found for odd" in done.stderr) != builds


SOURCE_ONLY = {
    "PKG-INFO": "Metadata-Version: 2.1\nName: odd\nVersion: 1\n",
    "pyproject.toml": """[build-system]
requires = []
build-backend = "odd"
backend-path = ["."]
""",
    "odd.py": """from pathlib import Path
Path(__import__("os").environ["PIP_FIND_LINKS"], "ran").write_text("")
""",
}


def test_scripts_of_npm_packages_do_not_run(tmp_path: Path) -> None:
    """Neither in our recipe nor, by .npmrc, for who runs npm by hand; without both they would."""
    npm = shutil.which("npm") or missing("npm")
    names = {"name": "odd", "version": "1.0.0"}
    (tmp_path / "package.json").write_text(
        json.dumps({**names, "scripts": {"install": "touch ran"}})
    )
    lock = {**names, "lockfileVersion": 3, "requires": True, "packages": {"": names}}
    (tmp_path / "package-lock.json").write_text(json.dumps(lock))
    recipe = recipe_of("node_modules/.package-lock.json", "npm ci").lstrip("@")
    env = {**os.environ, **OFFLINE}
    ran = tmp_path / "ran"
    subprocess.run(["/bin/sh", "-c", recipe], cwd=tmp_path, env=env, check=True)
    assert not ran.exists()
    shutil.copy(ROOT / ".npmrc", tmp_path)
    subprocess.run([npm, "ci", "--silent"], cwd=tmp_path, env=env, check=True)
    assert not ran.exists()
    (tmp_path / ".npmrc").unlink()
    subprocess.run([npm, "ci", "--silent"], cwd=tmp_path, env=env, check=True)
    assert ran.exists(), "else nothing is shown by this"
