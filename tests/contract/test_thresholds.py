"""Minimum confidence of detections, by class."""

from __future__ import annotations

import numpy as np
import pytest

from edgevision.contract.results import Detections, reached, results_from_outputs
from edgevision.contract.session import ReplaySession
from edgevision.contract.spec import FrameInput, ModelSpec, NmsSpec, Provenance, detect_outputs
from edgevision.contract.thresholds import (
    ClassThresholds,
    Threshold,
    by_class,
    least_of,
    threshold_of,
)
from edgevision.contract.transform import FrameTransform

SPEC = ModelSpec(
    "m",
    "detect",
    FrameInput((64, 64)),
    detect_outputs(4),
    ("person", "car"),
    Provenance("m.pt", None, "r", "2026-01-01T00:00:00+00:00"),
    NmsSpec(candidates=4, max_detections=4),
)
OUTPUTS = (
    np.tile(np.array([8, 8, 40, 40], np.float32), (1, 4, 1)),
    np.array([[0.7, 0.5, 0.3, 0.0]], np.float32),
    np.array([[0, 1, 0, 77]], np.int32),
)
"""The last row is suppressed, and its label is none of the classes."""


@pytest.mark.parametrize(
    ("threshold", "kept"),
    [
        (0.25, [0.7, 0.5, 0.3]),
        (0.5, [0.7, 0.5]),
        (ClassThresholds((0.6, 0.5)), [0.7, 0.5]),
        (ClassThresholds((0.3, 0.51)), [0.7, 0.3]),
        (ClassThresholds((0.71, 0.0)), [0.5]),
        (ClassThresholds((0.0, 0.0)), [0.7, 0.5, 0.3]),
    ],
)
def test_each_detection_needs_the_confidence_of_its_class(threshold: Threshold, kept: list[float]) -> None:
    whole = FrameTransform((64, 64), (1.0, 1.0), (0.0, 0.0))
    (result,) = results_from_outputs(SPEC, OUTPUTS, [whole], threshold=threshold)
    assert isinstance(result, Detections)
    assert result.scores.tolist() == pytest.approx(kept)


def test_a_session_without_an_operating_point_keeps_confidence_0_25_and_with_one_that() -> None:
    frame = np.zeros((64, 64, 3), np.uint8)
    session = ReplaySession(SPEC, [OUTPUTS])
    assert [len(result) for result in session([frame])] == [3]  # type: ignore[arg-type]  # detections have a length
    session.threshold = ClassThresholds((0.6, 0.6))
    (kept,), (all_of_them,) = session([frame]), session([frame], threshold=0.1)
    assert isinstance(kept, Detections)
    assert isinstance(all_of_them, Detections)
    assert (len(kept), len(all_of_them)) == (1, 3)


def test_no_detection_is_no_row() -> None:
    kept = reached(ClassThresholds((0.5,)), np.empty(0, np.float32), np.empty(0, np.int32))
    assert kept.shape == (0,)
    assert kept.dtype == bool


def test_values_by_class() -> None:
    thresholds = ClassThresholds((0.6, 0.25))
    assert least_of(thresholds) == thresholds.least == 0.25
    assert least_of(0.4) == threshold_of(0.4, 1) == 0.4
    assert [threshold_of(thresholds, label) for label in (0, 1, 9)] == [0.6, 0.25, 0.25]
    assert by_class(thresholds, SPEC.classes) == {"person": 0.6, "car": 0.25}
    assert by_class(0.4, SPEC.classes) is by_class(None, SPEC.classes) is None
    assert (f"{thresholds:.2f}", f"{ClassThresholds((0.5, 0.5)):g}") == ("0.25 to 0.60 by class", "0.5")
    assert thresholds == ClassThresholds((0.6, 0.25)) != ClassThresholds((0.25, 0.6))


@pytest.mark.parametrize("values", [(), (0.5, 1.1), (-0.1,), (float("nan"),)])
def test_values_that_are_no_confidence(values: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="expected a confidence from 0 to 1"):
        ClassThresholds(values)
