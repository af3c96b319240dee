"""The report as Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from edgevision.benchmark.energy import EnergyRecord
from edgevision.benchmark.layers.record import HEADER as LAYER_HEADER
from edgevision.benchmark.layers.record import layer_cells, total_lines
from edgevision.benchmark.report.rows import ReportRow
from edgevision.sinks.files.csv_table import harmless

HEADER = (
    "run",
    "p50 ms",
    "p90 ms",
    "p99 ms",
    "frames/s",
    "J/frame",
    "accuracy",
    "latency of",
    "batch",
    "peak MiB",
    "library",
)
MOST_LAYERS = 15
"""Layers of a profile that are shown."""


def markdown(rows: Sequence[ReportRow]) -> str:
    """A table of the runs, the devices, and the notes on runs that must not be compared."""
    lines = [_line(HEADER), _line(["---", *["---:"] * 6, "---", "---:", "---:", "---"])]
    lines += [_line(cells(row)) for row in rows]
    devices = dict.fromkeys(device_text(row) for row in rows)
    lines += ["", *(f"Device: {_escaped(text)}." for text in devices)]
    notes = [
        f"- {_escaped(row.label)} ({_escaped(row.file)}): {_escaped(note)}"
        for row in rows
        for note in row.notes
    ]
    return "\n".join([*lines, *([""] if notes else []), *notes, *_layer_lines(rows)]) + "\n"


def comma_separated(rows: Sequence[ReportRow]) -> str:
    """All figures, one line for each run; texts that a spreadsheet would execute get a leading apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*HEADER, "file", "created", "device", "notes"])
    for row in rows:
        texts = (*cells(row), row.file, row.created, device_text(row), "; ".join(row.notes))
        writer.writerow([harmless(text) for text in texts])
    return out.getvalue()


def cells(row: ReportRow) -> tuple[str, ...]:
    """The row's cells in the order of `HEADER`; empty where a record has no such figure."""
    return (
        row.label,
        *(f"{value:.2f}" for value in (row.p50_ms, row.p90_ms, row.p99_ms)),
        "" if row.frames_per_s is None else f"{row.frames_per_s:.1f}",
        _joules(row.energy),
        "" if row.accuracy is None else f"{row.accuracy.metric} {row.accuracy.points:.1f}",
        row.latency_of,
        str(row.batch),
        "" if row.memory_mib is None else f"{row.memory_mib:.0f}",
        row.library,
    )


def _layer_lines(rows: Sequence[ReportRow]) -> list[str]:
    """A table of the costliest layers for each profile."""
    lines = []
    for row in rows:
        if row.profile is not None:
            lines += ["", f"Layers of {_escaped(row.label)}:", "", _line(LAYER_HEADER)]
            lines.append(_line(["---", "---", *["---:"] * 4, "---"]))
            lines += [_line(layer_cells(layer)) for layer in row.profile.costliest(MOST_LAYERS)]
            lines += ["", *(f"- {_escaped(text)}" for text in total_lines(row.profile))]
    return lines


def _joules(energy: EnergyRecord | None) -> str:
    """Energy of a frame and what consumed it, because a GPU's is not comparable with a module's."""
    if energy is None or energy.joules_per_frame is None:
        return ""
    return f"{energy.joules_per_frame:.3f} ({energy.scope})"


def device_text(row: ReportRow) -> str:
    """The machine on one line."""
    device = row.device
    parts = (
        device.board,
        device.cpu,
        device.cpu_class,
        f"{device.cores_usable:g} cores",
        f"{device.memory_mib} MiB",
        *device.gpus,
        device.system,
        device.l4t and f"L4T {device.l4t}",
        device.jetpack and f"JetPack {device.jetpack}",
        device.power_mode and f"power mode {device.power_mode}",
    )
    return ", ".join(part for part in parts if part)


def _line(texts: Sequence[str]) -> str:
    return f"| {' | '.join(_escaped(text) for text in texts)} |"


def _escaped(text: str) -> str:
    """Characters that Markdown or HTML in it would interpret; a line break would end the row."""
    for character, stands_for in (("&", "&amp;"), ("<", "&lt;"), ("|", "\\|"), ("\n", " "), ("\r", " ")):
        text = text.replace(character, stands_for)
    return text
