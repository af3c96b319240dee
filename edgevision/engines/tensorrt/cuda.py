"""CUDA through NVIDIA's bindings: device facts, memory, streams, events and captured graphs; every call is checked.

Objects belong to the device that `use_device` selected in the calling thread. The creator of an object owns it and
releases it with `close`, which may be called twice.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from cuda.bindings import __version__ as bindings_version
from cuda.bindings import runtime as cudart

from edgevision.errors import EngineError

_REMEDIES = {
    "cudaErrorNoDevice": (
        "`nvidia-smi` must list a GPU; in a container: docker run --gpus all (on a Jetson: --runtime nvidia);"
        " and CUDA_VISIBLE_DEVICES must not be empty"
    ),
    "cudaErrorMemoryAllocation": "stop other programs that use the GPU, or use a smaller batch",
    "cudaErrorSystemDriverMismatch": "restart the machine: the driver was updated under a running kernel module",
    "cudaErrorNoKernelImageForDevice": "build the engine for this GPU: edgevision build BUNDLE --rebuild",
}
_LOST = (
    "cudaErrorIllegalAddress",
    "cudaErrorLaunchFailure",
    "cudaErrorHardwareStackError",
    "cudaErrorECCUncorrectable",
)
"""Errors after which every further call in the process fails."""


@dataclass(frozen=True, slots=True)
class CudaDevice:
    """Properties of a GPU that engines depend on."""

    name: str
    sm: int
    """Compute capability, 89 for 8.9."""
    driver: str
    """Newest CUDA version that the driver supports, as "12.6"."""
    runtime: str
    """CUDA version of the bindings."""
    integrated: bool
    """True if it shares the host's memory: a Jetson."""
    maps_host_memory: bool
    """True if it can access pinned host memory in place."""
    memory_mib: int


def cuda_device(index: int = 0) -> CudaDevice:
    """Select a device and return its properties; raises `EngineError` without a GPU or a suitable driver.

    `index` is its place in CUDA's list.
    """
    use_device(index)
    properties = _call("cudaGetDeviceProperties", index)
    return CudaDevice(
        name=properties.name.split(b"\0")[0].decode(errors="replace"),
        sm=_attribute("cudaDevAttrComputeCapabilityMajor", index) * 10
        + _attribute("cudaDevAttrComputeCapabilityMinor", index),
        driver=_version(_call("cudaDriverGetVersion")),
        runtime=_version(_call("cudaRuntimeGetVersion")),
        integrated=bool(_attribute("cudaDevAttrIntegrated", index)),
        maps_host_memory=bool(_attribute("cudaDevAttrCanMapHostMemory", index)),
        memory_mib=memory_mib()[1],
    )


def use_device(index: int) -> None:
    """Select the device in the calling thread: a new thread has no current context for libraries that need one."""
    _call("cudaSetDevice", index)


def memory_mib() -> tuple[int, int]:
    """Free and total memory of the device."""
    free, total = _call("cudaMemGetInfo")
    return free >> 20, total >> 20


