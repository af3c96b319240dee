"""The form of an INT8 graph for TensorRT 8.6 is valid there, and computes the same as the graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgevision.bundle.folder import Bundle
from edgevision.engines.ort_settings import cpu_session
from edgevision.errors import GraphError
from edgevision.export.exporter import ExportOptions, export_bundle
from edgevision.graph.limits.check import unread
from edgevision.graph.limits.versions import LIMITS, limits_named
from edgevision.graph.surgery import with_named_nodes
from edgevision.models.recipe import load_recipe
from edgevision.quantize.calibration.magnitudes import probe_magnitudes
from edgevision.quantize.calibration.ranges import Ranges
from edgevision.quantize.fp16 import HalfRules, half_graph
from edgevision.quantize.fp16_emulation import emulated_half
from edgevision.quantize.opset17 import opset17_form, verified_form
from edgevision.quantize.placement import placement_by_modelopt
from edgevision.quantize.qdq import quantized

Run = Callable[[onnx.ModelProto], list[np.ndarray[Any, Any]]]


@pytest.fixture(scope="module", params=["cnn", "unet"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    pytest.importorskip("modelopt")
    path = tmp_path_factory.mktemp("opset17") / "b"
    options = ExportOptions(random_weights=True, size_wh=(64, 64) if request.param == "unet" else None)
    return export_bundle(load_recipe(request.param), options, path, lambda _: None)


@pytest.fixture(scope="module")
def graphs(bundle: Bundle) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """INT8 with a float remainder, and the same with an FP16 one."""
    model = with_named_nodes(onnx.load(bundle.graph_path()))
    frames = bundle.golden().frames[:1]
    magnitudes = probe_magnitudes(model, [frames])
    placement = placement_by_modelopt(model, frames)
    thresholds = {tensor: magnitudes.largest[tensor] for tensor in placement.tensors}
    int8 = quantized(model, placement, Ranges("max", 1, thresholds))
    return int8, half_graph(int8, probe_magnitudes(int8, [frames]), HalfRules(decode_in_float=False)).model


def test_every_version_reads_the_form(graphs: tuple[onnx.ModelProto, onnx.ModelProto]) -> None:
    form = opset17_form(*graphs)
    assert [str(one) for row in LIMITS for one in unread(form, row)] == []
    assert unread(graphs[1], limits_named("8.6"))
    assert form.opset_import[0].version == 17
    assert onnx.TensorProto.FLOAT16 not in {tensor.data_type for tensor in form.graph.initializer}


def scales_of(model: onnx.ModelProto) -> dict[str, list[float]]:
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    return {
        node.name: numpy_helper.to_array(stored[node.input[1]]).astype(np.float64).ravel().tolist()
        for node in model.graph.node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear")
    }


def test_scales_are_those_of_the_graph(graphs: tuple[onnx.ModelProto, onnx.ModelProto]) -> None:
    int8, half = graphs
    form = opset17_form(int8, half)
    assert scales_of(form) == scales_of(half)
    assert scales_of(form) != scales_of(int8)  # FP16 rounds them


def test_the_form_and_the_graph_have_equal_results(
    bundle: Bundle, graphs: tuple[onnx.ModelProto, onnx.ModelProto]
) -> None:
    int8, half = graphs
    golden = bundle.golden()
    feed = {"frames": golden.frames[:1]}
    answers = [
        cpu_session(model.SerializeToString()).run(None, feed)[0]
        for model in (opset17_form(int8, half), emulated_half(half))
    ]
    if bundle.spec.task == "segment":
        assert np.mean(answers[0] != answers[1]) < 0.02
    else:
        assert np.abs(answers[0] - answers[1]).max() < 5e-3


def test_the_form_is_verified_against_the_source_model(
    bundle: Bundle, graphs: tuple[onnx.ModelProto, onnx.ModelProto]
) -> None:
    record = verified_form(opset17_form(*graphs), bundle.golden())
    assert (record.engine, record.passed, record.frames) == ("onnxruntime", True, len(bundle.golden().frames))


def test_a_graph_of_a_newer_opset_has_no_form(graphs: tuple[onnx.ModelProto, onnx.ModelProto]) -> None:
    with pytest.raises(GraphError, match="opset 19; TensorRT 8.6 supports 17"):
        opset17_form(graphs[1], graphs[1])


def test_a_bundle_stores_the_form_next_to_its_graph(
    bundle: Bundle, graphs: tuple[onnx.ModelProto, onnx.ModelProto], tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(bundle.path, tmp_path / "b")
    mine = Bundle.open(tmp_path / "b").add_graph("int8", graphs[1].SerializeToString())
    form = opset17_form(*graphs)
    record = verified_form(form, mine.golden())
    mine.add_form("int8", "opset17", form.SerializeToString(), record)
    again = Bundle.open(tmp_path / "b")
    path = again.form_path("int8", "opset17")
    assert path == tmp_path / "b" / "model.int8.opset17.onnx"
    assert again.form_path("float", "opset17") is None
    again.check_files()
    path.write_bytes(b"other")
    with pytest.raises(Exception, match="was modified"):
        again.check_files()
