"""Secrets and inner addresses, searched for in all that running processes say.

`user:pa55@host` and `?token=` of a source's URL, and Redis's host and port, reached viewers and
`/readyz` before: now no answer, tick, stream event, log line, output of `check`, key in Redis or
argument of a process has a secret, whatever fails and however, and nothing that a viewer can ask
for has an address inside.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import redis.asyncio
from echoing import failing
from secret_settings import SECRET, USER, has_secret, secret_settings
from servers import App, RedisServer, eventually, viewing

from app.settings import read
from app.store import keys
from app.web.app import create_app

WRONG_REQUESTS = (
    ("GET", "/nothing/here", {}),
    ("GET", "/static/../app/settings.py", {}),
    ("POST", "/api/counts", {}),
    ("HEAD", "/", {}),
    ("HEAD", "/events", {}),
    ("GET", "/events?tags=%23", {}),
    ("GET", "/events?history=x&by=nobody", {}),
    ("GET", "/events", {"Accept": "text/html"}),
    ("GET", "/api/history?range=1y", {}),
    ("GET", "/api/history?range=24h&tags=anything", {}),
    ("GET", "/api/history?format=csv&range=30d", {}),
    ("GET", "/api/counts?by=source&tags=" + ",".join(f"t{n}x" for n in range(21)), {}),
)
"""What is answered with an error page, or needs Redis in another way."""


def routes() -> list[str]:
    """Every address of the web process, from its own list of them."""
    found = [rule.rule for rule in create_app(read({})).url_map.iter_rules()]
    assert {"/", "/events", "/readyz"} <= set(found)
    return [rule.replace("<path:name>", "style.css") for rule in found]


async def answers(app: App) -> str:
    """All that the web process answers, with its headers; of the stream its first event."""
    told = []
    requests = [("GET", path, {}) for path in routes() if path != "/events"]
    timeout = aiohttp.ClientTimeout(total=20)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        for method, path, headers in (*requests, *WRONG_REQUESTS):
            async with session.request(method, app.url + path, headers=headers) as response:
                told.append(f"{method} {path} {response.status} {response.headers}")
                told.append((await response.read()).decode(errors="replace"))
    reader, writer = await asyncio.open_connection("127.0.0.1", app.port)
    writer.write(b"NO\x00SENSE /\r\n\r\n")
    told.append((await reader.read()).decode(errors="replace"))
    writer.close()
    return "\n".join(told)


async def events(app: App, number: int) -> str:
    """So many events of a stream with a past."""
    async with viewing(f"{app.url}/events?history=900&by=source") as stream:
        return "".join(str([await anext(stream) for _ in range(number)]))


async def stored(client: "redis.asyncio.Redis[bytes]") -> str:
    """All that is in Redis."""
    found = []
    async for key in client.scan_iter():
        kind = (await client.type(key)).decode()
        found.append(repr([key, await READ[kind](client, key)]))
    return "".join(found)


READ: dict[str, Callable[[Any, bytes], Any]] = {
    "string": lambda client, key: client.get(key),
    "hash": lambda client, key: client.hgetall(key),
    "set": lambda client, key: client.smembers(key),
    "stream": lambda client, key: client.xrange(key),
    "list": lambda client, key: client.lrange(key, 0, -1),
    "zset": lambda client, key: client.zrange(key, 0, -1),
}


def arguments() -> str:
    """Of every process of this machine."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(file.read_bytes().decode(errors="replace"))
        except OSError:
            continue
    assert any("redis" in each or "valkey" in each for each in found)
    return "\n".join(found)


@asynccontextmanager
async def with_password(server: RedisServer) -> AsyncIterator["redis.asyncio.Redis[bytes]"]:
    """A Redis where the user has the secret as a password; no process has it as one of
    its arguments because of us."""
    client = redis.asyncio.Redis(port=server.port)
    await client.execute_command("ACL", "SETUSER", USER, "on", f">{SECRET}", "~*", "&*", "+@all")
    yield client
    await client.aclose()


NETWORKS = ("x", "bluesky", "mastodon")


