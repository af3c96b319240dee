"""Simulates libcudart in host memory, to test our use of it without a GPU.

`HostCudart` takes the place of what `ctypes.CDLL` returns: its functions are called through C, with the argument types
that our code declares. It is stricter than the device: queued work is done only when something waits for it, host and
device memory are kept apart, every address is checked, and what is not given back is counted.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest

from edgevision.device.cuda_runtime import SERIES, CudaRuntime
from edgevision.device.gpu import GpuFacts
from edgevision.engines.tensorrt import cudart
from edgevision.engines.tensorrt.cudart import Cudart

RUNTIME = 12090
"""The library's CUDA version, as CUDA numbers it."""
FOUND = CudaRuntime(Path("/usr/local/cuda-12.9/lib64/libcudart.so.12"), SERIES[1], "12.9.79")
OK = 0
MEMCPY_DEFAULT = 4
PROPERTIES_BYTES = {11: 728, 12: 1032, 13: 1008}
"""Size of ``cudaDeviceProp`` by major version, from NVIDIA's headers of 11.8, 12.9 and 13.5."""
CudaError = IntEnum(
    "CudaError",
    {
        "cudaSuccess": 0,
        "cudaErrorInvalidValue": 1,
        "cudaErrorMemoryAllocation": 2,
        "cudaErrorInsufficientDriver": 35,
        "cudaErrorNoDevice": 100,
        "cudaErrorInvalidDevice": 101,
        "cudaErrorNoKernelImageForDevice": 209,
        "cudaErrorECCUncorrectable": 214,
        "cudaErrorNotReady": 600,
        "cudaErrorIllegalAddress": 700,
        "cudaErrorHardwareStackError": 714,
        "cudaErrorLaunchFailure": 719,
        "cudaErrorNotSupported": 801,
        "cudaErrorSystemDriverMismatch": 803,
        "cudaErrorUnknown": 999,
    },
)
"""Names and numbers of ``cudaError_t``; `test_cudart.py` compares them with the real library's."""
Work = Callable[[], None]


class HostFunction:
    """A function of the library: converts arguments by the declared types, as `ctypes` does, through a C call."""

    def __init__(self, host: HostCudart, name: str, body: Callable[..., Any]) -> None:
        self.argtypes: tuple[Any, ...] = ()
        self.restype: Any = ctypes.c_int
        self._host, self._name, self._body = host, name, body
        self._pointer: Any = None
        self._raised = threading.local()

    def __call__(self, *arguments: Any) -> Any:
        assert len(arguments) == len(self.argtypes), f"{self._name} takes {len(self.argtypes)} arguments"
        if self._pointer is None:
            # Callbacks may not return text, so its address is returned.
            returned = ctypes.c_int if self.restype is ctypes.c_int else ctypes.c_void_p
            self._callback = ctypes.CFUNCTYPE(returned, *self.argtypes)(self._called)
            self._pointer = ctypes.cast(self._callback, ctypes.CFUNCTYPE(self.restype, *self.argtypes))
        self._raised.error = None
        answer = self._pointer(*arguments)
        if self._raised.error is not None:
            raise self._raised.error
        return answer

    def _called(self, *arguments: Any) -> Any:
        try:
            with self._host.lock:
                if self.restype is ctypes.c_int:
                    self._host.calls.append(self._name)
                return (
                    self._host.fails[self._name] if self._name in self._host.fails else self._body(*arguments)
                )
        except BaseException as error:  # it must not leave through C
            self._raised.error = error
            return CudaError.cudaErrorUnknown


