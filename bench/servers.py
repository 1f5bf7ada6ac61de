"""Ours and its peers as running servers: each is a context that is fed so many frames a second."""

import os
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from app.store.embedded import find_server
from bench.processes import HERE, ROOT, Cannot, Program, compiled, free_port

BENCH_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
HASHTAGS = "science,football"
NCHAN_MODULES = ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules")
NCHAN = """
load_module {module};
daemon off;
worker_processes {workers};
worker_rlimit_nofile {files};
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections {files}; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} backlog=2048;
    location = /events {{
      nchan_subscriber eventsource;
      nchan_channel_id posts;
      nchan_subscriber_first_message -1;
    }}
    location = /publish {{
      nchan_publisher http;
      nchan_channel_id posts;
      nchan_message_buffer_length 10;
      keepalive_requests 1000000;
    }}
  }}
}}
"""


@dataclass(frozen=True)
class Server:
    """One that is running and fed; CPU is counted of the process and its family."""

    pid: int
    port: int
    redis: str = ""


Starting = Callable[[Path, float], AbstractContextManager[Server]]
LIMITS = {"MAX_VIEWERS": "1000000"}
"""Of ours: only open files are to limit what is measured."""


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """A Redis as the private one is set up; its URL."""
    port = free_port()
    options = ["--bind", "127.0.0.1", "--save", ""]
    options += ["--appendonly", "yes", "--appendfsync", "everysec"]
    with Program(folder, find_server(), "--port", str(port), *options) as redis:
        redis.listens(port)
        yield f"redis://127.0.0.1:{port}"


@contextmanager
def web(
    folder: Path,
    redis: str,
    rate: float,
    hashtags: str,
    port: int,
    workers: int = 1,
    root: Path = ROOT,
    **settings: str,
) -> Iterator[Program]:
    """Our web process, at the port, or so many that share it."""
    settings |= {"BIND": f"127.0.0.1:{port}", **LIMITS}
    command = f"web --workers {workers}" if workers > 1 else "web"
    with our_own(folder, command, redis, rate, hashtags, root, **settings) as program:
        program.listens(port, sockets=workers)
        answers(port)
        yield program


def answers(port: int) -> None:
    """Raises Cannot when it does not within 30 s."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=30):
            pass
    except OSError as error:
        raise Cannot(f"A web process listens, but /healthz has no answer: {error}.") from error


def ingester(folder: Path, redis: str, rate: float, posts: Path, speed: float = 1) -> Program:
    """Our ingester, which replays the posts."""
    replay = {"SOURCES": "replay", "REPLAY_FILE": str(posts), "REPLAY_SPEED": str(speed)}
    return our_own(folder, "ingest", redis, rate, HASHTAGS, **replay)


def our_own(
    folder: Path,
    command: str,
    redis: str,
    rate: float,
    hashtags: str,
    root: Path = ROOT,
    **settings: str,
) -> Program:
    """root: the checkout whose program it is."""
    settings |= {"PYTHONPATH": str(root.resolve()), "REDIS_URL": redis, "HASHTAGS": hashtags}
    settings["TICK_SECONDS"] = f"{min(10, max(0.1, 1 / rate)):g}"
    settings["PYTHONDONTWRITEBYTECODE"] = ""  # compiled once, as where it is installed
    return Program(folder, sys.executable, "-m", "app", *command.split(), **settings)


def feeder(folder: Path, *arguments: object, root: Path = ROOT) -> Program:
    command = [sys.executable, "-m", "bench.feeder", *map(str, arguments)]
    return Program(folder, *command, PYTHONPATH=str(root.resolve()))


@contextmanager
def ours(
    folder: Path,
    rate: float,
    posts: float = 0,
    hashtags: str = HASHTAGS,
    workers: int = 1,
    root: Path = ROOT,
    **settings: str,
) -> Iterator[Server]:
    """With a feeder that commits ticks at an exact rate as the ingester would, in each of which
    all of the hashtags change. Both are of the checkout at root."""
    port, changed = free_port(), hashtags.count(",") + 1
    with (
        redis_server(folder) as url,
        web(folder, url, rate, hashtags, port, workers, root, **settings) as program,
        feeder(folder, "store", url, rate, posts, hashtags, changed, root=root),
    ):
        yield Server(program.pid, port, redis=url)


@contextmanager
def c_loop(folder: Path, rate: float) -> Iterator[Server]:
    port = free_port()
    with Program(folder, compiled("peers/loop", folder), str(port), str(rate)) as program:
        program.listens(port)
        yield Server(program.pid, port)


@contextmanager
def nchan(folder: Path, rate: float, workers: int = 1) -> Iterator[Server]:
    modules = [Path(at) / "ngx_nchan_module.so" for at in NCHAN_MODULES]
    module = next((file for file in modules if file.exists()), None)
    if not module:
        raise Cannot("nchan is not installed (Debian: apt-get install nginx libnginx-mod-nchan).")
    port = free_port()
    settings = folder / "nginx.conf"
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    settings.write_text(
        NCHAN.format(module=module, folder=folder, port=port, workers=workers, files=files)
    )
    path = os.environ.get("PATH", "") + ":/usr/sbin"
    with Program(folder, "nginx", "-p", folder, "-c", settings, PATH=path) as program:
        program.listens(port)
        with feeder(folder, "nchan", port, rate):
            yield Server(program.pid, port)


@contextmanager
def python_peer(
    folder: Path, name: str, argument: object, python: Path = BENCH_PYTHON
) -> Iterator[Server]:
    """A program of peers/, by default in the environment that only the bench has."""
    if not python.exists():
        raise Cannot(f"{name} is not installed: make bench does it, if it can.")
    port = free_port()
    command = [python, HERE / "peers" / f"{name}.py", str(port), str(argument)]
    with Program(folder, *command, PYTHONPATH=str(ROOT)) as program:
        program.listens(port)
        yield Server(program.pid, port)


@contextmanager
def design_2014(folder: Path, rate: float) -> Iterator[Server]:
    with (
        redis_server(folder) as url,
        python_peer(folder, "design_2014", url) as server,
        feeder(folder, "pubsub", url, rate),
    ):
        yield server


def ours_without_lane(folder: Path, rate: float) -> AbstractContextManager[Server]:
    return ours(folder, rate, EXPRESS_LANE="false")


def bare_asyncio(folder: Path, rate: float) -> AbstractContextManager[Server]:
    return python_peer(folder, "bare_asyncio", rate, Path(sys.executable))


def plain_quart(folder: Path, rate: float) -> AbstractContextManager[Server]:
    return python_peer(folder, "plain_quart", rate, Path(sys.executable))


def starlette(folder: Path, rate: float) -> AbstractContextManager[Server]:
    return python_peer(folder, "on_uvicorn", rate)


OURS = "ours"
SERVERS: dict[str, Starting] = {
    OURS: ours,
    "C loop": c_loop,
    "asyncio": bare_asyncio,
    "nchan": nchan,
    "sse-starlette": starlette,
    "ours without lane": ours_without_lane,
    "plain Quart": plain_quart,
    "2014 design": design_2014,
}
