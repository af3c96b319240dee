"""Calls of ONNX Runtime's CUDA provider, captured as CUDA graphs: one for each batch size and calling thread.

With the provider option ``enable_cuda_graph``, ONNX Runtime runs a call twice, captures it and replays it, all in the
first call of a thread with a new ``gpu_graph_id``. Later calls with that number only replay. A call with -1 is not
captured. Sources: ``onnxruntime_run_options_config_keys.h``, ``cuda_execution_provider.cc`` and
``inference_session.cc``.

* Captured graphs belong to the calling thread (``PerThreadContext``).
* The session is refused if nodes are on the CPU, except for computations of shapes, or if the graph has control flow.
* During a capture, calls of CUDA that allocate or wait fail in all threads (``cudaStreamCaptureModeGlobal``), and they
  spoil the capture.
* A kernel that reads host memory of its own may be replayed with other content. So a replay is compared with a plain
  call.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator, Mapping

import numpy as np
import onnxruntime as ort

from edgevision.contract.inputs import Arrays
from edgevision.contract.results import Outputs
from edgevision.contract.session import Frames
from edgevision.contract.spec import ModelSpec
from edgevision.engines.ort_bindings import Binding
from edgevision.engines.tensorrt.versions import version_numbers
from edgevision.errors import first_line
from edgevision.verification.comparison import compare_answers

LOG = logging.getLogger(__name__)

LIMIT = 8
"""Captured graphs of one session and thread. Each holds its kernels' parameters in device memory."""
THREADS = 4
"""Threads of one session that may capture: ONNX Runtime may keep the graphs of a thread that has ended."""
ATTEMPTS = 2
"""Captures of one size in one thread: another thread's call of CUDA can spoil the first."""
NUMBERED_SINCE = (1, 18)
"""First version with several graphs in one session, and with calls that are not captured."""
GRAPH_ID = "gpu_graph_id"
"""Run option: the number of a captured graph. 0 is reserved."""
NOT_CAPTURED = -1


