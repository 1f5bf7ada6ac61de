"""What is told of one hashtag, and alerts as visitors are told them."""

import json
import time
from typing import Any
from xml.etree import ElementTree as xml

import msgspec
import pytest
from raw import get, watching
from served import Site, serving
from servers import RedisServer, eventually
from servers import get as fetch
from test_board import past as remember
from yesterday import fields_of, write

from app.messages import DAY, HOUR, MINUTE
from app.store import keys
from app.store.alerts import Alert
from app.store.store import Store
from app.web.about import OLD, first_seen, lately_of
from app.web.alerts import ATOM, AlertEvents, atom
from app.web.limits import cost_under

NOW = 494_000 * HOUR + 25 * MINUTE


def lately(at: int, **more: Any) -> str:
    told = {
        "at": at, "posts": 40, "people": 30, "usual": 0.5, "unusual": 7.5,
        "busiest_author": 0.1, "busiest_link": 0.0,
        "with": [{"tag": "art", "name": "Art", "people": 9, "lift": 3.5}], **more,
    }  # fmt: skip
    return json.dumps(told)


def url(site: Site, path: str) -> str:
    return f"http://127.0.0.1:{site.port}{path}"


async def test_all_that_is_known_of_a_hashtag(site: Site) -> None:
    """Of one that many use, and of one that nobody ever did."""
    await site.publish(0)
    await site.hears()
    now = int(time.time() * 1000)
    await site.store.redis.hset(keys.LATELY, "science", lately(now))
    status, told = await fetch(url(site, "/api/hashtags/%23Science"))
    assert status == 200
    assert {name: told[name] for name in ("tag", "total", "sources", "people")} == {
        "tag": "science", "total": 1, "sources": {"demo": 1}, "people": None,
    }  # fmt: skip
    assert told["lately"] == {"posts": 40, "people": 30}
    assert told["with"] == [{"tag": "art", "name": "Art", "people": 9, "lift": 3.5}]
    assert (told["unusual"], told["usual"], told["first_seen"]) == (7.5, None, None)
    _, never = await fetch(url(site, "/api/hashtags/never"))
    assert (never["total"], never["with"], never["lately"], never["unusual"]) == (
        0,
        None,
        None,
        None,
    )
    for wrong in ("2026", "a%20b", "a,b"):
        status, refused = await fetch(url(site, f"/api/hashtags/{wrong}"))
        assert status == 400 and "is not a hashtag" in refused["error"]


async def test_an_answer_is_made_once_a_tick(site: Site) -> None:
    """Counted: a thousand visitors of one moment are one."""
    site.feed.freshness.time = lambda head: NOW  # type: ignore[method-assign]
    await fetch(url(site, "/api/hashtags/science"))
    before = int((await site.store.about())["total_commands_processed"])
    for _ in range(20):
        await fetch(url(site, "/api/hashtags/science"))
    assert int((await site.store.about())["total_commands_processed"]) - before < 20


def test_it_costs_an_address_more_than_a_page() -> None:
    """As some 500 values are read where it is asked since when a hashtag is used."""
    costs = [cost_under(path) for path in ("/api/hashtags/a", "/api/hashtags", "/", "/static/a.js")]
    assert costs == [5.0, 1.0, 1.0, 0.2]


async def test_what_is_usual_is_that_of_ten_minutes(
    store: Store, redis_server: RedisServer
) -> None:
    async with serving(redis_server.url) as site:
        site.feed.totals.networks = ("x",)
        await remember(store, {"science": 60})
        site.feed.freshness.time = lambda head: NOW  # type: ignore[method-assign]
        told = (await fetch(url(site, "/api/hashtags/science")))[1]
        assert told["usual"] == pytest.approx(10, rel=0.05)


@pytest.mark.parametrize("text", [b"no JSON", b"{}", b"\xff", b"[" * 10_000])
async def test_what_the_ingester_did_not_write_is_nothing(store: Store, text: bytes) -> None:
    """Nor what it wrote long ago."""
    await store.redis.hset(keys.LATELY, "a", text)
    assert await lately_of(store, "a", NOW) is None
    await store.redis.hset(keys.LATELY, "a", lately(NOW))
    assert (await lately_of(store, "a", NOW + OLD)).posts == 40  # type: ignore[union-attr]
    assert await lately_of(store, "a", NOW + OLD + 1) is None


