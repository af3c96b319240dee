"""A new engine is run if it can; the session is simulated, the handling of its results is not."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import numpy as np
import pytest

from edgevision.builder import proof
from edgevision.bundle.folder import Bundle, FileEntry, Golden, write_bundle
from edgevision.contract.results import Outputs
from edgevision.contract.session import EngineInfo, Frames, Session
from edgevision.contract.spec import BatchRange, NmsSpec, Precision, detect_outputs
from edgevision.engines.tensorrt.manifest import EngineManifest, Platform, read_manifest
from edgevision.engines.tensorrt.store import StoredEngine
from edgevision.errors import EngineError, MissingExtraError, VerificationError
from tests.doubles import detector
from tests.hardware import L4

GPU = L4


class ActedSession(Session):
    """Answers the golden answers, or something else, and describes layers of one type."""

    def __init__(
        self, bundle: Bundle, *, dtype: str = "Float", wrong: float = 0.0, text: str | None = None
    ) -> None:
        super().__init__(bundle.spec, EngineInfo("tensorrt", "TensorRT 10.3.0", "L4"))
        self.golden = bundle.golden()
        self.wrong = wrong
        self.text = text or json.dumps({"Layers": [{"LayerType": "Conv", "Outputs": [{"DataType": dtype}]}]})

    def _infer(self, frames: Frames) -> Outputs:
        rows = [array[: len(frames)].copy() for array in self.golden.answers]
        rows[1] += np.float32(self.wrong)
        return tuple(rows)

    def inspector_json(self) -> str:
        return self.text


def stored(bundle: Bundle, precision: Precision = "float", sm: int = 89) -> StoredEngine:
    manifest = EngineManifest(
        "0.1.0",
        "tensorrt",
        "10.3.0",
        sm,
        Platform("linux", "x86_64", "L4", 89),
        bundle.graph("float").file,
        precision,
        BatchRange(),
        FileEntry("model.plan", "0", 1),
        (),
        not_run="not tried",
    )
    return StoredEngine(bundle.path / "engines" / "x", manifest)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """One detection of score 0.5 in its golden frame."""
    answers = (
        np.array([[[8, 8, 40, 40], [0, 0, 0, 0]]], np.float32),
        np.array([[0.5, 0]], np.float32),
        np.zeros((1, 2), np.int32),
    )
    golden = Golden(np.zeros((1, 64, 64, 3), np.uint8), answers)
    nms = NmsSpec(candidates=2, max_detections=2)
    spec = dataclasses.replace(detector(), outputs=detect_outputs(2), nms=nms)
    return write_bundle(tmp_path / "b", spec, b"graph", golden)


def read_manifest_of(manifest: EngineManifest, folder: Path) -> EngineManifest:
    """Written, and read again."""
    (folder / "engine.json").write_bytes(manifest.to_json())
    return read_manifest(folder / "engine.json")


def acting(monkeypatch: pytest.MonkeyPatch, session: Session | Exception) -> None:
    def opened(*_: object) -> Session:
        if isinstance(session, Exception):
            raise session
        return session

    monkeypatch.setattr(proof, "_open", opened)


def test_the_golden_frames_pass(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    acting(monkeypatch, ActedSession(bundle))
    proven = proof.verify_engine(bundle, stored(bundle), GPU)
    assert proven.not_run is None
    assert proven.verification is not None
    assert proven.verification.passed
    assert proven.verification.library == "TensorRT 10.3.0"
    assert proven.engine_layers is not None
    assert proven.engine_layers[0].precision == "float32"


def test_its_speed_is_measured_for_the_choice_among_engines(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(ActedSession):
        def _infer(self, frames: Frames) -> Outputs:
            time.sleep(0.004)
            return super()._infer(frames)

    monkeypatch.setattr(
        proof, "SPEED", dataclasses.replace(proof.SPEED, min_s=0.01, min_count=5, warmup_s=0.0)
    )
    acting(monkeypatch, Slow(bundle))
    proven = proof.verify_engine(bundle, stored(bundle), GPU)
    assert proven.speed is not None
    assert (proven.speed.batch, proven.speed.calls) == (1, 5)
    assert 4 <= proven.speed.call_ms < 40
    assert proven.speed.frames_per_s == pytest.approx(1000 / proven.speed.call_ms)
    assert read_manifest_of(proven, bundle.path).speed == proven.speed


def test_wrong_outputs_are_refused(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    acting(monkeypatch, ActedSession(bundle, wrong=0.2))
    with pytest.raises(
        VerificationError, match=r"the float engine of .* was not kept: it does not match the source"
    ):
        proof.verify_engine(bundle, stored(bundle), GPU)


def test_int8_asked_and_not_given_is_refused(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    acting(monkeypatch, ActedSession(bundle, dtype="Float"))
    with pytest.raises(
        EngineError, match="expected an engine that computes in int8; it computes only in float32;"
    ):
        proof.verify_engine(bundle, stored(bundle, "int8"), GPU)


def test_an_inspector_that_is_not_understood(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    acting(monkeypatch, ActedSession(bundle, text="?"))
    with pytest.raises(EngineError, match="cannot parse the output of the engine's inspector"):
        proof.verify_engine(bundle, stored(bundle), GPU)


def test_the_manifest_records_an_engine_that_cannot_run_here(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (
        proof.verify_engine(bundle, stored(bundle), None).not_run
        == "the building machine has no GPU of SM 8.9"
    )
    other = proof.verify_engine(bundle, stored(bundle, sm=120), GPU)
    assert other.not_run == "the building machine has no GPU of SM 12.0"
    acting(monkeypatch, MissingExtraError("libcudart", "tensorrt", "running an engine"))
    proven = proof.verify_engine(bundle, stored(bundle), GPU)
    assert proven.verification is None
    assert proven.not_run is not None
    assert "needs libcudart" in proven.not_run
