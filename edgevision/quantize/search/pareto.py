"""Plots accuracy against INT8 work and against speed for every graph of a search."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edgevision.quantize.record import MeasuredCandidate, QuantizeRecord
from edgevision.storage import atomic

BLUE, GREEN, GREY, RED = "#2b6cb0", "#2f855a", "#718096", "#c53030"
MARKERS = {"onnxruntime": "s", "openvino": "o"}


def front(candidates: tuple[MeasuredCandidate, ...]) -> tuple[MeasuredCandidate, ...]:
    """Candidates that no other beats in both INT8 work and drop; by falling share."""
    kept: list[MeasuredCandidate] = []
    for item in sorted(candidates, key=lambda c: (-c.candidate.low_share, c.candidate.drop.points)):
        if not kept or item.candidate.drop.points < kept[-1].candidate.drop.points:
            kept.append(item)
    return tuple(kept)


def pareto_rows(record: QuantizeRecord) -> list[list[str]]:
    """Table cells: layers in float, share, accuracy, drop, times in each engine; the chosen graph is marked."""
    rows = []
    ordered = sorted(record.candidates, key=lambda item: -item.candidate.low_share)
    on_front = front(record.candidates)
    for item in ordered:
        candidate = item.candidate
        marks = ("front" if item in on_front else "") + (" chosen" if candidate == record.chosen else "")
        timed = {speed.engine: f"{speed.quantized_ms:.1f} ms, x{speed.ratio:.2f}" for speed in item.speeds}
        rows.append(
            [
                f"{len(candidate.kept_float)} layers",
                f"{100 * candidate.low_share:.1f} %",
                f"{candidate.accuracy:.2f}",
                f"{candidate.drop.points:+.2f}",
                f"{candidate.drop.low:+.2f} to {candidate.drop.high:+.2f}",
                *(timed.get(speed.engine, "-") for speed in record.speeds),
                marks.strip(),
            ]
        )
    return rows


def pareto_header(record: QuantizeRecord) -> list[str]:
    """The header of `pareto_rows`."""
    engines = [speed.engine for speed in record.speeds]
    return ["kept in float", "INT8 work", record.metric, "drop", "90 % interval", *engines, ""]


def draw_pareto(record: QuantizeRecord, path: Path) -> None:
    """Write the plot as PNG: accuracy by share of INT8 work on the left, by measured time on the right."""
    figure = Figure(figsize=(11, 4.6), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    _by_share(left, record)
    _by_time(right, record)
    figure.suptitle(
        f"{record.model}, target {record.target}, {record.method} calibration on {record.calibration_images} images;"
        f" {record.metric} on {record.search_images} images of the search",
        fontsize=10,
    )
    with atomic.staged_file(path) as temporary:
        figure.savefig(temporary, format="png")


def _by_share(axes: Axes, record: QuantizeRecord) -> None:
    for item in record.candidates:
        candidate = item.candidate
        colour = GREEN if candidate.within(record.confidence) else RED
        reach = [
            [max(candidate.drop.high - candidate.drop.points, 0)],
            [max(candidate.drop.points - candidate.drop.low, 0)],
        ]
        x = 100 * candidate.low_share
        axes.errorbar(
            x, candidate.accuracy, yerr=reach, fmt="o", color=colour, ecolor=GREY, elinewidth=0.8, ms=5
        )
        if candidate == record.chosen:
            axes.plot(x, candidate.accuracy, "o", ms=13, mfc="none", mec=GREEN, mew=1.6, label="chosen")
    line = [(100 * i.candidate.low_share, i.candidate.accuracy) for i in front(record.candidates)]
    axes.plot(*zip(*line, strict=True), color=BLUE, lw=1, alpha=0.6, label="front")
    _float_line(axes, record)
    axes.set_xlabel("share of multiply-accumulates in INT8, %")
    axes.set_ylabel(f"{record.metric}, % (bars: 90 % interval of the drop)")
    axes.legend(fontsize=8)


def _by_time(axes: Axes, record: QuantizeRecord) -> None:
    labelled: set[str] = set()
    for item in record.candidates:
        for speed in item.speeds:
            chosen = item.candidate == record.chosen
            axes.plot(
                speed.quantized_ms,
                item.candidate.accuracy,
                MARKERS.get(speed.engine, "^"),
                color=GREEN if item.candidate.within(record.confidence) else RED,
                ms=9 if chosen else 5,
                mfc=None if chosen else "white",
                label=None if speed.engine in labelled else f"INT8 in {speed.library.split('-')[0]}",
            )
            labelled.add(speed.engine)
    for speed in record.speeds:
        axes.plot(
            speed.float_ms,
            record.float_accuracy,
            MARKERS.get(speed.engine, "^"),
            color=BLUE,
            ms=8,
            label=f"float in {speed.library.split('-')[0]}",
        )
    _float_line(axes, record)
    axes.set_xlabel("ms from frame to result, p50, on the machine that quantized")
    axes.legend(fontsize=8)


def _float_line(axes: Axes, record: QuantizeRecord) -> None:
    axes.axhline(record.float_accuracy, color=BLUE, lw=0.8, ls="--")
    axes.axhline(record.float_accuracy - record.max_drop, color=RED, lw=0.8, ls=":")
    axes.grid(visible=True, lw=0.3)
