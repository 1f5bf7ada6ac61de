"""What X says in its stream: disconnects, errors, nonsense, repetitions; and bugs of our own."""

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from servers import eventually
from x_server import TOO_MANY, XServer, x_server
from x_source import first, line, source, until_lost

from app.messages import Post
from app.sources import SourceLost
from app.sources.x import stream as module
from app.sources.x.wire import parse


@pytest.fixture
async def api() -> AsyncIterator[XServer]:
    async with x_server() as server:
        yield server


MEANT = {
    "OperationalDisconnect": 0,
    "UpstreamOperationalDisconnect": 0,
    "Force closing": 0,
    "TooManyConnections": 60,
    "Too many connections": 60,
}
"""What stands in a payload, and the wait after it; all others leave the stream open."""


def recorded_problems() -> list[Any]:
    file = Path(__file__).parents[2] / "shared" / "recordings" / "x_stream_errors" / "errors.jsonl"
    rows = file.read_text().splitlines() if file.is_file() else []
    return [json.loads(row) for row in rows] or [None]


@pytest.mark.parametrize("recorded", recorded_problems())
async def test_each_recorded_problem_in_the_stream(
    api: XServer, recordings: Path, recorded: dict[str, Any]
) -> None:
    """A disconnect or a refusal ends it with its wait; anything else is only remarked."""
    raw = json.dumps(recorded["payload"])
    wait = next((MEANT[words] for words in MEANT if words in raw), None)
    api.connections.append([line(1), raw, line(2), "close"])
    x = source(api)
    ids, lost = await until_lost(x)
    assert api.sent == 3
    if wait is None:
        assert ids == ["1", "2"]
        assert x.bad == (0 if {"delete", "limit", "warning"} & set(recorded["payload"]) else 1)
    else:
        assert (ids, lost.wait, lost.for_good) == (["1"], wait, False)
        assert str(lost).startswith("X: ")


async def test_the_recorded_problems_are_all_there(recordings: Path) -> None:
    """Sixteen, of which nine end the stream."""
    payloads = [json.dumps(recorded["payload"]) for recorded in recorded_problems()]
    assert len(payloads) == 16
    assert sum(any(words in raw for words in MEANT) for raw in payloads) == 9


async def test_too_many_connections_is_waited_for_ever_longer(api: XServer) -> None:
    """Also when X says it in a stream that it has accepted, or by its connection limit."""
    x = source(api)
    api.connections.append([json.dumps(TOO_MANY), "close"])
    assert (await until_lost(x))[1].wait == 60
    api.connections.append([json.dumps(TOO_MANY), "close"])
    assert (await until_lost(x))[1].wait == 120
    other = source(api)
    async with aclosing(other.posts("")) as stream:  # type: ignore[type-var]
        api.connections.append([line(1)])
        await anext(stream)
        assert (await until_lost(x))[1].wait == 240
    assert api.fired == ["close", "close", 429]


STRANGE: list[bytes | str] = [
    "garbage", b"\xff\xfe", "[]", "null", "5", '"text"', "{}", '{"data": 5}', '{"data": {}}',
    '{"data": {"id": "9", "entities": {"hashtags": [{"start": 1}]}}}',
    '{"data": {"id": "9", "entities": {"hashtags": [{"tag": 5}]}}}',
    '{"data": {"id": "9", "entities": []}}' "x", '{"errors": 5}', '{"errors": {"title": 5}}',
    '{"errors": [{"title": "Not Found Error", "detail": "Could not find tweet"}]}',
    '{"errors": [{"title": "\\ud800\\u001b[2J\\n"}]}', "[" * 100_000, '{"a":' * 900 + "1" + "}" * 900,
    '{"errors":' * 900 + '"x"' + "}" * 900, "9" * 5000,
]  # fmt: skip


async def test_nothing_strange_in_the_stream_ends_it(api: XServer) -> None:
    """Each bad line is skipped and counted, the posts between them count."""
    api.connections.append(
        [part for n, bad in enumerate(STRANGE) for part in (bad, line(n))] + ["close"]
    )
    x = source(api)
    ids, _ = await until_lost(x)
    assert api.fired == ["close"]
    assert ids == [str(n) for n in range(len(STRANGE))]
    assert x.bad == len(STRANGE)


