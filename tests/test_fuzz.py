"""Mutated messages, a hundred thousand for each network: none breaks a parser or its neighbour."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from network import settings
from x_source import Clock

from app.hashtags import key
from app.ingest.posts import PostPlaces
from app.messages import Deletion, Post, Shown
from app.sources import SourceLost
from app.sources.bluesky import wire as bluesky
from app.sources.mastodon import wire as mastodon
from app.sources.replay import Parser, Replay
from app.sources.x.stream import X
from app.texts import LONGEST_NAME, LONGEST_TEXT, web_address
from app.web.bluesky_posts import NoAnswer, read_answer

MUTANTS = 100_000
FOLDERS = {
    "x": ["x_v2_twarc_csv", "x_v2_academic_hk", "x_v2_client_fixtures"],
    "bluesky": ["bsky_jetstream_misc", "bsky_posts_wrapped"],
    "mastodon": ["mastodon_client_fixtures"],
}
ODD: list[Any] = [
    None, True, 0, -1, 5, 1e308, float("inf"), 10**30, 10**400, "", "x", "0", "#", "＃＃", "\ud800", "\0",
    "\u202e", "a" * 5000, "0000-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", [], [None], [[]], {},
    {"tag": None}, {"hashtags": 5}, {"entities": {"hashtags": [{}]}}, [{"name": 5}], [{"tag": []}],
]  # fmt: skip


TEXT, LINK = "Hi 👋 #science & more\u2028", "https://www.example.org/x?y=1"
LABELS = {"$type": "com.atproto.label.defs#selfLabels", "values": [{"val": "porn"}, {"val": "x"}]}
FEATURES = [
    {"$type": "app.bsky.richtext.facet#tag", "tag": "science"},
    {"$type": "app.bsky.richtext.facet#link", "uri": LINK},
]
RECORD = {
    "text": TEXT, "labels": LABELS, "facets": [{"features": FEATURES}],
    "embed": {"media": {"external": {"uri": LINK, "title": TEXT}}, "external": {"uri": LINK}},
}  # fmt: skip
COMMIT = {"operation": "create", "collection": bluesky.COLLECTION, "rkey": "r", "record": RECORD}
STATUS = {
    "id": "1", "visibility": "public", "sensitive": False, "spoiler_text": "", "url": LINK,
    "account": {"id": "1", "acct": "a@b.example", "display_name": TEXT}, "tags": [{"name": "science"}],
    "content": f'<p>Hi<br><a href="{LINK}">&amp;</a> <a class="mention" href="{LINK}">@b</a></p>',
}  # fmt: skip
ENTITIES = {"hashtags": [{"tag": "science"}], "urls": [{"expanded_url": LINK}]}
FULL: dict[str, list[dict[str, Any]]] = {
    "x": [{"data": {"id": "1", "author_id": "1", "text": TEXT, "entities": ENTITIES}}],
    "bluesky": [
        {"did": "did:plc:a", "time_us": 1, "commit": COMMIT},
        {"did": "did:plc:a", "time_us": 1, "commit": COMMIT | {"operation": "delete"}},
        {
            "did": "did:plc:a",
            "time_us": 1,
            "kind": "account",
            "account": {"active": False, "status": "deleted"},
        },
    ],
    "mastodon": [
        {"event": "update", "payload": json.dumps(STATUS)},
        {"event": "status.update", "payload": json.dumps(STATUS)},
        {"event": "delete", "payload": "1"},
    ],
}
"""Messages with texts, labels, links and names, which the recordings lack."""
VIEWS: list[dict[str, Any]] = [
    {
        "uri": f"at://did:plc:a/app.bsky.feed.post/{n}", "cid": "c", "labels": labels,
        "author": {"did": "did:plc:a", "handle": "a.example", "displayName": TEXT, "labels": of_author},
        "record": {"$type": bluesky.COLLECTION, "text": TEXT, "facets": [{"features": FEATURES}], **own},
    }
    for n, (labels, of_author, own) in enumerate([
        ([], [], {}), ([{"val": "spam"}], [], {}), ([], [{"val": "!no-unauthenticated"}], {}),
        ([], [], {"labels": LABELS}), ([], [], {"embed": RECORD["embed"]}),
    ])
]  # fmt: skip
"""Posts as Bluesky shows them: of five, two without a label."""
POSTS = PostPlaces()
DELETIONS: dict[str, Callable[[bytes], Deletion | None]] = {
    "x": lambda line: None,
    "bluesky": lambda line: bluesky.deletion_of(bluesky.read_event(line)),
    "mastodon": lambda line: mastodon.deletion_of(mastodon.read_event(line)),
}


def lines(recordings: Path, *folders: str) -> list[bytes]:
    files = [recordings / folder / "wire_reduced.jsonl" for folder in folders]
    return [line for file in files for line in file.read_bytes().splitlines()]


def mutants(pool: list[bytes], number: int, seed: int) -> Iterator[bytes]:
    """So many, the same for the same seed: half of their values, half of their bytes."""
    luck = random.Random(seed)
    ways: list[Callable[[bytes, random.Random], bytes]] = [cut, flipped, doubled, dropped, spliced]
    for n in range(number):
        line = luck.choice(pool)
        if n % 2:
            yield revalued(line, luck)
        elif n % 8 == 0:
            yield crossed(line, luck.choice(pool), luck)
        else:
            yield luck.choice(ways)(line, luck)


def cut(line: bytes, luck: random.Random) -> bytes:
    return line[: luck.randrange(len(line))]


def flipped(line: bytes, luck: random.Random) -> bytes:
    at = luck.randrange(len(line))
    return line[:at] + bytes([luck.randrange(256)]) + line[at + 1 :]


def doubled(line: bytes, luck: random.Random) -> bytes:
    begin, end = sorted(luck.choices(range(len(line)), k=2))
    return line[:end] + line[begin:]


def dropped(line: bytes, luck: random.Random) -> bytes:
    begin = luck.randrange(len(line))
    return line[:begin] + line[begin + luck.randrange(1, 9) :]


def spliced(line: bytes, luck: random.Random) -> bytes:
    at = luck.randrange(len(line))
    part = luck.choice(
        [b"{", b"]", b'"', b"\\u0000", b"\\ud800", b"\xff", b"1e999", b"[" * 2000, b"\r"]
    )
    return line[:at] + part + line[at:]


def crossed(line: bytes, other: bytes, luck: random.Random) -> bytes:
    return cut(line, luck) + other[luck.randrange(len(other)) :]


def revalued(line: bytes, luck: random.Random) -> bytes:
    """Valid JSON, with something odd in the place of one value, also in Mastodon's inner JSON."""
    message = json.loads(line)
    payload = message.get("payload")
    if isinstance(payload, str) and payload.startswith("{"):
        inner = json.loads(payload)
        replace(inner, luck)
        message["payload"] = json.dumps(inner)
    else:
        replace(message, luck)
    return json.dumps(message).encode()


