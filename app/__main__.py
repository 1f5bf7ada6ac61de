"""`python -m app`, or `hashtag-pulse` where a wheel is installed, runs ingester and web together;
with `ingest` or `web` one alone; `check` is for before going live, `record` for a recording,
`export` and `import` for a backup.

Builds the parts; owns logging and the order of the end. What a command alone needs is imported
where it is begun: it is half of the time until a process does anything, and much of its memory.
"""

import argparse
import asyncio
import gc
import logging
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing, nullcontext
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from app import VERSION
from app.commands.record import network, record, recording
from app.logs import begin_logging, refuse
from app.metrics import Metrics, Text, serving_metrics
from app.process import CannotStart, beside, end_of, stop_event, stop_with_parent
from app.settings import Settings, SettingsError, given, place, read, unknown_names
from app.sources import Source, SourceLost, check_sources, pick
from app.store import embedded
from app.store.embedded import DataInUse, store
from app.store.lines import NotAnExport
from app.store.store import Store, StoreLost
from app.systemd import supervised

if TYPE_CHECKING:
    from app.web.server import ServerConfig

log = logging.getLogger("app")

MOST_WORKERS = 64
LONGEST_FOLDER = 95
"""Bytes of a folder's path: one of a socket in it has 103 at most (macOS; on Linux 107)."""
INGESTER, SERVER = "app.ingest.ingester", "app.web.serving"
"""What takes long to load: it is loaded before the loop runs, which it would hold up."""


def main() -> None:
    chosen = arguments()
    command = chosen.command
    begin_logging(os.environ.get("LOG_FORMAT", ""))
    try:
        values = given()
        begin_logging(values.get("LOG_FORMAT", ""))
        settings = read(values)
        if command in ("run", "ingest", "check"):
            check_sources(settings)
        with asyncio.Runner() as runner:
            if command == "check":
                sys.exit(0 if runner.run(checked(settings)) else 1)
            elif command == "record":
                runner.run(recorded(settings, chosen.source, chosen.file))
            elif command in ("export", "import"):
                runner.run(backed_up(settings, command))
            elif command == "ingest":
                import_module(INGESTER)
                runner.run(run(command, settings, None))
            else:
                serve(runner, settings, chosen)
    except (SettingsError, CannotStart, DataInUse, StoreLost, NotAnExport) as error:
        refuse(str(error))
    except KeyboardInterrupt:  # before, or without, a handler of our own
        sys.exit(130)


def serve(runner: asyncio.Runner, settings: Settings, chosen: argparse.Namespace) -> None:
    """Serve on sockets that are ours before anything else is begun."""
    from app.web.server import server_config, shared_configs

    with ExitStack() as stack:
        if chosen.command == "web" and chosen.workers > 1:
            shared = shared_configs(settings, chosen.workers)
            for each in shared:
                stack.enter_context(closing(each))
            runner.run(run_beside(settings, shared))
        else:
            config = stack.enter_context(closing(server_config(settings)))
            gc.disable()  # until prepare_for_many(): what is imported stays
            import_module(SERVER)
            if chosen.command == "run":
                import_module(INGESTER)
            socket = chosen.beside_parent if chosen.command == "web" else ""
            runner.run(run(chosen.command, settings, config, socket))


