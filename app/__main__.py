"""`python -m app`, or `hashtag-pulse` where a wheel is installed, runs ingester and web together;
with `ingest` or `web` one alone; `check` is for before going live, `record` for a recording,
`export` and `import` for a backup.

Builds the parts; owns logging and the order of the end.
"""

import argparse
import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypercorn.asyncio import serve
from quart import Quart

from app import VERSION
from app.commands.backup import export_to, import_from
from app.commands.check import check, redis_warnings
from app.commands.record import network, record, recording
from app.ingest.day_keys import DayKeys
from app.ingest.delivery import Delivery
from app.ingest.ingester import Ingester
from app.logs import begin_logging
from app.metrics import Metrics, Text, serving_metrics
from app.process import beside, end_of, stop_event, stop_with_parent
from app.settings import Settings, SettingsError, load, showable, unknown_names
from app.sources import Source, SourceLost, check_sources, pick
from app.store.embedded import DataInUse, store
from app.store.lines import NotAnExport
from app.store.store import Store, StoreLost
from app.systemd import supervised
from app.web.app import create_app
from app.web.feed import Feed
from app.web.frontdoor import open_front_door
from app.web.gathered import gathered
from app.web.server import (
    CannotStart,
    ServerConfig,
    prepare_for_many,
    server_config,
    shared_configs,
    url_of,
)
from app.web.workers import run_workers

log = logging.getLogger("app")

MOST_WORKERS = 64


def main() -> None:
    chosen = arguments()
    command = chosen.command
    begin_logging()
    try:
        settings = load()
        begin_logging(settings.log_format)
        if command in ("run", "ingest", "check"):
            check_sources(settings)
        with asyncio.Runner() as runner:
            if command == "check":
                sys.exit(0 if runner.run(checked(settings)) else 1)
            elif command == "record":
                runner.run(recorded(settings, chosen.source, chosen.file))
            elif command in ("export", "import"):
                runner.run(backed_up(settings, command))
            elif command == "web" and chosen.workers > 1:
                with ExitStack() as stack:
                    shared = shared_configs(settings, chosen.workers)
                    for each in shared:
                        stack.enter_context(closing(each))
                    runner.run(run_beside(settings, shared))
            else:
                serves = command != "ingest"
                with closing(server_config(settings)) if serves else nullcontext() as config:
                    socket = chosen.beside_parent if command == "web" else ""
                    runner.run(run(command, settings, config, socket))
    except (SettingsError, CannotStart, DataInUse, StoreLost, NotAnExport) as error:
        sys.exit(f"hashtag pulse: {error}")
    except KeyboardInterrupt:  # before, or without, a handler of our own
        sys.exit(130)


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


async def run_beside(settings: Settings, configs: Sequence[ServerConfig]) -> None:
    """Several web processes, and the embedded Redis, if there is to be one, with us."""
    stop = stop_event()
    async with store(settings, join=True):
        greet("web", settings, configs[0])
        with TemporaryDirectory(prefix="hashtag-pulse-") as folder:
            text = partial(gathered, Path(folder))
            async with supervised(stop), telling(settings.metrics_bind, text):
                await run_workers(configs, stop, Path(folder))
    log.info("stopped")


async def run(
    command: str, settings: Settings, config: ServerConfig | None, socket: str = ""
) -> None:
    """Start the parts in the data's order and end them in the reverse one.

    socket: of one of several processes beside a parent, where the others ask for its figures.
    """
    stop, metrics, child = stop_event(), Metrics(VERSION), bool(socket)
    if child:
        stop_with_parent(stop)
    text = partial(gathered, Path(socket).parent) if child else metrics.text
    async with store(settings, join=command != "run") as opened:
        if not child:
            greet(command, settings, config)
        async with (
            nullcontext() if child else supervised(stop),
            telling(socket or settings.metrics_bind, metrics.text),
            ingesting(settings, opened, metrics) if command != "web" else nullcontext(),
        ):
            if config:
                prepare_for_many()  # first: the limits go by it
                feed = Feed(settings.tick_seconds, settings.hashtags)
                app = create_app(settings, feed, metrics, text)
                await serving(app, settings, opened, config, stop)
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
        delivery=Delivery(settings.alert_url, settings.alert_secret),
    )
    metrics.add(ingester.tell)

    async def ingest() -> None:
        for warning in await redis_warnings(opened):
            log.warning("%s", warning)
        await ingester.run()

    async with beside(ingest(), "the ingester"):
        yield


async def serving(
    app: Quart, settings: Settings, opened: Store, config: ServerConfig, stop: asyncio.Event
) -> None:
    """Serve until told to stop; then end every stream first, which lets the server end."""
    feed: Feed = app.extensions["feed"]

    async def drained() -> None:
        await stop.wait()
        feed.close()
        # well before Hypercorn's patience ends, which would cancel connections with a traceback
        asyncio.get_running_loop().call_later(config.graceful_timeout / 2, config.cut)

    async with beside(feed.run(opened), "the feed"):
        open_front_door(app, config, settings, feed)
        await serve(app, config, shutdown_trigger=drained)


def greet(command: str, settings: Settings, config: ServerConfig | None) -> None:
    """Say what a person at the terminal wants to know, and who reads the log later."""
    folder, file = Path(settings.data_folder).resolve(), Path(".env").resolve()
    embedded = f"{folder} (embedded Redis)"
    about: dict[str, Any] = {
        "version": VERSION,
        "command": command,
        "pages": [url_of(bind) for bind in config.bind] if config else [],
        "sources": list(settings.sources) if command != "web" else [],
        "hashtags": [f"#{tag}" for tag in settings.hashtags],
        "data": showable(settings.redis_url) if settings.redis_url else embedded,
        "settings": str(file) if file.exists() else f"the environment (there is no {file})",
    }
    log.info("%s", greeting(about), extra={"about": about})
    for sentence in unknown_names():
        log.warning("%s", sentence)


def greeting(about: Mapping[str, Any]) -> str:
    part = f" ({about['command']})" if about["command"] != "run" else ""
    lines = [f"hashtag pulse {about['version']}{part}"]
    lines += [f"  page      {page}" for page in about["pages"]]
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