def replace(value: Any, luck: random.Random) -> None:
    """Go down at random, and put something odd, or nothing at all, where the way ends."""
    while True:
        place = luck.choice(list(value) if isinstance(value, dict) else range(len(value)))
        inner = value[place]
        if not isinstance(inner, dict | list) or not inner or luck.random() < 0.2:
            break
        value = inner
    if luck.random() < 0.2:
        del value[place]
    else:
        value[place] = luck.choice(ODD)


def check(post: Post | None) -> None:
    """What comes out is a Post such as everything behind relies on."""
    if post is None:
        return
    assert type(post.id) is type(post.author) is type(post.cursor) is str
    assert type(post.time) is int
    post.cursor.encode()  # it goes to Redis
    for name, spelling in post.hashtags.items():
        assert name
        assert name == key(spelling)
    assert all(host == host.lower() and 0 < len(host) <= 100 for host in post.domains)
    if post.shown:
        check_shown(post.shown)
    POSTS.new.clear()
    POSTS.add(post, tuple(post.hashtags), 1, 1)


def check_shown(shown: Shown) -> None:
    assert shown.url == web_address(shown.url) != ""
    assert len(shown.text) <= LONGEST_TEXT
    assert max(len(shown.name), len(shown.handle)) <= LONGEST_NAME


