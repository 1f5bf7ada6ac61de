"""Which strings are hashtags, and when two are the same one."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.hashtags import (
    LONGEST,
    MOST_IN_POST,
    NotAHashtag,
    extract,
    key,
    named,
    spelling,
    typed,
    typed_list,
)


@pytest.mark.parametrize(
    "spelling", ["science", "#Science", "SCIENCE", "＃ｓｃｉｅｎｃｅ", "#ScIeNcE"]
)
def test_spellings_of_one_hashtag_are_one(spelling: str) -> None:
    """Case, width and the mark make no difference."""
    assert key(spelling) == "science"


@pytest.mark.parametrize(
    ("one", "other"),
    [("Straße", "STRASSE"), ("ﾊﾟﾝ", "パン"), ("café", "cafe\u0301"), ("ΣΊΣΥΦΟΣ", "σίσυφος")],
)
def test_folding_is_unicodes_own(one: str, other: str) -> None:
    """Sharp s, half-width kana, composed accents and the final sigma fold as Unicode says."""
    assert key(one) == key(other)


@given(st.text())
def test_key_of_a_key_is_itself(text: str) -> None:
    """Folding twice changes nothing, so a key may be folded again anywhere."""
    assert key(key(text)) == key(text)


@given(st.lists(st.text(max_size=5) | st.text("aAＡ#", max_size=2), max_size=MOST_IN_POST))
def test_a_posts_hashtags_are_each_there_once(spellings: list[str]) -> None:
    """Every spelling with a key is found by it, and the first spelling is the one kept, without
    its mark; one with a control character is none."""
    texts = [s for s in spellings if not any(char < " " for char in s)]
    tags = named(spellings)
    assert set(tags) == {key(spelling) for spelling in texts} - {""}
    for name, first in tags.items():
        assert first == next(s for s in texts if key(s) == name).lstrip("#＃")


def test_of_a_posts_hashtags_the_first_thirty_count() -> None:
    """Thirty that are spelt differently; no more are even asked for."""
    many = iter(["science", "science", *(f"tag{n}" for n in range(10_000))])
    assert list(named(many)) == ["science", *(f"tag{n}" for n in range(MOST_IN_POST - 1))]
    assert next(many) == f"tag{MOST_IN_POST - 1}"


@pytest.mark.parametrize(
    "spelling",
    [None, 5, b"a", ["a"], "", "#", "a\nb", "\0", "a" * (LONGEST + 1), "\u0316\u0301" * 500_000],
)
def test_what_cannot_be_a_hashtag_is_none(spelling: object) -> None:
    """No text, an empty one, or one that is too long to be folded; those beside it count."""
    assert named([spelling, "a" * LONGEST]) == {"a" * LONGEST: "a" * LONGEST}


def test_half_an_emoji_is_in_no_hashtag() -> None:
    """UTF-8 cannot write it, so it could be neither stored nor shown."""
    assert named(["a\ud83d", "\udc00", "b"]) == {"b": "b"}


@pytest.mark.parametrize(
    "text",
    [
        "블랙핑크",
        "サッカー",
        "サッカー・フットボール",
        "العربية",
        "ประเทศไทย",
        "हिन्दी",
        "_x",
        "a1",
        "１a",
    ],
)
def test_hashtags_of_any_script_can_be_typed(text: str) -> None:
    """Letters, marks and digits of every script, and twitter-text's special characters."""
    assert typed(text) == typed(f"#{text}") == typed(f"＃{text}") == key(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "#",
        "##a",
        "two words",
        "a-b",
        "a.b",
        "123",
        "１２",
        "_",
        "a\n",
        "😀",
        "<img>",
        "a\u037a",
        "a" * 101,
    ],
)
def test_what_is_no_hashtag_is_refused_in_one_sentence(text: str) -> None:
    """The sentence quotes what was typed, and is a sentence."""
    if text == "a\n":
        assert typed(text) == "a"  # a line end around it is no part of it
        return
    with pytest.raises(NotAHashtag) as refused:
        typed(text)
    assert str(refused.value).endswith(".")
    assert "\n" not in str(refused.value)


def test_the_longest_hashtag_is_still_one() -> None:
    """The limit itself is allowed."""
    assert typed("a" * LONGEST) == "a" * LONGEST


def test_a_list_keeps_its_order_and_drops_repeats() -> None:
    """Commas, spaces around them, and marks are the writer's own affair."""
    assert typed_list(" #b, A,,＃b ,a") == ("b", "a")


def test_conformance_with_twitter_text(recordings: Path) -> None:
    """All 83 cases of twitter-text's conformance suite come out as it says."""
    lines = (recordings / "conformance_twitter_text/hashtag_cases.jsonl").read_text().splitlines()
    assert len(lines) == 83
    for case in map(json.loads, lines):
        found, expected = extract(case["text"]), case["expected"]
        if isinstance(expected, bool):  # "is the whole text one hashtag?"
            assert (found == [case["text"][1:]]) == expected, case
        else:
            names = [tag["hashtag"] if isinstance(tag, dict) else tag for tag in expected]
            assert found == names, case


def test_a_typed_hashtag_remembers_its_spelling() -> None:
    """Without its mark, for networks that do not fold as we do; a plain key is its own."""
    tags = typed_list(" #Fußball, fussball,＃Ｓｃｉｅｎｃｅ")
    assert tags == ("fussball", "science")
    assert [spelling(tag) for tag in tags] == ["Fußball", "Ｓｃｉｅｎｃｅ"]
    assert spelling("fussball") == "fussball"


def test_a_name_that_folds_into_much_more_than_is_written_is_none() -> None:
    """U+FDFA alone folds into 18 letters; most scripts into about as many as are written."""
    assert named(["\ufdfa" * 17, "ß" * 100, "\ufdfa" * 16]) == {
        "ss" * 100: "ß" * 100,
        key("\ufdfa" * 16): "\ufdfa" * 16,
    }
