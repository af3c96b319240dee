"""AP of poses against a plain implementation of OKS."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from edgevision.contract.results import Poses
from edgevision.contract.spec import KeypointSpec, pose_outputs
from edgevision.errors import UsageError
from edgevision.evaluation.bootstrap import AveragePrecision
from edgevision.evaluation.detection import LabelledImages, read_annotations
from edgevision.evaluation.keypoints import (
    accuracy_from_poses,
    keypoint_evaluation,
    require_keypoints,
    rows_of_poses,
)
from edgevision.evaluation.operating_point import match_detections
from tests.doubles import detector
from tests.evaluation.plain_ap import Answer, Truth, plain_ap

Array = npt.NDArray[np.float64]
Pose = tuple[Array, float]
"""Keypoints ``[K,3]`` and the object's area."""
IMAGES = 10
COCO_FALLOFF = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000


def oks(answer: Pose, truth: Pose) -> float:
    """Object keypoint similarity, https://cocodataset.org/#keypoints-eval."""
    points, area = truth
    falloff = COCO_FALLOFF if len(points) == 17 else np.full(len(points), 1 / len(points))
    squares = ((answer[0][:, :2] - points[:, :2]) ** 2).sum(axis=1)
    terms = np.exp(-squares / (2 * area * (2 * falloff) ** 2))
    return float(terms[points[:, 2] > 0].mean())


def synthetic(folder: Path, count: int) -> tuple[LabelledImages, list[Truth[Pose]], list[tuple[int, Poses]]]:
    rng = np.random.default_rng(count)
    truths: list[Truth[Pose]] = []
    found: list[tuple[int, Poses]] = []
    annotations: list[dict[str, object]] = []
    for image in range(1, IMAGES + 1):
        (folder / f"{image}.png").write_bytes(b"")
        people = int(rng.integers(1, 6))
        corner, side = rng.uniform(0, 300, (people, 2)), np.exp(rng.uniform(3.5, 5.5, (people, 2)))
        points = corner[:, None] + rng.random((people, count, 2)) * side[:, None]
        for place in range(people):
            seen = rng.choice([0, 1, 2], count)
            seen[0] = 2
            pose = np.concatenate([points[place], seen[:, None]], 1)
            area = float(side[place].prod() * 0.6)
            truths.append(Truth(image, 0, (pose, area)))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": 5,
                    "iscrowd": 0,
                    "bbox": [*corner[place], *side[place]],
                    "area": area,
                    "keypoints": pose.ravel().tolist(),
                    "num_keypoints": int((seen > 0).sum()),
                }
            )
        again = np.repeat(np.arange(people), rng.integers(0, 3, people))
        spread = np.sqrt(side[again].prod(axis=1))[:, None, None] * rng.uniform(
            0, 0.8 / count, (len(again), 1, 1)
        )
        answers = points[again] + rng.normal(0, 1, (len(again), count, 2)) * spread
        answers = np.concatenate([answers, rng.uniform(0, 500, (2, count, 2))])
        values = np.concatenate([answers, np.full((len(answers), count, 1), 0.8)], 2).astype(np.float32)
        boxes = np.concatenate([answers.min(axis=1), answers.max(axis=1)], 1).astype(np.float32)
        scores = rng.permutation(np.linspace(0.1, 0.9, len(answers))).astype(np.float32)
        labels = np.zeros(len(answers), np.int32)
        found.append((image, Poses(boxes, scores, labels, ("person",), values, KeypointSpec.of(count))))
    images = [{"id": k, "file_name": f"{k}.png", "width": 600, "height": 600} for k in range(1, IMAGES + 1)]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 5, "name": "person"}]}
    (folder / "truth.json").write_text(json.dumps(content))
    return read_annotations(folder / "truth.json", folder, ("person",)), truths, found


