"""In which language a page and a refusal speak.

What the server says to visitors is English where it is said. templates/sentences/ has it in each
other language: a file for each, with the English form of a sentence as the key. The page's own
words are in templates/texts/ (page.py).
"""

import json
import re
from collections.abc import Container
from typing import Any

from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

from app.sentences import Sentence
from app.web import ROOT

ENGLISH = "en"
"""Where nothing else is asked for, or nothing that there is."""
FOLDER = ROOT / "templates" / "sentences"
SENTENCES: dict[str, dict[str, str]] = {ENGLISH: {}} | {
    path.stem: json.loads(path.read_bytes()) for path in FOLDER.glob("*.json")
}
"""Of each language: the form of a sentence in English to that in this language."""
UNTOLD = Sentence("Something is wrong with Redis; whoever runs this server can find out what.")
"""In place of what only its owner has to know, such as the name of a key or of a setting."""
LANG = re.compile(rb"(?<![^&])lang=([\w-]{2,8})(?![^&])")
LONGEST_ACCEPTED = 200
"""Bytes of Accept-Language that are looked at."""


def language(scope: Any, there: Container[str] = SENTENCES) -> str:
    """Of a request (ASGI): `lang=` where it is one of those that there are; else the first of them
    in Accept-Language, by quality (RFC 9110, 12.5.4), of any region; else English."""
    asked = LANG.search(scope["query_string"])
    if asked and asked[1].decode() in there:
        return asked[1].decode()
    said = next((value for name, value in scope["headers"] if name == b"accept-language"), b"")
    whole = said[:LONGEST_ACCEPTED].decode("latin-1")
    for accepted, quality in parse_accept_header(whole, LanguageAccept):  # the best first
        found = accepted.partition("-")[0].lower()
        if quality > 0 and found in there:
            return found
    return ENGLISH


def in_language(sentence: str, language: str) -> str:
    """What is said in English, in this language; a text that is no Sentence is told to who reads
    English."""
    if language == ENGLISH:
        return str(sentence)
    said = sentence if isinstance(sentence, Sentence) else UNTOLD
    form = SENTENCES.get(language, {}).get(said.form, said.form)
    values = {
        name: in_language(value, language) if isinstance(value, Sentence) else value
        for name, value in said.values.items()
    }
    return form.format(**values)
