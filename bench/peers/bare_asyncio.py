"""The floor for Python: asyncio's own transports, each written to in a loop.

bare_asyncio.py PORT RATE
"""

import asyncio
import sys

from bench.frame import beat, frame

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Cache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n"
)
clients: set[asyncio.Transport] = set()


class Client(asyncio.Protocol):
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if data.endswith(b"\r\n\r\n"):
            self.transport.write(HEAD)
            clients.add(self.transport)

    def connection_lost(self, _: Exception | None) -> None:
        clients.discard(self.transport)


def to_all(number: int) -> None:
    told = frame(number)
    chunk = b"%x\r\n%b\r\n" % (len(told), told)
    for client in clients:
        client.write(chunk)


async def main(port: int, rate: float) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_server(Client, "127.0.0.1", port, backlog=2048)
    await beat(rate, to_all)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
