"""CUDA objects, simulated in host memory without a GPU."""

from __future__ import annotations

import ast
import ctypes
from pathlib import Path

import numpy as np
import pytest

from edgevision.device.cuda_runtime import SERIES, CudaRuntime, RuntimeSeries
from edgevision.engines.tensorrt import cuda, cudart
from edgevision.engines.tensorrt.cuda import (
    CudaEvent,
    CudaStream,
    DeviceBuffer,
    HostBuffer,
    cuda_device,
)
from edgevision.errors import EngineError
from tests.engines.host_cuda import CudaError, HostCudart
from tests.hardware import AGX_ORIN


def calls_in_source() -> dict[str, set[int]]:
    """Every function of the runtime that `cuda.py` calls, and with how many arguments."""
    found: dict[str, set[int]] = {}
    for node in ast.walk(ast.parse(Path(cuda.__file__).read_text())):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("_call", "_new")
        ):
            name = node.args[0]
            # `_call(name, *arguments)` and its like would escape this test.
            assert isinstance(name, ast.Constant)
            assert not any(isinstance(argument, ast.Starred) for argument in node.args)
            count = len(node.args) - 1 + (node.func.id == "_new")
            found.setdefault(ast.literal_eval(name), set()).add(count)
    return found


def test_every_call_is_declared_with_its_number_of_arguments() -> None:
    called = calls_in_source()
    assert called == {name: {len(cudart.SIGNATURES[name])} for name in called}
    queries = {"cudaDriverGetVersion", "cudaRuntimeGetVersion", "cudaGetLastError", *cudart.TEXT_FUNCTIONS}
    assert set(cudart.SIGNATURES) - set(called) == queries, "declared, but not called"


def test_the_simulation_implements_all_declared_functions() -> None:
    assert {name for name in vars(HostCudart) if name.startswith("cuda")} == set(cudart.SIGNATURES)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (CudaError.cudaErrorNoDevice, "`nvidia-smi` must list a GPU"),
        (CudaError.cudaErrorMemoryAllocation, "use a smaller batch"),
        (CudaError.cudaErrorIllegalAddress, "the process can no longer use the GPU"),
        (CudaError.cudaErrorNotReady, "edgevision doctor"),
    ],
)
def test_an_error_has_its_number_its_name_and_a_remedy(
    host: HostCudart, error: CudaError, expected: str
) -> None:
    host.fails["cudaMalloc"] = error
    with pytest.raises(EngineError) as caught:
        DeviceBuffer(16)
    assert f"CUDA failed in cudaMalloc: {error.name} ({error.value}), " in str(caught.value)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    "wrong", [lambda: cuda._call("cudaFree", 1.5), lambda: cuda._call("cudaSetDevice", "0")]
)
def test_an_argument_of_another_type_is_refused(host: HostCudart, wrong: object) -> None:
    with pytest.raises(ctypes.ArgumentError):
        wrong()  # type: ignore[operator]  # a function


def test_device_properties_are_read(host: HostCudart) -> None:
    device = cuda_device()
    assert (device.name, device.sm, device.driver, device.runtime) == ("NVIDIA L4", 89, "12.8", "12.9")
    assert (device.integrated, device.maps_host_memory, device.memory_mib) == (False, True, 23034)
    assert device.library == "12.9.79 /usr/local/cuda-12.9/lib64/libcudart.so.12"


@pytest.mark.parametrize(
    ("series", "runtime", "text"), [(SERIES[0], 13050, "13.5"), (SERIES[2], 11040, "11.4")]
)
def test_a_device_is_read_through_any_version(
    monkeypatch: pytest.MonkeyPatch, series: RuntimeSeries, runtime: int, text: str
) -> None:
    found = CudaRuntime(Path("/cuda") / series.soname, series, text)
    HostCudart(AGX_ORIN, runtime).install(monkeypatch, found)
    device = cuda_device()
    assert (device.name, device.sm, device.runtime, device.integrated) == ("Orin", 87, text, True)
    assert device.library == f"{text} /cuda/{series.soname}"


def test_mapped_memory_of_a_jetson_is_the_hosts(jetson: HostCudart) -> None:
    memory = HostBuffer(8)
    assert memory.device_pointer() == memory.pointer
    memory.close()
    assert jetson.held() == 0


def test_memory_goes_there_and_back_in_the_streams_order(host: HostCudart) -> None:
    there, back, device, stream = HostBuffer(8), HostBuffer(8), DeviceBuffer(8), CudaStream()
    first, last = CudaEvent(), CudaEvent(spin=False)
    there.array(np.dtype(np.uint8), (8,))[:] = np.arange(8)
    answer = back.array(np.dtype(np.float32), (2,))
    stream.record(first)
    stream.copy_to_device(device.pointer, there.pointer, 8)
    stream.copy_to_host(back.pointer, device.pointer, 8)
    stream.record(last)
    assert answer.tobytes() == b"\xaa" * 8
    last.wait()
    assert answer.tobytes() == bytes(range(8))
    assert last.ms_since(first) == 0.5
    for thing in (there, back, device, stream, first, last):
        thing.close()
        thing.close()
    assert host.held() == 0


def test_a_graph_replays_and_a_broken_capture_leaves_the_stream_usable(host: HostCudart) -> None:
    there, device, stream = HostBuffer(4), DeviceBuffer(4), CudaStream()
    graph = stream.capture(lambda: stream.copy_to_device(device.pointer, there.pointer, 4))
    for value in (3, 5):
        there.array(np.dtype(np.uint8), (4,))[:] = value
        stream.launch(graph)
        stream.synchronize()
        assert bytes(host.device[device.pointer]) == bytes([value] * 4)

    def broken() -> None:
        stream.copy_to_device(device.pointer, there.pointer, 4)
        raise EngineError("the network cannot be captured")

    with pytest.raises(EngineError, match="cannot be captured"):
        stream.capture(broken)
    assert host.calls[-1] == "cudaGetLastError"
    stream.launch(graph)
    stream.synchronize()
    for thing in (there, device, stream, graph):
        thing.close()
    assert host.held() == 0
