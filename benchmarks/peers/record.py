"""The record of a comparison, and the tables made from it."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.peers.measuring import Run
from benchmarks.peers.programs import OURS
from edgevision.errors import UsageError
from edgevision.storage import atomic
from edgevision.storage.codec import json_from_dataclass

KIND = "peers"
SCHEMA = 1


@dataclass(slots=True)
class Row:
    """A peer with a model."""

    model: str
    peer: str
    environment: str
    turns: list[int] = field(default_factory=list)
    """Number of the turn of each run."""
    runs: list[Run] = field(default_factory=list)
    ap: float | None = None
    ap50: float | None = None
    reason: str | None = None
    """Why it did not run, or why its last step failed."""

    def median(self, figure: Callable[[Run], float | None]) -> float | None:
        """Median over the runs; None if it was not measured."""
        values = [value for run in self.runs if (value := figure(run)) is not None]
        return statistics.median(values) if values else None


@dataclass(frozen=True, slots=True)
class Ratio:
    """Frames/s over those of another peer in the same turn: median and range of the turns."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f} to {self.most:.2f})"


def ratio(row: Row, base: Row) -> Ratio | None:
    """Frames/s of `row` over those of `base`; None if they share no turn."""
    based = dict(zip(base.turns, base.runs, strict=True))
    shares = [
        run.frames_per_s / based[turn].frames_per_s
        for turn, run in zip(row.turns, row.runs, strict=True)
        if turn in based
    ]
    return Ratio(statistics.median(shares), min(shares), max(shares)) if shares else None


def write(path: Path, head: dict[str, Any], rows: Sequence[Row]) -> None:
    """Write the record."""
    content = {"kind": KIND, "schema": SCHEMA, **head, "rows": [json_from_dataclass(row) for row in rows]}
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_file(path, (json.dumps(content, indent=1) + "\n").encode())


def read(path: Path) -> tuple[dict[str, Any], list[Row]]:
    """Read a record. Raises `UsageError` if it is not one."""
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        if (content.pop("kind"), content.pop("schema")) != (KIND, SCHEMA):
            raise KeyError("kind")
        rows = [Row(**{**one, "runs": [Run(**run) for run in one["runs"]]}) for one in content.pop("rows")]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} is no record of benchmarks.peers (kind {KIND!r}, schema {SCHEMA}): {error}; write one with"
            " `python -m benchmarks.peers --record FILE`"
        ) from error
    return content, rows


HEADER = (
    "program",
    "frames/s",
    "divided by edgevision float",
    "CPU ms a frame",
    "peak memory MiB",
    "first result s",
    "environment MiB",
    "AP",
)


def tables(head: dict[str, Any], rows: Sequence[Row]) -> str:
    """Markdown: facts of the machine, then for each model a table, the rows without figures, and the targets."""
    device, settings = head["device"], head["settings"]
    parts = [
        f"{device['cpu']} ({device['cpu_class']}), {len(settings['cores'])} cores, Python {device['python']},"
        f" {head['created'][:10]}, load at the start {head['load']:.1f}. Turns: {settings['turns']}, each with"
        f" {settings['frames']} frames of {settings['clip']}; confidence {settings['confidence']:g}, IoU"
        f" {settings['iou']:g}. AP on {settings['accuracy_images']} images."
        f" {head['note']}"
    ]
    for model in head["models"]:
        mine = [row for row in rows if row.model == model["name"]]
        about = "" if model["trained"] else " (random weights: no AP)"
        parts.append(f"### {model['name']}{about}\n\n{_table(mine, head['environments'])}")
        parts += [
            f"Not measured: {row.peer}: {row.reason or 'no turn was run'}." for row in mine if not row.runs
        ]
        parts += [f"Incomplete: {row.peer}: {row.reason}." for row in mine if row.runs and row.reason]
    return "\n\n".join(_wrapped(part) for part in parts)


def _wrapped(part: str) -> str:
    """Prose in lines of at most 100 columns; tables as they are."""
    if part.startswith("###"):
        return part
    lines, line = [], ""
    for word in part.split():
        if len(line) + 1 + len(word) > 100 and line:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return "\n".join([*lines, line])


def _table(rows: Sequence[Row], environments: dict[str, dict[str, Any]]) -> str:
    base = next((row for row in rows if row.peer == OURS), None)
    lines = [f"| {' | '.join(HEADER)} |", f"|{'---|' * len(HEADER)}"]
    for row in rows:
        if not row.runs:
            continue
        share = None if base is None or row is base else ratio(row, base)
        size = environments.get(row.environment, {}).get("mib")
        cells = [
            row.peer,
            _shown(row.median(lambda run: run.frames_per_s), 1),
            "1" if row is base else "-" if share is None else str(share),
            _shown(row.median(lambda run: run.cpu_ms), 1),
            _shown(row.median(lambda run: run.peak_mib), 0),
            _shown(row.median(lambda run: run.first_s), 2),
            _shown(size, 0),
            _shown(row.ap, 2),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _shown(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
