"""What viewers leave in the log: one line at the end, or none."""

import logging

import pytest
from raw import Raw, get, watching
from served import serving
from servers import RedisServer, eventually

from app.web.server import ServerConfig


async def test_access_log_has_one_line_at_the_end(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not when the connection is taken, which to Hypercorn is the client's end."""
    access = logging.getLogger("hypercorn.access of the test")
    caplog.set_level(logging.INFO, access.name)
    monkeypatch.setattr(ServerConfig, "accesslog", access)
    async with serving(redis_server.url) as site:
        for end in ("close", "hour"):
            caplog.clear()
            viewer = await watching(Raw(site), get("front door", "history=60"))
            await eventually(lambda site=site: len(site.taken) == 1, "it is taken")
            await site.publish()
            await site.hears()
            assert not caplog.text
            if end == "hour":
                site.clock.ahead = 5000
                await viewer.read_all()
            viewer.close()
            await eventually(lambda: caplog.text, "a line")
        [line] = [record.getMessage() for record in caplog.records]
        assert '"GET /events 1.1" 200' in line and "0.000" not in line
