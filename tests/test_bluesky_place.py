"""Where Bluesky goes on reading, without a network: two times of each message, and servers that
differ."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jetstream import BEGIN, SECOND, brought, connected

from app.messages import Checkpoint, Post
from app.sources.bluesky.place import (
    AGREE,
    APART,
    EARLY_AT_MOST,
    ENOUGH,
    MINUTE,
    REMEMBERED,
    REREAD,
    SAMPLES,
    Place,
)
from app.sources.bluesky.source import UNREAD_AT_MOST

HOUR, DAY = 60 * MINUTE, 1440 * MINUTE


def heard(place: Place, *times: int, behind: int = 0, now: int = BEGIN + DAY) -> Place:
    """Messages whose commits were made at these times, on a server that is so far behind."""
    for made in times:
        place.hear(made + behind, made, now)
    return place


@pytest.mark.parametrize("time_us", [0, 1, -1, BEGIN // 2, BEGIN * 9, 10**30, -(10**300)])
def test_an_absurd_time_moves_no_cursor(time_us: int) -> None:
    """The post counts; a cursor far in the future would lose all that comes until then."""
    source = connected()
    for time, rkey in ((time_us, "a"), (BEGIN, "b"), (time_us, "c"), (BEGIN + SECOND, "d")):
        post = brought(source, "science", at=time, rkey=rkey)
        assert isinstance(post, Post) and post.hashtags
        assert post.time == (time // 1000 if rkey in "bd" else 0), "none, rather than that one"
    assert (source.state, source.place.cursor) == ("live", BEGIN + SECOND - REREAD)


@pytest.mark.parametrize("made", [None, BEGIN, 0])
@pytest.mark.parametrize("ahead", [2 * MINUTE, HOUR, DAY - SECOND, 365 * DAY])
def test_a_message_of_the_future_is_counted_and_moves_no_cursor(
    ahead: int, made: int | None
) -> None:
    """A time up to a day ahead was believed: after the next cut, all that came until then was
    lost. Whether its commit says the same, or is of now, or says nothing."""
    for before in (0, ENOUGH):
        source = connected(now=BEGIN)
        for n in range(before):
            brought(source, "science", at=BEGIN - HOUR + n, rkey=f"{n}")
        post = brought(source, "science", at=BEGIN + ahead, made=made, rkey="ahead")
        assert isinstance(post, Post) and post.hashtags and post.time <= BEGIN // 1000
        assert source.place.cursor <= (BEGIN - HOUR if before else BEGIN)
        post = brought(source, "science", at=BEGIN + SECOND, rkey="next")
        if before:
            assert isinstance(post, Post) and post.cursor == str(BEGIN + SECOND - REREAD)


@pytest.mark.parametrize("behind", [0, 90 * SECOND])
@pytest.mark.parametrize("lies", [-DAY, -HOUR, 5 * MINUTE, HOUR, DAY])
def test_the_first_author_s_server_may_lie(lies: int, behind: int) -> None:
    """Nothing is known yet of how far the server is behind, which has the past to bring: what
    the commit says to be later than that is not believed."""
    place = Place(BEGIN)
    place.hear(BEGIN, BEGIN - behind + lies, BEGIN + DAY)
    assert place.cursor == BEGIN
    for n in range(1, 2 * ENOUGH):
        place.hear(BEGIN + n, BEGIN - behind + n, BEGIN + DAY)
        assert place.cursor == BEGIN
    heard(place, BEGIN + 2 * MINUTE, behind=behind)
    assert place.cursor == BEGIN + 2 * MINUTE - REREAD


def test_our_own_clock_may_be_an_hour_behind() -> None:
    """When nearly all posts are ahead of it, it is the one that is wrong; none is ahead of them."""
    place = heard(Place(), *(BEGIN + n for n in range(ENOUGH - 1)), now=BEGIN - HOUR)
    assert place.cursor == 0
    heard(place, BEGIN + ENOUGH, BEGIN + DAY, BEGIN + MINUTE, now=BEGIN - HOUR)
    assert place.newest == BEGIN + MINUTE


def test_a_cursor_of_the_future_is_given_up() -> None:
    """For one, a server begins with the present: so would we, after every cut until then."""
    place = heard(Place(BEGIN + 5 * HOUR), *(BEGIN + n for n in range(ENOUGH)))
    assert BEGIN <= place.cursor < BEGIN + ENOUGH, "all that came until then is counted"


@pytest.mark.parametrize("lies", [-HOUR, -365 * DAY])
def test_it_is_not_given_up_for_one_long_ago(lies: int) -> None:
    """Of a server whose clock is ten minutes behind, with the first messages by one who says that it
    is last year: all that the servers still had was read, and counted, again."""
    place = Place(BEGIN)
    for n in range(2 * ENOUGH):
        place.hear(BEGIN + n - 10 * MINUTE, BEGIN + n + lies, BEGIN + n)
    assert not place.is_of_the_past
    assert place.cursor >= BEGIN - 10 * MINUTE - REMEMBERED


def test_a_cursor_is_the_time_to_go_back_to() -> None:
    """A minute before the newest message, but not before the first one ever, as soon as several
    say when that was."""
    source = connected(now=BEGIN + 2 * REREAD)
    for _ in range(ENOUGH - 1):
        post = brought(source, "science", at=BEGIN)
        assert post and post.cursor == str(BEGIN - REREAD)  # type: ignore[union-attr]
    for after, cursor in ((0, 0), (REREAD, 0), (REREAD + 5, 5), (5, 5), (2 * REREAD, REREAD)):
        post = brought(source, "science", at=BEGIN + after)
        assert post and post.cursor == str(BEGIN + cursor)  # type: ignore[union-attr]
    again = connected(str(BEGIN + REREAD), now=BEGIN + 2 * REREAD)
    assert again.place.cursor == again.asked() + APART == BEGIN + REREAD


@given(st.text(alphabet="0123456789:-_é²٣", max_size=80) | st.integers(0, 2 * BEGIN).map(str))
def test_any_text_is_a_cursor_or_none(text: str) -> None:
    """What is no cursor of ours starts at now, as an empty one does."""
    source = connected(text)
    assert str(source.place.begun) == text or not source.place.begun
    assert source.catching_up == (source.asked() > 0)


def test_posts_without_a_hashtag_move_the_cursor_now_and_then() -> None:
    """The first, and each after a hundred that passed unread."""
    source = connected()
    got = [brought(source, at=BEGIN + n) for n in range(1 + 3 * (UNREAD_AT_MOST + 1))]
    read = range(0, len(got), UNREAD_AT_MOST + 1)
    expected = {n: Checkpoint("bluesky", str(BEGIN + n - REREAD)) for n in read}
    assert {n: one for n, one in enumerate(got) if one} == expected


def test_it_catches_up_until_the_moment_of_the_connect() -> None:
    """Less ten seconds; once that is reached, a message out of order is the present's, too."""
    now = BEGIN + 3600 * SECOND
    source = connected(str(BEGIN), now)
    for at, catches_up in ((0, True), (3589, True), (3590, False), (3580, False)):
        assert brought(source, "science", at=BEGIN + at * SECOND)
        assert source.catching_up == catches_up
    fresh = connected("", now)
    assert brought(fresh, "science", at=BEGIN)
    assert not fresh.catching_up, "it was never away"


