"""End-to-end quantization of the bundled classifier: calibrate, search, verify, time, write."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from click.testing import CliRunner

import edgevision
from edgevision.bundle.folder import Bundle
from edgevision.cli.commands.quantize import command
from edgevision.contract.embedded_spec import FLOAT32_KEY, KEPT_KEY, embedded_nodes
from edgevision.errors import BundleError, UsageError, VerificationError
from edgevision.export.exporter import ExportOptions, export_bundle
from edgevision.graph.contract import load_model
from edgevision.graph.limits.check import unread
from edgevision.graph.limits.versions import limits_named
from edgevision.models.recipe import load_recipe
from edgevision.quantize import quantizer
from edgevision.quantize.calibration.magnitudes import float_values
from edgevision.quantize.half.record import HALF_RECORD
from edgevision.quantize.jobs import QuantizeJob, run_job
from edgevision.quantize.options import EvalSet, QuantizeOptions, eval_sets
from edgevision.quantize.placement import is_quantized
from edgevision.quantize.quantizer import PICTURE, quantize_int8
from edgevision.quantize.record import read_record
from edgevision.quantize.search.search import Budget
from edgevision.sources.image_files import read_image
from edgevision.sources.synthetic_camera import PHOTOGRAPHS

WEIGHTS = Path(edgevision.__file__).parent / "weights" / "cnn.safetensors"


@pytest.fixture(autouse=True)
def _short_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantizer, "CANDIDATE_SECONDS", 0.05)
    monkeypatch.setattr(quantizer, "FINAL_SECONDS", 0.05)


def silent(_: str) -> None:
    """Progress that is discarded."""


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("classifier") / "cnn"
    export_bundle(load_recipe("cnn"), ExportOptions(checkpoint=WEIGHTS), path, silent)
    return path


@pytest.fixture
def bundle(classifier: Path, tmp_path: Path) -> Bundle:
    shutil.copytree(classifier, tmp_path / "cnn")
    return Bundle.open(tmp_path / "cnn")


@pytest.fixture(scope="module")
def images(classifier: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pieces of photographs in folders of the class that the float model sees in them: it is always right."""
    folder = tmp_path_factory.mktemp("pieces")
    rng = np.random.default_rng(0)
    photographs = [read_image(path) for path in sorted(PHOTOGRAPHS.iterdir()) if path.suffix == ".jpg"]
    with edgevision.open_session(classifier, engine="onnxruntime") as session:
        for index in range(60):
            photograph = photographs[index % len(photographs)]
            top, left = (int(rng.integers(0, side - 64)) for side in photograph.shape[:2])
            piece = np.ascontiguousarray(photograph[top : top + 64, left : left + 64])
            (found,) = session([piece])
            assert isinstance(found, edgevision.Classification)
            place = folder / session.spec.classes[found.top(1)[0][0]]
            place.mkdir(exist_ok=True)
            cv2.imwrite(str(place / f"{index}.png"), piece)
    return folder


def options(images: Path, max_drop: float = 20.0) -> QuantizeOptions:
    return QuantizeOptions(
        calib=images, calib_images=12, budget=Budget(max_drop), eval_sets=(EvalSet(images, None),), threads=1
    )


def test_a_bundle_gets_a_verified_graph_and_its_record(bundle: Bundle, images: Path, tmp_path: Path) -> None:
    done = quantize_int8(bundle, options(images), tmp_path / "out", silent)
    written = Bundle.open(tmp_path / "out")
    assert is_quantized(load_model(written.graph_path("int8")))
    entry = written.graph("int8")
    assert {record.engine for record in entry.verifications} == {"onnxruntime", "openvino"}
    assert all(record.passed for record in entry.verifications)
    assert {speed.engine for speed in entry.speeds} == {"onnxruntime", "openvino"}
    record = read_record(tmp_path / "out")
    assert record == done.record
    assert record.chosen.low_share > 0.5
    assert record.search_images == 60
    assert record.float_accuracy == 100
    assert (tmp_path / "out" / PICTURE).read_bytes().startswith(b"\x89PNG")
    assert not bundle.path.joinpath("model.int8.onnx").exists(), "-o leaves the first bundle alone"


def test_tensorrt_s_graph_has_its_remainder_in_half(bundle: Bundle, images: Path) -> None:
    half = QuantizeOptions(images, 8, "max", Budget(20.0), (EvalSet(images, None),), "tensorrt", 1)
    done = quantize_int8(bundle, half, None, silent)
    graph = load_model(done.bundle.graph_path("int8"))
    casts = [node for node in graph.graph.node if node.op_type == "Cast"]
    assert casts
    assert is_quantized(graph)
    assert all(not item.speeds for item in done.record.candidates), "a CPU says nothing of a GPU's speed"
    form = load_model(done.bundle.form_path("int8", "opset17") or Path())
    assert unread(form, limits_named("8.6")) == ()
    assert unread(graph, limits_named("8.6")), "the graph itself has FP16 scales"
    entry = done.bundle.graph("int8").form("opset17")
    assert entry is not None
    assert entry.verification.passed
    # A DLA needs the range of all that a layer reads and answers, not of Q/DQ's inputs alone.
    ranges = done.every_range()
    model = load_model(done.bundle.graph_path("float"))
    inside = [n for n in model.graph.node if not n.name.startswith(("pre/", "post/"))]
    floats = {name for name in float_values(model) if any(name in (*n.input, *n.output) for n in inside)}
    assert set(ranges.thresholds) == floats > set(done.placement.tensors)
    assert all(ranges.thresholds[name] == done.ranges.thresholds[name] for name in done.placement.tensors)
    # What a builder may not choose freely where it chooses types: noted in the graph, and in its form for 8.6.
    for name in ("model.int8.onnx", "model.int8.opset17.onnx"):
        assert embedded_nodes(done.bundle.path / name, FLOAT32_KEY) is not None
    kept = embedded_nodes(done.bundle.path / "model.int8.onnx", KEPT_KEY)
    assert kept == frozenset(done.record.chosen.kept_float)
    assert embedded_nodes(done.bundle.graph_path("float"), KEPT_KEY) is None


