"""What is read of X is bounded: answers, lines, minutes, also where they come compressed."""

import asyncio
import resource
from collections.abc import AsyncIterator

import pytest
from network import settings
from servers import eventually
from x_server import TOKEN, XServer, x_server
from x_source import NOW, Clock, line, source, until_lost

from app.messages import Post
from app.sources import SourceLost
from app.sources.x import connection
from app.sources.x.backfill import XBackfill
from app.sources.x.connection import LONGEST_ANSWER
from app.sources.x.counts import XCounts
from app.sources.x.coverage import Coverage
from app.sources.x.stream import LONGEST_LINE

LONGER = f"X answered with more than {LONGEST_ANSWER} bytes"
COMPRESSED = "X answered 200, compressed, which was not asked for"
MEBIBYTES = 40
"""So much more memory an answer of no end may take: 8 MiB of it, and the server's part."""


@pytest.fixture
async def api() -> AsyncIterator[XServer]:
    async with x_server() as server:
        yield server


def most_memory() -> int:
    """The most that this process ever had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


@pytest.mark.parametrize(
    ("status", "coding", "says"),
    [
        (200, "identity", LONGER),
        (200, "gzip", COMPRESSED),
        (200, "br", COMPRESSED),
        (401, "identity", f"X answered 401: {LONGER}. X_BEARER_TOKEN is not valid."),
        (429, "gzip", "X answered 429: compressed"),
        (503, "deflate", "X answered 503: compressed"),
    ],
)
async def test_an_answer_without_an_end_is_one_sentence(
    api: XServer, status: int, coding: str, says: str
) -> None:
    """A hundred megabytes about our rules, or a hundred kilobytes that unpack into as many: what
    the status means holds, no more is read, and the next connection works."""
    before = most_memory()
    api.floods.append(("rules", status, coding))
    api.connections.append([line(1), "close"])
    x = source(api)
    ids, lost = await until_lost(x)
    assert (ids, str(lost), lost.for_good) == ([], says, status == 401)
    await eventually(lambda: "flood" in api.fired, "the server noticed")
    assert api.flooded < 100 * 2**20 or coding == "gzip"
    assert most_memory() - before < MEBIBYTES
    assert (await until_lost(x))[0] == ["1"]


async def test_x_s_counts_are_bounded_too(api: XServer) -> None:
    """In the mode that asks for nothing else."""
    api.floods.append(("recent", 200, "identity"))
    chosen = settings(("science",), x_api_url=api.url, x_bearer_token=TOKEN, x_backfill="true")
    with pytest.raises(SourceLost, match=f"^{LONGER}$"):
        async with asyncio.timeout(10):
            await anext(XCounts(chosen, Clock()).posts(""))
    await eventually(lambda: "flood" in api.fired, "the server noticed")


async def test_an_answer_that_never_ends_is_waited_for_so_long(
    api: XServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much of it comes, and however slowly."""
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.01)
    monkeypatch.setattr(connection, "LONGEST_ANSWER", 2**30)
    api.floods.append(("rules", 200, "identity"))
    x = source(api)
    ids, lost = await until_lost(x)
    assert (ids, lost.public) == ([], "the connection to X failed: it does not answer")


async def test_a_compressed_stream_is_refused(api: XServer) -> None:
    """Its lines would be as long as they unpack into."""
    api.floods.append(("stream", 200, "gzip"))
    api.connections.append([line(1), "close"])
    x = source(api)
    ids, lost = await until_lost(x)
    assert (ids, str(lost)) == ([], COMPRESSED)
    assert (await until_lost(x))[0] == ["1"]


async def test_a_line_that_is_too_long_is_a_counted_skip(api: XServer) -> None:
    """Up to twice as long: a post of such a length there is none."""
    api.connections.append([line(1), line(2, text="x" * LONGEST_LINE), line(3), "close"])
    x = source(api)
    assert (await until_lost(x))[0] == ["1", "3"]
    assert x.bad == 1


def test_the_minutes_that_are_remembered_are_bounded(api: XServer) -> None:
    """Posts from all times to come, each of another minute: they stand in the cursor."""
    chosen = settings(("science",), x_api_url=api.url, x_bearer_token=TOKEN, x_backfill="true")
    x = XBackfill(chosen, Clock())
    x.coverage = Coverage("", ("science",), backfill=True)
    x.coverage.connect(NOW)
    for n in range(1000):
        written = int(NOW + n * 6_000_000) * 1000
        x.kept(Post("x", f"{n}", written, "", {"science": "Science"}), NOW)
    assert len(x.coverage.of["science"].streamed) <= 2
    assert len(x.coverage.cursor()) < 1000
