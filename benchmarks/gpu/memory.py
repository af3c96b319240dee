"""Copies through pinned and pageable memory, events, captured graphs, and every call of CUDA's runtime."""

from __future__ import annotations

import contextlib
import statistics
import time
from typing import Any

import numpy as np

from benchmarks.gpu.record import Part
from edgevision.bundle.folder import CheckRecord
from edgevision.device.facts import FactReading
from edgevision.engines.tensorrt import cuda, cudart
from edgevision.engines.tensorrt.cuda import CudaEvent, CudaStream, DeviceBuffer, HostBuffer
from edgevision.errors import EngineError

COPY_BYTES = 64 << 20
LAUNCHES = 1000
TOO_MUCH = 1 << 50
"""More bytes than any GPU has."""
NO_DEVICE = 9999


class _Recorded(dict[str, Any]):
    """The library's functions; notes which ones are used."""

    def __init__(self, functions: dict[str, Any]) -> None:
        super().__init__(functions)
        self.used: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.used.add(name)
        return super().__getitem__(name)


def every_call() -> Part:
    """Call each function that edgevision declares, provoke errors, and use the device afterwards."""
    library = cudart.loaded_cudart()
    before = library._functions
    recorded = _Recorded(before)
    library._functions = recorded
    try:
        device = cuda.cuda_device()
        _use_everything(maps=device.maps_host_memory)
        messages = [_refused(lambda: cuda.use_device(NO_DEVICE)), _refused(lambda: DeviceBuffer(TOO_MUCH))]
        cuda.use_device(0)
        usable = _bytes_survive()
    finally:
        library._functions = before
    missed = set(cudart.SIGNATURES) - recorded.used
    if not device.maps_host_memory:
        missed.discard("cudaHostGetDevicePointer")
    wanted = ("cudaErrorInvalidDevice", "cudaErrorMemoryAllocation")
    unnamed = sum(name not in message for name, message in zip(wanted, messages, strict=True))
    return Part(
        "every call of CUDA",
        checks=(
            CheckRecord("declared functions that were not called", float(len(missed)), "<=", 0.0),
            CheckRecord("errors without their name", float(unnamed), "<=", 0.0),
            CheckRecord("bytes copied rightly after the errors", float(usable), ">=", 1.0),
        ),
        notes=(*sorted(missed), *messages),
    )


def _use_everything(*, maps: bool) -> None:
    with contextlib.ExitStack() as stack:
        host = stack.enter_context(contextlib.closing(HostBuffer(4096)))
        device = stack.enter_context(contextlib.closing(DeviceBuffer(4096)))
        stream = stack.enter_context(contextlib.closing(CudaStream()))
        first = stack.enter_context(contextlib.closing(CudaEvent()))
        last = stack.enter_context(contextlib.closing(CudaEvent(spin=False)))
        if maps:
            host.device_pointer()
        stream.record(first)
        graph = stream.capture(lambda: stream.copy_to_device(device.pointer, host.pointer, 4096))
        stack.enter_context(contextlib.closing(graph))
        stream.launch(graph)
        stream.copy_to_host(host.pointer, device.pointer, 4096)
        stream.record(last)
        last.wait()
        last.ms_since(first)

        def broken() -> None:
            stream.copy_to_device(device.pointer, host.pointer, 4096)
            raise EngineError("on purpose")

        with contextlib.suppress(EngineError):
            stream.capture(broken)
        stream.synchronize()


def _refused(call: Any) -> str:
    """The message of a call that must fail."""
    try:
        call()
    except EngineError as error:
        return str(error)
    return "no error"


def _bytes_survive() -> bool:
    with contextlib.ExitStack() as stack:
        there, back = (stack.enter_context(contextlib.closing(HostBuffer(256))) for _ in range(2))
        device = stack.enter_context(contextlib.closing(DeviceBuffer(256)))
        stream = stack.enter_context(contextlib.closing(CudaStream()))
        byte = np.dtype(np.uint8)
        there.array(byte, (256,))[:] = np.arange(256)
        stream.copy_to_device(device.pointer, there.pointer, 256)
        stream.copy_to_host(back.pointer, device.pointer, 256)
        stream.synchronize()
        return bool(np.array_equal(back.array(byte, (256,)), np.arange(256)))


