"""Slow readers of all the past, each of another one, while others watch: the memory of a web
process, and what the others notice."""

import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from redis import Redis

from bench.crowd import judged
from bench.leaks import ADDRESSES, HASHTAGS, LITTLE, full
from bench.processes import Cannot, connections, cpu, descriptors, memory, wait_until
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
    """Connections that ask for the past of 20 hashtags and read none of it, in a thread."""

    port: int
    opened: list[socket.socket] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, readers: int) -> None:
        """Open so many, A_SECOND of them; then keep them until told to stop."""
        begun = time.monotonic()
        while not self.stop.wait(0.01):
            while len(self.opened) < min(readers, (time.monotonic() - begun) * A_SECOND):
                self.opened.append(self.open())

    def open(self) -> socket.socket:
        number = len(self.opened)
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
            most, held, busy = beside(server, readers)
            window = others.stop_counting()
            missed = missed_of(server, window, others)
        wait_until(lambda: connections(server.port) == 0, "all is let go", LET_GO_SECONDS)
        after = memory(server.pid)
    report.note(f"slow: {readers:,} readers of up to {PAST_SECONDS} s of 20 hashtags.")
    report.add("slow", "memory before", "MB", [before / 1e6])
    report.add("slow", "more, at the most", "MB", [(most - before) / 1e6], most=MEMORY_MOST)
    report.add("slow", "more, when all have gone", "MB", [(after - before) / 1e6])
    report.add("slow", "readers that it has at a time, at the most", "", [held])
    report.add("slow", "CPU of the web process", "% of a core", [busy])
    report.add("slow", f"ticks that {OTHERS} others missed", "", [missed], most=0)
    late = window.within(0.99)
    report.add("slow", "99 % of their ticks within", "ms", [late], most=LATE_MOST)


def beside(server: Server, readers: int) -> tuple[float, int, float]:
    """While all come, stay for a while and go: bytes of the server's memory and files that it has
    open more than before, both at the most, and how busy it was, in percent of a core."""
    stalled, begun, spent = Readers(server.port), time.monotonic(), cpu(server.pid)
    files, most, held = descriptors(server.pid), 0.0, 0
    thread = threading.Thread(target=stalled.run, args=(readers,))
    thread.start()
    while time.monotonic() < begun + readers / A_SECOND + STAY_SECONDS:
        time.sleep(LOOK_SECONDS)
        most = max(most, memory(server.pid))
        held = max(held, descriptors(server.pid) - files)
    busy = 100 * (cpu(server.pid) - spent) / (time.monotonic() - begun)
    stalled.stop.set()
    thread.join()
    for one in stalled.opened:
        one.close()
    if len(stalled.opened) < readers:
        raise Cannot(f"Only {len(stalled.opened):,} of {readers:,} readers came.")
    return most, held, busy


def missed_of(server: Server, window: Window, others: Viewers) -> int:
    """Ticks that the others missed, in all."""
    with Redis.from_url(server.redis) as redis:
        return judged(window, redis, others)[1]