class HostBuffer:
    """Pinned host memory: the device copies to and from it without the CPU, or works on it in place."""

    def __init__(self, size_bytes: int) -> None:
        self.pointer = int(_call("cudaHostAlloc", size_bytes, cudart.cudaHostAllocMapped))
        self.size_bytes = size_bytes

    def device_pointer(self) -> int:
        """The device address of the same memory, for work in place; no copy is made."""
        return int(_call("cudaHostGetDevicePointer", self.pointer, 0))

    def array(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """The memory as an array; it must not be used after `close`."""
        memory = (ctypes.c_uint8 * self.size_bytes).from_address(self.pointer)
        return np.ndarray(shape, dtype, buffer=memoryview(memory))

    def close(self) -> None:
        """Release the memory."""
        pointer, self.pointer = self.pointer, 0
        if pointer:
            _call("cudaFreeHost", pointer)


class DeviceBuffer:
    """Memory of the device."""

    def __init__(self, size_bytes: int) -> None:
        self.pointer = int(_call("cudaMalloc", size_bytes))
        self.size_bytes = size_bytes

    def close(self) -> None:
        """Release the memory."""
        pointer, self.pointer = self.pointer, 0
        if pointer:
            _call("cudaFree", pointer)


class CudaStream:
    """A queue of work on the device that runs independently of other streams."""

    def __init__(self) -> None:
        self._handle: Any = _call("cudaStreamCreateWithFlags", cudart.cudaStreamNonBlocking)

    @property
    def pointer(self) -> int:
        """The stream handle that libraries take."""
        return int(self._handle)

    def copy_to_device(self, target: int, source: int, size_bytes: int) -> None:
        """Queue a copy between addresses."""
        kind = cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
        _call("cudaMemcpyAsync", target, source, size_bytes, kind, self._handle)

    def copy_to_host(self, target: int, source: int, size_bytes: int) -> None:
        """Queue a copy between addresses."""
        kind = cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        _call("cudaMemcpyAsync", target, source, size_bytes, kind, self._handle)

    def record(self, event: CudaEvent) -> None:
        """Queue the event."""
        _call("cudaEventRecord", event.handle, self._handle)

    def capture(self, work: Callable[[], None]) -> CapturedGraph:
        """Capture what `work` queues as one graph, without running it.

        Raises what `work` raises; the stream stays usable.
        """
        _call(
            "cudaStreamBeginCapture",
            self._handle,
            # Thread-local: calls of other threads, which may allocate, do not affect this capture.
            cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal,
        )
        try:
            work()
        except BaseException:
            # Ending a failed capture reports the failure again, and it stays the thread's last error.
            with contextlib.suppress(EngineError):
                _call("cudaGraphDestroy", _call("cudaStreamEndCapture", self._handle))
            cudart.cudaGetLastError()
            raise
        return CapturedGraph(_call("cudaStreamEndCapture", self._handle))

    def launch(self, graph: CapturedGraph) -> None:
        """Queue a captured graph."""
        _call("cudaGraphLaunch", graph.handle, self._handle)

    def synchronize(self) -> None:
        """Wait for all queued work."""
        _call("cudaStreamSynchronize", self._handle)

    def close(self) -> None:
        """Release the stream; queued work completes first."""
        handle, self._handle = self._handle, None
        if handle is not None:
            _call("cudaStreamDestroy", handle)


class CudaEvent:
    """A point in a stream."""

    def __init__(self, *, spin: bool = True) -> None:
        """`spin`: the waiting thread keeps its core busy and returns sooner."""
        flags = cudart.cudaEventDefault if spin else cudart.cudaEventBlockingSync
        self.handle: Any = _call("cudaEventCreateWithFlags", flags)

    def wait(self) -> None:
        """Wait until the device reaches the event."""
        _call("cudaEventSynchronize", self.handle)

    def ms_since(self, earlier: CudaEvent) -> float:
        """Milliseconds on the device's clock between two events that have both completed."""
        return float(_call("cudaEventElapsedTime", earlier.handle, self.handle))

    def close(self) -> None:
        """Release the event."""
        handle, self.handle = self.handle, None
        if handle is not None:
            _call("cudaEventDestroy", handle)


class CapturedGraph:
    """Captured work that is launched as one graph."""

    def __init__(self, graph: Any) -> None:
        """Takes ownership of `graph`, the result of a capture."""
        try:
            self.handle: Any = _call("cudaGraphInstantiate", graph, 0)
        finally:
            _call("cudaGraphDestroy", graph)

    def close(self) -> None:
        """Release the graph; it must not be running."""
        handle, self.handle = self.handle, None
        if handle is not None:
            _call("cudaGraphExecDestroy", handle)


def _call(name: str, *arguments: Any) -> Any:
    """Call a CUDA runtime function and return its value, a tuple of values, or None; raises `EngineError`."""
    status, *values = getattr(cudart, name)(*arguments)
    if status != cudart.cudaError_t.cudaSuccess:
        raise EngineError(_message(name, status))
    return (values[0] if len(values) == 1 else tuple(values)) if values else None


def _message(name: str, status: Any) -> str:
    number = int(status)
    error = _decoded(cudart.cudaGetErrorName(status))
    text = _decoded(cudart.cudaGetErrorString(status))
    return f"CUDA failed in {name}: {error} ({number}), {text}; {_remedy(error)}"


def _decoded(result: tuple[Any, bytes]) -> str:
    return result[1].decode(errors="replace")


def _remedy(error: str) -> str:
    if error == "cudaErrorInsufficientDriver":
        return driver_remedy(int(cudart.cudaDriverGetVersion()[1]), int(cudart.cudaRuntimeGetVersion()[1]))
    if error in _LOST:
        return "the process can no longer use the GPU: restart it; if the error returns, check `dmesg` for Xid errors"
    return _REMEDIES.get(error, "to check driver and libraries: edgevision doctor")


def driver_remedy(driver: int, runtime: int) -> str:
    """The fix for a driver older than the bindings; versions are CUDA's numbers: 12060 for 12.6, 0 for none."""
    if driver == 0:
        return (
            "no NVIDIA driver was found: install it, or in a container: docker run --gpus all"
            " (on a Jetson: --runtime nvidia)"
        )
    if driver // 1000 < runtime // 1000:
        return (
            f"the driver supports CUDA {_version(driver)}, cuda-bindings {bindings_version} needs"
            f" {runtime // 1000}.0: pip install 'cuda-bindings=={driver // 1000}.*', or update the driver"
        )
    return f"the driver supports CUDA {_version(driver)}, cuda-bindings are {_version(runtime)}: update the driver"


def _attribute(name: str, index: int) -> int:
    return int(_call("cudaDeviceGetAttribute", getattr(cudart.cudaDeviceAttr, name), index))


def _version(number: int) -> str:
    """12060 as "12.6"."""
    return f"{number // 1000}.{number % 1000 // 10}"
