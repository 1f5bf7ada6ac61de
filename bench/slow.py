"""Slow readers of all the past, each of another one, while others watch: the memory of a web
process, and what the others notice."""

import select
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from redis import Redis

from bench.crowd import judged
from bench.leaks import ADDRESSES, HASHTAGS, LITTLE, full
from bench.processes import Cannot, connections, cpu, memory, wait_until
from bench.report import Report
from bench.servers import Server
from bench.viewers import Viewers, Window

READERS, A_SECOND, OTHERS = 2000, 60, 200
PAST_SECONDS, DIFFERENT = 900, 600
"""How much they ask for, the next one a second less, round and round."""
TARGETS = ("/events", "http://127.0.0.1/events")
"""By the front door, and by the takeover."""
MEMORY_MOST = 160
"""MB more, at most: what is being read and what is kept for who comes next (app/web/shared.py),
what is written of the hashtags' lines (app/web/series.py), and a quarter for the allocator."""
LATE_MOST = 1000
"""Milliseconds, of 99 in 100 ticks of the others."""
STAY_SECONDS, LOOK_SECONDS, LET_GO_SECONDS = 5, 0.25, 60


@dataclass
class Readers:
    """Connections that ask for the past of 20 hashtags and read none of it, in a thread.

    opened: all that there were; ended: those that the server let go meanwhile.
    """

    port: int
    opened: int = 0
    ended: int = 0
    held: dict[int, socket.socket] = field(default_factory=dict)
    """Those that are open, by their descriptors."""
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, readers: int) -> None:
        """Open so many, A_SECOND of them; then keep them until told to stop."""
        poller, begun = select.epoll(), time.monotonic()
        while not self.stop.wait(0.01):
            while self.opened < min(readers, (time.monotonic() - begun) * A_SECOND):
                one = self.open()
                self.held[one.fileno()] = one
                poller.register(one.fileno(), select.EPOLLRDHUP)
            for descriptor, _ in poller.poll(0):
                self.held.pop(descriptor).close()
                self.ended += 1

    def open(self) -> socket.socket:
        number, self.opened = self.opened, self.opened + 1
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, LITTLE)
        one.bind((f"127.0.2.{1 + number % ADDRESSES}", 0))
        one.connect(("127.0.0.1", self.port))
        seconds = PAST_SECONDS - number % DIFFERENT
        query = f"history={seconds}&tags={','.join(HASHTAGS)}"
        target = TARGETS[number % len(TARGETS)]
        one.sendall(f"GET {target}?{query} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        return one


def slow(report: Report, readers: int = READERS) -> None:
    with TemporaryDirectory() as made, full(Path(made)) as server:
        with Viewers(Path(made), server.port, OTHERS, ["/events"]) as others:
            others.connect()
            before = memory(server.pid)
            others.start(server.pid)
            stalled, most, busy = beside(server, readers)
            window = others.stop_counting()
            missed = missed_of(server, window, others)
        wait_until(lambda: connections(server.port) == 0, "all is let go", LET_GO_SECONDS)
        after = memory(server.pid)
    report.note(f"slow: {stalled.opened:,} readers of up to {PAST_SECONDS} s of 20 hashtags.")
    report.add("slow", "memory before", "MB", [before / 1e6])
    report.add("slow", "more, at the most", "MB", [(most - before) / 1e6], most=MEMORY_MOST)
    report.add("slow", "more, when all have gone", "MB", [(after - before) / 1e6])
    report.add("slow", "readers that were let go meanwhile", "", [stalled.ended])
    report.add("slow", "CPU of the web process", "% of a core", [busy])
    report.add("slow", f"ticks that {OTHERS} others missed", "", [missed], most=0)
    late = window.within(0.99)
    report.add("slow", "99 % of their ticks within", "ms", [late], most=LATE_MOST)


def beside(server: Server, readers: int) -> tuple[Readers, float, float]:
    """The readers, when all have come and stayed for a while and are gone; bytes of the server's
    memory at the most; and how busy it was, in percent of a core."""
    stalled, begun, spent, most = Readers(server.port), time.monotonic(), cpu(server.pid), 0.0
    thread = threading.Thread(target=stalled.run, args=(readers,))
    thread.start()
    while time.monotonic() < begun + readers / A_SECOND + STAY_SECONDS:
        time.sleep(LOOK_SECONDS)
        most = max(most, memory(server.pid))
    busy = 100 * (cpu(server.pid) - spent) / (time.monotonic() - begun)
    stalled.stop.set()
    thread.join()
    for one in stalled.held.values():
        one.close()
    if stalled.opened < readers:
        raise Cannot(f"Only {stalled.opened:,} of {readers:,} readers came.")
    return stalled, most, busy


def missed_of(server: Server, window: Window, others: Viewers) -> int:
    """Ticks that the others missed, in all."""
    with Redis.from_url(server.redis) as redis:
        return judged(window, redis, others)[1]
