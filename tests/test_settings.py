"""What may be chosen from outside, and what is said of a wrong choice."""

from dataclasses import fields
from pathlib import Path

import pytest

from app.settings import Settings, SettingsError, load, read, unknown_names
from app.sources import check_sources

WRONG = {
    "HASHTAGS": ["two words", "science,two words", "#", ",", "2024", "a!b", "x" * 101],
    "SOURCES": ["twitter", "demo,twitter", ",", "demo;replay"],
    "REDIS_URL": [
        "localhost:6379",
        "http://localhost",
        "redis://",
        "redis://h:99999",
        "rediss//h",
        "redis://h/first",
        "redis://h/1/2",
    ],
    "TICK_SECONDS": ["0", "0.05", "11", "-1", "nan", "inf", "half", "0,5"],
    "X_API_URL": [
        "api.twitter.com",
        "ftp://h",
        "http://",
        "http://h:port",
        "http://a b",
        "http://[",
    ],
    "X_BEARER_TOKEN": ["two words", "line\nbreak", "tökén", "Bearer abc"],
    "ALLOW_EVICTION": ["yes", "1"],
    "METRICS_BIND": ["9100", "localhost", ":9100", "h:0", "h:99999", "h:port"],
    "PUBLIC_URL": ["pulse.example", "ftp://h", "http://"],
    "LOG_FORMAT": ["xml", "1"],
    "EXPRESS_LANE": ["fast", "1"],
    "MAX_VIEWERS": ["0", "-1", "many", "1e4"],
    "MAX_VIEWERS_PER_ADDRESS": ["0", "1.5", "all"],
    "TRUSTED_PROXIES": ["localhost", ",", "10.0.0.1/8", "127.0.0.1 ::1", "1.2.3.4/33", "none"],
    "X_MODE": ["fast", "0"],
    "X_BACKFILL": ["yes", "1", "of"],
    "X_POSTS_PER_DAY": ["-1", "many", "1.5", "1e6"],
    "JETSTREAM_URL": ["http://h", "wss://", ",", "wss://good,nonsense"],
    "BLUESKY_API_URL": ["public.api.bsky.app", "wss://h", "https://"],
    "SHOW_POSTS": ["maybe", "1"],
    "MASTODON_URL": ["mastodon.social", "wss://h", "https://", "https://:443"],
    "MASTODON_TOKEN": ["two words", "line\nbreak"],
    "REPLAY_SPEED": ["-1", "fast", "nan", "1e7"],
    "DEMO_SEED": ["one", "1.5"],
    "DEMO_PAST_HOURS": ["25", "-1", "nan", "a day"],
    "MAX_HASHTAGS": ["999", "many", "1e6"],
    "BLOCKED_HASHTAGS": ["@", "@/no/such/file"],
    "ALERT_URL": ["example.org/hook", "wss://h", "https://"],
    "ALERT_SECRET": ["two words", "line\nbreak"],
}
CHECKED_WHEN_USED = {
    "BIND", "DATA_FOLDER", "PEOPLE_KEY_FILE", "REPLAY_FILE", "REDIS_CA", "REDIS_CERT", "REDIS_KEY",
}  # fmt: skip
SECRET = {"REDIS_URL", "X_BEARER_TOKEN", "MASTODON_TOKEN", "ALERT_URL", "ALERT_SECRET"}


def test_every_setting_is_here() -> None:
    """A new setting needs its wrong values in the table above."""
    assert {field.name.upper() for field in fields(Settings)} == WRONG.keys() | CHECKED_WHEN_USED


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in WRONG.items() for v in values])
def test_wrong_value_is_one_sentence(name: str, value: str) -> None:
    """The sentence has the name, the value unless it is secret, and what was expected."""
    with pytest.raises(SettingsError) as raised:
        read({name: value})
    told = str(raised.value)
    assert told.startswith(f"{name}=") and told.endswith(".") and "\n" not in told
    assert ": expected " in told
    assert (repr(value) in told) == (name not in SECRET)


@pytest.mark.parametrize("name", sorted(SECRET))
def test_secrets_are_shown_nowhere(name: str) -> None:
    """Neither the settings as text nor the sentence about a wrong one has a secret in it."""
    addresses = {"REDIS_URL": "redis://:hunter2@localhost", "ALERT_URL": "http://h/hunter2"}
    value = addresses.get(name, "hunter2")
    settings = read({name: value})
    assert getattr(settings, name.lower()) == value
    assert "hunter2" not in f"{settings} {settings!r}"
    with pytest.raises(SettingsError) as raised:
        read({name: "hunter2 hunter2"})
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("source", "missing"),
    [("x", "X_BEARER_TOKEN"), ("mastodon", "MASTODON_URL"), ("replay", "REPLAY_FILE")],
)
def test_source_without_what_it_needs_is_one_sentence(source: str, missing: str) -> None:
    """A source that cannot work without a setting names it, and itself."""
    with pytest.raises(SettingsError, match=f"^{missing} is not set: expected .*'{source}'.$"):
        check_sources(read({"SOURCES": f"demo,{source}"}))


