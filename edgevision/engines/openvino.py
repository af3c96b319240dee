"""OpenVINO: inference on CPUs, in float32 or a lower precision that the CPU computes."""

from __future__ import annotations

import functools
import queue
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset13

from edgevision.contract.embedded_spec import embedded_spec
from edgevision.contract.inputs import Arrays, Tensors
from edgevision.contract.overrides import IOU_THRESHOLD, LABEL, SCORE_FLOOR, label_number, refuse_absent
from edgevision.contract.results import Outputs, owned_outputs
from edgevision.contract.session import EngineInfo, Frames, Session, SessionOptions
from edgevision.contract.spec import FRAMES, ModelSpec, Precision
from edgevision.device.cpu_class import cpu_class, cpu_computes
from edgevision.device.facts import cpu_model
from edgevision.engines.extra_outputs import CANDIDATES, graph_with_candidates
from edgevision.engines.openvino_parts import Parts, Request, compile_parts
from edgevision.engines.profiles.openvino import COUNTED, profile
from edgevision.errors import EngineError

_POOL = 4
"""Inference requests created in advance; at most this many threads run `infer` at once, more wait."""


class OpenVinoSession(Session):
    """Runs a graph in OpenVINO on the CPU; thread-safe, each call takes a request from a pool."""

    def __init__(self, spec: ModelSpec, info: EngineInfo, compiled: Parts) -> None:
        super().__init__(spec, info)
        self.open_with_candidates: Callable[[], Parts | None] = lambda: None
        self._with_candidates: Request | None = None
        self._inputs = [tensor.name for tensor in spec.inputs]
        self._ports = [compiled.output(tensor.name) for tensor in spec.outputs]
        self._requests: queue.SimpleQueue[Request] = queue.SimpleQueue()
        for _ in range(_POOL):
            self._requests.put(compiled.create_request())

    def _infer(self, frames: Frames) -> Outputs:
        return self._answers((frames,))

    def _infer_tensors(self, tensors: Tensors) -> Outputs:
        return self._answers(tensors.arrays)

    def _answers(self, arrays: Arrays) -> Outputs:
        request = self._requests.get()
        try:
            answers = request.infer(dict(zip(self._inputs, arrays, strict=True)))
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
                larger = self.open_with_candidates()
                if larger is None:
                    return None
                self._with_candidates = larger.create_request()
            answers = self._with_candidates.infer({FRAMES: frames})
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
    """Open a bundle's ONNX file on the CPU.

    The network is computed in float32, with precision "bf16" in bfloat16, and with "fp16" in float16 where the CPU has
    it. Post-processing is computed in float32 (`openvino_parts`). Without a setting the CPU plug-in would choose
    bfloat16 where the CPU supports it, for the whole graph. OpenVINO drops a graph's metadata, so without `spec` it is
    read from the file directly. Raises `EngineError` for "bf16" on a CPU without it.
    """
    if spec is None:
        spec = embedded_spec(graph)
    core = shared_core()
    computed_in = _computed_in(core, options.precision)
    settings: dict[str, str | int] = {"PERFORMANCE_HINT": "LATENCY"}
    if options.threads:
        settings["INFERENCE_NUM_THREADS"] = options.threads
    try:
        model = core.read_model(graph)
        _override_constants(model, graph, options)
        compiled = compile_parts(core, model, settings, computed_in)
    except RuntimeError as error:
        raise EngineError(f"OpenVINO cannot open {graph}: {_last_line(error)}") from error
    device = core.get_property("CPU", "FULL_DEVICE_NAME")
    notes = () if computed_in == "f32" else (f"network computed in {computed_in}, post-processing in f32",)
    info = EngineInfo("openvino", f"openvino {ov.__version__}", str(device), notes=notes)
    session = OpenVinoSession(spec, info, compiled)

    def open_with_candidates() -> Parts | None:
        data = graph_with_candidates(graph)
        if data is None:
            return None
        larger = core.read_model(data)
        _override_constants(larger, graph, options)
        return compile_parts(core, larger, settings, computed_in)

    def compile_counted() -> Parts:
        again = core.read_model(graph)
        _override_constants(again, graph, options)
        return compile_parts(core, again, {**settings, **COUNTED}, computed_in)

    session.open_with_candidates = open_with_candidates
    session.layer_profile = functools.partial(profile, graph, compile_counted)
    return session


def _computed_in(core: ov.Core, precision: Precision | None) -> str:
    """The type that the network is computed in, as OpenVINO names it; raises `EngineError` for "bf16" without it."""
    name = {"bf16": "bf16", "fp16": "f16"}.get(precision or "float")
    if precision is None or name is None:
        return "f32"
    # OpenVINO also lists types that it converts to float32, so the CPU's own flags count too.
    listed = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision in cpu_computes() and {"bf16": "BF16", "f16": "FP16"}[name] in listed:
        return name
    if precision == "fp16":  # a graph with a file of its own, which any CPU runs
        return "f32"
    cpu = f"{cpu_model()}, {cpu_class()}"
    if precision in cpu_computes():
        problem = f"OpenVINO {ov.__version__} does not compute {precision} on this CPU ({cpu})"
    else:
        others = ", ".join(("float32", *cpu_computes()))
        problem = (
            f"{precision} needs a CPU with AMX, AVX512-BF16 or ARM BF16; this CPU ({cpu}) computes {others}"
        )
    raise EngineError(
        f"{problem}; use --precision float, or make an INT8 graph, which every CPU runs: edgevision quantize"
    )


def _override_constants(model: ov.Model, graph: Path, options: SessionOptions) -> None:
    """Replace the graph's settings with the caller's."""
    label = None
    if options.label is not None:
        label = label_number(options.label, embedded_spec(graph).styles)
    wanted = {IOU_THRESHOLD: options.iou_threshold, SCORE_FLOOR: options.score_floor, LABEL: label}
    found = {node.get_friendly_name(): node for node in model.get_ordered_ops()}
    for name, value in wanted.items():
        if value is None:
            continue
        refuse_absent(graph, name)
        node = found[name]
        shape = node.output(0).get_partial_shape().to_shape()
        replacement = opset13.constant(np.full(shape, value, np.int64 if name == LABEL else np.float32))
        for target in node.output(0).get_target_inputs():
            target.replace_source_output(replacement.output(0))


def _last_line(error: RuntimeError) -> str:
    """The reason of an error; OpenVINO puts it after a trace of source lines."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
