"""A bug of ours ends the process, also in a task that no request and no tick waits for."""

import asyncio
import os
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import aiohttp
import pytest
from servers import ROOT, Process, RedisServer, eventually, free_port, get, viewing

from app.store.posts import StoredPost, write_post, write_posts
from app.store.store import Store

BUG = """
import sys
from app.web import bluesky_posts, posts

def bug(*_, **__):
    raise ZeroDivisionError("a bug of ours")

async def later(*_, **__):
    bug()

{what}
from app.__main__ import main
sys.argv = ["app"]
main()
"""


@pytest.mark.parametrize(
    ("what", "asked"),
    [
        ("posts.PostEvents.look_up = later", "events?tags=science&posts=1"),
        ("bluesky_posts.Lookups.next_ids = bug", "api/posts?tags=science"),
    ],
    ids=["what goes with a tick", "what Bluesky is asked"],
)
async def test_it_ends_the_process_loudly(
    tmp_path: Path,
    redis_server: RedisServer,
    store: Store,
    ending: ExitStack,
    what: str,
    asked: str,
) -> None:
    """Of the task that gets an open page's next post ready, and of the one that looks posts up."""
    (tmp_path / "bug.py").write_text(BUG.format(what=what))
    port = free_port()
    chosen = {"BIND": f"127.0.0.1:{port}", "REDIS_URL": redis_server.url, "DEMO_PAST_HOURS": "0"}
    env = {**os.environ, "PYTHONPATH": str(ROOT), **chosen}
    app = ending.enter_context(
        Process(sys.executable, str(tmp_path / "bug.py"), cwd=tmp_path, env=env)
    )

    async def writer() -> str:
        return await store.writer()

    name = await eventually(writer, f"it counts: {app.output}")
    at = int(time.time() * 1000)
    post = write_post(StoredPost("bluesky", "did:plc:a/1", "did:plc:a", at, ("science",)))
    await write_posts(store, name, [post], [], 0, anew=False)
    url = f"http://127.0.0.1:{port}"

    async def serves() -> bool:
        with suppress(aiohttp.ClientError):
            return (await get(f"{url}/healthz"))[0] == 200
        return False

    await eventually(serves, f"it serves: {app.output}")
    with suppress(aiohttp.ClientError):  # the answer is cut by the end
        async with asyncio.timeout(20):
            if asked.startswith("events"):
                async with viewing(f"{url}/{asked}") as events:
                    async for _ in events:
                        pass
            else:
                await get(f"{url}/{asked}")
    assert await asyncio.to_thread(app.wait, 10) == 1, app.output
    assert "the feed broke" in app.output
    assert "ZeroDivisionError: a bug of ours" in app.output
