"""OpenVINO: inference on x86 CPUs."""

from __future__ import annotations

import functools
import queue
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset13

from edgevision.contract.embedded_spec import embedded_spec
from edgevision.contract.overrides import IOU_THRESHOLD, SCORE_FLOOR, refuse_absent
from edgevision.contract.results import Outputs, owned_outputs
from edgevision.contract.session import EngineInfo, Frames, Session, SessionOptions
from edgevision.contract.spec import ModelSpec
from edgevision.engines.extra_outputs import CANDIDATES, graph_with_candidates
from edgevision.errors import EngineError

_POOL = 4
"""Inference requests created in advance; at most this many threads run `infer` at once, more wait."""


class OpenVinoSession(Session):
    """Runs a graph in OpenVINO on the CPU; thread-safe, each call takes a request from a pool."""

    def __init__(self, spec: ModelSpec, info: EngineInfo, compiled: ov.CompiledModel) -> None:
        super().__init__(spec, info)
        self.open_with_candidates: Callable[[], ov.CompiledModel | None] = lambda: None
        self._with_candidates: ov.CompiledModel | None = None
        self._ports = [compiled.output(tensor.name) for tensor in spec.outputs]
        self._requests: queue.SimpleQueue[ov.InferRequest] = queue.SimpleQueue()
        for _ in range(_POOL):
            self._requests.put(compiled.create_infer_request())

    def _infer(self, frames: Frames) -> Outputs:
        request = self._requests.get()
        try:
            # The request reads the frames and returns its outputs in place; only what the caller gets is copied.
            given = {"frames": np.ascontiguousarray(frames)}
            answers = request.infer(given, share_inputs=True, share_outputs=True)
            return owned_outputs(self.spec, tuple(answers[port] for port in self._ports))
        except RuntimeError as error:
            raise EngineError(f"OpenVINO failed on {self.spec.name}: {_last_line(error)}") from error
        finally:
            self._requests.put(request)

    def infer_candidates(self, frames: Frames) -> tuple[Outputs, Outputs] | None:
        """Compiles the graph a second time, with further outputs, at the first call."""
        self._check_frames(frames)
        try:
            if self._with_candidates is None:
                self._with_candidates = self.open_with_candidates()
            if self._with_candidates is None:
                return None
            answers = self._with_candidates({"frames": np.ascontiguousarray(frames)})
        except RuntimeError as error:
            raise EngineError(f"OpenVINO failed on {self.spec.name}: {_last_line(error)}") from error
        names = [tensor.name for tensor in self.spec.outputs]
        return tuple(np.array(answers[n]) for n in CANDIDATES), tuple(np.array(answers[n]) for n in names)


@functools.cache
def shared_core() -> ov.Core:
    """The process's only `Core`, kept until the process ends.

    The CPU plug-in of each `Core` replaces the calling thread's signal stack (``sigaltstack``) and restores the
    previous one when it is freed. If plug-ins are not freed in reverse order, the restored stack is freed memory. The
    next signal, such as SIGTERM or SIGHUP, then kills the process with a segmentation fault (seen with OpenVINO
    2026.4).
    """
    return ov.Core()


def open_graph(graph: Path, spec: ModelSpec | None, options: SessionOptions) -> OpenVinoSession:
    """Open a bundle's ONNX file on the CPU in float32.

    OpenVINO drops a graph's metadata, so without `spec` it is read from the file directly. The CPU plug-in would run
    float graphs in bfloat16 on processors that support it. Float32 is set so that results equal the verified ones.
    """
    if spec is None:
        spec = embedded_spec(graph)
    core = shared_core()
    settings: dict[str, str | int] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    if options.threads:
        settings["INFERENCE_NUM_THREADS"] = options.threads
    try:
        model = core.read_model(graph)
        _override_constants(model, graph, options)
        compiled = core.compile_model(model, "CPU", settings)
    except RuntimeError as error:
        raise EngineError(f"OpenVINO cannot open {graph}: {_last_line(error)}") from error
    device = core.get_property("CPU", "FULL_DEVICE_NAME")
    session = OpenVinoSession(
        spec, EngineInfo("openvino", f"openvino {ov.__version__}", str(device)), compiled
    )

    def open_with_candidates() -> ov.CompiledModel | None:
        data = graph_with_candidates(graph)
        if data is None:
            return None
        larger = core.read_model(data)
        _override_constants(larger, graph, options)
        return core.compile_model(larger, "CPU", settings)

    session.open_with_candidates = open_with_candidates
    return session


def _override_constants(model: ov.Model, graph: Path, options: SessionOptions) -> None:
    """Replace the graph's NMS settings with the caller's."""
    wanted = {IOU_THRESHOLD: options.iou_threshold, SCORE_FLOOR: options.score_floor}
    found = {node.get_friendly_name(): node for node in model.get_ordered_ops()}
    for name, value in wanted.items():
        if value is None:
            continue
        refuse_absent(graph, name)
        node = found[name]
        shape = node.output(0).get_partial_shape().to_shape()
        replacement = opset13.constant(np.full(shape, value, np.float32))
        for target in node.output(0).get_target_inputs():
            target.replace_source_output(replacement.output(0))


def _last_line(error: RuntimeError) -> str:
    """The reason of an error; OpenVINO puts it after a trace of source lines."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