@pytest.mark.parametrize(("later", "missing"), [(0, ""), (60, ""), (61, "0:01:01")])
def test_the_first_message_tells_what_is_missing(later: int, missing: str) -> None:
    """And since when nothing is: since the cursor, or since that message."""
    source = connected(str(BEGIN), BEGIN + 3600 * SECOND)
    brought(source, "science", at=5)
    brought(source, "science", at=BEGIN + later * SECOND)
    brought(source, "science", at=BEGIN + 1000 * SECOND)
    assert source.reason == (f"the posts of {missing} are missing" if missing else "")
    assert source.unbroken_since == BEGIN / SECOND + (later if missing else 0)


@pytest.mark.parametrize("lies", [-DAY, -5 * MINUTE, 5 * MINUTE, DAY])
def test_a_few_authors_servers_may_lie(lies: int) -> None:
    """A third of the commits say to be of another time: neither they nor their posts move the
    cursor, and how far the server is behind is known as before."""
    place = Place()
    for n in range(300):
        at = BEGIN + n * SECOND // 50
        place.hear(at + 90 * SECOND, at + (lies if n % 3 == 0 else 0), at + 90 * SECOND)
    assert place.behind == 90 * SECOND
    assert place.newest == BEGIN + 299 * SECOND // 50


def test_a_server_that_catches_up_is_believed_again() -> None:
    """It was five minutes behind, and is no more: after as many messages as decide."""
    place = heard(Place(), *(BEGIN + n * SECOND for n in range(200)), behind=5 * MINUTE)
    assert place.behind == 5 * MINUTE and place.newest == BEGIN + 199 * SECOND
    again = BEGIN + 10 * MINUTE
    heard(place, *(again + n * SECOND for n in range(SAMPLES)))
    assert place.behind == 0 and place.newest == again + (SAMPLES - 1) * SECOND


