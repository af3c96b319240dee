"""ONNX Runtime: the reference engine on any CPU, and on NVIDIA GPUs through its execution providers."""

from __future__ import annotations

import contextlib
import io
import logging
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

from edgevision.contract.embedded_spec import embedded_spec
from edgevision.contract.overrides import IOU_THRESHOLD, SCORE_FLOOR, refuse_absent
from edgevision.contract.results import Outputs, owned_outputs
from edgevision.contract.session import EngineInfo, Frames, Session, SessionOptions, aligned_frames
from edgevision.contract.spec import ModelSpec, Precision
from edgevision.device.names import gpu_index_of
from edgevision.engines.extra_outputs import CANDIDATES, graph_with_candidates
from edgevision.engines.ort_settings import CPU, open_inference, session_settings
from edgevision.engines.ort_tensorrt import readable_graph, tensorrt_options
from edgevision.engines.pinned import PinnedBatches
from edgevision.errors import EngineError, MissingExtraError, first_line

LOG = logging.getLogger(__name__)

CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
LEAST_SHARE = 0.95
"""Minimum share of the graph's nodes that the requested provider must run."""

_RECORD = "session.record_ep_graph_assignment_info"
_NO_CPU = "session.disable_cpu_ep_fallback"


@dataclass(frozen=True, slots=True)
class ProviderTarget:
    """An execution provider, the providers it may fall back to, and the device that holds its tensors."""

    engine: str
    provider: str
    helpers: tuple[str, ...] = ()
    device: str = "cpu"
    """Device name as `OrtValue` spells it."""

    @property
    def providers(self) -> tuple[str, ...]:
        """In order of priority for node assignment."""
        return (self.provider, *self.helpers)


ON_CPU = ProviderTarget("onnxruntime", CPU)
ON_CUDA = ProviderTarget("onnxruntime-cuda", CUDA, (CPU,), "cuda")
ON_TENSORRT = ProviderTarget("onnxruntime-tensorrt", TENSORRT, (CUDA, CPU), "cuda")


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
        self._outputs = [tensor.name for tensor in spec.outputs]

    def _infer(self, frames: Frames) -> Outputs:
        try:
            outputs = self._inference.run(self._outputs, {"frames": np.ascontiguousarray(frames)})
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
    ) -> None:
        super().__init__(spec, info, inference, borrowed)
        self._device = device
        self._bindings: dict[int, _Binding] = {}
        self._lock = threading.Lock()

    def new_batch(self, rows: int | None = None) -> Frames:
        """Pinned if the provider's memory is a GPU's."""
        shape = self._batch_shape(rows)
        if self._device == "cuda":
            try:
                return PinnedBatches(self.info.gpu_index).new(shape)
            except (MissingExtraError, EngineError) as error:  # slower, and equally right
                LOG.debug("batches are not in pinned memory: %s", error)
        return aligned_frames(shape)

    def _infer(self, frames: Frames) -> Outputs:
        with self._lock:
            try:
                if len(frames) not in self._bindings:
                    self._bindings[len(frames)] = _bind(
                        self._inference, self.spec, len(frames), (self._device, self.info.gpu_index)
                    )
                views = self._bindings[len(frames)].run(self._inference, frames)
                return owned_outputs(self.spec, views)
            except Exception as error:  # as above
                reason = f"{self.info.engine} failed on {self.spec.name}: {first_line(error)}"
                raise EngineError(reason) from error


@dataclass(frozen=True, slots=True)
class _Binding:
    """Input and output tensors of one batch size."""

    binding: ort.IOBinding
    frames: ort.OrtValue
    outputs: tuple[ort.OrtValue, ...]

    def run(self, inference: ort.InferenceSession, frames: Frames) -> Outputs:
        """In host memory `numpy` returns views, which the next call overwrites."""
        self.frames.update_inplace(np.ascontiguousarray(frames))
        inference.run_with_iobinding(self.binding)
        return tuple(value.numpy() for value in self.outputs)


def open_graph(graph: Path, spec: ModelSpec | None, options: SessionOptions) -> OnnxRuntimeSession:
    """Open an ONNX file on the CPU; `spec` defaults to the one in the file's metadata."""
    return open_on(ON_CPU, graph, spec, options)


def open_graph_on_cuda(graph: Path, spec: ModelSpec | None, options: SessionOptions) -> OnnxRuntimeSession:
    """Open an ONNX file on an NVIDIA GPU with ONNX Runtime's CUDA provider."""
    return open_on(ON_CUDA, graph, spec, options)


def open_graph_on_tensorrt(
    graph: Path, spec: ModelSpec | None, options: SessionOptions
) -> OnnxRuntimeSession:
    """Open an ONNX file with the TensorRT provider, which builds engines on the first start and caches them."""
    return open_on(ON_TENSORRT, readable_graph(graph, options.precision), spec, options)


