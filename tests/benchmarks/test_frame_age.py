"""The benchmark of result ages counts every frame and compares the ages with the bound."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from benchmarks import frame_age
from edgevision.pipeline.pipeline import RunSummary
from edgevision.sources.health import FrameCounts


def test_every_frame_of_the_camera_is_run_or_dropped() -> None:
    ages_ms, summary = frame_age.measure("demo:64x48@50", 30.0, 2.0, None)
    assert len(ages_ms) == summary.frames - frame_age.WARM_UP
    assert ages_ms.min() >= 30
    taken = summary.frames + summary.lost.dropped + summary.lost.missed
    assert 0.7 * 100 <= taken <= 101


@pytest.mark.parametrize(("age_ms", "code"), [(130.0, 0), (140.0, 1)])
def test_the_bound_decides(
    age_ms: float, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ages = np.full(1000, 100.0)
    ages[-20:] = age_ms
    monkeypatch.setattr(
        frame_age,
        "measure",
        lambda *_: (ages, RunSummary(1020, 0, 60.0, stopped=True, lost=FrameCounts(dropped=5000))),
    )
    monkeypatch.setattr(sys, "argv", ["frame_age"])
    assert frame_age.main() == code
    assert f"p99 {age_ms:.1f} ms, bound 133.3 ms" in capsys.readouterr().out
