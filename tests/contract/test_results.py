"""Result types."""

from __future__ import annotations

import numpy as np
import pytest

from edgevision.contract.results import Classification, Detections, results_from_outputs
from edgevision.contract.spec import (
    FrameInput,
    ModelSpec,
    NmsSpec,
    Provenance,
    classify_outputs,
    detect_outputs,
)
from edgevision.contract.transform import FrameTransform

PROVENANCE = Provenance("m.pt", None, "r", "2026-01-01T00:00:00+00:00")
DETECTOR = ModelSpec(
    "m",
    "detect",
    FrameInput((64, 64)),
    detect_outputs(3),
    ("a", "b"),
    PROVENANCE,
    NmsSpec(candidates=3, max_detections=3),
)
PLACEMENT = FrameTransform((32, 32), (2.0, 2.0), (0.0, 0.0))


def outputs(scores: list[float]) -> tuple[np.ndarray, ...]:
    boxes = np.tile(np.array([2, 4, 6, 8], np.float32), (1, 3, 1))
    return boxes, np.array([scores], np.float32), np.array([[0, 1, 1]], np.int32)


@pytest.mark.parametrize(
    ("scores", "threshold", "kept"),
    [
        ([0.0, 0.0, 0.0], 0.0, 0),
        ([0.9, 0.5, 0.0], 0.5, 2),
        ([0.9, 0.5, 0.0], 0.0, 2),
        ([0.9, 0.5, 0.4], 0.95, 0),
    ],
)
def test_thresholding(scores: list[float], threshold: float, kept: int) -> None:
    (result,) = results_from_outputs(DETECTOR, outputs(scores), [PLACEMENT], threshold=threshold)
    assert isinstance(result, Detections)
    assert len(result) == kept
    assert result.boxes.dtype == np.float32
    assert result.labels.dtype == np.int32
    assert result.boxes.tolist() == [[1, 2, 3, 4]] * kept


def test_rows_beyond_the_frames_are_dropped() -> None:
    boxes, scores, labels = outputs([0.9, 0.5, 0.0])
    twice = tuple(np.concatenate([a, a]) for a in (boxes, scores, labels))
    assert len(results_from_outputs(DETECTOR, twice, [PLACEMENT], threshold=0.1)) == 1


def test_classification() -> None:
    spec = ModelSpec("m", "classify", FrameInput((8, 8)), classify_outputs(3), ("x", "y", "z"), PROVENANCE)
    (result,) = results_from_outputs(
        spec, (np.array([[0.2, 0.5, 0.3]], np.float32),), [PLACEMENT], threshold=0.9
    )
    assert isinstance(result, Classification)
    assert [label for label, _ in result.top(2)] == [1, 2]
    assert result.class_name(1) == "y"


def test_detections_slice_and_empty() -> None:
    assert len(Detections.empty()) == 0
    full = Detections(
        np.zeros((3, 4), np.float32),
        np.array([0.9, 0.5, 0.1], np.float32),
        np.arange(3, dtype=np.int32),
        ("a",),
    )
    assert full[full.scores > 0.3].labels.tolist() == [0, 1]
    assert full[:1].classes == ("a",)
    assert (full.class_name(0), full.class_name(2)) == ("a", "2")


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match=r"boxes \[N,4\]"):
        Detections(np.zeros((3, 4), np.float32), np.zeros(2, np.float32), np.zeros(3, np.int32))
