"""Poses and oriented boxes: from a graph's outputs to the frame, in parts, drawn, scaled and written."""

from __future__ import annotations

import json
import math

import numpy as np
import numpy.typing as npt
import pytest

from edgevision.contract.image import LetterboxGeometry
from edgevision.contract.results import OrientedBoxes, Poses, results_from_outputs
from edgevision.contract.rotated import corners_from_oriented
from edgevision.contract.spec import (
    FrameInput,
    KeypointSpec,
    ModelSpec,
    NmsSpec,
    Provenance,
    detect_outputs,
    obb_outputs,
    pose_outputs,
)
from edgevision.contract.transform import FrameTransform
from edgevision.drawing.annotate import class_colour, draw_result
from edgevision.service.web.scaling import scaled_to_width
from edgevision.sinks.record import answer_of
from edgevision.sinks.waiting import held_bytes
from tests.sinks.results import processed

PROVENANCE = Provenance("m.pt", None, "r", "2026-01-01T00:00:00+00:00")
NMS = NmsSpec(candidates=3, max_detections=3)
LAYOUT = KeypointSpec(("head", "foot"), ((0, 1),))
POSE = ModelSpec(
    "m", "pose", FrameInput((64, 64)), pose_outputs(3, 2), ("person",), PROVENANCE, NMS, keypoints=LAYOUT
)
OBB = ModelSpec("m", "obb", FrameInput((64, 64)), obb_outputs(3), ("ship", "plane"), PROVENANCE, NMS)
SCORES, LABELS = np.array([[0.9, 0.5, 0.0]], np.float32), np.array([[0, 0, 0]], np.int32)


def poses() -> Poses:
    points = np.array([[[100, 50, 0.9], [100, 150, 0.8]], [[20, 20, 0.2], [700, 30, 0.9]]], np.float32)
    boxes = np.array([[80, 40, 120, 160], [10, 10, 60, 60]], np.float32)
    return Poses(boxes, SCORES[0, :2], LABELS[0, :2], ("person",), points, LAYOUT)


def oriented() -> OrientedBoxes:
    boxes = np.array([[100, 100, 80, 20, math.pi / 6], [40, 30, 10, 10, 0]], np.float32)
    hulls = np.array([[60, 71, 140, 129], [35, 25, 45, 35]], np.float32)
    return OrientedBoxes(hulls, SCORES[0, :2], LABELS[0, :2], ("ship", "plane"), boxes)


def test_keypoints_move_to_the_frame_and_are_not_clipped() -> None:
    place = FrameTransform((32, 16), (2.0, 2.0), (0.0, 16.0))
    boxes = np.tile(np.array([2, 20, 6, 28], np.float32), (1, 3, 1))
    points = np.tile(np.array([[4, 24, 0.5], [-10, 70, 0.1]], np.float32), (1, 3, 1, 1))
    (found,) = results_from_outputs(POSE, (boxes, SCORES, LABELS, points), [place], threshold=0.4)
    assert isinstance(found, Poses)
    assert len(found) == 2
    assert found.boxes[0].tolist() == [1, 2, 3, 6]
    assert found.keypoints[1] == pytest.approx(np.array([[2, 4, 0.5], [-5, 27, 0.1]]))
    assert found.keypoints.dtype == np.float32
    assert found.skeleton == ((0, 1),)
    assert found.keypoint_names == ("head", "foot")


@pytest.mark.parametrize("frame_wh", [(64, 64), (128, 96), (640, 480), (1920, 1083)])
def test_oriented_boxes_move_to_the_frame_and_keep_their_angle(frame_wh: tuple[int, int]) -> None:
    place = LetterboxGeometry.of(frame_wh, (64, 64)).placement
    boxes = np.array([[[30, 32, 20, 6, 0.4], [3, 30, 30, 10, -0.7], [0] * 5]], np.float32)
    (found,) = results_from_outputs(OBB, (boxes, SCORES, LABELS), [place], threshold=0.4)
    assert isinstance(found, OrientedBoxes)
    assert found.oriented[:, 4].tolist() == boxes[0, :2, 4].tolist()
    expected = place.frame_from_input_points(corners_from_oriented(boxes[0, :2]))
    # The scales of a letterbox differ by the rounding of its sides to whole pixels.
    assert np.abs(found.corners - expected).max() <= 0.03 * max(frame_wh) / 64
    low, high = found.corners.min(axis=1), found.corners.max(axis=1)
    hull = np.clip(np.concatenate([low, high], 1), 0, frame_wh * 2)
    assert found.boxes == pytest.approx(hull, abs=1e-4)
    assert found.boxes[1, 0] == 0
    assert found.corners[1].min() < 0


@pytest.mark.parametrize("index", [0, -1, slice(0, 1), [1], np.array([False, True])])
def test_parts_keep_their_own_values(index: int | slice | list[int] | npt.NDArray[np.bool_]) -> None:
    rows = np.arange(2)[[index] if isinstance(index, int) else index]
    assert poses()[index].keypoints.tolist() == poses().keypoints[rows].tolist()
    assert poses()[index].layout == LAYOUT
    assert oriented()[index].oriented.tolist() == oriented().oriented[rows].tolist()
    assert [type(part) for part in poses()] == [Poses, Poses]


def test_an_empty_result_is_a_value() -> None:
    assert len(Poses.empty()) == 0
    assert len(OrientedBoxes.empty()) == 0
    assert oriented()[[]].corners.shape == (0, 4, 2)
    assert poses()[[]].keypoints.shape == (0, 2, 3)


