"""Who counts as one visitor, and how requests and viewers are counted."""

import resource
from collections import Counter
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.settings import read
from app.web.address import address_of, forwarded_for, in_words
from app.web.limits import A_SECOND, AT_ONCE, MOST_ADDRESSES, Limits, limits_of, path_of

ONE, OTHER = b"\x01\x02\x03\x04", b"\x05\x06\x07\x08"


def test_an_address_may_ask_a_thousand_times_at_once_and_then_fifty_times_a_second() -> None:
    """Then it is told in how many seconds to come back; and no other address minds."""
    counted = Limits(10, 10)
    assert not any(counted.ask(ONE, 1, 5.0) for _ in range(1000))
    refusal = counted.ask(ONE, 1, 5.0)
    sentence = "Too many requests from your address: try again in 1 s."
    assert refusal == (429, sentence, 1, "requests")
    assert not counted.ask(OTHER, 1, 5.0)
    assert sum(not counted.ask(ONE, 1, 15.0) for _ in range(2000)) == 500
    told = counted.ask(ONE, 500, 15.0)
    assert told and told.wait == 10
    assert not counted.ask(ONE, 500, 25.0), "after the wait that it was told"
    assert not any(counted.ask(None, 1000, 25.0) for _ in range(9)), "not known whose it is"


ASKS = st.lists(
    st.tuples(
        st.sampled_from([bytes([n] * 4) for n in range(6)]),
        st.sampled_from([0.2, 1.0, 10.0, 400.0, 1000.0]),
        st.floats(0, 12),
    ),
    max_size=120,
)


@given(ASKS)
def test_no_window_of_time_has_more_than_is_allowed(asks: list[tuple[bytes, float, float]]) -> None:
    """In any t seconds an address gets at most 1,000 and 50 t; and what it asks for after the
    wait that it was told, it gets."""
    counted, now, got = Limits(10, 10), 0.0, []
    for address, cost, passed in asks:
        now += passed
        refusal = counted.ask(address, cost, now)
        if not refusal:
            got.append((address, now, cost))
        else:
            assert 0 < refusal.wait <= AT_ONCE / A_SECOND + 1
            now += refusal.wait
            assert not counted.ask(address, cost, now)
            got.append((address, now, cost))
    for n, (address, begin, _) in enumerate(got):
        sum_of_costs = 0.0
        for other, at, cost in got[n:]:
            sum_of_costs += cost if other == address else 0
            assert sum_of_costs <= AT_ONCE + A_SECOND * (at - begin) + 0.01


def numbered(n: int) -> bytes:
    return n.to_bytes(8, "big")


def test_the_table_of_addresses_is_bounded_and_empties_itself() -> None:
    """50,000 addresses: 10,000 are remembered, and with the time none but those of the moment."""
    counted = Limits(10, 10)
    for n in range(50_000):
        assert not counted.ask(numbered(n), 100, 1.0)
        assert len(counted.paid) <= MOST_ADDRESSES == 10_000
    for n in range(5_100):
        counted.ask(ONE, 0.2, 100.0 + n)
    assert set(counted.paid) <= {ONE}


def test_to_be_forgotten_takes_more_requests_than_it_wins() -> None:
    """An address that used all it may is forgotten only after one request each of 10,000 others;
    as long as it asks, also in vain, not even then."""
    counted = Limits(10, 10)
    assert not counted.ask(ONE, AT_ONCE, 1.0)
    for n in range(MOST_ADDRESSES - 1):
        counted.ask(numbered(n), 1, 1.0)
    assert counted.ask(ONE, 1, 1.0), "still known"
    for n in range(2 * MOST_ADDRESSES):
        counted.ask(numbered(MOST_ADDRESSES + n), 1, 1.0)
        if n % (MOST_ADDRESSES - 1) == 0:
            assert counted.ask(ONE, 1, 1.0)
    for n in range(MOST_ADDRESSES):
        counted.ask(numbered(9 * MOST_ADDRESSES + n), 1, 1.0)
    assert ONE not in counted.paid


@given(st.lists(st.tuples(st.sampled_from([None, ONE, OTHER]), st.booleans()), max_size=60))
def test_viewers_are_counted_as_they_come_and_go(steps: list[tuple[bytes | None, bool]]) -> None:
    """At most 5 in all, and 3 of an address that is known; nobody who is gone leaves a trace."""
    counted, here = Limits(5, 3), Counter[bytes | None]()
    for address, comes in steps:
        if comes:
            refusal = counted.room(address)
            full = here[address] >= 3 and address is not None
            assert (refusal.status if refusal else 0) == (
                429 if full else 503 * (here.total() >= 5)
            )
        if comes and not refusal:
            counted.come(address)
            here[address] += 1
        elif not comes and here[address]:
            counted.go(address)
            here[address] -= 1
        assert counted.viewers == here.total()
        assert counted.watching == {a: n for a, n in here.items() if n and a is not None}


