"""Recipes at every precision are built by TensorRT-RTX for SM 7.5, 8.6, 8.9 and 12.0, on a CPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevision.builder.builder import BuildCallbacks
from edgevision.builder.engines import build_engines
from edgevision.builder.proof import verify_engine
from edgevision.bundle.folder import Bundle
from edgevision.cli.present import table
from edgevision.device.gpu import sm_text
from edgevision.engines.tensorrt.library import load_library
from edgevision.engines.tensorrt.request import EngineRequest
from tests.recipes import RECIPES

SMS = (75, 86, 89, 120)
WITNESS = {"float": "float32", "fp16": "float16", "int8": "int8"}


def built_rows(bundle: Bundle, sms: tuple[int, ...] = SMS) -> list[list[str]]:
    """Build each graph that the bundle holds for each of `sms`; a row for each engine."""
    library = load_library("tensorrt-rtx", "this test")
    watch = BuildCallbacks(lambda _: None, lambda _: None, lambda: False)
    rows = []
    for graph in bundle.manifest.graphs:
        request = EngineRequest(graph.precision, sms)
        for outcome in build_engines(bundle, library, request, watch, lambda b, e: verify_engine(b, e, None)):
            made = outcome.engine.manifest
            assert outcome.built
            assert len(outcome.engine.plan()) == made.plan.size_bytes
            share = sum(n.count for n in made.network_layers if n.precision == WITNESS[graph.precision])
            assert share > 0
            assert made.verification is None
            assert made.not_run == f"the building machine has no GPU of {sm_text(made.sm)}"
            rows.append(
                [
                    f"{bundle.spec.name} {graph.precision}",
                    sm_text(made.sm),
                    f"{made.build_s:.1f}",
                    f"{made.plan.size_bytes:,}",
                    f"{share} of {sum(n.count for n in made.network_layers)} {WITNESS[graph.precision]}",
                ]
            )
    return rows


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "recipe",
    [pytest.param(r, marks=pytest.mark.slow if r == "yolov5" else pytest.mark.exhaustive) for r in RECIPES],
)
def test_a_recipe_builds_at_every_precision(
    recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorrt_rtx")
    pytest.importorskip("modelopt")
    from tests.builder.graphs import bundle_of

    bundle = bundle_of(recipe, tmp_path / recipe)
    assert {graph.precision for graph in bundle.manifest.graphs} == {"float", "fp16", "int8"}
    rows = built_rows(bundle)
    assert len(rows) == 3 * len(SMS)
    with capsys.disabled():
        print("\n" + "\n".join(table(["graph", "target", "seconds", "bytes", "layers"], rows)))


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("recipe", "frame_shape"),
    [
        pytest.param("cnn", (49, 32), marks=pytest.mark.slow),
        pytest.param("yolov5", (961, 640), marks=pytest.mark.exhaustive),
    ],
)
def test_frames_in_nv12_are_built_at_every_precision(
    recipe: str, frame_shape: tuple[int, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorrt_rtx")
    pytest.importorskip("modelopt")
    from tests.builder.graphs import bundle_of

    bundle = bundle_of(recipe, tmp_path / recipe, "nv12")
    assert bundle.spec.frames.frame_shape == frame_shape
    rows = built_rows(bundle, (89,))
    assert len(rows) == 3
    with capsys.disabled():
        print("\n" + "\n".join(table(["graph", "target", "seconds", "bytes", "layers"], rows)))
