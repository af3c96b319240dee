"""the commands `export`, `build` and `run` in sequence: the built precision, and the selected engine."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgevision.builder.engines import build_engines, choose_graphs
from edgevision.bundle.folder import Bundle, CheckRecord, Verification
from edgevision.cli.root import edgevision
from edgevision.engines.opening import open_session
from edgevision.engines.tensorrt.here import running_on
from edgevision.engines.tensorrt.manifest import EngineManifest, EngineSpeed, Rebuild
from edgevision.engines.tensorrt.request import EngineRequest
from edgevision.engines.tensorrt.store import StoredEngine, choose_engine, open_engine, stored_engines
from edgevision.errors import GraphError, VerificationError
from tests.builder.acted import ORIN, ActedBuilder, build
from tests.builder.test_settings import Workshop

pytest.importorskip("torch")
TRAINED = Path(__file__).resolve().parents[2] / "edgevision" / "weights" / "cnn.safetensors"


def typed(*words: object) -> str:
    done = CliRunner().invoke(edgevision, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    bundle = tmp_path_factory.mktemp("plain") / "cnn"
    return bundle, typed("export", "cnn", "--random-weights", "-o", bundle)


@pytest.fixture
def both(exported: tuple[Path, str], tmp_path: Path) -> Path:
    """A bundle of its own with a float and an FP16 graph."""
    return Path(shutil.copytree(exported[0], tmp_path / "cnn"))


def wrong(engine: str) -> Verification:
    """A later record than all others of that engine."""
    failed = (CheckRecord("score", 1.0, "<=", 0.1),)
    return Verification("verify", engine, "onnxruntime 1", 1, failed, "2999-01-01T00:00:00+00:00")


def test_export_writes_fp16_as_well_and_verifies_it(exported: tuple[Path, str]) -> None:
    bundle, printed = Bundle.open(exported[0]), exported[1]
    assert [entry.precision for entry in bundle.manifest.graphs] == ["float", "fp16"]
    entry = bundle.graph("fp16")
    assert [(r.stage, r.engine, r.passed) for r in entry.verifications] == [
        ("export", "onnxruntime", True),
        ("export", "emulated fp16", True),
    ]
    assert entry.file.size_bytes < 0.6 * bundle.graph("float").file.size_bytes
    assert "FP16 graph verified: 14 nodes in FP16, 5 in FP32, 1.1 MiB, " in printed


def test_no_fp16_is_heard(tmp_path: Path) -> None:
    printed = typed("export", "cnn", "--random-weights", "--no-fp16", "-o", tmp_path / "b")
    assert [e.precision for e in Bundle.open(tmp_path / "b").manifest.graphs] == ["float"]
    assert "FP16" not in printed


@pytest.mark.parametrize("broken", [VerificationError, GraphError])
def test_fp16_that_does_not_hold_fails_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: type[Exception]
) -> None:
    from onnx import TensorProto

    from edgevision.quantize.fp16 import half_graph

    def zeroed(model: object, magnitudes: object, rules: object) -> object:
        if broken is GraphError:
            raise GraphError("no node can be FP16")
        made = half_graph(model, magnitudes, rules)  # type: ignore[arg-type]  # of the real one
        for weight in made.model.graph.initializer:
            if weight.data_type == TensorProto.FLOAT16 and len(weight.dims) == 4:
                weight.raw_data = bytes(len(weight.raw_data))
        return made

    monkeypatch.setattr("edgevision.export.half.half_graph", zeroed)
    printed = typed("export", "cnn", "--checkpoint", TRAINED, "-o", tmp_path / "b")
    assert [e.precision for e in Bundle.open(tmp_path / "b").manifest.graphs] == ["float"]
    assert "no FP16 graph: " in printed
    assert "keeping only the float graph" in printed


def test_a_cpu_keeps_to_the_float_graph(both: Path) -> None:
    with open_session(both, engine="onnxruntime") as session:
        assert session.precision == "float"


def test_build_takes_fp16_by_itself(both: Path) -> None:
    """By the real TensorRT-RTX, on a machine without a GPU."""
    pytest.importorskip("tensorrt_rtx")
    printed = typed("build", both, "--engine", "tensorrt-rtx", "--sm", "89")
    (engine,) = stored_engines(both).engines
    assert engine.manifest.precision == "fp16"
    assert re.search(r"^SM 8\.9 +fp16 ", printed, flags=re.MULTILINE)
    typed("build", both, "--engine", "tensorrt-rtx", "--sm", "89", "--precision", "all")
    assert sorted(e.manifest.precision for e in stored_engines(both).engines) == ["float", "fp16"]


def test_a_graph_that_was_found_wrong_is_not_built_unasked(both: Path) -> None:
    bundle = Bundle.open(both).with_verification("fp16", wrong("onnxruntime"))
    messages: list[str] = []
    assert choose_graphs(bundle, EngineRequest(), messages.append)[0].precision == "fp16", (
        "one engine may be at fault"
    )
    bundle = bundle.with_verification("fp16", wrong("emulated fp16"))
    (entry,) = choose_graphs(bundle, EngineRequest(), messages.append)
    assert entry.precision == "float"
    assert messages == ["skipping the fp16 graph: it failed verification (score 1, must be <= 0.1)"]
    (asked,) = choose_graphs(bundle, EngineRequest("fp16"))
    assert asked.precision == "fp16"


def test_a_dla_is_given_fp16(both: Path) -> None:
    (entry,) = choose_graphs(Bundle.open(both), EngineRequest(dla_core=0))
    assert entry.precision == "fp16"


def test_an_engine_that_fails_verification_is_replaced_by_float(brightness: Path) -> None:
    bundle = Bundle.open(brightness)
    bundle.add_graph("fp16", bundle.graph_path("float").read_bytes())
    workshop = Workshop(brightness, "tensorrt-10.3.0", ORIN)

    def check(_: Bundle, engine: StoredEngine) -> EngineManifest:
        if engine.manifest.precision == "fp16":
            raise VerificationError("the fp16 engine answers otherwise")
        return engine.manifest

    from unittest import mock

    from edgevision.builder.builder import BuildCallbacks

    watch = BuildCallbacks(workshop.messages.append, lambda _: None, lambda: False)
    with mock.patch("edgevision.builder.engines.gpu_facts", return_value=ORIN):
        (outcome,) = build_engines(
            Bundle.open(brightness), workshop.library, EngineRequest(memory_mib=4000), watch, check
        )
    assert outcome.engine.manifest.precision == "float"
    assert "the fp16 engine answers otherwise; building the float graph instead" in workshop.messages


def speed(folder: Path, frames_per_s: float | None, **changes: object) -> None:
    """Write a measured speed into the manifest."""
    made = open_engine(folder).manifest
    measured = EngineSpeed(1, 1000 / frames_per_s, 30) if frames_per_s else None
    changed = dataclasses.replace(made, speed=measured, **changes)  # type: ignore[arg-type]  # by name
    (folder / "engine.json").write_bytes(changed.to_json())


def test_the_fastest_engine_is_run_not_the_newest(brightness: Path) -> None:
    acted = ActedBuilder()
    (slow,) = build(brightness, acted, level=1)
    (fast,) = build(brightness, acted, level=2)
    (unknown,) = build(brightness, acted, level=4)
    speed(fast.engine.folder, 90.0, created="2026-01-01T00:00:00+00:00")
    speed(slow.engine.folder, 40.0, created="2026-01-02T00:00:00+00:00")
    speed(unknown.engine.folder, None, created="2026-01-03T00:00:00+00:00")
    running = running_on(acted.library(), ORIN)
    chosen = choose_engine(Bundle.open(brightness), running)
    assert isinstance(chosen, StoredEngine)
    assert chosen.folder == fast.engine.folder
    shutil.rmtree(fast.engine.folder)
    shutil.rmtree(slow.engine.folder)
    chosen = choose_engine(Bundle.open(brightness), running)
    assert isinstance(chosen, StoredEngine), "one that was never measured is better than none"
    shutil.rmtree(unknown.engine.folder)
    assert isinstance(choose_engine(Bundle.open(brightness), running), Rebuild)
