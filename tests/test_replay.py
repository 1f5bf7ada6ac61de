"""A recording as a source: its cursor, its pace, its bad lines."""

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jetstream import create
from network import Counting, settings, truth
from test_real_line import FOLDERS

from app.messages import Post
from app.settings import read
from app.sources import SourceLost
from app.sources.replay import LONGEST, Parser, Replay
from app.sources.x.stream import X
from app.sources.x.wire import parse


def x_line(n: int, at: int = 0) -> str:
    created = f"2026-01-01T00:{at // 60:02}:{at % 60:02}.000Z"
    return json.dumps(
        {"data": {"id": str(n), "created_at": created, "entities": {"hashtags": [{"tag": "a"}]}}}
    )


@pytest.fixture
def source(tmp_path: Path) -> Callable[..., Replay]:
    def make(text: str, speed: float = 0) -> Replay:
        file = tmp_path / "recording.jsonl"
        file.write_text(text, newline="")
        return Replay(
            read({"SOURCES": "replay", "REPLAY_FILE": str(file), "REPLAY_SPEED": str(speed)})
        )

    return make


async def everything(source: Replay, cursor: str = "") -> list[Post]:
    return [post async for post in source.posts(cursor) if isinstance(post, Post)]


async def test_it_goes_on_at_any_cursor(source: Callable[..., Replay]) -> None:
    """From every post's cursor the rest follows, each once; CR LF and no last line end included."""
    replay = source("\r\n".join(x_line(n) for n in range(20)))
    posts = await everything(replay)
    assert [post.id for post in posts] == [str(n) for n in range(20)]
    for n, post in enumerate(posts):
        assert [later.id for later in await everything(replay, post.cursor)] == [
            str(m) for m in range(n + 1, 20)
        ]


@pytest.mark.parametrize("folder", FOLDERS)
async def test_every_hashtag_of_a_recording_is_counted(
    recordings: Path, counting: Counting, folder: str
) -> None:
    """Any network's: all of them, and not only those that are tracked."""
    file = recordings / folder / "wire_reduced.jsonl"
    chosen = settings(["science"], replay_file=str(file), replay_speed="0")
    async with counting.of(Replay(chosen)):
        await counting.reach(truth(recordings, folder))


async def test_another_recording_begins_at_its_beginning(source: Callable[..., Replay]) -> None:
    """A cursor belongs to the recording that it was made in."""
    cursor = (await everything(source("\n".join(x_line(n) for n in range(5)))))[-1].cursor
    assert len(await everything(source("\n".join(x_line(n) for n in range(7, 10))), cursor)) == 3


@pytest.mark.parametrize("offset", ["9" * 30, "9" * 5000, "999999", "-1", "x", ""])
async def test_what_is_no_cursor_is_the_beginning(
    source: Callable[..., Replay], offset: str
) -> None:
    """Somebody wrote it into Redis."""
    replay = source("\n".join(x_line(n) for n in range(5)))
    mark = (await everything(replay))[0].cursor.partition(":")[0]
    assert len(await everything(replay, f"{mark}:{offset}")) == 5


async def test_bad_lines_are_skipped_and_counted(
    source: Callable[..., Replay], caplog: Any
) -> None:
    """Garbage of every kind between good lines loses none of them; one line in the log.

    Empty lines are not garbage.
    """
    garbage = [
        "{",
        "null",
        "[]",
        "5",
        '"text"',
        '{"data": 5}',
        '{"commit": {"operation": "create", "collection": "app.bsky.feed.post"}}',
        '{"event": "update"}',
        "\ufffd",
        "[" * 50_000,
    ]
    lines = [part for n, bad in enumerate(garbage) for part in (x_line(n), bad, "", " \t")]
    replay = source("\n".join(lines))
    assert len(await everything(replay)) == len(garbage)
    assert replay.bad == len(garbage)
    assert caplog.text.count("skipped") == 1
    assert replay.state == "down"
    assert (
        replay.reason
        == f"the recording recording.jsonl has ended, {len(garbage)} bad lines skipped"
    )


async def test_a_line_without_end_is_skipped(source: Callable[..., Replay]) -> None:
    """Once, however long it is; no more than 8 MiB of it is held, and none of it is a message."""
    inner = x_line(5)
    text = (
        f"{x_line(1)}\n{'x' * LONGEST}\n{x_line(2)}\n{'x' * (LONGEST - len(inner))}{inner}{inner}\n"
    )
    for end in ("", "\n"):
        replay = source(f"{text}{x_line(3)}\n{'{' * 3 * LONGEST}{end}")
        tracemalloc.start()
        try:
            assert [post.id for post in await everything(replay)] == ["1", "2", "3"]
            assert tracemalloc.get_traced_memory()[1] < 5 * LONGEST, "a part or two, and their ends"
        finally:
            tracemalloc.stop()
        assert replay.bad == 3


