"""Sessions of ONNX Runtime: inputs and outputs in ordinary memory, or bound to a provider's memory."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnxruntime as ort

from edgevision.contract.inputs import Arrays, Tensors
from edgevision.contract.results import Outputs, owned_outputs
from edgevision.contract.session import EngineInfo, Frames, Session, aligned_frames
from edgevision.contract.spec import ModelSpec
from edgevision.engines.extra_outputs import CANDIDATES
from edgevision.engines.ort_bindings import Binding, Transfers, transfers_of
from edgevision.engines.ort_captures import GATE, Captures
from edgevision.engines.pinned import PinnedBatches
from edgevision.errors import EngineError, MissingExtraError, first_line

LOG = logging.getLogger(__name__)

_GRAPH_NOTES = ("CUDA graphs ", "no CUDA graph")


class OnnxRuntimeSession(Session):
    """Runs a graph in ONNX Runtime; thread-safe."""

    def __init__(
        self, spec: ModelSpec, info: EngineInfo, inference: ort.InferenceSession, borrowed: list[ort.OrtValue]
    ) -> None:
        super().__init__(spec, info)
        self.open_with_candidates: Callable[[], ort.InferenceSession | None] = lambda: None
        self._with_candidates: ort.InferenceSession | None = None
        self._inference = inference
        self._borrowed = (
            borrowed  # ONNX Runtime reads overriding initializers in place, so they must outlive the session
        )
        self._inputs = [tensor.name for tensor in spec.inputs]
        self._outputs = [tensor.name for tensor in spec.outputs]

    def _infer(self, frames: Frames) -> Outputs:
        return self._answers((frames,))

    def _infer_tensors(self, tensors: Tensors) -> Outputs:
        return self._answers(tensors.arrays)

    def _answers(self, arrays: Arrays) -> Outputs:
        pairs = zip(self._inputs, arrays, strict=True)
        given = {name: np.ascontiguousarray(array) for name, array in pairs}
        try:
            outputs = self._inference.run(self._outputs, given)
        except Exception as error:  # ONNX Runtime's own errors share no base class
            raise EngineError(f"ONNX Runtime failed on {self.spec.name}: {first_line(error)}") from error
        return tuple(outputs)

    def infer_candidates(self, frames: Frames) -> tuple[Outputs, Outputs] | None:
        """Opens the graph a second time, with further outputs, at the first call."""
        self._check_frames(frames)
        try:
            if self._with_candidates is None:
                self._with_candidates = self.open_with_candidates()
            if self._with_candidates is None:
                return None
            names = [*CANDIDATES, *self._outputs]
            found = self._with_candidates.run(names, {"frames": np.ascontiguousarray(frames)})
        except Exception as error:  # as above
            raise EngineError(f"ONNX Runtime failed on {self.spec.name}: {first_line(error)}") from error
        return tuple(found[: len(CANDIDATES)]), tuple(found[len(CANDIDATES) :])


class BoundSession(OnnxRuntimeSession):
    """Keeps inputs and outputs in the provider's memory, allocated once for each batch size.

    Thread-safe; concurrent calls run one after another.
    """

    def __init__(
        self,
        spec: ModelSpec,
        info: EngineInfo,
        inference: ort.InferenceSession,
        borrowed: list[ort.OrtValue],
        device: str,
        captures: Captures | None = None,
    ) -> None:
        """`captures` is None for providers whose calls are never captured."""
        super().__init__(spec, info, inference, borrowed)
        self._device = device
        self.reopen: Callable[[], ort.InferenceSession] | None = None
        """Opens the graph without captured calls."""
        self._broken: list[ort.InferenceSession] = []
        """Sessions that failed after a capture. They are not freed: their stream may still be in the capture."""
        self._captures = captures or Captures(inference, spec, "not with this provider")
        self._noted = captures is not None
        self._pinned = PinnedBatches(info.gpu_index)
        self._transfers: Transfers | None = None
        self._bindings: dict[int, Binding] = {}
        self._lock = threading.Lock()
        self._closed = False

    def new_batch(self, rows: int | None = None) -> Frames:
        """Pinned if the provider's memory is a GPU's."""
        shape = self._batch_shape(rows)
        if self._device == "cuda":
            try:
                with GATE.call():
                    return self._pinned.new(shape)
            except (MissingExtraError, EngineError) as error:  # slower, and equally right
                LOG.debug("batches are not in pinned memory: %s", error)
        return aligned_frames(shape)

    def close(self) -> None:
        """Release the tensors and the memory of copies; the provider's own memory is freed with the session."""
        with self._lock, GATE.call():
            self._closed = True  # captured graphs hold the addresses of the tensors
            self._bindings.clear()
            if self._transfers is not None:
                self._transfers.close()

    def _answers(self, arrays: Arrays) -> Outputs:
        with self._lock:
            if self._closed:
                raise EngineError(f"the session of {self.spec.name} is closed; open it again")
            try:
                if not self._captures.captures_now(len(arrays[0])):
                    with GATE.call():
                        return self._run(arrays)
                with GATE.capture():
                    outputs = self._run(arrays)
                self._note_graphs()
                return outputs
            except Exception as error:  # ONNX Runtime's own errors share no base class
                reason = f"{self.info.engine} failed on {self.spec.name}: {first_line(error)}"
                raise EngineError(reason) from error

    def _run(self, arrays: Arrays) -> Outputs:
        try:
            return self._bound_run(arrays)
        except Exception as error:  # as below
            # The capture of this size failed, and may have left the session unusable.
            if len(arrays[0]) not in self._captures.failures or self.reopen is None:
                raise
            LOG.warning("%s: calls are no longer captured: %s", self.spec.name, first_line(error))
            self._broken.append(self._inference)
            self._bindings.clear()
            self._inference, self.reopen = self.reopen(), None
            self._captures = Captures(self._inference, self.spec, f"a capture failed: {first_line(error)}")
            return self._bound_run(arrays)

    def _bound_run(self, arrays: Arrays) -> Outputs:
        count = len(arrays[0])
        if self._transfers is None:
            self._transfers = transfers_of(self._device, self.info.gpu_index, self._pinned)
        if count not in self._bindings:
            device = (self._device, self.info.gpu_index)
            self._bindings[count] = Binding(self._inference, self.spec, count, device, self._transfers)
        self._captures.run(self._bindings, arrays)
        return owned_outputs(self.spec, self._bindings[count].receive())

    def _note_graphs(self) -> None:
        """Batch sizes are captured on demand: update the note."""
        if self._noted:
            kept = [note for note in self.info.notes if not note.startswith(_GRAPH_NOTES)]
            self.info = replace(self.info, notes=(*kept, self._captures.note))