def copies() -> Part:
    """Copy bytes to the device and back through pinned and through pageable memory."""
    with contextlib.ExitStack() as stack:
        there, back = (stack.enter_context(contextlib.closing(HostBuffer(COPY_BYTES))) for _ in range(2))
        device = stack.enter_context(contextlib.closing(DeviceBuffer(COPY_BYTES)))
        stream = stack.enter_context(contextlib.closing(CudaStream()))
        begin, middle, end = (stack.enter_context(contextlib.closing(CudaEvent())) for _ in range(3))
        byte = np.dtype(np.uint8)
        sent, received = there.array(byte, (COPY_BYTES,)), back.array(byte, (COPY_BYTES,))
        sent[:] = np.random.default_rng(0).integers(0, 256, COPY_BYTES, np.uint8)
        wall_ns = []
        for _ in range(10):
            received[:] = 0
            began = time.perf_counter_ns()
            stream.record(begin)
            stream.copy_to_device(device.pointer, there.pointer, COPY_BYTES)
            stream.record(middle)
            stream.copy_to_host(back.pointer, device.pointer, COPY_BYTES)
            stream.record(end)
            end.wait()
            wall_ns.append(time.perf_counter_ns() - began)
        to_ms, from_ms = middle.ms_since(begin), end.ms_since(middle)
        different = float(np.count_nonzero(sent != received))
        loose = sent.copy()
        began = time.perf_counter_ns()
        stream.copy_to_device(device.pointer, loose.ctypes.data, COPY_BYTES)
        stream.synchronize()
        loose_ms = (time.perf_counter_ns() - began) / 1e6
    share = (to_ms + from_ms) / (wall_ns[-1] / 1e6)
    gib = COPY_BYTES / 2**30
    return Part(
        "copies and events",
        checks=(
            CheckRecord("bytes that differ after the copies", different, "<=", 0.0),
            CheckRecord("device time over wall time of the same copies", share, "<=", 1.02),
            CheckRecord("device time over wall time, from below", share, ">=", 0.80),
        ),
        figures=(
            FactReading("to the device, pinned, GiB/s", gib / to_ms * 1e3),
            FactReading("to the host, pinned, GiB/s", gib / from_ms * 1e3),
            FactReading("to the device, not pinned, GiB/s", gib / loose_ms * 1e3),
        ),
        samples_ns=tuple(wall_ns),
    )


def graphs() -> Part:
    """Eight small copies, queued one by one and launched as one captured graph: same bytes, less CPU time."""
    size, count = 4096, 8
    one_by_one: list[int] = []
    replayed: list[int] = []
    different = 0
    with contextlib.ExitStack() as stack:
        there, back = (stack.enter_context(contextlib.closing(HostBuffer(size))) for _ in range(2))
        device = stack.enter_context(contextlib.closing(DeviceBuffer(size)))
        stream = stack.enter_context(contextlib.closing(CudaStream()))
        byte = np.dtype(np.uint8)
        sent, received = there.array(byte, (size,)), back.array(byte, (size,))

        def queue() -> None:
            for _ in range(count // 2):
                stream.copy_to_device(device.pointer, there.pointer, size)
                stream.copy_to_host(back.pointer, device.pointer, size)

        graph = stack.enter_context(contextlib.closing(stream.capture(queue)))
        for step in range(LAUNCHES):
            sent[:] = step % 251
            for times, work in ((one_by_one, queue), (replayed, lambda: stream.launch(graph))):
                received[:] = 255
                began = time.perf_counter_ns()
                work()
                times.append(time.perf_counter_ns() - began)
                stream.synchronize()
                different += int(np.count_nonzero(received != step % 251))
    return Part(
        "captured graphs",
        checks=(CheckRecord("bytes that differ after a replay", float(different), "<=", 0.0),),
        figures=(
            FactReading("queueing 8 copies, us", statistics.median(one_by_one) / 1e3),
            FactReading("launching them as a graph, us", statistics.median(replayed) / 1e3),
        ),
        samples_ns=tuple(replayed),
    )
