"""What a person with curl sees; the real curl against the real app."""

import asyncio
import json
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from servers import App, Event, changes, events_of

FIRST_SECONDS = 3.5
"""How soon after the request the first event comes, also on a busy machine: long before totals
are repeated, so that it is not a repeat."""


@pytest.fixture(scope="module", params=["on", "off"])
def app(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """With EXPRESS_LANE and without it."""
    chosen = {"HASHTAGS": "science,サッカー", "EXPRESS_LANE": request.param}
    with App(tmp_path_factory.mktemp("curl"), **chosen) as started:
        yield started.ready()


def curl(*arguments: str) -> tuple[str, str]:
    """The answer's headers and its body."""
    done = subprocess.run(["curl", "-si", "-m", "20", *arguments], capture_output=True)
    assert done.returncode == 0, done
    headers, _, body = done.stdout.decode().replace("\r\n", "\n").partition("\n\n")
    return headers.lower(), body


@asynccontextmanager
async def streaming(*arguments: str) -> AsyncIterator[AsyncIterator[Event]]:
    """The events that curl prints, as it prints them."""
    process = await asyncio.create_subprocess_exec(
        "curl", "-sN", *arguments, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    try:
        yield events_of(process.stdout)
    finally:
        process.kill()
        await process.wait()


@pytest.mark.parametrize("version", ["--http1.1", "--http1.0"])
async def test_events_are_shown_as_they_happen(app: App, version: str) -> None:
    """`curl -N` prints the totals at once, and then every change of them."""
    async with asyncio.timeout(FIRST_SECONDS) as limit:
        async with streaming(version, f"{app.url}/events") as events:
            assert (await anext(events)).retry == 2000
            first = await anext(events)
            limit.reschedule(asyncio.get_running_loop().time() + 20)
            assert set(first.data["counts"]) == {"science", "サッカー"}
            changes = 0
            while changes < 3:
                later = await anext(events)
                assert (later.name, later.id >= first.id) == ("counts", True)
                # on a busy machine ticks may be missed for a while, and that is told, too
                changes += later.data["counts"] != first.data["counts"]
                first = later


async def test_history_and_a_hashtag_in_any_script(app: App) -> None:
    """A percent-encoded hashtag is found, with its mark and without, and its past comes first."""
    query = ("-G", "--data-urlencode", "tags=#サッカー", "--data", "history=300")
    async with asyncio.timeout(20), streaming(*query, f"{app.url}/events") as events:
        assert (await anext(events)).retry == 2000
        past, now = await anext(events), await anext(events)
    assert (past.name, now.name) == ("history", "counts")
    assert set(past.data["series"]) == set(now.data["counts"]) == {"サッカー"}


async def test_last_id_goes_on_where_the_stream_was_left(app: App) -> None:
    """With the id of an event, in the header or the query, all that followed it come, in order: each
    change, though not the repeats of what did not change for a second."""
    async with asyncio.timeout(20), streaming(f"{app.url}/events") as events:
        assert (await anext(events)).retry == 2000
        seen = [await anext(events)]
        while len(changes(seen)) < 3:
            seen.append(await anext(events))
    id, last = seen[0].id, seen[-1].id
    header, query = ("-H", f"Last-Event-ID: {id}"), ("-G", "-d", f"last_event_id={id}")
    for way in (header, query):
        async with asyncio.timeout(20), streaming(*way, f"{app.url}/events") as events:
            assert (await anext(events)).retry == 2000
            resumed = [await anext(events)]
            while resumed[-1].id < last:
                resumed.append(await anext(events))
        ids = [event.id for event in resumed]
        assert {event.name for event in resumed} == {"counts"}
        assert ids == sorted(set(ids)) and ids[0] > id
        assert set(changes(seen)[1:]) <= set(changes(resumed))


@pytest.mark.parametrize("path", ["/", "/events", "/api/counts", "/healthz"])
def test_head_answers_and_ends(app: App, path: str) -> None:
    """`curl -I` returns, with the headers that GET has and no body."""
    headers, body = curl("-I", f"{app.url}{path}")
    assert headers.startswith("http/1.1 200")
    assert body == ""


def test_headers_of_the_stream(app: App) -> None:
    """Nobody on the way may keep, change or hold back the events."""
    headers, _ = curl("-I", f"{app.url}/events")
    assert "content-type: text/event-stream; charset=utf-8" in headers
    assert "cache-control: no-store, no-transform" in headers
    assert "x-accel-buffering: no" in headers


def test_a_refusal_is_in_the_language_that_is_asked_for(app: App) -> None:
    """English where none is; and what is told in one language is kept for nobody."""
    german = "'1' ist kein Hashtag: Darin fehlt ein Buchstabe."
    for path in ("/events?tags=1", "/api/counts?tags=1"):
        headers, body = curl(f"{app.url}{path}")
        assert json.loads(body) == {"error": "'1' is not a hashtag: it has no letter."}
        headers, body = curl("-H", "Accept-Language: de-AT,en;q=0.5", f"{app.url}{path}")
        assert json.loads(body) == {"error": german}
        assert "cache-control: no-store" in headers
        _, body = curl("-H", "Accept-Language: ar", f"{app.url}{path}&lang=de")
        assert json.loads(body) == {"error": german}


@pytest.mark.parametrize(
    ("status", "arguments", "says"),
    [
        (400, ["/events?tags=no%20hashtag"], "no hashtag"),
        (400, ["/events?tags=%00"], "is not a hashtag"),
        (400, ["/events?tags=%FF%FE"], "is not a hashtag"),
        (400, ["/events?tags=" + "x" * 5000], "longer than"),
        (431, ["/events?tags=" + "x" * 100_000], "longer than 16384 bytes"),
        (400, ["/events", "-X", "G@T"], "no request"),
        (400, ["/events?tags=2024"], "no letter"),
        (400, ["/events?history=long"], "long"),
        (400, ["/events?history=nan"], "nan"),
        (400, ["/events?history=-1"], "-1"),
        (400, ["/events?history=901"], "900"),
        (400, ["/events?tags=" + ",".join(f"t{n}" for n in range(21))], "At most 20"),
        (400, ["/events?tags=science&new=unheard"], "#unheard"),
        (404, ["/nothing/here"], "/nothing/here"),
        (404, ["/static/../app/settings.py", "--path-as-is"], "nothing"),
        (405, ["/events", "-X", "POST"], "GET"),
        (405, ["/api/counts", "-d", "x=1"], "GET"),
        (406, ["/events", "-H", "Accept: application/json"], "text/event-stream"),
    ],
)
def test_bad_request_is_one_sentence_of_json(
    app: App, status: int, arguments: list[str], says: str
) -> None:
    """Every wrong request is answered at once: its status, and one sentence as JSON."""
    path, *options = arguments
    headers, body = curl(*options, f"{app.url}{path}")
    assert headers.startswith(f"http/1.1 {status} ")
    assert "content-type: application/json" in headers
    told = json.loads(body)
    assert list(told) == ["error"]
    assert says in told["error"]
    assert told["error"].endswith(".") and "\n" not in told["error"]


@pytest.mark.parametrize("path", ["/events", "/api/counts", "/api/history", "/"])
def test_a_very_long_name_is_one_sentence(app: App, path: str, tmp_path: Path) -> None:
    """As long as curl can send: it is refused, and whoever sends it is told so before it is cut off."""
    name = tmp_path / "name"
    name.write_text("x" * 1_000_000)
    headers, body = curl("-G", "--data-urlencode", f"tags@{name}", f"{app.url}{path}")
    assert headers.startswith("http/1.1 431 ")
    assert "longer than 16384 bytes." in json.loads(body)["error"]
    assert json.loads(curl(f"{app.url}/healthz")[1])["ok"]


@pytest.mark.parametrize(
    ("asked", "shown", "says"),
    [
        ("123,science", ["science"], "'123' is not a hashtag: it has no letter."),
        ("science,a%20b,%23football", ["science", "football"], "it has ' ' in it."),
        ("123", [], "'123' is not a hashtag"),
        (f"x,{'x' * 5000},y", ["x", "y"], "longer than"),
        (",".join(f"t{n}" for n in range(21)), [f"t{n}" for n in range(20)], "At most 20 hashtags"),
        ("!," * 2000 + "science", [], "is not a hashtag"),
        ("science", ["science"], ""),
    ],
)
def test_a_page_shows_the_hashtags_of_its_address_and_says_what_is_none(
    app: App, asked: str, shown: list[str], says: str
) -> None:
    """Where a program is refused, a person is shown what there is, of the first hundred words."""
    for page in ("", "embed"):
        headers, body = curl(f"{app.url}/{page}?tags={asked}")
        assert headers.startswith("http/1.1 200")
        [config] = re.findall(r'id="config">(.*?)</script>', body)
        told = json.loads(config)
        assert told["tags"] == shown
        assert says in told["problem"] and bool(says) == bool(told["problem"])
    headers, body = curl(f"{app.url}/api/counts?tags={asked}")
    assert headers.startswith(f"http/1.1 {400 if says else 200}")
    assert not says or says in json.loads(body)["error"]


def test_counts_are_the_streams(app: App) -> None:
    """`/api/counts` has the totals and the sources in one plain answer."""
    headers, body = curl(f"{app.url}/api/counts")
    told = json.loads(body)
    assert headers.startswith("http/1.1 200") and "cache-control: no-store" in headers
    assert set(told["counts"]) == {"science", "サッカー"}
    assert told["sources"] == {"demo": "live"} and told["at"] > 0
