"""What the web process answers, over a real socket, from a real ingester and Redis."""

from collections.abc import Callable

from servers import App, get, viewing


async def test_stream_begins_with_retry_then_totals_then_ticks(
    start_app: Callable[..., App],
) -> None:
    """The first bytes are a retry, then the current totals, then a tick for every change."""
    app = start_app().started()
    async with viewing(f"{app.url}/events") as events:
        assert (await anext(events)).retry == 2000
        first, second = await anext(events), await anext(events)
    assert first.name == second.name == "counts"
    assert set(first.data["counts"]) == {"science", "football"}
    assert first.id < second.id
    assert (await get(f"{app.url}/healthz"))[0] == 200
