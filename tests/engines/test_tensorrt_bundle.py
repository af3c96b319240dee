"""From a bundle with stored engines to a session: selection and verification."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgevision.bundle.folder import Bundle, Golden, Verification, write_bundle
from edgevision.contract.session import Session, SessionOptions
from edgevision.contract.spec import BatchRange, classify_outputs
from edgevision.device.names import DeviceName
from edgevision.engines import devices
from edgevision.engines.opening import open_session
from edgevision.engines.tensorrt import here, store
from edgevision.engines.tensorrt import session as tensorrt
from edgevision.engines.tensorrt.manifest import MANIFEST, Rebuild
from edgevision.engines.tensorrt.store import ENGINES
from edgevision.errors import EngineError, VerificationError
from tests.doubles import SIDE, BrightnessSession
from tests.engines.host_cuda import HostCudart
from tests.engines.host_tensorrt import HostTensorRt, store_engine

BATCH = BatchRange(2, 2, 2)
VERIFIED = Verification("verify", "tensorrt", "TensorRT 10.3.0", 4, (), "2026-01-01T00:00:00+00:00")
FRAMES = np.stack([np.full((SIDE, SIDE, 3), level, np.uint8) for level in (0, 60, 120, 250)])


class StoredEngines:
    """A bundle with one engine, on a device that it fits."""

    def __init__(self, cuda: HostCudart, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bundle = folder / "bundle"
        self.stored, spec = store_engine(folder / "engine", BATCH)
        self.spec = replace(
            spec, task="classify", outputs=classify_outputs(2), classes=("bright", "dark"), nms=None
        )
        pairs = [BrightnessSession(self.spec).infer(FRAMES[i : i + 2]) for i in (0, 2)]
        self.answers = tuple(np.concatenate(arrays) for arrays in zip(*pairs, strict=True))
        module = HostTensorRt(cuda, self.spec)
        self.library = module.library("tensorrt")
        monkeypatch.setattr(tensorrt, "load_library", lambda flavour, purpose: module.library(flavour))
        monkeypatch.setattr(here, "gpu_facts", lambda **_: cuda.gpu)

    def open(
        self,
        *,
        verified: bool = False,
        wrong: bool = False,
        options: SessionOptions | None = None,
    ) -> Session:
        answers = (self.answers[0] + np.float32(0.5),) if wrong else self.answers
        write_bundle(self.bundle, self.spec, b"graph", Golden(FRAMES, answers))
        record = VERIFIED if verified else None
        manifest = replace(self.stored.manifest, precision="float", verification=record)
        folder = self.bundle / ENGINES / "one"
        folder.mkdir(parents=True)
        (folder / "model.plan").write_bytes(self.stored.plan())
        (folder / MANIFEST).write_bytes(manifest.to_json())
        return open_session(self.bundle, engine="tensorrt", options=options)


@pytest.fixture
def stored(host: HostCudart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoredEngines:
    return StoredEngines(host, tmp_path, monkeypatch)


def test_an_engine_that_never_ran_is_verified_with_the_golden_frames(
    stored: StoredEngines, host: HostCudart
) -> None:
    with stored.open() as session:
        assert session.info.notes[-1] == "the golden frames passed at this start"
        assert session.precision == "float"
        np.testing.assert_array_equal(session.infer(FRAMES[:2])[0], stored.answers[0][:2])
    assert host.held() == 0


def test_an_engine_that_fails_verification_is_not_run(stored: StoredEngines, host: HostCudart) -> None:
    with pytest.raises(VerificationError, match=r"does not match the source model: .*; build it here: edge"):
        stored.open(wrong=True)
    assert host.held() == 0


def test_unless_it_is_forced(stored: StoredEngines, caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.WARNING),
        stored.open(wrong=True, options=SessionOptions(force=True)) as session,
    ):
        assert session.info.notes[-1].startswith("forced: ")
    assert "because of --force" in caplog.text


def test_one_that_was_verified_is_believed(stored: StoredEngines) -> None:
    with stored.open(verified=True, wrong=True) as session:
        assert not any("golden" in note for note in session.info.notes)


def test_another_precision_is_asked_for_in_vain(stored: StoredEngines) -> None:
    with pytest.raises(
        EngineError,
        match=r"no tensorrt engine of precision int8; rebuild: edgevision build .* --precision int8",
    ):
        stored.open(options=SessionOptions(precision="int8"))


def test_each_session_works_on_its_own_gpu(
    stored: StoredEngines, host: HostCudart, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.gpu_count = 2
    monkeypatch.setattr(devices, "gpu_names", lambda: ("RTX 4090", "T4"))
    second = SessionOptions(device="cuda:1")
    with (
        stored.open(verified=True) as session,
        open_session(stored.bundle, engine="tensorrt", options=second) as other,
    ):
        assert isinstance(session, tensorrt.TensorRtSession)
        assert isinstance(other, tensorrt.TensorRtSession)
        assert (session.info.gpu_index, other.info.gpu_index) == (0, 1)
        assert session._working()[0] is not other._working()[0], "a plan is loaded once on each GPU"
        host.selected.clear()
        for each in (session, other, session):
            each.infer(FRAMES[:2])
        assert host.selected == [0, 0, 1, 1, 0, 0], "to queue a batch, and to wait for it"
    assert host.held() == 0


def test_a_dla_needs_an_engine_for_it(stored: StoredEngines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "gpu_names", lambda: ("Orin",))
    monkeypatch.setattr(devices, "_dla_cores", lambda: 2)
    stored.open(verified=True, options=SessionOptions(device="cuda")).close()
    with pytest.raises(
        EngineError, match=r"holds no tensorrt engine for dla:1; .*edgevision build .* --device dla:1"
    ):
        open_session(stored.bundle, engine="tensorrt", options=SessionOptions(device="dla:1"))


def test_an_engine_for_a_dla_is_found_by_its_core(stored: StoredEngines, host: HostCudart) -> None:
    stored.open(verified=True).close()
    one = stored.bundle / ENGINES / "one"
    manifest = store.open_engine(one).manifest
    (one / MANIFEST).write_bytes(replace(manifest, dla_core=1).to_json())
    running = here.running_here(stored.library)
    running = replace(running, platform=replace(running.platform, dla_cores=2))
    bundle = Bundle.open(stored.bundle)
    found = store.choose_engine(bundle, running, device=DeviceName("dla", 1))
    assert isinstance(found, store.StoredEngine)
    assert isinstance(store.choose_engine(bundle, running), store.StoredEngine), (
        "no device: every engine counts"
    )
    for device in (DeviceName("dla", 0), DeviceName("cuda")):
        assert isinstance(store.choose_engine(bundle, running, device=device), Rebuild)
