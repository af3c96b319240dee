"""ONNX Runtime: the reference engine on every machine's CPU, and on NVIDIA GPUs through its providers."""

from __future__ import annotations

import contextlib
import io
import logging
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

from edgevision.contract.embedded_spec import embedded_spec
from edgevision.contract.overrides import IOU_THRESHOLD, SCORE_FLOOR, refuse_absent
from edgevision.contract.results import Outputs
from edgevision.contract.session import EngineInfo, Frames, Session, SessionOptions
from edgevision.contract.spec import ModelSpec, Precision
from edgevision.engines.ort_settings import CPU, open_inference, session_settings
from edgevision.engines.ort_tensorrt import readable_graph, tensorrt_options
from edgevision.errors import EngineError, first_line

LOG = logging.getLogger(__name__)

CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
LEAST_SHARE = 0.95
"""Of the graph's nodes, the provider that was asked for must take so many."""

_RECORD = "session.record_ep_graph_assignment_info"
_NO_CPU = "session.disable_cpu_ep_fallback"


@dataclass(frozen=True, slots=True)
class ProviderTarget:
    """What is asked of ONNX Runtime: a provider, those that may help it, and where its tensors lie."""

    engine: str
    provider: str
    helpers: tuple[str, ...] = ()
    device: str = "cpu"
    """As `OrtValue` names it."""

    @property
    def providers(self) -> tuple[str, ...]:
        """In the order in which they may choose nodes."""
        return (self.provider, *self.helpers)


ON_CPU = ProviderTarget("onnxruntime", CPU)
ON_CUDA = ProviderTarget("onnxruntime-cuda", CUDA, (CPU,), "cuda")
ON_TENSORRT = ProviderTarget("onnxruntime-tensorrt", TENSORRT, (CUDA, CPU), "cuda")


class OnnxRuntimeSession(Session):
    """A graph in ONNX Runtime; calls from several threads are safe."""

    def __init__(
        self, spec: ModelSpec, info: EngineInfo, inference: ort.InferenceSession, borrowed: list[ort.OrtValue]
    ) -> None:
        super().__init__(spec, info)
        self._inference = inference
        self._borrowed = (
            borrowed  # ONNX Runtime reads overriding initializers in place: they must live as long
        )
        self._outputs = [tensor.name for tensor in spec.outputs]

    def _infer(self, frames: Frames) -> Outputs:
        try:
            outputs = self._inference.run(self._outputs, {"frames": np.ascontiguousarray(frames)})
        except Exception as error:  # ONNX Runtime's own errors share no base class
            raise EngineError(f"ONNX Runtime failed on {self.spec.name}: {first_line(error)}") from error
        return tuple(outputs)


class BoundSession(OnnxRuntimeSession):
    """The same with inputs and outputs in the provider's own memory, made once for each size of batch.

    Calls from several threads are safe; they wait for one another.
    """

    def __init__(
        self,
        spec: ModelSpec,
        info: EngineInfo,
        inference: ort.InferenceSession,
        borrowed: list[ort.OrtValue],
        device: str,
    ) -> None:
        super().__init__(spec, info, inference, borrowed)
        self._device = device
        self._bindings: dict[int, _Binding] = {}
        self._lock = threading.Lock()

    def _infer(self, frames: Frames) -> Outputs:
        with self._lock:
            try:
                if len(frames) not in self._bindings:
                    self._bindings[len(frames)] = _bind(self._inference, self.spec, len(frames), self._device)
                return self._bindings[len(frames)].run(self._inference, frames)
            except Exception as error:  # as above
                reason = f"{self.info.engine} failed on {self.spec.name}: {first_line(error)}"
                raise EngineError(reason) from error


