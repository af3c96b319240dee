"""Trials of a budget measure poses and oriented boxes by their own metrics."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgevision.contract.results import OrientedBoxes, Poses
from edgevision.contract.session import Session
from edgevision.contract.spec import NmsSpec
from edgevision.engines.opening import open_session
from edgevision.errors import UsageError
from edgevision.graph.adopt import AdoptOptions, adopt
from edgevision.quantize.search.trials import MEASURING, trial_for, trial_options
from edgevision.sources.image_files import read_image
from edgevision.sources.synthetic_camera import PHOTOGRAPHS
from tests.graph import networks

FILES = sorted(path for path in PHOTOGRAPHS.iterdir() if path.suffix == ".jpg")[:3]


def adopted(task: str, folder: Path) -> Path:
    make = networks.yolov8_pose if task == "pose" else networks.yolov8_obb
    onnx.save(make(), folder / "theirs.onnx")
    nms = NmsSpec(candidates=100, max_detections=20, score_floor=0.3)
    onnx.save(adopt(folder / "theirs.onnx", None, AdoptOptions(nms=nms)).model, folder / f"{task}.onnx")
    return folder / f"{task}.onnx"


def test_a_network_without_nms_is_measured_without_its_threshold(tmp_path: Path) -> None:
    onnx.save(networks.end2end(), tmp_path / "theirs.onnx")
    found = adopt(tmp_path / "theirs.onnx", None, AdoptOptions(classes=("a", "b", "c")))
    onnx.save(found.model, tmp_path / "end2end.onnx")
    options = trial_options(found.spec, tmp_path / "end2end.onnx")
    assert (options.iou_threshold, options.score_floor) == (None, MEASURING.score_floor)
    with open_session(tmp_path / "end2end.onnx", engine="onnxruntime", options=options) as session:
        assert len(session([read_image(FILES[0])])) == 1
    assert trial_options(found.spec, adopted("pose", tmp_path)).iou_threshold == MEASURING.iou_threshold


def labelled_by(session: Session, file: Path, *, wrong: bool = False) -> Path:
    """COCO labels of exactly what the session finds; `wrong`: with keypoints or angles that it does not find."""
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for number, path in enumerate(FILES, 1):
        image = read_image(path)
        images.append(
            {"id": number, "file_name": path.name, "width": image.shape[1], "height": image.shape[0]}
        )
        (found,) = session([image], threshold=0.0)
        assert isinstance(found, Poses | OrientedBoxes)
        for part in found:
            x1, y1, x2, y2 = part.boxes[0].tolist()
            entry: dict[str, object] = {
                "id": len(annotations) + 1,
                "image_id": number,
                "category_id": int(part.labels[0]) + 1,
            }
            entry |= {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": 0}
            if isinstance(part, Poses):
                points = part.keypoints[0].astype(float) + np.array([2000.0 * wrong, 0, 0])
                points[:, 2] = 2
                entry["keypoints"] = points.ravel().tolist()
            else:
                assert isinstance(part, OrientedBoxes)
                corners = part.corners[0].astype(float) * [1, 0.1 if wrong else 1]
                entry["segmentation"] = [corners.ravel().tolist()]
            annotations.append(entry)
    categories = [{"id": k + 1, "name": name} for k, name in enumerate(session.spec.classes)]
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return file


@pytest.mark.parametrize("task", ["pose", "obb"])
def test_a_trial_measures_what_the_task_is_about(tmp_path: Path, task: str) -> None:
    with open_session(adopted(task, tmp_path), engine="onnxruntime") as session:
        right = labelled_by(session, tmp_path / "right.json")
        wrong = labelled_by(session, tmp_path / "wrong.json", wrong=True)
        scores = [trial_for(session.spec, PHOTOGRAPHS, file, None)(session) for file in (right, wrong)]
    assert scores[0].metric == "AP"
    assert scores[0].images == len(FILES)
    # Objects that NMS leaves near each other may take each other's labels.
    assert scores[0].whole > 80
    assert scores[1].whole < 10


@pytest.mark.parametrize(("task", "said"), [("pose", "no annotation has keypoints"), ("obb", "segmentation")])
def test_labels_of_boxes_are_refused(tmp_path: Path, task: str, said: str) -> None:
    with open_session(adopted(task, tmp_path), engine="onnxruntime") as session:
        file = labelled_by(session, tmp_path / "labels.json")
        content = json.loads(file.read_text())
        for entry in content["annotations"]:
            entry.pop("keypoints", None)
            entry.pop("segmentation", None)
        file.write_text(json.dumps(content))
        with pytest.raises(UsageError, match=said):
            trial_for(session.spec, PHOTOGRAPHS, file, None)
