"""sse-starlette on uvicorn, with what uvicorn[standard] brings: uvloop and httptools.

on_uvicorn.py PORT RATE
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from bench.frame import News, beat

news = News()


async def events(_: Request) -> EventSourceResponse:
    async def frames() -> AsyncIterator[ServerSentEvent]:
        while True:
            await news.came.wait()
            yield ServerSentEvent(news.told, event="counts", id=news.id)

    return EventSourceResponse(frames())


@asynccontextmanager
async def beating(_: Starlette) -> AsyncIterator[None]:
    beats = asyncio.create_task(beat(float(sys.argv[2]), news.tell))
    yield
    beats.cancel()


if __name__ == "__main__":
    app = Starlette(routes=[Route("/events", events)], lifespan=beating)
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", backlog=2048)
