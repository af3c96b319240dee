"""The report as one self-contained page: no script, no font, no request."""

from __future__ import annotations

import importlib.resources
from collections.abc import Sequence
from html import escape

import edgevision
from edgevision.benchmark.layers.record import HEADER as LAYER_HEADER
from edgevision.benchmark.layers.record import layer_cells, total_lines
from edgevision.benchmark.report.charts import distributions, pareto, soaks, stage_bars
from edgevision.benchmark.report.rows import ReportRow
from edgevision.benchmark.report.tables import HEADER, MOST_LAYERS, cells, device_text
from edgevision.contract.spec import utc_now

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""Content-Security-Policy of the page: a browser loads nothing."""
NUMBERS = (
    "batch",
    "p50 ms",
    "p90 ms",
    "p99 ms",
    "frames/s",
    "J/frame",
    "peak MiB",
    "accuracy",
    *LAYER_HEADER[2:6],
)
KEYS = '<ul class="keys"><li>p50</li><li class="p90">p90</li><li class="p99">p99</li></ul>'


def page(rows: Sequence[ReportRow], title: str) -> str:
    """The page; `rows` is not empty. Texts of records are escaped."""
    style = (importlib.resources.files(__package__) / "page.css").read_text()
    sections = [
        ("Results", _results(rows)),
        ("Accuracy and latency", pareto(rows)),
        ("Latency distributions", KEYS + distributions(rows)),
        ("Stages", stage_bars(rows)),
        ("Layers", _layers(rows)),
        ("Over time", soaks(rows)),
        ("Do not compare", _notes(rows)),
        ("Devices", _devices(rows)),
    ]
    body = "".join(
        f"<section><h2>{heading}</h2>{content}</section>" for heading, content in sections if content
    )
    count = f"{len(rows)} run{'' if len(rows) == 1 else 's'}"
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{escape(title)}</title><style>{style}</style></head>'
        f"<body><header><h1>{escape(title)}</h1><p>{count}</p></header><main>{body}</main>"
        f"<footer>edgevision {escape(edgevision.__version__)}, {utc_now()}</footer></body></html>\n"
    )


def _results(rows: Sequence[ReportRow]) -> str:
    body = []
    for number, row in enumerate(rows, 1):
        label, *rest = cells(row)
        body.append([f"<em>{number}</em> {escape(label)}", *(escape(text) for text in rest)])
    return _table(HEADER, body)


def _layers(rows: Sequence[ReportRow]) -> str:
    """The costliest layers of each profile, and where the rest of the time goes."""
    parts = []
    for number, row in enumerate(rows, 1):
        if row.profile is not None:
            body = [
                [escape(text) for text in layer_cells(layer)] for layer in row.profile.costliest(MOST_LAYERS)
            ]
            totals = "".join(f'<p class="figures">{escape(text)}</p>' for text in total_lines(row.profile))
            name = f'<p class="name"><span><em>{number}</em> {escape(row.label)}</span></p>'
            parts.append(f'<div class="run">{name}{_table(LAYER_HEADER, body)}{totals}</div>')
    return "".join(parts)


def _devices(rows: Sequence[ReportRow]) -> str:
    numbers: dict[str, list[int]] = {}
    for number, row in enumerate(rows, 1):
        numbers.setdefault(device_text(row), []).append(number)
    body = [
        ["".join(f"<em>{number}</em>" for number in found), escape(text)] for text, found in numbers.items()
    ]
    return _table(("runs", "device"), body)


def _notes(rows: Sequence[ReportRow]) -> str:
    items = "".join(
        f"<li><em>{number}</em> {escape(row.label)}: {escape('; '.join(row.notes))}</li>"
        for number, row in enumerate(rows, 1)
        if row.notes
    )
    return f'<ul class="notes">{items}</ul>' if items else ""


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose cells are HTML; on a narrow screen it scrolls by itself."""
    kinds = [' class="number"' if name in NUMBERS else "" for name in header]
    head = "".join(f"<th{kind}>{escape(name)}</th>" for name, kind in zip(header, kinds, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(row, kinds, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<div class="wide" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
