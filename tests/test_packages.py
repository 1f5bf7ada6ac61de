"""From a wheel: built of what the image's build has, installed where nothing else of ours is."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from conftest import missing
from pythons import OWN, environment, versions
from servers import ROOT, Process, eventually, free_port, get, wait_until
from test_house_rules import tracked

from app import VERSION

SMOOTHIE = "/src/node_modules/smoothie/smoothie.js"


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's, each with the rest of its line."""
    text = (ROOT / "deploy" / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines)]


def pip(*arguments: str, python: str = sys.executable, cwd: Path = ROOT) -> None:
    command = (sys.executable, "-m", "pip", "--python", python, *arguments)
    env = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INDEX": "1"}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean folder with what the Dockerfile copies into its build."""
    folder = tmp_path_factory.mktemp("image")
    ours = {str(file.relative_to(ROOT)) for file in tracked()}
    ignored = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().splitlines()
    for name, rest in instructions():
        *files, to = rest.split()
        if name != "COPY" or "/app" in files:
            continue
        for file in files if not rest.startswith("--from") else ():
            found = {one for one in ours if one == file or one.startswith(f"{file}/")}
            assert found and f"!{file}" in ignored, f"{file} is there to be copied"
            for one in found:
                target = folder / (one if to in ("./", "deploy/") else to + one.removeprefix(file))
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / one, target)
        if SMOOTHIE in files:
            assert to == "static/"
            shutil.copy(ROOT / "static" / "smoothie.js", folder / to)
    return folder


def image(source: Path, folder: Path) -> None:
    """What the build stage makes, in a folder that stands for its root: each RUN as it is written,
    with other paths. What npm brings is copied; the packages come from where `make setup` has them."""
    starts = [n for n, (name, _) in enumerate(instructions()) if name == "FROM"]
    steps = [rest for name, rest in instructions()[starts[1] : starts[2]] if name == "RUN"]
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    assert len(steps) == 6
    for step in steps:
        here = re.sub(r"(?<= )/(app|data)\b", rf"{folder}/\1", step)
        command = ("/bin/sh", "-c", here)
        done = subprocess.run(command, cwd=source, env=env, capture_output=True, text=True)
        if "No matching distribution" in done.stderr:
            missing("the packages of requirements.txt")
        assert done.returncode == 0, f"{step}: {done.stdout + done.stderr}"


def read_only_but(folder: Path) -> list[str]:
    """What runs a command where nothing else of the root can be written to."""
    script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro / && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", script, str(folder)]
    tries = [[*command, "touch", str(place / "x")] for place in (folder, folder.parent)]
    if [subprocess.run(each, capture_output=True).returncode for each in tries] != [0, 1]:
        missing("the right to have a root that is read only, with the tests' folder on it")
    return command


async def test_the_images_steps_make_a_program_that_writes_in_data_alone(
    source: Path, ending: ExitStack
) -> None:
    """As its last stage has it: its program, its folder, its settings; its root is read only."""
    # no folder of pytest: the path of a socket is bounded
    root = Path(ending.enter_context(TemporaryDirectory()))
    image(source, root)
    data, last = root / "data", dict(instructions()[-9:])
    given = dict(re.findall(r"(\w+)=(\S+)", last["ENV"].replace("/data", str(data))))
    [entry], alone = json.loads(last["ENTRYPOINT"]), read_only_but(data)
    for command in (["run"], ["web", "--workers", "2"]):
        port = free_port()
        env = {**given, "PATH": "/usr/bin:/bin", "BIND": f"127.0.0.1:{port}"}
        program = f"{root}/app/bin/{entry}"
        app = ending.enter_context(Process(*alone, program, *command, cwd=data, env=env))
        await eventually(partial(serves, port, app), f"it serves: {app.output}")
        app.signal(15)
        assert app.wait() == 0 and "cannot be written" not in app.output, app.output
    says = "hashtag pulse: --workers needs a folder that can be written to: "
    elsewhere = partial(subprocess.run, [*alone, program, *command], cwd="/", env=env)
    done = await asyncio.to_thread(elsewhere, capture_output=True, text=True)
    assert says in done.stderr and "Traceback" not in done.stderr


async def serves(port: int, app: Process) -> bool:
    assert app.running, app.output
    return "page " in app.output and (await get(f"http://127.0.0.1:{port}/healthz"))[0] == 200


