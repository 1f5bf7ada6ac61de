"""How a process starts: it loads what its command needs, and nothing of the others'."""

import json
import re
import subprocess
import sys
from collections.abc import Callable

import pytest
from servers import ROOT, App, RedisServer, eventually

from app.store import keys
from app.store.store import Store

OF_WEB = {"quart", "hypercorn", "werkzeug", "jinja2", "h2", "app.web.app", "app.web.feed"}
OF_INGESTER = {"app.ingest.writer", "app.ingest.present", "app.ingest.webhook"}
OF_OWNER = {"app.commands.check", "app.commands.backup", "app.store.exporting"}
OF_NETWORKS = {"aiohttp", "tweepy", "app.sources.bluesky.source", "app.sources.x.stream"}
LOADED = re.compile(r"^import time: .*\| +([\w.]+)$", re.M)
"""What CPython says with PYTHONPROFILEIMPORTTIME of each module, but those of import_module()."""


def test_the_program_alone_loads_no_server_and_no_ingester() -> None:
    """So does every command until it is known, and the parent of several web processes."""
    names = "import app.__main__, json, sys; print(json.dumps([*sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", names], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(json.loads(done.stdout))
    assert "redis" in loaded
    assert not loaded & (OF_WEB | OF_INGESTER | OF_OWNER | OF_NETWORKS)


@pytest.mark.parametrize(
    ("command", "needs", "others"),
    [
        ("web", OF_WEB, OF_INGESTER | OF_OWNER | OF_NETWORKS),
        ("ingest", OF_INGESTER, OF_WEB | OF_OWNER | OF_NETWORKS),
    ],
)
async def test_each_process_loads_what_it_alone_needs(
    start_app: Callable[..., App],
    redis_server: RedisServer,
    store: Store,
    command: str,
    needs: set[str],
    others: set[str],
) -> None:
    """Until it works: it answers, or has counted."""
    app = start_app(command, dev=False, REDIS_URL=redis_server.url, PYTHONPROFILEIMPORTTIME="1")
    if command == "web":
        app.started()
    else:
        await eventually(lambda: store.redis.exists(keys.LOG), f"it has counted: {app.output}")
    loaded = set(LOADED.findall(app.output))
    assert needs <= loaded
    assert not loaded & others