def arguments() -> argparse.Namespace:
    prog = "python -m app" if Path(sys.argv[0]).name == "__main__.py" else Path(sys.argv[0]).name
    parser = argparse.ArgumentParser(prog=prog, description="Live lines of hashtags.")
    parser.add_argument("--version", action="version", version=f"hashtag pulse {VERSION}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    parser.set_defaults(command="run")
    commands.add_parser("run", help="ingest and web in one process; what no command means")
    commands.add_parser("ingest", help="count posts")
    web = commands.add_parser("web", help="serve the page")
    web.add_argument("--workers", type=workers, default=1, help="how many processes on one port")
    web.add_argument("--beside-parent", default="", help=argparse.SUPPRESS)
    commands.add_parser("check", help="try what the settings name, before going live")
    record = commands.add_parser("record", help="write what a source receives, for replay")
    record.add_argument("--source", required=True, type=network, help="the network's name")
    record.add_argument("file", type=Path)
    commands.add_parser("export", help="write all that was counted to standard output")
    commands.add_parser("import", help="read that from standard input into an empty Redis")
    return parser.parse_args()


def workers(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number from 1 to {MOST_WORKERS}")
    return int(text)


async def checked(settings: Settings) -> bool:
    """Print what check() finds; whether all of it works."""
    from app.commands.check import check

    async with store(settings, join=True) as opened:
        works = True
        async for finding in check(settings, opened, partial(picked, settings, opened)):
            sys.stdout.write(f"{finding.mark}  {finding.sentence}\n")
            sys.stdout.flush()
            works = works and finding.works
        return works


async def recorded(settings: Settings, name: str, file: Path) -> None:
    """Record until told to stop. Raises CannotStart for a file that cannot be written."""
    stop = stop_event()
    say_where(settings)
    check_sources(replace(settings, sources=(name,)))
    try:
        with recording(file) as into:
            async with store(settings, join=True) as opened:
                task = asyncio.ensure_future(record(picked(settings, opened, name), into))
                task.add_done_callback(lambda _: stop.set())
                await stop.wait()
                await end_of(task)
                if not task.cancelled():
                    task.result()
    except SourceLost as lost:
        raise CannotStart(f"{name}: {lost}") from lost
    except OSError as error:
        raise CannotStart(f"{file} cannot be written: {error.strerror}.") from error


async def backed_up(settings: Settings, command: str) -> None:
    """Export to standard output, or import from standard input. Raises CannotStart where that
    cannot be written or read."""
    from app.commands.backup import export_to, import_from

    say_where(settings)
    try:
        async with store(settings, join=True) as opened:
            if command == "export":
                await export_to(opened, sys.stdout.fileno())
            else:
                await import_from(opened, sys.stdin.buffer)
    except OSError as error:
        raise CannotStart(f"The {command} cannot go on: {error.strerror}.") from error


def picked(settings: Settings, opened: Store, name: str) -> Source:
    """The source, only to be looked at: the past is not asked for."""
    return pick(name, replace(settings, x_backfill=False, demo_past_hours=0), opened)


async def run_beside(settings: Settings, configs: "Sequence[ServerConfig]") -> None:
    """Several web processes, and the embedded Redis, if there is to be one, with us."""
    from app.web.worker_metrics import of_all_workers
    from app.web.workers import run_workers

    stop = stop_event()
    async with store(settings, join=True):
        greet("web", settings, configs[0])
        with folder_of_sockets() as folder:
            text = partial(of_all_workers, Path(folder))
            async with supervised(stop), telling(settings.metrics_bind, text):
                await run_workers(configs, stop, Path(folder))
    log.info("stopped")


def folder_of_sockets() -> "TemporaryDirectory[str]":
    """Where workers tell each other their figures. Raises CannotStart."""
    try:
        folder = TemporaryDirectory(prefix="hashtag-pulse-")
    except OSError as error:
        why = f"--workers needs a folder that can be written to: {error.strerror}."
        raise CannotStart(why) from error
    if len(os.fsencode(folder.name)) > LONGEST_FOLDER:
        folder.cleanup()
        why = "--workers needs a folder whose path is shorter: set TMPDIR, say to /tmp."
        raise CannotStart(why)
    return folder


async def run(
    command: str, settings: Settings, config: "ServerConfig | None", socket: str = ""
) -> None:
    """Start the parts in the data's order and end them in the reverse one.

    socket: of one of several processes beside a parent, where the others ask for its figures.
    """
    stop, metrics, child = stop_event(), Metrics(VERSION), bool(socket)
    if child:
        stop_with_parent(stop)
    async with store(settings, join=command != "run") as opened:
        if not child:
            greet(command, settings, config)
        async with (
            nullcontext() if child else supervised(stop),
            telling(socket or settings.metrics_bind, metrics.text),
            ingesting(settings, opened, metrics) if command != "web" else nullcontext(),
        ):
            if config:
                from app.web.serving import serving

                await serving(settings, opened, config, metrics, socket, stop)
            else:
                await stop.wait()
    if not child:
        log.info("stopped")


@asynccontextmanager
async def telling(place: tuple[str, int] | str | None, text: Text) -> AsyncIterator[None]:
    """Tell Prometheus within the block, where it has an address of its own. Raises CannotStart."""
    async with AsyncExitStack() as stack:
        try:
            if place:
                await stack.enter_async_context(serving_metrics(place, text))
        except OSError as error:
            raise CannotStart(f"METRICS_BIND cannot be used: {error.strerror}.") from error
        yield


@asynccontextmanager
async def ingesting(settings: Settings, opened: Store, metrics: Metrics) -> AsyncIterator[None]:
    """Count within the block."""
    from app.commands.check_redis import redis_warnings
    from app.ingest.day_keys import DayKeys
    from app.ingest.ingester import Ingester
    from app.ingest.webhook import Webhook

    sources = [pick(name, settings, opened) for name in settings.sources]
    ingester = Ingester(
        sources,
        opened,
        settings.hashtags,
        settings.tick_seconds,
        settings.max_hashtags,
        blocked=settings.blocked_hashtags,
        shows_posts=settings.show_posts,
        day_keys=DayKeys(settings.people_keys),
        webhook=Webhook(settings.alert_url, settings.alert_secret),
    )
    metrics.add(ingester.tell)

    async def ingest() -> None:
        for warning in await redis_warnings(opened):
            log.warning("%s", warning)
        await ingester.run()

    async with beside(ingest(), "the ingester"):
        yield


def greet(command: str, settings: Settings, config: "ServerConfig | None") -> None:
    """Say what a person at the terminal wants to know, and who reads the log later."""
    about: dict[str, Any] = {
        "version": VERSION,
        "command": command,
        "pages": config.urls if config else [],
        "metrics": address_of(settings.metrics_bind),
        "sources": list(settings.sources) if command != "web" else [],
        "hashtags": [f"#{tag}" for tag in settings.hashtags],
        "data": embedded.place(settings),
        "settings": place(),
    }
    log.info("%s", greeting(about), extra={"about": about})
    say_unknown_names()


def say_where(settings: Settings) -> None:
    """Say of what we read or write: without REDIS_URL that goes by the folder of the start."""
    log.info("data: %s; settings: %s", embedded.place(settings), place())
    say_unknown_names()


def say_unknown_names() -> None:
    for sentence in unknown_names():
        log.warning("%s", sentence)


def address_of(metrics: tuple[str, int] | None) -> str:
    """Where Prometheus finds our figures, if that is an address of its own."""
    host, port = metrics or ("", 0)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/metrics" if metrics else ""


def greeting(about: Mapping[str, Any]) -> str:
    part = f" ({about['command']})" if about["command"] != "run" else ""
    lines = [f"hashtag pulse {about['version']}{part}"]
    lines += [f"  page      {page}" for page in about["pages"]]
    if about["metrics"]:
        lines.append(f"  metrics   {about['metrics']}")
    if about["sources"]:
        lines.append(f"  sources   {', '.join(about['sources'])}")
    lines.append(f"  hashtags  {' '.join(about['hashtags'])}")
    lines.append(f"  data      {about['data']}")
    lines.append(f"  settings  {about['settings']}")
    if about["sources"] == ["demo"]:
        lines.append("  go live   set SOURCES and keys in .env; see .env.example and the README")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