@pytest.fixture(scope="module")
def wheel(source: Path) -> Path:
    """As the image builds it, with what requirements-build.txt pins."""
    assert ("RUN", "pip wheel --no-deps --no-build-isolation -w dist .") in instructions()
    pip("wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", "dist", ".", cwd=source)
    [built] = (source / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def bin(
    request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The programs of an environment in which the wheel is installed, and nothing else of ours;
    what it depends on is lent by one that has it already."""
    lender = environment(request.param)
    folder = tmp_path_factory.mktemp("empty") / "env"
    subprocess.run([lender, "-m", "venv", "--without-pip", str(folder)], check=True)
    pip("install", "--quiet", "--no-deps", str(wheel), python=str(folder / "bin" / "python"))
    asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
    there, lent = (
        subprocess.run([one, "-c", asked], capture_output=True, text=True, check=True).stdout
        for one in (str(folder / "bin" / "python"), lender)
    )
    Path(there.strip(), "lent.pth").write_text(lent)
    return folder / "bin"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where it is started: there is an `app` of somebody else."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").write_text("raise SystemExit('the wrong app')\n")
    return tmp_path


def environ(port: int) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "BIND": f"127.0.0.1:{port}"}


def test_the_wheel_has_the_page_and_its_licences(wheel: Path) -> None:
    """Every file of the page, the server's settings, the scripts of Redis, and nothing else."""
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
        about = f"hashtag_pulse-{VERSION}.dist-info"
        assert b"Permission is hereby granted" in packed.read("app/static/smoothie.js")
        assert b"MIT License" in packed.read(f"{about}/licenses/LICENSE")
    ours = [file.relative_to(ROOT) for file in tracked("app", "static", "templates")]
    wanted = {str(f) if f.parts[0] == "app" else f"app/{f}" for f in ours}
    rest = names - wanted - {"app/static/smoothie.js", "app/hypercorn.toml"}
    assert wanted <= names and all(name.startswith(about) for name in rest), rest


def test_the_source_archive_builds_the_same_wheel(
    source: Path, wheel: Path, tmp_path: Path
) -> None:
    """It has what is needed, smoothie too: `uv build` goes by it."""
    command = (sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path))
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    shutil.unpack_archive(next(tmp_path.glob("*.tar.gz")), tmp_path)
    [unpacked] = tmp_path.glob("hashtag_pulse-*/")
    pip("wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", "dist", ".", cwd=unpacked)
    again = next((unpacked / "dist").glob("*.whl"))
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(again) as two:
        assert sorted(one.namelist()) == sorted(two.namelist())


def test_without_smoothie_it_is_said(source: Path, tmp_path: Path) -> None:
    """Where npm is not to be had, the wheel is built, and its page has no chart."""
    folder = tmp_path / "source"
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("smoothie.js", "dist"))
    command = (sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path))
    env = {**os.environ, "PATH": ""}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "static/smoothie.js is missing" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("bin", "command"),
    [*((version, ()) for version in versions()), (OWN, ("web", "--workers", "2"))],
    indirect=["bin"],
)
async def test_one_command_does_its_main_job(
    bin: Path, place: Path, ending: ExitStack, command: tuple[str, ...]
) -> None:
    """It serves the page and all its files, and counts; whatever lies in the folder."""
    port = free_port()
    program = str(bin / "hashtag-pulse")
    app = ending.enter_context(Process(program, *command, cwd=place, env=environ(port)))
    if command[:1] == ("web",):
        ending.enter_context(Process(program, "ingest", cwd=place, env=environ(port)))
    wait_until(lambda: "page " in app.output, f"it has started: {app.output}")
    url = f"http://127.0.0.1:{port}"

    async def counts() -> bool:
        status, told = await get(f"{url}/api/counts?tags=science")
        assert app.running, app.output
        return status == 200 and told["counts"]["science"] > 0

    await eventually(counts, f"it counts: {app.output}")
    _, page = await get(f"{url}/")
    files = re.findall(r'(?:src|href)="(static/[^"]+)"', page)
    assert any(file.endswith("smoothie.js") for file in files)
    for file in files:
        assert (await get(f"{url}/{file}"))[0] == 200, file
    app.signal(15)
    assert app.wait() == 0, app.output


@pytest.mark.parametrize("bin", [OWN], indirect=True)
def test_its_version_by_both_names(bin: Path, tmp_path: Path) -> None:
    """The program, and the module for who prefers that."""
    for command in ((str(bin / "hashtag-pulse"),), (str(bin / "python"), "-m", "app")):
        run = (*command, "--version")
        done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True)
        assert done.stdout == f"hashtag pulse {VERSION}\n", done.stderr
    helped = (str(bin / "hashtag-pulse"), "--help")
    told = subprocess.run(helped, cwd=tmp_path, capture_output=True, text=True).stdout
    assert told.startswith("usage: hashtag-pulse ")
    for name in ("run", "ingest", "web", "check", "record"):
        assert re.search(rf"^    {name} ", told, re.M), told
