"""The whole line on real posts: every total equals the truth that comes with the recordings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from servers import App, RedisServer, eventually, get, viewing
from x_server import TOKEN, x_server

from app.hashtags import extract, key

X_FOLDERS = ["x_v2_twarc_csv", "x_v2_academic_hk"]
FOLDERS = [
    *X_FOLDERS,
    "x_v2_academic_mocks",
    "x_v2_client_fixtures",
    "bsky_jetstream_misc",
    "bsky_posts_wrapped",
    "mastodon_client_fixtures",
]


def truth(folder: Path, most: int = 50) -> dict[str, int]:
    """The commonest hashtags of a recording that can be typed, and how many posts name each."""
    rows = (folder / "expected_counts.tsv").read_text().splitlines()[1:]
    named = {row.split("\t")[0]: int(row.split("\t")[1]) for row in rows}
    typed = {
        tag: posts for tag, posts in named.items() if extract(f"#{tag}") == [tag] == [key(tag)]
    }
    return dict(sorted(typed.items(), key=lambda item: -item[1])[:most])


async def shown(app: App) -> dict[str, int]:
    """The totals as a viewer of the stream gets them first."""
    async with viewing(f"{app.url}/events") as events:
        async for event in events:
            if event.data:
                return dict(event.data["counts"])
    raise AssertionError("the stream ended")


async def reaches(app: App, expected: dict[str, int]) -> None:
    """Wait for the totals; when they do not come, say which differ."""
    status, told = await get(f"{app.url}/api/counts")
    end_sum = sum(expected.values())
    await eventually(
        lambda: has_sum(app, end_sum), f"all {end_sum} are counted: {status} {told}", 60
    )
    assert await shown(app) == expected


async def has_sum(app: App, end_sum: int) -> bool:
    status, told = await get(f"{app.url}/api/counts")
    return status == 200 and sum(told["counts"].values()) >= end_sum


@pytest.mark.parametrize("folder", X_FOLDERS)
async def test_real_posts_through_tweepy_to_a_viewer(
    recordings: Path, redis_server: RedisServer, start_app: Callable[..., App], folder: str
) -> None:
    """Streamed by X's protocol to the real tweepy, the totals on /events are exact."""
    expected = truth(recordings / folder)
    lines: list[Any] = (recordings / folder / "wire_reduced.jsonl").read_bytes().splitlines()
    async with x_server() as x:
        # in three connections, cut and closed in between, the last line of each sent again
        third = len(lines) // 3
        x.connections.append([*lines[:third], "cut"])
        x.connections.append([*lines[third - 1 : 2 * third], "close"])
        x.connections.append(lines[2 * third - 1 :])
        app = start_app(
            SOURCES="x",
            X_API_URL=x.url,
            X_BEARER_TOKEN=TOKEN,
            REDIS_URL=redis_server.url,
            HASHTAGS=",".join(expected),
        ).started()
        await reaches(app, expected)
        assert x.connects == 3
        assert x.sent == len(lines) + 2
        values = " OR ".join(rule["value"] for rule in x.rules)
        assert sorted(values.split(" OR ")) == sorted(f"#{tag}" for tag in expected)
    assert TOKEN not in app.output


@pytest.mark.parametrize("folder", FOLDERS)
async def test_a_replayed_recording_gives_the_same_totals(
    recordings: Path, redis_server: RedisServer, start_app: Callable[..., App], folder: str
) -> None:
    """Any network's recording, through the parser that its live source uses."""
    expected = truth(recordings / folder)
    app = start_app(
        SOURCES="replay",
        REPLAY_FILE=recordings / folder / "wire_reduced.jsonl",
        REPLAY_SPEED=0,
        REDIS_URL=redis_server.url,
        HASHTAGS=",".join(expected),
    ).started()
    await reaches(app, expected)
    await eventually(lambda: "has ended" in app.output, "the end is said")
    assert "skipped" not in app.output


async def test_a_line_cut_in_the_middle_is_skipped_and_counted(
    recordings: Path, redis_server: RedisServer, start_app: Callable[..., App]
) -> None:
    """Seven good lines with CR LF ends count, the eighth is cut and said to be skipped."""
    wire = recordings / "x_v2_twarc_csv" / "stream_with_cut_line.wire"
    app = start_app(
        SOURCES="replay", REPLAY_FILE=wire, REPLAY_SPEED=0, REDIS_URL=redis_server.url
    ).started()
    await eventually(lambda: "has ended, 1 bad lines skipped" in app.output, "the end is said")
    assert app.output.count("skipped 1 bad messages") == 1
