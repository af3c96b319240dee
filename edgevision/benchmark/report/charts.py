"""Charts of the page: HTML and SVG without scripts; texts are HTML, so they stay readable on a phone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from edgevision.benchmark.report.rows import Accuracy, ReportRow, comparable, front

BINS = 80
"""Of a distribution, evenly spaced in the logarithm of time."""
HEIGHT = 100
STAGES = ("decode", "prepare", "inference", "results", "output")


def distributions(rows: Sequence[ReportRow]) -> str:
    """One distribution of latencies for each run, on a common logarithmic axis, with p50, p90 and p99."""
    low, high = _range([row.latencies.values_ns for row in rows])
    parts = [_distribution(number, row, low, high) for number, row in enumerate(rows, 1)]
    return f'{"".join(parts)}{_axis(low, high)}<p class="unit">ms, logarithmic</p>'


def stage_bars(rows: Sequence[ReportRow]) -> str:
    """A bar of stage means for each run that timed its stages, on a common linear axis; empty without any."""
    timed = [(number, row) for number, row in enumerate(rows, 1) if row.stages]
    if not timed:
        return ""
    longest = max(sum(mean for _, mean in row.stages) for _, row in timed)
    parts = []
    for number, row in timed:
        total = sum(mean for _, mean in row.stages)
        pieces = "".join(
            f'<i data-stage="{escape(name)}" style="width:{100 * mean / longest:.3f}%" title="{escape(name)}'
            f' {mean:.2f} ms"></i>'
            for name, mean in row.stages
        )
        listed = ", ".join(f"{name} {mean:.2f}" for name, mean in row.stages)
        parts.append(
            f'<div class="run"><p class="name">{_numbered(number, row)}<b>{total:.2f} ms</b></p>'
            f'<div class="bar" role="img" aria-label="{escape(listed)} ms">{pieces}</div>'
            f'<p class="figures">{escape(listed)} ms</p></div>'
        )
    legend = "".join(f'<li data-stage="{name}">{name}</li>' for name in STAGES)
    return f'<ul class="legend">{legend}</ul>{"".join(parts)}'


def pareto(rows: Sequence[ReportRow]) -> str:
    """Accuracy over the median time per frame; a line joins the front. Empty without accuracies."""
    measured = comparable(rows)
    if not measured:
        return ""
    times = [row.p50_ms / row.batch for row, _ in measured]
    points = [accuracy.points for _, accuracy in measured]
    low, high = min(times) / 1.3, max(times) * 1.3
    margin = max((max(points) - min(points)) * 0.15, 0.5)
    bottom, top = min(points) - margin, max(points) + margin

    def spot(row: ReportRow, accuracy: Accuracy) -> tuple[float, float]:
        """Percent from the left and from the bottom."""
        return _place(row.p50_ms / row.batch, low, high), 100 * (accuracy.points - bottom) / (top - bottom)

    numbers = {id(row): number for number, row in enumerate(rows, 1)}
    best = front(rows)
    chosen = {id(row) for row, _ in best}
    dots = []
    for row, accuracy in measured:
        x, y = spot(row, accuracy)
        kind = ' class="front"' if id(row) in chosen else ""
        text = f"{row.label}: {row.p50_ms / row.batch:.2f} ms, {accuracy.metric} {accuracy.points:.1f}"
        place = f"left:{x:.2f}%;bottom:{y:.2f}%"
        dots.append(f'<i{kind} style="{place}" title="{escape(text)}">{numbers[id(row)]}</i>')
    line = " ".join(f"{x:.2f},{100 - y:.2f}" for x, y in (spot(*pair) for pair in best))
    levels = "".join(
        f'<span style="bottom:{100 * (value - bottom) / (top - bottom):.2f}%">{value:.1f}</span>'
        for value in sorted({min(points), max(points)})
    )
    metric = escape(measured[0][1].metric)
    return (
        f'<div class="scatter" role="img" aria-label="{metric} over median time per frame">'
        f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true"><polyline points="{line}"/></svg>'
        f'{"".join(dots)}<div class="levels">{levels}</div></div>{_axis(low, high, "axis inset")}'
        f'<p class="unit">{metric} over ms per frame (p50, logarithmic); filled: on the front</p>'
    )


def _distribution(number: int, row: ReportRow, low: float, high: float) -> str:
    times = np.maximum(row.latencies.values_ns, 1) / 1e6
    counts, _ = np.histogram(np.log(times), bins=BINS, range=(math.log(low), math.log(high)))
    heights = HEIGHT * counts / max(counts.max(), 1)
    width = 100 / BINS
    steps = "".join(
        f"V{HEIGHT - height:.1f}H{(place + 1) * width:.2f}" for place, height in enumerate(heights)
    )
    marks = "".join(
        f'<line x1="{x:.2f}" x2="{x:.2f}" y1="0" y2="{HEIGHT}" class="{name}"/>'
        for name, x in (
            (name, _place(value, low, high))
            for name, value in (("p50", row.p50_ms), ("p90", row.p90_ms), ("p99", row.p99_ms))
        )
    )
    figures = (
        f"p50 {row.p50_ms:.2f}, p90 {row.p90_ms:.2f}, p99 {row.p99_ms:.2f} ms, {len(row.latencies)} samples"
    )
    return (
        f'<div class="run"><p class="name">{_numbered(number, row)}<b>{row.p50_ms:.2f} ms</b></p>'
        f'<svg class="distribution" viewBox="0 0 100 {HEIGHT}" preserveAspectRatio="none" role="img"'
        f' aria-label="{escape(figures)}"><path d="M0 {HEIGHT}{steps}V{HEIGHT}Z"/>{marks}</svg>'
        f'<p class="figures">{escape(row.latency_of)}: {figures}</p></div>'
    )


def _numbered(number: int, row: ReportRow) -> str:
    return f"<span><em>{number}</em> {escape(row.label)}</span>"


def _range(runs: Sequence[Sequence[int]]) -> tuple[float, float]:
    """Common axis in ms, a little wider than all samples; times are at least a nanosecond."""
    low = min(max(min(values), 1) for values in runs) / 1e6
    high = max(max(values) for values in runs) / 1e6
    return low / 1.05, max(high, low) * 1.05


def _axis(low: float, high: float, kind: str = "axis") -> str:
    ticks = "".join(
        f'<span style="left:{_place(value, low, high):.2f}%">{_number(value)}</span>'
        for value in _ticks(low, high)
    )
    return f'<div class="{kind}">{ticks}</div>'


def _place(value: float, low: float, high: float) -> float:
    """Position on a logarithmic axis, 0 to 100."""
    return 100 * math.log(min(max(value, low), high) / low) / math.log(high / low)


def _ticks(low: float, high: float) -> list[float]:
    """Round values of a logarithmic axis, at least 12 % of it apart."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    values = [base * 10.0**power for power in range(first, last + 1) for base in (1, 2, 5)]
    chosen: list[float] = []
    for value in values:
        if low <= value <= high and (
            not chosen or _place(value, low, high) - _place(chosen[-1], low, high) >= 12
        ):
            chosen.append(value)
    return chosen or [low, high]


