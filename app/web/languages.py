"""In which language a page speaks."""

from collections.abc import Container

from quart import request

ENGLISH = "en"
"""Where nothing else is asked for, or nothing that there is."""


def language(there: Container[str]) -> str:
    """Of the request: `lang=` where it is one of those that there are; else the first of them in
    Accept-Language, by quality (RFC 9110, 12.5.4), of any region; else English."""
    asked = request.args.get("lang", "")
    if asked in there:
        return asked
    for accepted, quality in request.accept_languages:  # the best first
        found = accepted.partition("-")[0].lower()
        if quality > 0 and found in there:
            return found
    return ENGLISH
