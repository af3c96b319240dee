"""Plots the curves of a run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from edgevision.storage import atomic
from edgevision.train.loop.run_folder import Row

LARGEST_SHARE = 0.05
"""Maximum share of a run's time for plotting: epochs of small data sets are shorter than a plot takes."""


class CurvesImage:
    """The plot of a run's curves; plotting takes at most `LARGEST_SHARE` of the time."""

    def __init__(self, path: Path, panels: Sequence[tuple[str, Sequence[str]]]) -> None:
        self.path, self.panels = path, panels
        self._drawn_rows = 0
        self._next_ns = 0

    def update(self, rows: Sequence[Row]) -> None:
        """Plot the rows if the last plot is old enough."""
        if time.perf_counter_ns() >= self._next_ns:
            self.finish(rows)

    def finish(self, rows: Sequence[Row]) -> None:
        """Plot the rows unless the image already shows them."""
        if len(rows) == self._drawn_rows:
            return
        began_ns = time.perf_counter_ns()
        draw_curves(self.path, rows, self.panels)
        self._drawn_rows, ended_ns = len(rows), time.perf_counter_ns()
        self._next_ns = ended_ns + int((ended_ns - began_ns) / LARGEST_SHARE)


def draw_curves(path: Path, rows: Sequence[Row], panels: Sequence[tuple[str, Sequence[str]]]) -> None:
    """One panel for each (title, columns) over the epochs; rows without a column leave a gap in time, not a zero."""
    figure = Figure(figsize=(4.2 * len(panels), 3.4), layout="constrained")
    for axes, (title, columns) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for column in columns:
            points = [(row["epoch"], row[column]) for row in rows if column in row]
            if points:
                axes.plot(*zip(*points, strict=True), marker="." if len(points) < 40 else "", label=column)
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize="small")
    with atomic.staged_file(path) as temporary:
        FigureCanvasAgg(figure).print_png(temporary)  # type: ignore[no-untyped-call]  # matplotlib's own
