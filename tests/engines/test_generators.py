"""Models that take tensors instead of frames, in every engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgevision.contract.inputs import BatchRange, Tensors, sample_tensors
from edgevision.contract.session import SessionOptions
from edgevision.contract.spec import ModelSpec
from edgevision.engines import ort_captures
from edgevision.engines.onnxruntime import ON_CUDA, open_on
from edgevision.engines.opening import open_session
from edgevision.engines.tensorrt import session as tensorrt
from edgevision.engines.tensorrt.session import TensorRtSession, open_engine
from edgevision.errors import EngineError
from edgevision.verification.golden import verify_session
from tests.engines.host_cuda import HostCudart
from tests.engines.host_onnxruntime import HostOrt
from tests.engines.host_tensorrt import HostTensorRt, store_engine
from tests.generators import GeneratorSession, generator, images_of, write_generator

BATCHES = {"static": BatchRange(2, 2, 2), "dynamic": BatchRange(1, 2, 8)}


def tensors_of(spec: ModelSpec, seed: int, count: int = 2) -> Tensors:
    return sample_tensors(spec.tensors, seed, count)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("batch", list(BATCHES.values()), ids=list(BATCHES))
def test_cpu_engines(engine: str, batch: BatchRange, tmp_path: Path) -> None:
    pytest.importorskip(engine)
    bundle = write_generator(tmp_path / "b", generator(batch))
    with open_session(bundle.path, engine=engine) as session:
        assert session.graph_sha256 == bundle.graph("float").file.sha256
        for count in {batch.min, batch.opt, batch.max}:
            tensors = tensors_of(session.spec, 3, count)
            np.testing.assert_array_equal(session.infer(tensors)[0], images_of(tensors))
        record = verify_session(session, bundle.golden())
    assert record.passed
    assert record.frames == 4
    equal_rows = "difference of images between equal rows of a batch"
    assert equal_rows in {check.name for check in record.checks}


def test_a_bare_graph_carries_its_inputs(tmp_path: Path) -> None:
    bundle = write_generator(tmp_path / "b", generator(classes=()))
    with open_session(bundle.graph_path(), engine="onnxruntime") as session:
        assert [tensor.name for tensor in session.spec.inputs] == ["noise"]
        tensors = tensors_of(session.spec, 1, 1)
        np.testing.assert_array_equal(session.infer(tensors)[0], images_of(tensors))


def test_wrong_images_fail_verification(tmp_path: Path) -> None:
    bundle = write_generator(tmp_path / "b")

    class Brighter(GeneratorSession):
        def _infer_tensors(self, tensors: Tensors) -> tuple[np.ndarray, ...]:
            return (images_of(tensors) // 2,)

    record = verify_session(Brighter(), bundle.golden())
    assert not record.passed
    assert record.finding.startswith(
        "the first tensor that differs is image: largest difference of an image's"
    )


@pytest.mark.parametrize("batch", list(BATCHES.values()), ids=list(BATCHES))
def test_onnxruntime_cuda_captures_several_inputs(
    batch: BatchRange, host: HostCudart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = HostOrt(host).install(monkeypatch)
    bundle = write_generator(tmp_path / "b", generator(batch))
    with open_on(ON_CUDA, bundle.graph_path(), None, SessionOptions()) as session:
        for seed in range(4):
            tensors = tensors_of(session.spec, seed)
            np.testing.assert_array_equal(session.infer(tensors)[0], images_of(tensors))
        assert session.info.notes[-1] == "CUDA graphs for batches of 2 (at most 8)"
    assert board.runs[-1] == "replayed 2"


def test_a_replay_is_compared_for_the_opposite_noise() -> None:
    tensors = tensors_of(generator(), 0)
    noise, label = ort_captures.other_batch(tensors.arrays)
    np.testing.assert_array_equal(noise, -tensors.arrays[0])
    np.testing.assert_array_equal(label, tensors.arrays[1])


def tensorrt_session(
    host: HostCudart, folder: Path, batch: BatchRange, monkeypatch: pytest.MonkeyPatch
) -> TensorRtSession:
    stored, _ = store_engine(folder / "engine", batch, plan=b"brightness of a generator, " + bytes(folder))
    spec = generator(batch)
    library = HostTensorRt(host, spec, network=GeneratorSession(spec))
    monkeypatch.setattr(tensorrt, "load_library", lambda flavour, purpose: library.library(flavour))
    return open_engine(stored, spec, SessionOptions())


@pytest.mark.parametrize("gpu", ["host", "jetson"])
@pytest.mark.parametrize("batch", list(BATCHES.values()), ids=list(BATCHES))
def test_tensorrt_binds_and_captures_several_inputs(
    batch: BatchRange,
    gpu: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host: HostCudart = request.getfixturevalue(gpu)
    with tensorrt_session(host, tmp_path, batch, monkeypatch) as session:
        for seed in range(3):
            for count in {batch.min, batch.opt, batch.max}:
                tensors = tensors_of(session.spec, seed, count)
                np.testing.assert_array_equal(session.infer(tensors)[0], images_of(tensors))
        assert session.device_ms is not None
        assert any("CUDA graph" in note for note in session.info.notes)
    assert host.held() == 0


def test_a_plan_with_other_inputs_is_refused(
    host: HostCudart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, _ = store_engine(tmp_path / "engine", BatchRange(), plan=b"brightness without labels")
    library = HostTensorRt(host, generator(classes=()), network=GeneratorSession())
    monkeypatch.setattr(tensorrt, "load_library", lambda flavour, purpose: library.library(flavour))
    expected = r"has tensors image .*, noise .*; the bundle's spec expects image .*, label int32 \[1\], noise"
    with pytest.raises(EngineError, match=expected):
        open_engine(stored, generator(), SessionOptions())
