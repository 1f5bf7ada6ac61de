"""Export and import: what one Redis has, in another, every figure the same."""

import asyncio
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from network import Counting
from servers import ROOT, App, RedisServer, eventually, get, wait_until
from world import write as write_recording
from yesterday import Fields, fields_of
from yesterday import write as write_fields

from app.commands.backup import import_from
from app.hashtags import named
from app.messages import DAY, HOUR, MINUTE, Message, Post
from app.settings import read
from app.sources import Source
from app.store import keys
from app.store.embedded import find_server
from app.store.exporting import export
from app.store.lines import LONGEST, LONGEST_CURSOR, Hour, NotAnExport, Total, write_line
from app.store.store import Store, StoreLost, connect

HOURS = 180
"""As long as an hour's most used hashtags are kept, nearly."""
TAGS = ("science", "football", "日本語", "rare")
FIGURES = ("totals:*", "hour:*", "kept:*", "day:*", "spent:*")


def past(now: int) -> Fields:
    """A week of two sources, in which one hashtag is tracked and one is rarely kept."""
    minute = now // MINUTE
    minutes = range(minute - HOURS * 60, minute - 5)
    some = {tag: {m: 1 + m % 3 for m in minutes[:: 7 * n]} for n, tag in enumerate(TAGS, 1)}
    posts = {
        "replay": some,
        "bluesky": {"football": {minute - 90: 70_000}, "old": {minute - 4000: 2}},
    }
    counted = {"replay": minutes, "bluesky": minutes[300:]}
    found = fields_of(posts, counted, now, TAGS[:1], lambda tag, hour: tag != "rare" or hour % 2)
    day = now // DAY
    found[keys.people_kept(day - 3)] = {"science": b"12", "football": b"7"}
    found[keys.spent("x", day)] = {"one": b"40", "two": b"2"}
    return found


