"""`python -m app check`, as an owner runs it."""

import re
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from bluesky_api import BlueskyApi
from network import settings
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError
from servers import ROOT, App, RedisServer, eventually, wait_until
from test_refusals import as_user
from x_server import TOKEN, x_server

from app.commands import check
from app.commands.check_redis import Finding, check_redis, redis_warnings
from app.settings import read
from app.sources import pick
from app.sources.bluesky import Bluesky
from app.store import keys
from app.store.embedded import find_server
from app.store.refusals import FULL
from app.store.store import Store, connect

AT_ONCE = ("--repl-diskless-sync-delay", "0")
"""A replica waits for no second one."""


async def test_check_says_what_works_and_what_it_costs(
    start_app: Callable[..., App], redis_server: RedisServer, tmp_path: Path
) -> None:
    """One sentence a finding, exit status 0, no secret in it."""
    (tmp_path / ".env").write_text("HASHTAG=cats\n")
    async with x_server() as x:
        x.connections.append(['{"data":{"id":"1","text":""}}'] * 1)
        app = start_app(
            "check",
            SOURCES="x,demo",
            X_API_URL=x.url,
            X_BEARER_TOKEN=TOKEN,
            X_BACKFILL="true",  # of which a check makes no use, nor of the demo's past
            DEMO_PAST_HOURS="24",
            REDIS_URL=redis_server.url,
        )
        await eventually(lambda: not app.running, "the check is over", 40)
    assert app.wait() == 0, app.output
    where = f"Settings: {tmp_path}/.env. Data: redis://127.0.0.1:{redis_server.port}."
    unknown = ".env: HASHTAG is no setting and does nothing: HASHTAGS may be meant."
    assert app.output.startswith(f"ok    {where}\nWARN  {unknown}\n")
    assert "ok    x: live, 1 post within 10 s." in app.output
    assert "ok    x: costs $0.005 for every post read, at most $50.00 a day" in app.output
    assert re.search(r"ok    demo: live, \d{1,3} posts within 10 s", app.output), app.output
    assert "ok    Redis: version" in app.output
    assert "WARN  Redis: it keeps nothing on disk" in app.output
    assert "ok    Redis: maxmemory-policy is noeviction" in app.output
    assert TOKEN not in app.output


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        ({}, "at most $50.00 a day (X_POSTS_PER_DAY=10000)."),
        (
            {"X_BACKFILL": "true"},
            "X_BACKFILL adds $0.02 at the first start and $0.010 after each disconnect, "
            "at most $2.88 a day.",
        ),
        (
            {"X_MODE": "counts"},
            "x: costs $14.40 a day in counts mode, whatever the number of posts.",
        ),
        ({"X_MODE": "counts", "X_BACKFILL": "true"}, ", and $0.02 once for the day before."),
    ],
)
def test_the_price_of_x_is_that_of_the_settings(chosen: dict[str, str], says: str) -> None:
    """For two hashtags: what each mode costs, and what filling gaps adds."""
    assert pick("x", read(chosen)).price().endswith(says)


def test_the_other_networks_cost_nothing() -> None:
    """So nothing is said of a price."""
    assert {pick(name, read({})).price() for name in ("bluesky", "demo", "mastodon")} == {""}


async def test_check_fails_for_what_will_not_work(
    start_app: Callable[..., App], redis_server: RedisServer
) -> None:
    """A wrong token, a server that is not there: a sentence each, and exit status 1."""
    async with x_server() as x:
        app = start_app(
            "check",
            SOURCES="x",
            X_API_URL=x.url,
            X_BEARER_TOKEN="wrong",
            REDIS_URL=redis_server.url,
        )
        await eventually(lambda: not app.running, "the check is over", 40)
        assert x.asked
    assert app.wait() == 1
    assert "FAIL  x: X answered 401" in app.output
    assert "wrong" not in app.output
    assert "Traceback" not in app.output


