"""The smallest member of each family of networks: exported, verified, and built by TensorRT-RTX in FP16 and INT8."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch

from edgevision.bundle.folder import Bundle
from edgevision.export.exporter import ExportOptions, export_bundle
from edgevision.export.half import with_fp16
from edgevision.export.recognition import recipe_of
from edgevision.graph.surgery import with_named_nodes
from edgevision.quantize.placement import placement_by_modelopt
from tests.graph.limits.reading import assert_read, precisions
from tests.models.classifiers.library_names import CASES, library_of, library_sizes, seeded_state
from tests.models.segformer_names import SMALL_SHAPE, segformer_sizes

NETWORKS = {
    "mobilenet_v2": "torchvision/mobilenet_v2 x0.35",
    "mobilenet_v3": "timm/mobilenetv3_small_050",
    "efficientnet": "torchvision/efficientnet_b0",
    "convnext": "timm/convnext",
    "regnet": "timm/regnety_002",
    "vit": "timm/vit",
    "segformer": "segformer",
}
SIZE = (64, 64)
INT8 = ("mobilenet_v2", "convnext", "vit", "segformer")
"""Families that are built in INT8 as well: convolutions, and the three forms of attention and layer normalisation."""


@pytest.mark.slow
@pytest.mark.parametrize("recipe", NETWORKS)
def test_a_network_builds(recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tensorrt_rtx")
    pytest.importorskip("modelopt")
    from tests.rtx import inspected_rtx_engine

    case = NETWORKS[recipe]
    if recipe == "segformer":
        sizes = segformer_sizes(SMALL_SHAPE, 3)
    else:
        sizes = library_sizes(CASES[case][1], 3, library_of(case))
    torch.save(seeded_state(sizes), tmp_path / "a.pth")
    found = recipe_of(tmp_path / "a.pth")
    assert found.name == recipe
    options = ExportOptions(checkpoint=tmp_path / "a.pth", size_wh=SIZE)
    bundle = with_fp16(export_bundle(found, options, tmp_path / "b", lambda _: None), lambda _: None, ())
    assert {graph.precision for graph in bundle.manifest.graphs} == {"float", "fp16"}
    engines = {"fp16": inspected_rtx_engine(bundle.graph_path("fp16").read_bytes())}
    if recipe in INT8:
        engines["int8+fp16"] = inspected_rtx_engine(_int8_graph(bundle))
    with capsys.disabled():
        for name, engine in engines.items():
            shares = ", ".join(f"{share:.0%} {kind}" for kind, share in engine.shares().items())
            print(f"\n  {recipe} {name}: {engine.seconds:.1f} s; layers: {shares}", end="")
    assert engines["fp16"].shares()["float16"] > 0.5
    if recipe in INT8:
        assert engines["int8+fp16"].shares()["int8"] > 0


def _int8_graph(bundle: Bundle) -> bytes:
    """INT8 with an FP16 remainder, with the ranges of one golden frame; within the limits of each TensorRT version."""
    model = with_named_nodes(onnx.load(bundle.graph_path()))
    frames = bundle.golden().frames[:1]
    graphs = precisions(model, frames, placement_by_modelopt(model, frames), decode=False)
    assert_read(graphs)
    return bytes(graphs["int8+fp16"].SerializeToString())
