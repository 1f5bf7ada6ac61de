"""What the server tells visitors, in each language."""

import ast
import json
import re
from string import Formatter
from typing import Any

import aiohttp
import pytest
from served import Site, serving
from servers import RedisServer, get
from test_house_rules import tracked
from test_languages import OTHERS

from app.messages import SourceState
from app.sentences import Sentence
from app.store.store import StoreLost
from app.web.languages import SENTENCES, UNTOLD, in_language, language
from app.web.limits import Refusal, refuse

CALLS = [
    node
    for file in tracked("app/*.py", "app/**/*.py")
    for node in ast.walk(ast.parse(file.read_text()))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
]


def called(name: str) -> list[ast.Call]:
    """Every place of the code where this is made."""
    return [node for node in CALLS if isinstance(node.func, ast.Name) and node.func.id == name]


def places(form: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(form) if name is not None}


def forms() -> set[str]:
    """Of every sentence that the code can say."""
    found = [call.args[0] for call in called("Sentence")]
    return {form.value for form in found if isinstance(form, ast.Constant)}


def test_every_sentence_stands_where_it_is_said() -> None:
    """Its form is a text and no name, with a value for each of its places, so that all are found;
    nothing is refused in a text that could be told in English alone."""
    for call in called("Sentence"):
        assert isinstance(call.args[0], ast.Constant), ast.unparse(call)
        given = {each.arg for each in call.keywords}
        assert None in given or given == places(call.args[0].value), ast.unparse(call)
    for name, place in {"Refused": 1, "Refusal": 1, "NotAHashtag": 0}.items():
        assert called(name)
        told = [call.args[place] for call in called(name)]
        assert [
            ast.unparse(each) for each in told if isinstance(each, ast.Constant | ast.JoinedStr)
        ] == []


@pytest.mark.parametrize("code", OTHERS)
def test_a_language_has_every_sentence(code: str) -> None:
    """None is missing, left over, empty, English, or without what is put into it."""
    assert SENTENCES.keys() == {"en", *OTHERS}
    told = SENTENCES[code]
    assert told.keys() == forms()
    assert len(told) > 35
    for english, form in told.items():
        assert form.strip() and form != english
        assert places(form) == places(english), english


def test_what_may_run_either_way_keeps_to_itself() -> None:
    """Strangers' words and names of the query stand in isolates (U+2068) in Arabic, and a sentence
    begins with a letter of its own outside of them, by which a browser knows its direction."""
    strange = re.compile(
        r"(?<!\u2068)(?<!\u2068#)(?<!=)\{(?!most|number|days|seconds|asked|sources)"
    )
    for form in SENTENCES["ar"].values():
        assert not strange.search(form), form
        own = re.sub("\u2068[^\u2069]*\u2069", "", form)
        first = re.search(r"[^\W\d_]", own)
        assert first and "\u0600" <= first[0] <= "\u06ff", form


def test_a_sentence_is_itself_in_english_and_has_others_in_it() -> None:
    """What is put into it is put in as it is, with braces, too; another sentence is told in the
    same language."""
    both = Sentence("{some} and {last}", some="x", last="{mastodon}")
    whole = Sentence("{sources} were not asked for it", sources=both)
    assert whole == "x and {mastodon} were not asked for it"
    assert in_language(whole, "en") == whole and type(in_language(whole, "en")) is str
    assert in_language(whole, "de") == "x und {mastodon} wurden nicht danach gefragt"
    assert in_language(whole, "fr") == whole, "the page may speak a language that is new"


def test_what_only_the_owner_can_mend_is_told_in_english_alone() -> None:
    """It names keys, rights and settings; in another language it is said that something is wrong."""
    lost = StoreLost("Redis: its user lacks the right +eval (see ACL SETUSER).")
    assert in_language(lost.public, "en") == str(lost)
    assert in_language(lost.public, "de") == SENTENCES["de"][UNTOLD.form]


def test_however_much_is_accepted_little_of_it_is_read() -> None:
    """A refusal is to cost less than what was asked for."""
    long = b"x;q=0.1," * 100_000
    scope: dict[str, Any] = {"query_string": b"", "headers": [(b"accept-language", long + b"de")]}
    assert language(scope) == "en"
    scope["headers"] = [(b"accept-language", b"de," + long)]
    assert language(scope) == "de"
    assert language(scope | {"query_string": b"xlang=ar&lang=es&lang=ja"}) == "es"


async def test_whoever_is_not_let_in_is_told_in_his_language() -> None:
    """By the limits, which stand before everything else."""
    why = Refusal(503, Sentence("Too many viewers: at most {most} at a time.", most=9), 30)
    for accepted, told in {
        "": str(why.sentence),
        "de": "Zu viele Besucher: höchstens 9 zugleich.",
    }.items():
        sent: list[Any] = []

        async def send(message: Any, sent: list[Any] = sent) -> None:
            sent.append(message)

        headers = [(b"accept-language", accepted.encode())] if accepted else []
        await refuse({"method": "GET", "query_string": b"", "headers": headers}, send, why)
        assert json.loads(sent[1]["body"]) == {"error": told}
        assert (b"cache-control", b"no-store") in sent[0]["headers"]


REFUSED = [
    "nothing", "events", "events?tags=science&history=x", "events?new=science,other&tags=science",
    "api/counts?tags=1", "api/counts?by=day", "api/history?range=1y", "api/history?from=1&to=2",
    "api/history?from=5&to=2", "api/history?band=1&format=csv", "api/board", "api/posts?tags=",
    "badge/1.svg", "oembed", "oembed?format=x", "oembed?url=http://elsewhere.example/",
    "api/counts?tags=" + ",".join(f"a{n}" for n in range(21)),
]  # fmt: skip


async def test_every_refusal_is_told_in_each_language(redis_server: RedisServer) -> None:
    """In English as it always was, and in no language as in another."""
    async with serving(redis_server.url, SHOW_POSTS="false") as site:
        for path in REFUSED:
            told = [await refusal(site, path, code) for code in ("", "en", *OTHERS)]
            assert told[0] == told[1], path
            assert len(set(told)) == 1 + len(OTHERS), told
            assert (
                await refusal(site, path + ("&" if "?" in path else "?") + "lang=ja", "de")
                == told[2 + OTHERS.index("ja")]
            )


async def refusal(site: Site, path: str, accepted: str) -> str:
    headers = {"Accept": "text/html,application/json"} | (
        {"Accept-Language": accepted} if accepted else {}
    )
    url = f"http://127.0.0.1:{site.port}/{path}"
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        assert answer.status >= 400 and answer.headers["Cache-Control"] == "no-store", path
        told: dict[str, str] = await answer.json()
    assert told.keys() == {"error"}
    return told["error"]


async def test_what_nobody_was_asked_for_is_told_with_all_their_names(site: Site) -> None:
    """The names of networks, and of hashtags, in the order and the words of the language."""
    site.writer.sources = dict.fromkeys(("x", "mastodon"), SourceState("live", 1))
    await site.publish()
    await site.hears()
    _, told = await get(f"http://127.0.0.1:{site.port}/api/counts?tags=other&lang=de")
    known = ", ".join(f"#{tag}" for tag in site.settings.hashtags)
    wanted = "x und mastodon wurden nicht danach gefragt"
    assert told == {
        "error": f"#other wird hier nicht verfolgt, und {wanted}; verfolgt werden {known}."
    }