def test_check_fails_without_redis(start_app: Callable[..., App], tmp_path: Path) -> None:
    """A Redis that does not answer is a finding, and what comes after it is looked at too."""
    file = tmp_path / "recording"
    file.write_text("{}\n")
    app = start_app("check", SOURCES="replay", REPLAY_FILE=file, REDIS_URL="redis://127.0.0.1:1")
    assert app.wait() == 1
    assert "FAIL  Redis: no connection to 127.0.0.1:1 (Connection refused).\n" in app.output
    assert "ok    replay: down, 0 posts" in app.output
    assert "Traceback" not in app.output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--appendonly", "yes"), ""),
        ((), "keeps nothing on disk"),
        (("--save", "60 1"), "without appendonly"),
        (
            ("--appendonly", "yes", "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"),
            "allkeys-lru",
        ),
        (("--maxmemory-policy", "allkeys-lru", "--appendonly", "yes"), ""),
        (("--appendonly", "yes", "--appendfsync", "no"), "a power cut forgets"),
    ],
)
async def test_warnings_about_a_forgetful_redis(
    tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    """One that may throw totals away, or forget them in a restart, is named at the start."""
    with RedisServer(find_server(), tmp_path / "redis", *options) as server:
        redis = connect(server.url)
        warnings = await redis_warnings(Store(redis, may_evict=True))
        await redis.aclose()
    assert len(warnings) == bool(said)
    assert all(said in warning for warning in warnings)


async def test_a_primary_that_goes_on_without_its_replicas_is_warned_of(
    redis_binary: str, tmp_path: Path, ending: ExitStack
) -> None:
    """By the check, and at the start of the ingester; one that stands alone is not."""
    primary = ending.enter_context(RedisServer(redis_binary, tmp_path / "one", *AT_ONCE))
    redis = connect(primary.url)

    async def said() -> list[Finding]:
        found = await check_redis(Store(redis))
        return [each for each in found if "min-replicas" in each.sentence]

    assert await said() == []
    of = ("--replicaof", f"127.0.0.1 {primary.port}")
    ending.enter_context(RedisServer(redis_binary, tmp_path / "two", *of))
    [found] = await eventually(said, "the replica is known")
    assert (found.mark, found.sentence) == (
        "WARN",
        "Redis: it has a replica, and min-replicas-to-write is 0: cut off from them it goes on "
        "taking commits that a failover throws away.",
    )
    assert found.sentence in await redis_warnings(Store(redis))
    await redis.config_set("min-replicas-to-write", "1")

    async def is_fine() -> bool:
        return [each.mark for each in await said()] == ["ok  "]

    await eventually(is_fine, "the replica is near enough")
    await redis.aclose()


async def test_a_redis_that_will_not_do_fails(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is too old, by a later demand than ours, and one that takes no writes."""
    of = ("--replicaof", f"127.0.0.1 {redis_server.port}")
    with RedisServer(find_server(), tmp_path / "replica", *of) as replica:
        redis = connect(replica.url)
        failed = [each.sentence for each in await check_redis(Store(redis)) if not each.works]
        assert failed == [
            "Redis: it is a read only replica: REDIS_URL must name the primary, "
            "unless only pages are served."
        ]
        monkeypatch.setattr("app.commands.check_redis.OLDEST_REDIS", (99, 0))
        failed = [each.sentence for each in await check_redis(Store(redis)) if not each.works]
        assert "is too old" in failed[0]
        await redis.aclose()


@pytest.mark.parametrize(
    ("taken", "missing"),
    [
        ("resetchannels", ("+publish or &{hashtag}:ticks", "&{hashtag}:ticks")),
        ("-publish", ("+publish or &{hashtag}:ticks",)),
        ("-subscribe", ("+subscribe",)),
        ("-xadd", ("+xadd",)),
        ("resetkeys", ("~{hashtag}:*",)),
        ("-hscan", ("+hscan",)),
        ("-eval", ("+eval",)),
        ("-xdel -expire", ("+xdel",)),
        (
            "-@all +@read +@connection +@transaction +time +info",
            ("+evalsha", "+subscribe", "+eval"),
        ),
    ],
)
async def test_a_right_that_is_missing_fails_and_is_named(
    redis_server: RedisServer, taken: str, missing: tuple[str, ...]
) -> None:
    """With a user's whole set of rights taken together; nothing in Redis is changed, and with the
    rights of docs/operating.md it passes."""
    async with as_user(redis_server) as limited:
        assert [f.sentence for f in await check_redis(limited) if not f.works] == []
    async with as_user(redis_server, *taken.split()) as limited:
        failed = [f.sentence for f in await check_redis(limited) if not f.works]
        assert failed == [
            f"Redis: its user lacks the right {right} (see ACL SETUSER)." for right in missing
        ]
    redis = connect(redis_server.url)
    assert await redis.keys() == []
    await redis.aclose()


LUA = re.compile(r"redis\.p?call\('(\w+)'|\b\w+ = '([A-Z]+)'")
PYTHON = re.compile(r"\b(?:redis|pipe|pubsub)\.(\w+)\(")
NEEDLESS = {"INFO", "PING", "PUBSUB"}
"""Without the first a warning is given, the second is for the private server, and the last one is not
sent: it is what redis-py calls its object."""


async def asked_of(redis: "Redis[bytes]") -> set[str]:
    """Every command in our own code, in capitals."""
    folder = ROOT / "app"
    found = {n for lua in folder.rglob("*.lua") for n in sum(LUA.findall(lua.read_text()), ())}
    found |= {n for python in folder.rglob("*.py") for n in PYTHON.findall(python.read_text())}
    known: Any = await redis.execute_command("COMMAND LIST")
    return {n.upper() for n in found} & {n.decode().upper() for n in known} - NEEDLESS


async def test_every_right_that_is_used_is_tried(redis_server: RedisServer) -> None:
    """The check was fine without those for leases and for posts, and the ingester was not."""
    async with connect(redis_server.url) as redis:
        wanted = await asked_of(redis) | {"EVALSHA", "MULTI", "EXEC"}
    assert wanted >= {"EVAL", "PTTL", "XDEL", "EXPIRE", "SUBSCRIBE", "PFADD", "UNLINK", "HSCAN"}
    fine = []
    for name in sorted(wanted):
        async with as_user(redis_server, f"-{name}") as limited:
            failed = [f.sentence for f in await check_redis(limited) if not f.works]
            fine += [name] * (not any(f"+{name.lower()}" in each for each in failed))
    assert fine == []
    async with as_user(redis_server, "-xdel", "-expire") as limited:
        assert all(f.works for f in await check_redis(limited, shows_posts=False))


async def test_check_prints_which_rights_are_missing(
    redis_server: RedisServer, start_app: Callable[..., App]
) -> None:
    async with as_user(redis_server, "-xadd", "resetchannels") as limited:
        failed = [f.sentence for f in await check_redis(limited) if not f.works]
        url = f"redis://pulse:pw@127.0.0.1:{redis_server.port}"
        app = start_app("check", REDIS_URL=url, SOURCES="demo")
        await eventually(lambda: not app.running, "the check is over", 40)
    assert app.wait() == 1
    assert len(failed) == 2
    assert all(f"FAIL  {sentence}\n" in app.output for sentence in failed)
    assert "pw" not in app.output and "Traceback" not in app.output


async def test_a_full_redis_fails(tmp_path: Path) -> None:
    """With noeviction, as it must be: it keeps what it has, and takes nothing more."""
    with RedisServer(find_server(), tmp_path / "redis", "--maxmemory", "1mb") as server:
        redis = connect(server.url)
        await fill(redis)
        failed = [each.sentence for each in await check_redis(Store(redis)) if not each.works]
        assert failed == [f"Redis: {FULL}."]
        await redis.config_set("maxmemory", "100mb")
        assert all(each.works for each in await check_redis(Store(redis)))
        await redis.aclose()


async def fill(redis: "Redis[bytes]") -> None:
    """Until it takes nothing more."""
    with pytest.raises(OutOfMemoryError):
        for n in range(100):
            await redis.set(f"other:{n}", b"x" * 2**16)


async def test_x_is_asked_for_its_counts() -> None:
    """For one minute of one hashtag, at the price of a request; where nothing listens, the check
    said that all is well."""
    counts = {"X_MODE": "counts", "X_BEARER_TOKEN": TOKEN, "HASHTAGS": "science,art"}
    async with x_server() as x:
        source = pick("x", read({**counts, "X_API_URL": x.url}))
        now = source.clock()
        source.clock = lambda: now  # else another minute may be over meanwhile
        found = await check.check_source(source, 2)
        assert found.works and found.sentence.startswith("x: live, "), found.sentence
        assert [query["query"] for _, _, query in x.asked] == ["#science"]
    wrong = {**counts, "X_API_URL": "http://127.0.0.1:1"}
    found = await check.check_source(pick("x", read(wrong)), 2)
    assert (found.works, found.sentence) == (
        False,
        "x: the connection to http://127.0.0.1:1 failed: Connection refused.",
    )


async def test_a_network_that_does_not_answer_fails() -> None:
    """It takes the connection and says nothing: that is no connection."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        chosen = settings(("science",), jetstream_url=f"ws://127.0.0.1:{port}")
        found = await check.check_source(Bluesky(chosen), 0.3)
        silent.accept()[0].close()
    assert (found.works, found.mark) == (False, "FAIL")
    assert found.sentence == "bluesky: no connection within 0.3 s."


async def test_lookups_at_bluesky_are_tried(api: BlueskyApi, store: Store) -> None:
    """One request, in its turn; who does not answer as it should is named, and costs no post."""
    for answer, sentence in (
        (None, "bluesky: posts can be looked up at {}."),
        ((429, {"Retry-After": "60"}, "{}"), "bluesky: posts cannot be looked up at {}: it answered 429."),
        ((200, {}, "<html>"), "bluesky: posts cannot be looked up at {}: "
         "it answered with what is no list of posts."),
    ):  # fmt: skip
        api.answers.extend([answer] if answer else [])
        url = api.url.replace("//", "//me:secret@")
        found = await check.check_lookups(url, store)
        assert (found.works, found.fine) == (True, answer is None)
        assert found.sentence == sentence.format(api.url)
    assert api.uris == [check.NOBODYS_POST] * 3
    assert await store.redis.exists(keys.LOOKUPS)
    found = await check.check_lookups("http://127.0.0.1:1", store)
    assert found.sentence.endswith("at http://127.0.0.1:1: Connection refused.")


@pytest.mark.parametrize(
    ("chosen", "asked"),
    [({}, 1), ({"SHOW_POSTS": "off"}, 0), ({"SOURCES": "demo"}, 0)],
)
async def test_lookups_are_tried_where_posts_are_shown(
    api: BlueskyApi, store: Store, chosen: dict[str, str], asked: int
) -> None:
    wants = {"SOURCES": "bluesky", "BLUESKY_API_URL": api.url, "JETSTREAM_URL": "ws://127.0.0.1:1"}
    demo = pick("demo", read({}))
    found = [each async for each in check.check(read(wants | chosen), store, lambda _: demo, 0.1)]
    assert len(api.asked) == asked
    assert sum("looked up" in each.sentence for each in found) == asked


def test_the_ingester_says_so_at_its_start(
    start_app: Callable[..., App], redis_server: RedisServer
) -> None:
    """An owner who never ran the check finds it in the log."""
    app = start_app("ingest", REDIS_URL=redis_server.url)
    wait_until(lambda: "W app: Redis: it keeps nothing on disk" in app.output, app.output)
    assert app.stop() == 0, app.output