def _number(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def soaks(rows: Sequence[ReportRow]) -> str:
    """Frames/s, the hottest sensor and memory over time, for each soak; each line has its own scale from 0."""
    parts = []
    for number, row in enumerate(rows, 1):
        if len(row.windows) < 2:
            continue
        hottest = [max((reading.value for reading in w.temperatures_c), default=0.0) for w in row.windows]
        lines = [
            ("frames/s", [w.frames_per_s for w in row.windows]),
            ("MiB", [w.resident_mib for w in row.windows]),
            *([("°C", hottest)] if any(hottest) else []),
        ]
        drawn = "".join(_line_over_time(name, values) for name, values in lines)
        last = row.windows[-1]
        parts.append(
            f'<div class="run"><p class="name">{_numbered(number, row)}<b>{(last.at_s + last.seconds) / 60:.3g} min</b>'
            f"</p>{drawn}</div>"
        )
    return "".join(parts)


def _line_over_time(name: str, values: Sequence[float]) -> str:
    top = max(*values, 1e-9) * 1.05
    step = 100 / (len(values) - 1)
    points = " ".join(
        f"{place * step:.2f},{40 * (1 - value / top):.2f}" for place, value in enumerate(values)
    )
    text = (
        f"{name}: {values[0]:.4g} at first, {values[-1]:.4g} at last, {min(values):.4g} to {max(values):.4g}"
    )
    return (
        f'<svg class="course" viewBox="0 0 100 40" preserveAspectRatio="none" role="img" aria-label="{escape(text)}">'
        f'<polyline points="{points}"/></svg><p class="figures">{escape(text)}</p>'
    )
