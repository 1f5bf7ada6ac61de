"""Which strings are hashtags, and when two are the same one.

Posts bring their hashtags from the platform's own entities and are believed.
What a person types (settings, queries) is held to the rules of twitter-text:
https://github.com/twitter/twitter-text (conformance/validate.yml, hashtags).
"""

import re
import sys
import unicodedata
from collections.abc import Iterable
from itertools import islice
from typing import Any

from app.sentences import Sentence

MARKS = "#＃"
LONGEST = 100
"""Code points in a hashtag as it is written, at most; X and Mastodon cut theirs near here. A
longer one is none, and is not looked at: NFKC over a megabyte takes minutes."""
LONGEST_LOOKED_AT = 3 * LONGEST
"""Code points that are folded at most: in folding, a letter and its marks may become one."""
MOST_IN_POST = 30
"""Of a post's hashtags, the first so many count."""
MOST_LISTED = 10 * MOST_IN_POST
"""Of what a post lists, repetitions and all, no more is looked at."""
MOST_TAGS = 20
"""Hashtags that one request may ask for."""
KEPT_BYTES = 16 * 2**20
"""Of what was folded lately: tens of thousands of hashtags as people write them."""
ENTRY_BYTES = 180
"""What a dictionary takes for an entry with a pair in it, beside the texts."""

# twitter-text's "hashtag special characters": the joiners and word marks that
# scripts need inside a hashtag although Unicode does not call them letters.
SPECIAL = frozenset(
    "_\u200c\u200d\ua67e\u05be\u05f3\u05f4\uff5e\u301c\u309b\u309c\u30a0\u30fb\u3003\u0f0b\u0f0c\u00b7"
)


URL = re.compile(r"(?:https?://|[\w-]+\.[a-z]{2,}/)\S*", re.IGNORECASE)


NO_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, and halves of an emoji and their like, which UTF-8 cannot write."""
UNSEEN = re.compile(
    "[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff]"
)
"""What turns the direction of a text around, breaks words, or is not seen at all. In twitter-text
it ends a hashtag; the two joiners that scripts need (U+200C, U+200D) are not among it."""
AROUND = re.compile(r"^[\s#＃﹟\ufe0e\ufe0f\u20e3]+|\s+$")
"""Marks and spaces around a name; after a mark, what makes a keycap of it."""


class NotAHashtag(ValueError):
    """A typed text is no hashtag; the message is one Sentence for its author."""


class Folded(dict[str, tuple[str, str]]):
    """What was folded lately: spelling to its key, and to the spelling without its mark. Both are
    "" where it is no hashtag. Bound: KEPT_BYTES; with more, it begins anew."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __missing__(self, spelling: str) -> tuple[str, str]:
        if len(spelling) > LONGEST:
            return "", ""
        tag = folded(spelling)
        found = tag, tag if tag == spelling else spelling.lstrip(MARKS) if tag else ""
        size = ENTRY_BYTES + sum(map(sys.getsizeof, {spelling, *found}))
        if self.bytes + size > KEPT_BYTES:
            self.clear()
            self.bytes = 0
        self.bytes += size
        self[spelling] = found
        return found


def folded(spelling: str) -> str:
    """The key, worked out."""
    if len(spelling) > LONGEST_LOOKED_AT or NO_TEXT.search(spelling) or not readable(spelling):
        return ""
    once = unicodedata.normalize("NFKC", spelling).casefold()
    tag = unicodedata.normalize("NFKC", once).lstrip(MARKS)
    return tag if len(tag) <= LONGEST else ""


FOLDED = Folded()


def key(spelling: str) -> str:
    """What two spellings of one hashtag have in common: NFKC, case folded, no mark.

    Empty for what is no hashtag: with a control character in it, with nothing to be seen of it,
    or with letters that fold into more than LONGEST (U+FDFA into 18): where nobody knows how it is
    written, the key is shown.

    >>> key("#Science") == key("SCIENCE") == key("＃ｓｃｉｅｎｃｅ")
    True
    """
    return FOLDED[spelling][0] if len(spelling) <= LONGEST else folded(spelling)


