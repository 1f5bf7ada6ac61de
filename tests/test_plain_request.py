"""Which requests the front door takes, and which it waits for: as h11 would read them."""

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_requests import GET, ODD, heads

from app.web.plain_request import (
    KEPT_HEADS,
    KEPT_LENGTH,
    LONGEST_HEAD,
    may_become_plain,
    parsed,
    plain,
)


def test_what_is_plain() -> None:
    """All that browsers, curl and proxies send is, with any query; nothing that is odd is."""
    for request, is_plain in heads():
        if is_plain:
            assert plain(request), request
    for request in ODD:
        if b"Accept: text/html" not in request and b"q=0" not in request:
            assert plain(request) is None, request
    refused = b"GET /events?history=nan HTTP/1.0\r\nLast-Event-ID:5-1 \r\nX-Forwarded-For: a\r\nx-forwarded-for:b\r\n\r\n"
    assert plain(refused) == ("history=nan", "5-1", "", b"a,b", False, True)


@pytest.mark.parametrize("request_", [GET, *ODD])
def test_only_a_beginning_of_a_plain_request_waits(request_: bytes) -> None:
    """What can be none any more is handed on at its first odd byte of the request line."""
    for size in range(1, len(request_) + 1):
        waits = may_become_plain(request_[:size])
        assert not (waits and plain(request_[:size]))
        if waits:
            assert b"GET /events "[:size] == request_[:12][:size] or request_.startswith(
                b"GET /events?"
            )
    assert not may_become_plain(b"") and not may_become_plain(GET)
    assert not may_become_plain(b"GET /events?" + b"x" * LONGEST_HEAD)


PIECES = st.sampled_from(
    [b"GET", b" ", b"/events", b"?", b"tags=science", b"%41", b"HTTP/1.1", b"HTTP/1.0", b"\r\n", b"\n", b"\r", b"Host: h",
     b"host:i", b":", b"Accept: */*", b"Connection: close", b"Connection: keep-alive", b"Content-Length: 0", b"Upgrade: h2c",
     b"Expect: 100-continue", b"X: y", b"\t", b"\0", b"\xff", b"Transfer-Encoding: chunked", b"a", b"GET /events HTTP/1.1\r\n"]
)  # fmt: skip


@given(
    st.sampled_from([head for head, is_plain in heads() if is_plain]),
    st.integers(0),
    st.integers(0, 30),
    PIECES,
)
def test_what_is_taken_is_what_hypercorn_would_understand(
    request: bytes, place: int, cut: int, piece: bytes
) -> None:
    """However a plain request is changed: where the door still takes it, h11 reads one request
    with the same target, version and headers, no body and nothing after it; where the door waits
    for more, so does h11."""
    place %= len(request)
    changed = request[:place] + piece + request[place + cut :]
    found = plain(changed)
    server = h11.Connection(h11.SERVER)
    server.receive_data(changed)
    if may_become_plain(changed):
        assert server.next_event() is h11.NEED_DATA
    if found is None:
        return
    read = server.next_event()
    assert isinstance(read, h11.Request)
    assert (
        read.method == b"GET"
        and read.target.decode().removeprefix("/events").removeprefix("?") == found.query
    )
    assert (read.http_version == b"1.1") == found.is_1_1
    headers = list(read.headers)
    assert [v.decode() for n, v in headers if n == b"last-event-id"] in ([found.last_id], [])
    assert [v.decode() for n, v in headers if n == b"accept"] in ([found.accept], [])
    assert b",".join(v for n, v in headers if n == b"x-forwarded-for") == found.forwarded
    assert type(server.next_event()) is h11.EndOfMessage
    assert server.trailing_data == (b"", False)


def test_of_heads_only_short_ones_are_remembered_and_not_many() -> None:
    parsed.cache_clear()
    for number in range(2 * KEPT_HEADS):
        assert plain(b"GET /events?tags=a%d HTTP/1.1\r\nHost: a\r\n\r\n" % number)
    assert parsed.cache_info().currsize == KEPT_HEADS
    parsed.cache_clear()
    assert plain(b"GET /events HTTP/1.1\r\nHost: a\r\nCookie: %b\r\n\r\n" % (b"a" * KEPT_LENGTH))
    assert parsed.cache_info().currsize == 0