async def test_half_a_line_at_a_clean_end_is_skipped_and_counted(
    api: XServer, recordings: Path
) -> None:
    """The recording with CR LF ends: seven good lines, and the eighth cut mid-object."""
    wire = (recordings / "x_v2_twarc_csv" / "stream_with_cut_line.wire").read_bytes()
    api.connections.append([*wire.split(b"\r\n"), "close"])
    x = source(api)
    ids, _ = await until_lost(x)
    assert api.fired == ["close"]
    assert (len(ids), x.bad) == (7, 1)
    api.connections.append([line(8), "half"])
    assert (await until_lost(x))[0] == ["8"]
    assert api.fired == ["close", "half"]
    assert x.bad == 2


async def test_errors_beside_a_post_and_a_rule_without_a_tag_do_no_harm(api: XServer) -> None:
    """tweepy by itself ends its stream at a rule without a tag, and says nothing."""
    data = {"id": "1", "entities": {"hashtags": [{"tag": "Science"}]}}
    beside = {"data": data, "errors": [{"title": "Not Found Error"}], "matching_rules": [{"id": 5}]}
    api.connections.append([json.dumps(beside), line(2), "close"])
    x = source(api)
    assert (await until_lost(x))[0] == ["1", "2"]
    assert x.bad == 0


@pytest.mark.parametrize("error", [ZeroDivisionError, OverflowError, RecursionError, MemoryError])
async def test_whatever_the_parser_raises_is_a_counted_skip(
    api: XServer, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """A stranger's post does not end the stream of the others, whatever it brings to light."""

    def broken(message: bytes) -> Post | None:
        if b'"id": "2"' in message:
            raise error
        return parse(message)

    monkeypatch.setattr(module, "parse", broken)
    api.connections.append([line(1), line(2), line(3), "close"])
    x = source(api)
    assert (await until_lost(x))[0] == ["1", "3"]
    assert x.bad == 1


async def test_a_bug_inside_of_tweepy_is_loud(
    api: XServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It swallows what a handler raises; here it comes out, and nothing hangs."""

    async def broken(self: object, raw_data: bytes) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(module.OneConnection, "on_data", broken)
    api.connections.append([line(1)])
    with pytest.raises(ZeroDivisionError):
        await first(source(api), 1)
    await eventually(lambda: not api.open, "the connection is closed")


async def test_the_longest_post_fits(api: XServer) -> None:
    """25,000 characters, each escaped as two, and a line of no end is a cut, not a crash."""
    note = {"text": "😀" * 25_000, "entities": {"hashtags": [{"tag": "Long"}]}}
    api.connections.append([line(1, note_tweet=note), b"x" * 5_000_000, "close"])
    posts = []
    with pytest.raises(SourceLost) as lost:
        async for post in source(api).posts(""):
            posts.append(post)
    assert [dict(post.hashtags) for post in posts] == [{"long": "Long"}]
    assert lost.value.wait == 0


async def test_what_comes_again_after_a_reconnect_is_dropped(api: XServer) -> None:
    """The same id, and an edit of a post that was counted; an edit of another one is news."""
    api.connections.append([line(1), line(2), line(2), "cut"])
    edit = line(3, edit_history_tweet_ids=["2", "3"])
    news = line(8, edit_history_tweet_ids=["7", "8"])
    api.connections.append([line(2), line(1), edit, news, line(4), "close"])
    x = source(api)
    assert (await until_lost(x))[0] == ["1", "2"]
    assert (await until_lost(x))[0] == ["7", "4"]
    assert api.fired == ["cut", "close"]


async def test_what_is_remembered_is_bounded(api: XServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest ids are forgotten first."""
    monkeypatch.setattr(module, "IDS_REMEMBERED", 100)
    api.connections.append([*(line(n) for n in range(150)), line(149), line(0), "close"])
    x = source(api)
    assert (await until_lost(x))[0][-2:] == ["149", "0"]
    assert len(x.seen) == 100
