"""CUDA through NVIDIA's own bindings: device facts, memory, streams, events, captured graphs; every call checked.

The device is the first that CUDA shows to the process; another one is chosen with ``CUDA_VISIBLE_DEVICES``. What is
made here belongs to whoever made it, and is given back by `close`, which may be called twice.
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

DEVICE = 0

_REMEDIES = {
    "cudaErrorNoDevice": (
        "`nvidia-smi` must list a GPU; in a container: docker run --gpus all (on a Jetson: --runtime nvidia);"
        " and CUDA_VISIBLE_DEVICES must not be empty"
    ),
    "cudaErrorMemoryAllocation": "end what else uses the GPU, or take a smaller batch",
    "cudaErrorSystemDriverMismatch": "restart the machine: the driver was updated under a running kernel module",
    "cudaErrorNoKernelImageForDevice": "build the engine for this GPU: edgevision build BUNDLE --rebuild",
}
_LOST = (
    "cudaErrorIllegalAddress",
    "cudaErrorLaunchFailure",
    "cudaErrorHardwareStackError",
    "cudaErrorECCUncorrectable",
)
"""After one of these every further call fails too, in the whole process."""


@dataclass(frozen=True, slots=True)
class CudaDevice:
    """What an engine must know of the GPU."""

    name: str
    sm: int
    """Compute capability, 89 for 8.9."""
    driver: str
    """The newest CUDA that the driver speaks, as "12.6"."""
    runtime: str
    """The CUDA of the bindings."""
    integrated: bool
    """It shares the host's memory: a Jetson."""
    maps_host_memory: bool
    """It can read and write pinned host memory in place."""
    memory_mib: int


def cuda_device() -> CudaDevice:
    """The device's facts; raises `EngineError` where there is no GPU or no driver that fits."""
    use_device()
    properties = _call("cudaGetDeviceProperties", DEVICE)
    return CudaDevice(
        name=properties.name.split(b"\0")[0].decode(errors="replace"),
        sm=_attribute("cudaDevAttrComputeCapabilityMajor") * 10
        + _attribute("cudaDevAttrComputeCapabilityMinor"),
        driver=_version(_call("cudaDriverGetVersion")),
        runtime=_version(_call("cudaRuntimeGetVersion")),
        integrated=bool(_attribute("cudaDevAttrIntegrated")),
        maps_host_memory=bool(_attribute("cudaDevAttrCanMapHostMemory")),
        memory_mib=memory_mib()[1],
    )


def use_device() -> None:
    """Make the device that of the calling thread: libraries that ask for a current context find none in a new one."""
    _call("cudaSetDevice", DEVICE)


def memory_mib() -> tuple[int, int]:
    """Free memory of the device and all of it."""
    free, total = _call("cudaMemGetInfo")
    return free >> 20, total >> 20


