"""What authors and networks call adult; and hashtags that an owner blocks."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.settings import SettingsError, read
from app.sources import bluesky, mastodon

TAG = {"features": [{"$type": "app.bsky.richtext.facet#tag", "tag": "Science"}]}


def skeet(**record: Any) -> bytes:
    commit = {"operation": "create", "collection": "app.bsky.feed.post", "rkey": "r"}
    commit |= {"record": {"facets": [TAG], **record}}
    return json.dumps({"did": "did:plc:a", "time_us": 1, "commit": commit}).encode()


def labels(*values: Any) -> dict[str, Any]:
    kind = "com.atproto.label.defs#selfLabels"
    return {"$type": kind, "values": [{"val": value} for value in values]}


@pytest.mark.parametrize("label", ["porn", "sexual", "nudity", "graphic-media"])
def test_a_self_label_of_bluesky_says_that_a_post_is_adult(label: str) -> None:
    """Beside whichever others."""
    post = bluesky.SOURCE.parse(skeet(labels=labels("x", label)))
    assert post
    assert post.adult


@pytest.mark.parametrize(
    "found",
    [None, {}, [], "porn", 7, {"values": None}, {"values": "porn"}, {"values": ["porn", 1, [{}]]},
     labels(), labels("!no-unauthenticated"), labels(None, {}, ["porn"]), {"values": {"val": "porn"}}],
)  # fmt: skip
def test_what_is_no_such_label_costs_no_post(found: Any) -> None:
    """Clients write what they like there."""
    post = bluesky.SOURCE.parse(skeet(labels=found))
    assert post
    assert (post.adult, dict(post.hashtags)) == (False, {"science": "Science"})


@pytest.mark.parametrize("sensitive", [True, False, None, "true", 1])
def test_a_sensitive_status_of_mastodon_is_adult(sensitive: Any) -> None:
    """Only what is true is true."""
    status = {"id": "1", "tags": [{"name": "Science"}], "sensitive": sensitive}
    event = {"event": "update", "payload": json.dumps(status)}
    post = mastodon.SOURCE.parse(json.dumps(event).encode())
    assert post
    assert post.adult is (sensitive is True)


def test_blocked_hashtags_are_a_list_or_a_file(tmp_path: Path) -> None:
    """Compared after folding; also such as nobody could type."""
    listed = read({"BLOCKED_HASHTAGS": "#Science, ＢＡＤ,,c++"})
    assert listed.blocked_hashtags == {"science", "bad", "c++"}
    assert read({}).blocked_hashtags == frozenset()
    file = tmp_path / "blocked"
    file.write_text("\ufeffSCIENCE\r\n\n #two words \n")
    assert read({"BLOCKED_HASHTAGS": f"@{file}"}).blocked_hashtags == {"science", "two words"}


@pytest.mark.parametrize("content", [None, b"\xff\xfe\xff"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    """Before anything starts: what was to be blocked would be shown."""
    file = tmp_path / "blocked"
    if content:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=r"BLOCKED_HASHTAGS='@.*': expected a comma list"):
        read({"BLOCKED_HASHTAGS": f"@{file}"})