@pytest.mark.parametrize("count", [17, 4])
def test_ap_equals_a_plain_implementation(tmp_path: Path, count: int) -> None:
    labelled, truths, found = synthetic(tmp_path, count)
    accuracy = accuracy_from_poses(labelled, found, count)
    answers = [
        Answer(image, 0, (points.astype(np.float64), 0.0), float(score))
        for image, result in found
        for points, score in zip(result.keypoints, result.scores, strict=True)
    ]
    expected = plain_ap(truths, answers, oks)
    assert 20 < expected["ap"] < 95
    for name, value in expected.items():
        assert getattr(accuracy, name) == pytest.approx(value, abs=1e-6)
    assert accuracy.poses == len(truths)
    assert accuracy.classes[0].ap == pytest.approx(accuracy.ap)
    assert 0 < accuracy.recall20 <= 100


def test_the_budget_s_ap_is_the_same(tmp_path: Path) -> None:
    labelled, _, found = synthetic(tmp_path, 17)
    require_keypoints(labelled, 17)
    scores = AveragePrecision.of(
        keypoint_evaluation(labelled, rows_of_poses(labelled, found), 17), labelled.image_ids
    )
    assert scores.whole == pytest.approx(accuracy_from_poses(labelled, found, 17).ap, abs=1e-6)


def test_poses_match_by_oks(tmp_path: Path) -> None:
    """A plain greedy matching at OKS 0.5, highest score first, gives the same correct poses."""
    labelled, truths, found = synthetic(tmp_path, 17)
    layout = KeypointSpec.of(17)
    spec = replace(
        detector(), task="pose", outputs=pose_outputs(1, 17), classes=("person",), keypoints=layout
    )
    (person,) = match_detections(labelled, spec, found)
    expected = []
    for image, result in found:
        free = [truth.value for truth in truths if truth.image == image]
        for place in np.argsort(-result.scores):
            pose = (result.keypoints[place].astype(np.float64), 0.0)
            overlaps = [oks(pose, truth) for truth in free]
            right = bool(overlaps) and max(overlaps) >= 0.5
            if right:
                free.pop(int(np.argmax(overlaps)))
            expected.append((float(result.scores[place]), right))
    assert sorted(zip(person.scores.tolist(), person.correct.tolist(), strict=True)) == sorted(expected)
    assert 0 < person.correct.sum() < len(expected)
    assert person.boxes.sum() == len(truths)


def test_nothing_found_scores_0(tmp_path: Path) -> None:
    labelled, truths, found = synthetic(tmp_path, 17)
    accuracy = accuracy_from_poses(labelled, [(1, found[0][1][[]])], 17)
    assert (accuracy.ap, accuracy.poses) == (0, len(truths))


def test_another_number_of_keypoints_is_refused(tmp_path: Path) -> None:
    labelled, _, found = synthetic(tmp_path, 4)
    with pytest.raises(UsageError, match="the annotations have 4 keypoints; the model has 17"):
        accuracy_from_poses(labelled, found, 17)


def test_labels_without_keypoints_are_refused(tmp_path: Path) -> None:
    synthetic(tmp_path, 17)
    content = json.loads((tmp_path / "truth.json").read_text())
    for annotation in content["annotations"]:
        del annotation["keypoints"]
    (tmp_path / "truth.json").write_text(json.dumps(content))
    labelled = read_annotations(tmp_path / "truth.json", tmp_path, ("person",))
    with pytest.raises(UsageError, match="no annotation has keypoints"):
        accuracy_from_poses(labelled, [], 17)


def test_an_object_without_visible_keypoints_is_ignored(tmp_path: Path) -> None:
    _, truths, found = synthetic(tmp_path, 17)
    content = json.loads((tmp_path / "truth.json").read_text())
    del content["annotations"][0]["keypoints"]
    content["annotations"][1]["keypoints"][2::3] = [0] * 17
    (tmp_path / "truth.json").write_text(json.dumps(content))
    labelled = read_annotations(tmp_path / "truth.json", tmp_path, ("person",))
    accuracy = accuracy_from_poses(labelled, found, 17)
    assert accuracy.poses == len(truths) - 2
    assert accuracy.ap > 0
