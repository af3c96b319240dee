"""A record from another class of machine: the golden frames run once at opening, and the stored result decides."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgevision.bundle.folder import Bundle, CheckRecord, Golden, Speed, Verification, write_bundle
from edgevision.cli.root import edgevision
from edgevision.contract.session import Session, SessionOptions
from edgevision.contract.spec import FrameInput, ModelSpec, Provenance, classify_outputs
from edgevision.device.cpu_class import cpu_class
from edgevision.device.facts import machine_name
from edgevision.engines.opening import open_session
from edgevision.errors import VerificationError
from edgevision.storage import atomic
from edgevision.verification import first_opening
from edgevision.verification import golden as verification
from tests.quantize.pixel_networks import (
    CLASSES,
    SIDE,
    answers,
    frames,
    network,
    with_fault,
    with_int8_weights,
)

FLOAT = network(("Relu", {}))
INT8 = with_int8_weights(FLOAT)
WRONG = with_fault(INT8, "first", None)
ELSEWHERE = "another class"
ASKED = SessionOptions(precision="int8")
ENGINE = "onnxruntime"


def elsewhere(machine_class: str | None = ELSEWHERE) -> Verification:
    passed = (CheckRecord("score difference", 0.0, "<=", 0.1),)
    return Verification("verify", ENGINE, f"{ENGINE} 1", 4, passed, "2026-01-01T00:00:00", machine_class)


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """An INT8 graph that was verified on another class of machine and is fast on this one."""
    monkeypatch.setenv("EDGEVISION_CACHE", str(tmp_path / "cache"))
    provenance = Provenance("m.pt", None, "r", "2026-01-01T00:00:00+00:00")
    names = tuple("abcde")
    spec = ModelSpec("m", "classify", FrameInput((SIDE, SIDE)), classify_outputs(CLASSES), names, provenance)
    golden = Golden(frames(4), (answers(FLOAT, [frame[None] for frame in frames(4)]),))
    return with_int8(write_bundle(tmp_path / "b", spec, FLOAT.SerializeToString(), golden), INT8)


def with_int8(bundle: Bundle, graph: object, record: Verification | None = None) -> Bundle:
    fast = Speed(ENGINE, f"{ENGINE} 1", machine_name(), 2.0, "2026-01-01")
    bundle = bundle.add_graph("int8", graph.SerializeToString())  # type: ignore[attr-defined]  # a ModelProto
    return bundle.with_verification("int8", record or elsewhere()).with_speed("int8", fast)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The precision of each run of the golden frames."""
    seen: list[str] = []
    honest = verification.verify_session

    def counting(session: Session, golden: Golden, *, precision: str) -> Verification:
        seen.append(precision)
        return honest(session, golden, precision=precision)  # type: ignore[arg-type]  # one of Precision

    monkeypatch.setattr(first_opening, "verify_session", counting)
    return seen


def opened(bundle: Bundle, options: SessionOptions | None = None) -> str | None:
    with open_session(bundle.path, engine=ENGINE, options=options) as session:
        return session.precision


@pytest.mark.parametrize("options", [None, ASKED], ids=["unasked", "asked"])
@pytest.mark.parametrize("record", [ELSEWHERE, None], ids=["another class", "class unknown"])
def test_golden_frames_run_once_and_not_again(
    bundle: Bundle,
    runs: list[str],
    caplog: pytest.LogCaptureFixture,
    options: SessionOptions | None,
    record: str | None,
) -> None:
    with_int8(bundle, INT8, elsewhere(record))
    assert opened(bundle, options) == "int8"
    assert runs == ["int8"]
    assert f"no record of the int8 graph in onnxruntime on {cpu_class()}: golden frames passed" in caplog.text
    assert opened(bundle, options) == "int8"
    assert runs == ["int8"], "the record is stored"
    classes = {v.machine_class for v in Bundle.open(bundle.path).graph("int8").verifications}
    assert classes == {cpu_class(), *([ELSEWHERE] if record else [])}


def test_a_wrong_int8_output_selects_the_float_graph(
    bundle: Bundle, runs: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with_int8(bundle, WRONG)
    with caplog.at_level(logging.INFO), open_session(bundle.path, engine=ENGINE) as session:
        assert session.precision == "float"
        assert (
            "the int8 graph failed verification in onnxruntime on this machine (score difference"
            in (session.info.notes[0])
        )
    assert "golden frames FAILED (score difference" in caplog.text
    assert "float graph: the int8 graph failed verification in onnxruntime" in caplog.text
    assert opened(bundle) == "float"
    assert runs == ["int8"]


def test_a_wrong_output_is_an_error_if_int8_was_requested(bundle: Bundle, runs: list[str]) -> None:
    with_int8(bundle, WRONG)
    for _ in range(2):
        with pytest.raises(VerificationError, match=r"score difference .*--precision float\)") as caught:
            opened(bundle, ASKED)
        assert caught.value.exit_code == 2
    assert runs == ["int8"]
    assert opened(bundle, SessionOptions(precision="int8", force=True)) == "int8"


def test_thresholds_of_the_caller_do_not_reach_the_golden_frames(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This classifier has none and would refuse them; the trial opens before the caller's session does."""
    with pytest.raises(Exception, match="iou_threshold"):
        opened(bundle, SessionOptions(precision="int8", iou_threshold=0.6))
    assert Bundle.open(bundle.path).graph("int8").verifications[-1].passed


def test_a_bundle_that_cannot_be_written_has_its_record_in_the_cache(
    bundle: Bundle, runs: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Bundle, "_write_manifest", refuse)
    before = (bundle.path / "bundle.json").read_bytes()
    assert [opened(bundle), opened(bundle)] == ["int8", "int8"]
    assert runs == ["int8"]
    assert (bundle.path / "bundle.json").read_bytes() == before
    (stored,) = (tmp_path / "cache" / "verifications").iterdir()
    stored.write_text("{")
    assert opened(bundle) == "int8"
    assert runs == ["int8"] * 2, "a damaged record counts as none"


def test_a_record_that_cannot_be_stored_is_reported(
    bundle: Bundle, runs: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Bundle, "_write_manifest", refuse)
    monkeypatch.setattr(atomic, "write_file", refuse)
    with_wrong = Bundle.open(bundle.path)
    assert [opened(with_wrong), opened(with_wrong)] == ["int8", "int8"]
    assert runs == ["int8"] * 2
    assert "set EDGEVISION_CACHE to a writable folder" in caplog.text


def eval_command(bundle: Bundle, *options: str) -> Result:
    command = ["inspect", str(bundle.path), *options]
    return CliRunner().invoke(edgevision, command, standalone_mode=False)


def test_inspect_shows_the_class_of_each_record(bundle: Bundle) -> None:
    opened(bundle)
    assert cpu_class() in eval_command(bundle).output


def test_float_needs_no_run(bundle: Bundle, runs: list[str]) -> None:
    assert opened(bundle, SessionOptions(precision="float")) == "float"
    assert runs == []


def test_the_frames_that_ran_are_the_golden_ones(bundle: Bundle) -> None:
    opened(bundle)
    record = Bundle.open(bundle.path).graph("int8").verifications[-1]
    assert (record.frames, record.stage, record.machine_class) == (4, "verify", cpu_class())
    assert np.isfinite([check.measured for check in record.checks]).all()
