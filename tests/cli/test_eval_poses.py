"""`edgevision eval` of poses and oriented boxes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgevision.bundle.folder import Bundle
from edgevision.cli.commands.eval import command
from edgevision.contract.spec import NmsSpec
from edgevision.engines.opening import open_session
from edgevision.errors import UsageError
from edgevision.export.adoption import adopt_bundle
from edgevision.graph.adopt import AdoptOptions
from edgevision.sources.image_files import read_image
from tests.quantize.test_trials import FILES, adopted, labelled_by


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for file in FILES:
        shutil.copy(file, folder)
    return folder


def measured(graph: Path, images: Path, labels: Path, record: Path) -> tuple[str, dict[str, object]]:
    arguments = [graph, "--images", images, "--annotations", labels, "--record", record, "--iou", "0.45"]
    result = CliRunner().invoke(
        command, [*map(str, arguments), "--engine", "onnxruntime"], catch_exceptions=False
    )
    assert result.exit_code == 0
    return result.output, json.loads(record.read_text())


def test_poses_have_ap_of_boxes_and_of_keypoints(tmp_path: Path, images: Path) -> None:
    graph = adopted("pose", tmp_path)
    with open_session(graph, engine="onnxruntime") as session:
        labels = labelled_by(session, tmp_path / "truth.json")
    output, record = measured(graph, images, labels, tmp_path / "record.json")
    assert "box AP " in output
    assert "OKS AP " in output
    assert set(record) == {"boxes", "keypoints"}
    assert record["keypoints"]["ap50"] > 50  # type: ignore[index]  # JSON


def test_oriented_boxes_are_measured_with_dota_s_labels(tmp_path: Path, images: Path) -> None:
    graph = adopted("obb", tmp_path)
    truth = tmp_path / "labelTxt"
    truth.mkdir()
    with open_session(graph, engine="onnxruntime") as session:
        coco = json.loads(labelled_by(session, tmp_path / "truth.json").read_text())
        names = session.spec.classes
    for image in coco["images"]:
        rows = [a for a in coco["annotations"] if a["image_id"] == image["id"]]
        lines = [f"{' '.join(map(str, a['segmentation'][0]))} {names[a['category_id'] - 1]} 0" for a in rows]
        (truth / Path(image["file_name"]).with_suffix(".txt").name).write_text("\n".join(lines))
    output, record = measured(graph, images, tmp_path, tmp_path / "record.json")
    assert output.splitlines()[-1].startswith("AP ")
    assert record["images"] == len(FILES)
    assert record["ap50"] > 50  # type: ignore[operator]  # JSON


def test_upright_labels_do_not_measure_oriented_boxes(tmp_path: Path, images: Path) -> None:
    graph = adopted("obb", tmp_path)
    with open_session(graph, engine="onnxruntime") as session:
        labels = labelled_by(session, tmp_path / "truth.json")
    content = json.loads(labels.read_text())
    for annotation in content["annotations"]:
        del annotation["segmentation"]
    labels.write_text(json.dumps(content))
    arguments = [graph, "--images", images, "--annotations", labels]
    with pytest.raises(UsageError, match="segmentation"):
        CliRunner().invoke(command, [*map(str, arguments)], catch_exceptions=False)


@pytest.mark.parametrize(
    ("task", "settings", "objects", "overlap"),
    [
        ("pose", "match at OKS 0.5", "poses", "OKS"),
        ("obb", "match at IoU of rotated boxes 0.5", "boxes", "IoU"),
    ],
)
def test_thresholds_are_measured_and_stored(
    task: str, settings: str, objects: str, overlap: str, tmp_path: Path, images: Path
) -> None:
    """Labels are what the graph finds: nearly every detection is right, and the graph's own minimum score is 0.3."""
    source = adopted(task, tmp_path).with_name("theirs.onnx")
    nms = NmsSpec(candidates=100, max_detections=20, score_floor=0.3)
    path = adopt_bundle(source, None, AdoptOptions(nms=nms), images, tmp_path / "b", lambda _: None).path
    with open_session(path, engine="onnxruntime") as session:
        labels = labelled_by(session, tmp_path / "truth.json")
    data = ["--images", images, "--annotations", labels, "--engine", "onnxruntime"]
    arguments = [*map(str, [path, *data]), "--write-thresholds"]
    output = CliRunner().invoke(command, arguments, catch_exceptions=False).output
    assert f"operating point; NMS as exported, {settings}" in output
    point = Bundle.open(path).operating_point
    assert point is not None
    assert (point.overlap, point.match_iou) == (overlap, 0.5)
    assert all(0.3 <= each.threshold < 0.99 and (each.recall or 0) > 0.8 for each in point.classes)
    with open_session(path, engine="onnxruntime") as session:
        answers = [found for file in FILES for found in session([read_image(file)], threshold=0.95)]
    given = [path, *data, "--threshold", "0.95", "--record", tmp_path / "record.json"]
    lines = CliRunner().invoke(command, [*map(str, given)], catch_exceptions=False).output.splitlines()
    header = next(line.split() for line in reversed(lines) if line.startswith("class"))
    assert header[1] == objects
    everything = json.loads((tmp_path / "record.json").read_text())["at_threshold"][-1]
    assert everything["detections"] == sum(map(len, answers))  # type: ignore[arg-type]  # results of boxes
    assert 0.9 * everything["detections"] < everything["correct"] < 0.9 * everything["boxes"]
