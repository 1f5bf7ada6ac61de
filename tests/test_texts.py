"""What strangers wrote, made fit to be shown: plain text, addresses, hosts."""

from typing import Any

import pytest

from app.texts import LONGEST_TEXT, clean, domain, domains, links, plain, web_address

NO_TEXTS: list[Any] = [None, 5, [], {}, b"x", True]


def test_html_becomes_plain_text() -> None:
    """As Mastodon and its relatives write it: lines, links cut for the eye, entities."""
    html = (
        '<p>Hi <span class="h-card"><a href="https://a.example/@b" class="u-url mention">@<span>b'
        "</span></a></span> &amp; all<br>two</p><p>&lt;b&gt; "
        '<a href="https://x.example/long"><span class="invisible">https://</span>'
        '<span class="ellipsis">x.example/lo</span><span class="invisible">ng</span></a></p>'
    )
    assert plain(html) == "Hi @b & all\ntwo\n<b> https://x.example/long"


@pytest.mark.parametrize("text", NO_TEXTS)
def test_what_is_no_text_is_none(text: Any) -> None:
    """Networks may send whatever they like."""
    assert clean(text) == plain(text) == web_address(text) == domain(text) == ""
    assert list(links(text)) == []


def test_nothing_unseen_is_left() -> None:
    """No control characters, no half emoji, nothing that turns around what follows it."""
    assert clean(" a\0b\x1b[31m\ud800c\u202ed\u2066e\x85f\tg \n") == "ab[31mcdefg"
    assert clean("two\nlines 👩‍🚀 שלום") == "two\nlines 👩‍🚀 שלום"


def test_a_long_text_is_cut() -> None:
    """And says so."""
    assert clean("x" * LONGEST_TEXT) == "x" * LONGEST_TEXT
    cut = clean("x" * (LONGEST_TEXT + 1))
    assert (len(cut), cut[-2:]) == (LONGEST_TEXT, "x…")
    assert len(plain("<p>" + "x" * 10**6)) == LONGEST_TEXT


@pytest.mark.parametrize("bad", ["<" * 10**6, "<a " * 10**5, "&" * 10**6, '<a href="' * 10**5])
def test_hostile_html_takes_no_longer_than_other(bad: str) -> None:
    """Each pattern goes over it once: how much is looked at is bounded, and so are the steps."""
    assert len(plain(bad)) <= LONGEST_TEXT
    assert domains(links(bad)) == ()


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "data:text/html,x", "//example.org", "https:/example.org", "https://", "ftp://a.b/c",
     "https://a b.example/", "https://a.example/\nx", " https://a.example", "https://" + "a" * 600],
)  # fmt: skip
def test_only_web_addresses_are_addresses(url: str) -> None:
    """The page makes links of them."""
    assert web_address(url) == ""


def test_hosts() -> None:
    """In small letters, once each, without www., a name, a port or a path; at most ten."""
    urls = [
        "https://www.Example.org/a",
        "http://example.org:80?x",
        "https://u:p@b.example#x",
        5,
        "x",
    ]
    assert domains(iter(urls)) == ("example.org", "b.example")
    assert len(domains(f"https://h{n}.example" for n in range(99))) == 10
    assert domain("https://bücher.example/") == "bücher.example"
    assert domain("https://" + "a" * 101) == ""


def test_links_are_not_people_or_hashtags() -> None:
    """Those stand in links, too."""
    html = (
        '<a href="https://m.example/@a" class="u-url mention">@a</a>'
        '<a class="hashtag" href="https://m.example/tags/x">#x</a>'
        '<a href="https://news.example/?a=1&amp;b=2" rel="nofollow">n</a><a name="x">y</a>'
    )
    assert list(filter(None, links(html))) == ["https://news.example/?a=1&b=2"]
