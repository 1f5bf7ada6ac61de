"""New connections, before Hypercorn has them: a plain request for the event stream is answered
here, and everything else is handed on.

What Hypercorn and Quart do for a connection and a request costs a millisecond of CPU, most of it
for nothing where a page only wants its ticks. So the head of a request is looked at while it stays
in the socket (MSG_PEEK). A plain `GET /events` is taken out, answered, and its connection becomes
a viewer (taken.py). Whatever is odd about it, or only rare, leads to Hypercorn, which finds
every byte where it was: the Quart route defines the answer, refusals too, and a test compares both
ways byte by byte.

There is no front door with TLS, without epoll (macOS), with EXPRESS_LANE=false, for
`hypercorn 'app:create_app()'`, which opens its sockets itself, and where hypercorn.toml sets what
only Hypercorn can do (ONLY_HYPERCORN): there it answers every request, and takeover.py works.
"""

import logging
import select
import socket
import time
from asyncio import TimerHandle, get_running_loop
from collections import OrderedDict, deque
from functools import lru_cache
from typing import Any, NamedTuple

from hypercorn.config import Config
from quart import Quart

from app.settings import Settings
from app.web.address import Address, whose
from app.web.answers import Refused
from app.web.events import HEADERS, wanted
from app.web.feed import Feed
from app.web.hypercorn_fixes import HEAD_SECONDS
from app.web.limits import COST, Limits, files_for_others
from app.web.page import CONTENT_SECURITY_POLICY
from app.web.plain_request import LONGEST_HEAD, RequestHead, may_become_plain, plain
from app.web.server import ACCEPTED_AT_ONCE, Listener, ServerConfig
from app.web.taken import IS_POSSIBLE, Taken
from app.web.viewer import Viewer

log = logging.getLogger(__name__)

MOST_WAITING = 1000
"""So many connections may be without a whole head in any case, and as many more as viewers may
still come, MOST_NEW at most; for one too many the oldest is closed. Of the open files that are for
all but viewers they take half at most."""
TAKEN_AT_ONCE = 32
"""So many new connections, and so many that sent more, are looked at before ticks get their turn:
about 3 ms."""
MOST_NEW, FETCHED_AT_ONCE = 10_000, 256
"""So many connections wait here to be looked at, if as many viewers may still come, and so many
are fetched from the kernel at a time. It keeps no more than 4,096 by default (net.core.somaxconn);
where more come at once, as after a restart, the rest try again only after 1, 3 and 7 s."""
KEPT_PEERS, LONGEST_FORWARDED = 1024, 256
"""Of so many is remembered whose they are, where they say no more than that in X-Forwarded-For."""
NO_ROOM_SECONDS = 1.0
"""Where there is no descriptor for a new connection, it is tried again after so long."""

ONLY_HYPERCORN = ("accesslog", "max_requests", "root_path", "server_names", "statsd_host")
"""Settings of hypercorn.toml."""


def open_front_door(app: Quart, config: ServerConfig, settings: Settings, feed: Feed) -> None:
    """Let Hypercorn have only what we hand on, where we can look at connections before it."""
    usual = not any(getattr(config, name) for name in ONLY_HYPERCORN)
    if settings.express_lane and usual and IS_POSSIBLE:
        door = FrontDoor(app, config, settings, feed)
        app.extensions["front_door"] = door
        sockets = config.sockets.insecure_sockets
        sockets[:] = [HandedOn(one, door) for one in sockets if isinstance(one, Listener)]


def peeked(connection: socket.socket) -> bytes | None:
    """What was sent, left where it is; nothing by one that is gone, None while it may become a
    plain request."""
    try:
        head = connection.recv(LONGEST_HEAD, socket.MSG_PEEK)
    except BlockingIOError:
        return None
    except OSError:
        return b""
    return None if may_become_plain(head) else head


@lru_cache(maxsize=16)
def response_head(config: Config, is_1_1: bool, closes: bool, second: int) -> bytes:
    """Status line and headers, as h11 writes them for Hypercorn; second: since 1970, that of
    the date."""
    ours = {
        **HEADERS,
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": f"{CONTENT_SECURITY_POLICY}'none'",
    }
    lines = [(name.lower().encode(), value.encode()) for name, value in ours.items()]
    lines += config.response_headers("h11")
    lines += [(b"Transfer-Encoding", b"chunked")] if is_1_1 else []
    lines += [(b"Connection", b"close")] if closes else []
    return b"HTTP/1.1 200 \r\n" + b"".join(b"%b: %b\r\n" % line for line in lines) + b"\r\n"


