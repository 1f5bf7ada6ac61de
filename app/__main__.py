"""`python -m app` runs ingester and web together, `python -m app ingest` or `web` one alone.

Builds the parts; owns logging, signals and the end.
"""

import argparse
import asyncio
import errno
import logging
import os
import signal
import socket
import sys
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from hypercorn.asyncio import serve
from hypercorn.config import Config

from app.embedded import DATA, DataInUse, store
from app.feed import Feed
from app.ingest import Ingester
from app.settings import Settings, SettingsError, load
from app.sources import pick
from app.store import Store, StoreLost
from app.web import ROOT, create_app

log = logging.getLogger("app")

LAST_RESORT_SECONDS = 5
"""After the signal to stop, whatever hangs is left to the kernel."""
UNREAD_MILLISECONDS = 30_000
SEND_BUFFER = 64 * 1024


class CannotStart(Exception):
    """Something outside us is not as it must be; the message is one sentence."""


def main() -> None:
    command = arguments().command
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname).1s %(name)s: %(message)s"
    )
    logging.getLogger("tweepy").setLevel(logging.CRITICAL)  # its errors are ours to explain
    try:
        settings = load()
        config = server_config(settings) if command != "ingest" else None
        with asyncio.Runner() as runner:
            runner.run(run(command, settings, config))
    except (SettingsError, CannotStart, DataInUse, StoreLost) as error:
        sys.exit(f"hashtag pulse: {error}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m app", description="Live lines of hashtags.")
    parser.add_argument(
        "command",
        nargs="?",
        choices=["all", "ingest", "web"],
        default="all",
        help="ingest: count posts; web: serve the page; without a command, both",
    )
    return parser.parse_args()


async def run(command: str, settings: Settings, config: Config | None) -> None:
    """Start the parts in the data's order and end them in the reverse one."""
    stop = stop_event()
    async with store(settings, join=command != "all") as opened:
        log.info("%s", greeting(command, settings, config))
        async with ingesting(settings, opened) if command != "web" else nothing():
            if config:
                await serving(settings, opened, config, stop)
            else:
                await stop.wait()
    log.info("stopped")


@asynccontextmanager
async def ingesting(settings: Settings, opened: Store) -> AsyncIterator[None]:
    sources = [pick(name, settings) for name in settings.sources]
    ingester = Ingester(sources, opened, settings.hashtags, settings.tick_seconds)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(ingester.run(), name="ingest")
        yield
        task.cancel()


@asynccontextmanager
async def nothing() -> AsyncIterator[None]:
    yield


async def serving(settings: Settings, opened: Store, config: Config, stop: asyncio.Event) -> None:
    """Serve until told to stop; then end every stream first, which lets the server end."""
    feed = Feed(settings.tick_seconds)

    async def drained() -> None:
        await stop.wait()
        feed.close()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(feed.run(opened), name="feed")
        await serve(create_app(settings, feed), config, shutdown_trigger=drained)
        task.cancel()


def stop_event() -> asyncio.Event:
    """Set by SIGTERM or Ctrl-C; a second one, or a hang after the first, ends us at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()
        loop.call_later(LAST_RESORT_SECONDS, os._exit, 1)

    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, on_signal)
    return stop


def server_config(settings: Settings) -> Config:
    """hypercorn.toml, with sockets that we opened ourselves.

    Raises CannotStart for a file that cannot be read, a setting that Hypercorn does not
    have (it would be ignored silently), and an address that cannot be had.
    """
    local = Path("hypercorn.toml")
    file = local if local.is_file() else ROOT / "hypercorn.toml"
    try:
        chosen = tomllib.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise CannotStart(f"{file}: {error}.") from error
    for name in chosen:
        if name.startswith("_") or not hasattr(Config, name):
            raise CannotStart(f"{file}: {name} is no setting of Hypercorn.")
    config = Config.from_mapping(chosen)
    addresses = [settings.bind] if settings.bind else config.bind
    config.bind = [listening(address, config.backlog) for address in addresses]
    config.loglevel = "WARNING"  # it would announce the sockets by their numbers
    return config


def listening(address: str, backlog: int) -> str:
    """Open a TCP address for Hypercorn as "fd://N"; other kinds of address are its own affair.

    The options count on every accepted connection: a viewer that takes nothing for half a
    minute is let go, and a stalled one holds little memory in the kernel.
    """
    if address.startswith(("unix:", "fd://")):
        return address
    host, _, port = address.rpartition(":")
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(
            host.strip("[]") or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        opened = socket.socket(family, kind, protocol)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MILLISECONDS)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.bind(target)
        opened.listen(backlog)
    except (ValueError, OverflowError) as error:
        raise CannotStart(f"bind {address!r}: expected an address and port.") from error
    except OSError as error:
        why = "another program has it" if error.errno == errno.EADDRINUSE else error.strerror
        raise CannotStart(f"The address {address} cannot be used: {why}.") from error
    return f"fd://{opened.detach()}"


def greeting(command: str, settings: Settings, config: Config | None) -> str:
    """What a person at the terminal wants to know."""
    lines = ["hashtag pulse" + (f" ({command})" if command != "all" else "")]
    for bind in config.bind if config else ():
        lines.append(f"  page      {shown(bind)}")
    if command != "web":
        lines.append(f"  sources   {', '.join(settings.sources)}")
    lines.append("  hashtags  " + " ".join(f"#{tag}" for tag in settings.hashtags))
    where = "the Redis of REDIS_URL" if settings.redis_url else f"{DATA.resolve()} (embedded Redis)"
    lines.append(f"  data      {where}")
    if settings.sources == ("demo",):
        lines.append("  go live   set SOURCES and keys in .env; see .env.example and the README")
    return "\n".join(lines)


def shown(bind: str) -> str:
    if not bind.startswith("fd://"):
        return bind
    with socket.socket(fileno=os.dup(int(bind[5:]))) as opened:
        host, port = opened.getsockname()[:2]
    return f"http://{'localhost' if host in ('127.0.0.1', '::1', '0.0.0.0', '::') else host}:{port}"


if __name__ == "__main__":
    main()
