"""Hypercorn with listening sockets of our own, so that no client can keep us from ending."""

import errno
import gc
import os
import resource
import socket
import sys
import tomllib
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from weakref import WeakSet

from hypercorn.config import Config, Sockets

from app.process import CannotStart
from app.settings import Settings
from app.web import ROOT
from app.web.access import log_as_we_do

UNREAD_MILLISECONDS = 30_000
SEND_BUFFER = 64 * 1024
ACCEPTED_AT_ONCE = 8
"""So many connections are accepted before those that are open get their turn: a flood of new ones
waits in the kernel, and holds up no tick."""


class Listener(socket.socket):
    """A listening socket that knows the open connections that Hypercorn has of it. Bound: accepted
    has those that are open."""

    def __init__(self, backlog: int, **options: Any) -> None:
        super().__init__(**options)
        self.accepted: WeakSet[socket.socket] = WeakSet()
        self.backlog = backlog
        self.kind = (int(self.family), int(self.type), self.proto)
        """Of its connections, as the kernel numbers it."""

    def listen(self, _: int = 0) -> None:
        """To asyncio the backlog is also how many it accepts at once, so it is told another one."""
        super().listen(self.backlog)

    def accept(self) -> tuple[socket.socket, Any]:
        connection, address = self.accept_unknown()
        self.accepted.add(connection)
        return connection, address

    def accept_unknown(self) -> tuple[socket.socket, Any]:
        """For the front door (frontdoor.py), which says later whose it is.

        As socket.accept() does it, but for the names of family and type: to find them takes it
        longer than all else.
        """
        number, address = self._accept()  # type: ignore[attr-defined]
        return socket.socket(*self.kind, fileno=number), address

    def cut(self) -> None:
        """Close every connection, whatever was not sent on it yet."""
        for connection in list(self.accepted):
            with suppress(OSError):  # it is closed already
                connection.shutdown(socket.SHUT_RDWR)


class ServerConfig(Config):
    """Hypercorn's settings, with its sockets already open.

    Hypercorn waits for every byte to be taken before it ends; with a client that takes
    none, for ever. cut() ends that wait.
    """

    sockets: Sockets
    listeners: list[Listener]

    def open(self) -> None:
        """Open all sockets. Raises OSError or ValueError for an address that cannot be had."""
        self.sockets = super().create_sockets()
        self.listeners = []
        for sockets in (self.sockets.secure_sockets, self.sockets.insecure_sockets):
            own = [Listener(self.backlog, fileno=plain.detach()) for plain in sockets]
            sockets[:] = own
            self.listeners += own
        self.backlog = ACCEPTED_AT_ONCE

    @property
    def urls(self) -> list[str]:
        """Where the page is, for a person."""
        return [url_of(bind, "https" if self.ssl_enabled else "http") for bind in self.bind]

    def create_sockets(self) -> Sockets:
        return self.sockets

    def cut(self) -> None:
        """Close every connection."""
        for listener in self.listeners:
            listener.cut()

    def close(self) -> None:
        """Close the listening sockets, if nobody served on them."""
        for listener in self.listeners:
            listener.close()


def shared_configs(settings: Settings, number: int) -> list[ServerConfig]:
    """So many configs, each with sockets of its own on the same addresses.

    Where the system does not share connections out among them, with the same sockets.
    Raises CannotStart like server_config().
    """
    linux = sys.platform == "linux"
    # opened alone first: a port that others have, too, could be shared with them
    with closing(server_config(settings)) as alone:
        if alone.insecure_bind or alone.quic_bind:
            raise CannotStart("hypercorn.toml: several web processes share `bind` and no other.")
    first = server_config(settings, shared=linux)
    if not linux or any(one.family == socket.AF_UNIX for one in first.listeners):
        return [first] * number
    addresses = ",".join("{}:{}".format(*one.getsockname()[:2]) for one in first.listeners)
    return [first, *(server_config(settings, True, addresses) for _ in range(number - 1))]


