"""The JSON over HTTP: counts, the past, completion; from a real Redis."""

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from servers import RedisServer, eventually, get
from yesterday import LIVE, TICK, asked_of, fields_of, sources, write

from app.messages import DAY, HOUR, MINUTE, SourceState, Tick
from app.settings import read
from app.store import keys
from app.store.store import Store, connect
from app.web.api import Completion, can_be_typed, completed, typed_prefix
from app.web.app import create_app
from app.web.feed import Feed

X = SourceState("live", since=1)
REASON = "a hashtag that is not tracked is kept for 48 hours"


class Site:
    """The app over a real Redis, asked without a socket; ticks come when the test says so."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.settings = read({"HASHTAGS": "science,football"})
        self.feed = Feed(TICK, self.settings.hashtags)
        self.feed.store = store
        self.client: Any = create_app(self.settings, self.feed).test_client()
        self.last = ""

    def hear(
        self, at: int, counts: dict[str, dict[str, int]] | None = None, **newest: SourceState
    ) -> None:
        """A tick, and the log is read up to it."""
        newest = newest or {"demo": LIVE}
        id, counts = f"{at}-0", counts or {}
        names = {"science": "Science"} if "science" in counts else {}
        self.feed.hear(
            Tick(id, self.last, at, TICK, counts=counts, added=counts, names=names, sources=newest)
        )
        self.feed.hear(None)
        self.last = id

    async def get(self, path: str, **query: str) -> Any:
        """The answer's JSON, or its text, after its status."""
        answer = await self.client.get(path, query_string=query or None)
        text = (await answer.get_data()).decode()
        is_json = answer.content_type.startswith("application/json")
        return answer.status_code, json.loads(text) if is_json else text

    async def history(self, **query: str) -> Any:
        status, told = await self.get("/api/history", **query)
        assert status == 200, told
        return told


@pytest.fixture
async def site(redis_server: RedisServer) -> AsyncIterator[Site]:
    redis = connect(redis_server.url)
    yield Site(Store(redis))
    await redis.aclose()


def now() -> int:
    return int(time.time() * 1000)


