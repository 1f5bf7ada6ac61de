"""Which strings are hashtags, and when two are the same one.

Posts bring their hashtags from the platform's own entities and are believed.
What a person types (settings, queries) is held to the rules of twitter-text:
https://github.com/twitter/twitter-text (conformance/validate.yml, hashtags).
"""

import unicodedata
from functools import lru_cache

MARKS = "#＃"
LONGEST = 100
"""Characters in a typed hashtag, at most; X and Mastodon cut theirs near here."""

# twitter-text's "hashtag special characters": the joiners and word marks that
# scripts need inside a hashtag although Unicode does not call them letters.
SPECIAL = frozenset(
    "_\u200c\u200d\ua67e\u05be\u05f3\u05f4\uff5e\u301c\u309b\u309c\u30a0\u30fb\u3003\u0f0b\u0f0c\u00b7"
)


class NotAHashtag(ValueError):
    """A typed text is no hashtag; the message is one sentence for its author."""


@lru_cache(maxsize=65536)
def key(spelling: str) -> str:
    """What two spellings of one hashtag have in common: NFKC, case folded, no mark.

    >>> key("#Science") == key("SCIENCE") == key("＃ｓｃｉｅｎｃｅ")
    True
    """
    folded = unicodedata.normalize("NFKC", spelling).casefold()
    return unicodedata.normalize("NFKC", folded).lstrip(MARKS)


def keyed(spellings: list[str]) -> dict[str, str]:
    """The hashtags of one post, each once: key to the spelling that came first."""
    tags: dict[str, str] = {}
    for spelling in spellings:
        name = key(spelling)
        if name:
            tags.setdefault(name, spelling)
    return tags


def typed(text: str) -> str:
    """The key of a hashtag that a person typed, with or without its mark.

    Raises NotAHashtag with a sentence that quotes the text.
    """
    body = text.strip()
    body = body[1:] if body[:1] in MARKS and body else body
    quoted = repr(text.strip()[: LONGEST + 1])
    if not body:
        raise NotAHashtag(f"{quoted} is not a hashtag: it is empty.")
    if len(body) > LONGEST:
        raise NotAHashtag(f"{quoted}… is not a hashtag: it is longer than {LONGEST} characters.")
    for char in body:
        if not (is_letter(char) or is_digit(char) or char in SPECIAL):
            raise NotAHashtag(f"{quoted} is not a hashtag: it has {char!r} in it.")
    if not any(map(is_letter, body)):
        raise NotAHashtag(f"{quoted} is not a hashtag: it has no letter.")
    return key(body)


def typed_list(text: str) -> tuple[str, ...]:
    """The keys of a comma list, in its order, each once.

    Raises NotAHashtag for the first entry that is none.
    """
    return tuple(dict.fromkeys(typed(part) for part in text.split(",") if part.strip()))


def is_letter(char: str) -> bool:
    return unicodedata.category(char)[0] in "LM"


def is_digit(char: str) -> bool:
    return unicodedata.category(char) == "Nd"
