"""The log: a line for each event, for people or for machines, and one for each request on demand."""

import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from servers import ROOT, App, RedisServer, eventually, free_port, get, viewing

from app import VERSION
from app.logs import LINE, AsJson, ForPeople
from app.settings import read
from app.store.store import connect
from app.web.server import server_config


def record(message: str, *args: Any, **more: Any) -> logging.LogRecord:
    made = logging.LogRecord("app.x", logging.WARNING, "", 0, message, args, None)
    made.created = 1732392000.25
    for name, value in more.items():
        setattr(made, name, value)
    return made


def test_an_event_is_a_line_whatever_is_in_it() -> None:
    """What strangers write can neither begin a line of its own nor command a terminal."""
    text = ForPeople(LINE).format(record("skipped: %s", "a\nfake\r\x1b[2J\u2028\x85b"))
    assert text.endswith(r" W app.x: skipped: a\x0afake\x0d\x1b[2J\x2028\x85b")
    assert len(text.splitlines()) == 1


def test_what_is_told_part_by_part_has_a_line_for_each() -> None:
    """Each with its time and its place, so that whoever reads lines needs no other one."""
    text = ForPeople(LINE).format(record("we are %s\n  page  a\x1b", "up", about={"page": "a"}))
    first, second = text.splitlines()
    assert first.endswith(" W app.x: we are up") and second.endswith(r" W app.x:   page  a\x1b")
    assert first[:20] == second[:20]


def test_json_has_the_parts_and_the_traceback() -> None:
    """One line; time in UTC."""
    told = json.loads(AsJson().format(record("%d posts\n", 5, about={"sources": ["x"]})))
    assert told == {
        "time": "2024-11-23T20:00:00.250Z",
        "level": "warning",
        "logger": "app.x",
        "message": "5 posts\n",
        "sources": ["x"],
    }
    try:
        raise ValueError("odd")
    except ValueError as error:
        broken = record("it broke", exc_info=(type(error), error, error.__traceback__))
    line = AsJson().format(broken)
    assert "\n" not in line and "ValueError: odd" in json.loads(line)["error"]
    text = "\n\x1b[2J\x7f\x85\x9b2J\u2028\u202eb\ud83d"
    line = AsJson().format(record("skipped: %s", text))
    assert json.loads(line)["message"] == f"skipped: {text}"
    assert not any(char in line for char in text[:-2] if not char.isprintable())


async def test_json_from_the_first_line_to_the_last(
    start_app: Callable[..., App], redis_server: RedisServer, tmp_path: Path
) -> None:
    """And the first one says version, sources, addresses, and where data and settings are; a name
    of `.env` that is no setting is the second."""
    (tmp_path / ".env").write_text("LOG_FORMAT=json\nHASHTAG=cats\n")
    (tmp_path / "hypercorn.toml").write_text('accesslog = "-"\n')
    url = f"redis://:secret@127.0.0.1:{redis_server.port}/0"
    async with connect(redis_server.url) as redis:
        await redis.config_set("requirepass", "secret")
    metrics = f"127.0.0.1:{free_port()}"
    app = start_app(REDIS_URL=url, METRICS_BIND=metrics).started()
    await get(f"{app.url}/api/board?secret=hunter2")
    assert app.stop() == 0
    lines = [json.loads(line) for line in app.output.splitlines()]
    first = lines[0]
    assert first["message"].startswith(f"hashtag pulse {VERSION}\n  page      http://localhost:")
    about = {
        name: first[name] for name in ("version", "command", "pages", "metrics", "sources", "data")
    }
    assert about == {
        "version": VERSION,
        "command": "run",
        "pages": [f"http://localhost:{app.port}"],
        "metrics": f"http://{metrics}/metrics",
        "sources": ["demo"],
        "data": f"redis://127.0.0.1:{redis_server.port}/0",
    }
    assert first["settings"] == str(tmp_path / ".env")
    assert "HASHTAGS may be meant" in lines[1]["message"]
    assert any('"GET /api/board 1.1" ' in line["message"] for line in lines)
    assert lines[-1]["message"] == "stopped"
    assert "secret" not in app.output.replace("secret=hunter2", "") and "hunter2" not in app.output


