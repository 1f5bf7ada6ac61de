"""What a Jetstream says, without a network: its posts, and what is known of them."""

import json
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jetstream import BAD, BEGIN, SECOND, create

from app.messages import Post
from app.settings import SettingsError, read
from app.sources.bluesky import (
    KEEP,
    MOST,
    REREAD,
    UNREAD_AT_MOST,
    Bluesky,
    Counted,
    may_have_hashtags,
)
from app.sources.bluesky_wire import parse


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_message_is_never_an_error(bad: bytes) -> None:
    """Nor a post: it is skipped and counted, also as the first of a connection."""
    source = Bluesky(read({}))
    source.unread = UNREAD_AT_MOST
    assert source.read(bad, Counted("")) is None
    assert (source.bad, source.state) == (1, "connecting")


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
    assert post and post.at == 5000


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
            post = Bluesky(read({})).read(line, Counted(""))
            assert may_have_hashtags(line) or not (post and post.hashtags)
    escaped = b'{"record":{"\\u0074ags":["science"]}}'
    assert may_have_hashtags(escaped)


@pytest.mark.parametrize("time_us", [0, 1, BEGIN // 2, BEGIN * 9])
def test_an_absurd_time_moves_no_cursor(time_us: int) -> None:
    """The post counts; a cursor far in the future would lose all that comes until then."""
    source, counted = Bluesky(read({})), Counted("")
    for time, rkey in ((time_us, "a"), (BEGIN, "b"), (time_us, "c"), (BEGIN + SECOND, "d")):
        message = create("science", rkey=rkey) | {"time_us": time}
        post = source.read(json.dumps(message).encode(), counted)
        assert post and post.hashtags
    assert (counted.resume, counted.last) == (BEGIN, BEGIN + SECOND)


def test_a_cursor_stays_small() -> None:
    """However many posts count: then less is read again, and none of it is counted twice."""
    counted, tracked = Counted(""), frozenset({"science"})
    for n in range(5 * MOST):
        counted.move(BEGIN + n)
        assert counted.is_new(Post("bluesky", f"a/{n}", 0, "", {"science": ""}), tracked)
    assert len(counted.cursor()) == 2 * 17 + 8 * MOST
    again = Counted(counted.cursor())
    assert BEGIN + 4 * MOST <= again.resume < again.last == BEGIN + 5 * MOST - 1
    for n in range(again.resume - BEGIN, 5 * MOST):
        assert not again.is_new(Post("bluesky", f"a/{n}", 0, "", {"science": ""}), tracked)


@given(st.text(alphabet="0123456789:abc-_é", max_size=80))
def test_any_text_is_a_cursor_or_none(text: str) -> None:
    """What is no cursor of ours starts at now, as an empty one does."""
    counted = Counted(text)
    assert counted.cursor() == text or not counted.resume


@hypothesis.settings(deadline=None)
@given(
    gaps=st.lists(st.integers(1, 20 * SECOND), min_size=30, max_size=120),
    cuts=st.lists(
        st.tuples(st.integers(1, 40), st.integers(-REREAD // 2, REREAD // 2)), max_size=12
    ),
)
def test_every_post_once_whatever_the_cuts_and_clocks(
    gaps: list[int], cuts: list[tuple[int, int]]
) -> None:
    """Hosts that differ by up to a minute, cuts anywhere, a new process after each of them."""
    times, now = [], BEGIN + KEEP
    for gap in gaps:
        times.append(now := now + gap)
    got: list[int] = []
    cursor = f"{BEGIN}:{BEGIN}:"
    for posts, late in [*cuts, (len(times), 0)]:
        counted = Counted(cursor)
        due = [n for n, time in enumerate(times) if time + late >= counted.resume]
        for n in due[:posts]:
            counted.move(times[n] + late)
            if counted.is_new(
                Post("bluesky", f"a/{n}", 0, "", {"science": ""}), frozenset({"science"})
            ):
                got.append(n)
        cursor = counted.cursor()
    assert len(set(got)) == len(got), "counted twice"
    assert sorted(got) == list(range(len(times))), "lost"


def test_wrong_addresses_are_refused() -> None:
    """The sentence names the setting; a list is taken apart."""
    assert read({"JETSTREAM_URL": "ws://a, wss://b/x/"}).jetstream_url == ("ws://a", "wss://b/x")
    for wrong in ("http://a", "ws://a,b", ","):
        with pytest.raises(SettingsError, match=r"^JETSTREAM_URL="):
            read({"JETSTREAM_URL": wrong})
