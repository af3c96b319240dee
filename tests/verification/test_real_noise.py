"""A trained detector with weights of 8 bits that is quantized at run time: accepted as it is, refused with a fault."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import pytest

pytest.importorskip("torch")

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from edgevision.bundle.folder import Bundle
from edgevision.export.adoption import adopt_bundle
from edgevision.graph.adopt import AdoptOptions
from edgevision.graph.preprocess import PixelFormat
from tests.verification import planting
from tests.verification.planted_faults import FAULTS
from tests.verification.planting import Fault, planted_refusal

FRAME_WH = (640, 400)


@pytest.fixture(scope="module")
def quantized(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("quantized") / "FastestDet.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantize_dynamic(data_dir / "weights" / file.name, file, weight_type=QuantType.QUInt8)
    return file


def adopted(file: Path, path: Path) -> Bundle:
    return adopt_bundle(file, "fastestdet", AdoptOptions(frame_wh=FRAME_WH), None, path, planting.quiet)


def _shifted(model: onnx.ModelProto) -> onnx.ModelProto:
    """Frames that the graph takes one pixel further left."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    cast = next(node for node in copy.graph.node if "frames" in node.input)
    value = cast.output[0]
    cast.output[0] = f"{value}/whole"
    width = FRAME_WH[0]
    for name, numbers in (("start", [1]), ("stop", [width]), ("axis", [2]), ("pads", [0] * 6 + [1, 0])):
        copy.graph.initializer.append(numpy_helper.from_array(np.array(numbers, np.int64), f"shift/{name}"))
    names = [f"{value}/whole", "shift/start", "shift/stop", "shift/axis"]
    nodes = [
        helper.make_node("Slice", names, [f"{value}/cut"], name="shift/slice"),
        helper.make_node("Pad", [f"{value}/cut", "shift/pads"], [value], name="shift/pad", mode="edge"),
    ]
    place = next(i for i, node in enumerate(copy.graph.node) if node.name == cast.name)
    for offset, node in enumerate(nodes):
        copy.graph.node.insert(place + 1 + offset, node)
    return copy


@pytest.mark.slow
def test_it_is_accepted(quantized: Path, tmp_path: Path) -> None:
    bundle = adopted(quantized, tmp_path / "b")
    (record,) = bundle.graph("float").verifications
    measured = {check.name: check for check in record.checks}
    assert record.sensitivity is not None
    assert record.sensitivity.score > 0.005, "far more than float models have"
    assert measured["score difference of candidates"].limit == pytest.approx(2 * record.sensitivity.score)
    assert measured["score difference of candidates, decoded from the graph's raw outputs"].limit == 0.001


PLANTED = {
    "channel order": Fault("real", lambda o: {**o, "pixels": PixelFormat("rgb")}),
    "letterboxed for stretched": Fault("real", lambda o: {**o, "network_fit": "letterbox"}),
    "pixels off by one": Fault("real", graph=_shifted),
    **{
        name: dataclasses.replace(FAULTS[name], base="real")
        for name in (
            "pixels not divided by 255",
            "classes swapped",
            "inclusive corners",
            "NMS threshold 0.6 for 0.45",
            "NMS threshold 0.35 for 0.45",
            "NMS over all classes",
            "boxes moved by one pixel",
            "list cut at an eighth",
        )
    },
}


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", PLANTED)
def test_a_fault_is_caught(
    quantized: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(planting.BASES, "real", lambda path: adopted(quantized, path))
    assert planted_refusal(PLANTED[name], tmp_path)