@pytest.mark.parametrize("how", ["refused", "no such name", "closes", "307", "401", "403", "500"])
async def test_sources_that_fail(
    how: str, start_app: Callable[..., App], redis_server: RedisServer, stack: AsyncExitStack
) -> None:
    """All three at once, with a Redis that has the secret as its password; the log and `check`
    name the server, and a viewer reads the network's name and what is wrong."""
    client = await stack.enter_async_context(with_password(redis_server))
    host, port = await stack.enter_async_context(failing(how))
    url = f"redis://{USER}:{SECRET}@127.0.0.1:{redis_server.port}/0?client_name={SECRET}"
    chosen = {**secret_settings(host, port), "REDIS_URL": url, "SOURCES": "x,bluesky,mastodon"}
    channel = client.pubsub()
    await channel.subscribe(keys.TICKS)
    app, checked = start_app(**chosen, TICK_SECONDS="0.1"), start_app("check", **chosen)
    heard, why = [], {}

    async def all_are_down() -> bool:
        message = await channel.get_message(ignore_subscribe_messages=True, timeout=1)
        if message:
            heard.append(message["data"].decode())
            sources = json.loads(heard[-1])["sources"]
            why.update({n: s for n, s in sources.items() if n in NETWORKS and s.get("reason")})
        return set(why) == set(NETWORKS)

    await eventually(all_are_down, f"each says what is wrong: {app.output}", 40)
    app.started()
    viewers = f"{heard} {await answers(app)} {await events(app, 4)}"
    if how == "403":  # which ends a recording of X: no waiting will mend it
        recorded = start_app("record", "--source", "x", "posts.jsonl", **chosen)
        await eventually(lambda: not recorded.running, f"it ends: {recorded.output}")
        assert "x: X answered 403" in recorded.output and not has_secret(recorded.output)
    await eventually(lambda: not checked.running, f"the check is over: {checked.output}", 60)
    assert checked.wait() == 1
    assert app.stop() == 0, app.output
    owner = f"{app.output} {checked.output}"
    everything = f"{viewers} {owner} {await stored(client)} {arguments()}"
    await channel.aclose()  # type: ignore[no-untyped-call]
    assert not has_secret(everything), line_with_secret(everything)
    assert_no_address(viewers, host, port, redis_server.port)
    assert "Traceback" not in owner
    assert owner.count(f"{host}:{port}") > 2, "the owner is told where"


REDIS = ("refused", "no such name", "silent", "closes", "echoing redis", "wrong password")


@pytest.mark.parametrize("how", REDIS)
async def test_a_redis_that_fails(
    how: str,
    start_app: Callable[..., App],
    redis_server: RedisServer,
    stack: AsyncExitStack,
    tmp_path: Path,
) -> None:
    """The log and `check` say which, and what is wrong; `/readyz`, the page and the JSON have a
    sentence without either."""
    if how == "wrong password":
        host, port = "127.0.0.1", redis_server.port
    else:
        host, port = await stack.enter_async_context(failing(how))
    (tmp_path / "posts").write_text("{}\n")  # a source that `check` is soon done with
    chosen = {
        "REDIS_URL": f"redis://{USER}:{SECRET}@{host}:{port}/0",
        "SOURCES": "replay",
        "REPLAY_FILE": "posts",
    }
    app, checked = start_app(**chosen).started(), start_app("check", **chosen)
    await eventually(lambda: app.output.count("Redis: ") > 1, f"both say so: {app.output}", 40)
    viewers = await answers(app)
    await eventually(lambda: not checked.running, f"the check is over: {checked.output}", 60)
    assert checked.wait() == 1 and "FAIL  Redis: " in checked.output
    app.signal(15)
    await eventually(lambda: not app.running, "it ends", 40)
    everything = f"{viewers} {app.output} {checked.output} {arguments()}"
    assert not has_secret(everything), line_with_secret(everything)
    assert_no_address(viewers, host, port)
    assert "503" in viewers and '{"error":"Redis ' in viewers
    assert "Traceback" not in everything


def assert_no_address(text: str, host: str, *ports: int) -> None:
    """But for our own, at which we asked."""
    for port in ports:
        found = re.search(rf".{{0,200}}(?<!\d){port}(?!\d).{{0,200}}", text)
        assert not found, found
    assert host == "127.0.0.1" or host not in text


def line_with_secret(text: str) -> str:
    return next((line[:2000] for line in text.splitlines() if has_secret(line)), "")
