"""Servers that fail in the usual ways, and repeat whatever they were sent while they do."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from aiohttp import web
from network import Server
from servers import free_port


class Echo(Server):
    """Answers everything with one status, and repeats the address, the headers, and what the
    user and password in them say: as X's JSON, and in the headers, too.

    status: 302 leads on to an address of another kind, 307 to the same place, with all of it in
    it; 200 is an answer, though none that was asked for.
    """

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status, self.asked = status, 0
        self.repeated = ""
        self.app.router.add_route("*", "/{any:.*}", self.answer)

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        sent = request.headers.get("Authorization", "")
        plain = ""
        with suppress(ValueError):
            plain = base64.b64decode(sent.removeprefix("Basic ")).decode()
        self.repeated += f"{request.url} {sent} {plain} "
        scheme = "ftp" if self.status == 302 else "http"
        who = plain or f"who:{sent.removeprefix('Bearer ')}"
        location = f"{scheme}://{who}@127.0.0.1:{self.port}/?{request.query_string}"
        words = f"{request.url} {sent} {plain} {location}"
        body = json.dumps({"title": words, "errors": [{"message": words}], "data": words})
        headers = {"X-Says": words, "WWW-Authenticate": words}
        if self.status in (302, 307):
            headers["Location"] = location
        return web.Response(status=self.status, reason=words, text=body, headers=headers)


@asynccontextmanager
async def listening(answers: bool) -> AsyncIterator[int]:
    """The port of a server that closes every connection at once, or else says nothing."""

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answers:
            writer.transport.abort()

    async with serving(join) as port:
        yield port


@asynccontextmanager
async def echoing_redis() -> AsyncIterator[int]:
    """The port of a Redis that knows no command, and says so in Redis's words."""

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while head := await reader.readline():
                words = [await word(reader) for _ in range(int(head[1:]))]
                said = " ".join(f"'{each}'" for each in words[1:])
                told = f"-ERR unknown command '{words[0]}', with args beginning with: {said}\r\n"
                writer.write(told.encode())

    async def word(reader: asyncio.StreamReader) -> str:
        length = int((await reader.readline())[1:])
        return (await reader.readexactly(length + 2))[:-2].decode()

    async with serving(join) as port:
        yield port


@asynccontextmanager
async def serving(join: Callable[..., Awaitable[None]]) -> AsyncIterator[int]:
    """The port of a server that does this with each connection; all of them end with it."""
    writers = []

    async def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await join(reader, writer)

    server = await asyncio.start_server(joined, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await server.wait_closed()


@asynccontextmanager
async def failing(how: str) -> AsyncIterator[tuple[str, int]]:
    """The host and port of a server that fails like this; a number is a status of HTTP."""
    if how == "refused":
        yield "127.0.0.1", free_port()
    elif how == "no such name":
        yield "inner-host.invalid", 8123
    elif how in ("silent", "closes"):
        async with listening(how == "closes") as port:
            yield "127.0.0.1", port
    elif how == "echoing redis":
        async with echoing_redis() as port:
            yield "127.0.0.1", port
    else:
        async with Echo(int(how) if how.isdecimal() else 500) as echo:
            yield "127.0.0.1", echo.port
            assert not how.isdecimal() or echo.asked, "it was asked, and repeated it"
