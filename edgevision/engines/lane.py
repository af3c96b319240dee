"""One execution context of an engine with all that a call needs, made once: stream, buffers, events, captured graph."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgevision.engines.cuda import CapturedGraph, DeviceBuffer, Event, HostBuffer, Stream
from edgevision.errors import EngineError
from edgevision.results import Outputs
from edgevision.session import Frames
from edgevision.spec import ModelSpec

if TYPE_CHECKING:
    import tensorrt as trt

FRAMES = "frames"


@dataclass(frozen=True, slots=True, eq=False)
class _Port:
    """A tensor of the engine: pinned memory of the host, and where the device finds it or its copy of it."""

    name: str
    host: npt.NDArray[Any]
    """As long as the largest batch; a smaller one uses its beginning."""
    host_pointer: int
    device_pointer: int
    row_bytes: int
    """Of one frame of the batch."""


class Lane:
    """Runs one batch after another; not to be used by two threads at once.

    `zero_copy`: the device works on the host's pinned memory in place, as it can where both share one memory. With a
    static batch the copies and the network are captured once and replayed as one CUDA graph; `why_not_captured` says
    why not where it is not so.
    """

    def __init__(
        self, context: trt.IExecutionContext, spec: ModelSpec, *, zero_copy: bool, spin: bool = True
    ) -> None:
        self.device_ms = 0.0
        """Of the last call, between the device's own events: copy in, network, copy out."""
        self.why_not_captured: str | None = None
        self._context = context
        self._batch = spec.frames.batch
        self._count = 0
        self._zero_copy = zero_copy
        self._graph: CapturedGraph | None = None
        with contextlib.ExitStack() as stack:
            self._stream = stack.enter_context(contextlib.closing(Stream()))
            self._begin = stack.enter_context(contextlib.closing(Event(spin=spin)))
            self._end = stack.enter_context(contextlib.closing(Event(spin=spin)))
            width, height = spec.frames.size_wh
            self._input = self._port(stack, FRAMES, np.dtype(np.uint8), (height, width, 3))
            self._outputs = tuple(
                self._port(stack, tensor.name, np.dtype(tensor.dtype), tensor.shape[1:])
                for tensor in spec.outputs
            )
            self._prepare(stack)
            self._resources = stack.pop_all()

    def run(self, frames: Frames) -> Outputs:
        """One batch; arrays of their own, in the order of the spec's outputs. Raises `EngineError`."""
        count = len(frames)
        np.copyto(self._input.host[:count], frames)
        self._stream.record(self._begin)
        if self._graph is not None:
            self._stream.launch(self._graph)
        else:
            self._set_batch(count)
            self._queue()
        self._stream.record(self._end)
        self._end.wait()
        self.device_ms = self._end.ms_since(self._begin)
        return tuple(port.host[:count].copy() for port in self._outputs)

    def close(self) -> None:
        """Finish what runs, and give everything back; may be called twice."""
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
        if not self._context.set_tensor_address(name, device_pointer):
            raise EngineError(
                f"the engine takes no memory for {name!r}: it has no such tensor, or one elsewhere"
            )
        array = host.array(dtype, (self._batch.max, *row))
        return _Port(name, array, host.pointer, device_pointer, row_bytes)

    def _prepare(self, stack: contextlib.ExitStack) -> None:
        """Run once, for what is set up lazily cannot be captured; then capture."""
        self._input.host[...] = 0
        self._set_batch(self._batch.opt)
        self._queue()
        self._stream.synchronize()
        if not self._batch.static:
            self.why_not_captured = f"the batch varies ({self._batch})"
            return
        try:
            self._graph = stack.enter_context(contextlib.closing(self._stream.capture(self._queue)))
            self._stream.launch(self._graph)
            self._stream.synchronize()
        except EngineError as error:
            self._graph = None
            self.why_not_captured = str(error)

    def _set_batch(self, count: int) -> None:
        if count == self._count:
            return
        if not self._batch.static and not self._context.set_input_shape(
            FRAMES, (count, *self._input.host.shape[1:])
        ):
            raise EngineError(f"the engine refuses a batch of {count}; it was built for {self._batch}")
        self._count = count

    def _queue(self) -> None:
        """Copy in, network, copy out; nothing is waited for."""
        if not self._zero_copy:
            port = self._input
            self._stream.copy_to_device(port.device_pointer, port.host_pointer, port.row_bytes * self._count)
        if not self._context.execute_async_v3(self._stream.pointer):
            raise EngineError("TensorRT could not queue the network")
        if not self._zero_copy:
            for port in self._outputs:
                self._stream.copy_to_host(
                    port.host_pointer, port.device_pointer, port.row_bytes * self._count
                )