def check_deletion(line: bytes, network: str) -> bool:
    """Whether it is one; what is of another form raises what sources skip."""
    try:
        found = DELETIONS[network](line)
    except (ValueError, RecursionError):
        return False
    assert found is None or (found.source, bool(found.id)) == (network, True)
    return found is not None


@pytest.mark.parametrize("network", FOLDERS)
def test_no_mutant_breaks_a_parser_or_its_neighbour(recordings: Path, network: str) -> None:
    """Each is a Post, none, or skipped; the good line after it means what it always meant."""
    pool = lines(recordings, *FOLDERS[network])
    full = [json.dumps(message).encode() for message in FULL[network]]
    pool += full * (len(pool) // 10 // len(full) + 1)
    replay, parser = Replay(settings(["science"]), Clock()), Parser()
    truth = {line: replay.read_line(line, parser) for line in pool}
    assert sum(post is not None for post in truth.values()) > len(pool) / 2
    assert not replay.bad
    outcomes, deletions = {"post": 0, "none": 0}, 0
    for n, mutant in enumerate(mutants(pool, MUTANTS, seed=1)):
        post = replay.read_line(mutant, parser)
        outcomes["post" if post else "none"] += 1
        check(post)
        deletions += not post and check_deletion(mutant, network)
        if n % 4 == 0:
            neighbour = pool[n % len(pool)]
            assert replay.read_line(neighbour, parser) == truth[neighbour]
    assert replay.bad > MUTANTS / 4, "most mutants are broken"
    assert outcomes["post"] > MUTANTS / 20, "some still are posts"
    assert deletions > MUTANTS / 1000 or network == "x"


def test_no_mutant_of_a_problem_breaks_the_live_x(recordings: Path) -> None:
    """What X says of itself, mutated: remarked, skipped, or a loss with a reason; no crash."""
    rows = (recordings / "x_stream_errors" / "errors.jsonl").read_bytes().splitlines()
    pool = [json.dumps(json.loads(row)["payload"]).encode() for row in rows]
    pool += lines(recordings, "x_v2_client_fixtures")[:10]
    x, lost = X(settings(["science"]), Clock()), 0
    for mutant in mutants(pool, MUTANTS // 5, seed=2):
        try:
            check(x.read(mutant))
        except SourceLost as error:
            assert str(error).isprintable()
            lost += 1
    assert lost > 100
    assert x.bad > 100


def test_no_mutant_of_what_bluesky_shows_shows_more() -> None:
    """An answer to getPosts: what is shown of it is there, fit to be shown, and has no label."""
    pool = [json.dumps({"posts": [view, VIEWS[0]]}).encode() for view in VIEWS[1:]]
    truth = [[uri[-1] for uri in read_answer(line)] for line in pool]
    assert truth == [["0"], ["0"], ["0"], ["4", "0"]]
    asked, shown, refused = {view["uri"] for view in VIEWS}, 0, 0
    for mutant in mutants(pool, MUTANTS, seed=3):
        try:
            found = read_answer(mutant)
        except NoAnswer:
            refused += 1
            continue
        posts = json.loads(mutant)["posts"] if found else []
        told = {view["uri"]: view for view in posts if is_unlabelled(view)}
        for uri in found.keys() & asked:
            assert told[uri]["author"]["did"] == "did:plc:a"
            check_shown(found[uri])
            shown += 1
    assert refused > MUTANTS / 4, "most mutants of bytes are no answer"
    assert MUTANTS / 4 < shown < MUTANTS


def is_unlabelled(view: Any) -> bool:
    try:
        own = view["record"].get("labels") or {}
        labels = [view.get("labels"), view["author"].get("labels"), own and own["values"]]
        return isinstance(view["uri"], str) and not any(labels)
    except (AttributeError, KeyError, TypeError):
        return False
