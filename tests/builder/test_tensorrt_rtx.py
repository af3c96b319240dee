"""TensorRT-RTX parses and builds every graph of the recipes in every precision, and computes in that precision."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from edgevision.bundle.folder import Bundle
from edgevision.contract.spec import BatchRange
from edgevision.errors import GraphError
from edgevision.export.exporter import ExportOptions, export_bundle
from edgevision.graph.surgery import with_named_nodes
from edgevision.models.recipe import load_recipe
from edgevision.quantize.placement import placement_by_modelopt
from tests.builder.cases import sampled_cases
from tests.graph.limits.reading import assert_read, precisions
from tests.recipes import RECIPES
from tests.rtx import Profile, RtxEngine, inspected_rtx_engine

DYNAMIC = BatchRange(1, 2, 4)
FORMS = {
    "static": ExportOptions(random_weights=True),
    "batch4": ExportOptions(random_weights=True, batch=BatchRange(4, 4, 4)),
    "dynamic": ExportOptions(random_weights=True, batch=DYNAMIC),
    "frame": ExportOptions(random_weights=True, frame_wh=(1920, 1080)),
    "frame-dynamic": ExportOptions(random_weights=True, frame_wh=(1920, 1080), batch=DYNAMIC),
}
LOWER = ("static", "batch4", "frame")
"""The forms that are built in FP16 and in INT8 with an FP16 remainder as well."""
SAMPLED = {
    ("cnn", "static"),
    ("resnet", "batch4"),
    ("ultralytics", "frame-dynamic"),
    ("unet", "frame"),
    ("yolov5", "static"),
    ("yolov5", "frame"),
    ("yolov5-seg", "dynamic"),
}
"""Recipes and forms of the slow tests; `exhaustive` builds the others."""


def profiles_of(bundle: Bundle) -> dict[str, Profile] | None:
    batch, (width, height) = bundle.spec.frames.batch, bundle.spec.frames.size_wh
    shapes = tuple((n, height, width, 3) for n in (batch.min, batch.opt, batch.max))
    return None if batch.static else {"frames": (shapes[0], shapes[1], shapes[2])}


def graphs_of(bundle: Bundle) -> dict[str, onnx.ModelProto]:
    """Every precision of the bundle's graph, by golden frames."""
    model = with_named_nodes(onnx.load(bundle.graph_path()))
    frames = bundle.golden().frames[: bundle.spec.frames.batch.opt]
    decode = bundle.spec.task in ("detect", "instances")
    return precisions(model, frames, placement_by_modelopt(model, frames), decode=decode)


def described(engine: RtxEngine) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in engine.convolutions().items())
    layers = ", ".join(f"{share:.0%} {kind}" for kind, share in engine.shares().items())
    size = f"{len(engine.plan) / 1e6:.1f} MB"
    return f"SM 8.9, {engine.seconds:.1f} s, {size}; convolutions: {kinds}; layers: {layers}"


@pytest.mark.parametrize(("name", "form"), sampled_cases(RECIPES, FORMS, SAMPLED))
def test_a_recipe_builds(name: str, form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = export_bundle(load_recipe(name), FORMS[form], tmp_path / "b", lambda _: None)
    built = {"float": inspected_rtx_engine(bundle.graph_path().read_bytes(), profiles_of(bundle))}
    if form in LOWER:
        graphs = graphs_of(bundle)
        assert_read(graphs)
        for precision in ("fp16", "int8+fp16", *(["int8, opset 17"] if form == "static" else [])):
            built[precision] = inspected_rtx_engine(graphs[precision].SerializeToString())
    with capsys.disabled():
        for precision, engine in built.items():
            print(f"\n  {name} {form} {precision}: {described(engine)}", end="")
    assert all(len(engine.plan) > 1000 for engine in built.values())
    assert set(built["float"].convolutions()) == {"Float"}
    if form in LOWER:
        assert set(built["fp16"].convolutions()) == {"Half"}
        assert built["int8+fp16"].convolutions()["Int8"] >= 1
        assert "Float" not in built["int8+fp16"].convolutions()
    if form == "static":
        same = built["int8, opset 17"].convolutions()["Int8"]
        assert same == built["int8+fp16"].convolutions()["Int8"]
    if form in LOWER:
        assert built["int8+fp16"].shares()["int8"] > built["fp16"].shares().get("int8", 0) == 0
        assert built["fp16"].shares()["float16"] > built["float"].shares().get("float16", 0) == 0


def test_a_graph_that_cannot_be_built_is_refused_with_reasons() -> None:
    with pytest.raises(GraphError, match="cannot parse"):
        inspected_rtx_engine(b"nothing")
