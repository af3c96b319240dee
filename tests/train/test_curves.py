"""Timing of the plots of a run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from edgevision.train.loop import curves
from edgevision.train.loop.curves import CurvesImage
from edgevision.train.loop.run_folder import Row


def test_drawing_takes_at_most_its_share_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_ns, drawn = 0, list[int]()

    def draw(path: Path, rows: Sequence[Row], panels: object) -> None:
        nonlocal now_ns
        drawn.append(len(rows))
        now_ns += 500_000_000

    monkeypatch.setattr(curves, "draw_curves", draw)
    monkeypatch.setattr(time, "perf_counter_ns", lambda: now_ns)
    image, rows = CurvesImage(tmp_path / "curves.png", ()), list[Row]()
    for epoch in range(100):
        now_ns += 300_000_000
        rows.append({"epoch": float(epoch)})
        image.update(rows)
    assert drawn[0] == 1
    assert len(drawn) == 3, "each drawing of 0.5 s is followed by 10 s without one"
    image.finish(rows)
    image.finish(rows)
    assert drawn[3:] == [100], "the last epochs are drawn once, at the end"


def test_long_epochs_are_all_drawn(tmp_path: Path) -> None:
    image, rows = CurvesImage(tmp_path / "curves.png", [("loss", ["loss"])]), list[Row]()
    rows.append({"epoch": 1.0, "loss": 2.0})
    image.update(rows)
    before = (tmp_path / "curves.png").read_bytes()
    image._next_ns = 0
    rows.append({"epoch": 2.0, "loss": 1.0})
    image.update(rows)
    assert (tmp_path / "curves.png").read_bytes() != before
