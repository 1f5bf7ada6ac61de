"""docs/walk.md follows one post to a pixel: every name in it exists, the order is that of a real
post, and it is short."""

import ast
import re
import sys
from contextlib import AsyncExitStack
from types import FrameType

import network as module
import pytest
from jetstream import Jetstream, Network, create, source_of
from network import Counting
from served import serving
from servers import ROOT, RedisServer, eventually, viewing

from app.store import keys

STEP = re.compile(r"^\| `([\w.]+)` in (\S+\.(?:py|js)) \|", re.M)


def steps() -> list[tuple[str, str]]:
    """Name and file, in their order."""
    return STEP.findall((ROOT / "docs" / "walk.md").read_text())


def names_in(file: str) -> set[str]:
    """The functions, classes and methods of a file; a method as Class.method in Python."""
    text = (ROOT / file).read_text()
    if file.endswith(".js"):
        return set(
            re.findall(r"^(?:export )?(?:function |class )?(?:async )?  ?(\w+)\(.*\{$", text, re.M)
        )
    found = set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            inner = (n for n in node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
            found |= {f"{node.name}.{each.name}" for each in inner}
    return found


def test_every_step_exists() -> None:
    """A renamed function takes its step with it."""
    assert len(steps()) >= 25
    assert [step for step in steps() if step[0] not in names_in(step[1])] == []


async def test_a_post_goes_this_way(
    redis_server: RedisServer,
    counting: Counting,
    stack: AsyncExitStack,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From a Jetstream server to a viewer's socket, every function of the tables is called, one
    after the other in their order."""
    monkeypatch.setattr(module, "TICK", 0.5)  # so that no second tick hides a wrong order
    called: list[tuple[str, str]] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        file = frame.f_code.co_filename.removeprefix(f"{ROOT}/")
        if event == "call" and file.startswith("app/"):
            called.append((frame.f_code.co_qualname, file))

    posts = Network()
    host = await stack.enter_async_context(Jetstream(posts))
    site = await stack.enter_async_context(serving(redis_server.url))
    await site.store.redis.delete(keys.LEASE)  # of the ticks that the test began with
    await stack.enter_async_context(counting.of(source_of(host)))
    url = f"http://127.0.0.1:{site.port}/events?tags=science"
    events = await stack.enter_async_context(viewing(url))
    await eventually(lambda: host.open, "the source is connected")
    total = 0
    try:
        async for event in events:
            counts = event.data["counts"] if event.name == "counts" else {}
            if counts.get("science", 0) > total > 0:
                break
            if counts and not total:
                total = counts["science"]
                sys.setprofile(note)
                posts.put([create("Science")])
    finally:
        sys.setprofile(None)
    left = iter(called)
    wanted = [step for step in steps() if step[1].startswith("app/")]
    assert len(wanted) > 20
    assert [step for step in wanted if step not in left] == [], "missing, or called before"


def test_the_walk_is_a_page() -> None:
    """It can be read in five minutes, every line of its tables is a step, and the files that it
    names are there."""
    text = (ROOT / "docs" / "walk.md").read_text()
    rows = [row for row in text.splitlines() if row.startswith("| `")]
    assert len(rows) == len(steps()) and len(text.splitlines()) <= 60
    for file in re.findall(r"\b(?:app|static)/[\w/]+\.\w+", text):
        assert (ROOT / file).is_file(), file
