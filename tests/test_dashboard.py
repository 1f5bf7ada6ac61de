"""The dashboard and the rules for Prometheus: they ask for what is told (tests/test_metrics.py looks at
a running app), in Prometheus's own language, and each alert fires when it should and only then."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from conftest import missing
from servers import ROOT

from app.metrics import FIGURES

RULES = ROOT / "deploy" / "alerts.yml"
BOARD: dict[str, Any] = json.loads((ROOT / "deploy" / "grafana.json").read_text())
NAME = r"\b(?:pulse|process)_\w+"


def expressions() -> list[str]:
    """What the dashboard and the rules ask Prometheus."""
    board = [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]
    rules = re.findall(r"^ +expr: (.*)$", RULES.read_text(), re.M)
    assert len(rules) == RULES.read_text().count("alert:")
    return board + rules


def names_asked_for() -> set[str]:
    return {name for asked in expressions() for name in re.findall(NAME, asked)}


def promtool(*command: str) -> "subprocess.CompletedProcess[str]":
    program = shutil.which("promtool") or missing("promtool")
    return subprocess.run([program, *command], capture_output=True, text=True)


def test_each_expression_is_one_with_labels_that_there_are(tmp_path: Path) -> None:
    """By Prometheus's own tool; and what is summed by a label has that label."""
    for asked in expressions():
        names = [re.sub("_(bucket|sum|count)$", "", name) for name in re.findall(NAME, asked)]
        assert names, asked
        has = {label for name in names for label in FIGURES.get(name, ("", (), ""))[1]}
        by = {one for found in re.findall(r"by \((.*?)\)", asked) for one in found.split(", ")}
        assert by - {"le"} <= has, asked
    rules = [{"record": f"r{n}", "expr": asked} for n, asked in enumerate(expressions())]
    file = tmp_path / "rules.yml"
    for last, is_one in ([], True), ([{"record": "r", "expr": "sum(by)("}], False):
        file.write_text(json.dumps({"groups": [{"name": "all", "rules": [*rules, *last]}]}))
        done = promtool("check", "rules", str(file))
        assert (done.returncode == 0) == is_one, done.stdout + done.stderr


def test_the_panels_of_the_dashboard() -> None:
    """Each has its own number and place, on a grid of 24, and asks the source that is chosen."""
    panels = BOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set[tuple[int, int]]()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert cells and not cells & taken and max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    [chosen] = BOARD["templating"]["list"]
    assert (chosen["name"], chosen["type"], chosen["query"]) == (
        "datasource",
        "datasource",
        "prometheus",
    )


def test_prometheus_takes_what_the_readme_gives_it(tmp_path: Path) -> None:
    """With the rules beside it; it names the addresses that the units set."""
    text = (ROOT / "deploy" / "README.md").read_text()
    [config] = re.findall(r"^```yaml\n(.*?)^```$", text, re.M | re.S)
    for unit in ("ingest", "web@"):
        text = (ROOT / "deploy" / f"hashtag-pulse-{unit}.service").read_text()
        assert re.findall(r"METRICS_BIND=(.*)", text)[0].replace("%i", "8001") in config
    shutil.copy(RULES, tmp_path)
    for last, status in (("", 0), ("nothing: of theirs\n", 1)):
        (tmp_path / "prometheus.yml").write_text(config + last)
        done = promtool("check", "config", str(tmp_path / "prometheus.yml"))
        assert done.returncode == status, done.stdout + done.stderr


