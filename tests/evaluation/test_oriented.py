"""AP of oriented boxes against a plain implementation, and DOTA's text files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from pycocotools.cocoeval import COCOeval

from edgevision.contract.results import OrientedBoxes
from edgevision.contract.rotated import corners_from_oriented, hulls_from_oriented
from edgevision.contract.spec import obb_outputs
from edgevision.datasets.dota import is_dota, oriented_from_outline, read_dota
from edgevision.errors import SourceError, UsageError
from edgevision.evaluation.bootstrap import AveragePrecision
from edgevision.evaluation.detection import LabelledImages, read_annotations
from edgevision.evaluation.operating_point import match_detections
from edgevision.evaluation.oriented import (
    RotatedEval,
    accuracy_from_oriented,
    oriented_evaluation,
    rows_of_oriented,
    with_oriented_truth,
)
from tests.contract.test_rotated import plain_iou
from tests.doubles import detector
from tests.evaluation.plain_ap import Answer, Truth, plain_ap

Array = npt.NDArray[np.float64]
CLASSES = ("plane", "ship")
IMAGES, SIDE = 12, 400


def made(boxes: Array, scores: Array, labels: Array) -> OrientedBoxes:
    oriented = boxes.reshape(-1, 5).astype(np.float32)
    hulls = hulls_from_oriented(oriented).astype(np.float32)
    return OrientedBoxes(hulls, scores.astype(np.float32), labels.astype(np.int32), CLASSES, oriented)


@pytest.fixture
def synthetic(tmp_path: Path) -> tuple[Path, list[Truth[Array]], list[tuple[int, OrientedBoxes]]]:
    """A DOTA folder with some difficult objects, and answers that are more or less right, missing or wrong."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    (tmp_path / "labelTxt").mkdir()
    truths, answers = [], []
    for image in range(1, IMAGES + 1):
        cv2.imwrite(str(tmp_path / "images" / f"P{image:04}.png"), np.zeros((SIDE, SIDE, 3), np.uint8))
        count = int(rng.integers(1, 15))
        sides = np.exp(rng.uniform(2, 5, (count, 2)))
        boxes = np.concatenate([rng.uniform(0, SIDE, (count, 2)), sides, rng.uniform(0, 3, (count, 1))], 1)
        boxes = boxes.astype(np.float32).astype(np.float64)
        labels, hard = rng.integers(0, 2, count), rng.random(count) < 0.15
        lines = ["imagesource:GoogleEarth", "gsd:0.15"]
        for box, label, difficult in zip(boxes, labels, hard, strict=True):
            corners = " ".join(f"{value:.9f}" for value in corners_from_oriented(box[None])[0].ravel())
            lines.append(f"{corners} {CLASSES[label]} {int(difficult)}")
            truths.append(Truth(image, int(label), box, bool(difficult)))
        (tmp_path / "labelTxt" / f"P{image:04}.txt").write_text("\n".join(lines) + "\n")
        again = np.repeat(np.arange(count), rng.integers(0, 3, count))
        moved = boxes[again] + rng.normal(0, 1, (len(again), 5)) * [3, 3, 3, 3, 0.05]
        moved[:, 2:4] = np.abs(moved[:, 2:4]) + 1
        wrong = np.concatenate([rng.uniform(0, SIDE, (3, 2)), rng.uniform(5, 90, (3, 2)), np.ones((3, 1))], 1)
        found = np.concatenate([moved, wrong])
        kinds = np.concatenate([labels[again], rng.integers(0, 2, 3)])
        answers.append((image, made(found, rng.permutation(np.linspace(0.1, 0.9, len(found))), kinds)))
    return tmp_path, truths, answers


def read(folder: Path) -> LabelledImages:
    return with_oriented_truth(read_annotations(folder, folder / "images", CLASSES, outlines=True))


def test_ap_equals_a_plain_implementation(
    synthetic: tuple[Path, list[Truth[Array]], list[tuple[int, OrientedBoxes]]],
) -> None:
    folder, truths, found = synthetic
    accuracy = accuracy_from_oriented(read(folder), found)
    answers = [
        Answer(image, int(label), box.astype(np.float64), float(score))
        for image, result in found
        for box, label, score in zip(result.oriented, result.labels, result.scores, strict=True)
    ]
    expected = plain_ap(truths, answers, plain_iou)
    assert 20 < expected["ap"] < 90
    for name, value in expected.items():
        assert getattr(accuracy, name) == pytest.approx(value, abs=1e-6)
    assert accuracy.images == IMAGES
    assert accuracy.boxes == len(truths)
    assert [c.name for c in accuracy.classes] == ["plane", "ship"]


