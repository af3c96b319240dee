"""The GPU benchmark: its parts on simulated hardware, and its messages without a GPU."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevision.contract.session import SessionOptions
from edgevision.contract.spec import BatchRange
from edgevision.device.gpu import driver_cuda_version
from edgevision.engines.tensorrt import session as tensorrt
from edgevision.engines.tensorrt.manifest import PlanTensor
from edgevision.engines.tensorrt.session import open_engine
from edgevision.engines.tensorrt.store import StoredEngine
from tests.engines.host_cuda import HostCudart
from tests.engines.host_tensorrt import HostTensorRt, store_engine
from tests.hardware import L4

PROGRAM = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu.py"


@pytest.fixture(scope="module")
def gpu() -> Any:
    spec = importlib.util.spec_from_file_location("gpu_program", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gpu_program"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> HostCudart:
    stand_in = HostCudart(L4)
    stand_in.pageable = True
    return stand_in.install(monkeypatch)


def test_copies_and_graphs_are_compared_byte_by_byte(
    gpu: Any, host: HostCudart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "COPY_BYTES", 4096)
    moved = gpu.copies()
    assert moved.checks[0].passed
    assert len(moved.samples_ns) == 10
    assert gpu.graphs().checks[0].passed
    assert host.held() == 0


def test_a_copy_that_loses_bytes_fails(gpu: Any, host: HostCudart, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "COPY_BYTES", 4096)
    monkeypatch.setattr(gpu.CudaStream, "copy_to_host", lambda *_: None)
    assert not gpu.copies().checks[0].passed


def stored_engine(folder: Path, batch: BatchRange) -> tuple[StoredEngine, Any]:
    stored, spec = store_engine(folder, batch)
    length = batch.max if batch.static else -1
    tensors = (
        PlanTensor("frames", "input", "uint8", (length, 64, 64, 3)),
        *(PlanTensor(t.name, "output", t.dtype, (length, *t.shape[1:])) for t in spec.outputs),
    )
    return replace(stored, manifest=replace(stored.manifest, tensors=tensors)), spec


@pytest.mark.parametrize("batch", [BatchRange(2, 2, 2), BatchRange(1, 2, 4)])
def test_an_engine_is_timed_and_called_by_threads(
    gpu: Any, host: HostCudart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: BatchRange
) -> None:
    stored, spec = stored_engine(tmp_path / "engine", batch)
    module = HostTensorRt(host, spec)
    for place in (gpu, tensorrt):
        monkeypatch.setattr(place, "load_library", lambda flavour, purpose: module.library(flavour))
    monkeypatch.setattr(gpu, "PAIRS_PER_ROUND", 3)
    batches = tuple(np.full((2, 64, 64, 3), level, np.uint8) for level in (0, 100, 200))
    with open_engine(stored, spec, SessionOptions()) as session:
        bare = gpu.BareEngine(stored)
        bare.frames[...] = batches[1]
        bare.run()
        scores = bare._tensors[2][1].array(np.dtype(np.float32), (2, 1))
        np.testing.assert_array_equal(scores, session.infer(batches[1])[1])
        timed = gpu.latency(session, bare, batches, rounds=2)
        assert len(timed.samples_ns) == 6
        assert timed.figures[2].value == 0.5
        bare.close()
        assert gpu.threads(session, batches, 20).checks[0].measured == 0
        flat = gpu.flat_memory(session, batches, 9)
        assert [check.name for check in flat.checks] == [
            "growth of host memory, MiB",
            "growth of device memory, MiB",
        ]
    assert host.held() == 0


def test_wrong_outputs_of_a_thread_are_counted(gpu: Any) -> None:
    calls = iter(range(10_000))

    class Drifting:
        def infer(self, frames: Any) -> Any:
            return (np.array([next(calls) // 100]),)

    part = gpu.threads(Drifting(), (np.zeros(1), np.zeros(1)), 50)
    assert part.checks[0].measured > 0


@pytest.mark.skipif(driver_cuda_version() > 0, reason="this machine has an NVIDIA driver")
def test_without_a_gpu_every_part_reports_the_reason_and_no_record_is_written(
    brightness_bundle: Path, tmp_path: Path
) -> None:
    command = [sys.executable, str(PROGRAM), str(brightness_bundle), "-o", str(tmp_path / "results")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2, done.stderr
    assert done.stdout.count(": not run: ") == 6
    assert "no NVIDIA driver was found" in done.stdout
    assert not (tmp_path / "results").exists()