@pytest.mark.parametrize(
    ("environ", "file", "says"),
    [
        ({"TICK_SECONDS": "soon"}, "LOG_FORMAT=json\n", "TICK_SECONDS='soon': expected a number"),
        ({"BIND": "nowhere"}, "LOG_FORMAT=json\n", "BIND='nowhere': expected an address"),
        ({"DATA_FOLDER": "/dev/null"}, "LOG_FORMAT=json\n", "The folder /dev/null cannot be used"),
        ({"LOG_FORMAT": " JSON"}, "no setting\n", ".env: expected NAME=value from line 1 on."),
    ],
)
def test_what_stops_the_start_is_json_too(
    start_app: Callable[..., App], tmp_path: Path, environ: dict[str, str], file: str, says: str
) -> None:
    """One object, wherever LOG_FORMAT is set; in the environment also where the file is broken."""
    (tmp_path / ".env").write_text(file)
    app = start_app(**environ)
    assert app.wait() == 1
    [line] = app.output.splitlines()
    told = json.loads(line)
    assert told["level"] == "error" and told["message"].startswith(says)


def test_what_python_itself_says_is_json_too(tmp_path: Path) -> None:
    """A warning, and the traceback with which a process ends."""
    code = "import warnings; from app.logs import begin_logging; begin_logging('json')"
    code += "; warnings.warn('old'); raise ValueError('odd')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    warned, ended = map(json.loads, done.stderr.splitlines())
    assert done.returncode == 1
    assert "UserWarning: old" in warned["message"] and warned["level"] == "warning"
    assert "ValueError: odd" in ended["error"] and ended["level"] == "critical"


async def test_access_log_on_demand(start_app: Callable[..., App], tmp_path: Path) -> None:
    """A line for each request, without queries, and a stream's when it is over; without the
    setting there is none."""
    (tmp_path / "hypercorn.toml").write_text('accesslog = "-"\n')
    app = start_app().started()
    page = {"Referer": "http://h/page?token=hunter2"}
    await get(f"{app.url}/api/counts?tags=science&key=hunter2", **page)
    await get(f"{app.url}/a%0Afake%20line")
    async with viewing(f"{app.url}/events?token=hunter2") as events:
        await anext(events)
        assert "/events" not in app.output
    await eventually(lambda: "GET /events 1.1" in app.output, "the stream is over")
    assert re.search(
        r' I hypercorn.access: 127.*"GET /api/counts 1.1" \d+ .*"http://h/page"', app.output
    )
    assert r'"GET /a\x0afake line 1.1" 404' in app.output
    assert "hunter2" not in app.output and "Running on" not in app.output
    assert app.stop() == 0


def test_one_line_of_hypercorn_toml_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who wants an access log has our time-outs and our queue all the same, not Hypercorn's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hypercorn.toml").write_text('accesslog = "-"\ngraceful_timeout = 2.5\n')
    with closing(server_config(read({"BIND": f"127.0.0.1:{free_port()}"}))) as config:
        assert (config.keep_alive_timeout, config.include_server_header) == (75, False)
        assert config.listeners[0].backlog == 16384
        assert config.graceful_timeout == 2.5 and config.accesslog


async def test_no_access_log_otherwise(start_app: Callable[..., App]) -> None:
    app = start_app().started()
    await get(f"{app.url}/api/counts")
    assert app.stop() == 0
    assert "hypercorn.access" not in app.output


@pytest.mark.parametrize("asked", [("--version",), ("--help",), ("web", "--help")])
def test_version_and_help(start_app: Callable[..., App], asked: tuple[str, ...]) -> None:
    app = start_app(*asked)
    assert app.wait() == 0
    if asked == ("--version",):
        assert app.output == f"hashtag pulse {VERSION}\n"
    else:
        assert app.output.startswith("usage: python -m app ")
