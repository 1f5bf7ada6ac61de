"""What a Jetstream says, without a network: its posts, and what is known of them."""

import json
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jetstream import BAD, BEGIN, SECOND, create

from app.hashtags import MOST_IN_POST
from app.messages import Checkpoint, Message, Post
from app.settings import SettingsError, read
from app.sources.bluesky import REREAD, UNREAD_AT_MOST, Bluesky, may_have_hashtags

parse = Bluesky.parse


def connected(cursor: str = "", now: int = BEGIN) -> Bluesky:
    """A source that has just connected at this time, in microseconds."""
    source = Bluesky(read({}), lambda: now / SECOND)
    source.begin(cursor)
    return source


def brought(source: Bluesky, *tags: str, at: int, rkey: str = "r") -> Message | None:
    """What a new post with these hashtags, of this time, brings."""
    return source.read(json.dumps(create(*tags, rkey=rkey) | {"time_us": at}).encode())


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_message_is_never_an_error(bad: bytes) -> None:
    """Nor a post: it is skipped and counted, also as the first of a connection."""
    source = connected()
    assert source.read(bad) is None
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


@pytest.mark.parametrize("time_us", [0, 1, -1, BEGIN // 2, BEGIN * 9, 10**30, -(10**300)])
def test_an_absurd_time_moves_no_cursor(time_us: int) -> None:
    """The post counts; a cursor far in the future would lose all that comes until then."""
    source = connected()
    for time, rkey in ((time_us, "a"), (BEGIN, "b"), (time_us, "c"), (BEGIN + SECOND, "d")):
        post = brought(source, "science", at=time, rkey=rkey)
        assert isinstance(post, Post) and post.hashtags
        assert post.time == (time // 1000 if rkey in "bd" else 0), "none, rather than that one"
    assert (source.state, source.resume) == ("live", BEGIN)


def test_a_cursor_is_the_time_to_go_back_to() -> None:
    """A minute before the newest message, but not before the first one ever."""
    source = connected(now=BEGIN + 2 * REREAD)
    for after, cursor in ((0, 0), (REREAD, 0), (REREAD + 5, 5), (5, 5), (2 * REREAD, REREAD)):
        post = brought(source, "science", at=BEGIN + after)
        assert post and post.cursor == str(BEGIN + cursor)  # type: ignore[union-attr]
    again = connected(str(BEGIN + REREAD), now=BEGIN + 2 * REREAD)
    assert again.resume == BEGIN + REREAD


@given(st.text(alphabet="0123456789:-_é²٣", max_size=80) | st.integers(0, 2 * BEGIN).map(str))
def test_any_text_is_a_cursor_or_none(text: str) -> None:
    """What is no cursor of ours starts at now, as an empty one does."""
    source = connected(text)
    assert str(source.resume) == text or not source.resume
    assert source.catching_up == (source.resume > 0)


def test_posts_without_a_hashtag_move_the_cursor_now_and_then() -> None:
    """The first, and each after a hundred that passed unread."""
    source = connected()
    got = [brought(source, at=BEGIN + n) for n in range(1 + 3 * (UNREAD_AT_MOST + 1))]
    assert [one for one in got if one] == [Checkpoint("bluesky", str(BEGIN))] * 4
    assert got.index(None) == 1


def test_it_catches_up_until_the_moment_of_the_connect() -> None:
    """Less ten seconds; once that is reached, a message out of order is the present's, too."""
    now = BEGIN + 3600 * SECOND
    source = connected(str(BEGIN), now)
    for at, catches_up in ((0, True), (3589, True), (3590, False), (3580, False)):
        assert brought(source, "science", at=BEGIN + at * SECOND)
        assert source.catching_up == catches_up
    fresh = connected("", now)
    assert brought(fresh, "science", at=BEGIN)
    assert not fresh.catching_up, "it was never away"


@pytest.mark.parametrize(("later", "missing"), [(0, ""), (60, ""), (61, "0:01:01")])
def test_the_first_message_tells_what_is_missing(later: int, missing: str) -> None:
    """And since when nothing is: since the cursor, or since that message."""
    source = connected(str(BEGIN), BEGIN + 3600 * SECOND)
    brought(source, "science", at=5)
    brought(source, "science", at=BEGIN + later * SECOND)
    brought(source, "science", at=BEGIN + 1000 * SECOND)
    assert source.reason == (f"the posts of {missing} are missing" if missing else "")
    assert source.unbroken_since == BEGIN / SECOND + (later if missing else 0)


@hypothesis.settings(deadline=None)
@given(
    gaps=st.lists(st.integers(1, 20 * SECOND), min_size=30, max_size=120),
    cuts=st.lists(
        st.tuples(st.integers(1, 40), st.integers(-REREAD // 2, REREAD // 2)), max_size=12
    ),
)
def test_every_post_is_read_whatever_the_cuts_and_clocks(
    gaps: list[int], cuts: list[tuple[int, int]]
) -> None:
    """Hosts that differ by up to a minute, cuts anywhere, a new process after each of them;
    what comes again comes under a time at most two minutes later, when its id is known."""
    times, now = [], BEGIN + 2 * REREAD
    for gap in gaps:
        times.append(now := now + gap)
    got: dict[str, int] = {}
    cursor = str(BEGIN)
    for posts, late in [*cuts, (len(times), 0)]:
        source = connected(cursor, now + REREAD)
        due = [n for n, time in enumerate(times) if time + late >= source.resume]
        for n in due[:posts]:
            post = brought(source, "science", at=times[n] + late, rkey=f"{n}")
            assert isinstance(post, Post)
            newest = int(post.cursor) + REREAD
            assert newest - got.setdefault(post.id, newest) <= 2 * REREAD
            cursor = post.cursor
    assert list(got) and len(got) == len(times), "lost"


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