def readable(spelling: str) -> str:
    """A hashtag as people are shown it: without its mark, spaces around it, and what is not seen or
    turns the text around; no longer than a hashtag may be. Letters that nobody could type stay:
    networks have hashtags such as C++."""
    if spelling.isalnum() and len(spelling) <= LONGEST:  # as nearly always
        return spelling
    return AROUND.sub("", UNSEEN.sub("", spelling))[:LONGEST]


def named(spellings: Iterable[Any]) -> dict[str, str]:
    """A post's hashtags, key to the spelling that came first, of what its network lists.

    Bounded before anything is done with them: the first MOST_IN_POST, none longer than LONGEST,
    of the first MOST_LISTED; what is no text is none.
    """
    tags: dict[str, str] = {}
    for spelling in islice(spellings, MOST_LISTED):
        if type(spelling) is str:
            tag, written = FOLDED[spelling]
            if tag and tag not in tags:
                tags[tag] = written
                if len(tags) == MOST_IN_POST:
                    break
    return tags


class Typed(str):
    """The key of a hashtag that remembers how a person typed it."""

    spelling: str


def typed(text: str) -> Typed:
    """The key of a hashtag that a person typed, with or without its mark.

    Raises NotAHashtag with a sentence that quotes the text.
    """
    body = text.strip()
    body = body[1:] if body[:1] in MARKS and body else body
    if why := why_none(body, repr(text.strip()[: LONGEST + 1])):
        raise NotAHashtag(why)
    tag = Typed(key(body))
    tag.spelling = body
    return tag


def why_none(body: str, text: str) -> Sentence | None:
    """What keeps a name without its mark from being a hashtag; text: how it is quoted."""
    quoted = {"text": text, "most": LONGEST}
    if not body:
        return Sentence("{text} is not a hashtag: it is empty.", **quoted)
    if len(body) > LONGEST:
        return Sentence("{text}… is not a hashtag: it is longer than {most} characters.", **quoted)
    for char in body:
        if not is_part(char):
            quoted["sign"] = repr(char)
            return Sentence("{text} is not a hashtag: it has {sign} in it.", **quoted)
    if extract(f"#{body}") != [body]:
        return Sentence("{text} is not a hashtag: it has no letter.", **quoted)
    if not key(body):
        return Sentence(
            "{text} is not a hashtag: it folds into more than {most} letters.", **quoted
        )
    if any(map(str.isspace, key(body))):  # a few letters, such as U+037A, fold into two
        return Sentence("{text} is not a hashtag: it folds into two words.", **quoted)
    return None


def spelling(tag: str) -> str:
    """How the hashtag was typed, where its key remembers that.

    Networks are asked for it so: none of them folds ß into ss, as our keys do.
    """
    return tag.spelling if isinstance(tag, Typed) else tag


def typed_list(text: str) -> tuple[Typed, ...]:
    """The keys of a comma list, in its order, each once.

    Raises NotAHashtag for the first entry that is none.
    """
    return tuple(dict.fromkeys(typed(part) for part in text.split(",") if part.strip()))


def extract(text: str) -> list[str]:
    """The hashtags in a text as twitter-text finds them, without their marks.

    For text that people type; a post's own hashtags come from its platform's entities.
    """
    found, end = [], 0
    urls = [match.span() for match in URL.finditer(text)]
    for mark in re.finditer(f"[{MARKS}]", text):
        start = mark.end()
        if start <= end or not may_follow(text[: start - 1]) or within(start - 1, urls):
            continue
        end = start
        while end < len(text) and is_part(text[end]):
            end += 1
        body, rest = text[start:end], text[end:]
        keycap = body.startswith(("\ufe0f", "\u20e3"))
        if any(map(is_letter, body)) and not keycap and not rest.startswith(("#", "＃", "://")):
            found.append(body)
    return found


def may_follow(before: str) -> bool:
    """Whether a hashtag may begin after this text: not in the middle of a word."""
    return (
        not before or before[-1] in "\ufe0e\ufe0f" or not (is_part(before[-1]) or before[-1] == "&")
    )


def within(place: int, spans: list[tuple[int, int]]) -> bool:
    return any(start <= place < end for start, end in spans)


def is_part(char: str) -> bool:
    """Whether the character can stand inside a hashtag."""
    return is_letter(char) or unicodedata.category(char) == "Nd" or char in SPECIAL


def is_letter(char: str) -> bool:
    """A letter or a mark, of any script."""
    return unicodedata.category(char)[0] in "LM"
