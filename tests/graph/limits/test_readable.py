"""Every recipe and every head, in every precision, is read by every version of TensorRT, as far as documents say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgevision.bundle.folder import Bundle
from edgevision.contract.spec import BatchRange, NmsSpec
from edgevision.export.exporter import ExportOptions, export_bundle
from edgevision.graph.adopt import AdoptOptions, adopt
from edgevision.graph.contract import attach_metadata
from edgevision.graph.limits.check import readable_by
from edgevision.graph.limits.versions import LIMITS
from edgevision.models.recipe import available_recipes, load_recipe
from edgevision.quantize.calibration.magnitudes import Frames, probe_magnitudes
from edgevision.quantize.calibration.ranges import Ranges
from edgevision.quantize.fp16 import half_graph
from edgevision.quantize.opset17 import opset17_form
from edgevision.quantize.placement import Edge, Placement, placement_by_modelopt, with_named_nodes
from edgevision.quantize.qdq import quantized
from tests.graph import networks

ALL = [row.name for row in LIMITS]
NMS = NmsSpec(candidates=400, max_detections=40)
DYNAMIC = BatchRange(1, 2, 4)
MAKERS: dict[str, Callable[..., onnx.ModelProto]] = {
    **networks.DETECTORS,
    "end2end": networks.end2end,
    "classifier": networks.classifier,
}
FORMS: dict[str, tuple[BatchRange, bool]] = {
    "static": (BatchRange(), False),
    "dynamic": (DYNAMIC, False),
    "frame": (BatchRange(), True),
    "frame-dynamic": (DYNAMIC, True),
}


def placed_by_hand(model: onnx.ModelProto) -> Placement:
    """Q/DQ on every convolution: the small networks have none behind the first, where modelopt places it."""
    stored = {tensor.name for tensor in model.graph.initializer}
    nodes = [n for n in model.graph.node if n.op_type == "Conv" and n.input[1] in stored]
    return Placement(
        tuple(Edge(node.name, 0, node.input[0]) for node in nodes),
        tuple(Edge(node.name, 1, node.input[1]) for node in nodes),
    )


def precisions(
    model: onnx.ModelProto, frames: Frames, placement: Placement, *, decode: bool
) -> dict[str, onnx.ModelProto]:
    """The graph, with named nodes, in float, FP16, INT8 with a float remainder and with an FP16 one, and for 8.6."""
    named = model
    magnitudes = probe_magnitudes(named, [frames])
    thresholds = {tensor: magnitudes.largest[tensor] for tensor in placement.tensors}
    int8 = quantized(named, placement, Ranges("max", magnitudes.frames, thresholds))
    half = half_graph(int8, probe_magnitudes(int8, [frames]), decode_in_float=decode).model
    return {
        "float": model,
        "fp16": half_graph(named, magnitudes, decode_in_float=decode).model,
        "int8": int8,
        "int8+fp16": half,
        "int8, opset 17": opset17_form(int8, half),
    }


def assert_read(graphs: dict[str, onnx.ModelProto]) -> None:
    """Every version reads every graph, but for 8.6 and FP16 scales: that is built from a form of its own."""
    for precision, graph in graphs.items():
        found = {row.name: [str(one) for one in unread] for row, unread in readable_by(graph)}
        if precision == "int8+fp16" and "QuantizeLinear" in {node.op_type for node in graph.graph.node}:
            old = found.pop("8.6")
            assert "its opset is 19; TensorRT 8.6 reads 1 to 17" in old[0]
        assert not any(found.values()), found
        assert set(found) >= set(ALL) - {"8.6"}


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("recipe", available_recipes())
def test_a_recipe_is_read(recipe: str, form: str, tmp_path: Path) -> None:
    pytest.importorskip("modelopt")
    batch, frame = FORMS[form]
    options = ExportOptions(random_weights=True, batch=batch, frame_wh=(1920, 1080) if frame else None)
    bundle: Bundle = export_bundle(load_recipe(recipe), options, tmp_path / "b", lambda _: None)
    frames = bundle.golden().frames[: batch.opt]
    decode = bundle.spec.task in ("detect", "instances")
    model = with_named_nodes(onnx.load(bundle.graph_path()))
    assert_read(precisions(model, frames, placement_by_modelopt(model, frames), decode=decode))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("head", MAKERS)
def test_an_adopted_head_is_read(head: str, form: str, tmp_path: Path) -> None:
    batch, frame = FORMS[form]
    path = tmp_path / "theirs.onnx"
    onnx.save(MAKERS[head](batch="n" if batch is DYNAMIC else 1), path)
    options = AdoptOptions(
        nms=NMS,
        frame_wh=(128, 72) if frame else None,
        batch=batch,
        classes=("yes", "no") if head == "end2end" else ("cat", "dog", "eel"),
    )
    adoption = adopt(path, head, options)
    attach_metadata(adoption.model, adoption.spec)
    found = {row.name: [str(one) for one in unread] for row, unread in readable_by(adoption.model)}
    assert not any(found.values()), found
    assert list(found) == ALL


@pytest.mark.parametrize("head", MAKERS)
def test_an_adopted_head_is_read_in_every_precision(head: str, tmp_path: Path) -> None:
    path = tmp_path / "theirs.onnx"
    onnx.save(MAKERS[head](), path)
    classes = ("yes", "no") if head == "end2end" else ("cat", "dog", "eel")
    adoption = adopt(path, head, AdoptOptions(nms=NMS, classes=classes))
    width, height = adoption.spec.frames.size_wh
    frames = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), np.uint8)
    model = with_named_nodes(adoption.model)
    assert_read(precisions(model, frames, placed_by_hand(model), decode=head != "classifier"))
