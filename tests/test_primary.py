"""Where the primary is, of a Redis that moves: whom we ask, and whom we believe."""

from contextlib import ExitStack, aclosing
from pathlib import Path
from typing import Any

import pytest
from primaries import asking
from redis.exceptions import ConnectionError
from servers import RedisServer, free_port

from app.settings import SettingsError, read
from app.store.connection import connect
from app.store.embedded import find_server, named
from app.store.primary import Claim, Primary, cluster_claim
from app.store.store import Store, StoreLost
from app.urls import showable


def primary(url: str) -> Primary:
    return Primary(url, connect)


@pytest.mark.parametrize(
    ("url", "asked", "first"),
    [
        (
            "redis+sentinel://who:pa55@h1,h2:1,h3:2/pulse/3?sentinel_password=other",
            [("h1", 26379), ("h2", 1), ("h3", 2)],
            "redis://who:pa55@h1:26379/3",
        ),
        ("rediss+cluster://:pa55@h1,h2:1", [("h1", 6379), ("h2", 1)], "rediss://:pa55@h1:6379/"),
        ("redis+cluster://[::1]:7", [("::1", 7)], "redis://[::1]:7/"),
    ],
)
def test_a_url_names_several(url: str, asked: list[Any], first: str) -> None:
    """And what is shown of it has no secret; what is wrong in one of them is said."""
    found = primary(url)
    assert (found.named, found.first) == (asked, first)
    settings = read({"REDIS_URL": url})
    assert settings.redis_url == url
    assert "pa55" not in showable(url) and "other" not in showable(url)
    assert settings.secrets() <= {"pa55", "other"}


def test_sentinels_have_a_password_of_their_own() -> None:
    """Never the one of Redis."""
    both = primary("redis+sentinel://who:pa55@h/pulse?sentinel_username=me&sentinel_password=o/o")
    assert both.user == "me:o%2Fo@"
    assert primary("redis+sentinel://who:pa55@h/pulse").user == ""
    assert primary("redis+cluster://who:pa55@h").user == "who:pa55@"


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://h1,h2",
        "redis+sentinel://h1,,h2/pulse",
        "redis+sentinel://h1/pulse/x",
        "redis+sentinel://h1:x,h2/pulse",
        "redis+cluster://h1/3",
        "redis+others://h1",
        "http+cluster://h1",
    ],
)
def test_a_wrong_url_stops_the_start(url: str) -> None:
    with pytest.raises(SettingsError):
        named(read({"REDIS_URL": url}))


NODES = {
    "10.0.0.1:6379": {
        "node_id": "a",
        "hostname": "one.example",
        "master_id": "-",
        "epoch": "7",
        "slots": [["0", "8000"], ["13784"]],
    },
    ":6380": {"node_id": "b", "hostname": "", "master_id": "a", "epoch": "7", "slots": []},
    "10.0.0.3:6379": {
        "node_id": "c",
        "hostname": "",
        "master_id": "-",
        "epoch": "9",
        "slots": [["8001", "13783"], ["13785", "16383"]],
    },
}


def test_the_nodes_of_a_cluster() -> None:
    """Who has the slot of our keys, by its address or its name, and who would have it next."""
    told = cluster_claim(NODES, "asked", by_name=False)
    assert told == Claim(7, ("10.0.0.1", 6379), (("10.0.0.1", 6379), ("asked", 6380)))
    assert cluster_claim(NODES, "asked", by_name=True).primary == ("one.example", 6379)


@pytest.fixture
async def answers(monkeypatch: pytest.MonkeyPatch) -> dict[int, Any]:
    """What the one at each port says."""
    said: dict[int, Any] = {}

    async def ask(self: Primary, address: tuple[str, int]) -> Any:
        return said.get(address[1], "it is away")

    monkeypatch.setattr(Primary, "ask", ask)
    return said


async def test_the_newest_answer_is_believed(answers: dict[int, Any]) -> None:
    """One that is cut off from the others misleads nobody; who had our keys is asked from then
    on, too; where nobody answers any more, nothing has changed that we know of."""
    asked = primary("redis+sentinel://h:1,h:2,h:3/pulse")
    with pytest.raises(ConnectionError, match="no Sentinel says where pulse is: it is away"):
        await asked.find()
    answers |= {1: Claim(3, ("old", 1)), 2: Claim(4, ("new", 2), (("new", 4),))}
    assert await asked.find() == ("new", 2)
    answers.clear()
    assert await asked.find() == ("new", 2)
    answers[4] = Claim(5, ("newer", 3))
    assert await asked.find() == ("newer", 3)
    answers.clear()
    asked.doubt()
    with pytest.raises(ConnectionError):
        await asked.find()


async def test_without_any_that_answers_it_is_said(
    tmp_path: Path, ending: ExitStack, redis_binary: str
) -> None:
    """Each kind in one sentence, which names what was asked for; no address is told to others."""
    alone = ending.enter_context(
        RedisServer(redis_binary, tmp_path / "alone", "--cluster-enabled", "yes",
                    "--cluster-port", str(free_port()))
    )  # fmt: skip
    for url, says in (
        (f"redis+sentinel://127.0.0.1:{free_port()}/pulse", "no Sentinel says where pulse is: "),
        (f"redis+cluster://127.0.0.1:{alone.port}", "nobody has the slot of our keys"),
    ):
        redis = connect(url)
        with pytest.raises(StoreLost, match=says) as raised:
            await Store(redis).load()
        assert raised.value.public == "Redis does not answer."
        await redis.aclose()


@pytest.fixture
def both(tmp_path: Path, ending: ExitStack) -> list[RedisServer]:
    return [
        ending.enter_context(RedisServer(find_server(), tmp_path / name)) for name in ("one", "two")
    ]


async def test_a_connection_follows(answers: dict[int, Any], both: list[RedisServer]) -> None:
    """One that was opened to the old primary is opened anew once that refuses to write."""
    old, new = both
    answers[1] = Claim(1, ("127.0.0.1", old.port))
    redis = connect("redis+sentinel://h:1/pulse")
    store = Store(redis)
    assert await store.take_lease("a", 60)
    answers[1] = Claim(2, ("127.0.0.1", new.port))
    assert await store.writer() == "a"
    async with asking(old.port) as server:
        await server.config_set("min-replicas-to-write", "1")
        with pytest.raises(StoreLost, match=r"^Redis: it has too few replicas"):
            await store.take_lease("b", 60)
    assert await store.take_lease("b", 60)
    async with asking(new.port) as server:
        await server.execute_command("REPLICAOF", "127.0.0.1", old.port)
    answers[1] = Claim(3, ("127.0.0.1", old.port))
    with pytest.raises(StoreLost, match=r"^Redis: what was the primary is a replica now.$"):
        await store.take_lease("c", 60)
    assert await store.writer() == "a"
    await redis.aclose()


async def test_a_subscription_follows(answers: dict[int, Any], both: list[RedisServer]) -> None:
    """Where no tick comes any more it is asked whether the primary is elsewhere by now."""
    answers[1] = Claim(1, ("127.0.0.1", both[0].port))
    redis = connect("redis+sentinel://h:1/pulse")
    async with aclosing(Store(redis).follow("", 0.05)) as ticks:  # type: ignore[type-var]
        for _ in range(3):
            assert await anext(ticks) is None
        answers[1] = Claim(2, ("127.0.0.1", both[1].port))
        with pytest.raises(StoreLost, match=r"^Redis: its primary is another one now.$"):
            await anext(ticks)
    await redis.aclose()
