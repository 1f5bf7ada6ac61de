"""What X's messages mean: posts, rules and waits. The traps are those of the recordings' README."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from network import truth, wire

from app.hashtags import key
from app.messages import Post
from app.sources.x.stream import RULE_LENGTH, rules
from app.sources.x.waits import XWaits
from app.sources.x.wire import described, parse

FOLDERS = ["x_v2_twarc_csv", "x_v2_academic_hk", "x_v2_academic_mocks", "x_v2_client_fixtures"]


@pytest.fixture(scope="module")
def messages(recordings: Path) -> list[dict[str, Any]]:
    """All recorded messages of X."""
    return wire(recordings, *FOLDERS)


def post(message: dict[str, Any]) -> Post:
    found = parse(json.dumps(message))
    assert found
    return found


def tags(message: dict[str, Any]) -> list[str]:
    """The hashtags as X spells them in the entities."""
    return [tag["tag"] for tag in message["data"].get("entities", {}).get("hashtags", [])]


def first(messages: list[dict[str, Any]], trap: Any) -> dict[str, Any]:
    """The first message with this trap in it; without one the test would prove nothing."""
    return next(message for message in messages if trap(message))


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_hashtag_of_a_recording_has_its_true_count(recordings: Path, folder: str) -> None:
    """Not the commonest only: all of them, and nothing else."""
    counted = Counter(tag for message in wire(recordings, folder) for tag in post(message).hashtags)
    assert counted == truth(recordings, folder)


def test_trap_ten_spellings_of_one_hashtag(messages: list[dict[str, Any]]) -> None:
    """They are one hashtag, whatever their capitals."""
    spelt = {tag for m in messages for tag in tags(m) if key(tag) == "standwithhongkong"}
    assert len(spelt) == 10
    named = [m for m in messages if spelt & set(tags(m))]
    assert all("standwithhongkong" in post(m).hashtags for m in named)


def test_trap_one_hashtag_twice_in_one_post(messages: list[dict[str, Any]]) -> None:
    """It counts once, also where the two are spelt differently; the first spelling is kept."""
    twice = first(messages, lambda m: len(set(tags(m))) > len(set(map(key, tags(m)))))
    found = post(twice).hashtags
    assert len(found) < len(tags(twice))
    for name, spelling in found.items():
        assert spelling == next(tag for tag in tags(twice) if key(tag) == name)


def test_trap_full_width_mark(messages: list[dict[str, Any]]) -> None:
    """A hashtag written with ＃ is in the entities like any other; full-width letters are plain."""
    marked = first(messages, lambda m: "＃黃色經濟圈" in m["data"]["text"])
    assert "黃色經濟圈" in post(marked).hashtags
    wide = {"data": {"id": "1", "entities": {"hashtags": [{"tag": "ｓｃｉｅｎｃｅ"}]}}}
    assert list(post(wide).hashtags) == ["science"]


@pytest.mark.parametrize("letter", ["글", "の", "ア", "ا", "ก", "क"])
def test_trap_hashtags_of_other_scripts(messages: list[dict[str, Any]], letter: str) -> None:
    """Hangul, Japanese, Arabic, Thai and Devanagari stay whole, marks and vowels included."""
    begin = ord(letter) & ~0x7F if letter != "글" else 0xAC00
    end = begin + 0x80 if letter != "글" else 0xD7A4
    named = {tag for m in messages for tag in tags(m) if any(begin <= ord(c) < end for c in tag)}
    assert named
    for tag in named:
        found = first(messages, lambda m, tag=tag: tag in tags(m))
        assert key(tag) in post(found).hashtags
        assert len(key(tag)) >= len(tag) / 2


@pytest.mark.parametrize("id", [1377649934414049282, "1377649934414049282"])
@pytest.mark.parametrize("tag", [{"tag": ""}, {"tag": "hashtag-pulse"}, {}])
def test_trap_rule_ids_as_numbers_and_as_strings(id: object, tag: dict[str, str]) -> None:
    """Nothing hangs on which rules matched, however X writes them, with a tag or without."""
    data = {"id": "1", "entities": {"hashtags": [{"tag": "Science"}]}}
    assert post({"data": data, "matching_rules": [{"id": id, **tag}]}) == post({"data": data})


def test_trap_retweet_cut_with_an_ellipsis(messages: list[dict[str, Any]]) -> None:
    """What is left of a hashtag before the ellipsis is none: only the entities say."""

    def cut(message: dict[str, Any]) -> bool:
        text = message["data"]["text"]
        last = text.rpartition("#")[2]
        return text.startswith("RT ") and "#" in text and last.endswith("…") and " " not in last

    retweet = first(messages, cut)
    stump = key(retweet["data"]["text"].rpartition("#")[2].rstrip("…"))
    assert stump not in post(retweet).hashtags


def test_trap_no_entities_at_all(messages: list[dict[str, Any]]) -> None:
    """Such a post is one, without hashtags; so is one whose entities are null."""
    assert post(first(messages, lambda m: "entities" not in m["data"])).hashtags == {}
    empty = {"id": "1", "entities": None, "note_tweet": None}
    assert post({"data": empty}) == Post("x", "1", "", "")


def test_a_long_post_has_the_hashtags_of_its_note() -> None:
    """Beyond 280 characters hashtags stand in note_tweet only; those in both count once."""
    short, long = [{"tag": "Science"}], [{"tag": "science"}, {"tag": "Football"}]
    note = {"text": "", "entities": {"hashtags": long}}
    message = {"data": {"id": "1", "entities": {"hashtags": short}, "note_tweet": note}}
    assert post(message).hashtags == {"science": "Science", "football": "Football"}


def test_a_quoted_match_does_not_count() -> None:
    """X delivers a post that only quotes the hashtag: it is not in its own entities."""
    quote = {"id": "1", "text": "look https://t.co/x", "entities": {"urls": [{"start": 5}]}}
    includes = {"tweets": [{"id": "2", "entities": {"hashtags": [{"tag": "science"}]}}]}
    assert post({"data": quote, "includes": includes}).hashtags == {}


def test_an_edited_post_is_the_same_post() -> None:
    """X sends it again under a new id, with the ids that it had before."""
    edit = {"id": "3", "edit_history_tweet_ids": ["1", "2", "3"]}
    assert (
        post({"data": edit}).id == post({"data": {"id": "1", "edit_history_tweet_ids": ["1"]}}).id
    )


@pytest.mark.parametrize(
    "data",
    [
        5, [], {}, {"id": None}, {"id": True}, {"id": 1.5}, {"id": [1]}, {"edit_history_tweet_ids": ["1"]},
        {"id": "1", "edit_history_tweet_ids": [None]}, {"id": "1", "edit_history_tweet_ids": "1"},
        {"id": "1", "entities": 5}, {"id": "1", "entities": {"hashtags": {}}}, {"id": "1", "note_tweet": []},
        {"id": "1", "entities": {"hashtags": [None]}}, {"id": "1", "entities": {"hashtags": [{}]}},
        {"id": "1", "entities": {"hashtags": [{"tag": 5}]}}, {"id": "1", "entities": {"hashtags": [{"tag": None}]}},
    ],
)  # fmt: skip
def test_a_wrong_type_makes_no_wrong_post(data: Any) -> None:
    """It is an error that its readers know, and says where in the message it is."""
    with pytest.raises(ValueError, match=r"\$\.data"):
        parse(json.dumps({"data": data}))


@pytest.mark.parametrize("created", [5, None, [], {"a": [5]}, "yesterday", "0000-01-01T00:00:00Z"])
def test_a_time_that_is_none_is_no_reason_to_drop_a_post(created: Any) -> None:
    """The post is there; when it was written is not known."""
    assert post({"data": {"id": "1", "created_at": created}}).time == 0


def test_the_last_of_two_members_with_one_name_counts() -> None:
    """As nearly every reader of JSON has it."""
    found = parse(b'{"data": {"id": "1"}, "data": {"id": "2", "id": 3, "entities": null}}')
    assert found and found.id == "3"


def test_a_message_without_a_post_is_none() -> None:
    """Errors and control messages are not posts; their meaning is decided elsewhere."""
    assert parse(b'{"errors": [{"title": "x"}]}') is None


TAGS = st.lists(st.text("abcあ", min_size=1, max_size=100), min_size=1, max_size=60, unique=True)


@given(TAGS)
def test_rules_have_every_hashtag_once_and_are_few(tagged: list[str]) -> None:
    """Each rule keeps to X's length; no neighbours would fit into one; order is no matter."""
    packed = rules(tuple(tagged))
    assert sorted(" OR ".join(packed).split(" OR ")) == sorted(f"#{tag}" for tag in tagged)
    assert all(len(rule) <= RULE_LENGTH for rule in packed)
    for one, two in pairwise(packed):
        assert len(f"{one} OR {two.split(' OR ')[0]}") > RULE_LENGTH
    assert rules(tuple(reversed(tagged))) == packed