WELL = {
    "pulse_writer": "1x60",
    'pulse_source_state{source="bluesky",state="live"}': "1x60",
    'pulse_posts_total{source="bluesky"}': "0+600x60",
    'pulse_skipped_total{source="bluesky"}': "0+6x60",
    'pulse_redis_trouble{part="web"}': "0x60",
    "pulse_tick_lag_seconds": "0.01x60",
    'pulse_frame_age_seconds_bucket{le="0.5"}': "0+100x60",
    'pulse_frame_age_seconds_bucket{le="5"}': "0+100x60",
    'pulse_frame_age_seconds_bucket{le="+Inf"}': "0+100x60",
    "pulse_viewers": "80x60",
    "pulse_viewers_most": "100x60",
    'pulse_refusals_total{reason="requests"}': "0+6x60",
    "pulse_x_posts_read": "80x60",
    "pulse_x_posts_ceiling": "100x60",
}
"""Series to their values, one a minute."""
ILL = {
    "pulse_writer": "0x60",
    'pulse_source_state{source="bluesky",state="down"}': "1x60",
    'pulse_posts_total{source="bluesky"}': "0x60",
    'pulse_skipped_total{source="bluesky"}': "0+600x60",
    'pulse_redis_trouble{part="web"}': "1x60",
    "pulse_tick_lag_seconds": "3x60",
    'pulse_frame_age_seconds_bucket{le="0.5"}': "0+90x60",
    "pulse_viewers": "95x60",
    'pulse_refusals_total{reason="requests"}': "0+600x60",
    "pulse_x_posts_read": "95x60",
}
"""Instead of those of the same name."""
ALERTS: dict[str, tuple[dict[str, str], str]] = {
    "NothingIsCounted": ({"severity": "page"}, "No ingester writes."),
    "SourceIsDown": (
        {"severity": "page", "source": "bluesky", "state": "down"},
        "Nothing comes from bluesky: it is down.",
    ),
    "SourceIsSilent": (
        {"severity": "page", "source": "bluesky"},
        "No post of bluesky for ten minutes.",
    ),
    "RedisTrouble": (
        {"severity": "page", "part": "web"},
        "Something is wrong with Redis, says web; see the log.",
    ),
    "TicksAreLate": (
        {"severity": "page"},
        "Ticks are heard 2 s after their end; or a clock is wrong.",
    ),
    "FramesAreLate": ({"severity": "ticket"}, "One frame in a hundred is older than a second."),
    "NearlyFull": ({"severity": "ticket"}, "Nine of ten places for viewers are taken."),
    "VisitorsAreRefused": (
        {"severity": "ticket", "reason": "requests"},
        "More than one request a second is refused: requests.",
    ),
    "MessagesCannotBeRead": (
        {"severity": "ticket", "source": "bluesky"},
        "One in ten messages of bluesky cannot be read: has its form changed?",
    ),
    "XCeilingIsNear": ({"severity": "ticket"}, "Nine tenths of X_POSTS_PER_DAY are read."),
}
"""By their names: the labels and the text that they come with."""


def test_every_alert_fires_when_it_should_and_only_then(tmp_path: Path) -> None:
    """After 45 minutes of a world that is well, and of one in which all is wrong."""
    assert set(ALERTS) == set(re.findall(r"alert: (\w+)", RULES.read_text()))
    ill = {one.partition("{")[0] for one in ILL if "bucket" not in one}
    rest = {one: values for one, values in WELL.items() if one.partition("{")[0] not in ill}
    told = {
        name: [{"exp_labels": labels, "exp_annotations": {"summary": text}}]
        for name, (labels, text) in ALERTS.items()
    }
    tests = [
        judged(series, {name: expected if sick else [] for name, expected in told.items()})
        for series, sick in ((WELL, False), (rest | ILL, True))
    ]
    file = tmp_path / "tests.yml"
    file.write_text(
        json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests})
    )
    done = promtool("test", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


def judged(series: dict[str, str], told: dict[str, list[Any]]) -> dict[str, Any]:
    """A test for promtool: what each alert is after these series."""
    return {
        "interval": "1m",
        "input_series": [{"series": one, "values": values} for one, values in series.items()],
        "alert_rule_test": [
            {"eval_time": "45m", "alertname": name, "exp_alerts": alerts}
            for name, alerts in told.items()
        ],
    }
