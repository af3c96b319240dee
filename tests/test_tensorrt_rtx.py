"""Every graph of every recipe must be one that TensorRT-RTX parses and builds."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevision.export.exporter import ExportOptions, export_bundle
from edgevision.export.recipe import available_recipes, load_recipe
from edgevision.spec import BatchRange
from tests.rtx import build_rtx_engine

DYNAMIC = BatchRange(1, 2, 4)
FORMS = {
    "static": ExportOptions(random_weights=True),
    "batch4": ExportOptions(random_weights=True, batch=BatchRange(4, 4, 4)),
    "dynamic": ExportOptions(random_weights=True, batch=DYNAMIC),
    "frame": ExportOptions(random_weights=True, frame_wh=(1920, 1080)),
    "frame-dynamic": ExportOptions(random_weights=True, frame_wh=(1920, 1080), batch=DYNAMIC),
}


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", available_recipes())
def test_a_recipe_builds(name: str, form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = export_bundle(load_recipe(name), FORMS[form], tmp_path / "b", lambda _: None)
    batch, (width, height) = bundle.spec.frames.batch, bundle.spec.frames.size_wh
    shapes = tuple((n, height, width, 3) for n in (batch.min, batch.opt, batch.max))
    profiles = None if batch.static else {"frames": (shapes[0], shapes[1], shapes[2])}
    engine, seconds = build_rtx_engine(bundle.graph_path().read_bytes(), profiles)
    assert len(engine) > 1000
    with capsys.disabled():
        print(f"\n  {name} {form}: SM 8.9, {seconds:.1f} s, {len(engine) / 1e6:.1f} MB", end="")