class HostBuffer:
    """Pinned host memory: the device copies to and from it without help of the CPU, or works on it in place."""

    def __init__(self, size_bytes: int) -> None:
        self.pointer = int(_call("cudaHostAlloc", size_bytes, cudart.cudaHostAllocMapped))
        self.size_bytes = size_bytes

    def device_pointer(self) -> int:
        """The same memory's address on the device, for work in place; no copy is made."""
        return int(_call("cudaHostGetDevicePointer", self.pointer, 0))

    def array(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """The memory as an array; it must not be used after `close`."""
        memory = (ctypes.c_uint8 * self.size_bytes).from_address(self.pointer)
        return np.ndarray(shape, dtype, buffer=memoryview(memory))

    def close(self) -> None:
        """Give the memory back."""
        pointer, self.pointer = self.pointer, 0
        if pointer:
            _call("cudaFreeHost", pointer)


class DeviceBuffer:
    """Memory of the device."""

    def __init__(self, size_bytes: int) -> None:
        self.pointer = int(_call("cudaMalloc", size_bytes))
        self.size_bytes = size_bytes

    def close(self) -> None:
        """Give the memory back."""
        pointer, self.pointer = self.pointer, 0
        if pointer:
            _call("cudaFree", pointer)


class CudaStream:
    """A queue of work on the device, which waits for no other one."""

    def __init__(self) -> None:
        self._handle: Any = _call("cudaStreamCreateWithFlags", cudart.cudaStreamNonBlocking)

    @property
    def pointer(self) -> int:
        """What libraries take as the stream's handle."""
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
        """What `work` queues, as one graph; it is not run. Raises what `work` raises, and leaves the stream usable."""
        _call(
            "cudaStreamBeginCapture",
            self._handle,
            # Calls of other threads, which may allocate, are none of this capture's business.
            cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal,
        )
        try:
            work()
        except BaseException:
            # The end of a broken capture reports its break once more, and the break stays the thread's last error.
            with contextlib.suppress(EngineError):
                _call("cudaGraphDestroy", _call("cudaStreamEndCapture", self._handle))
            cudart.cudaGetLastError()
            raise
        return CapturedGraph(_call("cudaStreamEndCapture", self._handle))

    def launch(self, graph: CapturedGraph) -> None:
        """Queue all that was captured."""
        _call("cudaGraphLaunch", graph.handle, self._handle)

    def synchronize(self) -> None:
        """Wait for all that was queued."""
        _call("cudaStreamSynchronize", self._handle)

    def close(self) -> None:
        """Give the stream back; what is queued is finished first."""
        handle, self._handle = self._handle, None
        if handle is not None:
            _call("cudaStreamDestroy", handle)


class CudaEvent:
    """A moment in a stream."""

    def __init__(self, *, spin: bool = True) -> None:
        """`spin`: a thread that waits keeps its core busy and hears of the end sooner."""
        flags = cudart.cudaEventDefault if spin else cudart.cudaEventBlockingSync
        self.handle: Any = _call("cudaEventCreateWithFlags", flags)

    def wait(self) -> None:
        """Wait until the device has come to it."""
        _call("cudaEventSynchronize", self.handle)

    def ms_since(self, earlier: CudaEvent) -> float:
        """Time on the device's own clock between two events that have both passed."""
        return float(_call("cudaEventElapsedTime", earlier.handle, self.handle))

    def close(self) -> None:
        """Give the event back."""
        handle, self.handle = self.handle, None
        if handle is not None:
            _call("cudaEventDestroy", handle)


class CapturedGraph:
    """Work that was queued once and is launched as one."""

    def __init__(self, graph: Any) -> None:
        """Takes over `graph`, as the end of a capture gave it."""
        try:
            self.handle: Any = _call("cudaGraphInstantiate", graph, 0)
        finally:
            _call("cudaGraphDestroy", graph)

    def close(self) -> None:
        """Give the graph back; it must not be running."""
        handle, self.handle = self.handle, None
        if handle is not None:
            _call("cudaGraphExecDestroy", handle)


def _call(name: str, *arguments: Any) -> Any:
    """Call a function of CUDA's runtime: its value, a tuple of several, or None; raises `EngineError`."""
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
        return "the process cannot use the GPU any more: start it again; if it returns, see `dmesg` for Xid errors"
    return _REMEDIES.get(error, "`edgevision doctor` looks at the driver and the libraries")


def driver_remedy(driver: int, runtime: int) -> str:
    """What mends a driver that is older than the bindings; versions are CUDA's numbers, 12060 for 12.6, 0 for none."""
    if driver == 0:
        return (
            "there is no NVIDIA driver here: install it, or in a container: docker run --gpus all"
            " (on a Jetson: --runtime nvidia)"
        )
    if driver // 1000 < runtime // 1000:
        return (
            f"the driver speaks CUDA {_version(driver)}, cuda-bindings {bindings_version} needs"
            f" {runtime // 1000}.0: pip install 'cuda-bindings=={driver // 1000}.*', or update the driver"
        )
    return (
        f"the driver speaks CUDA {_version(driver)}, cuda-bindings are {_version(runtime)}: update the driver"
    )


def _attribute(name: str) -> int:
    return int(_call("cudaDeviceGetAttribute", getattr(cudart.cudaDeviceAttr, name), DEVICE))


def _version(number: int) -> str:
    """12060 as "12.6"."""
    return f"{number // 1000}.{number % 1000 // 10}"
