"""The board as visitors are told it, and what is usual beside the past."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from posts import answer
from servers import App, RedisServer, wait_until
from test_board import NOW, Use, add, crowd, made, past
from yesterday import remember_days

from app.ingest.board import BoardMaker
from app.store import keys
from app.store.embedded import find_server
from app.store.store import Store
from app.web.api import completed
from app.web.board import READ_SECONDS, NewestBoard


def listed(tag: str, busiest: float = 0.1) -> dict[str, Any]:
    """A hashtag as the ingester writes it."""
    return {
        "tag": tag, "name": tag.upper(), "posts": 9, "people": 8, "usual": 0.5, "unusual": 7.1,
        "hour": [0] * 12, "busiest_author": busiest, "busiest_link": 0.0,
    }  # fmt: skip


def board(**lists: list[dict[str, Any]]) -> str:
    return json.dumps({"at": 2, "since": 1, "rising": [], "used": [], **lists})


async def test_twenty_are_told_and_no_bots(store: Store) -> None:
    """With all=1 those too that are mostly one author's, in their place among the twenty."""
    rising = [listed(f"t{n}", 0.6 if n % 2 else 0.5) for n in range(50)]
    await store.redis.set(keys.BOARD, board(rising=rising, used=[listed("u", 0.51)]))
    found = await NewestBoard().read(store)
    assert found
    told, whole = found.answer(False), found.answer(True)
    assert [one["tag"] for one in told["rising"]] == [f"t{n}" for n in range(0, 40, 2)]
    assert whole["rising"] == rising[:20]
    assert (told["used"], whole["used"]) == ([], [listed("u", 0.51)])
    assert (told["at"], told["since"]) == (2, 1)
    assert told["hidden"] == {"blocked": 0, "of_one": 26}
    assert whole["hidden"] == {"blocked": 0, "of_one": 0}


async def test_one_host_is_as_bad_as_one_author(store: Store) -> None:
    """And what is not shown is counted; a board of before there were hosts is read, too."""
    linked = listed("shop") | {"busiest_link": 0.51}
    old = {name: value for name, value in listed("old").items() if name != "busiest_link"}
    await store.redis.set(
        keys.BOARD, json.dumps(json.loads(board(used=[linked, old])) | {"blocked": 2})
    )
    found = await NewestBoard().read(store)
    assert found
    assert [one["tag"] for one in found.answer(False)["used"]] == ["old"]
    assert [one["tag"] for one in found.answer(True)["used"]] == ["shop", "old"]
    assert found.answer(False)["hidden"] == {"blocked": 2, "of_one": 1}


async def test_redis_is_asked_now_and_then(store: Store) -> None:
    """However many visitors there are; and where there is none, there is none."""
    now = 0.0
    boards = NewestBoard(lambda: now)
    assert await boards.read(store) is None
    await store.redis.set(keys.BOARD, board(used=[listed("a")]))
    assert await boards.read(store) is None
    now = READ_SECONDS
    assert (await boards.read(store)).answer(True)["used"] == [listed("a")]  # type: ignore[union-attr]
    await store.redis.delete(keys.BOARD)
    now = 2 * READ_SECONDS
    assert await boards.read(store) is None


@pytest.mark.parametrize("text", [b"no board", b'{"at": 1}', b"\xff", b"[" * 100_000])
async def test_what_is_no_board_is_none(store: Store, text: bytes) -> None:
    """Somebody else wrote it; the process goes on."""
    await store.redis.set(keys.BOARD, text)
    assert await NewestBoard().read(store) is None


def linking(tag: str, number: int, *hosts: str) -> Iterator[Use]:
    """So many people, each with one post with these links."""
    return ((at, replace(use, domains=hosts)) for at, use in crowd(tag, number))


async def test_what_links_to_one_host_is_marked(store: Store) -> None:
    """More than half of its posts; half of them, or to several hosts, are nobody's farm."""
    await past(store, {"farm": 1, "half": 1, "links": 1})
    board = BoardMaker(str)
    add(board, [*linking("farm", 11, "shop.example", "other.example"), *crowd("farm", 10)])
    add(board, [*linking("half", 10, "shop.example"), *crowd("half", 10)])
    add(board, (use for n in range(20) for use in linking("links", n, f"{n % 3}.example")))
    told = await made(board, store)
    shares = {entry["tag"]: entry["busiest_link"] for entry in told["rising"]}
    assert shares["farm"] == pytest.approx(11 / 21, abs=0.001) and shares["half"] == 0.5
    assert shares["links"] < 0.5
    assert [entry.tag for entry in board.unusual(NOW)] == ["half", "links"]


def told(app: App, path: str) -> Callable[[], dict[str, Any] | None]:
    """What is answered there, as soon as it is."""

    def ask() -> dict[str, Any] | None:
        status, found = answer(app, path)
        return found if status == 200 else None

    return ask


def test_the_board_of_a_running_app(start_app: Callable[..., App], tmp_path: Path) -> None:
    """The demo's people use its hashtags at once; what is usual nobody knows yet; a blocked one
    is not on it, however it is written."""
    (tmp_path / "blocked.txt").write_text("#ＢＡＤ\n\nother\n")
    app = start_app(HASHTAGS="science,bad", BLOCKED_HASHTAGS="@blocked.txt").started()
    assert answer(app, "/api/board")[0] in (200, 503)

    def science() -> Any:
        found = told(app, "/api/board?all=1")() or {"used": []}
        return [(found, each) for each in found["used"] if each["tag"] == "science"]

    [(found, one)] = wait_until(science, "it is on the board", 30)
    assert (one["name"], one["usual"]) == ("science", None)
    assert "bad" not in [each["tag"] for each in found["used"]]
    assert 5 <= one["people"] <= one["posts"]
    assert found["rising"] == []
    assert found["since"] <= found["at"]
    assert answer(app, "/api/board?all=yes") == (
        400,
        {"error": "all='yes': expected one of 0, 1."},
    )


def test_what_is_blocked_is_not_completed() -> None:
    popular = [("bad", "Bad", 9), ("science", "Science", 3), ("art", "art", 2)]
    found = completed(popular, "", {"bad", "art"})
    assert [each["tag"] for each in found] == ["science"]
    assert [each["tag"] for each in completed(popular, "")] == ["bad", "science", "art"]


def test_what_is_usual_beside_the_past(start_app: Callable[..., App]) -> None:
    """A place for each point; nothing where nothing is known; not where it is not asked for."""
    app = start_app(HASHTAGS="science").started()
    wait_until(told(app, "/api/history?range=1h"), "there is a history")
    plain = told(app, "/api/history?range=1h")() or {}
    with_band = told(app, "/api/history?range=1h&band=1")() or {}
    assert "usual" not in plain
    assert with_band["usual"] == {"science": [None] * len(with_band["series"]["science"])}
    assert answer(app, "/api/history?band=1&format=csv")[0] == 400
    assert answer(app, "/api/history?band=2")[0] == 400


def test_what_is_usual_is_known_of_a_hashtag_that_every_tick_tells_of(tmp_path: Path) -> None:
    """By two days of past, though nothing else was asked of Redis before."""
    with RedisServer(find_server(), tmp_path / "redis") as redis:
        remember_days(redis.url, "science", 2, 3)
        with App(tmp_path, REDIS_URL=redis.url, HASHTAGS="science") as app:
            app.started()
            found = wait_until(told(app, "/api/history?range=1h&band=1"), "there is a history")
            about = told(app, "/api/hashtags/science")() or {}
    low, middle, high = found["usual"]["science"][-1]
    assert low < middle <= 3 < high
    assert about["usual"] == pytest.approx(30, rel=0.05)