def test_a_source_that_is_not_chosen_needs_nothing() -> None:
    """What another one lacks stops no start."""
    check_sources(read({"SOURCES": "demo,bluesky"}))
    check_sources(read({"SOURCES": "x", "X_BEARER_TOKEN": "t", "X_MODE": "counts"}))


def test_replay_file_must_be_a_file(tmp_path: Path) -> None:
    """A recording that is missing, or a folder, stops the start."""
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(SettingsError, match=r"^REPLAY_FILE='.*': expected a file that exists"):
            check_sources(read({"SOURCES": "replay", "REPLAY_FILE": str(path)}))


def test_good_values_are_understood() -> None:
    """What the README shows is taken as it is meant."""
    settings = read(
        {
            "HASHTAGS": " #Science, ＦＯＯＴＢＡＬＬ,science ,サッカー",
            "SOURCES": "Demo, demo",
            "REDIS_URL": "unix:///run/redis.sock",
            "TICK_SECONDS": "2",
            "X_API_URL": "http://localhost:8080/",
            "X_BACKFILL": "True",
        }
    )
    assert settings.hashtags == ("science", "football", "サッカー")
    assert settings.sources == ("demo",)
    assert settings.redis_url == "unix:///run/redis.sock"
    assert settings.tick_seconds == 2.0
    assert settings.x_api_url == "http://localhost:8080"
    assert settings.x_backfill is True
    assert read({"X_BACKFILL": "ON"}).x_backfill is True
    assert read({"EXPRESS_LANE": "off"}).express_lane is False
    assert read({}).x_backfill is read({"X_BACKFILL": "false"}).x_backfill is False


def test_empty_value_means_the_default() -> None:
    """An empty setting is one that is left out, as in a copied example file."""
    names = {field.name.upper(): " " for field in fields(Settings)}
    assert read(names) == read({})


def test_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting is read from .env unless the environment has it."""
    (tmp_path / ".env").write_text("\ufeffHASHTAGS=#cats  # a note\nTICK_SECONDS='3'\n\nEMPTY\n")
    for field in fields(Settings):
        monkeypatch.delenv(field.name.upper(), raising=False)
    monkeypatch.setenv("TICK_SECONDS", "4")
    settings = load(tmp_path)
    assert (settings.hashtags, settings.tick_seconds) == (("cats",), 4.0)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"HASHTAGS=cats\nthis is no setting\n", "expected NAME=value from line 2 on"),
        (b'HASHTAGS="cats\nTICK_SECONDS=1\n', "expected NAME=value from line 1 on"),
        (b"HASHTAGS=\xff\xfe\n", "expected a readable UTF-8 file"),
        (b"TICK_SECONDS=soon\n", "TICK_SECONDS='soon': expected a number"),
    ],
)
def test_broken_file_is_one_sentence(tmp_path: Path, content: bytes, says: str) -> None:
    """A .env that cannot be understood stops the start, and the sentence says where it is wrong."""
    (tmp_path / ".env").write_bytes(content)
    with pytest.raises(SettingsError) as raised:
        load(tmp_path)
    assert says in str(raised.value) and "\n" not in str(raised.value)


def test_folder_in_place_of_the_file_is_one_sentence(tmp_path: Path) -> None:
    """A container's mount that made a folder of .env is noticed."""
    (tmp_path / ".env").mkdir()
    with pytest.raises(SettingsError, match="expected a readable UTF-8 file"):
        load(tmp_path)


def test_a_name_that_is_no_setting_is_said(tmp_path: Path) -> None:
    """With the one that may be meant; its value, which may be a secret, is not shown."""
    written = "HASHTAG=cats\nX_BEARER=hunter2\nTICK_SECONDS=1\nCOLOUR=red\n"
    (tmp_path / ".env").write_text(f"{written}{'n' * 100}=1\n")
    assert load(tmp_path).tick_seconds == 1
    assert unknown_names(tmp_path) == [
        ".env: HASHTAG is no setting and does nothing: HASHTAGS may be meant.",
        ".env: X_BEARER is no setting and does nothing: X_BEARER_TOKEN may be meant.",
        ".env: COLOUR is no setting and does nothing.",
        f".env: {'n' * 40} is no setting and does nothing.",
    ]
    assert unknown_names(tmp_path / "elsewhere") == []
