"""The counter against plain counting."""

from collections import Counter as Plain

from hypothesis import given
from hypothesis import strategies as st

from app.ingest.counter import Counter
from app.hashtags import key
from app.messages import Post


def named(spellings: set[str]) -> dict[str, str]:
    return {key(spelling): spelling for spelling in sorted(spellings)}


posts = st.builds(
    Post,
    source=st.sampled_from(["x", "bluesky"]),
    id=st.just("1"),
    written=st.just(0),
    author=st.just(""),
    hashtags=st.sets(st.sampled_from("abcABC")).map(named),
    cursor=st.sampled_from(["", "1", "2"]),
)


def flat(increments: dict[str, dict[str, int]]) -> Plain[tuple[str, str]]:
    return Plain({(t, s): n for t, parts in increments.items() for s, n in parts.items() if n})


@given(st.lists(st.lists(posts)))
def test_cuts_add_up_to_what_was_added(ticks: list[list[Post]]) -> None:
    """Wherever the cuts fall, each post counts once under each tracked hashtag it names."""
    counter, total = Counter(frozenset("ab")), Plain[tuple[str, str]]()
    for tick in ticks:
        for post in tick:
            counter.add(post)
        total += flat(counter.cut()[0])
    named = (
        (t, post.source) for tick in ticks for post in tick for t in post.hashtags if t in "ab"
    )
    assert total == Plain(named)


def test_the_cursor_goes_with_the_counts() -> None:
    """A cut hands over the cursor of the last post in it; a post without one leaves it."""
    counter = Counter(frozenset("a"))
    counter.add(Post("x", "1", 0, "", {"a": "a"}, cursor="7"))
    counter.add(Post("x", "2", 0, "", {"a": "a"}))
    assert counter.cut() == ({"a": {"x": 2}}, {"x": "7"})
    assert counter.cut() == ({}, {"x": "7"})


@given(st.lists(posts), st.lists(posts))
def test_what_is_put_back_is_cut_again(before: list[Post], after: list[Post]) -> None:
    """Put back for one source: its posts return, the other's do not."""
    counter = Counter(frozenset("abc"))
    for post in before:
        counter.add(post)
    taken, _ = counter.cut()
    for post in after:
        counter.add(post)
    counter.put_back(taken, ["x"])
    expected = Plain(
        (tag, post.source)
        for posts, kept in ((before, ("x",)), (after, ("x", "bluesky")))
        for post in posts
        if post.source in kept
        for tag in post.hashtags
    )
    assert flat(counter.cut()[0]) == expected


def test_forgetting_a_source_leaves_the_others() -> None:
    """What it counted since the cut is dropped, and it goes on from the given cursor."""
    counter = Counter(frozenset("a"))
    counter.add(Post("replay", "1", 0, "", {"a": "a"}, cursor="9"))
    counter.add(Post("x", "1", 0, "", {"a": "a"}))
    counter.forget("replay", "4")
    increments, cursors = counter.cut()
    assert flat(increments) == {("a", "x"): 1}
    assert cursors == {"replay": "4"}


def test_what_was_put_back_is_forgotten_as_well() -> None:
    """Its source is read again from before it."""
    counter = Counter(frozenset("a"))
    counter.put_back({"a": {"x": 2, "y": 1}}, ["x", "y"])
    counter.forget("x", "4")
    assert flat(counter.cut()[0]) == {("a", "y"): 1}


def test_posts_of_the_past_are_kept_apart() -> None:
    """By the minute, as many as there were; their spelling is nobody's, so none is shown."""
    counter = Counter(frozenset("a"))
    for at, number in ((60_000, 2), (120_000, 0), (60_000, 3)):
        counter.add(Post("x", "", at, "", {"a": "A", "b": "B"}, "7", posts=number, past=True))
    counter.add(Post("x", "", 0, "", {"a": "a"}, posts=4))
    assert counter.cut() == ({"a": {"x": 4}}, {"x": "7"})
    assert counter.cut_past() == {"a": {"x": {60_000: 5, 120_000: 0}}}
    assert counter.cut_past() == {}
    assert counter.cut_spellings() == {"a": {"a": 4}}


def test_posts_of_the_past_are_put_back_and_forgotten_like_all_others() -> None:
    """Of the sources that are named, and of those that are read again."""
    counter = Counter(frozenset("a"))
    taken = {"a": {"x": {60_000: 2}, "y": {60_000: 1}}}
    counter.put_back({}, ["x"], taken)
    counter.put_back({}, ["x", "y"], taken)
    assert counter.past == {"a": {"x": {60_000: 4}, "y": {60_000: 1}}}
    counter.forget("x", "9")
    assert counter.cut_past() == {"a": {"y": {60_000: 1}}}
    counter.put_back({}, ["x"], taken)
    counter.forget("x", "9")
    assert counter.cut_past() == {}