async def remember(store: Store) -> None:
    """Put that past into Redis, with what the sources did, what they would bring again and where
    they go on."""
    now = int(time.time() * 1000)
    await write_fields(store.redis, past(now), ("replay", "bluesky", "x"))
    state = {"people": f"{now // DAY - 3}=aa {now // DAY}=bb", "frozen": now // DAY - 2}
    state |= {"cursor:bluesky": "1" * LONGEST_CURSOR, "seen:bluesky": now // MINUTE}
    state["cursor:x"] = "1" * (LONGEST_CURSOR + 1)
    live = '{"replay":{"state":"live","since":1,"complete":true}}'
    await store.redis.hset(keys.STATE, mapping={**state, "sources": live})
    await store.redis.sadd(keys.seen("bluesky", now // MINUTE), b"12345678", b"\0\n234567")
    await store.redis.xadd(keys.STATES, {"sources": live}, id=f"{now - 9 * DAY}-0")


async def figures(store: Store, patterns: Iterable[str] = FIGURES) -> dict[str, Any]:
    """Key to all fields, and to when it is forgotten, of what an export has."""
    found: dict[str, Any] = {}
    for pattern in patterns:
        for name in await store.redis.keys(f"[{{]hashtag[}}]:{pattern}"):
            found[name.decode()] = await store.redis.hgetall(name)
    return found


async def written(store: Store) -> list[bytes]:
    return [write_line(line) async for line in export(store, page=50)]


async def take(store: Store, lines: Iterable[bytes]) -> None:
    await import_from(store, io.BytesIO(b"".join(lines)))


@pytest.fixture
async def other(tmp_path: Path, ending: ExitStack) -> AsyncIterator[Store]:
    """An empty Redis."""
    server = ending.enter_context(RedisServer(find_server(), tmp_path / "other"))
    redis = connect(server.url)
    yield Store(redis)
    await redis.aclose()


def url_of(store: Store) -> str:
    port = store.redis.connection_pool.connection_kwargs["port"]
    return f"redis://127.0.0.1:{port}"


def run(*command: str, **options: Any) -> "subprocess.CompletedProcess[bytes]":
    """A command of ours to its end. options: of subprocess, and settings in capitals."""
    settings = {name: options.pop(name) for name in list(options) if name.isupper()}
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **settings}
    program = [sys.executable, "-m", "app", *command]
    return subprocess.run(program, env=env, stderr=subprocess.PIPE, timeout=60, **options)


async def test_every_figure_is_the_same_in_another_redis(
    store: Store, other: Store, start_app: Callable[..., App], tmp_path: Path
) -> None:
    """Moved by the real commands, while an ingester counts and pages are served: each total and
    each point of each past, by source too; and the recording is not counted again there."""
    await remember(store)
    await store.redis.hdel(keys.STATE, "people", "frozen")  # whose keys this ingester has not
    recording = write_recording(tmp_path / "posts.jsonl", 300, 1)
    settings = {"SOURCES": "replay", "REPLAY_FILE": recording, "REPLAY_SPEED": 0}
    settings |= {"HASHTAGS": "science", "TICK_SECONDS": 0.1}
    first = start_app(REDIS_URL=url_of(store), **settings)
    await asyncio.to_thread(first.started)
    before = int((await figures(store))[keys.totals("replay")][b"science"].split()[0])
    counts = f"/api/counts?tags={','.join(TAGS)}&by=source"
    await eventually(lambda: has(first, counts, before, 300), "all is counted")
    file, at = tmp_path / "export.jsonl", int(time.time() * 1000) // MINUTE * MINUTE
    with file.open("wb") as out:
        told = await asyncio.to_thread(
            run, "export", cwd=tmp_path, stdout=out, REDIS_URL=url_of(store)
        )
    assert told.returncode == 0, told.stderr
    with file.open("rb") as lines:
        told = await asyncio.to_thread(
            run, "import", cwd=tmp_path, stdin=lines, REDIS_URL=url_of(other)
        )
    assert told.returncode == 0 and b"lines imported" in told.stderr, told.stderr
    second = start_app(REDIS_URL=url_of(other), **settings)
    await asyncio.to_thread(second.started)
    number = (await other.load()).number
    await eventually(lambda: is_later(other, number + 5), "it counts there")
    one, two = [(await get(app.url + counts))[1] for app in (first, second)]
    assert one["counts"] == two["counts"] and one["counts"]["science"]["replay"] == before + 300
    assert one["people"]["science"] == 0 and set(two["people"].values()) == {None}
    for span, least in (("1h", 50), ("24h", 450), ("7d", 550), ("30d", 300)):
        path = f"/api/history?tags={','.join(TAGS)},old&range={span}&by=source"
        ours, theirs = [points((await get(app.url + path))[1], at) for app in (first, second)]
        shared = ours.keys() & theirs.keys()
        assert len(shared) > least * len(TAGS)
        assert {each: ours[each] for each in shared} == {each: theirs[each] for each in shared}
        assert any(ours.values())


async def has(app: App, path: str, before: int, more: int) -> bool:
    told = (await get(app.url + path))[1]
    return bool("counts" in told and told["counts"]["science"].get("replay") == before + more)


async def is_later(store: Store, number: int) -> bool:
    return (await store.load()).number >= number


def points(answer: Mapping[str, Any], end: int) -> dict[tuple[str, str, int], int | None]:
    """Hashtag, source and time to the total then, up to a moment."""
    return {
        (tag, source, at): total
        for tag, lines in answer["series"].items()
        for source, line in lines.items()
        for at, total in line
        if at <= end
    }


async def test_every_value_is_moved(store: Store, other: Store, caplog: Any) -> None:
    """To the byte, and each key is forgotten when it would have been; who wrote it is not."""
    await remember(store)
    today = int(time.time() * 1000) // DAY
    await store.redis.hset(keys.people(today), "science", b"12345678")
    await store.redis.xadd(keys.POSTS, {"post": "{}"})
    lines = await written(store)
    await take(other, lines)
    spent = keys.spent("x", today)
    ours, theirs = await figures(store), await figures(other)
    assert sum(map(int, ours.pop(spent).values())) == int(theirs.pop(spent)[b"imported"]) == 42
    assert ours == theirs and len(ours) > 2 * (48 + 9)
    for name in ours:
        kind, number, *_ = [*name.removeprefix(keys.PREFIX).split(":"), ""]
        ends = {"hour": keys.end_of_hour, "kept": keys.end_of_kept, "day": keys.end_of_day}
        moment = ends[kind](int(number)) if kind in ends else -1
        assert await other.redis.expiretime(name) == moment, name
    one, two = await store.load(), await other.load()
    assert (one.networks, one.moved, one.frozen) == (two.networks, two.moved, two.frozen)
    assert one.seen == two.seen
    assert one.cursors == {**two.cursors, "x": "1" * (LONGEST_CURSOR + 1)}
    assert "where x goes on is not exported: 100001 characters" in caplog.text
    assert json.loads(one.states)["replay"]["since"] == json.loads(two.states)["replay"]["since"]
    assert two.people == {today: "-"}
    seen = keys.seen("bluesky", one.seen["bluesky"])
    assert await other.members([seen]) == await store.members([seen])
    [(at, _)] = await other.states_since(0)
    assert at == (await store.states_since(0))[0][0]
    assert not await other.redis.exists(keys.people(today), keys.POSTS, keys.LEASE)
    assert b"12345678" not in b"".join(lines)


class Busy(Source):
    """A network in which four hundred hashtags are used without a pause."""

    name, complete = "demo", True

    async def posts(self, cursor: str) -> AsyncIterator[Message]:
        self.say("live")
        for n in range(10**9):
            yield Post("demo", str(n), 0, "", named([f"tag{(n + k) % 400}" for k in range(3)]))
            if n % 20 == 0:
                await asyncio.sleep(0.001)


async def test_a_hashtag_is_exported_as_of_one_moment(counting: Counting, other: Store) -> None:
    """Although commits go on between any two pages: its total is what its hour ends with, and
    there, too, the ingester goes on from it."""
    store = counting.store
    async with counting.of(Busy(read({"HASHTAGS": "science"}))):
        await eventually(lambda: knows(store, 400), "all hashtags are known")
        totals, hours, lines = {}, {}, []
        async for line in export(store, page=20):
            lines.append(write_line(line))
            if isinstance(line, Total):
                totals[line.tag] = line.posts
                if len(totals) % 20 == 0:
                    await counting.commits(1)
            elif isinstance(line, Hour) and line.tag:
                hours[line.tag] = line.total
        later = await counting.totals()
    assert len(totals) >= 400 and totals == {tag: hours[tag] for tag in totals}
    assert any(later[tag] > posts for tag, posts in totals.items())
    await take(other, lines)
    moved = await figures(other, ["totals:*"])
    assert {t.decode(): int(v.split()[0]) for t, v in moved[keys.totals("demo")].items()} == totals


async def knows(store: Store, number: int) -> bool:
    return bool(await store.redis.hlen(keys.totals("demo")) >= number)


HEAD = {"kind": "export", "schema": keys.SCHEMA, "version": "0.1.0", "id": "0123456789abcdef"}
FIRST = json.dumps(HEAD | {"at": 1}).encode() + b"\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"", "This is no export of hashtag pulse: its first line is none."),
        (b"science\n", "This is no export of hashtag pulse: its first line is none."),
        (b"{}\n", "This is no export of hashtag pulse: its first line is none."),
        (b"\xff" * (LONGEST + 2), "This is no export of hashtag pulse: it has a line that is too"),
        (FIRST.replace(b": 2", b": 3"), "schema 3, and this program knows 2: update this program."),
        (FIRST.replace(b": 2", b": 1"), "schema 1, and this program knows 2: use the one that"),
        (FIRST + b"[" * 10_000, "Line 2 is none of an export"),
        (FIRST + b'{"kind":"post"}\n', "Line 2 is none of an export"),
        (FIRST + FIRST, "Line 2 begins another export."),
        (FIRST, "The export is cut: its last lines are missing."),
    ],
)
async def test_what_is_no_export_is_refused(store: Store, text: bytes, sentence: str) -> None:
    """In one sentence, and Redis is as empty as before."""
    with pytest.raises(NotAnExport) as refused:
        await take(store, [text])
    assert sentence in str(refused.value) and "\n" not in str(refused.value)
    assert await store.redis.keys() == []


PART = {"kind": "hour", "source": "x", "tag": "a", "begin": HOUR, "total": 2, "posts": [[1, 2]]}


@pytest.mark.parametrize(
    "wrong",
    [
        {"begin": HOUR + 1}, {"posts": [[60, 1]]}, {"posts": [[1, 0]]}, {"posts": [[1, 1], [1, 1]]},
        {"posts": [[1, 10**9]]}, {"total": -1}, {"total": 10**16}, {"source": "x:y"},
        {"source": ""}, {"tag": "a" * 2001}, {"kind": "day", "begin": DAY, "posts": [[24, 1]]},
    ],
)  # fmt: skip
async def test_a_line_that_redis_may_not_have_is_refused(
    store: Store, wrong: dict[str, Any]
) -> None:
    """A wrong time, number or name; with it set right the line is taken."""
    with pytest.raises(NotAnExport, match=r"^Line 2 is none of an export"):
        await take(store, [FIRST, json.dumps(PART | wrong).encode()])
    with pytest.raises(NotAnExport, match=r"^The export is cut"):
        await take(store, [FIRST, json.dumps(PART).encode()])


async def test_an_import_needs_an_empty_redis_in_which_nobody_counts(
    store: Store, other: Store
) -> None:
    """Else it says so and changes nothing; the same export a second time, too."""
    await remember(store)
    lines = await written(store)
    assert await other.take_lease("elsewhere/1/2/abc", 60)
    with pytest.raises(
        StoreLost, match=r"an ingester counts in it \(elsewhere.*: stop it first\.$"
    ):
        await take(other, lines)
    assert await other.redis.keys() == [keys.LEASE.encode()]
    await other.give_lease("elsewhere/1/2/abc")
    await take(other, lines)
    whole = await figures(other)
    with pytest.raises(StoreLost, match="there are counts in it already: an import needs an empty"):
        await take(other, lines)
    assert await figures(other) == whole
    assert set((await other.load()).cursors) == {"bluesky"}


async def test_a_cut_import_is_believed_by_nobody_and_may_be_repeated(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it was cut, or a line was lost: the whole one brings the same as at once."""
    monkeypatch.setattr("app.store.importing.FIELDS_AT_ONCE", 100)
    await remember(store)
    lines = await written(store)
    for cut in (len(lines) // 3, len(lines) - 1):
        with pytest.raises(NotAnExport, match=r"^The export is cut"):
            await take(other, lines[:cut])
        with pytest.raises(StoreLost, match="an import into it was not finished: repeat it"):
            await other.load()
    with pytest.raises(NotAnExport, match=rf"has {len(lines) - 2} lines, and should have"):
        await take(other, [*lines[:100], *lines[101:]])
    with pytest.raises(StoreLost, match="half of another import in it already"):
        await take(other, await written(store))
    await take(other, lines)
    ours, theirs = await figures(store, FIGURES[:4]), await figures(other, FIGURES[:4])
    assert ours == theirs
    assert len(await other.states_since(0)) == 1


def test_a_killed_import_is_said_by_all_and_can_be_repeated_at_once(
    tmp_path: Path, ending: ExitStack
) -> None:
    """By the programs themselves, with kill -9 amid the lines."""
    redis = ending.enter_context(RedisServer(find_server(), tmp_path / "redis"))
    total = {"kind": "total", "source": "x", "posts": 1, "hour": HOUR}
    lines = [json.dumps(total | {"tag": f"tag{n}"}).encode() + b"\n" for n in range(9000)]
    end = {"kind": "end", "lines": 9001, "networks": ["x"], "moved": 0, "frozen": 0}
    end |= {"cursors": {}, "sources": {}, "people": []}
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "REDIS_URL": redis.url}
    program = [sys.executable, "-m", "app", "import"]
    with subprocess.Popen(program, env=env, stdin=subprocess.PIPE, cwd=tmp_path) as killed:
        assert killed.stdin
        killed.stdin.write(b"".join([FIRST, *lines]))
        killed.stdin.flush()
        wait_until(lambda: known(redis) >= 4000, "some of it is written")
        killed.kill()
        with suppress(BrokenPipeError):
            killed.stdin.close()
    assert 4000 <= known(redis) < 9000
    refused = run("export", cwd=tmp_path, stdout=subprocess.PIPE, REDIS_URL=redis.url)
    assert refused.returncode == 1 and b"an import into it was not finished" in refused.stderr
    whole = b"".join([FIRST, *lines, json.dumps(end).encode()])
    again = run("import", cwd=tmp_path, input=whole, REDIS_URL=redis.url)
    assert again.returncode == 0, again.stderr
    assert known(redis) == 9000
    told = run("export", cwd=tmp_path, stdout=subprocess.PIPE, REDIS_URL=redis.url)
    assert told.returncode == 0 and told.stdout.count(b'"kind":"total"') == 9000


def known(server: RedisServer) -> int:
    async def ask() -> int:
        redis = connect(server.url)
        try:
            return int(await redis.hlen(keys.totals("x")))
        finally:
            await redis.aclose()

    return asyncio.run(ask())


def test_what_cannot_be_exported_is_one_sentence(tmp_path: Path, ending: ExitStack) -> None:
    """An empty Redis; an output that nobody reads. Which Redis that is, and what in `.env` is no
    setting, is said first."""
    (tmp_path / ".env").write_text("REDIS_URI=redis://h\n")
    redis = ending.enter_context(RedisServer(find_server(), tmp_path / "redis"))
    empty = run("export", cwd=tmp_path, stdout=subprocess.PIPE, REDIS_URL=redis.url)
    assert empty.returncode == 1 and empty.stdout == b""
    where, unknown, *told = empty.stderr.decode().splitlines()
    assert where.endswith(f" I app: data: {redis.url}; settings: {tmp_path}/.env")
    assert "REDIS_URL may be meant" in unknown
    assert told == [
        "hashtag pulse: Redis: nothing was ever counted in it, so there is nothing to export."
    ]
    asyncio.run(fill(redis.url))
    with Path("/dev/full").open("wb") as full:
        stopped = run("export", cwd=tmp_path, stdout=full, REDIS_URL=redis.url)
    assert stopped.returncode == 1
    assert stopped.stderr.decode().splitlines()[2:] == [
        "hashtag pulse: The export cannot go on: No space left on device."
    ]


async def fill(url: str) -> None:
    redis = connect(url)
    await remember(Store(redis))
    await redis.aclose()
