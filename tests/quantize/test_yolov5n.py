"""The published YOLOv5n, its real images, and each lower precision against float."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from edgevision.bundle.folder import Bundle
from edgevision.cli.root import edgevision
from edgevision.contract.image import fit_frame
from edgevision.contract.session import Frames, SessionOptions
from edgevision.engines.opening import open_session
from edgevision.errors import VerificationError
from edgevision.evaluation.detection import (
    PROTOCOL_FLOOR,
    PROTOCOL_IOU,
    accuracy_from_detections,
    detect_all,
    read_annotations,
)
from edgevision.export.exporter import ExportOptions, export_bundle
from edgevision.graph.surgery import with_named_nodes
from edgevision.models.recipe import load_recipe
from edgevision.quantize.calibration.magnitudes import Magnitudes, probe_magnitudes
from edgevision.quantize.calibration.ranges import Ranges
from edgevision.quantize.fp16 import HalfGraph, half_graph
from edgevision.quantize.fp16_emulation import emulated_half
from edgevision.quantize.options import QuantizeOptions
from edgevision.quantize.placement import placement_by_modelopt
from edgevision.quantize.qdq import quantized
from edgevision.quantize.signedness import with_unsigned_activations
from edgevision.sources.image_files import read_image

CALIBRATION_IMAGES = 16
FAULTY = "/model.13/cv1/conv/Conv"


@pytest.fixture(scope="module")
def bundle(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    options = ExportOptions(checkpoint=data_dir / "weights" / "yolov5n.pt")
    path = tmp_path_factory.mktemp("yolov5n") / "b"
    return export_bundle(load_recipe("yolov5"), options, path, lambda _: None)


@pytest.fixture(scope="module")
def model(bundle: Bundle) -> onnx.ModelProto:
    return with_named_nodes(onnx.load(bundle.graph_path()))


@pytest.fixture(scope="module")
def magnitudes(bundle: Bundle, model: onnx.ModelProto, data_dir: Path) -> Magnitudes:
    files = sorted((data_dir / "coco" / "calib").glob("*.jpg"))[:CALIBRATION_IMAGES]

    def frames() -> Iterator[Frames]:
        for file in files:
            yield fit_frame(read_image(file), bundle.spec.frames)[0][None]

    return probe_magnitudes(model, frames())


@pytest.fixture(scope="module")
def half(model: onnx.ModelProto, magnitudes: Magnitudes) -> HalfGraph:
    return half_graph(model, magnitudes)


@pytest.fixture(scope="module")
def int8(bundle: Bundle, model: onnx.ModelProto, magnitudes: Magnitudes) -> onnx.ModelProto:
    """Signed, every placed edge quantized, its weights in the bits that this CPU multiplies rightly."""
    placement = placement_by_modelopt(model, bundle.golden().frames[:1])
    placement = replace(placement, largest_weight=QuantizeOptions(Path()).largest_weight())
    thresholds = {tensor: magnitudes.largest[tensor] for tensor in placement.tensors}
    return quantized(model, placement, Ranges("max", CALIBRATION_IMAGES, thresholds))


def average_precision(graph: Path, data_dir: Path) -> float:
    options = SessionOptions(iou_threshold=PROTOCOL_IOU, score_floor=PROTOCOL_FLOOR)
    with open_session(graph, engine="onnxruntime", options=options) as session:
        coco = data_dir / "coco"
        labelled = read_annotations(coco / "eval.json", coco / "eval", session.spec.classes)
        return accuracy_from_detections(labelled, detect_all(session, labelled)).ap


def verified(bundle: Bundle) -> BaseException | None:
    command = ["verify", str(bundle.path)]
    return CliRunner().invoke(edgevision, command, standalone_mode=False).exception


@pytest.mark.exhaustive
def test_nothing_but_the_contract_stays_float(half: HalfGraph) -> None:
    assert half.kept == ()
    assert half.half_nodes >= 200
    assert len(half.subnormal_weights) > 0


@pytest.mark.slow
def test_fp16_keeps_its_accuracy_within_a_tenth_of_a_point(
    half: HalfGraph, bundle: Bundle, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(emulated_half(half.model), tmp_path / "emulated.onnx")
    before = average_precision(bundle.graph_path(), data_dir)
    after = average_precision(tmp_path / "emulated.onnx", data_dir)
    with capsys.disabled():
        print(f"\n  yolov5n on coco/eval: float {before:.2f} AP, FP16 arithmetic {after:.2f} AP", end="")
    assert abs(after - before) <= 0.1


@pytest.mark.exhaustive
def test_fp16_and_unsigned_int8_pass_in_every_engine(
    half: HalfGraph, int8: onnx.ModelProto, bundle: Bundle
) -> None:
    bundle.add_graph("fp16", half.model.SerializeToString())
    unsigned = with_unsigned_activations(int8)
    Bundle.open(bundle.path).add_graph("int8", unsigned.SerializeToString())
    assert verified(bundle) is None


@pytest.mark.slow
def test_signed_int8_is_disproved_in_openvino_alone(int8: onnx.ModelProto, bundle: Bundle) -> None:
    pytest.importorskip("openvino")
    Bundle.open(bundle.path).add_graph("int8", int8.SerializeToString())
    problem = verified(bundle)
    assert isinstance(problem, VerificationError)
    assert "openvino failed verification of the int8 graph" in str(problem)
    assert "onnxruntime failed" not in str(problem)
    with pytest.raises(VerificationError, match="--force"):
        open_session(bundle.path, engine="openvino", options=SessionOptions(precision="int8"))


@pytest.mark.exhaustive
@pytest.mark.parametrize("channels", [slice(None), slice(7, 8)], ids=["all", "one"])
def test_a_weight_scale_times_4_is_caught_and_named(
    channels: slice, int8: onnx.ModelProto, bundle: Bundle
) -> None:
    faulty = with_unsigned_activations(int8)
    node = next(node for node in faulty.graph.node if node.name == FAULTY)
    source = next(n for n in faulty.graph.node if node.input[1] in n.output)
    stored = next(tensor for tensor in faulty.graph.initializer if tensor.name == source.input[1])
    scales = onnx.numpy_helper.to_array(stored).copy()
    scales[channels] *= np.float32(4)
    stored.CopyFrom(onnx.numpy_helper.from_array(scales, stored.name))
    Bundle.open(bundle.path).add_graph("int8", faulty.SerializeToString())
    problem = verified(bundle)
    assert isinstance(problem, VerificationError)
    assert problem.exit_code == 2
    assert "failed verification of the int8 graph" in str(problem)
    assert f"the first layer that differs is {FAULTY}, in channel" in str(problem)