TRUSTED = (ip_network("127.0.0.0/8"), ip_network("::1"), ip_network("10.0.0.0/8"))


@pytest.mark.parametrize(
    ("peer", "headers", "whose"),
    [
        ("203.0.113.7", [], "203.0.113.7"),
        ("203.0.113.7", ["198.51.100.1"], "203.0.113.7"),
        ("::ffff:203.0.113.7", [], "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", [], "2001:db8:1:2::/64"),
        ("fe80::1%eth0", [], "fe80::/64"),
        ("127.0.0.1", [], "?"),
        ("::ffff:127.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("::1", ["203.0.113.7"], "203.0.113.7"),
        (None, ["203.0.113.7"], "203.0.113.7"),
        (None, [], "?"),
        ("127.0.0.1", ["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
        ("127.0.0.1", ["198.51.100.1,203.0.113.7 , 10.1.2.3"], "203.0.113.7"),
        ("127.0.0.1", ["198.51.100.1", "203.0.113.7", "10.1.2.3,10.0.0.1"], "203.0.113.7"),
        ("127.0.0.1", ["::ffff:203.0.113.7"], "203.0.113.7"),
        ("127.0.0.1", ["203.0.113.7:4711"], "203.0.113.7"),
        ("127.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::/64"),
        ("127.0.0.1", ["[2001:db8::1]"], "2001:db8::/64"),
        ("127.0.0.1", ["203.0.113.7, unknown"], "?"),
        ("127.0.0.1", ["203.0.113.7,"], "?"),
        ("127.0.0.1", ["\xff\x00"], "?"),
        ("127.0.0.1", ["1" * 60_000], "?"),
        ("127.0.0.1", ["1.2.3.4" + ",127.0.0.1" * 15], "1.2.3.4"),
        ("127.0.0.1", ["1.2.3.4" + ",127.0.0.1" * 6000], "?"),
        ("127.0.0.1", ["127.0.0.1"], "?"),
    ],
)
def test_whose_request_it_is(peer: str | None, headers: list[str], whose: str) -> None:
    """The peer's; behind a proxy of ours the right-most that is none of them; of IPv6 by /64."""
    lines = [(b"X-Forwarded-For", line.encode("latin-1")) for line in headers]
    scope = {"client": (peer, 4711) if peer else None, "headers": [(b"host", b"h"), *lines]}
    found = in_words(address_of(scope, TRUSTED)).removeprefix("of ")
    assert found == ("an address that is not known" if whose == "?" else whose)


@given(st.binary(max_size=200))
def test_what_a_visitor_writes_itself_changes_nothing(forged: bytes) -> None:
    """Whatever stands left of what the proxy adds; and no bytes break the reading."""
    assert str(forwarded_for(forged + b", 203.0.113.7", TRUSTED)) == "203.0.113.7"
    forwarded_for(forged, TRUSTED)


@pytest.mark.parametrize(
    ("target", "query", "path"),
    [
        ("/events", b"", "/events"),
        ("//events", b"", "/events"),
        ("http://localhost/events", b"", "/events"),
        ("HTTPS://localhost//events;x#y", b"", "/events;x"),
        ("http://localhost", b"", "/"),
        ("http://[/events", b"", None),
        ("events", b"", None),
        ("", b"x", None),
        ("*", b"", None),
        ("ftp://localhost/events", b"", None),
        ("/events", b"\xff", None),
    ],
)
def test_the_path_is_the_same_for_all_parts(target: str, query: bytes, path: str | None) -> None:
    """Origin-form and absolute-form; what Quart would guess from others is refused."""
    assert path_of({"path": target, "query_string": query}) == path


@pytest.mark.parametrize(("files", "most"), [(20_000, 18_000), (1024, 874), (100, 1), (-1, 2**31)])
def test_open_files_bound_the_viewers(
    monkeypatch: pytest.MonkeyPatch, files: int, most: int
) -> None:
    """A tenth of them, and 150 at least, are for all else, if MAX_VIEWERS is not fewer."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert limits_of(read({"MAX_VIEWERS": str(2**31)})).most == most
    assert limits_of(read({"MAX_VIEWERS": "7"})).most == min(7, most)
