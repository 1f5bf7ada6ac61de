"""A TCP proxy between a client and its Redis: it delays, cuts, holds and swallows the replies."""

import asyncio
from contextlib import suppress
from typing import Self


class Link:
    """Every connection through here; each fault counts what it did, as a proof that it fired."""

    def __init__(self, redis_port: int) -> None:
        self.redis_port = redis_port
        self.delay, self.dropping = 0.0, False
        self.delayed = self.arrived = self.dropped = self.held = 0
        self.flows = asyncio.Event()
        """Cleared, it lets all replies wait."""
        self.flows.set()
        self.writers: set[asyncio.StreamWriter] = set()
        self.tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self.join, "127.0.0.1", 0)
        self.port: int = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.server.wait_closed()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def cut(self) -> int:
        """Break every connection, with what is on its way; answers with how many."""
        connections = len(self.writers) // 2
        for writer in self.writers:
            writer.transport.abort()
        return connections

    def join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self.connect(reader, writer))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection to Redis and back until either side ends it."""
        pair = [writer]
        try:
            answers, there = await asyncio.open_connection("127.0.0.1", self.redis_port)
            pair.append(there)
            self.writers.update(pair)
            pumps = [self.pump(reader, there, False), self.pump(answers, writer, True)]
            ways = [asyncio.create_task(pump) for pump in pumps]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except OSError:
            pass  # no Redis there: the client sees its connection break
        finally:
            self.writers.difference_update(pair)
            for each in pair:
                each.close()  # what is on its way may still arrive, unless it was cut

    async def pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, replies: bool
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if self.delay:
                    self.delayed += len(data)
                    await asyncio.sleep(self.delay)
                    self.arrived += len(data)
                if self.dropping and replies:
                    self.dropped += len(data)
                    continue
                if replies and not self.flows.is_set():
                    self.held += len(data)
                    await self.flows.wait()
                writer.write(data)
                await writer.drain()