async def test_whatever_a_parser_raises_is_a_bad_line(
    source: Callable[..., Replay], monkeypatch: Any
) -> None:
    """Also what nobody has thought of: it would come again after the restart, and end that, too."""

    def raising(line: bytes) -> Post | None:
        if b'"3"' in line:
            raise OverflowError("int too large to convert to float")
        return parse(line)

    monkeypatch.setattr(X, "parse", staticmethod(raising))
    replay = source("\n".join(x_line(n) for n in range(6)))
    assert [post.id for post in await everything(replay)] == ["0", "1", "2", "4", "5"]
    assert replay.bad == 1


async def test_the_recorded_pace_is_kept(source: Callable[..., Replay], monkeypatch: Any) -> None:
    """Pauses are divided by the speed and never longer than a second; backwards is no pause."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr("asyncio.sleep", sleep)
    replay = source("\n".join(x_line(n, at) for n, at in enumerate([10, 11, 11, 5, 59])), speed=4)
    await everything(replay)
    assert [wait for wait in waits if wait] == [0.25, 1.0]


async def test_a_file_that_goes_away_is_a_lost_source(
    source: Callable[..., Replay], tmp_path: Path
) -> None:
    """One sentence with its name; it may come back."""
    replay = source(x_line(1))
    (tmp_path / "recording.jsonl").unlink()
    with pytest.raises(SourceLost, match=r"recording.jsonl cannot be read: No such file"):
        await everything(replay)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("x", {"includes": {}, "data": {"id": "1"}}),
        ("bluesky", {"time_us": 1, "did": "a", "commit": create("science")["commit"]}),
        (
            "bluesky",
            {"kind": "commit", "did": "a", "time_us": 1, "commit": create("science")["commit"]},
        ),
        ("mastodon", {"stream": ["public"], "event": "update", "payload": '{"id": "1"}'}),
        ("mastodon", {"payload": {"id": "1"}, "event": "update"}),
    ],
)
def test_the_order_of_a_messages_members_is_no_matter(network: str, message: Any) -> None:
    """Its network is known by any of them, and by the first alone where that is the usual one."""
    for members in (list(message.items()), list(message.items())[::-1]):
        for separators in ((",", ":"), (" , ", " : ")):
            post = Parser().parse(json.dumps(dict(members), separators=separators).encode())
            assert post and post.source == network


def test_networks_that_begin_alike_are_told_apart() -> None:
    """A recording may be of several; that a line begins like the one before is only a guess."""
    x = b'{"data":{"id":"1"}}'
    bluesky = b'{"data":1,' + json.dumps(create("science") | {"time_us": 1}).encode()[1:]
    parser = Parser()
    posts = [parser.parse(line) for line in (x, bluesky, x, x, bluesky, bluesky)]
    assert [post.source for post in posts if post] == [
        "x", "bluesky", "x", "x", "bluesky", "bluesky",
    ]  # fmt: skip


@pytest.mark.parametrize(("text", "tag"), [("\ud83d", "science"), ("", "a\ud83d")])
@pytest.mark.parametrize("inner_escapes", [True, False])
@pytest.mark.parametrize("network", ["x", "bluesky", "mastodon"])
def test_half_an_emoji_loses_no_post(
    network: str, inner_escapes: bool, text: str, tag: str
) -> None:
    """Texts are cut by programs that count in UTF-16; and most texts are not even wanted. A
    hashtag that UTF-8 cannot write is none."""
    status = {"id": 1, "content": text, "tags": [{"name": tag}]}
    message = {
        "x": {"data": {"id": "1", "text": text, "entities": {"hashtags": [{"tag": tag}]}}},
        "bluesky": create(tag, text=text) | {"time_us": 1},
        "mastodon": {"event": "update", "payload": json.dumps(status, ensure_ascii=inner_escapes)},
    }[network]
    post = Parser().parse(json.dumps(message).encode())
    assert post and list(post.hashtags) == ([tag] if tag.isascii() else [])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["data", "commit", "event", "payload", "id", "entities", "record"])
                | st.text(),
                inner,
            )
        ),
    )
)
def test_whatever_json_comes_it_is_a_post_or_a_known_error(message: Any) -> None:
    """The parsers raise nothing but what their readers catch."""
    try:
        post = Parser().parse(json.dumps(message).encode())
    except ValueError:
        return
    assert post is None or isinstance(post, Post)
