"""What systemd is told, over a real socket; the units, by systemd's own judgement."""

import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from conftest import missing
from servers import ROOT, App, Process, free_port, wait_until
from test_shutdown import Viewer, assert_said_goodbye, end_cleanly

UNITS = ("hashtag-pulse-ingest.service", "hashtag-pulse-web@.service")


@pytest.fixture
def heard(ending: ExitStack) -> Iterator[socket.socket]:
    """What systemd would hear; at an address of Linux's abstract namespace, as it may be."""
    listening = ending.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    listening.bind(f"\0hashtag-pulse-test-{free_port()}")
    listening.settimeout(20)
    yield listening


@pytest.mark.parametrize("command", [(), ("ingest",), ("web",), ("web", "--workers", "2")])
def test_systemd_hears_of_the_beginning_the_work_and_the_end(
    start_app: Callable[..., App], heard: socket.socket, command: tuple[str, ...]
) -> None:
    """Ready once; that it works, again and again; that it ends."""
    name = heard.getsockname().decode().replace("\0", "@")
    app = start_app(*command, NOTIFY_SOCKET=name, WATCHDOG_USEC="100000")
    told = [heard.recv(100) for _ in range(4)]
    assert told == [b"READY=1"] + [b"WATCHDOG=1"] * 3
    assert app.stop() == 0, app.output
    while (last := heard.recv(100)) == b"WATCHDOG=1":
        pass
    assert last == b"STOPPING=1"


def test_a_process_that_hangs_says_nothing(
    start_app: Callable[..., App], heard: socket.socket
) -> None:
    """So systemd starts another one. And who is not asked by its own number says nothing of it."""
    name = heard.getsockname().decode().replace("\0", "@")
    app = start_app("web", NOTIFY_SOCKET=name, WATCHDOG_USEC="100000")
    assert [heard.recv(100) for _ in range(2)] == [b"READY=1", b"WATCHDOG=1"]
    app.signal(signal.SIGSTOP)
    heard.settimeout(1)
    with pytest.raises(TimeoutError):
        for _ in range(20):  # what was on its way
            heard.recv(100)
    start_app("web", NOTIFY_SOCKET=name, WATCHDOG_USEC="100000", WATCHDOG_PID="1")
    heard.settimeout(20)
    assert heard.recv(100) == b"READY=1"
    heard.settimeout(1)
    with pytest.raises(TimeoutError):
        heard.recv(100)


@pytest.mark.parametrize("unit", UNITS)
def test_units_are_in_order_and_safe(tmp_path: Path, unit: str) -> None:
    """As systemd sees it: every line known, and an exposure below 3 of 10."""
    analyze = shutil.which("systemd-analyze") or missing("systemd-analyze")
    text = (ROOT / "deploy" / unit).read_text()
    program = re.search(r"^ExecStart=(\S+) (\w+)$", text, re.M)
    assert program and program[2] in ("ingest", "web")
    (tmp_path / unit).write_text(text.replace(program[1], "/bin/true"))
    for question in (("verify",), ("security", "--offline=true", "--threshold=29")):
        command = (analyze, *question, str(tmp_path / unit))
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "ignoring" not in done.stderr, done.stderr
    (tmp_path / unit).write_text(
        re.sub("^(Protect|Restrict|System|Private).*", "", text, flags=re.M)
    )
    assert subprocess.run(command, capture_output=True).returncode != 0, "it can fail"


def test_a_hang_up_ends_it_in_good_order(start_app: Callable[..., App]) -> None:
    """As SIGTERM does, of which it is tested how soon; its viewers are told when to come back."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it would be ignored
    try:
        app = start_app().started()
    finally:
        signal.signal(signal.SIGHUP, before)
    viewer = Viewer(app.port)
    wait_until(lambda: b"event: counts" in viewer.received, "it has totals")
    end_cleanly(app, signal.SIGHUP, seconds=10)
    assert_said_goodbye(viewer.ended())


def test_nohup_keeps_it_running(tmp_path: Path, ending: ExitStack) -> None:
    """Who starts it so wants it to outlive the terminal."""
    port = free_port()
    env = {"PYTHONPATH": str(ROOT), "BIND": f"127.0.0.1:{port}", "PATH": "/usr/bin:/bin"}
    script = f"trap '' HUP; exec {sys.executable} -m app web"
    app = ending.enter_context(Process("/bin/sh", "-c", script, cwd=tmp_path, env=env))
    wait_until(lambda: "page " in app.output, f"it has started: {app.output}")
    app.signal(signal.SIGHUP)
    app.signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        app.wait(0.5)
    app.signal(signal.SIGTERM)
    assert app.wait() == 0
