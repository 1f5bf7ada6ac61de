"""What a Jetstream says, without a network: its posts, and what is known of them."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jetstream import BAD, BEGIN, brought, connected, create, tid

from app.hashtags import MOST_IN_POST
from app.messages import Post
from app.settings import SettingsError, read
from app.sources.bluesky import Bluesky
from app.sources.bluesky.wire import committed_at, may_have_hashtags, read_event

parse = Bluesky.parse


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_message_is_never_an_error(bad: bytes) -> None:
    """Nor a post: it is skipped and counted, also as the first of a connection."""
    source = connected()
    assert source.read(bad) is None
    assert (source.bad, source.state) == (1, "connecting")


NUMBERS = st.one_of(
    st.integers(), st.integers(-(2**70), 2**70), st.floats(), st.booleans(), st.none(),
    st.sampled_from([10**15, 10**17, 10**30, -(10**300), 10**5000, 2**63, 1e308, "", "soon", [], {}]),
)  # fmt: skip


@given(st.lists(st.tuples(NUMBERS, NUMBERS | st.text(max_size=14)), max_size=30))
def test_no_number_ends_the_process(times: list[tuple[Any, Any]]) -> None:
    """Absurd times, NaN and infinities, numbers of thousands of digits, other types: the message
    counts or is skipped, and the post after it counts. An OverflowError would end all of it, and
    come again after the restart."""
    source = connected()
    for time_us, rev in times:
        message = create("science") | {"time_us": time_us}
        message["commit"]["rev"] = rev
        with digits_without_limit():
            raw = json.dumps(message).encode()
        found = source.read(raw)
        assert found is None or isinstance(found, Post)
        assert str(source.place.cursor).isdigit()
    assert brought(source, "science", at=BEGIN)


@contextmanager
def digits_without_limit() -> Iterator[None]:
    """Else Python writes no such number."""
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        yield
    finally:
        sys.set_int_max_str_digits(before)


def test_whatever_a_parser_raises_is_a_bad_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what nobody has thought of: the message comes again with every connection."""
    source, fired = connected(), []

    def raising(event: Any) -> Any:
        fired.append(event)
        raise OverflowError("int too large to convert to float")

    monkeypatch.setattr("app.sources.bluesky.source.post_of", raising)
    assert brought(source, "science", at=BEGIN) is None
    assert (len(fired), source.bad) == (1, 1)


def test_trap_a_tag_facet_without_a_tag() -> None:
    """Real posts have it, with the hashtag elsewhere or nowhere: the other facets count."""
    message = create("science") | {"time_us": 1}
    message["commit"]["record"]["facets"] += [
        {"features": [{"$type": "app.bsky.richtext.facet#tag", "text": "#one #two"}]},
        {"features": [{"$type": "app.bsky.richtext.tag#tag"}]},
    ]
    assert hashtags(message) == ["science"]


def test_trap_a_delete_event_has_no_record() -> None:
    """Neither a delete nor an update is a new post, with or without a record."""
    message = create("science") | {"time_us": 1}
    for operation in ("delete", "update"):
        message["commit"]["operation"] = operation
        assert parse(json.dumps(message)) is None
    del message["commit"]["record"]
    assert parse(json.dumps(message)) is None
    assert parse(b'{"did": "a", "time_us": 1, "kind": "identity", "identity": {}}') is None


def test_trap_a_facet_as_long_as_a_sentence() -> None:
    """Its byte range covers a sentence; its tags are believed, not the text under it."""
    message = create(text="Tsunami warning after the quake")
    features = [{"$type": "app.bsky.richtext.facet#tag", "tag": t} for t in ("Tsunami", "Quake")]
    index = {"byteStart": 0, "byteEnd": 31}
    message["commit"]["record"]["facets"] = [{"index": index, "features": features}]
    assert hashtags(message | {"time_us": 1}) == ["tsunami", "quake"]


@pytest.mark.parametrize("created", ["0000-01-01T00:00:00.000Z", None, "yesterday", 5])
def test_trap_a_post_of_the_year_0000(created: Any) -> None:
    """Clients write what they like; the time is the server's."""
    post = parse(json.dumps(create("science", createdAt=created) | {"time_us": 5_000_000}))
    assert post and post.time == 5000


def test_trap_ten_spellings_and_repetitions_are_one_hashtag() -> None:
    """Full-width too, in facets and in the record's tags: it counts once in a post."""
    spellings = ("Science", "SCIENCE", "ｓｃｉｅｎｃｅ", "science", "#science")
    message = create(*spellings, tags=["sCience", 5, None, "サッカー"])
    assert hashtags(message | {"time_us": 1}) == ["science", "サッカー"]


def hashtags(message: dict[str, Any]) -> list[str]:
    post = parse(json.dumps(message))
    assert post
    return list(post.hashtags)


def test_only_what_can_have_no_hashtag_passes_unread(recordings: Path) -> None:
    """Also letters that JSON escapes are seen through."""
    for folder in ("bsky_posts_wrapped", "bsky_jetstream_misc"):
        for line in (recordings / folder / "wire_reduced.jsonl").read_bytes().splitlines():
            post = parse(line)
            assert may_have_hashtags(line) or not (post and post.hashtags)
    escaped = b'{"record":{"\\u0074ags":["science"]}}'
    assert may_have_hashtags(escaped)


@given(st.integers(0, 2**53 - 1))
def test_a_revision_is_a_time(microseconds: int) -> None:
    """https://atproto.com/specs/tid: its last ten bits say nothing of it."""
    assert made_by(tid(microseconds)) == microseconds
    assert made_by(tid(microseconds)[:-1] + "z") == microseconds


def made_by(rev: Any) -> int:
    message = create("science") | {"time_us": 1}
    message["commit"]["rev"] = rev
    return committed_at(read_event(json.dumps(message)))


def test_the_revision_of_the_specification() -> None:
    """Its example, its zero, and what is none: too short, of other letters, with the top bit."""
    assert made_by("3jzfcijpj2z2a") == 1_688_137_381_887_007
    assert made_by("2222222222222") == 0
    for rev in ("", "3jzfcijpj2z2", "3jzfcijpj2z2aa", "3JZFCIJPJ2Z2A", "0jzfcijpj2z2a", "zzzzzzzzzzzzz",
                "k222222222222", "3jzfcijpj2z2\n", None, 5, ["3jzfcijpj2z2a"], "٣" * 13):  # fmt: skip
        assert made_by(rev) == 0


def test_of_ten_thousand_hashtags_the_first_count() -> None:
    """In facets or in the record's tags; what is no text or too long is none of them."""
    many = [5, None, "x" * 101, *(f"tag{n}" for n in range(10_000))]
    for message in (create(*many), create(tags=many)):  # type: ignore[arg-type]
        found = hashtags(message | {"time_us": 1})
        assert found == [f"tag{n}" for n in range(MOST_IN_POST)]


def test_wrong_addresses_are_refused() -> None:
    """The sentence names the setting; a list is taken apart."""
    assert read({"JETSTREAM_URL": "ws://a, wss://b/x/"}).jetstream_url == ("ws://a", "wss://b/x")
    for wrong in ("http://a", "ws://a,b", ","):
        with pytest.raises(SettingsError, match=r"^JETSTREAM_URL="):
            read({"JETSTREAM_URL": wrong})