class HandedOn(socket.socket):
    """What Hypercorn listens on: it accepts from it the connections that the door hands on.

    asyncio asks a listening socket for no more than is here. It can be read from as long as a
    connection waits, since it is one end of a pair whose other end then sent a byte.
    """

    def __init__(self, listener: Listener, door: "FrontDoor") -> None:
        bell, mine = socket.socketpair()
        super().__init__(fileno=mine.detach())
        self.listener, self.door, self.bell = listener, door, bell
        self.queue: deque[tuple[socket.socket, Any]] = deque()
        """Connections and whose they are, at most ACCEPTED_AT_ONCE and TAKEN_AT_ONCE."""

    @property
    def is_full(self) -> bool:
        """Whether Hypercorn is to take some before there may be more."""
        return len(self.queue) >= ACCEPTED_AT_ONCE

    @property
    def family(self) -> socket.AddressFamily:
        return self.listener.family

    def getsockname(self) -> Any:
        return self.listener.getsockname()

    def listen(self, _: int = 0) -> None:
        """Hypercorn is ready."""
        self.door.open(self)

    def put(self, connection: socket.socket, peer: Any) -> None:
        self.listener.accepted.add(connection)
        self.queue.append((connection, peer))
        if len(self.queue) == 1:
            self.bell.send(b"\0")

    def accept(self) -> tuple[socket.socket, Any]:
        if not self.queue:
            raise BlockingIOError
        if len(self.queue) == 1:
            self.recv(1)
        return self.queue.popleft()

    def close(self) -> None:
        """Hypercorn listens no more, and so do we."""
        self.door.close(self)
        for connection, _ in self.queue:
            connection.close()
        self.queue.clear()
        for each in (self.bell, self.listener):
            each.close()
        super().close()


New = tuple[socket.socket, Any, HandedOn]
"""A connection, its address as accept() tells it, and who is to have it if we do not."""


class Waiting(NamedTuple):
    """A connection without a whole head."""

    connection: socket.socket
    peer: Any
    """Its address, as accept() tells it."""
    handed_on: HandedOn
    until: float
    """When it is closed, in seconds of the loop's clock."""