async def test_since_when_it_is_used(store: Store) -> None:
    """To the minute within two days, to the hour before; of several networks the first one; and
    nothing where what came before is not kept."""
    minute = NOW // MINUTE
    posts = {
        "x": {
            "young": {minute - 90: 2, minute - 3: 1},
            "old": {minute - 20 * 24 * 60 - 7: 3, minute - 100: 1},
            "forgotten": {minute - 3 * 24 * 60: 5, minute - 50: 1},
            "both": {minute - 30: 1},
        },
        "y": {"both": {minute - 3 * 24 * 60: 1}},
    }
    counted = {name: range(minute - 30 * 24 * 60, minute + 1) for name in posts}
    fields = fields_of(posts, counted, NOW, is_kept=lambda tag, hour: tag != "forgotten")
    await write(store.redis, fields, ["x", "y"])
    found = {tag: await first_seen(store, tag, ["x"], NOW) for tag in ("young", "old", "forgotten")}
    assert found["young"] == (minute - 90) * MINUTE
    assert found["old"] == (minute - 20 * 24 * 60 - 7) * MINUTE // HOUR * HOUR
    assert found["forgotten"] is None
    assert (
        await first_seen(store, "both", ["x", "y"], NOW)
        == (minute - 3 * DAY // MINUTE) * MINUTE // HOUR * HOUR
    )
    assert await first_seen(store, "never", [], NOW) is None


# alerts


def alert(tag: str, state: str = "start", at: int = NOW) -> Alert:
    return Alert(
        f"{tag}{state}{at}",
        state,
        tag,
        tag.upper(),
        at,
        at,
        50,
        1.0,
        9.9,
        f"#{tag} <&> is unusual.",
    )


def stored(*last: Alert, going: tuple[Alert, ...] = ()) -> bytes:
    return msgspec.json.encode({"going": {each.tag: each for each in going}, "last": last})


async def test_alerts_reach_those_who_chose_them(site: Site, raw: Any) -> None:
    """Once at the start and once at the end, of the hashtags of the stream; who comes meanwhile is
    told what goes on; what was over before is not told."""
    start, old = alert("science"), alert("science", "end", NOW - HOUR)

    async def happens(text: bytes) -> None:
        await site.store.redis.set(keys.ALERTS, text)
        site.clock.ahead += 3
        await site.publish(0)
        await eventually(lambda: site.feed.alerts.text == text, "it was read")
        await eventually(lambda: not site.feed.alerts.new, "it belongs to a tick")
        await site.publish()
        await site.hears()

    await happens(stored(old))
    asked = ("alerts=1&tags=science,football", "alerts=1&tags=football", "tags=science")
    chosen, other, without = [await watching(raw(), get("front door", each)) for each in asked]
    await happens(stored(old, start, going=(start,)))
    await chosen.until(rb'event: alert\ndata: {"id":"sciencestart[^\n]*"state":"start"[^\n]*}\n\n')
    late = await raw().send(get("front door", "alerts=1&tags=science"))
    await late.until(rb'event: counts.*event: alert\ndata: {"id":"sciencestart')
    end = alert("science", "end")
    await happens(stored(old, start, end))
    for each in (chosen, late):
        await each.until(rb'event: alert\ndata: {"id":"scienceend')
        assert each.received.count(b"event: alert") == 2
    await site.publish()
    await without.until(b"event: counts")
    await other.until(b"event: counts")
    assert b"event: alert" not in without.received + other.received


@pytest.mark.parametrize("text", [b"no JSON", b'{"last": 5}', b"\xff", b"[" * 100_000])
async def test_what_are_no_alerts_are_none(store: Store, text: bytes) -> None:
    """And what follows them is heard."""
    events = AlertEvents()
    for now, written in ((0, text), (3, stored(alert("a")))):
        await store.redis.set(keys.ALERTS, written)
        is_new = await events.read(store, now)
    assert is_new and events.take(7) == ["a"]
    assert events.between(["a"], 6, 7).startswith(b"event: alert")
    assert events.between(["a"], 7, 8) == events.between(["b"], 6, 7) == b""


async def test_a_redis_that_lost_them_makes_no_news(store: Store) -> None:
    """It lost all, or the last ones, and got them back from the ingester: nobody is told again."""
    events, known = AlertEvents(), [alert("a"), alert("b")]
    told = []
    for now, last in enumerate([known[:1], known, [], known, known[:1], [*known, alert("c")]]):
        text = stored(*last) if last else b""
        await store.redis.set(keys.ALERTS, text)
        await events.read(store, 3 * now)
        told.append(events.take(now))
    assert told == [[], ["b"], [], [], [], ["c"]]


async def test_a_feed_for_readers(site: Site) -> None:
    """Well-formed whatever a hashtag is; valid without any alert."""
    await site.store.redis.set(keys.ALERTS, stored(alert("a"), alert("日本&語", at=NOW + MINUTE)))
    site.feed.alerts.due = 0
    status, text = await fetch(url(site, "/alerts.atom"))
    assert status == 200
    found = xml.fromstring(text)
    names = {"a": ATOM}
    assert found.tag == f"{{{ATOM}}}feed"
    titles = [each.text for each in found.findall("a:entry/a:title", names)]
    assert titles == ["#日本&語 <&> is unusual.", "#a <&> is unusual."]
    assert found.findtext("a:updated", namespaces=names) == "2026-05-10T08:26:00Z"
    [link, _] = found.findall("a:entry/a:link", names)
    assert link.attrib["href"] == "./?tags=%E6%97%A5%E6%9C%AC%26%E8%AA%9E"
    ids = [each.text for each in found.findall(".//a:id", names)]
    assert len(set(ids)) == 3
    await site.store.redis.set(keys.ALERTS, stored(alert("a", at=10**18)))
    site.feed.alerts.due = 0
    assert (await fetch(url(site, "/alerts.atom")))[0] == 200, "of no time that there is"
    strange = xml.fromstring(atom([alert("a\x00b")], NOW))
    assert strange.findtext("a:entry/a:title", namespaces=names) == "#a�b <&> is unusual."
    assert xml.fromstring(atom([], NOW)).findtext("a:updated", namespaces=names)