@pytest.mark.parametrize("seed", range(40))
def test_matches_are_those_of_pycocotools(seed: int) -> None:
    """Crowds, ignored sizes, equal overlaps and equal scores."""
    rng = np.random.default_rng(seed)
    truths, found = int(rng.integers(0, 12)), int(rng.integers(0, 30))
    evaluation = RotatedEval(iouType="bbox")
    crowd, sizes = rng.random(truths) < 0.2, rng.choice([10.0, 50.0, 200.0], truths)
    evaluation._gts = {
        (1, 1): [
            {"id": 100 + k, "area": float(sizes[k]), "iscrowd": int(crowd[k]), "ignore": int(crowd[k])}
            for k in range(truths)
        ]
    }
    scores = rng.choice([0.2, 0.4, 0.5, 0.9], found)
    areas = rng.choice([10.0, 50.0, 200.0], found)
    evaluation._dts = {
        (1, 1): [{"id": k + 1, "score": float(scores[k]), "area": float(areas[k])} for k in range(found)]
    }
    most = int(rng.choice([5, 1000]))
    kept = min(found, most)
    overlaps = rng.choice([0.0, 0.3, 0.5, 0.7, 0.75, 0.9, 1.0], (kept, truths))
    evaluation.ious = {(1, 1): overlaps if truths and found else []}
    for sizes_between in ([0, 10**10], [20, 100], [100, 10**10]):
        expected = COCOeval.evaluateImg(evaluation, 1, 1, sizes_between, most)
        actual = evaluation.evaluateImg(1, 1, sizes_between, most)
        assert (expected is None) == (actual is None)
        if expected is None or actual is None:
            continue
        for name in ("dtIds", "gtIds", "dtMatches", "dtScores", "gtIgnore", "dtIgnore"):
            np.testing.assert_array_equal(actual[name], expected[name], err_msg=name)


def test_the_budget_s_ap_is_the_same(
    synthetic: tuple[Path, list[Truth[Array]], list[tuple[int, OrientedBoxes]]],
) -> None:
    folder, _, found = synthetic
    labelled = read(folder)
    evaluation = oriented_evaluation(labelled, rows_of_oriented(labelled, found), by_size=False)
    scores = AveragePrecision.of(evaluation, labelled.image_ids)
    assert scores.whole == pytest.approx(accuracy_from_oriented(labelled, found).ap, abs=1e-6)


def test_the_angle_decides(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((100, 100, 3), np.uint8))
    box = np.array([[50.0, 50, 60, 10, 0.7]])
    corners = " ".join(map(str, corners_from_oriented(box)[0].ravel()))
    (tmp_path / "a.txt").write_text(f"{corners} ship 0\n")
    labelled = with_oriented_truth(read_annotations(tmp_path, tmp_path, CLASSES, outlines=True))
    for angle, ap in ((0.7, 100), (0.7 + np.pi, 100), (-0.7, 0)):
        turned = made(np.array([[50, 50, 60, 10, angle]]), np.array([0.9]), np.array([1]))
        assert accuracy_from_oriented(labelled, [(1, turned)]).ap == pytest.approx(ap)
    assert accuracy_from_oriented(labelled, [(1, made(np.zeros((0, 5)), np.zeros(0), np.zeros(0)))]).ap == 0


