"""What lies between a browser and the web process: passes on, answers 502, goes dead, forgets."""

import asyncio
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, Self

BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(eq=False)
class Ways:
    """A browser's connection and ours to the server: the writers of both."""

    writers: list[asyncio.StreamWriter]
    streams: int = 0
    forgotten: bool = False

    def abort(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


class WebLine:
    """A TCP proxy in a thread of its own; counts what it did, as a proof that a fault fired."""

    def __init__(self, to_port: int) -> None:
        self.to_port = to_port
        self.state: Literal["up", "bad", "dead"] = "up"
        self.streams = self.refused = self.swallowed = self.open_streams = 0
        self.carried = 0
        """Bytes of all answers but the event streams'."""
        self.holds = b""
        """A request whose first line has this in it waits for `release`."""
        self.released = asyncio.Event()
        self.ways: set[Ways] = set()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self.thread.start()
        server = asyncio.run_coroutine_threadsafe(self.listen(), self.loop).result()
        self.port = server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self.end(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    async def listen(self) -> asyncio.Server:
        self.server = await asyncio.start_server(self.join, "127.0.0.1", 0)
        return self.server

    async def end(self) -> None:
        self.server.close()
        self.break_all()
        await asyncio.gather(
            *asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True
        )
        await self.server.wait_closed()

    def bad(self) -> None:
        """Break every connection, and answer 502 from now on."""
        self.state = "bad"
        self.loop.call_soon_threadsafe(self.break_all)

    def dead(self) -> None:
        """Let nothing through from now on, in either direction, and say nothing about it."""
        self.state = "dead"

    def up(self) -> None:
        """Work again; what hung while it was dead is broken, as by a router that forgot it."""
        self.state = "up"
        self.loop.call_soon_threadsafe(self.break_all)

    def forget(self) -> None:
        """Carry nothing more of the open streams and tell neither end; break idle connections."""
        for ways in list(self.ways):
            ways.forgotten = ways.streams > 0
            if not ways.streams:
                self.loop.call_soon_threadsafe(ways.abort)

    def release(self) -> None:
        """Let the requests go on that are held, and all that follow."""
        self.loop.call_soon_threadsafe(self.released.set)

    def break_all(self) -> None:
        for ways in list(self.ways):
            ways.abort()

    async def join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ways = Ways([writer])
        self.ways.add(ways)
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            if self.state == "bad":
                self.refused += 1
                writer.write(BAD_GATEWAY)
                await writer.drain()
            else:
                answers, there = await asyncio.open_connection("127.0.0.1", self.to_port)
                ways.writers.append(there)
                await self.carry(head, ways, reader, answers)
        self.ways.discard(ways)
        ways.abort()

    async def carry(
        self,
        head: bytes,
        ways: Ways,
        questions: asyncio.StreamReader,
        answers: asyncio.StreamReader,
    ) -> None:
        back, out = ways.writers
        tasks = [
            asyncio.create_task(self.pump(head, questions, out, ways)),
            asyncio.create_task(self.pump(b"", answers, back, ways)),
        ]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        self.open_streams -= ways.streams
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def pump(
        self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ways: Ways
    ) -> None:
        data = first or await reader.read(65536)
        while data:
            if self.holds and data.startswith(b"GET ") and self.holds in data.split(b"\r\n")[0]:
                await self.released.wait()
            if data.startswith(b"GET ") and b"/events?" in data.split(b"\r\n")[0]:
                ways.streams += 1
                self.streams += 1
                self.open_streams += 1
            if self.state == "dead" or ways.forgotten:
                self.swallowed += len(data)
            else:
                self.carried += len(data) if writer is ways.writers[0] and not ways.streams else 0
                writer.write(data)
                await writer.drain()
            data = await reader.read(65536)