def server_config(settings: Settings, shared: bool = False, bind: str = "") -> ServerConfig:
    """hypercorn.toml, with sockets that we opened ourselves; what one in the working folder does
    not say is as in ours.

    bind: the addresses, instead of what the settings or the file say.
    Raises CannotStart for a file that cannot be read, a setting that Hypercorn does not
    have (it would be ignored silently), and an address that cannot be had.
    """
    ours, local = ROOT / "hypercorn.toml", Path("hypercorn.toml")
    file = local if local.exists() else ours
    chosen = said_in(ours) | said_in(file)
    config = ServerConfig()
    for name, value in chosen.items():
        choose(config, name, value, file)
    check_certificate(config, file)
    try:
        log_as_we_do(config, chosen)
    except (OSError, ValueError) as error:
        raise CannotStart(f"{file}: {error}.") from error
    bind = bind or settings.bind
    addresses = bind.split(",") if bind else config.bind
    source = "BIND" if bind else f"{file}: bind"
    bound = []
    for address in addresses:
        with usable(source, address):
            bound.append(listening(address, config.backlog, shared))
    config.bind = bound
    with usable(source, ", ".join(addresses)):
        config.open()
    return config


def said_in(file: Path) -> dict[str, object]:
    """Raises CannotStart."""
    try:
        return tomllib.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise CannotStart(f"{file}: {error}.") from error


def prepare_for_many() -> None:
    """Let this process hold as many connections as the system allows, each at little cost.

    The garbage collector would walk all of them again and again, though hardly anything
    about an idle connection is garbage: it looks less often, and never at what was there
    before the first one came. Of that, too, so little is garbage, 0.2 MB, that it is not worth a
    look, which would take a tenth of the time until we serve.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # macOS allows less than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


def check_certificate(config: Config, file: Path) -> None:
    """Raises CannotStart when there is to be TLS and its files are not in order."""
    try:
        if config.ssl_enabled:
            config.create_ssl_context()
    except (OSError, ValueError) as error:
        raise CannotStart(f"{file}: the certificate cannot be used: {error}.") from error


def choose(config: Config, name: str, value: object, file: Path) -> None:
    """Set what the file says. Raises CannotStart for an unknown name or another kind of value."""
    if name.startswith("_") or not hasattr(Config, name) or callable(getattr(Config, name)):
        raise CannotStart(f"{file}: {name} is no setting of Hypercorn.")
    default = getattr(config, name, None)
    kinds: tuple[type, ...] = (int, float) if type(default) in (int, float) else (type(default),)
    kinds += (str,) if isinstance(default, list) else ()  # one address may stand alone
    if default is not None and type(value) not in kinds:
        expected = " or ".join(kind.__name__ for kind in kinds)
        raise CannotStart(f"{file}: {name} = {value!r}: expected {expected}.")
    setattr(config, name, value)


@contextmanager
def usable(source: str, address: str) -> Iterator[None]:
    """Say in one sentence what is wrong with an address. Raises CannotStart."""
    try:
        yield
    except (ValueError, OverflowError) as error:
        expected = "an address and port such as 127.0.0.1:8000"
        raise CannotStart(f"{source}={address!r}: expected {expected}.") from error
    except OSError as error:
        why = "another program has it" if error.errno == errno.EADDRINUSE else error.strerror
        raise CannotStart(f"{source}={address!r} cannot be used: {why}.") from error


def listening(address: str, backlog: int, shared: bool = False) -> str:
    """Open a TCP address for Hypercorn as "fd://N"; other kinds of address are its own affair.

    The options count on every accepted connection: a viewer that takes nothing for half a
    minute is let go, and a stalled one holds little memory in the kernel.
    Raises OSError or ValueError.
    """
    if not isinstance(address, str):
        raise ValueError("no text")
    if address.startswith(("unix:", "fd://")):
        return address
    host, colon, port = address.strip().rpartition(":")
    if not colon:  # a port alone would open it to the whole network
        raise ValueError("no host")
    if not 0 <= int(port) <= 65535:  # the system would take it modulo 65536
        raise ValueError("no such port")
    family, kind, protocol, _, target = socket.getaddrinfo(
        host.strip("[]") or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MILLISECONDS)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if shared:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        opened.bind(target)
        opened.listen(backlog)
        return f"fd://{opened.detach()}"


def url_of(bind: str, scheme: str) -> str:
    if not bind.startswith("fd://"):
        return bind
    with socket.socket(fileno=os.dup(int(bind[5:]))) as opened:
        host, port = opened.getsockname()[:2]
    local = host in ("127.0.0.1", "::1", "0.0.0.0", "::")
    return f"{scheme}://{'localhost' if local else f'[{host}]' if ':' in host else host}:{port}"