def test_a_rule_may_be_as_long_as_x_allows() -> None:
    """And not a character longer."""
    assert [len(rule) for rule in rules(("a" * 509, "b" * 509))] == [RULE_LENGTH]
    assert len(rules(("a" * 509, "b" * 510))) == 2


def test_waits_grow_as_x_documents_them() -> None:
    """Cuts: at once, then 250 ms more each time; errors: doubled from 5 s; limits: from 60 s."""
    waits = XWaits()
    assert [waits.cut() for _ in range(4)] == [0, 0.25, 0.5, 0.75]
    assert [waits.error() for _ in range(8)] == [5, 10, 20, 40, 80, 160, 320, 320]
    assert [waits.limited(0, None) for _ in range(6)] == [60, 120, 240, 480, 900, 900]
    assert [waits.cut() for _ in range(100)][-1] == 16
    assert [waits.error() for _ in range(5000)][-1] == 320


def test_a_named_reset_is_waited_for_unless_it_makes_no_sense() -> None:
    """A second is added, as X's clock has whole ones; one past or in days is not believed."""
    waits = XWaits()
    assert waits.limited(1000, 1300.0) == 301
    assert XWaits().limited(1000, 900.0) == 60
    assert XWaits().limited(1000, float("inf")) == 60


def test_only_a_connection_that_stood_is_a_fresh_start() -> None:
    """X accepts, too, what it cuts in the next moment: that must not count as success."""
    waits = XWaits()
    waits.connect(100)
    assert (waits.cut(), waits.cut(), waits.error(), waits.limited(0, None)) == (0, 0.25, 5, 60)
    waits.worked(119)
    assert (waits.cut(), waits.error(), waits.limited(0, None)) == (0.5, 10, 120)
    waits.worked(120)
    assert (waits.cut(), waits.error(), waits.limited(0, None)) == (0, 5, 60)


@given(st.lists(st.floats(0, 100), min_size=60, max_size=120))
def test_never_more_than_fifty_connects_in_fifteen_minutes(steps: list[float]) -> None:
    """However often it is tried, and also by one who waits exactly as long as told."""
    waits, now, connects = XWaits(), 1_800_000_000.0, []
    for step in steps:
        now += step
        while wait := waits.connect(now):
            now += wait
        connects.append(now)
    assert all(b - a >= 900 for a, b in zip(connects, connects[50:], strict=False))


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"title": "A", "detail": "b\nc"}, "A: b c"),
        ({"errors": [{"title": "A"}, {"message": "B"}]}, "A; B"),
        ({"error": {"message": "B", "sent": "2017"}}, "B"),
        ({"errors": "B"}, "B"),
        ({"title": 5, "errors": 7, "detail": "\ud800\x1b[2J"}, ""),
        ({"title": "\ud800\x1b[2J"}, "[2J"),
        (None, ""),
    ],
)
def test_a_problem_is_described_in_one_line(message: Any, text: str) -> None:
    """In all of X's forms, and never with what a terminal or UTF-8 cannot take."""
    assert described(message) == text
