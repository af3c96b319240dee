"""TensorRT-RTX parses and builds graphs that make images from noise, in every precision."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from edgevision.builder.builder import BuildCallbacks
from edgevision.builder.engines import build_engines
from edgevision.builder.proof import verify_here
from edgevision.contract.inputs import BatchRange
from edgevision.engines.tensorrt.library import load_library
from edgevision.engines.tensorrt.request import EngineRequest
from edgevision.export.exporter import ExportOptions, export_bundle
from edgevision.export.half import with_fp16
from edgevision.models.recipe import load_recipe
from tests.export.tiny_generators import CLASSES, Digits, Sampler, recipe_of

DYNAMIC = BatchRange(1, 2, 8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "noise_shape", "batch"),
    [(Digits(), (16, 1, 1), DYNAMIC), (Sampler(), (3, 16, 12), BatchRange())],
    ids=["digits, dynamic", "sampler, static"],
)
def test_a_generator_builds(
    module: nn.Module,
    noise_shape: tuple[int, ...],
    batch: BatchRange,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("tensorrt_rtx")
    monkeypatch.chdir(tmp_path)
    Path("tiny.py").write_text("# the recipe\n")
    recipe = recipe_of(module, noise_shape, classes=CLASSES)
    made = export_bundle(recipe, ExportOptions(batch=batch), tmp_path / "b", lambda _: None)
    bundle = with_fp16(made, lambda _: None)
    library = load_library("tensorrt-rtx", "a test")
    watch = BuildCallbacks(lambda _: None, lambda _: None, lambda: False)
    request = EngineRequest("all", sms=(89,))
    done = build_engines(bundle, library, request, watch, verify_here)
    built = {outcome.engine.manifest.precision: outcome.engine.manifest for outcome in done}
    assert set(built) == {"float", "fp16"}
    for manifest in built.values():
        assert [tensor.name for tensor in manifest.tensors] == ["noise", "label", "image"]
        assert manifest.batch == batch


@pytest.mark.slow
def test_text_to_image_builds(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    made = export_bundle(
        load_recipe("text2image"), ExportOptions(random_weights=True), tmp_path / "b", lambda _: None
    )
    library = load_library("tensorrt-rtx", "a test")
    watch = BuildCallbacks(lambda _: None, lambda _: None, lambda: False)
    (done,) = build_engines(made, library, EngineRequest("float", sms=(89,)), watch, verify_here)
    manifest = done.engine.manifest
    assert [tensor.name for tensor in manifest.tensors] == ["noise", "tokens", "image"]
