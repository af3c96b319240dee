"""Commands that compare engines and store the choice, and commands that use it."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import click
import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

import edgevision
from edgevision.benchmark.comparison import ComparisonOptions
from edgevision.bundle.fastest import ROUNDS, Excluded, Timing
from edgevision.bundle.folder import Bundle, CheckRecord, Verification
from edgevision.cli import comparing
from edgevision.cli.commands import build
from edgevision.cli.comparing import OPENVINO_HINT, comparison_lines
from edgevision.cli.root import edgevision as group
from edgevision.contract.session import SessionOptions
from edgevision.device.cpu_class import cpu_class
from edgevision.engines import devices, precisions
from edgevision.engines.choices import (
    EngineComparison,
    facts_here,
    store_comparison,
    stored_comparison,
)
from edgevision.engines.opening import open_session
from edgevision.errors import EdgevisionError, UsageError, VerificationError
from edgevision.service.config.engine import engine_opener
from edgevision.service.config.settings import ModelSettings

pytest.importorskip("openvino")


@pytest.fixture(autouse=True)
def _float32_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Candidates do not depend on what this CPU computes."""
    monkeypatch.setattr(precisions, "cpu_computes", lambda: ())


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle that no other test has verified."""
    pytest.importorskip("onnx")
    from tests.brightness import write_brightness_bundle

    path = tmp_path / "brightness"
    write_brightness_bundle(path)
    return path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "grey.png"
    cv2.imwrite(str(path), np.full((64, 64, 3), 200, np.uint8))
    return path


def called(*arguments: object) -> Result:
    return CliRunner().invoke(group, [str(argument) for argument in arguments], standalone_mode=False)


def timing(engine: str, ms: float) -> Timing:
    return Timing(engine, f"{engine} 1", "float", "cpu", (ms,) * ROUNDS, ms, 1.1 * ms)


def store(path: Path, *timings: Timing, excluded: tuple[Excluded, ...] = ()) -> EngineComparison:
    bundle = Bundle.open(path)
    facts = facts_here(bundle, None, None)
    comparison = EngineComparison("2026-11-30T08:00:00+00:00", "edgevision verify", facts, timings, excluded)
    store_comparison(bundle, comparison)
    return comparison


FASTER = (timing("onnxruntime", 20.0), timing("openvino", 10.0))


def stored(path: Path) -> EngineComparison:
    found = stored_comparison(Bundle.open(path), None, None)
    assert found is not None
    return found


def test_verify_compares_stores_and_prints_a_table(bundle: Path) -> None:
    result = called("verify", bundle, "--seconds", "0.2")
    assert result.exception is None
    found = stored(bundle)
    assert [timing.engine for timing in found.timings] == ["onnxruntime", "openvino"]
    assert found.command == "edgevision verify"
    lines = result.output.splitlines()
    (start,) = [number for number, line in enumerate(lines) if line.startswith("engine ")]
    assert lines[start].split() == ["engine", "device", "precision", "median", "p90", "verdict"]
    assert [line.split()[:3] for line in lines[start + 2 : start + 4]] == [
        ["onnxruntime", "cpu", "float"],
        ["openvino", "cpu", "float"],
    ]
    assert lines[start + 4].startswith("chosen: ")
    assert os.environ["EDGEVISION_CACHE"] in lines[start + 4]


def test_verify_can_leave_it_out(bundle: Path) -> None:
    assert "chosen" not in called("verify", bundle, "--seconds", "0").output
    assert stored_comparison(Bundle.open(bundle), None, None) is None


def test_json_stays_records_alone(bundle: Path) -> None:
    result = called("verify", bundle, "--json", "--seconds", "0.1")
    assert [record["engine"] for record in json.loads(result.stdout)] == ["onnxruntime", "openvino"]
    assert "chosen: " in result.stderr
    assert stored(bundle).timings


def test_a_bundle_that_cannot_be_written_is_compared_too(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Bundle, "_write_manifest", refuse)
    before = (bundle / "bundle.json").read_bytes()
    assert called("verify", bundle, "--seconds", "0.1").exception is None
    assert stored(bundle).timings
    assert (bundle / "bundle.json").read_bytes() == before


def test_bench_compares_and_measures_the_chosen_one(bundle: Path, image: Path, tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    result = called("bench", bundle, "--source", image, "--seconds", "0.2", "--record", record)
    assert result.exception is None
    found = stored(bundle)
    assert found.command == "edgevision bench"
    (line,) = [line for line in result.output.splitlines() if line.startswith("chosen: ")]
    assert json.loads(record.read_text())["engine"]["engine"] == line.split()[1]


def test_bench_of_one_engine_stores_nothing(bundle: Path, image: Path) -> None:
    result = called("bench", bundle, "--source", image, "--seconds", "0.1", "--engine", "openvino")
    assert result.exception is None
    assert "chosen" not in result.output
    assert stored_comparison(Bundle.open(bundle), None, None) is None


def test_run_uses_the_choice_and_says_why(bundle: Path, image: Path) -> None:
    store(bundle, *FASTER)
    result = called("run", bundle, image)
    assert result.exception is None
    assert result.stderr.splitlines()[0] == (
        "openvino float, 10.0 ms a call: the fastest that passed verification (measured by `edgevision verify` on"
        " 2026-11-30; onnxruntime float 20.0 ms)"
    )


def test_options_override_the_choice(bundle: Path, image: Path) -> None:
    store(bundle, *FASTER)
    result = called("run", bundle, image, "--engine", "onnxruntime")
    assert result.stderr.startswith("onnxruntime float, 20.0 ms a call: passed verification (measured by")
    result = called("run", bundle, image, "--engine", "onnxruntime", "--precision", "float")
    assert result.stderr.splitlines()[0] == "onnxruntime float: as requested"


def test_run_without_a_choice_names_the_command(bundle: Path, image: Path) -> None:
    said = f"`edgevision bench {bundle}` measures and stores the fastest"
    first = called("run", bundle, image).stderr.splitlines()[0]
    assert first == f"onnxruntime float: first installed engine; {said}"
    called("verify", bundle, "--seconds", "0")
    assert called("run", bundle, image).stderr.splitlines()[0] == (
        f"onnxruntime float: first verified engine; {said}"
    )


def test_the_first_verified_engine_comes_before_an_unverified_one(bundle: Path) -> None:
    wrong = CheckRecord("score difference", 0.5, "<=", 0.1)
    failed = Verification("verify", "onnxruntime", "onnxruntime 1", 1, (wrong,), "2026-12-01", cpu_class())
    opened = Bundle.open(bundle).with_verification("float", failed)
    with open_session(bundle) as session:
        assert session.selection.startswith("openvino float: first installed engine")
    opened.with_verification("float", Verification("verify", "openvino", "openvino 1", 1, (), "2026-12-01"))
    with open_session(bundle) as session:
        assert session.selection.startswith("openvino float: first verified engine")
    opened.with_verification(
        "float", Verification("verify", "openvino", "openvino 1", 1, (wrong,), "2026-12-02", cpu_class())
    )
    with pytest.raises(VerificationError, match="failed verification in onnxruntime"):
        open_session(bundle)


def test_python_and_the_service_use_the_choice(bundle: Path, caplog: pytest.LogCaptureFixture) -> None:
    store(bundle, *FASTER)
    with edgevision.load(bundle) as model:
        assert model.session.info.engine == "openvino"
        assert model.session.selection.startswith("openvino float, 10.0 ms a call")
    with edgevision.load(bundle, device="cpu", engine="onnxruntime") as model:
        assert model.session.info.engine == "onnxruntime"
    with caplog.at_level(logging.INFO, "edgevision"):
        engine_opener(bundle, ModelSettings(str(bundle)))(lambda *_: None).close()
    assert "openvino float, 10.0 ms a call: the fastest" in caplog.text


def test_a_bare_graph_has_no_choice(bundle: Path, image: Path) -> None:
    store(bundle, *FASTER)
    result = called("run", bundle / "model.onnx", image)
    assert result.stderr.splitlines()[0] == "onnxruntime: first installed engine"


@pytest.mark.parametrize("command", ["run", "bench", "verify", "eval"])
def test_an_absent_device_is_refused_with_what_is_here(bundle: Path, tmp_path: Path, command: str) -> None:
    more = {"run": ["nowhere.mp4"], "eval": ["--images", str(tmp_path)]}.get(command, [])
    error = called(command, bundle, *more, "--device", "cuda:7").exception
    assert isinstance(error, UsageError if command != "eval" else EdgevisionError)
    if command != "eval":
        assert str(error).startswith("this machine has no device cuda:7; it has: cpu (")


def test_an_engine_of_another_device_is_refused(bundle: Path, image: Path) -> None:
    error = called("run", bundle, image, "--device", "cpu", "--engine", "tensorrt").exception
    assert isinstance(error, UsageError)
    assert str(error) == (
        "the engine tensorrt runs on cuda and dla; received the device cpu. Engines for cpu: onnxruntime, openvino"
    )
    with pytest.raises(UsageError, match="unknown device 'gpu'"):
        open_session(bundle, options=SessionOptions(device="gpu"))
    with pytest.raises(UsageError, match="as arguments or in options; received both"):
        edgevision.load(bundle, device="cpu", options=SessionOptions())


@pytest.mark.parametrize(("device", "core"), [(None, None), ("cuda", None), ("cuda:0", None), ("dla:1", 1)])
def test_devices_of_a_build(device: str | None, core: int | None) -> None:
    assert build._dla_core(device) == core


@pytest.mark.parametrize(
    ("device", "said"),
    [("cpu", "builds for cuda and dla:N"), ("cuda:1", "CUDA_VISIBLE_DEVICES=1"), ("x", "unknown device 'x'")],
)
def test_devices_that_no_engine_is_built_on(device: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        build._dla_core(device)


def test_the_table_gives_a_verdict_for_each(bundle: Path) -> None:
    excluded = (Excluded("openvino", "int8", "failed verification", "mean score difference 0.4"),)
    lines = comparison_lines(store(bundle, *FASTER, timing("tensorrt", 9.9), excluded=excluded))
    assert lines == [
        "engine       device  precision    median       p90  verdict",
        "-----------  ------  ---------  --------  --------  " + "-" * 84,
        "onnxruntime     cpu      float  20.00 ms  22.00 ms  slower",
        "openvino        cpu      float  10.00 ms  11.00 ms  chosen: 2.00 times as fast as onnxruntime float",
        "tensorrt        cpu      float   9.90 ms  10.89 ms  2.02 times as fast as onnxruntime float, not faster than"
        " openvino float beyond noise",
        "openvino                  int8         -         -  failed verification: mean score difference 0.4",
    ]
    lines = comparison_lines(store(bundle, FASTER[0], timing("openvino", 19.8)))
    assert lines[2].endswith("chosen")
    assert lines[3].endswith("1.01 times as fast as onnxruntime float, not faster beyond noise")


def test_a_slow_int8_graph_without_openvino_names_the_fix(bundle: Path) -> None:
    slow = replace(timing("onnxruntime", 40.0), precision="int8")
    assert comparison_lines(store(bundle, FASTER[0], slow))[-1] == OPENVINO_HINT
    fast = replace(timing("onnxruntime", 5.0), precision="int8")
    for timings in ((FASTER[0], fast), (*FASTER, slow), FASTER):
        assert OPENVINO_HINT not in comparison_lines(store(bundle, *timings))


def test_what_cannot_be_stored_is_said(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (bundle.parent / "file").touch()
    monkeypatch.setenv("EDGEVISION_CACHE", str(bundle.parent / "file"))
    with click.Context(click.Command("x")):
        comparing.compare_shown(Bundle.open(bundle), ComparisonOptions("x", 0.1))
    assert capsys.readouterr().out.endswith("s; not stored\n")


@pytest.mark.parametrize("ran", [True, False])
def test_build_compares_what_it_has_verified(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, ran: bool
) -> None:
    pytest.importorskip("tensorrt_rtx")
    manifest = SimpleNamespace(verification="record" if ran else None)
    outcome = SimpleNamespace(engine=SimpleNamespace(manifest=manifest))
    monkeypatch.setattr(build, "build_shown", lambda *_: (outcome,))
    result = called("build", bundle, "--engine", "tensorrt-rtx")
    assert result.exception is None
    assert ("chosen: " in result.output) is ran
    if ran:
        assert stored(bundle).command == "edgevision build"


def test_the_first_engine_that_can_run_on_a_device(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_session(bundle, options=SessionOptions(device="cpu")) as session:
        assert session.selection.startswith("onnxruntime float: first installed engine")
    monkeypatch.setattr(devices, "gpu_names", lambda: ("T4",))
    for model in (bundle, bundle / "model.onnx"):
        with pytest.raises(EdgevisionError) as caught:
            open_session(model, options=SessionOptions(device="cuda"))
        assert not isinstance(caught.value, UsageError), "an engine of the GPU was tried, none of the CPU"
        assert "tensorrt" in str(caught.value) or "CUDAExecutionProvider" in str(caught.value)
