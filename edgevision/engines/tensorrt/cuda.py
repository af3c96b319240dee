"""CUDA through the runtime library of this machine: device facts, memory, streams, events and captured graphs.

Objects belong to the device that `use_device` selected in the calling thread. The creator of an object owns it and
releases it with `close`, which may be called twice. Every call is checked and raises `EngineError`.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable
from ctypes import byref, c_float, c_int, c_size_t, c_void_p
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgevision.engines.tensorrt import cudart
from edgevision.errors import EngineError


@dataclass(frozen=True, slots=True)
class CudaDevice:
    """Properties of a GPU that engines depend on."""

    name: str
    sm: int
    """Compute capability, 89 for 8.9."""
    driver: str
    """Newest CUDA version that the driver supports, as "12.6"."""
    runtime: str
    """CUDA version of the runtime library."""
    library: str
    """The library's exact version and its origin: a path or a Python package."""
    integrated: bool
    """True if it shares the host's memory: a Jetson."""
    maps_host_memory: bool
    """True if it can access pinned host memory in place."""
    memory_mib: int


def cuda_device(index: int = 0) -> CudaDevice:
    """Select a device and return its properties; raises `EngineError` without a GPU or a suitable driver.

    `index` is its place in CUDA's list. Raises `MissingExtraError` without the runtime library.
    """
    use_device(index)
    library = cudart.loaded_cudart()
    properties = ctypes.create_string_buffer(cudart.PROPERTIES_BYTES)
    _call("cudaGetDeviceProperties", properties, index)
    return CudaDevice(
        name=properties.raw[: cudart.NAME_BYTES].split(b"\0")[0].decode(errors="replace"),
        sm=_attribute("cudaDevAttrComputeCapabilityMajor", index) * 10
        + _attribute("cudaDevAttrComputeCapabilityMinor", index),
        driver=cudart.version_text(library.version("cudaDriverGetVersion")),
        runtime=cudart.version_text(library.version("cudaRuntimeGetVersion")),
        library=library.found.text,
        integrated=bool(_attribute("cudaDevAttrIntegrated", index)),
        maps_host_memory=bool(_attribute("cudaDevAttrCanMapHostMemory", index)),
        memory_mib=memory_mib()[1],
    )


def use_device(index: int) -> None:
    """Select the device in the calling thread: a new thread has no current context for libraries that need one."""
    _call("cudaSetDevice", index)


def memory_mib() -> tuple[int, int]:
    """Free and total memory of the device."""
    free, total = c_size_t(), c_size_t()
    _call("cudaMemGetInfo", byref(free), byref(total))
    return free.value >> 20, total.value >> 20


class HostBuffer:
    """Pinned host memory: the device copies to and from it without the CPU, or works on it in place."""

    def __init__(self, size_bytes: int) -> None:
        self.pointer = _new("cudaHostAlloc", size_bytes, cudart.HOST_ALLOC_MAPPED)
        self.size_bytes = size_bytes

    def device_pointer(self) -> int:
        """The device address of the same memory, for work in place; no copy is made."""
        return _new("cudaHostGetDevicePointer", self.pointer, 0)

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
        self.pointer = _new("cudaMalloc", size_bytes)
        self.size_bytes = size_bytes

    def close(self) -> None:
        """Release the memory."""
        pointer, self.pointer = self.pointer, 0
        if pointer:
            _call("cudaFree", pointer)


class CudaStream:
    """A queue of work on the device that runs independently of other streams."""

    def __init__(self) -> None:
        self._handle = _new("cudaStreamCreateWithFlags", cudart.STREAM_NON_BLOCKING)

    @property
    def pointer(self) -> int:
        """The stream handle that libraries take."""
        return self._handle

    def copy_to_device(self, target: int, source: int, size_bytes: int) -> None:
        """Queue a copy between addresses."""
        kind = cudart.MEMCPY_HOST_TO_DEVICE
        _call("cudaMemcpyAsync", target, source, size_bytes, kind, self._handle)

    def copy_to_host(self, target: int, source: int, size_bytes: int) -> None:
        """Queue a copy between addresses."""
        kind = cudart.MEMCPY_DEVICE_TO_HOST
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
            cudart.CAPTURE_MODE_THREAD_LOCAL,
        )
        try:
            work()
        except BaseException:
            # Ending a failed capture reports the failure again, and it stays the thread's last error.
            with contextlib.suppress(EngineError):
                _call("cudaGraphDestroy", self._end_capture())
            cudart.loaded_cudart().forget_error()
            raise
        return CapturedGraph(self._end_capture())

    def launch(self, graph: CapturedGraph) -> None:
        """Queue a captured graph."""
        _call("cudaGraphLaunch", graph.handle, self._handle)

    def synchronize(self) -> None:
        """Wait for all queued work."""
        _call("cudaStreamSynchronize", self._handle)

    def close(self) -> None:
        """Release the stream; queued work completes first."""
        handle, self._handle = self._handle, 0
        if handle:
            _call("cudaStreamDestroy", handle)

    def _end_capture(self) -> int:
        graph = c_void_p()
        _call("cudaStreamEndCapture", self._handle, byref(graph))
        return graph.value or 0


class CudaEvent:
    """A point in a stream."""

    def __init__(self, *, spin: bool = True) -> None:
        """`spin`: the waiting thread keeps its core busy and returns sooner."""
        flags = cudart.EVENT_DEFAULT if spin else cudart.EVENT_BLOCKING_SYNC
        self.handle = _new("cudaEventCreateWithFlags", flags)

    def wait(self) -> None:
        """Wait until the device reaches the event."""
        _call("cudaEventSynchronize", self.handle)

    def ms_since(self, earlier: CudaEvent) -> float:
        """Milliseconds on the device's clock between two events that have both completed."""
        elapsed = c_float()
        _call("cudaEventElapsedTime", byref(elapsed), earlier.handle, self.handle)
        return elapsed.value

    def close(self) -> None:
        """Release the event."""
        handle, self.handle = self.handle, 0
        if handle:
            _call("cudaEventDestroy", handle)


class CapturedGraph:
    """Captured work that is launched as one graph."""

    def __init__(self, graph: int) -> None:
        """Takes ownership of `graph`, the result of a capture."""
        try:
            self.handle = _new("cudaGraphInstantiateWithFlags", graph, 0)
        finally:
            _call("cudaGraphDestroy", graph)

    def close(self) -> None:
        """Release the graph; it must not be running."""
        handle, self.handle = self.handle, 0
        if handle:
            _call("cudaGraphExecDestroy", handle)


def _call(name: str, *arguments: Any) -> None:
    cudart.loaded_cudart().call(name, *arguments)


def _new(name: str, *arguments: Any) -> int:
    """Call a function that writes a pointer or a handle to its first argument, and return that."""
    made = c_void_p()
    cudart.loaded_cudart().call(name, byref(made), *arguments)
    return made.value or 0


def _attribute(name: str, index: int) -> int:
    value = c_int()
    _call("cudaDeviceGetAttribute", byref(value), cudart.ATTRIBUTES[name], index)
    return value.value
