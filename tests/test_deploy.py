"""The image and the compose file, as far as they can be judged without an engine to run them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from conftest import missing
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


def test_the_health_check_tells_one_from_the_other(tmp_path: Path) -> None:
    """Where nothing answers, it fails."""
    [[_, check]] = [each for each in instructions() if each[0] == "HEALTHCHECK"]
    script = re.search(r'"(import .*)"\]', check)
    assert script
    ended = subprocess.run(
        [sys.executable, "-c", script[1].replace(":8000", ":1")], capture_output=True
    )
    assert ended.returncode == 1 and b"Connection refused" in ended.stderr


def test_the_compose_file_is_one(tmp_path: Path) -> None:
    """By its schema; what it mounts is there, and nginx takes what it is made of."""
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


def test_the_compose_files_settings_are_ours() -> None:
    """A name that is none would do nothing; what it gives for all is right."""
    text = (DEPLOY / "compose.yaml").read_text()
    [block] = re.findall(r"environment: &settings\n((?:    \w+: .*\n)+)", text)
    chosen = dict(re.findall(r"    (\w+): (.*)", block))
    given = {n: re.sub(r"\$\{\w+:-(.*)\}", r"\1", value) for n, value in chosen.items()}
    assert read(given).log_format == "text"
    known = {name.upper() for name in read({}).__dataclass_fields__}
    assert set(chosen) <= known
