"""What was measured, as one table and as JSON."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench.processes import machine


@dataclass
class Row:
    """One figure, measured several times; a limit is on its median."""

    part: str
    what: str
    unit: str
    values: Sequence[float]
    most: float | None = None
    least: float | None = None

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def limit(self) -> str:
        if self.most is not None:
            return f"at most {shown(self.most)}"
        return f"at least {shown(self.least)}" if self.least is not None else ""

    @property
    def verdict(self) -> str:
        if not self.limit:
            return ""
        high = self.most is not None and self.median > self.most
        low = self.least is not None and self.median < self.least
        return "MISSED" if high or low else "kept"


@dataclass
class Report:
    """All rows, and what a reader must know beside them."""

    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(
        self,
        part: str,
        what: str,
        unit: str,
        values: Sequence[float],
        most: float | None = None,
        least: float | None = None,
    ) -> None:
        row = Row(part, what, unit, list(values), most, least)
        self.rows.append(row)
        say("  ".join(cell for cell in (part, *cells(row)) if cell))

    def ratio(
        self,
        part: str,
        what: str,
        over: Sequence[float],
        under: Sequence[float],
        most: float | None = None,
    ) -> None:
        """The medians of the ratios of what was measured in the same turn."""
        pairs = [a / b for a, b in zip(over, under, strict=False)]
        if pairs:
            self.add(part, what, "times", pairs, most=most)

    def note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)
            say(f"note: {sentence}")

    def table(self) -> str:
        """In Markdown, one for each part, which is readable as it is: the columns are aligned."""
        about = "{cores} cores, {cpu}, Python {python}, Linux {kernel}".format(**machine())
        parts = {
            row.part: [each for each in self.rows if each.part == row.part] for row in self.rows
        }
        tables = [line for part, rows in parts.items() for line in ("", *table_of(part, rows))]
        return "\n".join([about, *tables, "", *self.notes])

    def write(self, file: Path) -> None:
        rows = [{**vars(row), "median": row.median, "verdict": row.verdict} for row in self.rows]
        told = {"machine": machine(), "rows": rows, "notes": self.notes}
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")


def table_of(part: str, rows: Sequence[Row]) -> list[str]:
    head = (part, "unit", "min", "median", "max", "limit", "")
    lines = [head, *(cells(row) for row in rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(head))]
    written = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    return [written[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *written[1:]]


def cells(row: Row) -> tuple[str, ...]:
    low, high = shown(min(row.values)), shown(max(row.values))
    return row.what, row.unit, low, shown(row.median), high, row.limit, row.verdict


def shown(value: float | None) -> str:
    """Three digits, and all that stand before the point."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def say(line: str) -> None:
    """What is going on, while it goes on; the table is what is kept."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
