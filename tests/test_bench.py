"""The bench counts what viewers really got and what is read; what it costs is not judged here."""

import os
import re
import shutil
import socket
import threading
from collections import Counter as Plain
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from urllib.request import urlopen

import pytest
import stored
from conftest import missing
from network import truth
from redis import Redis

from app.hashtags import typed
from app.ingest.counter import Counter
from app.store import keys
from app.store.store import Store, connect
from bench import ingest, reading
from bench.day import LOG_MINUTES, Stream, fill, name
from bench.leaks import CLIENTS, Client, come_and_go, hear, talking
from bench.processes import Cannot, connections, wait_until
from bench.servers import SERVERS, ours, redis_server
from bench.steady import different
from bench.viewers import Viewers

PATIENCE = 0.3
CLOSING = "\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(autouse=True)
def compiler() -> str:
    return shutil.which("cc") or missing("a C compiler")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all, where the load generator is compiled once."""
    return tmp_path_factory.mktemp("bench")


def events(*numbers: int, name: str = "counts", at: int = 1) -> bytes:
    """Chunked as nobody would: the borders fall anywhere."""
    told = "".join(f'id: {n}-0\nevent: {name}\ndata: {{"at":{at}}}\n\n' for n in numbers).encode()
    parts = [told[n : n + 27] for n in range(0, len(told), 27)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


class FakeServer:
    """Sends each client one event when it connects, and then what the test says."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.clients: list[socket.socket] = []
        self.requests: list[bytes] = []
        self.first = 1
        self.thread = threading.Thread(target=self.accept, daemon=True)

    def accept(self) -> None:
        with suppress(OSError):  # the listener is shut down at the end
            while True:
                client, _ = self.listener.accept()
                self.requests.append(client.recv(4096))
                self.clients.append(client)  # before its answer: who has that may look here
                client.sendall(HEAD + events(self.first))

    def hang_up(self) -> None:
        while self.clients:
            self.clients.pop().close()

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()
        self.hang_up()


@pytest.mark.parametrize("most", [1, 2])
@pytest.mark.parametrize(
    ("told", "counted"),
    [
        ([(2, 3, 4), (2, 3, 4)], {"events": 6, "ids": 3}),
        ([(2, 4), (2, 3, 4)], {"events": 5, "ids": 3, "missed": 1}),
        ([(2, 3, 3, 4), (2, 3, 4)], {"events": 7, "ids": 3, "repeated": 1}),
        ([(2, 4, 3), (2, 3, 4)], {"events": 6, "ids": 3, "missed": 1, "repeated": 1}),
        ([(2, 3), (2, 3, 4)], {"events": 5, "ids": 3, "behind": 1}),
        ([(), (5,)], {"events": 1, "ids": 1, "behind": 1}),
    ],
)
def test_viewers_count_what_was_missed_and_what_was_repeated(
    folder: Path, told: list[tuple[int, ...]], counted: dict[str, int], most: int
) -> None:
    """By the ids that others had, whatever the order and wherever chunks begin, also where the
    others are in another process."""
    with (
        FakeServer() as server,
        Viewers(folder, server.port, len(told), ["/a", "/b"], most) as viewers,
    ):
        assert len(viewers.parts) == len(told) / most
        viewers.connect()
        viewers.start(os.getpid())
        for client, numbers in zip(server.clients, told, strict=True):
            client.sendall(events(*numbers))
        window = viewers.stop_counting(PATIENCE)
    nothing = {"missed": 0, "repeated": 0, "behind": 0, "histories": 0, "closed": 0, "refused": 0}
    expected = nothing | counted | {"quiet": True}
    assert {name: getattr(window, name) for name in expected} == expected
    assert sorted(request.split()[1] for request in server.requests) == [b"/a", b"/b"]


def test_viewers_come_back_with_their_last_id(folder: Path) -> None:
    """What they missed meanwhile is counted, and a history instead of it too."""
    with FakeServer() as server, Viewers(folder, server.port, 2, ["/events"]) as viewers:
        viewers.connect()
        viewers.start(os.getpid())
        for client in server.clients:
            client.sendall(events(2))
        wait_until(lambda: viewers.stop_counting().events == 2, "the events are there")
        server.hang_up()
        wait_until(lambda: viewers.served() == 0, "the end is noticed")
        server.first = 4
        viewers.connect()
        assert all(b"Last-Event-ID: 2-0\r\n" in request for request in server.requests[2:])
        server.clients[0].sendall(events(5))
        server.clients[1].sendall(events(4, name="history") + events(5))
        window = viewers.stop_counting()
    assert (window.ids, window.missed, window.closed) == (3, 0, 2)
    assert (window.histories, window.repeated) == (1, 1)


def test_viewers_that_leave_come_back_as_after_an_end(folder: Path) -> None:
    """They hang up, which is not counted as the server's doing, and have their last ids."""
    with FakeServer() as server, Viewers(folder, server.port, 2, ["/events"]) as viewers:
        viewers.connect()
        viewers.start(os.getpid())
        viewers.leave()
        assert viewers.served() == 0
        assert [client.recv(1) for client in server.clients] == [b"", b""]
        server.first = 3
        viewers.connect()
        window = viewers.stop_counting()
    assert all(b"Last-Event-ID: 1-0\r\n" in request for request in server.requests[2:])
    assert (window.events, window.missed, window.behind, window.closed) == (2, 0, 0, 0)