def test_more_than_a_hundred_objects_of_an_image_count(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((800, 800, 3), np.uint8))
    boxes = np.array([[20 * (k % 40) + 10, 20 * (k // 40) + 10, 12, 6, 0.5] for k in range(240)])
    lines = [" ".join(map(str, corners.ravel())) + " ship 0" for corners in corners_from_oriented(boxes)]
    (tmp_path / "a.txt").write_text("\n".join(lines))
    labelled = with_oriented_truth(read_annotations(tmp_path, tmp_path, CLASSES, outlines=True))
    found = made(boxes, np.linspace(0.1, 0.9, 240), np.ones(240))
    assert accuracy_from_oriented(labelled, [(1, found)]).ap == pytest.approx(100)


def test_detections_match_by_the_rotated_boxes(tmp_path: Path) -> None:
    """Crossed boxes have equal upright boxes; difficult objects are neither right nor wrong."""
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((100, 100, 3), np.uint8))
    truths = np.array([[50.0, 50, 60, 10, 0.7], [20, 80, 30, 10, 0.0]])
    lines = [
        f"{' '.join(map(str, corners.ravel()))} ship {hard}"
        for corners, hard in zip(corners_from_oriented(truths), (0, 1), strict=True)
    ]
    (tmp_path / "a.txt").write_text("\n".join(lines))
    labelled = read_annotations(tmp_path, tmp_path, CLASSES, outlines=True)
    boxes = np.array([[50, 50, 60, 10, -0.7], [50, 50, 60, 10, 0.7], [20, 80, 30, 10, 0.0]])
    found = made(boxes, np.array([0.9, 0.6, 0.8]), np.ones(3))
    spec = replace(detector(), task="obb", outputs=obb_outputs(1), classes=CLASSES)
    (ship,) = match_detections(labelled, spec, [(1, found)])
    assert ship.name == "ship"
    assert dict(zip(ship.scores.round(1).tolist(), ship.correct.tolist(), strict=True)) == {
        0.9: False,
        0.6: True,
    }
    assert ship.boxes.tolist() == [1]
    (nothing,) = match_detections(labelled, spec, [(1, found[[]])])
    assert (len(nothing.scores), nothing.boxes.tolist()) == (0, [1])


def test_polygons_of_coco_and_yolo_give_the_same_boxes(tmp_path: Path) -> None:
    box = np.array([[50.0, 40, 60, 10, 0.7]])
    corners = corners_from_oriented(box)[0]
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), np.zeros((80, 100, 3), np.uint8))
    shares = " ".join(map(str, (corners / (100, 80)).ravel()))
    (tmp_path / "labels" / "a.txt").write_text(f"1 {shares}\n")
    (tmp_path / "classes.txt").write_text("plane\nship\n")
    (x, y), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 100, "height": 80}],
        "categories": [{"id": 1, "name": "plane"}, {"id": 2, "name": "ship"}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 2,
                "bbox": [x, y, right - x, bottom - y],
                "segmentation": [corners.ravel().tolist()],
            }
        ],
    }
    (tmp_path / "truth.json").write_text(json.dumps(content))
    for labels in (tmp_path, tmp_path / "truth.json"):
        labelled = with_oriented_truth(read_annotations(labels, tmp_path / "images", CLASSES, outlines=True))
        found = made(box, np.array([0.9]), np.array([1]))
        assert accuracy_from_oriented(labelled, [(labelled.image_ids[0], found)]).ap == pytest.approx(100)


def test_dota_is_recognised(tmp_path: Path) -> None:
    assert not is_dota(tmp_path)
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    assert not is_dota(tmp_path)
    (tmp_path / "a.txt").write_text("0 0 10 0 10 5 0 5 small-vehicle 1\n")
    assert is_dota(tmp_path)
    (tmp_path / "a.txt").write_text("imagesource:GoogleEarth\ngsd:null\n")
    assert is_dota(tmp_path)


@pytest.mark.parametrize(
    "line",
    ["0 0 10 0 10 5 0 ship", "0 0 10 0 10 5 0 5 ship 2", "0 0 10 0 10 nan 0 5 ship 0", "0 0 10 0 10 5 0 5"],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((20, 20, 3), np.uint8))
    (tmp_path / "a.txt").write_text(f"gsd:1\n0 0 10 0 10 5 0 5 ship\n{line}\n")
    with pytest.raises(UsageError, match=r"a\.txt:3: .* is not x1 y1 x2 y2 x3 y3 x4 y4 category difficult"):
        read_dota(tmp_path, tmp_path)


def test_a_text_without_an_image_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("0 0 10 0 10 5 0 5 ship 0\n")
    with pytest.raises(SourceError, match="has no image a in"):
        read_dota(tmp_path, tmp_path)


def test_upright_labels_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    labels = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "ship"}]}
    labels["images"] = [{"id": 1, "file_name": "a.png", "width": 9, "height": 9}]
    labels["annotations"] = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 5, 5]}]
    (tmp_path / "t.json").write_text(json.dumps(labels))
    with pytest.raises(UsageError, match="segmentation"):
        read_annotations(tmp_path / "t.json", tmp_path, CLASSES, outlines=True)


@pytest.mark.parametrize("angle", [0.0, 0.3, 1.2, 2.9, -0.7])
def test_the_rectangle_of_corners_is_the_box(angle: float) -> None:
    box = np.array([[3000.5, 20.25, 60, 10, angle]])
    found = oriented_from_outline([corners_from_oriented(box)[0].ravel().tolist()])
    assert plain_iou(np.array(found), box[0]) == pytest.approx(1, abs=1e-5)