class FrontDoor:
    """Every new connection of this process, until it is a viewer's or Hypercorn's, or has no whole
    head after HEAD_SECONDS.

    Bounds: new and waiting have MOST_NEW entries each at most, together as many as viewers may
    still come, and most_waiting and TAKEN_AT_ONCE in any case; an entry of waiting stays for
    HEAD_SECONDS at most.
    """

    def __init__(self, app: Quart, config: ServerConfig, settings: Settings, feed: Feed) -> None:
        self.config, self.settings, self.feed = config, settings, feed
        self.limits: Limits = app.extensions["limits"]
        self.taken: Taken = app.extensions["taken"]
        self.sockets: list[HandedOn] = []
        """Those that are open."""
        self.new: deque[New] = deque()
        """Those that were not looked at yet, the oldest first."""
        self.comes_back = False
        """Whether we will soon look at more of them."""
        self.waiting: OrderedDict[int, Waiting] = OrderedDict()
        """By their descriptors, the oldest first; the epoll has the same ones."""
        self.most_waiting = min(MOST_WAITING, files_for_others() // 2)
        self.epoll = select.epoll()
        self.timer: TimerHandle | None = None
        """For the oldest of those that wait."""
        trusted = settings.trusted_proxies
        self.whose = lru_cache(KEPT_PEERS)(lambda peer, said: whose(peer, said, trusted))
        self.answered = self.handed_on = self.given_up = 0
        """How many connections became viewers, were handed on, and were closed without a head."""

    def open(self, handed_on: HandedOn) -> None:
        loop = get_running_loop()
        if not self.sockets:
            loop.add_reader(self.epoll.fileno(), self.look_again)
        self.sockets.append(handed_on)
        handed_on.listener.setblocking(False)
        handed_on.listener.listen()
        loop.add_reader(handed_on.listener.fileno(), self.accept, handed_on)

    def close(self, handed_on: HandedOn) -> None:
        """Take no more connections, and close those that it has not had yet."""
        if handed_on not in self.sockets:
            return
        self.sockets.remove(handed_on)
        loop = get_running_loop()
        loop.remove_reader(handed_on.listener.fileno())
        for number in [n for n, each in self.waiting.items() if each.handed_on is handed_on]:
            self.forget(number).connection.close()
        for connection, _, _ in [each for each in self.new if each[2] is handed_on]:
            connection.close()
        self.new = deque(each for each in self.new if each[2] is not handed_on)
        if not self.sockets:
            loop.remove_reader(self.epoll.fileno())
            self.epoll.close()
            if self.timer:
                self.timer.cancel()

    def accept(self, handed_on: HandedOn) -> None:
        """Fetch new connections from the kernel before it has too many."""
        most = max(TAKEN_AT_ONCE, min(MOST_NEW, len(self.new) + self.room()))
        for _ in range(min(FETCHED_AT_ONCE, most - len(self.new))):
            try:
                connection, peer = handed_on.listener.accept_unknown()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                break
            except OSError as error:
                self.have_no_room(handed_on, error)
                break
            self.new.append((connection, peer, handed_on))
        if not self.comes_back:
            self.look()

    def room(self) -> int:
        """So many more connections may have an open file without taking it from anything else."""
        limits = self.limits
        return limits.most - limits.viewers - len(self.new) - len(self.waiting)

    def look(self) -> None:
        """Look at new connections, a few at a time; at none while Hypercorn has to take some."""
        self.comes_back = False
        for _ in range(TAKEN_AT_ONCE):
            if not self.new or self.new[0][2].is_full:
                break
            connection, peer, handed_on = self.new.popleft()
            connection.setblocking(False)
            head = peeked(connection)
            if head is None:
                self.wait(connection, peer, handed_on)
            else:
                self.let_in(connection, peer, handed_on, head)
        if self.new:
            self.comes_back = True
            get_running_loop().call_soon(self.look)

    def look_again(self) -> None:
        """Look at those that waited and sent more, or are gone."""
        if any(each.is_full for each in self.sockets):
            return
        ended = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
        for number, events in self.epoll.poll(0, TAKEN_AT_ONCE):
            head = peeked(self.waiting[number].connection)
            if head is not None or events & ended:
                connection, peer, handed_on, _ = self.forget(number)
                self.let_in(connection, peer, handed_on, head or b"")

    def wait(self, connection: socket.socket, peer: Any, handed_on: HandedOn) -> None:
        """Look again when it sends more."""
        if len(self.waiting) >= self.most_waiting:
            most = max(self.most_waiting, min(MOST_NEW, len(self.waiting) + self.room()))
            while len(self.waiting) >= most:
                self.give_up()
        loop, number = get_running_loop(), connection.fileno()
        until = loop.time() + HEAD_SECONDS
        self.waiting[number] = Waiting(connection, peer, handed_on, until)
        self.epoll.register(number, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)
        if not self.timer:
            self.timer = loop.call_at(until, self.end_overdue)

    def end_overdue(self) -> None:
        """Close those whose time is over; one timer is enough, for the oldest one."""
        loop, self.timer = get_running_loop(), None
        while self.waiting:
            until = next(iter(self.waiting.values())).until
            if until > loop.time():
                self.timer = loop.call_at(until, self.end_overdue)
                return
            self.give_up()

    def give_up(self) -> None:
        """Close the one that waits longest."""
        self.forget(next(iter(self.waiting))).connection.close()
        self.given_up += 1

    def forget(self, number: int) -> Waiting:
        self.epoll.unregister(number)
        return self.waiting.pop(number)

    def have_no_room(self, handed_on: HandedOn, error: OSError) -> None:
        """A connection cannot be accepted: one that waits makes room, else try again later."""
        if self.waiting:
            self.give_up()
            return
        if self.new:  # of which some will go
            return
        log.warning("a new connection cannot be accepted: %s", error.strerror)
        get_running_loop().remove_reader(handed_on.listener.fileno())
        get_running_loop().call_later(NO_ROOM_SECONDS, self.try_again, handed_on)

    def try_again(self, handed_on: HandedOn) -> None:
        if handed_on in self.sockets:
            get_running_loop().add_reader(handed_on.listener.fileno(), self.accept, handed_on)

    def let_in(
        self, connection: socket.socket, peer: Any, handed_on: HandedOn, head: bytes
    ) -> None:
        """Answer the request, or hand the connection on; without a head it is gone."""
        if not head:
            connection.close()
            return
        asked = plain(head)
        if asked and self.answer(connection, peer, asked, len(head)):
            self.answered += 1
        else:
            self.handed_on += 1
            handed_on.put(connection, peer)

    def answer(self, connection: socket.socket, peer: Any, asked: RequestHead, size: int) -> bool:
        """Make the connection a viewer's, unless its request is refused, or its totals have to be
        read first: then nothing of it is taken."""
        feed, limits = self.feed, self.limits
        try:
            wants = wanted(asked.query, asked.last_id, asked.accept, self.settings, feed)
        except Refused:
            return False
        address = self.address(peer, asked.forwarded)
        if feed.closing or limits.room(address):
            return False
        fanout = feed.watch(wants.tags, wants.by_source, wants.extras)
        if feed.loaded and not fanout.is_known:
            return False
        if limits.ask(address, COST, time.monotonic()):  # last: whoever is handed on pays there
            return False
        limits.come(address)
        connection.recv(size)
        viewer = Viewer(feed, fanout, wants.start)
        viewer.address, viewer.chunked = address, asked.is_1_1
        form = response_head(self.config, asked.is_1_1, asked.closes, int(time.time()))
        self.taken.take(connection, viewer, form)
        return True

    def address(self, peer: Any, forwarded: bytes) -> Address | None:
        """Whose request it is."""
        host = peer[0] if isinstance(peer, tuple) else ""
        find = self.whose if len(forwarded) <= LONGEST_FORWARDED else self.whose.__wrapped__
        return find(host, forwarded)
