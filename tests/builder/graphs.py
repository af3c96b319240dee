"""Bundles of recipes with a graph of every precision, like those of `edgevision quantize` for TensorRT."""

from __future__ import annotations

from pathlib import Path

import onnx

from edgevision.bundle.folder import Bundle
from edgevision.contract.spec import Layout
from edgevision.export.exporter import ExportOptions, export_bundle
from edgevision.graph.surgery import with_named_nodes
from edgevision.models.recipe import load_recipe
from edgevision.quantize.calibration.calibrate import CalibrationFrames, calibrate
from edgevision.quantize.calibration.magnitudes import probe_magnitudes
from edgevision.quantize.fp16 import half_graph
from edgevision.quantize.placement import placement_by_modelopt
from edgevision.quantize.qdq import quantized

PHOTOGRAPHS = Path(__file__).resolve().parents[2] / "edgevision" / "photographs"


def bundle_of(recipe: str, path: Path, layout: Layout = "bgr") -> Bundle:
    """The recipe's smallest model, untrained, in float, FP16 and INT8 (what is not INT8 is FP16 there)."""
    options = ExportOptions(random_weights=True, layout=layout)
    bundle = export_bundle(load_recipe(recipe), options, path, lambda _: None)
    model = with_named_nodes(onnx.load(bundle.graph_path("float")))
    frames = CalibrationFrames(PHOTOGRAPHS, bundle.spec.frames)
    magnitudes = probe_magnitudes(model, frames)
    bundle = bundle.add_graph("fp16", half_graph(model, magnitudes).model.SerializeToString())
    placement = placement_by_modelopt(model, next(iter(frames)))
    ranges = calibrate(model, placement.tensors, frames, "max")
    small = quantized(model, placement, ranges)
    small = half_graph(small, probe_magnitudes(small, frames)).model
    return bundle.add_graph("int8", small.SerializeToString())
