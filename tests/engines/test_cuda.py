"""CUDA calls: checked against the real bindings, and simulated in host memory without a GPU."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cuda.bindings import runtime as real

from edgevision.engines.tensorrt import cuda
from edgevision.engines.tensorrt.cuda import (
    CudaEvent,
    CudaStream,
    DeviceBuffer,
    HostBuffer,
    cuda_device,
    driver_remedy,
)
from edgevision.errors import EngineError
from tests.engines.host_cuda import HostCudart

HAS_DRIVER = int(real.cudaDriverGetVersion()[1]) > 0


def calls_in_source() -> dict[str, set[int]]:
    """Every function of the runtime that our file calls, and with how many arguments."""
    found: dict[str, set[int]] = {}
    for node in ast.walk(ast.parse(Path(cuda.__file__).read_text())):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id == "_call":
            name = node.args[0]
            # `_call(name, *arguments)` and its like would escape this test.
            assert isinstance(name, ast.Constant)
            assert not any(isinstance(argument, ast.Starred) for argument in node.args)
            found.setdefault(ast.literal_eval(name), set()).add(len(node.args) - 1)
        elif isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "cudart":
            found.setdefault(node.func.attr, set()).add(len(node.args))
    return found


def members_in_source() -> set[str]:
    """Every dotted name under `cudart` that is no call: enums and flags."""
    text = Path(cuda.__file__).read_text()
    names = {
        ast.unparse(node).removeprefix("cudart.")
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("cudart.")
    }
    attributes = {
        f"cudaDeviceAttr.{ast.literal_eval(node.args[0])}"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "_attribute"
        and isinstance(node.args[0], ast.Constant)
    }
    assert len(attributes) == 4
    return names | attributes


@pytest.mark.parametrize(("name", "counts"), sorted(calls_in_source().items()))
def test_every_call_is_one_of_the_real_bindings(name: str, counts: set[int]) -> None:
    parameters = inspect.signature(getattr(real, name)).parameters
    assert counts == {len(parameters)}


def test_the_source_calls_what_a_runtime_needs() -> None:
    assert len(calls_in_source()) >= 25


@pytest.mark.parametrize("name", sorted(members_in_source()))
def test_every_member_is_one_of_the_real_bindings(name: str) -> None:
    value = real
    for part in name.split("."):
        value = getattr(value, part)


@pytest.mark.parametrize("name", sorted(name for name in vars(HostCudart) if name.startswith("cuda")))
def test_the_simulation_accepts_the_arguments_of_the_real_bindings(name: str) -> None:
    taken = list(inspect.signature(vars(HostCudart)[name]).parameters)[1:]
    assert taken == list(inspect.signature(getattr(real, name)).parameters)


def test_the_simulation_implements_all_called_functions() -> None:
    constant = {"cudaGetErrorName", "cudaGetErrorString"}
    assert set(calls_in_source()) - set(vars(HostCudart)) == constant


@pytest.mark.skipif(HAS_DRIVER, reason="this machine has an NVIDIA driver")
def test_without_a_driver_every_call_raises() -> None:
    for call in (cuda_device, CudaStream, CudaEvent, lambda: HostBuffer(16), lambda: DeviceBuffer(16)):
        with pytest.raises(EngineError) as caught:
            call()
        text = str(caught.value)
        assert "cudaErrorInsufficientDriver (35)" in text
        assert "no NVIDIA driver was found: install it" in text


@pytest.mark.parametrize(
    ("driver", "runtime", "expected"),
    [
        (0, 13050, "no NVIDIA driver was found"),
        (12060, 13050, "pip install 'cuda-bindings==12.*'"),
        (12020, 12090, "the driver supports CUDA 12.2, cuda-bindings are 12.9: update the driver"),
    ],
)
def test_error_on_an_old_driver_names_the_fix(driver: int, runtime: int, expected: str) -> None:
    assert expected in driver_remedy(driver, runtime)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("cudaErrorNoDevice", "`nvidia-smi` must list a GPU"),
        ("cudaErrorMemoryAllocation", "use a smaller batch"),
        ("cudaErrorIllegalAddress", "the process can no longer use the GPU"),
        ("cudaErrorNotReady", "edgevision doctor"),
    ],
)
def test_an_error_has_its_number_its_name_and_a_remedy(host: HostCudart, error: str, expected: str) -> None:
    status = getattr(real.cudaError_t, error)
    host.fails["cudaMalloc"] = status
    with pytest.raises(EngineError) as caught:
        DeviceBuffer(16)
    assert f"CUDA failed in cudaMalloc: {error} ({int(status)}), " in str(caught.value)
    assert expected in str(caught.value)


def test_remedies_name_errors_that_there_are() -> None:
    for name in (*cuda._REMEDIES, *cuda._LOST):
        assert hasattr(real.cudaError_t, name)


def test_device_properties_are_read(host: HostCudart) -> None:
    device = cuda_device()
    assert (device.name, device.sm, device.driver, device.runtime) == ("NVIDIA L4", 89, "12.8", "12.9")
    assert (device.integrated, device.maps_host_memory, device.memory_mib) == (False, True, 23034)


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


CALLED_FOR_REAL = """
from cuda.bindings import runtime as r
stream, event, graph, run = r.cudaStream_t(0), r.cudaEvent_t(1), r.cudaGraph_t(1), r.cudaGraphExec_t(1)
calls = {
    "cudaSetDevice": (0,), "cudaGetDeviceProperties": (0,), "cudaMemGetInfo": (),
    "cudaDeviceGetAttribute": (r.cudaDeviceAttr.cudaDevAttrIntegrated, 0),
    "cudaHostAlloc": (16, r.cudaHostAllocMapped), "cudaHostGetDevicePointer": (4096, 0), "cudaFreeHost": (4096,),
    "cudaMalloc": (16,), "cudaFree": (4096,),
    "cudaStreamCreateWithFlags": (r.cudaStreamNonBlocking,), "cudaStreamDestroy": (stream,),
    "cudaStreamSynchronize": (stream,),
    "cudaMemcpyAsync": (4096, 8192, 16, r.cudaMemcpyKind.cudaMemcpyHostToDevice, stream),
    "cudaEventCreateWithFlags": (r.cudaEventBlockingSync,), "cudaEventRecord": (event, stream),
    "cudaEventSynchronize": (event,), "cudaEventElapsedTime": (event, event), "cudaEventDestroy": (event,),
    "cudaStreamBeginCapture": (stream, r.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal),
    "cudaStreamEndCapture": (stream,), "cudaGraphInstantiate": (graph, 0), "cudaGraphLaunch": (run, stream),
    "cudaGraphDestroy": (graph,), "cudaGraphExecDestroy": (run,),
}
for name, arguments in calls.items():
    print(name, int(getattr(r, name)(*arguments)[0]))
"""


@pytest.mark.skipif(HAS_DRIVER, reason="with a driver these handles would be used")
def test_the_real_bindings_accept_our_arguments() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CALLED_FOR_REAL], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answers = dict(line.split() for line in done.stdout.splitlines())
    other = {
        *("cudaDriverGetVersion", "cudaRuntimeGetVersion", "cudaGetLastError"),
        *("cudaGetErrorName", "cudaGetErrorString"),
    }
    assert set(answers) == set(calls_in_source()) - other
    insufficient = str(int(real.cudaError_t.cudaErrorInsufficientDriver))
    assert set(answers.values()) == {insufficient}
