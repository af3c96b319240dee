"""One stream of an engine with everything that a call needs: contexts, buffers, events and captured graphs."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgevision.contract.inputs import Arrays
from edgevision.contract.results import Outputs, owned_outputs
from edgevision.contract.spec import ModelSpec
from edgevision.engines.pinned import PinnedBatches
from edgevision.engines.tensorrt.contexts import Contexts
from edgevision.engines.tensorrt.cuda import (
    CapturedGraph,
    CudaEvent,
    CudaStream,
    DeviceBuffer,
    HostBuffer,
    memory_mib,
)
from edgevision.engines.tensorrt.replays import Replays
from edgevision.errors import EngineError

if TYPE_CHECKING:
    import tensorrt as trt

MIB = 2.0**20


@dataclass(frozen=True, slots=True, eq=False)
class _Port:
    """A tensor of the engine: pinned host memory, and its device address or device copy."""

    name: str
    host: npt.NDArray[Any]
    """Sized for the largest batch; a smaller batch uses its beginning."""
    host_pointer: int
    device_pointer: int
    row_bytes: int
    """Size of one frame, or of one row of another tensor."""


class ExecutionContext:
    """Runs one batch after another, in a stream of its own; not thread-safe.

    `zero_copy`: the device works on pinned host memory in place, where both share one memory. Inference and the copies
    of its outputs are captured as one CUDA graph for each batch size, after its first call, and replayed.
    `capture_error` holds the reason if there is no graph.
    """

    def __init__(
        self,
        contexts: Contexts,
        spec: ModelSpec,
        pinned: PinnedBatches,
        *,
        zero_copy: bool,
        spin: bool = True,
    ) -> None:
        """`pinned` finds frames that need no copy on the host; all contexts of a session share it."""
        self.device_ms = 0.0
        """Duration of the last call between device events: copy in, inference, copy out."""
        self.capture_error: str | None = None
        self.graphs_mib = 0
        """Growth of used device memory during captures, as CUDA reports it."""
        self._contexts = contexts
        self._spec = spec
        self._batch = spec.batch
        self._count = 0
        self._zero_copy = zero_copy
        self._pinned = pinned
        self._started = (0, False)
        """Rows of the batch in progress, and whether it runs without a graph."""
        self.replays = Replays()
        with contextlib.ExitStack() as stack:
            self._stream = stack.enter_context(contextlib.closing(CudaStream()))
            self._begin = stack.enter_context(contextlib.closing(CudaEvent(spin=spin)))
            self._end = stack.enter_context(contextlib.closing(CudaEvent(spin=spin)))
            self._activations: int | None = None
            if contexts.memory_bytes is not None:
                memory = stack.enter_context(contextlib.closing(DeviceBuffer(contexts.memory_bytes)))
                self._activations = memory.pointer
            self._context = contexts.make(self._activations)
            self._inputs, self._outputs = (
                tuple(self._port(stack, t.name, np.dtype(t.dtype), t.shape[1:]) for t in tensors)
                for tensors in (spec.inputs, spec.outputs)
            )
            stack.enter_context(contextlib.closing(self.replays))
            self._prepare()
            self._resources = stack.pop_all()

    def start(self, arrays: Arrays) -> None:
        """Queue one batch without waiting; `finish` must follow before the next one. Raises `EngineError`.

        Frames in a batch of `new_batch` are read until `finish` returns; others are copied here.
        """
        count = len(arrays[0])
        sources = [
            (port, self._source(port, array), array.nbytes)
            for port, array in zip(self._inputs, arrays, strict=True)
        ]
        graph = self.replays.find(count)
        if graph is None:
            self._set_batch(count)
        self._stream.record(self._begin)
        if not self._zero_copy:
            # Not part of a graph, which would have one source only.
            for port, source, size in sources:
                self._stream.copy_to_device(port.device_pointer, source, size)
        if graph is not None:
            self._stream.launch(graph)
        else:
            self._queue(self._context, count)
        self._stream.record(self._end)
        self._started = (count, graph is None)

    def _source(self, port: _Port, array: npt.NDArray[Any]) -> int:
        """Address of an input in pinned memory, where it is copied to if it lies elsewhere."""
        source = self._pinned.pointer_of(array)
        if source is None:
            np.copyto(port.host[: len(array)], array)
            source = port.host_pointer
        return source

    def finish(self) -> Outputs:
        """Wait for the batch of `start`; returns new arrays in the order of the spec's outputs.

        Raises `EngineError`.
        """
        count, uncaptured = self._started
        self._end.wait()
        self.device_ms = self._end.ms_since(self._begin)
        answers = owned_outputs(self._spec, tuple(port.host[:count] for port in self._outputs))
        if uncaptured and self.capture_error is None:
            self._capture(count)
        return answers

    def run_profiled(self, arrays: Arrays, profiler: trt.IProfiler) -> None:
        """Run one batch without a CUDA graph; `profiler` receives the time of each layer. Raises `EngineError`.

        The context keeps the profiler, so do not use it for other calls afterwards.
        """
        count = len(arrays[0])
        for port, array in zip(self._inputs, arrays, strict=True):
            np.copyto(port.host[:count], array)
        self._context.profiler = profiler
        self._set_batch(count)
        self._stream.record(self._begin)
        if not self._zero_copy:
            for port in self._inputs:
                self._stream.copy_to_device(port.device_pointer, port.host_pointer, port.row_bytes * count)
        self._queue(self._context, count)
        self._stream.record(self._end)
        self._end.wait()
        self.device_ms = self._end.ms_since(self._begin)

    def graph_note(self) -> str:
        """One line on the use of CUDA graphs, for records."""
        if self._contexts.captured_by_library:
            return self._contexts.library_note
        if self.capture_error is not None:
            return f"no CUDA graph: {self.capture_error}"
        if self._batch.static:
            return "replayed as one CUDA graph"
        sizes = ", ".join(map(str, self.replays.sizes)) or "none yet"
        shared = f"{(self._contexts.memory_bytes or 0) / MIB:.1f} MiB of activations shared"
        taken = f", about {self.graphs_mib} MiB for the graphs" if self.graphs_mib else ""
        failed = "".join(f"; batch {n}: {why}" for n, why in sorted(self.replays.failures.items()))
        return f"CUDA graphs for batches of {sizes} (at most {self.replays.limit}), {shared}{taken}{failed}"

    def close(self) -> None:
        """Finish queued work and release everything; may be called twice."""
        self._resources.close()

    def _port(
        self, stack: contextlib.ExitStack, name: str, dtype: np.dtype[Any], row: tuple[int, ...]
    ) -> _Port:
        row_bytes = math.prod(row) * dtype.itemsize
        size = row_bytes * self._batch.max
        host = stack.enter_context(contextlib.closing(HostBuffer(size)))
        if self._zero_copy:
            device_pointer = host.device_pointer()
        else:
            device_pointer = stack.enter_context(contextlib.closing(DeviceBuffer(size))).pointer
        array = host.array(dtype, (self._batch.max, *row))
        port = _Port(name, array, host.pointer, device_pointer, row_bytes)
        _bind(self._context, port)
        return port

    def _prepare(self) -> None:
        """Run once, because lazy initialization cannot be captured; then capture the usual batch size."""
        for port in self._inputs:
            port.host[...] = 0
        self._set_batch(self._batch.opt)
        if not self._zero_copy:
            for port in self._inputs:
                size = port.row_bytes * self._batch.opt
                self._stream.copy_to_device(port.device_pointer, port.host_pointer, size)
        self._queue(self._context, self._batch.opt)
        self._stream.synchronize()
        self.capture_error = self._contexts.objection(self._context, self._stream)
        if self.capture_error is None:
            self._capture(self._batch.opt)
            if not self.replays.sizes:
                self.capture_error = self.replays.failures[self._batch.opt]

    def _set_batch(self, count: int) -> None:
        if count != self._count:
            self._set_shape(self._context, count)
            self._count = count

    def _set_shape(self, context: trt.IExecutionContext, count: int) -> None:
        if self._batch.static:
            return
        if not all(
            context.set_input_shape(port.name, (count, *port.host.shape[1:])) for port in self._inputs
        ):
            raise EngineError(
                f"the engine does not accept a batch of {count}; it was built for {self._batch}"
            )

    def _capture(self, count: int) -> None:
        """Capture this batch size if there is room; a size that cannot be captured runs without a graph."""
        if not self.replays.has_room(count):
            return
        before_mib, _ = memory_mib()
        try:
            self.replays.add(count, lambda: self._captured(count))
        except EngineError as error:
            self.replays.failures[count] = str(error)
        self.graphs_mib = max(0, self.graphs_mib + before_mib - memory_mib()[0])

    def _captured(self, count: int) -> tuple[CapturedGraph, trt.IExecutionContext]:
        """Returns a graph of this size that has run once, and its context."""
        context = self._context
        if not self._batch.static:
            context = self._contexts.make(self._activations)
            for port in (*self._inputs, *self._outputs):
                _bind(context, port)
            self._set_shape(context, count)
            # The first call after a shape change does internal updates, which must not be captured.
            self._queue(context, count)
            self._stream.synchronize()
        graph = self._stream.capture(lambda: self._queue(context, count))
        try:
            self._stream.launch(graph)
            self._stream.synchronize()
        except EngineError:
            graph.close()
            raise
        return graph, context

    def _queue(self, context: trt.IExecutionContext, count: int) -> None:
        """Queue inference and copy out without waiting."""
        if not context.execute_async_v3(self._stream.pointer):
            raise EngineError("TensorRT could not enqueue the inference")
        if not self._zero_copy:
            for port in self._outputs:
                self._stream.copy_to_host(port.host_pointer, port.device_pointer, port.row_bytes * count)


def _bind(context: trt.IExecutionContext, port: _Port) -> None:
    if not context.set_tensor_address(port.name, port.device_pointer):
        raise EngineError(
            f"the engine does not accept memory for {port.name!r}: it lacks the tensor, or expects it elsewhere"
        )