class HostCudart:
    """Stands in for a loaded libcudart."""

    def __init__(self, gpu: GpuFacts, runtime: int = RUNTIME) -> None:
        self.gpu = gpu
        self.runtime = runtime
        self.integrated = gpu.integrated
        self.maps = gpu.integrated
        """The GPU works on pinned memory in place: discrete ones can, our sessions do it on integrated ones only."""
        self.pageable = False
        """Let copies to the device begin in memory that is not pinned: CUDA can, our sessions never do it."""
        self.fails: dict[str, int] = {}
        """Calls that are to fail, with the error that they return."""
        self.calls: list[str] = []
        self.host: dict[int, Any] = {}
        self.device: dict[int, Any] = {}
        self.queued: dict[int, list[Work]] = {}
        self.capturing: dict[int, list[Work]] = {}
        self.graphs: dict[int, list[Work]] = {}
        self.executables: dict[int, list[Work]] = {}
        self.events: dict[int, list[float]] = {}
        self.recorded_on: dict[int, int] = {}
        """The stream of each event."""
        self.order: list[tuple[str, int]] = []
        """Copies, launches, events and waits in the order of their calls, each with its stream."""
        self.clock_ms = 0.0
        self.gpu_count = 1
        self.selected: list[int] = []
        """GPUs in the order of their selection."""
        self.threads: set[int] = set()
        """Those that have a current context, as far as libraries see it."""
        self._next = 1000
        self.lock = threading.RLock()
        self._functions: dict[str, HostFunction] = {}
        self._texts = {error.value: ctypes.create_string_buffer(error.name.encode()) for error in CudaError}

    def __getattribute__(self, name: str) -> Any:
        attribute = object.__getattribute__(self, name)
        if not name.startswith("cuda"):
            return attribute
        functions: dict[str, HostFunction] = object.__getattribute__(self, "_functions")
        return functions.setdefault(name, HostFunction(self, name, attribute))

    def install(self, monkeypatch: pytest.MonkeyPatch, found: CudaRuntime = FOUND) -> HostCudart:
        """Take the place of the process's library."""
        library = Cudart(self, found)
        monkeypatch.setattr(cudart, "loaded_cudart", lambda: library)
        return self

    def held(self) -> int:
        """How many things were made and not given back."""
        made: tuple[dict[int, Any], ...] = (self.host, self.device, self.queued, self.graphs)
        return sum(len(things) for things in (*made, self.executables, self.events))

    def work(self, stream: int, work: Work) -> None:
        """Queue work, or let a capture take it."""
        with self.lock:
            (self.capturing[stream] if stream in self.capturing else self.queued[stream]).append(work)

    def region(self, memory: dict[int, Any], pointer: int, size: int) -> int:
        """The address if `size` bytes from it lie in one piece of that memory."""
        for start, piece in memory.items():
            if start <= pointer and pointer + size <= start + ctypes.sizeof(piece):
                return pointer
        raise AssertionError(f"{size} bytes at {pointer} are not in that memory")

    def cudaSetDevice(self, device: int) -> int:  # noqa: N802  # as CUDA calls it, like all below
        if device >= self.gpu_count:
            return CudaError.cudaErrorInvalidDevice
        self.threads.add(threading.get_ident())
        self.selected.append(device)
        return OK

    def cudaGetDeviceProperties(self, prop: int, device: int) -> int:  # noqa: N802
        ctypes.memset(prop, 0x55, PROPERTIES_BYTES[self.runtime // 1000])
        ctypes.memmove(prop, self.gpu.name.encode() + b"\0rest", len(self.gpu.name) + 5)
        return OK

    def cudaDeviceGetAttribute(self, value: Any, attr: int, device: int) -> int:  # noqa: N802
        values = {75: self.gpu.sm // 10, 76: self.gpu.sm % 10, 18: int(self.gpu.integrated), 19: 1}
        value[0] = values[attr]
        return OK

    def cudaDriverGetVersion(self, driverVersion: Any) -> int:  # noqa: N802, N803
        major, minor = map(int, self.gpu.cuda.split("."))
        driverVersion[0] = major * 1000 + minor * 10
        return OK

    def cudaRuntimeGetVersion(self, runtimeVersion: Any) -> int:  # noqa: N802, N803
        runtimeVersion[0] = self.runtime
        return OK

    def cudaMemGetInfo(self, free: Any, total: Any) -> int:  # noqa: N802
        free[0], total[0] = self.gpu.free_mib << 20, self.gpu.memory_mib << 20
        return OK

    def cudaGetLastError(self) -> int:  # noqa: N802
        return OK

    def cudaGetErrorName(self, error: int) -> int:  # noqa: N802
        return ctypes.addressof(self._texts[error])

    def cudaGetErrorString(self, error: int) -> int:  # noqa: N802
        return ctypes.addressof(self._texts[error])

    def cudaHostAlloc(self, pHost: Any, size: int, flags: int) -> int:  # noqa: N802, N803
        assert flags == cudart.HOST_ALLOC_MAPPED
        pHost[0] = self._allocate(self.host, size)
        return OK

    def cudaMalloc(self, devPtr: Any, size: int) -> int:  # noqa: N802, N803
        if size > self.gpu.memory_mib << 20:
            return CudaError.cudaErrorMemoryAllocation
        devPtr[0] = self._allocate(self.device, size)
        return OK

    def cudaHostGetDevicePointer(self, pDevice: Any, pHost: int, flags: int) -> int:  # noqa: N802, N803
        assert self.maps
        assert flags == 0
        pDevice[0] = self.region(self.host, pHost, 1)
        return OK

    def cudaFreeHost(self, ptr: int) -> int:  # noqa: N802
        del self.host[ptr]
        return OK

    def cudaFree(self, devPtr: int) -> int:  # noqa: N802, N803
        del self.device[devPtr]
        return OK

    def cudaStreamCreateWithFlags(self, pStream: Any, flags: int) -> int:  # noqa: N802, N803
        pStream[0] = handle = self._handle()
        self.queued[handle] = []
        return OK

    def cudaStreamDestroy(self, stream: int) -> int:  # noqa: N802
        del self.queued[stream]
        return OK

    def cudaStreamSynchronize(self, stream: int) -> int:  # noqa: N802
        queue = self.queued[stream]
        while queue:
            queue.pop(0)()
        return OK

    def cudaMemcpyAsync(self, dst: int, src: int, count: int, kind: int, stream: int) -> int:  # noqa: N802
        self.order.append(("copy", stream))
        if kind == MEMCPY_DEFAULT:
            target, source = self._anywhere(dst, count), self._anywhere(src, count)
        else:
            to_device = kind == cudart.MEMCPY_HOST_TO_DEVICE
            assert to_device or kind == cudart.MEMCPY_DEVICE_TO_HOST
            target = self.region(self.device if to_device else self.host, dst, count)
            loose = to_device and self.pageable
            source = src if loose else self.region(self.host if to_device else self.device, src, count)

        def copy() -> None:
            ctypes.memmove(target, source, count)

        self.work(stream, copy)
        return OK

    def cudaEventCreateWithFlags(self, event: Any, flags: int) -> int:  # noqa: N802
        event[0] = handle = self._handle()
        self.events[handle] = []
        return OK

    def cudaEventRecord(self, event: int, stream: int) -> int:  # noqa: N802
        def stamp() -> None:
            self.clock_ms += 0.5
            self.events[event].append(self.clock_ms)

        self.order.append(("event", stream))
        self.events[event].clear()
        self.recorded_on[event] = stream
        self.work(stream, stamp)
        return OK

    def cudaEventSynchronize(self, event: int) -> int:  # noqa: N802
        # Other streams may be slower: what they have queued is not done.
        stream = self.recorded_on[event]
        self.order.append(("wait", stream))
        while not self.events[event]:
            self.queued[stream].pop(0)()
        return OK

    def cudaEventElapsedTime(self, ms: Any, start: int, end: int) -> int:  # noqa: N802
        ms[0] = self.events[end][0] - self.events[start][0]
        return OK

    def cudaEventDestroy(self, event: int) -> int:  # noqa: N802
        del self.events[event]
        return OK

    def cudaStreamBeginCapture(self, stream: int, mode: int) -> int:  # noqa: N802
        assert mode == cudart.CAPTURE_MODE_THREAD_LOCAL
        self.capturing[stream] = []
        return OK

    def cudaStreamEndCapture(self, stream: int, pGraph: Any) -> int:  # noqa: N802, N803
        pGraph[0] = handle = self._handle()
        self.graphs[handle] = self.capturing.pop(stream)
        return OK

    def cudaGraphInstantiateWithFlags(self, pGraphExec: Any, graph: int, flags: int) -> int:  # noqa: N802, N803
        assert flags == 0
        pGraphExec[0] = handle = self._handle()
        self.executables[handle] = self.graphs[graph]
        return OK

    def cudaGraphLaunch(self, graphExec: int, stream: int) -> int:  # noqa: N802, N803
        self.order.append(("launch", stream))
        for work in self.executables[graphExec]:
            self.work(stream, work)
        return OK

    def cudaGraphDestroy(self, graph: int) -> int:  # noqa: N802
        del self.graphs[graph]
        return OK

    def cudaGraphExecDestroy(self, graphExec: int) -> int:  # noqa: N802, N803
        del self.executables[graphExec]
        return OK

    def _anywhere(self, pointer: int, size: int) -> int:
        return self.region({**self.host, **self.device}, pointer, size)

    def _allocate(self, memory: dict[int, Any], size: int) -> int:
        piece = (ctypes.c_uint8 * size)()
        ctypes.memset(piece, 0xAA, size)
        pointer = ctypes.addressof(piece)
        memory[pointer] = piece
        return pointer

    def _handle(self) -> int:
        self._next += 1
        return self._next