def test_lateness_is_of_all_frames(folder: Path) -> None:
    """Of every process's, by the time in the event; one in the future counts as just in time."""
    with FakeServer() as server, Viewers(folder, server.port, 2, ["/events"], 1) as viewers:
        viewers.connect()
        viewers.start(os.getpid())
        for client, at in zip(server.clients, (2, 4_000_000_000_000), strict=True):
            client.sendall(events(2, at=at))
        window = viewers.stop_counting()
    assert window.delays == {0: 1, 60_000: 1}
    assert (window.within(0.5), window.within(0.99), window.slowest) == (0, 60_000, 60_000)


def test_what_is_measured_of_reading_is_all_of_it(recordings: Path) -> None:
    """Each way reads the same messages, and ours counts what is in them, all networks' alike."""
    folders = [file.parent for file in recordings.glob("*/wire_reduced.jsonl")]
    counter = Counter(frozenset())
    lines = reading.recorded(folders)
    told = reading.measured(0, folders, counter)
    for way in ("ours", "msgspec"):
        read = {network: ways[way][0] for network, ways in told.items()}
        assert read == {network: len(messages) for network, messages in lines.items()}
    counted = Plain[str]()
    for network, messages in lines.items():
        cut = reading.ours(reading.PARSERS[network], counter)(messages)
        for _, _, tag, posts in cut.entries():
            counted[tag] += posts
    assert counted == truth(recordings, *(folder.name for folder in folders))


def test_reading_is_measured_by_a_program(recordings: Path) -> None:
    """Of its own, beside whose file lies a requests.py that is not the library's."""
    told = ingest.messages(0, [recordings / "bsky_posts_wrapped"])
    assert told["bsky"]["ours"][0] > 100


def test_a_tiny_bench_of_ours(folder: Path) -> None:
    """Every viewer gets every tick that Redis has, once."""
    with (
        ours(folder, rate=10) as server,
        Viewers(folder, server.port, 20, ["/events"]) as viewers,
        Redis.from_url(server.redis) as redis,
    ):
        viewers.connect()
        viewers.start(server.pid)
        length = redis.xlen("{hashtag}:log")
        wait_until(lambda: redis.xlen("{hashtag}:log") >= length + 5, "five ticks are there")
        window = viewers.stop_counting()
        ticks = redis.xrange("{hashtag}:log", window.first, window.last)
    assert window.ids == len(ticks) >= 4
    assert window.events == 20 * window.ids
    assert (window.missed, window.repeated, window.behind, window.closed) == (0, 0, 0, 0)
    assert window.server > 0


def test_peers_send_frames_of_our_form(folder: Path) -> None:
    """The costs that are compared are of the same bytes, nearly."""
    forms = {}
    for peer in ("ours", "C loop", "asyncio"):
        with SERVERS[peer](folder, 10) as server:
            forms[peer] = form(server.port)
    assert forms["C loop"] == forms["asyncio"] == forms["ours"]


def form(port: int) -> Any:
    """The lines of an event with totals, each figure as 0."""
    with urlopen(f"http://127.0.0.1:{port}/events", timeout=20) as stream:
        wait_until(lambda: stream.readline() == b"event: counts\n", "an event begins")
        lines = [stream.readline().decode() for _ in range(3)]
    assert lines[2] == "\n"
    return [re.sub(r"\d+(\.\d+)?|null", "0", line) for line in lines]


def test_rude_clients_are_answered_and_gone(tmp_path: Path) -> None:
    """Each kind of them, by each door; and what answers otherwise than they wait for is told."""
    with ours(tmp_path, rate=10, hashtags="tag1,tag2") as server:
        come_and_go(server.port, 2 * len(CLIENTS))
        wait_until(lambda: connections(server.port) == 0, "all is let go")
        with pytest.raises(Cannot, match=r"There is nothing at /none.* and no more"):
            hear_one(server.port, Client("/none", reads=b"absent", ends=CLOSING))


def hear_one(port: int, client: Client) -> None:
    (opened,) = talking(port, "127.0.0.1", [client])
    with opened:
        hear(client, opened)


def test_a_stream_has_as_many_different_hashtags_as_are_calculated() -> None:
    """Each has a name of its own, which is a hashtag."""
    stream = Stream()
    stream.take(50_000)
    assert stream.kinds == pytest.approx(different(50_000), rel=0.3)
    names = [name(number) for number in range(stream.kinds)]
    assert len(set(names)) == stream.kinds == len(set(stream.uses))
    assert all(typed(each) == each for each in names[:1000])


async def test_a_short_day_is_in_redis_as_an_ingester_leaves_it(tmp_path: Path) -> None:
    """Every use in totals and minutes, and the last 15 minutes in the log."""
    with redis_server(tmp_path) as url:
        store = Store(connect(url))
        stream = await fill(store, minutes=LOG_MINUTES + 2, posts=20)
        expected = Plain(map(name, stream.uses))
        assert len(stream.uses) == 20 * 0.3 * 60 * (LOG_MINUTES + 2)
        assert await stored.totals(store) == expected
        for tag in list(expected)[::50]:
            assert sum((await stored.minutes(store, tag)).values()) == expected[tag]
        ticks = await store.ticks_after("")
        assert len(ticks) == 2 * 60 * LOG_MINUTES
        logged = sum(n for tick in ticks for of in tick.added.values() for n in of.values())
        assert logged == pytest.approx(20 * 0.3 * 60 * LOG_MINUTES, abs=10)
        assert await store.text(keys.POPULAR)
        assert not await store.writer()
        await store.redis.aclose()
