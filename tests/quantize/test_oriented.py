"""`edgevision quantize` of a model with oriented boxes, on labels in DOTA's format."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from edgevision.bundle.folder import Bundle
from edgevision.cli.commands.quantize import command
from edgevision.contract.results import OrientedBoxes
from edgevision.contract.spec import NmsSpec
from edgevision.engines.opening import open_session
from edgevision.export.adoption import adopt_bundle
from edgevision.graph.adopt import AdoptOptions
from edgevision.quantize import quantizer
from edgevision.quantize.record import read_record
from edgevision.sources.image_files import read_image
from tests.graph.networks import Maker, _turned
from tests.quantize.test_trials import FILES

CLASSES = ("plane", "ship")


def network() -> onnx.ModelProto:
    """Boxes, classes and an angle of every cell; two convolutions on each other, so that INT8 rounds between them."""
    m = Maker(17)
    count = 5 + len(CLASSES)
    maps = []
    for stride in (8, 16, 32):
        inner = m("Relu", m.conv(16, stride))
        weights = m.rng.normal(0, 0.5, (count, 16, 1, 1)).astype(np.float32)
        outer = m("Conv", inner, weights, kernel_shape=[1, 1])
        maps.append(m("Reshape", outer, np.array([0, count, -1])))
    value = m("Concat", *maps, axis=2)
    scores = m("Sigmoid", m.cut(value, 4, 4 + len(CLASSES)))
    columns = m("Concat", m.boxes(value), scores, _turned(m, value, 4 + len(CLASSES)), axis=1)
    return m.model({"output0": (columns, 1, [1, count, None])})


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    onnx.save(network(), tmp_path / "aerial.onnx")
    options = AdoptOptions(classes=CLASSES, nms=NmsSpec(candidates=200, max_detections=100, depth=48))
    return adopt_bundle(tmp_path / "aerial.onnx", None, options, None, tmp_path / "b", lambda _: None)


@pytest.fixture
def labels(bundle: Bundle, tmp_path: Path) -> Path:
    """A folder in DOTA's layout: the float graph's confident boxes, the last of each image difficult."""
    for part in ("images", "labelTxt"):
        (tmp_path / "dota" / part).mkdir(parents=True)
    with open_session(bundle.path, engine="onnxruntime") as session:
        for file in FILES:
            (found,) = session([read_image(file)], threshold=0.6)
            assert isinstance(found, OrientedBoxes)
            lines = ["imagesource:GoogleEarth", "gsd:0.2"]
            for place, (corners, label) in enumerate(zip(found.corners, found.labels, strict=True), 1):
                points = " ".join(f"{value:.2f}" for value in corners.ravel())
                lines.append(f"{points} {CLASSES[label]} {int(place == len(found))}")
            (tmp_path / "dota" / "labelTxt" / f"{file.stem}.txt").write_text("\n".join(lines))
            shutil.copy(file, tmp_path / "dota" / "images")
    return tmp_path / "dota"


@pytest.mark.slow
def test_int8_within_a_budget_of_rotated_ap(
    bundle: Bundle, labels: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(quantizer, "CANDIDATE_SECONDS", 0.05)
    monkeypatch.setattr(quantizer, "FINAL_SECONDS", 0.05)
    images = labels / "images"
    data = [bundle.path, "--calib", images, "--eval-images", images, "--annotations", labels]
    options = ["--precision", "int8", "--max-drop", "5", "--threads", "1", "--calib-images", "4"]
    result = CliRunner().invoke(command, [*map(str, data), *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    record = read_record(bundle.path)
    assert (record.metric, record.search_images) == ("AP", len(FILES))
    assert record.float_accuracy > 50
    assert record.chosen.drop.points <= 5
    assert record.chosen.low_share > 0
    verified = Bundle.open(bundle.path).graph("int8").verifications
    assert all(each.passed for each in verified)
    content = json.loads((bundle.path / "quantize.json").read_text())
    assert content["max_drop"] == 5
    with capsys.disabled():
        print(f"\n  oriented boxes, INT8: float AP {record.float_accuracy:.2f}, {record.chosen.drop}", end="")
        print(f", {100 * record.chosen.low_share:.1f} % of the work in INT8", end="")
