"""Simulates CUDA's runtime in host memory, to test our use of it without a GPU.

It is stricter than the device: work that is queued is done only when something waits for it, host and device memory are
kept apart, every address is checked, and what is not given back is counted. Its functions have the parameters of the
real bindings; ``test_cuda.py`` holds them against those.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from cuda.bindings import runtime as real

from edgevision.device.gpu import GpuFacts

RUNTIME = 12090
"""The CUDA of the bindings, as they number it."""
OK = (real.cudaError_t.cudaSuccess,)
Work = Callable[[], None]


class HostCudart:
    """Stands in for ``cuda.bindings.runtime``; what is no call, its enums and names of errors, is the real one's."""

    def __init__(self, gpu: GpuFacts) -> None:
        self.gpu = gpu
        self.integrated = gpu.integrated
        self.pageable = False
        """Let copies to the device begin in memory that is not pinned: CUDA can, our sessions never do it."""
        self.fails: dict[str, Any] = {}
        """Calls that are to fail, with the error that they answer."""
        self.calls: list[str] = []
        self.host: dict[int, Any] = {}
        self.device: dict[int, Any] = {}
        self.queued: dict[int, list[Work]] = {}
        self.capturing: dict[int, list[Work]] = {}
        self.graphs: dict[int, list[Work]] = {}
        self.executables: dict[int, list[Work]] = {}
        self.events: dict[int, list[float]] = {}
        self.clock_ms = 0.0
        self.gpu_count = 1
        self.selected: list[int] = []
        """GPUs in the order of their selection."""
        self.threads: set[int] = set()
        """Those that have a current context, as far as libraries see it."""
        self._next = 1000
        self._lock = threading.RLock()

    def __getattribute__(self, name: str) -> Any:
        attribute = object.__getattribute__(self, name)
        if not name.startswith("cuda"):
            return attribute

        def call(*arguments: Any) -> Any:
            with self._lock:
                self.calls.append(name)
                return (self.fails[name],) if name in self.fails else attribute(*arguments)

        return call

    def __getattr__(self, name: str) -> Any:
        if name.startswith("cuda"):
            return getattr(real, name)
        raise AttributeError(name)

    def held(self) -> int:
        """How many things were made and not given back."""
        made: tuple[dict[int, Any], ...] = (self.host, self.device, self.queued, self.graphs)
        return sum(len(things) for things in (*made, self.executables, self.events))

    def work(self, stream: int, work: Work) -> None:
        """Queue work, or let a capture take it."""
        with self._lock:
            (self.capturing[stream] if stream in self.capturing else self.queued[stream]).append(work)

    def region(self, memory: dict[int, Any], pointer: int, size: int) -> int:
        """The address if `size` bytes from it lie in one piece of that memory."""
        for start, piece in memory.items():
            if start <= pointer and pointer + size <= start + ctypes.sizeof(piece):
                return pointer
        raise AssertionError(f"{size} bytes at {pointer} are not in that memory")

    def cudaSetDevice(self, device: int) -> tuple[Any, ...]:  # noqa: N802  # as CUDA calls it, like all below
        assert device < self.gpu_count
        self.threads.add(threading.get_ident())
        self.selected.append(device)
        return OK

    def cudaGetDeviceProperties(self, device: int) -> tuple[Any, ...]:  # noqa: N802
        return *OK, SimpleNamespace(name=self.gpu.name.encode() + b"\0rest")

    def cudaDeviceGetAttribute(self, attr: Any, device: int) -> tuple[Any, ...]:  # noqa: N802
        values = {
            "cudaDevAttrComputeCapabilityMajor": self.gpu.sm // 10,
            "cudaDevAttrComputeCapabilityMinor": self.gpu.sm % 10,
            "cudaDevAttrIntegrated": int(self.gpu.integrated),
            "cudaDevAttrCanMapHostMemory": 1,
        }
        return *OK, values[attr.name]

    def cudaDriverGetVersion(self) -> tuple[Any, ...]:  # noqa: N802
        major, minor = map(int, self.gpu.cuda.split("."))
        return *OK, major * 1000 + minor * 10

    def cudaRuntimeGetVersion(self) -> tuple[Any, ...]:  # noqa: N802
        return *OK, RUNTIME

    def cudaMemGetInfo(self) -> tuple[Any, ...]:  # noqa: N802
        return *OK, self.gpu.free_mib << 20, self.gpu.memory_mib << 20

    def cudaGetLastError(self) -> tuple[Any, ...]:  # noqa: N802
        return OK

    def cudaHostAlloc(self, size: int, flags: int) -> tuple[Any, ...]:  # noqa: N802
        return *OK, self._allocate(self.host, size)

    def cudaMalloc(self, size: int) -> tuple[Any, ...]:  # noqa: N802
        return *OK, self._allocate(self.device, size)

    def cudaHostGetDevicePointer(self, pHost: int, flags: int) -> tuple[Any, ...]:  # noqa: N802, N803
        assert self.integrated
        return *OK, self.region(self.host, pHost, 1)

    def cudaFreeHost(self, ptr: int) -> tuple[Any, ...]:  # noqa: N802
        del self.host[ptr]
        return OK

    def cudaFree(self, devPtr: int) -> tuple[Any, ...]:  # noqa: N802, N803
        del self.device[devPtr]
        return OK

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Any, ...]:  # noqa: N802
        handle = self._handle()
        self.queued[handle] = []
        return *OK, real.cudaStream_t(handle)

    def cudaStreamDestroy(self, stream: Any) -> tuple[Any, ...]:  # noqa: N802
        del self.queued[int(stream)]
        return OK

    def cudaStreamSynchronize(self, stream: Any) -> tuple[Any, ...]:  # noqa: N802
        queue = self.queued[int(stream)]
        while queue:
            queue.pop(0)()
        return OK

    def cudaMemcpyAsync(  # noqa: N802
        self, dst: int, src: int, count: int, kind: Any, stream: Any
    ) -> tuple[Any, ...]:
        to_device = kind == real.cudaMemcpyKind.cudaMemcpyHostToDevice
        target = self.region(self.device if to_device else self.host, dst, count)
        loose = to_device and self.pageable
        source = src if loose else self.region(self.host if to_device else self.device, src, count)

        def copy() -> None:
            ctypes.memmove(target, source, count)

        self.work(int(stream), copy)
        return OK

    def cudaEventCreateWithFlags(self, flags: int) -> tuple[Any, ...]:  # noqa: N802
        handle = self._handle()
        self.events[handle] = []
        return *OK, real.cudaEvent_t(handle)

    def cudaEventRecord(self, event: Any, stream: Any) -> tuple[Any, ...]:  # noqa: N802
        def stamp() -> None:
            self.clock_ms += 0.5
            self.events[int(event)].append(self.clock_ms)

        self.events[int(event)].clear()
        self.work(int(stream), stamp)
        return OK

    def cudaEventSynchronize(self, event: Any) -> tuple[Any, ...]:  # noqa: N802
        for stream, queue in self.queued.items():
            while not self.events[int(event)] and queue:
                self.queued[stream].pop(0)()
        return OK

    def cudaEventElapsedTime(self, start: Any, end: Any) -> tuple[Any, ...]:  # noqa: N802
        return *OK, self.events[int(end)][0] - self.events[int(start)][0]

    def cudaEventDestroy(self, event: Any) -> tuple[Any, ...]:  # noqa: N802
        del self.events[int(event)]
        return OK

    def cudaStreamBeginCapture(self, stream: Any, mode: Any) -> tuple[Any, ...]:  # noqa: N802
        self.capturing[int(stream)] = []
        return OK

    def cudaStreamEndCapture(self, stream: Any) -> tuple[Any, ...]:  # noqa: N802
        handle = self._handle()
        self.graphs[handle] = self.capturing.pop(int(stream))
        return *OK, real.cudaGraph_t(handle)

    def cudaGraphInstantiate(self, graph: Any, flags: int) -> tuple[Any, ...]:  # noqa: N802
        handle = self._handle()
        self.executables[handle] = self.graphs[int(graph)]
        return *OK, real.cudaGraphExec_t(handle)

    def cudaGraphLaunch(self, graphExec: Any, stream: Any) -> tuple[Any, ...]:  # noqa: N802, N803
        for work in self.executables[int(graphExec)]:
            self.work(int(stream), work)
        return OK

    def cudaGraphDestroy(self, graph: Any) -> tuple[Any, ...]:  # noqa: N802
        del self.graphs[int(graph)]
        return OK

    def cudaGraphExecDestroy(self, graphExec: Any) -> tuple[Any, ...]:  # noqa: N802, N803
        del self.executables[int(graphExec)]
        return OK

    def _allocate(self, memory: dict[int, Any], size: int) -> int:
        piece = (ctypes.c_uint8 * size)()
        ctypes.memset(piece, 0xAA, size)
        pointer = ctypes.addressof(piece)
        memory[pointer] = piece
        return pointer

    def _handle(self) -> int:
        self._next += 1
        return self._next
