"""The image and the compose file, as far as they can be judged without an engine to run them."""

import asyncio
import re
import shutil
import subprocess
import sys
from pathlib import Path

from conftest import missing
from deployed import NGINX
from proxies import bundled
from served import Site
from servers import ROOT
from test_packages import instructions

from app.settings import read

DEPLOY = ROOT / "deploy"


def test_the_image_runs_as_nobody_and_says_how_it_is() -> None:
    """Its last stage has what was built and nothing to build with; its folder is the user's."""
    starts = [n for n, (name, _) in enumerate(instructions()) if name == "FROM"]
    last = dict(instructions()[starts[-1] :])
    assert len(starts) == 3 and "RUN" not in last
    assert last["USER"] == "65532:65532" and last["VOLUME"] == "/data" == last["WORKDIR"]
    assert ("COPY", "--from=build --chown=65532:65532 /data /data") in instructions()
    assert last["ENTRYPOINT"] == '["hashtag-pulse"]' and last["CMD"] == '["run"]'
    assert "/healthz" in last["HEALTHCHECK"] and last["EXPOSE"] in last["HEALTHCHECK"]
    chosen = dict(re.findall(r"(\w+)=(\S+)", last["ENV"]))
    assert chosen.keys() >= {"BIND", "DATA_FOLDER"} and read(chosen).data_folder == "/data/redis"


def test_what_the_image_installs_is_pinned() -> None:
    """As everywhere: by hash, and as wheels."""
    runs = [rest for name, rest in instructions() if name == "RUN" and " install " in rest]
    assert len(runs) == 3
    for run in runs:
        assert "--require-hashes --only-binary :all:" in run or "--no-deps --no-index" in run


async def test_the_health_check_tells_one_from_the_other(site: Site) -> None:
    """What is well, and where nothing answers."""
    [[_, check]] = [each for each in instructions() if each[0] == "HEALTHCHECK"]
    script = re.search(r'"(import .*)"\]', check)
    assert script and ":8000/" in script[1]
    for port, status in ((site.port, 0), (1, 1)):
        asks = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script[1].replace(":8000", f":{port}"), stderr=asyncio.subprocess.PIPE
        )  # fmt: skip
        _, said = await asks.communicate()
        assert asks.returncode == status and (b"Connection refused" in said) == bool(status)


def test_the_proxy_of_the_compose_file_takes_its_configuration(tmp_path: Path) -> None:
    """What its own command makes of nginx.conf names both web processes, and nginx takes it."""
    text = (DEPLOY / "compose.yaml").read_text()
    changes = re.findall(r"^ +sed '(.*)'$", text, re.M)
    command = ("sed", *changes, str(DEPLOY / "nginx.conf"))
    made = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    addresses = re.findall(r"ipv4_address: (\S+)", text)
    assert re.findall(r"server (\S+):8000 max_fails=0;", made) == addresses[:2]
    whole = NGINX.format(connections=100, conf=made)
    for conf, status in ((whole, 0), (whole.replace("max_fails=0", "max_fails=none"), 1)):
        (tmp_path / "nginx.conf").write_text(conf)
        tries = (bundled(), "-t", "-p", f"{tmp_path}/", "-c", "nginx.conf", "-e", "stderr")
        done = subprocess.run(tries, capture_output=True, text=True)
        assert done.returncode == status, done.stderr


def test_the_compose_file_is_one(tmp_path: Path) -> None:
    """By its schema; what it mounts is there."""
    compose = shutil.which("docker-compose") or missing("docker-compose")
    command = (compose, "-f", str(DEPLOY / "compose.yaml"), "config")
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"ipv4_address: (\S+)", done.stdout) == [
        "172.30.14.10",
        "172.30.14.11",
        "172.30.14.12",
    ]
    for name in ("nginx.conf", "Dockerfile"):
        assert (DEPLOY / name).is_file() and name in done.stdout
    bad = (DEPLOY / "compose.yaml").read_text().replace("read_only: true", "read_only: maybe")
    (tmp_path / "compose.yaml").write_text(bad)
    command = (compose, "-f", str(tmp_path / "compose.yaml"), "config")
    assert subprocess.run(command, capture_output=True).returncode != 0, "it can fail"


OF_OTHERS = {"DATA_FOLDER", "REDIS_CA", "REDIS_CERT", "REDIS_KEY", "ALLOW_EVICTION"}
"""Settings of a Redis that is not that of the compose file."""


def test_every_setting_goes_through_the_compose_file(tmp_path: Path) -> None:
    """From a file beside it to all three processes, as X's ceiling must; a name that is none would
    do nothing, and what it gives for all is right."""
    compose = shutil.which("docker-compose") or missing("docker-compose")
    text = (DEPLOY / "compose.yaml").read_text()
    [block] = re.findall(r"environment: &settings\n((?:    (?:\w+:|#) .*\n)+)", text)
    chosen = dict(re.findall(r"    (\w+): (.*)", block))
    known = {name.upper() for name in read({}).__dataclass_fields__}
    assert set(chosen) == known - OF_OTHERS
    passed = [name for name, value in chosen.items() if value == f"${{{name}:-}}"]
    assert read({name: value for name, value in chosen.items() if name not in passed})
    (tmp_path / "compose.yaml").write_text(text)
    (tmp_path / ".env").write_text("".join(f"{name}=from {name}\n" for name in passed))
    command = (compose, "-f", str(tmp_path / "compose.yaml"), "config")
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    for name in passed:
        assert len(re.findall(rf"^ +{name}: from {name}$", told, re.M)) == 3, name