def test_a_budget_that_cannot_be_kept_writes_nothing(bundle: Bundle, images: Path) -> None:
    """Who asks for a gain of a point asks in vain: the float model is always right here."""
    before = sorted(path.name for path in bundle.path.iterdir())
    with pytest.raises(
        VerificationError, match=r"no INT8 graph keeps the budget of -1 points.*% of the work"
    ):
        quantize_int8(bundle, options(images, max_drop=-1.0), None, silent)
    assert sorted(path.name for path in bundle.path.iterdir()) == before


def test_int8_needs_labelled_images(bundle: Bundle, images: Path) -> None:
    with pytest.raises(UsageError, match="--eval-images"):
        quantize_int8(bundle, QuantizeOptions(images), None, silent)


def test_a_graph_trained_with_qdq_is_not_changed(bundle: Bundle, images: Path) -> None:
    done = quantize_int8(bundle, options(images), None, silent)
    trained = done.bundle.add_graph("float", done.bundle.graph_path("int8").read_bytes())
    before = trained.graph_path("float").read_bytes()
    with pytest.raises(VerificationError, match="verification in ONNX Runtime failed"):
        list(run_job(QuantizeJob(trained, options(images), None), "int8", silent))
    assert trained.graph_path("float").read_bytes() == before


def test_fp16_is_measured_and_added(bundle: Bundle, images: Path) -> None:
    report = list(run_job(QuantizeJob(bundle, options(images), None), "fp16", silent))
    text = "\n".join(part for part in report if isinstance(part, str))
    assert "nodes in FP16" in text
    assert "100.00 % of the work in FP16" in text
    assert Bundle.open(bundle.path).graph("fp16").verifications
    record = json.loads((bundle.path / HALF_RECORD).read_text())
    assert record["kept"] == []
    assert record["chosen"] == record["plain"] == record["candidates"][0]


def with_values_too_small_for_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same function: the input of the last layer is divided by 1e8 and multiplied by it."""
    last = next(node for node in reversed(model.graph.node) if node.op_type == "Gemm")
    index = list(model.graph.node).index(last)
    for name, value in (("small", 1e-4), ("large", 1e4)):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(value, np.float32), name))
    source = last.input[0]
    for step, name in enumerate(("small", "small", "large", "large")):
        node = onnx.helper.make_node("Mul", [source, name], [f"planted{step}"], name=f"planted{step}")
        model.graph.node.insert(index + step, node)
        source = f"planted{step}"
    last.input[0] = source
    return model


def test_fp16_keeps_in_float_what_the_images_show_to_need_it(bundle: Bundle, images: Path) -> None:
    graph = with_values_too_small_for_fp16(load_model(bundle.graph_path("float")))
    planted = bundle.add_graph("float", graph.SerializeToString())
    report = list(run_job(QuantizeJob(planted, options(images, max_drop=10.0), None), "fp16", silent))
    record = json.loads((bundle.path / HALF_RECORD).read_text())
    assert record["plain"]["drop"]["points"] > 20
    assert record["chosen"]["drop"]["points"] <= 10
    (kept,) = record["kept"]
    assert kept["nodes"] == [f"planted{step}" for step in range(4)]
    assert record["half_share"] > 0.99
    written = embedded_nodes(bundle.path / "model.fp16.onnx", FLOAT32_KEY)
    assert written is not None
    assert written.issuperset(kept["nodes"])
    assert any("planted0 (Mul) stays in FP32: other, kept by the search" in str(part) for part in report)


def test_options_must_be_given_in_sets(images: Path) -> None:
    file = Path("a.json")
    assert eval_sets([images], [file], [5]) == (EvalSet(images, file, 5),)
    assert eval_sets([images], [], []) == (EvalSet(images, None),)
    with pytest.raises(UsageError, match="received 2 --eval-images and 1 --annotations"):
        eval_sets([images, images], [file], [])


def test_the_command_reports(bundle: Bundle, images: Path) -> None:
    arguments = [bundle.path, "--precision", "int8", "--calib", images, "--calib-images", 8]
    arguments += ["--eval-images", images, "--max-drop", 20, "--threads", 1]
    result = CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0
    for text in ("kept in float", "90 % interval", "of the multiply-accumulates in INT8", "paired", "chosen"):
        assert text in result.output


def test_error_on_a_bundle_without_a_record_names_the_command_that_writes_it(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="edgevision quantize"):
        read_record(tmp_path)
