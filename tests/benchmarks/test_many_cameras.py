"""The verdict over many cameras detects a starved, a missing and an out-of-order camera."""

from __future__ import annotations

import time
from array import array

import numpy as np
import pytest

from benchmarks.many_cameras import CAMERAS, Measured, Results, SlowedSession, report
from edgevision.service.camera_plan import NOTHING_YET, CameraStatus
from tests.doubles import BrightnessSession

NAMES = [f"camera {number}" for number in range(1, CAMERAS + 1)]


def measured(counts: list[int]) -> Measured:
    results = {name: Results(array("d", [50.0] * count)) for name, count in zip(NAMES, counts, strict=True)}
    results["dead"] = Results()
    status = tuple(CameraStatus(name, "a", "running", 0.25, NOTHING_YET) for name in results)
    return Measured(results, status, 10.0)


def test_equal_shares_are_fair(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(measured([30] * CAMERAS), "title")
    assert "title: 24.0 frames/s in total, fair share 3.00 frames/s" in capsys.readouterr().out


@pytest.mark.parametrize("counts", [[30] * 7 + [20], [30] * 7 + [0], [100] * 7 + [70]])
def test_a_camera_below_its_fair_share_fails(counts: list[int]) -> None:
    assert not report(measured(counts), "title")


def test_frames_out_of_order_fail() -> None:
    mixed = measured([30] * CAMERAS)
    mixed.results[NAMES[0]].in_order = False
    assert not report(mixed, "title")


def test_a_slowed_engine_takes_the_minimum_time_for_each_frame() -> None:

    inner = BrightnessSession()
    frame = np.zeros((1, 64, 64, 3), np.uint8)
    began_s = time.perf_counter()
    answers = SlowedSession(inner, 30.0).infer(frame)
    assert time.perf_counter() - began_s >= 0.03
    assert [each.tolist() for each in answers] == [each.tolist() for each in inner.infer(frame)]
