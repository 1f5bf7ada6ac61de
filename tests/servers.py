"""Real servers for tests: each on a free loopback port or socket, each ended by its test."""

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 20.0
WORKERS = "PYTEST_XDIST_WORKER_COUNT"


PORTS = range(10_000, 32_768)
"""Below those that Linux gives to clients, so that none takes one before its server has it."""


def free_port() -> int:
    """A loopback port that nobody has; tests that run beside each other have each their own."""
    worker, workers = (os.environ.get(name, "") for name in ("PYTEST_XDIST_WORKER", WORKERS))
    mine = PORTS[int(worker.removeprefix("gw") or 0) :: int(workers or 1)]
    for port in random.SystemRandom().sample(mine, min(len(mine), 100)):
        with socket.socket() as opened, suppress(OSError):
            opened.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def wait_until(holds: Callable[[], Any], what: str, seconds: float = START_SECONDS) -> Any:
    """The first true answer; fails with what was awaited when none comes in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := holds():
            return answer
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what}")


async def eventually(holds: Callable[[], Any], what: str, seconds: float = START_SECONDS) -> Any:
    """wait_until for asyncio; the condition may be a coroutine function."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = holds()
        if asyncio.iscoroutine(answer):
            answer = await answer
        if answer:
            return answer
        await asyncio.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what}")


class Process:
    """A child process in a session of its own, its output in a file."""

    def __init__(self, *command: str, cwd: Path, env: dict[str, str] | None = None) -> None:
        self.log = cwd / f"{Path(command[0]).name}-{free_port()}.log"
        with self.log.open("wb") as out:
            self.popen = subprocess.Popen(
                command,
                cwd=cwd,
                env=env,
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    def signal(self, number: int) -> None:
        os.kill(self.popen.pid, number)

    def wait(self, seconds: float = 15.0) -> int:
        return self.popen.wait(seconds)

    def end(self) -> None:
        """Make sure that it and what it started are gone; a clean end is signal() and wait()."""
        with suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


class RedisServer(Process):
    """A redis-server (or valkey-server) on a loopback port, its files in its folder."""

    def __init__(
        self, binary: str, folder: Path, *options: str, port: int = 0, **environment: str
    ) -> None:
        self.port = port or free_port()
        self.folder, self.binary = folder, binary
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(
            binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
            "--enable-debug-command", "yes", *options,
            cwd=folder, env={**os.environ, **environment},
        )  # fmt: skip
        wait_until(self.is_ours, f"redis-server answers: {self.output}")

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def is_ours(self) -> bool:
        assert self.running, self.output
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as opened:
                opened.sendall(b"INFO server\r\n")
                return f"process_id:{self.popen.pid}\r" in opened.recv(65536).decode()
        except OSError:
            return False


class App(Process):
    """`python -m app ...` with these settings and no others, but that the demo has no past of a
    day; answers at `.url` if it serves.

    dev: in Python's development mode, which finds more and takes longer and more memory.
    """

    def __init__(
        self,
        folder: Path,
        *command: str,
        port: int = 0,
        python: str = sys.executable,
        dev: bool = True,
        **settings: Any,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        inherited = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "TMPDIR")}
        chosen = {name: str(value) for name, value in settings.items()}
        ours = {"PYTHONPATH": str(ROOT), "BIND": f"127.0.0.1:{self.port}", "DEMO_PAST_HOURS": "0"}
        env = {**inherited, **ours, **chosen}
        mode = ("-X", "dev") if dev else ()
        super().__init__(python, *mode, "-m", "app", *command, cwd=folder, env=env)

    def answers(self, path: str = "/healthz") -> bool:
        assert self.running, self.output
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as opened:
                opened.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
                return b'"ok":true' in opened.recv(4096) + opened.recv(4096)
        except OSError:
            return False

    def started(self) -> Self:
        """Wait for it to answer; it holds its port, or it would have ended by itself."""
        wait_until(self.answers, f"the app answers: {self.output}")
        return self

    def ready(self) -> Self:
        """Wait until it tells totals."""
        self.started()
        wait_until(lambda: self.answers("/readyz"), f"the app is ready: {self.output}")
        return self

    def stop(self) -> int:
        """SIGTERM, and its exit status."""
        self.signal(signal.SIGTERM)
        return self.wait()


@dataclass
class Event:
    """A server-sent event as a browser would see it; retry where that is all it holds."""

    name: str = ""
    id: str = ""
    data: Any = None
    retry: int = 0


def changes(events: list[Event]) -> list[str]:
    """The totals that they tell, each once, in order."""
    return list(dict.fromkeys(json.dumps(event.data["counts"]) for event in events))


@asynccontextmanager
async def viewing(url: str, **headers: str) -> AsyncIterator[AsyncIterator[Event]]:
    """Open an event stream; the iterator ends with it."""
    timeout = aiohttp.ClientTimeout(total=None, sock_read=30)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(url, headers=headers) as response,
    ):
        assert response.status == 200, await response.text()
        yield events_of(response.content)


async def events_of(lines: AsyncIterator[bytes]) -> AsyncIterator[Event]:
    event, data = Event(), []
    async for line in lines:
        text = line.decode().rstrip("\n")
        name, _, value = text.partition(": ")
        if not text:
            if data or event.retry:
                event.data = json.loads("\n".join(data)) if data else None
                yield event
            event, data = Event(), []
        elif name == "data":
            data.append(value)
        elif name == "retry":
            event.retry = int(value)
        elif name in ("id", "event"):
            setattr(event, "name" if name == "event" else "id", value)


async def get(url: str, **headers: str) -> tuple[int, Any]:
    """The status and the JSON (or text) that answers at this URL."""
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        text = await response.text()
        return response.status, json.loads(text) if "json" in response.content_type else text


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Fail, rather than hang, when the block takes longer; for code that cannot be cancelled."""

    def on_alarm(*_: object) -> None:
        raise AssertionError(f"took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