@dataclass(frozen=True, slots=True)
class _Binding:
    """The tensors of one size of batch."""

    binding: ort.IOBinding
    frames: ort.OrtValue
    outputs: tuple[ort.OrtValue, ...]

    def run(self, inference: ort.InferenceSession, frames: Frames) -> Outputs:
        self.frames.update_inplace(np.ascontiguousarray(frames))
        inference.run_with_iobinding(self.binding)
        # Where the tensors lie in host memory `numpy` shows them instead of copying: the next call would change them.
        return tuple(np.array(value.numpy()) for value in self.outputs)


def open_graph(graph: Path, spec: ModelSpec | None, options: SessionOptions) -> OnnxRuntimeSession:
    """Open an ONNX file on the CPU; without `spec` the one in the file's metadata is used."""
    return open_on(ON_CPU, graph, spec, options)


def open_graph_on_cuda(graph: Path, spec: ModelSpec | None, options: SessionOptions) -> OnnxRuntimeSession:
    """The same on an NVIDIA GPU by ONNX Runtime's CUDA provider."""
    return open_on(ON_CUDA, graph, spec, options)


def open_graph_on_tensorrt(
    graph: Path, spec: ModelSpec | None, options: SessionOptions
) -> OnnxRuntimeSession:
    """The same by its TensorRT provider, which builds engines on the first start and keeps them in the cache."""
    return open_on(ON_TENSORRT, readable_graph(graph, options.precision), spec, options)


def open_on(
    target: ProviderTarget, graph: Path, spec: ModelSpec | None, options: SessionOptions
) -> OnnxRuntimeSession:
    """Open an ONNX file; without `spec` the one in the file's metadata is used.

    Nothing falls back in silence: a provider that is missing, or that takes less than `LEAST_SHARE` of the nodes, is an
    `EngineError` unless `options.allow_fallback`; then a warning says what runs where.
    """
    _require_provider(target)
    settings = session_settings(options.threads, spin=options.spin)
    overrides = _override_initializers(settings, graph, options)
    counted = hasattr(ort.InferenceSession, "get_provider_graph_assignment_info")
    strict = target.provider != CPU and not counted and not options.allow_fallback
    settings.add_session_config_entry(_NO_CPU if strict else _RECORD, "1")
    names = (target.provider,) if strict else target.providers
    providers = [(name, _provider_options(name, graph, options.precision)) for name in names]
    try:
        inference = open_inference(str(graph), settings, providers)
    except Exception as error:  # as above
        hint = _hint(target, strict=strict)
        raise EngineError(f"ONNX Runtime cannot open {graph}: {first_line(error)}{hint}") from error
    notes = _check_providers(target, inference, graph, options)
    spec = spec or embedded_spec(graph)
    device = "cpu" if inference.get_providers()[0] == CPU else target.device
    info = EngineInfo(
        target.engine, f"onnxruntime {ort.__version__}", device, tuple(inference.get_providers()), notes
    )
    if device == "cpu":
        return OnnxRuntimeSession(spec, info, inference, overrides)
    return BoundSession(spec, info, inference, overrides, device)


def node_shares(inference: ort.InferenceSession) -> dict[str, float]:
    """The share of the graph's nodes that each provider took, after ONNX Runtime's own simplifications.

    Nodes that a provider fuses into one engine are counted one by one. Empty where this version (before 1.24) cannot
    tell.
    """
    if not hasattr(inference, "get_provider_graph_assignment_info"):
        return {}
    counts: Counter[str] = Counter()
    for subgraph in inference.get_provider_graph_assignment_info():
        counts[subgraph.ep_name] += len(subgraph.get_nodes())
    return {name: count / counts.total() for name, count in counts.most_common()}


