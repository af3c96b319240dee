"""The declared functions of libcudart against NVIDIA's headers and libraries, and messages about a missing library."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgevision.device.cuda_runtime import SERIES, VARIABLE, CudaRuntime, RuntimeSeries, searched_places
from edgevision.device.gpu import driver_cuda_version
from edgevision.engines.tensorrt import cudart
from edgevision.engines.tensorrt.cudart import Cudart, driver_remedy, loaded_cudart
from edgevision.errors import EngineError, MissingExtraError
from tests.engines.host_cuda import FOUND, CudaError, HostCudart
from tests.engines.real_cudart import each_series, real_cudart
from tests.hardware import L4, recorded, write_tree

CONSTANTS = {
    "cudaHostAllocMapped": cudart.HOST_ALLOC_MAPPED,
    "cudaEventDefault": cudart.EVENT_DEFAULT,
    "cudaEventBlockingSync": cudart.EVENT_BLOCKING_SYNC,
    "cudaStreamNonBlocking": cudart.STREAM_NON_BLOCKING,
    "cudaMemcpyHostToDevice": cudart.MEMCPY_HOST_TO_DEVICE,
    "cudaMemcpyDeviceToHost": cudart.MEMCPY_DEVICE_TO_HOST,
    "cudaStreamCaptureModeThreadLocal": cudart.CAPTURE_MODE_THREAD_LOCAL,
    "cudaErrorInsufficientDriver": cudart.INSUFFICIENT_DRIVER,
    **cudart.ATTRIBUTES,
}
CALL_ALL = """
import json
from ctypes import POINTER, c_char_p
from edgevision.engines.tensorrt import cuda, cudart
from edgevision.errors import EngineError

library = cudart.loaded_cudart()
answers = {"library": str(library.found.path), "runtime": library.version("cudaRuntimeGetVersion")}
for name, types in cudart.SIGNATURES.items():
    if name in cudart.TEXT_FUNCTIONS:
        continue
    values = [kind._type_() if hasattr(kind, "contents") else kind(16) for kind in types]
    try:
        library.call(name, *values)
        answers[name] = "succeeded"
    except EngineError as error:
        answers[name] = str(error)
made = (cuda.cuda_device, cuda.CudaStream, cuda.CudaEvent, cuda.memory_mib)
for make in (*made, lambda: cuda.HostBuffer(16), lambda: cuda.DeviceBuffer(16)):
    try:
        make()
    except EngineError as error:
        answers.setdefault("objects", []).append(str(error))
print(json.dumps(answers))
"""


@each_series
def test_declared_types_are_those_of_nvidias_headers(series: RuntimeSeries) -> None:
    real = real_cudart(series)
    assert {name: real.prototype(name) for name in cudart.SIGNATURES} == cudart.SIGNATURES


@each_series
def test_constants_are_those_of_nvidias_headers(series: RuntimeSeries) -> None:
    real = real_cudart(series)
    assert {name: real.constant(name) for name in CONSTANTS} == CONSTANTS
    names = {*cudart._REMEDIES, *cudart._LOST}
    assert names < {error.name for error in CudaError}
    assert all(real.constant(error.name) == error.value for error in CudaError)
    assert real.starts_with_name(cudart.NAME_BYTES)


def test_what_is_avoided_differs_between_versions() -> None:
    newer, older = real_cudart(SERIES[1]), real_cudart(SERIES[2])
    assert (len(older.prototype("cudaGraphInstantiate")), len(newer.prototype("cudaGraphInstantiate"))) == (
        5,
        3,
    )
    assert not set(cudart.AVOIDED) & set(cudart.SIGNATURES)


@each_series
@pytest.mark.skipif(driver_cuda_version() > 0, reason="with a driver these handles would be used")
def test_without_a_driver_every_call_fails_with_our_message(series: RuntimeSeries) -> None:
    real = real_cudart(series)
    done = subprocess.run(
        [sys.executable, "-c", CALL_ALL],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, VARIABLE: str(real.path)},
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert answers.pop("library") == str(real.path)
    runtime = answers.pop("runtime")
    # In CUDA 11 this query needs the driver too.
    assert runtime // 1000 == (series.major if series.major > 11 else 0)
    # Ending a capture and clearing an error return the thread's last error, or succeed.
    queries = {"cudaDriverGetVersion", "cudaGetLastError", *(["cudaRuntimeGetVersion"] if runtime else [])}
    objects = answers.pop("objects")
    assert len(objects) == 6
    assert set(answers) == set(cudart.SIGNATURES) - set(cudart.TEXT_FUNCTIONS)
    for text in (*objects, *(answers[name] for name in set(answers) - queries)):
        assert "cudaErrorInsufficientDriver (35), CUDA driver version is insufficient" in text
        assert "no NVIDIA driver was found: install it" in text
    assert all(f"CUDA failed in {name}: " in answers[name] for name in set(answers) - queries)


@pytest.mark.parametrize(
    ("driver", "runtime", "jetson", "expected"),
    [
        (0, 13050, False, "no NVIDIA driver was found"),
        (
            12060,
            13050,
            False,
            "libcudart.so.12 is of CUDA 13.5: pip install nvidia-cuda-runtime-cu12, or",
        ),
        (11040, 12090, False, "pip install nvidia-cuda-runtime-cu11, or update the driver"),
        (12060, 13000, True, "the driver supports CUDA 12.6, "),
        (12060, 13000, True, "is of CUDA 13.0: sudo apt install cuda-cudart-12-6"),
        (12020, 12090, False, "is of CUDA 12.9: update the driver"),
    ],
)
def test_error_on_an_old_driver_names_the_fix(
    monkeypatch: pytest.MonkeyPatch, driver: int, runtime: int, jetson: bool, expected: str
) -> None:
    monkeypatch.setattr(cudart, "is_jetson", lambda: jetson)
    assert expected in driver_remedy(driver, runtime, FOUND)


def test_a_missing_library_lists_the_places_and_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cudart, "find_cuda_runtime", lambda: None)
    root = write_tree(tmp_path, recorded("orin-nx-jetpack-6.2"))
    monkeypatch.setattr(cudart, "searched_places", lambda: searched_places(root))
    with pytest.raises(MissingExtraError) as caught:
        loaded_cudart.__wrapped__()
    text = str(caught.value)
    assert text.startswith("running a TensorRT engine needs CUDA's runtime library, which is not installed: ")
    assert f"{root}/usr/local/cuda/lib64" in text
    assert f"{VARIABLE}=FILE names another file" in text
    assert "Python packages" not in text, "they are not for a Jetson"


def test_a_file_that_does_not_load_is_an_error_with_its_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "libcudart.so.12"
    broken.write_bytes(b"not a library")
    monkeypatch.setenv(VARIABLE, str(broken))
    with pytest.raises(EngineError, match=rf"{broken} does not load: .*or set {VARIABLE}"):
        loaded_cudart.__wrapped__()


def test_a_library_without_a_function_is_too_old() -> None:
    class Old(HostCudart):
        def __getattribute__(self, name: str) -> object:
            if name == "cudaGraphInstantiateWithFlags":
                raise AttributeError(name)
            return super().__getattribute__(name)

    found = CudaRuntime(Path("/cuda/libcudart.so.11.0"), SERIES[2], "11")
    with pytest.raises(
        EngineError, match=r"has no function cudaGraphInstantiateWithFlags; .* needs CUDA 11\.4"
    ):
        Cudart(Old(L4), found)
