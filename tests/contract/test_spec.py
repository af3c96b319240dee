"""The model spec."""

from __future__ import annotations

import json

import pytest

from edgevision.contract.spec import (
    BatchRange,
    FrameInput,
    ModelSpec,
    NmsSpec,
    Provenance,
    classify_outputs,
    default_nms,
    detect_outputs,
)
from edgevision.storage.codec import DecodeError

PROVENANCE = Provenance(
    "m.pt", "0" * 64, "yolov5: YOLOv5n", "2026-01-01T00:00:00+00:00", (("torch", "2.13.0"),)
)


def detector() -> ModelSpec:
    return ModelSpec(
        "m", "detect", FrameInput((640, 480)), detect_outputs(300), ("person", "car"), PROVENANCE, NmsSpec()
    )


def test_json_holds_everything() -> None:
    assert ModelSpec.from_json(detector().to_json()) == detector()


def test_json_is_as_documented() -> None:
    data = json.loads(detector().to_json())
    assert data["schema"] == 1
    assert data["frames"]["size_wh"] == [640, 480]
    assert data["outputs"][0] == {"name": "boxes", "dtype": "float32", "shape": [-1, 300, 4]}


def test_a_newer_schema_is_refused_before_its_fields_are() -> None:
    data = {**json.loads(detector().to_json()), "schema": 4, "something": "new"}
    with pytest.raises(DecodeError, match="schema 4; this version supports schemas up to 3"):
        ModelSpec.from_json(json.dumps(data))


@pytest.mark.parametrize(
    ("text", "batch"), [("1", BatchRange()), ("4", BatchRange(4, 4, 4)), ("1:4:8", BatchRange(1, 4, 8))]
)
def test_batch_is_read_and_printed(text: str, batch: BatchRange) -> None:
    assert BatchRange.parse(text) == batch
    assert str(batch) == text


@pytest.mark.parametrize("text", ["", "x", "1:2", "0", "4:2:8", "1:2:3:4", "1:8:4"])
def test_bad_batches_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="batch"):
        BatchRange.parse(text)


@pytest.mark.parametrize(
    "bad",
    [
        {"candidates": 4000},
        {"candidates": 100, "max_detections": 200},
        {"iou_threshold": 0.0},
        {"iou_threshold": 1.0},
        {"score_floor": 1.0},
        {"depth": 0},
    ],
)
def test_bad_suppression_settings_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        NmsSpec(**bad)  # type: ignore[arg-type]  # ints and floats by name


def test_only_detectors_have_nms() -> None:
    frames = FrameInput((32, 32))
    with pytest.raises(ValueError, match="nms"):
        ModelSpec("m", "classify", frames, classify_outputs(2), ("a", "b"), PROVENANCE, NmsSpec())
    with pytest.raises(ValueError, match="nms"):
        ModelSpec("m", "detect", frames, detect_outputs(10), ("a", "b"), PROVENANCE)


def test_fewer_instances_leave_than_boxes() -> None:
    assert default_nms("instances").max_detections == 100
    assert default_nms("detect") == NmsSpec()
