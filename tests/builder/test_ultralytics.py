"""TensorRT-RTX builds graphs of the Ultralytics package's checkpoints for SM 8.6 and 8.9, in float and in FP16."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from edgevision.builder.builder import BuildCallbacks
from edgevision.builder.engines import build_engines
from edgevision.builder.proof import verify_engine
from edgevision.cli.present import table
from edgevision.contract.spec import BatchRange
from edgevision.engines.tensorrt.library import load_library
from edgevision.engines.tensorrt.request import EngineRequest
from edgevision.export.exporter import ExportOptions, export_bundle
from edgevision.export.recognition import recipe_of
from edgevision.graph.surgery import with_named_nodes
from edgevision.quantize.calibration.calibrate import CalibrationFrames
from edgevision.quantize.calibration.magnitudes import probe_magnitudes
from edgevision.quantize.fp16 import half_graph
from tests.builder.cases import sampled_cases
from tests.builder.graphs import PHOTOGRAPHS

SMS = (86, 89)
WITNESS = {"float": "float32", "fp16": "float16"}
NAMES = ("yolo11n", "yolo11n-cls", "yolo11n-obb", "yolo11n-pose", "yolo26n", "yolov8n", "yolov8n-seg")
FORMS = {
    "static": ExportOptions(),
    "dynamic": ExportOptions(batch=BatchRange(1, 2, 4)),
    "frame": ExportOptions(frame_wh=(1280, 720)),
}
SAMPLED = (("yolo11n-obb", "frame"),)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("name", "form"), sampled_cases(NAMES, FORMS, SAMPLED))
def test_a_checkpoint_builds(
    name: str, form: str, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorrt_rtx")
    file = data_dir / "ultralytics" / f"{name}.pt"
    options = ExportOptions(checkpoint=file, batch=FORMS[form].batch, frame_wh=FORMS[form].frame_wh)
    bundle = export_bundle(recipe_of(file), options, tmp_path / "b", lambda _: None)
    model = with_named_nodes(onnx.load(bundle.graph_path("float")))
    magnitudes = probe_magnitudes(model, CalibrationFrames(PHOTOGRAPHS, bundle.spec.frames))
    bundle = bundle.add_graph("fp16", half_graph(model, magnitudes).model.SerializeToString())
    library = load_library("tensorrt-rtx", "this test")
    watch = BuildCallbacks(lambda _: None, lambda _: None, lambda: False)
    rows = []
    for precision, witness in WITNESS.items():
        request = EngineRequest(precision, SMS)  # type: ignore[arg-type]  # its keys are precisions
        for outcome in build_engines(bundle, library, request, watch, lambda b, e: verify_engine(b, e, None)):
            made = outcome.engine.manifest
            assert outcome.built
            share = sum(layer.count for layer in made.network_layers if layer.precision == witness)
            assert share > 0
            rows.append(
                [
                    f"{name} {form} {precision}",
                    str(made.sm),
                    f"{made.build_s:.1f}",
                    f"{made.plan.size_bytes:,}",
                ]
            )
    assert len(rows) == len(SMS) * len(WITNESS)
    with capsys.disabled():
        print("\n" + "\n".join(table(["graph", "SM", "seconds", "bytes"], rows)), end="")