@pytest.mark.parametrize("lies", [-DAY, 2 * MINUTE, DAY])
def test_a_hundred_posts_of_one_author_in_a_row_are_not_believed(lies: int) -> None:
    """They were the last hundred messages, by which it is known what time it is: the cursor went
    to tomorrow, and what came after the next cut was lost until the one behind that."""
    place = heard(Place(), *(BEGIN + n * SECOND // 25 for n in range(500)))
    for n in range(100):
        at = BEGIN + 20 * SECOND + n * SECOND // 100
        place.hear(at, at + lies, at)
    assert (place.behind, place.ahead) == (0, 0)
    assert place.newest < BEGIN + 20 * SECOND


@pytest.mark.parametrize("lag", [0, MINUTE])
@pytest.mark.parametrize("ahead", [SECOND, 2 * SECOND, 59 * SECOND, 5 * MINUTE])
def test_the_very_first_author_s_clock_may_be_ahead(ahead: int, lag: int) -> None:
    """The first place to go back to was up to a minute later than that message, and what came in
    that minute was lost with a cut."""
    place = Place()
    place.hear(BEGIN + lag, BEGIN + ahead, BEGIN + 10 * MINUTE)
    assert place.cursor <= BEGIN
    for n in range(1, ENOUGH):
        assert place.first == 0
        heard(place, BEGIN + n * SECOND, behind=lag)
        assert place.cursor <= BEGIN + n * SECOND
    assert BEGIN <= place.first == place.cursor <= BEGIN + 2 * SECOND


@pytest.mark.parametrize("lies", [HOUR, 365 * DAY])
def test_the_first_messages_may_be_one_author_s(lies: int) -> None:
    """That one's clock put the place to go back to as far ahead, and a cut lost all until the next
    one: the server's own time bounds it."""
    place = Place()
    for n in range(2 * ENOUGH):
        place.hear(BEGIN + n, BEGIN + n + lies, BEGIN + n)
    assert place.newest == 0
    heard(place, *(BEGIN + n * SECOND for n in range(1, 3 * ENOUGH)), now=BEGIN + MINUTE)
    assert BEGIN < place.newest <= BEGIN + MINUTE


@pytest.mark.parametrize("lies", [-5 * MINUTE, -DAY])
@pytest.mark.parametrize("begun", [0, BEGIN - MINUTE])
def test_the_first_author_does_not_date_what_comes_with_it(begun: int, lies: int) -> None:
    """An honest post right behind it seemed to be of yesterday, and was forgotten before its time:
    with the next cuts it was counted twice. And of all connections the second asked for a day."""
    place = Place(begun)
    times = [place.hear(at, at + lies * (at == BEGIN), BEGIN) for at in range(BEGIN, BEGIN + 3)]
    assert times == [0, BEGIN + 1, BEGIN + 2]
    assert place.cursor == BEGIN + 2 - REREAD


def test_the_first_message_may_have_an_absurd_time() -> None:
    """Of years ahead by the server, but of now by its commit: the place of the first message was
    years ahead, and after the next cut nothing came until then."""
    place = Place()
    place.hear(BEGIN + 1000 * DAY, BEGIN, BEGIN)
    heard(place, *(BEGIN + n for n in range(2 * ENOUGH)), now=BEGIN)
    assert BEGIN <= place.cursor <= BEGIN + ENOUGH


@pytest.mark.parametrize("slow", [0, 2 * SECOND])
def test_authors_clocks_are_seconds_apart(slow: int) -> None:
    """The place of the first message was what most of them said: a second later than what came
    right behind it, which a cut lost."""
    place = heard(Place(), *range(BEGIN, BEGIN + ENOUGH - 1), now=BEGIN - HOUR)
    place.hear(BEGIN + SECOND, BEGIN + SECOND - slow, BEGIN - HOUR)
    assert place.cursor == place.first == BEGIN + SECOND - slow


@pytest.mark.parametrize("early", [0, 5 * MINUTE])
def test_the_first_author_does_not_date_what_comes_from_before_an_outage(early: int) -> None:
    """Of two hours: the first message's commit says to be of now. All that was remembered of the
    time before seemed to be two hours old, and was forgotten: a minute counted twice."""
    place, now = Place(BEGIN, early), BEGIN + 2 * HOUR
    for n in range(3):
        assert place.hear(BEGIN - early + n, now - MINUTE, now) <= BEGIN + n
    for n in range(3, ENOUGH):
        assert place.hear(BEGIN - early + n, BEGIN - early + n, now) <= BEGIN + n


def test_a_cursor_holds_where_our_own_clock_is_behind_by_days() -> None:
    """As that of a machine without a battery is when it starts: it went on with the present."""
    assert connected(str(BEGIN), now=BEGIN - 30 * DAY).asked() == BEGIN - APART


def test_a_post_of_before_all_that_is_remembered_was_counted() -> None:
    """By a server an hour behind, which brings the whole hour again; where the server is not
    behind, such a post is a late one, and counts."""
    cursor = BEGIN + 2 * HOUR
    for behind, counted in ((HOUR, False), (0, True)):
        source = connected(str(cursor), BEGIN + DAY)
        for n in range(ENOUGH):
            brought(source, "science", at=cursor + behind + n, made=cursor + n, rkey=f"{n}")
        late = brought(source, "science", at=cursor + 20, made=cursor - 20 * MINUTE, rkey="late")
        assert isinstance(late, Post if counted else Checkpoint)
        near = brought(source, "science", at=cursor + 20, made=cursor - 5 * MINUTE, rkey="near")
        assert isinstance(near, Post), "whether it was counted is known by its id"
        slow = cursor + behind + SECOND
        other = brought(source, "science", at=slow, made=cursor - HOUR, rkey="slow")
        assert isinstance(other, Post), "new, by an author whose clock is an hour behind"


@pytest.mark.parametrize("ours", [0, -HOUR])
def test_a_post_by_a_clock_that_is_behind_counts_whatever_ours_says(ours: int) -> None:
    """Of the first messages of a connection, where our own clock is an hour behind: what the
    server said was no time then, and the author's clock alone dropped the post."""
    source = connected(str(BEGIN), BEGIN + MINUTE + ours)
    brought(source, "science", at=BEGIN, rkey="first")
    slow = brought(source, "science", at=BEGIN + SECOND, made=BEGIN - HOUR, rkey="slow")
    assert isinstance(slow, Post)


def test_a_clock_that_was_behind_and_is_ahead_brings_nothing_twice() -> None:
    """The server is asked for so much earlier a time, and brings what was so much before that: of
    22 minutes, 15 were known by their ids."""
    early, behind = EARLY_AT_MOST, 10 * MINUTE
    begun, oldest = BEGIN + DAY, BEGIN + DAY - early - behind
    place = Place(begun, early)
    for made in (*range(oldest, oldest + ENOUGH), oldest + MINUTE, begun - 5 * MINUTE):
        place.hear(made + behind, made, begun + HOUR)
        assert place.was_counted(made + behind, made) == (made < begun - 5 * MINUTE)


@example(  # the second server is behind by less than anybody notices, right after the first messages
    gaps=[1] * 37 + [20 * SECOND - 24, 20 * SECOND, 20 * SECOND], cuts=[(ENOUGH, 0), (ENOUGH, -29)]
)
@given(
    gaps=st.lists(st.integers(1, 20 * SECOND), min_size=40, max_size=120),
    cuts=st.lists(
        st.tuples(st.integers(1, 60), st.integers(-EARLY_AT_MOST + AGREE, EARLY_AT_MOST)),
        max_size=12,
    ),
)
def test_every_post_is_read_whatever_the_cuts_and_clocks(
    gaps: list[int], cuts: list[tuple[int, int]]
) -> None:
    """Servers up to ten minutes behind, or with clocks that are, cuts anywhere, a new process
    after each of them; what comes again is known by its id, so long as that is remembered."""
    times, now = [], BEGIN + DAY
    for gap in gaps:
        times.append(now := now + gap)
    got: dict[str, int] = {}
    cursor = ""
    for posts, behind in [*cuts, (len(times), 0)]:
        source = connected(cursor, now + HOUR)
        for _ in range(2):
            due = [n for n, time in enumerate(times) if time + behind >= source.asked()]
            due = due if cursor else list(range(len(times)))
            for n in due[:posts]:
                post = brought(source, "science", at=times[n] + behind, made=times[n], rkey=f"{n}")
                assert isinstance(post, Post)
                newest = max(got.values(), default=times[n])
                assert post.id not in got or newest - times[n] <= EARLY_AT_MOST + 2 * REREAD
                got[post.id] = times[n]
                cursor = post.cursor
                if source.place.begun_too_late and source.place.is_sure:
                    break
            if not source.place.begun_too_late or not source.place.is_sure:
                break
            source.early["?"] = min(AGREE - source.place.behind, EARLY_AT_MOST)
            source.begin(cursor, "?")
    assert len(got) == len(times), "lost"
