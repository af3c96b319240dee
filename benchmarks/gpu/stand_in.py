"""The execution slots of the TensorRT runtime with a stand-in for TensorRT: its context queues a kernel.

Everything else is the runtime's own: buffers, streams, events, captured graphs, slots, the session and its lock.
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from benchmarks.gpu.engines import threads
from benchmarks.gpu.kernels import KernelWork, Work, available_work
from benchmarks.gpu.record import NotHereError, Part
from edgevision.bundle.folder import CheckRecord
from edgevision.contract.session import EngineInfo, Frames, Pending
from edgevision.contract.spec import FRAMES, BatchRange, FrameInput, ModelSpec, Provenance, TensorSpec
from edgevision.device.facts import FactReading
from edgevision.engines.pinned import PinnedBatches
from edgevision.engines.tensorrt import cuda
from edgevision.engines.tensorrt.contexts import Contexts
from edgevision.engines.tensorrt.cuda import CudaStream
from edgevision.engines.tensorrt.execution_context import ExecutionContext
from edgevision.engines.tensorrt.log import Messages
from edgevision.engines.tensorrt.session import LoadedEngine, TensorRtSession
from edgevision.engines.tensorrt.slots import SLOTS, Slots
from edgevision.errors import EngineError

MASK = "mask"
SIDE = 640
BATCHES = {"static": BatchRange(8, 8, 8), "dynamic": BatchRange(1, 4, 8)}
LEAST_GAIN = 1.0
"""Two batches in flight over one, with a kernel."""


class StandInContext:
    """Like `IExecutionContext`, as far as the runtime calls it."""

    def __init__(self, work: Work, spec: ModelSpec) -> None:
        self._work = work
        self._size_wh = spec.frames.size_wh
        self._count = spec.frames.batch.max
        self._addresses: dict[str, int] = {}

    def set_tensor_address(self, name: str, memory: int) -> bool:
        """Bind a tensor."""
        self._addresses[name] = memory
        return True

    def set_input_shape(self, _name: str, shape: Sequence[int]) -> bool:
        """Select the batch size."""
        self._count = shape[0]
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        """Queue the work."""
        width, height = self._size_wh
        frames, mask = self._addresses[FRAMES], self._addresses[MASK]
        self._work.queue(stream_handle, frames, mask, (self._count, height, width))
        return True


class StandInContexts(Contexts):
    """Makes stand-in contexts; they need no activation memory, and every call may be captured."""

    def __init__(self, work: Work, spec: ModelSpec) -> None:
        self._work = work
        self._spec = spec
        self.memory_bytes = None

    @property
    def captured_by_library(self) -> bool:
        """Never."""
        return False

    def make(self, activations: int | None = None) -> Any:
        """A context."""
        assert activations is None
        return StandInContext(self._work, self._spec)

    def objection(self, context: Any, stream: CudaStream) -> None:
        """None."""
        del context, stream


def stand_in_session(
    work: Work, batch: BatchRange, *, zero_copy: bool = False, slots: int = SLOTS, side: int = SIDE
) -> TensorRtSession:
    """A session of the TensorRT runtime whose engine is `work`."""
    provenance = Provenance("none", None, "none", "2026-01-01T00:00:00+00:00")
    outputs = (TensorSpec(MASK, "uint8", (-1, side, side)),)
    spec = ModelSpec(
        "stand-in", "segment", FrameInput((side, side), batch=batch), outputs, ("one",), provenance, None
    )
    pinned = PinnedBatches(0)
    contexts = StandInContexts(work, spec)

    def make() -> ExecutionContext:
        return ExecutionContext(contexts, spec, pinned, zero_copy=zero_copy)

    none = cast(Any, None)
    loaded = LoadedEngine(none, Messages(), none, none, none)
    info = EngineInfo("stand-in", work.name, "cuda", notes=("stand-in",))
    cuda.use_device(0)
    return TensorRtSession(spec, info, loaded, Slots(make, slots), None if zero_copy else pinned)


def slot_part(work: Work, kind: str, *, zero_copy: bool, calls: int, side: int = SIDE) -> Part:
    """Random batches through one slot: every value must be right, captured and not."""
    batch = BATCHES[kind]
    random = np.random.default_rng(0)
    wrong, own_ms = 0, []
    with stand_in_session(work, batch, zero_copy=zero_copy, slots=1, side=side) as session:
        for _ in range(calls):
            count = int(random.integers(batch.min, batch.max + 1))
            frames = random.integers(0, 256, (count, side, side, 3), np.uint8)
            (mask,) = session.infer(frames)
            own_ms.append(session.device_ms or 0.0)
            wrong += not np.array_equal(mask, work.expected(frames))
        (note,) = [note for note in session.info.notes if "CUDA graph" in note]
    how = "mapped memory" if zero_copy else "copied"
    return Part(
        f"slot, {kind} batch, {how}",
        checks=(
            CheckRecord("wrong batches", float(wrong), "<=", 0.0),
            CheckRecord("captured", float(not note.startswith("no CUDA graph")), ">=", 1.0),
        ),
        figures=(FactReading("device time, median ms", statistics.median(own_ms)),),
        notes=(work.name, note),
    )


def overlap_part(work: Work, calls: int, side: int = SIDE) -> Part:
    """The same batches with one and with two in flight, alternately."""
    batch = BATCHES["static"]
    spent: dict[int, list[float]] = {1: [], 2: []}
    wrong = 0
    with stand_in_session(work, batch, side=side) as session:
        ring = [session.new_batch() for _ in range(SLOTS + 1)]
        for number, frames in enumerate(ring):
            frames[...] = np.random.default_rng(number).integers(0, 256, frames.shape, np.uint8)
        expected = [work.expected(frames) for frames in ring]
        for _ in range(4):
            for depth, times in spent.items():
                began = time.perf_counter()
                wrong += _in_flight(session, ring, expected, depth, calls)
                times.append((time.perf_counter() - began) / calls)
    gain = statistics.median(one / two for one, two in zip(spent[1][1:], spent[2][1:], strict=True))
    checks = [CheckRecord("wrong batches", float(wrong), "<=", 0.0)]
    if isinstance(work, KernelWork):
        checks.append(CheckRecord("batches/s with two in flight over one", gain, ">=", LEAST_GAIN))
    return Part(
        "two batches in flight",
        checks=tuple(checks),
        figures=(
            FactReading("one in flight, ms a batch", statistics.median(spent[1][1:]) * 1e3),
            FactReading("two in flight, ms a batch", statistics.median(spent[2][1:]) * 1e3),
            FactReading("two over one", gain),
        ),
        notes=(work.name, f"batches of {batch} frames of {side} x {side}"),
    )


def _in_flight(
    session: TensorRtSession, ring: list[Frames], expected: list[Any], depth: int, calls: int
) -> int:
    """Run batches of the ring; returns how many outputs are wrong."""
    flights: deque[tuple[int, Pending]] = deque()
    wrong = 0
    for step in range(calls + depth):
        if len(flights) >= depth or (step >= calls and flights):
            place, pending = flights.popleft()
            wrong += not np.array_equal(pending.result()[0], expected[place])
        if step < calls:
            flights.append((step % len(ring), session.submit(ring[step % len(ring)])))
    return wrong


def thread_part(work: Work, calls: int, side: int = SIDE) -> Part:
    """Eight threads on one session."""
    batches = tuple(np.full((8, side, side, 3), level, np.uint8) for level in (0, 90, 180, 255))
    with stand_in_session(work, BATCHES["static"], side=side) as session:
        return threads(session, batches, calls)


def slot_parts(calls: int, side: int = SIDE) -> list[Part]:
    """All parts with the kernel of this machine."""
    device = cuda.cuda_device()
    work, missing = available_work(device.sm)
    parts = [
        slot_part(work, kind, zero_copy=zero_copy, calls=calls, side=side)
        for kind in BATCHES
        for zero_copy in ((False, True) if device.maps_host_memory else (False,))
    ]
    parts += [overlap_part(work, calls, side), thread_part(work, calls, side)]
    if missing is not None:
        parts.append(Part("kernel of the stand-in", not_run=missing))
    return parts


def lost_messages() -> list[str]:
    """Lose the GPU; the messages of the call that notices and of the next one. The process is of no use afterwards."""
    work, missing = available_work(cuda.cuda_device().sm)
    if not isinstance(work, KernelWork):
        raise NotHereError(f"a lost device needs a kernel: {missing}")
    stream = CudaStream()
    work.queue_stray(stream.pointer)
    found = []
    for call in (stream.synchronize, lambda: cuda.DeviceBuffer(16)):
        try:
            call()
        except EngineError as error:
            found.append(str(error))
        else:
            found.append("no error")
    return found


def lost_part(messages: Sequence[str]) -> Part:
    """Judge the messages of `lost_messages`."""
    wrong = sum("restart it" not in message for message in messages)
    return Part(
        "lost device",
        checks=(CheckRecord("errors that do not say to restart the process", float(wrong), "<=", 0.0),),
        notes=tuple(messages),
    )