SOON = range(now() // MINUTE + 1, now() // MINUTE + 30)
"""The minutes that may begin while the tests run."""


async def test_counts_of_any_hashtag(site: Site) -> None:
    """Also of one that is in no tick, and of one that nobody used; with how they are written."""
    posts = {"demo": {"older": {now() // MINUTE - 60: 7}}, "x": {}}
    await write(site.store.redis, fields_of(posts, {}, now()), ["demo", "x"])
    site.hear(now() - 500, {"science": {"demo": 5, "x": 2}}, demo=LIVE, x=X)
    status, told = await site.get("/api/counts", tags="#Science,older,unheard")
    assert status == 200
    assert told["counts"] == {"science": 7, "older": 7, "unheard": 0}
    assert told["names"]["science"] == "Science"
    assert told["sources"] == {"demo": "live", "x": "live"}
    assert told["details"]["x"] == {"since": 1, "reason": ""}
    assert told["at"] == site.feed.newest.at
    _, told = await site.get("/api/counts", tags="science,older,football", by="source")
    assert told["counts"] == {
        "science": {"demo": 5, "x": 2},
        "older": {"demo": 7},
        "football": {"demo": 0, "x": 0},
    }


async def test_a_hashtag_in_no_tick_has_its_last_15_minutes(site: Site) -> None:
    """A flat line from where the log begins."""
    await write(site.store.redis, fields_of({"demo": {"older": {5: 7}}}, {}, now()))
    begin = now() - 600_000
    for at in range(begin, now(), 1500):
        site.hear(at, {"science": {"demo": (at - begin) // 1500}})
    told = await site.history(tags="older,science")
    line = [total for _, total in told["series"]["older"] if total is not None]
    assert set(line) == {7}
    assert len(line) >= 400
    assert told["series"]["science"][-1][1] == site.feed.newest.number - 1
    assert [gap["kind"] for gap in told["gaps"]] == ["start"]


@pytest.mark.parametrize(
    ("span", "hours"), [("1h", 1), ("24h", 24), ("7d", 7 * 24), ("30d", 30 * 24)]
)
async def test_the_points_of_any_hashtag_sum_up_to_its_posts(
    site: Site, span: str, hours: int
) -> None:
    """In every range, up to the present minute, by source and in all; as far as it is kept."""
    at = now()
    minutes = range((at - 40 * DAY) // MINUTE, at // MINUTE + 1)
    rare = {minute: minute % 3 for minute in minutes if minute % 97 == 0 or minute == minutes[-1]}
    posts = {"demo": {"rare": rare, "science": rare}, "b": {"rare": {minutes[-9]: 4}}}
    counted = {source: [*minutes, *SOON] for source in ("demo", "b")}
    fields = fields_of(posts, counted, at, site.settings.hashtags)
    await write(site.store.redis, fields, ["demo", "b"])
    site.hear(at - 500, {}, demo=LIVE, b=LIVE)
    told = await site.history(tags="rare,science,unheard", range=span)
    for tag, all_kept, own in (("rare", hours <= 24, rare), ("science", True, rare)):
        line = [point for point in told["series"][tag] if point[1] is not None]
        since = line[0][0] // MINUTE
        came = sum(n for minute, n in own.items() if minute >= since)
        assert line[-1][1] - line[0][1] == came + 4 * (tag == "rare")
        assert line[-1][0] == told["at"]
        assert (len(line) == len(told["series"][tag])) == all_kept
    assert told["series"]["science"][-1][1] == sum(rare.values())
    assert {total for _, total in told["series"]["unheard"]} <= {0, None}
    assert len(told["series"]["rare"]) <= 600
    parts = await site.history(tags="rare", range=span, by="source")
    by_source = parts["series"]["rare"]
    assert list(by_source) == ["demo", "b"]
    assert by_source["b"][-1][1] == 4
    assert [gap["kind"] for gap in told["gaps"]] == (["kept"] if hours > 24 else [])


async def test_what_is_not_kept_any_more_is_said_to_be_so(site: Site) -> None:
    """For one that is not tracked, and only for that."""
    at = now()
    week = range((at - 7 * DAY) // MINUTE - 99, at // MINUTE + 1)
    posts = {"demo": {tag: {week[0]: 5, week[-2]: 1} for tag in ("rare", "science")}}
    counted = {"demo": [*week, *SOON]}
    await write(site.store.redis, fields_of(posts, counted, at, site.settings.hashtags))
    site.hear(at - 500)
    told = await site.history(tags="science,rare", range="7d")
    [gap] = told["gaps"]
    border = (at // HOUR - 47) * HOUR
    assert (gap["kind"], gap["reason"], gap["tags"]) == ("kept", REASON, ["rare"])
    assert border - told["step"] <= gap["to"] <= border + told["step"]
    nulls = [time for time, total in told["series"]["rare"] if total is None]
    assert nulls[0] == told["series"]["rare"][0][0]
    assert nulls[-1] == gap["to"]
    assert all(total is not None for _, total in told["series"]["science"])


async def test_gaps_are_told_from_the_states(site: Site) -> None:
    """A source that was down, as far as it did not go back."""
    at = now() // MINUTE * MINUTE
    counted = [
        *range((at - DAY) // MINUTE, (at - 50 * MINUTE) // MINUTE),
        *range(at // MINUTE - 20, now() // MINUTE + 1),
    ]
    await write(site.store.redis, fields_of({}, {"demo": counted}, now(), ["science"]))
    down = SourceState("down", reason="no answer", complete=True)
    back = SourceState("live", complete=True, unbroken_since=at - 20 * MINUTE)
    for ago, state in ((1500, LIVE), (50, down), (10, back)):
        entry = {"sources": sources(demo=state)}
        await site.store.redis.xadd(keys.STATES, entry, id=f"{at - ago * MINUTE}-0")
    site.hear(now() - 500, {}, demo=back)
    told = await site.history(tags="science", range="24h")
    [gap] = [gap for gap in told["gaps"] if gap["kind"] != "ingester"]
    assert (gap["from"], gap["to"]) == (at - 50 * MINUTE, at - 20 * MINUTE)
    assert (gap["reason"], gap["all"]) == ("demo: no answer", True)


async def test_a_foreign_entry_among_the_states_is_passed_over(site: Site) -> None:
    """Whatever somebody put there, the past is answered."""
    minutes = range(now() // MINUTE - 60, now() // MINUTE + 1)
    counted = {"demo": [*minutes, *SOON]}
    fields = fields_of({"demo": {"science": {minutes[-2]: 3}}}, counted, now())
    await write(site.store.redis, fields)
    for entry in (
        {"x": "y"},
        {"sources": "["},
        {"sources": "[1]"},
        {"sources": '{"demo":"live"}'},
        {"sources": '{"demo":{"state":[]}}'},
        {"sources": b"\xff"},
        {"sources": "[" * 100_000},
    ):
        await site.store.redis.xadd(keys.STATES, entry)
    site.hear(now() - 500)
    told = await site.history(tags="science", range="1h")
    assert told["series"]["science"][-1][1] == 3


async def test_a_day_of_a_hashtag_is_read_at_once(site: Site) -> None:
    """With a hash an hour and source, and two looks at what the sources did."""
    await write(site.store.redis, fields_of({}, {}, now()))
    site.hear(now() - 500)
    await site.history(tags="rare", range="24h")
    site.hear(now() - 400)
    before = await asked_of(site.store.redis)
    await site.history(tags="rare", range="24h")
    after = await asked_of(site.store.redis)
    asked = {name: n - before[name] for name, n in after.items() if n > before[name]}
    assert asked.pop("hmget") in (25, 26)
    assert sorted(asked) == ["evalsha", "hgetall", "info", "time", "xrange", "xrevrange"]
    assert set(asked.values()) == {1}


async def test_a_table_for_a_spreadsheet(site: Site) -> None:
    """A column a hashtag, or a hashtag and source."""
    site.hear(now() - 500, {"science": {"demo": 5}})
    status, text = await site.get("/api/history", format="csv")
    assert status == 200
    assert text.startswith("time,science,football\r\n")
    assert text.endswith(",5,0\r\n")
    _, text = await site.get("/api/history", format="csv", by="source", tags="science")
    assert text.startswith("time,science/demo\r\n")
    answer = await site.client.get("/api/history?format=csv")
    assert answer.content_type == "text/csv; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("span", ["15m", "24h"])
@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"range": "1y"}, "range='1y': expected one of 15m, 1h, 24h, 7d, 30d."),
        ({"format": "xml"}, "format='xml': expected one of json, csv."),
        ({"by": "day"}, "by='day': expected source, or nothing."),
        ({"tags": "a b"}, "'a b' is not a hashtag: it has ' ' in it."),
        (
            {"tags": ",".join(f"t{n}" for n in range(21))},
            "At most 20 hashtags at once: tags names 21",
        ),
    ],
)
async def test_a_bad_request_is_one_sentence(
    site: Site, span: str, query: dict[str, str], sentence: str
) -> None:
    """With what was expected."""
    site.hear(now() - 500)
    status, told = await site.get("/api/history", **{"range": span, **query})
    assert status == 400
    assert told["error"].startswith(sentence)


async def test_before_the_first_tick_nothing_is_made_up(site: Site) -> None:
    """503 and why; the process answers all the same."""
    for path in ("/api/counts", "/api/history", "/readyz"):
        status, told = await site.get(path)
        assert (status, told) == (503, {"error": "No tick has come yet: is an ingester running?"})
    site.feed.store = None
    for path in ("/api/history?range=24h", "/api/hashtags"):
        assert (await site.get(path))[0] == 503
    status, told = await site.get("/healthz")
    assert (status, told["ok"]) == (200, True)
    site.hear(now() - 500)
    site.hear(now())
    assert await site.get("/readyz") == (200, {"ok": True})


async def test_a_redis_that_is_none_of_ours_is_503_with_a_sentence(site: Site) -> None:
    """A key of another type, wherever it is."""
    site.hear(now() - 500)
    await site.store.redis.lpush(keys.hour(now() // HOUR, "demo"), "mine")
    await site.store.redis.lpush(keys.POPULAR, "mine")
    for path in ("/api/history?range=24h", "/api/hashtags"):
        answer = await site.client.get(path)
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "2"
        told = json.loads(await answer.get_data())
        assert "hashtag}:" in told["error"]
        assert "\n" not in told["error"]


async def test_completion_of_what_is_most_used(site: Site) -> None:
    """In the order of use, at most 20, whatever case and mark it is typed with."""
    used = [
        ["science", "Science", 900],
        ["2026worldcup", "2026WorldCup", 800],
        ["scifi", "scifi", 5],
    ]
    used += [[f"s{n}", f"S{n}", 4] for n in range(30)]
    await site.store.redis.set(keys.POPULAR, json.dumps(used))
    first = {"tag": "science", "name": "Science", "posts": 900}
    for query, tags in (
        ("sci", ["science", "scifi"]),
        (" #SCIE ", ["science"]),
        ("＃ｓｃｉｆ", ["scifi"]),
        ("2026", ["2026worldcup"]),
        ("zzz", []),
    ):
        _, told = await site.get("/api/hashtags", q=query)
        assert [each["tag"] for each in told["hashtags"]] == tags
    for query in ("", "#"):
        _, told = await site.get("/api/hashtags", q=query)
        assert told["hashtags"][0] == first
        assert len(told["hashtags"]) == 20


async def test_completion_has_only_what_can_be_asked(site: Site) -> None:
    """Networks have hashtags that nobody can type: with spaces, commas, no letter."""
    names = ["sci fi", "sci\u202efi", "scifi", "sci🙂", "2026", "scit"]
    await site.store.redis.set(keys.POPULAR, json.dumps([[name, name, 9] for name in names]))
    _, told = await site.get("/api/hashtags", q="")
    assert [each["tag"] for each in told["hashtags"]] == ["scifi", "scit"]
    for name in names:
        assert can_be_typed(name) == ((await site.get("/api/counts", tags=name))[0] != 400)


@pytest.mark.parametrize("query", ["a" * 101, "2" * 101, "a b", "a" * 100_000, "!", "##a"])
async def test_what_can_begin_no_hashtag_is_refused(site: Site, query: str) -> None:
    """With a sentence, before anything is folded."""
    status, told = await site.get("/api/hashtags", q=query)
    assert status == 400
    assert "is not a hashtag" in told["error"]
    assert len(told["error"]) < 300


@pytest.mark.parametrize(
    "stored", [b"", b"[]", b"mine", b'[["a"]]', b'{"a":1}', b"\xff", b"[" * 9999]
)
async def test_completion_without_a_list(site: Site, stored: bytes) -> None:
    """Nothing is most used yet, or what is there is none of ours: an empty answer."""
    if stored:
        await site.store.redis.set(keys.POPULAR, stored)
    assert await site.get("/api/hashtags", q="a") == (200, {"hashtags": []})


async def test_the_list_is_read_once_in_five_seconds(site: Site) -> None:
    """However many ask."""
    time = 100.0
    popular = Completion(lambda: time)
    await site.store.redis.set(keys.POPULAR, '[["a","A",1]]')
    assert completed(await popular.read(site.store), "") == [{"tag": "a", "name": "A", "posts": 1}]
    await site.store.redis.set(keys.POPULAR, '[["b","b",1]]')
    time = 104.9
    assert (await popular.read(site.store))[0][0] == "a"
    time = 105.0
    assert (await popular.read(site.store))[0][0] == "b"


def test_a_prefix_is_folded_as_hashtags_are() -> None:
    """So that it finds them."""
    assert [typed_prefix(text) for text in ("", "#", "Straße", "#ＡＢ", "１２")] == [
        "",
        "",
        "strasse",
        "ab",
        "12",
    ]


async def test_any_hashtag_of_the_running_app(start_app: Any) -> None:
    """In every range, from the demo to JSON and CSV; what nobody used has no posts."""
    app = start_app(TICK_SECONDS=0.1).started()

    async def is_counted() -> bool:
        status, told = await get(f"{app.url}/api/counts")
        return status == 200 and told["counts"]["science"] > 0

    await eventually(is_counted, "posts are counted")
    for span in ("15m", "1h", "24h", "7d", "30d"):
        status, told = await get(f"{app.url}/api/history?tags=science,nobody&range={span}")
        assert status == 200
        assert told["series"]["science"][-1][1] > 0
        assert told["series"]["nobody"][-1][1] == 0
        assert [gap["kind"] for gap in told["gaps"]] == ["start"]
    status, text = await get(f"{app.url}/api/history?format=csv&range=1h")
    assert text.startswith("time,science,football\r\n")
    assert await get(f"{app.url}/api/hashtags?q=nobody") == (200, {"hashtags": []})