def test_other_shapes_are_refused() -> None:
    found, boxes = poses(), oriented()
    values = (found.boxes, found.scores, found.labels, found.classes)
    with pytest.raises(
        ValueError, match=r"expected keypoints \[2,2,3\], x y confidence; received \(2, 1, 3\)"
    ):
        Poses(*values, found.keypoints[:, :1], LAYOUT)
    with pytest.raises(ValueError, match=r"expected keypoints \[2,1,3\]"):
        Poses(*values)
    with pytest.raises(
        ValueError, match=r"expected oriented boxes \[2,5\], x y w h angle; received \(1, 5\)"
    ):
        OrientedBoxes(*values, boxes.oriented[:1])


def test_a_spec_of_a_pose_names_its_keypoints() -> None:
    assert ModelSpec.from_json(POSE.to_json()) == POSE
    assert ModelSpec.from_json(OBB.to_json()) == OBB
    assert POSE.outputs[3].shape == (-1, 3, 2, 3)
    frames = FrameInput((64, 64))
    with pytest.raises(ValueError, match="keypoints are only for the task 'pose'"):
        ModelSpec("m", "pose", frames, pose_outputs(3, 2), ("a",), PROVENANCE, NMS)
    with pytest.raises(ValueError, match="keypoints are only for the task 'pose'"):
        ModelSpec("m", "detect", frames, detect_outputs(3), ("a",), PROVENANCE, NMS, keypoints=LAYOUT)
    with pytest.raises(ValueError, match="shears oriented boxes"):
        ModelSpec("m", "obb", FrameInput((64, 64), "stretch"), obb_outputs(3), ("a",), PROVENANCE, NMS)
    with pytest.raises(ValueError, match=r"the skeleton joins \(0, 2\); expected indices of 2 keypoints"):
        KeypointSpec(("a", "b"), ((0, 2),))


def test_seventeen_keypoints_are_coco_s() -> None:
    layout = KeypointSpec.of(17)
    assert layout.names[0] == "nose"
    assert len(layout.skeleton) == 19
    assert {layout.names[end] for end in layout.skeleton[0]} == {"left_ankle", "left_knee"}
    assert KeypointSpec.of(3) == KeypointSpec(("0", "1", "2"))


def test_a_skeleton_is_drawn_between_visible_points() -> None:
    frame = np.full((240, 320, 3), 100, np.uint8)
    draw_result(frame, poses())
    assert np.abs(frame[100, 97:103].astype(int) - class_colour(0)).max(axis=1).min() < 60
    assert frame[150, 100].tolist() == list(class_colour(1))
    # The second pose has a keypoint of low confidence, and one far outside of the frame.
    assert frame[25, 200].tolist() == [100, 100, 100]


def test_an_oriented_box_is_drawn_along_its_sides() -> None:
    frame = np.full((240, 320, 3), 100, np.uint8)
    found = oriented()[[0]]
    draw_result(frame, found)
    for one, other in zip(found.corners[0], np.roll(found.corners[0], -1, axis=0), strict=True):
        x, y = ((one + other) / 2 - 0.5).round().astype(int)
        near = frame[y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3)
        assert (near != 100).any()
    assert frame[100, 100].tolist() == [100, 100, 100]
    assert frame[128, 62].tolist() == [100, 100, 100]  # a corner of the hull


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_drawing_survives_any_number(value: float) -> None:
    frame = np.full((48, 64, 3), 100, np.uint8)
    found, boxes = poses(), oriented()
    found.keypoints[:, 0, 0] = value
    boxes.oriented[0, 2] = value
    with np.errstate(invalid="ignore", over="ignore"):
        draw_result(frame, found)
        draw_result(frame, boxes)


def test_json_has_keypoints_and_oriented_boxes() -> None:
    entry = json.loads(json.dumps(answer_of(poses())))["detections"][1]
    assert entry["box"] == [10, 10, 60, 60]
    assert entry["keypoints"] == [[20, 20, 0.2], [700, 30, 0.9]]
    entry = json.loads(json.dumps(answer_of(oriented())))["detections"][0]
    assert entry["oriented"] == [100, 100, 80, 20, 0.5236]
    assert entry["class"] == "ship"


def test_a_page_s_smaller_image_has_smaller_results() -> None:
    small = scaled_to_width(processed(result=poses(), size_wh=(320, 240)), 160).result
    assert isinstance(small, Poses)
    assert small.keypoints[0] == pytest.approx(np.array([[50, 25, 0.9], [50, 75, 0.8]]))
    small = scaled_to_width(processed(result=oriented(), size_wh=(320, 240)), 160).result
    assert isinstance(small, OrientedBoxes)
    assert small.oriented[0] == pytest.approx(np.array([50, 50, 40, 10, math.pi / 6]))


def test_memory_of_waiting_results_counts_their_arrays() -> None:
    plain = held_bytes(processed())
    assert held_bytes(processed(result=poses())) > plain + poses().keypoints.nbytes
    assert held_bytes(processed(result=oriented())) > plain + oriented().oriented.nbytes


def test_supervision_takes_both() -> None:
    sv = pytest.importorskip("supervision")
    theirs = poses().to_supervision(np.array([7, -1]))
    assert isinstance(theirs, sv.KeyPoints)
    assert theirs.xy[0].tolist() == [[100, 50], [100, 150]]
    assert theirs.keypoint_confidence[1] == pytest.approx([0.2, 0.9])
    assert theirs.data["class_name"].tolist() == ["person", "person"]
    assert theirs.data["tracker_id"].tolist() == [7, -1]
    boxes = oriented().to_supervision()
    assert isinstance(boxes, sv.Detections)
    assert boxes.data["xyxyxyxy"] == pytest.approx(oriented().corners)
    assert boxes.xyxy == pytest.approx(oriented().boxes)
    assert len(poses()[[]].to_supervision()) == len(oriented()[[]].to_supervision()) == 0