class CaptureGate:
    """Lets any number of calls run at once, or one capture alone; a waiting capture comes first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._calls = 0
        self._captures = 0
        """Captures that run or wait."""
        self._capturing = False

    @contextlib.contextmanager
    def call(self) -> Iterator[None]:
        """Context of a call, or of anything else that calls CUDA."""
        with self._changed:
            self._changed.wait_for(lambda: not self._captures)
            self._calls += 1
        try:
            yield
        finally:
            with self._changed:
                self._calls -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def capture(self) -> Iterator[None]:
        """Context of a capture."""
        with self._changed:
            self._captures += 1
            self._changed.wait_for(lambda: not self._calls and not self._capturing)
            self._capturing = True
        try:
            yield
        finally:
            with self._changed:
                self._captures -= 1
                self._capturing = False
                self._changed.notify_all()


GATE = CaptureGate()
"""Of the process: a capture affects all sessions."""


class Captures:
    """Runs the bindings of one session; its owner lets one call run at a time."""

    def __init__(
        self, inference: ort.InferenceSession, spec: ModelSpec, objection: str | None, limit: int = LIMIT
    ) -> None:
        """`objection` is the reason why nothing is captured; the session is then an ordinary one."""
        self.objection = objection
        self.failures: dict[int, str] = {}
        """Batch sizes that could not be captured, with reasons; they are not tried again."""
        self._inference = inference
        self._spec = spec
        self._limit = limit
        self._own = threading.local()
        self._threads = 0
        """Threads that have captured."""
        self._sizes: set[int] = set()

    def captures_now(self, count: int) -> bool:
        """True if this thread's next call with `count` rows captures: it must run in `CaptureGate.capture`."""
        if self.objection is not None or count in self.failures:
            return False
        own = self._captured()
        return count not in own and len(own) < self._limit and (bool(own) or self._threads < THREADS)

    def run(self, bindings: Mapping[int, Binding], arrays: Arrays) -> None:
        """Send a batch to the binding of their number and run it. Raises ONNX Runtime's errors."""
        count = len(arrays[0])
        bindings[count].send(arrays)
        if self.captures_now(count):
            self._capture(bindings, arrays)
        else:
            self._run(bindings[count], count if count in self._captured() else NOT_CAPTURED)

    @property
    def note(self) -> str:
        """One line for records."""
        if self.objection is not None:
            return f"no CUDA graph: {self.objection}"
        sizes = ", ".join(map(str, sorted(self._sizes))) or "none yet"
        failed = "".join(f"; batch {count}: {why}" for count, why in sorted(self.failures.items()))
        return f"CUDA graphs for batches of {sizes} (at most {self._limit}){failed}"

    def _captured(self) -> set[int]:
        """The sizes that the calling thread has captured."""
        found: set[int] = self._own.__dict__.setdefault("sizes", set())
        return found

    def _run(self, binding: Binding, graph_id: int) -> None:
        if self.objection is not None:
            self._inference.run_with_iobinding(binding.io)
            return
        options = ort.RunOptions()
        options.add_run_config_entry(GRAPH_ID, str(graph_id))
        self._inference.run_with_iobinding(binding.io, options)

    def _capture(self, bindings: Mapping[int, Binding], arrays: Arrays) -> None:
        """Capture a size if its replays equal plain calls; otherwise the outputs are a plain call's."""
        count = len(arrays[0])
        binding = bindings[count]
        self._run(binding, NOT_CAPTURED)
        expected = _copied(binding.receive())
        for _ in range(ATTEMPTS):
            try:
                self._run(binding, count)
                equal = self._replays(binding, arrays, expected)
            except Exception as error:  # ONNX Runtime's errors share no base class
                self.failures[count] = first_line(error)
                continue
            if equal:
                self.failures.pop(count, None)
                self._threads += not self._captured()
                self._captured().add(count)
                self._sizes.add(count)
                self._check_others(bindings, count)
                return
            self.failures[count] = "a replay differs from a plain call"
            break
        LOG.warning("batches of %d are not captured: %s", count, self.failures[count])
        binding.send(arrays)
        self._run(binding, NOT_CAPTURED)

    def _replays(self, binding: Binding, arrays: Arrays, expected: Outputs) -> bool:
        """True if replays equal plain calls: of the negative, so that repeated outputs show, then of the batch."""
        binding.send(other_batch(arrays))
        self._run(binding, NOT_CAPTURED)
        negative = _copied(binding.receive())
        self._run(binding, len(arrays[0]))
        equal = self._agree(negative, binding.receive())
        binding.send(arrays)
        self._run(binding, len(arrays[0]))
        return self._agree(expected, binding.receive()) and equal

    def _check_others(self, bindings: Mapping[int, Binding], count: int) -> None:
        """Replay this thread's other sizes, whose inputs and outputs are still those of their last calls."""
        for other in sorted(self._captured() - {count}):
            expected = _copied(bindings[other].receive())
            self._run(bindings[other], other)
            if not self._agree(expected, bindings[other].receive()):
                self._captured().discard(other)
                self._sizes.discard(other)
                self.failures[other] = f"its replay changed when batches of {count} were captured"
                LOG.warning("batches of %d are no longer replayed: %s", other, self.failures[other])

    def _agree(self, expected: Outputs, found: Outputs) -> bool:
        """Equal bits, or the tolerances of the float graph for kernels that do not add in one order."""
        if all(np.array_equal(one, two, equal_nan=True) for one, two in zip(expected, found, strict=True)):
            return True
        return all(check.passed for check in compare_answers(self._spec, expected, found, "float"))


def other_batch(arrays: Arrays) -> Arrays:
    """Another batch that the graph accepts: inverted frames, or noise of the other sign with the same labels."""
    return tuple(
        negative_of(array) if array.dtype == np.uint8 else -array if array.dtype == np.float32 else array
        for array in arrays
    )


def negative_of(frames: Frames) -> Frames:
    """Other frames that the graph accepts: inverted, except for the last row, which may describe the colour."""
    negative = frames.copy()
    np.bitwise_not(frames[:, :-1], out=negative[:, :-1])
    return negative


def capture_objection(version: str) -> str | None:
    """The reason why this version of ONNX Runtime cannot capture; None if it can."""
    if version_numbers(version) >= NUMBERED_SINCE:
        return None
    least = ".".join(map(str, NUMBERED_SINCE))
    return f"ONNX Runtime {version} captures one batch size only; update onnxruntime-gpu to {least} or newer"


def _copied(outputs: Outputs) -> Outputs:
    return tuple(np.array(array) for array in outputs)
