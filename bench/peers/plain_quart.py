"""What our own server would be without anything of ours: a generator for each viewer.

plain_quart.py PORT RATE
"""

import asyncio
import sys
from collections.abc import AsyncIterator

from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart, Response

from bench.frame import News, beat

app, news = Quart(__name__), News()


@app.get("/events")
async def events() -> Response:
    async def frames() -> AsyncIterator[bytes]:
        while True:
            await news.came.wait()
            yield news.newest

    response = Response(frames(), content_type="text/event-stream")
    response.timeout = None
    return response


async def main(port: int, rate: float) -> None:
    config = Config()
    config.bind, config.backlog = [f"127.0.0.1:{port}"], 2048
    async with asyncio.TaskGroup() as group:
        group.create_task(serve(app, config))
        group.create_task(beat(rate, news.tell))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
