"""Every recipe in INT8 with its remainder in FP16: TensorRT-RTX builds it, and the convolutions are INT8 there too."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import tensorrt_rtx as trt

from edgevision.export.exporter import ExportOptions, export_bundle
from edgevision.export.recipe import available_recipes, load_recipe
from edgevision.graph.contract import load_model
from edgevision.graph.macs import macs_of_weighted_nodes
from edgevision.quantize.calibration import CalibrationFrames, calibrate
from edgevision.quantize.placement import placement_by_modelopt, with_named_nodes
from edgevision.quantize.qdq import quantized, share_of
from edgevision.quantize.quantizer import for_target
from edgevision.spec import BatchRange
from edgevision.virtual_camera import PHOTOGRAPHS
from tests.rtx import build_rtx_engine

FORMS = {
    "static": ExportOptions(random_weights=True),
    "batch4": ExportOptions(random_weights=True, batch=BatchRange(4, 4, 4)),
    "frame": ExportOptions(random_weights=True, frame_wh=(1920, 1080)),
}


def multiplications_by_type(graph: bytes) -> tuple[int, int]:
    """Convolutions and matrix products of the parsed network whose weights are dequantized, and all the others.

    Those of the graft are not counted.
    """
    logger = trt.Logger(trt.Logger.ERROR)
    network = trt.Builder(logger).create_network(0)
    assert trt.OnnxParser(network, logger).parse(graph)
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    dequantized = {layer.get_output(0).name for layer in layers if layer.type == trt.LayerType.DEQUANTIZE}
    int8 = others = 0
    for layer in layers:
        kinds = (trt.LayerType.CONVOLUTION, trt.LayerType.DECONVOLUTION, trt.LayerType.MATRIX_MULTIPLY)
        if layer.type in kinds and not layer.name.startswith(("pre/", "post/")):
            read = layer.get_input(0).name in dequantized
            int8, others = int8 + read, others + (not read)
    return int8, others


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", available_recipes())
def test_a_recipe_builds(name: str, form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = export_bundle(load_recipe(name), FORMS[form], tmp_path / "b", lambda _: None)
    model = with_named_nodes(load_model(bundle.graph_path()))
    frames = CalibrationFrames(PHOTOGRAPHS, bundle.spec.frames, 2)
    placement = placement_by_modelopt(model, next(iter(frames)))
    ranges = calibrate(model, placement.tensors, frames, "max")
    graph = for_target(quantized(model, placement, ranges), "tensorrt", frames, bundle.spec.task)
    onnx.checker.check_model(graph)
    share = share_of(placement.weighted_nodes, macs_of_weighted_nodes(model))
    int8, others = multiplications_by_type(graph.SerializeToString())
    # Untrained networks have values so small that some scales do not fit FP16: those few stay float32 behind a cast.
    assert int8 > len(placement.weights) / 2
    assert share > 0.5
    engine, seconds = build_rtx_engine(graph.SerializeToString())
    assert len(engine) > 1000
    with capsys.disabled():
        print(
            f"\n  {name} {form}: {int8} layers in INT8 ({100 * share:.1f} % of the work), {others} not; built in"
            f" {seconds:.1f} s, {len(engine) / 1e6:.1f} MB",
            end="",
        )
