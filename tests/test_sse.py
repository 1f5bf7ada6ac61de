"""A server-sent event as bytes: a rule of the standard each."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.web import sse


def parsed(stream: bytes) -> list[tuple[str, str, str]]:
    """The events in a stream as (name, id, data): the standard's own algorithm, section 9.2.6."""
    events, name, last_id, data = [], "", "", None
    text = stream.decode().replace("\r\n", "\n").replace("\r", "\n")
    for line in text.split("\n")[:-1]:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data is not None:
                events.append((name, last_id, data.removesuffix("\n")))
            name, data = "", None
        elif field == "data":
            data = (data or "") + value + "\n"
        elif field == "event":
            name = value
        elif field == "id" and "\0" not in value:
            last_id = value
    return events


def test_an_event_as_the_contract_shows_it() -> None:
    """event, data, id, in that order, and a blank line: who takes the id when its line comes
    has the data by then, wherever the connection is cut."""
    assert sse.event('{"a":1}', "counts", "5-0") == b'event: counts\ndata: {"a":1}\nid: 5-0\n\n'


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_every_kind_of_line_end_splits_data(end: str) -> None:
    """No kind of line end in the data can end the event or begin a field."""
    assert sse.event(f"a{end}id: 9") == b"data: a\ndata: id: 9\n\n"


def test_empty_data_is_still_an_event() -> None:
    """Without a data line a browser would not fire."""
    assert sse.event("") == b"data: \n\n"


@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "\r\n"])
def test_names_and_ids_hold_no_line_end(bad: str) -> None:
    """They cannot be split, so they are refused."""
    with pytest.raises(ValueError, match="line end"):
        sse.event("x", name=bad)
    with pytest.raises(ValueError, match="line end"):
        sse.event("x", id=bad)


def test_an_id_holds_no_nul() -> None:
    """A browser would ignore such an id."""
    with pytest.raises(ValueError, match="line end"):
        sse.event("x", id="a\0")


def test_retry_and_comments_are_no_events() -> None:
    """They carry no data, so no script sees them."""
    assert sse.retry(2000) == b"retry: 2000\n\n"
    assert parsed(sse.retry(5)) == []


@given(st.lists(st.tuples(st.text(), st.text(max_size=5), st.text(max_size=5))))
def test_what_is_sent_is_what_is_read(events: list[tuple[str, str, str]]) -> None:
    """Whatever the data, a parser of the standard reads the same events back."""
    stream, expected, last_id = b"", [], ""
    for data, name, id in events:
        try:
            stream += sse.event(data, name, id)
        except ValueError:
            continue
        last_id = id or last_id
        lines = data.replace("\r\n", "\n").replace("\r", "\n")
        expected.append((name.removeprefix(" ") if name else "", last_id, lines))
    got = parsed(stream)
    assert [data for _, _, data in got] == [data for _, _, data in expected]
    assert [id for _, id, _ in got] == [id for _, id, _ in expected]
