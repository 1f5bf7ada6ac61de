"""X's rules are made those of the tracked hashtags, and nobody else's are touched."""

from collections.abc import AsyncIterator

import pytest
from x_server import TOKEN, XServer, x_server
from x_source import Clock, first, line, source, until_lost

from app.settings import read
from app.sources.x.stream import RULE_TAG, X


@pytest.fixture
async def api() -> AsyncIterator[XServer]:
    async with x_server() as server:
        yield server


async def test_rules_are_set_and_then_left_alone(api: XServer) -> None:
    """Foreign rules stay, our stale ones go, missing ones come; no change without need."""
    api.make("#cats", "somebody")
    api.make("#dogs")
    api.make("#stale", RULE_TAG)
    api.connections.append(["close"])
    await until_lost(source(api, "science", "football"))
    assert [(rule["value"], rule.get("tag")) for rule in api.rules] == [
        ("#cats", "somebody"),
        ("#dogs", None),
        ("#football OR #science", RULE_TAG),
    ]
    changes = [body for what, _, body in api.asked if what == "change"]
    assert [list(body) for body in changes] == [["delete"], ["add"]]
    await until_lost_after_close(api, source(api, "football", "science"))
    assert [body for what, _, body in api.asked if what == "change"] == changes
    await until_lost_after_close(api, source(api, "science"))
    assert [rule["value"] for rule in api.rules] == ["#cats", "#dogs", "#science"]


async def test_rules_have_the_spelling_that_was_typed(api: XServer) -> None:
    """X does not fold ß into ss, as our keys do; what it brings is counted under the key."""
    x = X(read({"HASHTAGS": "Fußball", "X_API_URL": api.url, "X_BEARER_TOKEN": TOKEN}), Clock())
    api.connections.append([line(1, "FUSSBALL"), "close"])
    [post] = await first(x, 1)
    assert [rule["value"] for rule in api.rules] == ["#Fußball"]
    assert set(post.hashtags) == set(x.settings.hashtags) == {"fussball"}


async def until_lost_after_close(api: XServer, x: X) -> None:
    api.connections.append(["close"])
    await until_lost(x)


async def test_a_foreign_rule_of_the_same_words_serves_as_well(api: XServer) -> None:
    """X refuses the duplicate, and its posts come by the other rule."""
    api.make("#science", "somebody")
    api.connections.append([line(1, "science"), "close"])
    assert (await until_lost(source(api)))[0] == ["1"]
    assert [rule.get("tag") for rule in api.rules] == ["somebody"]
    again = [body for what, _, body in api.asked if what == "change"]
    assert again == [{"add": [{"value": "#science", "tag": RULE_TAG}]}]


async def test_a_refused_rule_is_said(api: XServer) -> None:
    """A thousand rules of others leave no room: no stream without the hashtags, a wait, a word."""
    for n in range(1000):
        api.make(f"#other{n}")
    _, lost = await until_lost(source(api))
    assert "RulesCapExceeded" in str(lost)
    assert (lost.wait, lost.for_good, api.connects) == (5, False, 0)
    api.rules.clear()
    api.connections.append([line(1), "close"])
    x = source(api)
    assert (await until_lost(x))[0] == ["1"]


@pytest.mark.parametrize(
    "answer", [[], "x", None, {"data": [{"id": 1}, 5]}, {"data": 5}, b"[" * 100_000]
)
async def test_an_answer_about_rules_that_is_none(api: XServer, answer: object) -> None:
    """Of another form than documented: a wait and a word, no crash."""
    api.rule_failures.append((200, {}, answer))
    _, lost = await until_lost(source(api))
    assert api.fired == [200]
    assert (lost.wait, lost.for_good) == (5, False)
    assert "about our rules" in str(lost)


async def test_rules_for_more_hashtags_than_one_rule_holds(api: XServer) -> None:
    """They are split into as few as hold them, and X takes them all."""
    tags = [f"hashtag{n:04}" for n in range(500)]
    await until_lost_after_close(api, source(api, *tags))
    assert api.connects == 1
    values = [rule["value"] for rule in api.rules]
    assert sorted(" OR ".join(values).split(" OR ")) == [f"#{tag}" for tag in tags]
    assert len(values) == 8