def open_on(
    target: ProviderTarget, graph: Path, spec: ModelSpec | None, options: SessionOptions
) -> OnnxRuntimeSession:
    """Open an ONNX file; `spec` defaults to the one in the file's metadata.

    There is no silent fallback. A provider that is missing or runs less than `LEAST_SHARE` of the nodes raises
    `EngineError`. With `options.allow_fallback` it logs a warning that lists the provider of each share of nodes.
    """
    _require_provider(target)
    settings = session_settings(options.threads, spin=options.spin)
    overrides = _override_initializers(settings, graph, options)
    counted = hasattr(ort.InferenceSession, "get_provider_graph_assignment_info")
    strict = target.provider != CPU and not counted and not options.allow_fallback
    settings.add_session_config_entry(_NO_CPU if strict else _RECORD, "1")
    names = (target.provider,) if strict else target.providers
    gpu_index = gpu_index_of(options.device)
    providers = [(name, _provider_options(name, graph, options.precision, gpu_index)) for name in names]
    try:
        inference = open_inference(str(graph), settings, providers)
    except Exception as error:  # as above
        hint = _hint(target, strict=strict)
        raise EngineError(f"ONNX Runtime cannot open {graph}: {first_line(error)}{hint}") from error
    notes = _check_providers(target, inference, graph, options)
    spec = spec or embedded_spec(graph)
    device = "cpu" if inference.get_providers()[0] == CPU else target.device
    library, used = f"onnxruntime {ort.__version__}", tuple(inference.get_providers())
    info = EngineInfo(target.engine, library, device, used, notes, gpu_index)
    if device == "cpu":
        session = OnnxRuntimeSession(spec, info, inference, overrides)
    else:
        session = BoundSession(spec, info, inference, overrides, device)

    def open_with_candidates() -> ort.InferenceSession | None:
        model = graph_with_candidates(graph)
        return None if model is None else open_inference(model, settings, providers)

    if target.provider != TENSORRT:  # it would build a second engine, with other layers
        session.open_with_candidates = open_with_candidates
    return session


def node_shares(inference: ort.InferenceSession) -> dict[str, float]:
    """The share of the graph's nodes that each provider runs, after ONNX Runtime's own simplifications.

    Nodes that a provider fuses into one engine are counted individually. Empty if ONNX Runtime (before 1.24) cannot
    report the assignment.
    """
    if not hasattr(inference, "get_provider_graph_assignment_info"):
        return {}
    counts: Counter[str] = Counter()
    for subgraph in inference.get_provider_graph_assignment_info():
        counts[subgraph.ep_name] += len(subgraph.get_nodes())
    return {name: count / counts.total() for name, count in counts.most_common()}


def _require_provider(target: ProviderTarget) -> None:
    """Raise if this build of ONNX Runtime lacks the provider; preload CUDA libraries that pip installed."""
    available = ort.get_available_providers()
    if target.provider not in available:
        raise EngineError(
            f"this ONNX Runtime {ort.__version__} has no {target.provider}, only {', '.join(available)};"
            " install the build that has it: pip uninstall -y onnxruntime && pip install 'edgevision[gpu]'"
        )
    if target.device == "cuda" and hasattr(ort, "preload_dlls"):
        # It prints each missing library, even where the system's own CUDA provides it.
        with contextlib.redirect_stdout(io.StringIO()) as output:
            ort.preload_dlls()
        LOG.debug("onnxruntime.preload_dlls: %s", output.getvalue().strip())


def _check_providers(
    target: ProviderTarget, inference: ort.InferenceSession, graph: Path, options: SessionOptions
) -> tuple[str, ...]:
    """Raise if the session does not run on the requested provider; return notes on which provider runs what."""
    running = inference.get_providers()
    if target.provider not in running:
        problem = (
            f"{target.provider} did not start: its libraries or the driver are missing, or do not fit ONNX Runtime"
            f" {ort.__version__}; see ONNX Runtime's messages above, or run `edgevision doctor`"
        )
        return _fallen_back(problem, running, options)
    shares = node_shares(inference)
    if target.provider == CPU or not shares:
        return ()
    placement = ", ".join(f"{name} {share:.1%} of the nodes" for name, share in shares.items())
    if shares.get(target.provider, 0.0) < LEAST_SHARE:
        share = shares.get(target.provider, 0.0)
        problem = f"{target.provider} takes {share:.1%} of the nodes of {graph}, expected at least {LEAST_SHARE:.0%}"
        return _fallen_back(f"{problem} ({placement})", running, options)
    return (placement,)


def _fallen_back(problem: str, running: list[str], options: SessionOptions) -> tuple[str, ...]:
    if not options.allow_fallback:
        raise EngineError(f"{problem}; to run with {', '.join(running)} instead: --allow-fallback")
    LOG.warning("%s; running with %s because of --allow-fallback", problem, ", ".join(running))
    return (f"fallback allowed: {problem}",)


def _hint(target: ProviderTarget, *, strict: bool) -> str:
    if target.provider == CPU:
        return ""
    if not strict:
        return "; to check the GPU's libraries: edgevision doctor"
    return (
        f"; ONNX Runtime {ort.__version__} cannot report node assignment (1.24 can), so the provider must run every"
        f" node: update onnxruntime-gpu, or run with --allow-fallback"
    )


def _provider_options(name: str, graph: Path, precision: Precision | None, gpu_index: int) -> dict[str, str]:
    """Provider settings that keep results equal to the verified ones and make later starts fast."""
    device = {"device_id": str(gpu_index)} if gpu_index else {}
    if name == CUDA:
        return {"use_tf32": "0", **device}  # the reference computes in float32, so TF32 is off
    if name == TENSORRT:
        return {**tensorrt_options(graph, precision), **device}
    return {}


def _bind(inference: ort.InferenceSession, spec: ModelSpec, count: int, device: tuple[str, int]) -> _Binding:
    binding = inference.io_binding()
    make = ort.OrtValue.ortvalue_from_shape_and_type
    frames = make((count, *spec.frames.frame_shape), np.uint8, *device)
    binding.bind_ortvalue_input("frames", frames)
    outputs = []
    for tensor in spec.outputs:
        outputs.append(make((count, *tensor.shape[1:]), np.dtype(tensor.dtype).type, *device))
        binding.bind_ortvalue_output(tensor.name, outputs[-1])
    return _Binding(binding, frames, tuple(outputs))


def _override_initializers(
    settings: ort.SessionOptions, graph: Path, options: SessionOptions
) -> list[ort.OrtValue]:
    """Replace the graph's NMS settings with the caller's; ONNX Runtime ignores names that the graph lacks."""
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
