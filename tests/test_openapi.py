"""The description at /api: every route is in it, and real answers are as it says."""

import json
import re
import time
from collections.abc import Iterator
from itertools import product
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from jsonschema import Draft202012Validator, ValidationError
from raw import Raw, connecting, get
from served import Site
from servers import eventually
from servers import get as fetch
from test_about import alert, lately, stored
from test_board_api import board, listed
from test_posts_api import begun, mastodon, put, until_told, x
from yesterday import LIVE, fields_of, sources, write

from app import VERSION
from app.messages import HOUR, MINUTE
from app.store import keys


async def described(site: Site) -> Any:
    status, found = await fetch(url(site, "/api"))
    assert status == 200
    return found


def url(site: Site, path: str) -> str:
    return f"http://127.0.0.1:{site.port}{path}"


def strict(part: Any) -> Any:
    """The same, without room for what is not described."""
    if isinstance(part, list):
        return [strict(each) for each in part]
    if not isinstance(part, dict):
        return part
    found = {name: strict(each) for name, each in part.items()}
    if "properties" in found and isinstance(found.get("type"), str):
        found.setdefault("additionalProperties", False)
    return found


def check(document: Any, name: str, value: Any) -> None:
    """Raises ValidationError where the value is not as this schema says."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": strict(document["components"])}
    Draft202012Validator(schema).validate(value)


def references(part: Any) -> Iterator[str]:
    for name, each in part.items() if isinstance(part, dict) else enumerate(part):
        if name == "$ref":
            yield each
        elif isinstance(each, dict | list):
            yield from references(each)


async def test_every_route_is_described_and_nothing_else(site: Site) -> None:
    """A new one is added to openapi.json; all are for GET alone."""
    paths = (await described(site))["paths"]
    rules = list(site.app.url_map.iter_rules())
    assert {re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule) for rule in rules} == paths.keys()
    assert {method for rule in rules for method in rule.methods} == {"GET", "HEAD", "OPTIONS"}
    assert {method for each in paths.values() for method in each} == {"get"}


async def test_the_description_is_whole(site: Site) -> None:
    """Whatever it names is there, each form is one of JSON Schema, and it says which version it
    is of."""
    document = await described(site)
    assert document["openapi"] == "3.1.0" and document["info"]["version"] == VERSION
    named = set(references(document))
    for reference in named:
        part = document
        for name in reference.removeprefix("#/").split("/"):
            part = part[name]
    parts = {f"#/components/{kind}/{n}" for kind, of in document["components"].items() for n in of}
    events = {
        f"#/components/schemas/{n}" for n in document["components"]["schemas"] if "Event" in n
    }
    assert parts - named <= events | {"#/components/schemas/Alert"}
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    for path, each in document["paths"].items():
        inside = [p["name"] for p in each["get"].get("parameters", ()) if p.get("in") == "path"]
        assert inside == re.findall(r"{(\w+)}", path), path
        assert each["get"]["summary"] and "200" in each["get"]["responses"]


def choices(document: Any, path: str) -> dict[str, list[str]]:
    """Parts of the query that take some words only, and which."""
    found = {}
    for each in document["paths"][path]["get"].get("parameters", ()):
        if "$ref" in each:
            each = document["components"]["parameters"][each["$ref"].rpartition("/")[2]]
        schema = each["schema"]
        if "$ref" in schema:
            schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        if "enum" in schema:
            found[each["name"]] = schema["enum"]
    return found


async def test_the_words_of_a_query_are_those_that_are_taken(site: Site) -> None:
    """Each of them, and no other."""
    document = await described(site)
    await fill(site)
    tried = 0
    async with aiohttp.ClientSession() as session:
        for path in ("/events", "/api/counts", "/api/history", "/api/board"):
            for name, words in choices(document, path).items():
                for word in (*words, "other"):
                    query = urlencode({name: word})
                    async with session.get(f"{url(site, path)}?{query}") as response:
                        assert response.status == (400 if word == "other" else 200), query
                        tried += 1
    assert tried > 20


async def fill(site: Site) -> None:
    """What an ingester leaves in Redis, and two sources, one of which was down."""
    now = int(time.time() * 1000)
    minute = now // MINUTE
    minutes = {m: 2 for m in range(minute - 300, minute) if not 100 < minute - m < 120}
    posts = {"demo": {"science": minutes, "art": {minute - 60: 3}}}
    await write(site.store.redis, fields_of(posts, {"demo": minutes}, now, ["science"]))
    states = [(now - 9 * HOUR, LIVE), (now - 5 * HOUR, None), (now - 4 * HOUR, LIVE)]
    for at, state in states:
        down = sources(demo=LIVE, x=LIVE) if state else '{"demo":{"state":"down","reason":"r"}}'
        await site.store.redis.xadd(keys.STATES, {"sources": down}, id=f"{at}-0")
    await site.store.redis.set(keys.BOARD, board(rising=[listed("science")], used=[listed("art")]))
    await site.store.redis.set(keys.POPULAR, '[["science","Science",7]]')
    await site.store.redis.hset(keys.LATELY, "science", lately(now))
    await site.store.redis.set(keys.ALERTS, stored(alert("science"), going=(alert("science"),)))
    site.feed.newest_board.due = site.feed.alerts.due = float("-inf")
    site.writer.state = await site.store.load()
    await site.publish(names={"science": "Science"})
    await site.hears()


AGO = int(time.time() * 1000) - 3 * HOUR
ASKED = {
    "Counts": ["/api/counts?tags=science,never", "/api/counts?by=source"],
    "History": [
        f"/api/history?tags=science,art&range={span}{more}"
        for span, more in product(
            ("15m", "1h", "24h", "7d", "30d"), ("", "&by=source", "&band=1")
        )
    ] + [f"/api/history?from={AGO}&to={AGO + HOUR}{more}" for more in ("", "&by=source", "&band=1")],
    "Posts": ["/api/posts?tags=science", "/api/posts?tags=never"],
    "Board": ["/api/board", "/api/board?all=1"],
    "Completion": ["/api/hashtags?q=sci", "/api/hashtags?q=never"],
    "Hashtag": ["/api/hashtags/science", "/api/hashtags/never"],
    "Oembed": ["/oembed?url={site}/&maxwidth=300", "/oembed?url={site}/embed/board"],
    "Health": ["/healthz"],
    "Ready": ["/readyz"],
}  # fmt: skip
REFUSED = {
    400: "/api/counts?by=hour", 404: "/api/none", 406: "/events", 405: "/api/counts",
}  # fmt: skip


async def test_answers_are_as_described(site: Site) -> None:
    """All of JSON, to the last field; what is refused, too."""
    document = await described(site)
    answers = {
        operation["get"]["responses"]["200"]["content"]["application/json"]["schema"].get("$ref")
        for operation in document["paths"].values()
        if "application/json" in operation["get"]["responses"]["200"].get("content", ())
    }
    assert {f"#/components/schemas/{name}" for name in ASKED} == answers - {None}
    await fill(site)
    await put(site, mastodon(1), x(2))
    seen = {}
    for name, paths in ASKED.items():
        for path in paths:
            if path == "/readyz":  # and on a busy machine the last tick was long ago
                await site.publish()
                await site.hears()
            status, told = await fetch(url(site, path.format(site=url(site, ""))))
            assert status == 200, (path, told)
            check(document, name, told)
            seen[path] = told
    assert seen["/api/posts?tags=science"]["posts"] and seen["/api/posts?tags=science"]["x"]
    assert seen["/api/hashtags/science"]["with"] and seen["/api/board"]["rising"]
    kinds = {g["kind"] for path in ASKED["History"] for g in seen[path]["gaps"]}
    assert kinds >= {"start", "ingester"}
    async with aiohttp.ClientSession() as session:
        for status, path in REFUSED.items():
            method = "POST" if status == 405 else "GET"
            async with session.request(
                method, url(site, path), headers={"Accept": "text/html"}
            ) as r:
                assert r.status == status
                check(document, "Error", await r.json())


EVENTS = {
    "counts": "CountsEvent", "history": "HistoryEvent", "board": "Board", "alert": "Alert",
    "gone": "GoneEvent", "post": "PostEvent",
}  # fmt: skip


def events(stream: Raw, name: str) -> list[Any]:
    """The data of all events of this name that came whole."""
    text = stream.received.replace(b"\r\n", b"").decode()
    return [json.loads(data) for data in re.findall(rf"event: {name}\ndata: (.*)\n", text)]


@pytest.mark.parametrize("by", ["", "&by=source"])
async def test_events_are_as_described(site: Site, by: str) -> None:
    """Each kind of them."""
    document = await described(site)
    await fill(site)
    with connecting(site) as connect:
        query = f"tags=science,art&history=60&board=1&alerts=1&posts=1{by}"
        stream = await connect().send(get("front door", query))
        await begun(site, stream)
        await put(site, mastodon(9))
        await until_told(site, stream, b"event: post")
        await eventually(lambda: events(stream, "counts"), "totals")
        for name, schema in EVENTS.items():
            found = events(stream, name)
            assert found, name
            for each in found:
                check(document, schema, each)


async def test_what_is_not_described_is_found(site: Site) -> None:
    """The tests above would fail for a field too many, one that is missing, and another type."""
    document = await described(site)
    health = {"ok": True, "now": 1}
    check(document, "Health", health)
    for wrong in (health | {"more": 1}, {"ok": True}, health | {"now": "1"}):
        with pytest.raises(ValidationError):
            check(document, "Health", wrong)
