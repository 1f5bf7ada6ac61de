"""Which strings are hashtags, and when two are the same one."""

import json
import tracemalloc
import unicodedata
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import hashtags as module
from app.hashtags import (
    KEPT_BYTES,
    LONGEST,
    MOST_IN_POST,
    NotAHashtag,
    extract,
    key,
    named,
    readable,
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
    its mark; one with a control character, or with nothing to be seen, is none."""
    texts = [
        s for s in spellings if readable(s) and not any(unicodedata.category(c) == "Cc" for c in s)
    ]
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


@pytest.mark.parametrize("control", [*range(32), *range(0x7F, 0xA0)])
def test_no_control_character_is_in_a_hashtag(control: int) -> None:
    """Of either kind; those beside it count."""
    assert named([f"a{chr(control)}b", f"{chr(control)}", "b"]) == {"b": "b"}


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("##Science", "Science"),
        ("#" * 99 + "a", "a"),
        ("＃＃ ﹟Science", "Science"),
        (" Science\u3000", "Science"),
        ("\u2028Science\u2029", "Science"),
        ("\u202eecneicS", "ecneicS"),
        ("Sci\u2066en\u2069ce\u200f", "Science"),
        ("Sci\u200bence\ufeff\u2060\u00ad", "Science"),
        ("#\ufe0f\u20e3Science", "Science"),
        ("علوم\u200cها", "علوم\u200cها"),
        ("क्\u200dष", "क्\u200dष"),
        ("two words", "two words"),
        ("C++", "C++"),
        ("❤\ufe0f", "❤\ufe0f"),
        ("\u0301" * 100, "\u0301" * 100),
        ("a" * 300, "a" * 100),
    ],
)
def test_what_is_no_part_of_a_hashtag_is_not_shown(written: str, seen: str) -> None:
    """Marks, spaces around it, and what turns the text around it or is not seen at all; the
    joiners that scripts need stay (twitter-text's special characters), and nothing that is shown
    is longer than a hashtag may be."""
    assert readable(written) == seen
    assert key(written) == "" or len(written) > LONGEST or list(named([written])) == [key(written)]


@pytest.mark.parametrize(
    "nothing", ["#", "##", " ", "\u202e", "\u200b\ufeff", "#\ufe0f\u20e3", "＃\u3000"]
)
def test_nothing_to_be_seen_is_no_hashtag(nothing: str) -> None:
    """Nobody could tell what is counted there."""
    assert named([nothing, "a"]) == {"a": "a"}


STORM = "\u0301\u0316\u0327\u05b0"
"""Combining marks of different classes: to put them into their order is quadratic."""
STORMS: list[Callable[[int], str]] = [
    lambda size: "#" * size + "science",
    lambda size: STORM * (size // 4),
    lambda size: "a" + STORM * (size // 4),
    lambda size: "\ufdfa" * size,
    lambda size: "\U0001d400" * size,
]


@pytest.mark.parametrize("size", [8_000, 32_000, 150_000, 900_000, 1_000_000])
@pytest.mark.parametrize("storm", STORMS, ids=["marks", "storm", "a storm", "wide", "astral"])
def test_a_long_name_is_not_even_looked_at(
    monkeypatch: pytest.MonkeyPatch, storm: Callable[[int], str], size: int
) -> None:
    """NFKC of 8 KB of combining marks took 41 ms, of 32 KB 574 ms, of 1 MB it would take minutes
    in one call; a spelling of 900,000 marks before `science` was shown to everybody. Nothing
    longer than a hashtag is ever folded."""
    folded: list[int] = []

    def normalize(form: Any, text: str) -> str:
        folded.append(len(text))
        return unicodedata.normalize(form, text)

    noted = SimpleNamespace(normalize=normalize, category=unicodedata.category)
    monkeypatch.setattr(module, "unicodedata", noted)
    monkeypatch.setattr(module, "FOLDED", module.Folded())
    long = storm(size)
    assert named([long, long[:101], "science"]) == {"science": "science"}
    named([long[:LONGEST]])
    assert key(long) == ""
    with pytest.raises(NotAHashtag):
        module.typed(long)
    assert folded and max(folded) <= 18 * LONGEST, "the widest letter folds into 18"


def test_what_is_remembered_of_posts_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """40 posts of 150 KB kept 79 MiB, as many entries as were allowed. They keep nothing now;
    and a flood of the longest names, each another one, no more than 16 MiB."""
    monkeypatch.setattr(module, "FOLDED", module.Folded())
    tracemalloc.start()
    try:
        for n in range(40):
            named([f"{n}" + "x" * 150_000, f"{n}" + "#" * 150_000, f"{n}" + "\u0301" * 75_000])
        assert tracemalloc.get_traced_memory()[0] < 100_000
        for n in range(60_000):
            assert named([f"{'𝐀' * 93}A{n:06}", f"{'㍍' * 50}A{n:06}"])
            assert module.FOLDED.bytes <= KEPT_BYTES
        assert KEPT_BYTES / 4 < tracemalloc.get_traced_memory()[1] < 1.1 * KEPT_BYTES
    finally:
        tracemalloc.stop()
    assert named(["Science"]) == {"science": "Science"}


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


@pytest.mark.parametrize(
    ("letter", "folds_into"),
    [("ß", "ss"), ("ﷲ", "الله"), ("㍍", "メートル"), ("ﷺ", "صلى الله عليه وسلم")],
)
def test_what_folds_into_more_than_a_hashtag_may_have_is_none(letter: str, folds_into: str) -> None:
    """Where nobody knows how it is written, its key is shown: it had up to 300 letters, though no
    more than 100 are written. A hundred U+FDFA were a hashtag without any letter."""
    most = LONGEST // len(folds_into)
    for times in (most + 1, LONGEST):
        assert key(letter * times) == "" and named([letter * times]) == {}
        with pytest.raises(NotAHashtag):
            typed(letter * times)
    assert named([letter * most]) == {key(letter * most): letter * most}


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