def _require_provider(target: ProviderTarget) -> None:
    """Refuse a build of ONNX Runtime that has no such provider; bring in CUDA's libraries where pip put them."""
    available = ort.get_available_providers()
    if target.provider not in available:
        raise EngineError(
            f"this ONNX Runtime {ort.__version__} has no {target.provider}, only {', '.join(available)};"
            " install the build that has it: pip uninstall -y onnxruntime && pip install 'edgevision[gpu]'"
        )
    if target.device == "cuda" and hasattr(ort, "preload_dlls"):
        # It prints what it does not find, which is no fault where the system has its own CUDA.
        with contextlib.redirect_stdout(io.StringIO()) as said:
            ort.preload_dlls()
        LOG.debug("onnxruntime.preload_dlls: %s", said.getvalue().strip())


def _check_providers(
    target: ProviderTarget, inference: ort.InferenceSession, graph: Path, options: SessionOptions
) -> tuple[str, ...]:
    """Refuse a session that does not run where it was asked to; else say what runs where."""
    running = inference.get_providers()
    if target.provider not in running:
        problem = (
            f"{target.provider} did not start: its libraries or the driver are missing, or do not fit ONNX Runtime"
            f" {ort.__version__}, which said which above; `edgevision doctor` looks for them"
        )
        return _fallen_back(problem, running, options)
    shares = node_shares(inference)
    if target.provider == CPU or not shares:
        return ()
    said = ", ".join(f"{name} {share:.1%} of the nodes" for name, share in shares.items())
    if shares.get(target.provider, 0.0) < LEAST_SHARE:
        share = shares.get(target.provider, 0.0)
        problem = f"{target.provider} takes {share:.1%} of the nodes of {graph}, expected at least {LEAST_SHARE:.0%}"
        return _fallen_back(f"{problem} ({said})", running, options)
    return (said,)


def _fallen_back(problem: str, running: list[str], options: SessionOptions) -> tuple[str, ...]:
    if not options.allow_fallback:
        raise EngineError(f"{problem}; run it all the same, with {', '.join(running)}: --allow-fallback")
    LOG.warning("%s; it runs with %s, as --allow-fallback says", problem, ", ".join(running))
    return (f"fallback allowed: {problem}",)


def _hint(target: ProviderTarget, *, strict: bool) -> str:
    if target.provider == CPU:
        return ""
    if not strict:
        return "; `edgevision doctor` looks for what a GPU needs"
    return (
        f"; ONNX Runtime {ort.__version__} cannot count the nodes of a provider (1.24 can), so it must take all of"
        " them: update onnxruntime-gpu, or run with --allow-fallback"
    )


def _provider_options(name: str, graph: Path, precision: Precision | None) -> dict[str, str]:
    """Settings of a provider: its answers must be those that were verified, and the second start must be quick."""
    if name == CUDA:
        return {"use_tf32": "0"}  # the reference computes in float32, and so must this
    if name == TENSORRT:
        return tensorrt_options(graph, precision)
    return {}


def _bind(inference: ort.InferenceSession, spec: ModelSpec, count: int, device: str) -> _Binding:
    width, height = spec.frames.size_wh
    binding = inference.io_binding()
    make = ort.OrtValue.ortvalue_from_shape_and_type
    frames = make((count, height, width, 3), np.uint8, device, 0)
    binding.bind_ortvalue_input("frames", frames)
    outputs = []
    for tensor in spec.outputs:
        outputs.append(make((count, *tensor.shape[1:]), np.dtype(tensor.dtype).type, device, 0))
        binding.bind_ortvalue_output(tensor.name, outputs[-1])
    return _Binding(binding, frames, tuple(outputs))


def _override_initializers(
    settings: ort.SessionOptions, graph: Path, options: SessionOptions
) -> list[ort.OrtValue]:
    """Put the caller's suppression settings in place of the graph's; ONNX Runtime passes over names that it lacks."""
    values = []
    for name, value in (
        (IOU_THRESHOLD, options.iou_threshold),
        (SCORE_FLOOR, options.score_floor),
    ):
        if value is not None:
            refuse_absent(graph, name)
            values.append(ort.OrtValue.ortvalue_from_numpy(np.asarray(value, np.float32)))
            settings.add_initializer(name, values[-1])
    return values
