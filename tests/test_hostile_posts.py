"""Many strangers who post, many who watch: what each of them costs the web process is bounded.

Counted are operations, where the time of one is known: see bench/ for how long they take.
"""

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from app.ingest.recent_uses import RecentUses
from app.messages import Post, Shown, Tick, dumps
from app.store.posts import ALL, Entry, StoredPost
from app.web import recent_posts as module
from app.web.posts import LOOKED_AT, MOST_WAITING, PostEvents, ShownPosts
from app.web.recent_posts import MOST_GONE, RecentPosts
from app.web.ticks import Ticks

NOW = 4_102_444_800_000
POSTS, FANOUTS = 2000, 300
SHOWN = Shown("https://m.example/@a/1", "Hi", "Ada", "ada")


class Counted:
    """A fan-out that knows how often it was looked at."""

    looked_at = 0

    def __init__(self, *tags: str) -> None:
        self.of = tags

    @property
    def tags(self) -> tuple[str, ...]:
        Counted.looked_at += 1
        return self.of


class Feed:
    """As much of a feed as events of posts want to know: who watches what."""

    def __init__(self, fanouts: Iterator[Counted]) -> None:
        self.fanouts = dict(enumerate(fanouts))
        self.watched: dict[str, Any] = {}
        for n, fanout in self.fanouts.items():
            for tag in fanout.of:
                self.watched.setdefault(tag, type("Watched", (), {"fanouts": set()}))
                self.watched[tag].fanouts.add(n)

    def clock(self) -> float:
        return 0.0


def post(number: int, *tags: str, shown: Shown | None = SHOWN) -> Entry:
    made = StoredPost("mastodon", f"{number}", "1", NOW, tags or ("science",), shown=shown)
    return Entry(f"{NOW}-{number}", made)


def events_for(*fanouts: Counted) -> PostEvents:
    posts: Any = type("ShownPosts", (), {})()
    posts.feed, posts.recent = Feed(iter(fanouts)), RecentPosts()
    posts.recent.listens = True
    return PostEvents(posts)


async def test_the_newest_of_thousands(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of one hashtag, and none of them to be shown: no more than the newest are looked at."""
    looked_at = []
    monkeypatch.setattr("app.web.posts.can_be_shown", lambda post: looked_at.append(post))
    posts: Any = object.__new__(ShownPosts)
    posts.feed = type("Feed", (), {"clock": lambda _: 0.0, "time": lambda _: NOW})()
    posts.recent, posts.read_at = RecentPosts(), 0.0
    for n in range(POSTS):
        posts.recent.add(post(n, "science", "art", shown=None), is_new=False)
    answer = await posts.newest(None, ["science", "art"])
    assert (answer["posts"], answer["left_out"]) == ([], POSTS)
    assert len(looked_at) == LOOKED_AT < POSTS


def test_of_posts_with_many_hashtags_there_are_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    """And of those with long texts; what is gone takes nothing."""
    monkeypatch.setattr(module, "MOST_WEIGHT", 1000)
    recent, long = RecentPosts(), Shown("https://m.example", "x" * 3000, "", "")
    for n in range(200):
        recent.add(post(n, *[f"t{n} {k}" for k in range(30)], shown=long), is_new=False)
    recent.forget(NOW)
    assert 0 < recent.weight <= 1000
    assert len(recent.posts) == 1000 // 41
    assert len(recent.tags) == 30 * len(recent.posts)
    recent.take_back(Entry(f"{NOW}-999", gone=(next(iter(recent.posts)),)))
    assert len(recent.posts) == recent.weight // 41
    recent.take_back(Entry(f"{NOW}-999", gone=(ALL,)))
    assert recent.weight == 0


async def test_a_burst_of_posts_looks_at_each_fan_out_once() -> None:
    """However many posts there are; each is told how many there were, and of the last ones one."""
    fanouts = [Counted("science", f"t{n}") for n in range(FANOUTS)]
    events = events_for(*fanouts)
    for n in range(POSTS):
        events.recent.add(post(n, "science", f"t{n % 2}", f"u{n}"), is_new=True)
    Counted.looked_at = 0
    new, _ = events.recent.take_news()
    picks = await events.pick(new, events.posts.feed.fanouts, 1.0)  # type: ignore[attr-defined]
    assert Counted.looked_at <= 3 * FANOUTS
    assert set(events.left.values()) == {POSTS}
    assert sorted(tags for each in picks.values() for tags in each) == sorted(f.of for f in fanouts)
    assert set(picks) <= {f"{NOW}-{n}" for n in range(POSTS - MOST_WAITING, POSTS)}
    assert await events.pick({}, events.posts.feed.fanouts, 1.1) == {}  # type: ignore[attr-defined]


def test_of_many_that_are_taken_back_nobody_is_told_each() -> None:
    """An account that left, a source that was lost: each page asks anew."""
    events = events_for(Counted("science"))
    ids = [f"{NOW}-{n}" for n in range(MOST_GONE + 1)]
    for number, some in enumerate((ids[:-1], ids), 1):
        for n in range(0, len(some), 10):
            events.recent.take_back(Entry(f"{NOW}-99999", gone=tuple(some[n : n + 10])))
        _, events.gone = events.recent.take_news()
        events.take(number)
    assert events.between(["science"], 0, 1).count(b"-") == MOST_GONE
    assert events.between(["science"], 1, 2) == b'event: gone\ndata: {"ids":["*"]}\n\n'


def test_no_name_of_a_stranger_stays_for_ever() -> None:
    """Python 3.12 forgets nothing that was interned (gh-113993): 150 bytes for each new hashtag and
    each new host. In the log of ticks a hashtag is one text all the same."""
    name, ticks = f"hashtag{NOW}", Ticks()
    for number in (1, 2):
        about = {"id": f"{number}-0", "previous": "", "at": NOW, "seconds": 0.5}
        text = dumps({**about, "counts": {name: {"x": number}}})
        ticks.hear(Tick.from_json(text), 0.5, 0.0)
    [tag] = ticks.lines
    assert all(head.changed[0] is tag for head in ticks.heads)
    lately, host = RecentUses(), f"{name}.example"
    lately.add(Post("x", "1", 0, "ada", {name: name}, domains=(host,)), [name], NOW, NOW)
    assert lately.hosts[name]
    for kept in (tag, host):
        same = "".join(list(kept))
        assert same is not kept
        assert sys.intern(same) is same, "it was not known"
