"""Names such as strangers write them, all the way from Bluesky to whoever listens."""

from collections.abc import Callable
from contextlib import AsyncExitStack, aclosing

import pytest
from jetstream import Jetstream, Network, create, numbered, source_of
from network import Counting
from servers import App, RedisServer, eventually, get, viewing

from app.store.connection import LONGEST


async def test_one_author_cannot_silence_every_web_process(
    redis_server: RedisServer,
    counting: Counting,
    stack: AsyncExitStack,
    start_app: Callable[..., App],
) -> None:
    """With three hashtags, three honest posts and six with 900,000 marks before the same names
    were enough: ticks passed 2 MiB with the longest spelling, and no web process heard again,
    also after a restart. Such names are none."""
    tags = ("science", "football", "art")
    network = Network()
    host = await stack.enter_async_context(Jetstream(network, bounds=False))
    async with counting.of(source_of(host, tracked=tags)):
        await eventually(lambda: host.open, "it is connected")
        network.put(numbered(3, *tags))
        network.put(
            [create("#" * 900_000 + tag, rkey=f"{tag}{n}") for n in range(6) for tag in tags]
        )
        network.put(numbered(1, "science", begin=3))
        await counting.reach({"science": 4, "football": 3, "art": 3})
        web = start_app("web", REDIS_URL=redis_server.url, HASHTAGS=",".join(tags)).started()
        async with viewing(f"{web.url}/events?tags=science") as events, aclosing(events):
            async for event in events:
                if event.name == "counts":
                    break
        assert event.data["counts"] == {"science": 4} and event.data["names"] == {}
        network.put(numbered(1, "science", begin=4))

        async def heard() -> bool:
            told = (await get(f"{web.url}/api/counts?tags=science"))[1]
            return bool(told.get("counts") == {"science": 5})

        await eventually(heard, "the next tick is heard, too")
    for entry in await counting.store.redis.xrange("{hashtag}:log"):
        assert len(entry[1][b"tick"]) < LONGEST / 100
    assert host.sent == 3 + 18 + 2


@pytest.mark.parametrize("bidi", ["\u202e", "\u2066", "\u200f"])
async def test_a_name_is_shown_without_what_is_no_part_of_it(
    counting: Counting, stack: AsyncExitStack, bidi: str
) -> None:
    """A mark that turns the text around would turn the page around it, too."""
    network = Network()
    host = await stack.enter_async_context(Jetstream(network))
    name = f"{bidi}Science"
    async with counting.of(source_of(host)):
        await eventually(lambda: host.open, "it is connected")
        network.put(numbered(2, name))
        await counting.reach({name.lower(): 2})
    names = {
        tag: name
        for tick in await counting.store.ticks_after("")
        for tag, name in tick.names.items()
    }
    assert names == {name.lower(): "Science"}
