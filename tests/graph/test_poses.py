"""Heads for poses and oriented boxes: graphs decode as numpy does, and adopted files answer as before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgevision.contract.rotated import corners_from_oriented
from edgevision.contract.spec import COCO_KEYPOINTS, BatchRange, FrameInput, KeypointSpec, NmsSpec
from edgevision.contract.transform import FrameTransform
from edgevision.engines.opening import open_session
from edgevision.errors import GraphError
from edgevision.graph.adopt import Adoption, AdoptOptions, adopt
from edgevision.graph.foreign.metadata import FileMetadata
from edgevision.graph.graft import graft_detector
from edgevision.graph.heads import end2end_obb, end2end_pose, yolov8, yolov8_obb, yolov8_pose
from edgevision.graph.heads.head import NetworkFacts, NetworkOutput, PoseHead
from edgevision.graph.preprocess import PixelFormat
from edgevision.graph.reference import source_answers
from tests.graph import networks
from tests.graph.networks import SIZE_WH
from tests.graph.test_adopt import saved, some_frames
from tests.rtx import build_rtx_engine

Array = np.ndarray[Any, Any]
Run = Callable[..., list[Array]]

NMS = NmsSpec(candidates=400, max_detections=40, iou_threshold=0.5, score_floor=0.05, depth=12)
MAKERS: dict[str, Callable[..., onnx.ModelProto]] = {
    "yolov8-pose": networks.yolov8_pose,
    "yolov8-obb": networks.yolov8_obb,
    "end2end-pose": networks.end2end_pose,
    "end2end-obb": networks.end2end_obb,
}


def adopted(path: Path, **options: Any) -> Adoption:
    classes = None if "yolov8" in path.stem else ("yes", "no")
    return adopt(path, None, AdoptOptions(nms=NMS, classes=classes, **options))


def assert_alike(actual: list[Array], expected: list[Array]) -> None:
    assert [array.shape for array in actual] == [array.shape for array in expected]
    assert (expected[1] > 0).sum() >= 5 * len(expected[1])
    assert np.abs(actual[1] - expected[1]).max() < 1e-4
    assert np.array_equal(actual[2], expected[2])
    for left, right in zip([actual[0], *actual[3:]], [expected[0], *expected[3:]], strict=True):
        assert np.abs(left - right).max() < 0.01


@pytest.mark.parametrize("head", MAKERS)
@pytest.mark.parametrize("frame_wh", [None, (128, 72), (70, 200)])
@pytest.mark.parametrize("engine", ["run_ort", "run_openvino"])
def test_an_adopted_file_answers_as_before(
    engine: str, tmp_path: Path, head: str, frame_wh: tuple[int, int] | None, request: pytest.FixtureRequest
) -> None:
    run: Run = request.getfixturevalue(engine)
    path = saved(MAKERS[head](), tmp_path, head)
    adoption = adopted(path, frame_wh=frame_wh)
    assert adoption.recognition.startswith(f"head {head}: ")
    frames = some_frames(frame_wh or SIZE_WH, 1)
    expected = [np.asarray(array) for array in source_answers(path, adoption, frames)]
    assert_alike(run(adoption.model, {"frames": frames}), expected)
    assert adoption.spec.task == head.split("-")[1]
    assert (adoption.spec.keypoints is not None) == head.endswith("pose")


@pytest.mark.parametrize("head", MAKERS)
def test_rows_of_a_dynamic_batch_are_equal(run_ort: Run, tmp_path: Path, head: str) -> None:
    adoption = adopted(saved(MAKERS[head](batch="n"), tmp_path, head), batch=BatchRange(1, 2, 3))
    frames = some_frames(SIZE_WH, 3)
    together = run_ort(adoption.model, {"frames": frames})
    alone = run_ort(adoption.model, {"frames": frames[1:2]})
    for one, batch in zip(alone, together, strict=True):
        assert np.abs(one[0] - batch[1]).max() < 1e-3


def test_keypoints_without_confidence_get_one_of_one(run_ort: Run, tmp_path: Path) -> None:
    path = saved(networks.yolov8_pose(keypoints=(4, 2)), tmp_path, "yolov8-pose")
    adoption = adopted(path)
    frames = some_frames(SIZE_WH, 1)
    found = run_ort(adoption.model, {"frames": frames})
    assert found[3].shape == (1, 40, 4, 3)
    kept = found[1] > 0
    assert (found[3][kept][:, :, 2] == 1).all()
    assert not found[3][~kept].any()
    expected = [np.asarray(array) for array in source_answers(path, adoption, frames)]
    assert_alike(found, expected)


def test_the_head_by_hand() -> None:
    column = np.array([10, 20, 4, 8, 0.2, 0.8, 1, 2, 0.5, 3, 4, 0.25], np.float32)[:, None]
    head = yolov8_pose.YoloV8PoseHead(1, 2, (2, 3))
    boxes, scores = head.plain([column])
    assert boxes[0].tolist() == [8, 16, 12, 24]
    assert scores[0] == pytest.approx([0.2, 0.8])
    assert head.plain_keypoints([column])[0].tolist() == [[1, 2, 0.5], [3, 4, 0.25]]
    boxes, scores = yolov8_obb.YoloV8ObbHead(1, 7).plain([column])
    assert boxes[0].tolist() == [10, 20, 4, 8, 0.25]
    row = np.array([[8, 16, 12, 24, 0.9, 1, 5, 6, 0.5]], np.float32)
    found = end2end_pose.End2EndPoseHead(2, (1, 3))
    assert found.plain([row])[1].tolist() == [[0, pytest.approx(0.9)]]
    assert found.plain_keypoints([row]).tolist() == [[[5, 6, 0.5]]]
    boxes, _ = end2end_obb.End2EndObbHead(2).plain([row[:, :7]])
    assert boxes[0].tolist() == [8, 16, 12, 24, 5]
    assert isinstance(head, PoseHead)
    assert isinstance(found, PoseHead)
    assert not isinstance(yolov8.YoloV8Head(1, 2), PoseHead)


def test_a_session_returns_poses_in_the_frame_s_pixels(tmp_path: Path) -> None:
    path = saved(networks.yolov8_pose(), tmp_path, "yolov8-pose")
    adoption = adopted(path)
    file = tmp_path / "adopted.onnx"
    onnx.save(adoption.model, file)
    frames = some_frames((192, 128), 1)
    with open_session(file, engine="onnxruntime") as session:
        (found,) = session([frames[0]], threshold=0.3)
    assert type(found).__name__ == "Poses"
    assert found.keypoint_names == ("0", "1", "2", "3", "4")  # type: ignore[union-attr]  # checked above
    # The frame is twice the network's size.
    fitted = frames[0].reshape(64, 2, 96, 2, 3).mean(axis=(1, 3)).round().astype(np.uint8)[None]
    expected = source_answers(path, adoption, fitted)
    best = expected[3][0][0]
    assert np.abs(found.keypoints[0, :, :2] / 2 - best[:, :2]).max() < 2  # type: ignore[union-attr]


def facts(shape: tuple[int | None, ...], **values: Any) -> NetworkFacts:
    output = NetworkOutput("o", "float32", (1, *shape))
    return NetworkFacts((output,), (64, 32), values.pop("classes", None), frozenset(), **values)


TURNED, PICKED = frozenset(("Sin", "Cos", "Sigmoid", "Mul")), frozenset(("TopK",))
PLAIN = frozenset(("Sigmoid", "Mul"))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (yolov8_pose.recognise(facts((56, 84), keypoint_shape=(17, 3))), (1, (17, 3))),
        (yolov8_pose.recognise(facts((56, 84), classes=1)), (1, (17, 3))),
        (yolov8_pose.recognise(facts((39, 84), classes=1)), (1, (17, 2))),
        (yolov8_pose.recognise(facts((56, 84), parts=(4, 1, 51))), (1, (17, 3))),
        (yolov8_pose.recognise(facts((57, 84), classes=2, keypoint_shape=(17, 3))), (2, (17, 3))),
        (yolov8_pose.recognise(facts((57, 84), classes=3, keypoint_shape=(17, 3))), None),
        (yolov8_pose.recognise(facts((56, 84))), None),
        (yolov8_pose.recognise(facts((56, 84), parts=(4, 52))), None),
        (yolov8_pose.recognise(facts((84, 56), classes=1)), None),
        (end2end_pose.recognise(facts((300, 57), tail=PICKED)), (0, (17, 3))),
        (end2end_pose.recognise(facts((300, 57), classes=4, keypoint_shape=(17, 3))), (4, (17, 3))),
        (end2end_pose.recognise(facts((300, 57), keypoint_shape=(4, 3))), None),
        (end2end_pose.recognise(facts((300, 57))), None),
        (end2end_pose.recognise(facts((300, 6), tail=PICKED)), None),
    ],
)
def test_shapes_of_poses(found: Any, expected: tuple[int, tuple[int, int]] | None) -> None:
    assert (None if found is None else (found.class_count, found.keypoint_shape)) == expected


@pytest.mark.parametrize(
    ("found", "classes"),
    [
        (yolov8_obb.recognise(facts((20, 84), tail=TURNED)), 15),
        (yolov8_obb.recognise(facts((20, 84), tail=TURNED, classes=14)), None),
        (yolov8_obb.recognise(facts((20, 84))), None),
        (end2end_obb.recognise(facts((300, 7), tail=TURNED)), 0),
        (end2end_obb.recognise(facts((300, 7), tail=PICKED)), None),
    ],
)
def test_shapes_of_oriented_boxes(found: Any, classes: int | None) -> None:
    assert (None if found is None else found.class_count) == classes


def test_keypoints_that_may_have_two_or_three_values_are_asked_for(tmp_path: Path) -> None:
    path = saved(networks.yolov8_pose(keypoints=(4, 3)), tmp_path, "yolov8-pose")
    with pytest.raises(GraphError, match=r"choose with --keypoints 4x3 or --keypoints 6x2"):
        adopted(path)
    assert adopted(path, keypoint_shape=(4, 3)).spec.outputs[3].shape == (-1, 40, 4, 3)
    assert adopted(path, keypoint_shape=(6, 2)).spec.outputs[3].shape == (-1, 40, 6, 3)
    with pytest.raises(GraphError, match="no head fits"):
        adopted(path, keypoint_shape=(5, 3))
    known = networks.with_metadata(networks.yolov8_pose(keypoints=(4, 3)), task="pose", kpt_shape="[4, 3]")
    assert adopted(saved(known, tmp_path, "yolov8-known")).spec.keypoints == KeypointSpec.of(4)


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("[17, 3]", (17, 3)),
        ("(4, 2)", (4, 2)),
        *((t, None) for t in ("", "[17]", "[17, 4]", "[0, 3]", "[True, 3]")),
    ],
)
def test_the_shape_of_keypoints_comes_from_the_metadata(text: str, shape: tuple[int, int] | None) -> None:
    model = networks.with_metadata(networks.yolov8_pose(), kpt_shape=text)
    assert FileMetadata.of(model).keypoint_shape == shape


def test_names_of_keypoints_come_from_the_metadata(tmp_path: Path) -> None:
    names = "{0: ['a', 'b', 'c', 'd', 'e']}"
    entries = {"task": "pose", "kpt_shape": "[5, 3]", "kpt_names": names}
    model = networks.with_metadata(networks.yolov8_pose(), **entries)
    layout = adopted(saved(model, tmp_path, "yolov8-pose")).spec.keypoints
    assert layout == KeypointSpec(("a", "b", "c", "d", "e"))
    persons = adopted(saved(networks.yolov8_pose(keypoints=(17, 3)), tmp_path, "yolov8-pose"))
    assert persons.spec.keypoints is not None
    assert persons.spec.keypoints.names == COCO_KEYPOINTS
    assert persons.spec.keypoints.skeleton


def test_angles_in_degrees_are_refused(tmp_path: Path) -> None:
    model = networks.yolov8_obb()
    for tensor in model.graph.initializer:
        if onnx.numpy_helper.to_array(tensor).tolist() == [3.0]:
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.array([170.0], np.float32), tensor.name))
    path = saved(model, tmp_path, "yolov8-obb")
    with pytest.raises(GraphError, match="expected radians; they may be degrees"):
        source_answers(path, adopted(path), some_frames(SIZE_WH, 1))


def test_stretching_shears_oriented_boxes_and_is_refused(tmp_path: Path) -> None:
    path = saved(networks.yolov8_obb(), tmp_path, "yolov8-obb")
    with pytest.raises((GraphError, ValueError), match="shears oriented boxes"):
        adopted(path, fit="stretch", frame_wh=(300, 64))
    head = yolov8_obb.YoloV8ObbHead(126, 3)
    with pytest.raises(GraphError, match="shears oriented boxes"):
        graft_detector(
            onnx.load(path),
            head=head,
            pixels=PixelFormat("rgb"),
            frames=FrameInput((300, 64), "exact"),
            network_size_wh=SIZE_WH,
            nms=NMS,
            network_fit="stretch",
        )


def test_the_graph_moves_oriented_boxes_as_the_contract_does(run_ort: Run, tmp_path: Path) -> None:
    path = saved(networks.yolov8_obb(), tmp_path, "yolov8-obb")
    frames = some_frames((97, 61), 1)
    adoption = adopted(path, frame_wh=(97, 61))
    boxes = run_ort(adoption.model, {"frames": frames})[0]
    expected = np.asarray(source_answers(path, adoption, frames)[0])
    assert np.abs(corners_from_oriented(boxes[0]) - corners_from_oriented(expected[0])).max() < 0.01
    place = FrameTransform((97, 61), (0.5, 0.5), (3.0, 4.0))
    moved = place.frame_from_input_oriented(np.array([[10, 10, 4, 2, 0.3]]))
    assert moved[0] == pytest.approx([14, 12, 8, 4, 0.3])


@pytest.mark.parametrize("head", MAKERS)
def test_tensorrt_rtx_builds_it(tmp_path: Path, head: str) -> None:
    adoption = adopted(saved(MAKERS[head](), tmp_path, head), frame_wh=(128, 72))
    engine, _ = build_rtx_engine(adoption.model.SerializeToString(), None)
    assert len(engine) > 1000
