"""ONNX Runtime: the reference engine on any CPU, and on NVIDIA GPUs through its execution providers."""

from __future__ import annotations

import contextlib
import io
import logging
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime as ort

from edgevision.contract.embedded_spec import embedded_spec
from edgevision.contract.overrides import IOU_THRESHOLD, LABEL, SCORE_FLOOR, label_number, refuse_absent
from edgevision.contract.session import EngineInfo, SessionOptions
from edgevision.contract.spec import ModelSpec, Precision
from edgevision.device.gpu import gpu_facts, sm_text
from edgevision.device.names import gpu_index_of
from edgevision.engines.extra_outputs import graph_with_candidates
from edgevision.engines.ort_captures import GATE, Captures, capture_objection
from edgevision.engines.ort_sessions import BoundSession, OnnxRuntimeSession
from edgevision.engines.ort_settings import CPU, Provider, open_inference, session_settings
from edgevision.engines.ort_tensorrt import readable_graph, tensorrt_options
from edgevision.engines.precisions import TF32_SINCE
from edgevision.engines.profiles.onnxruntime import profile
from edgevision.errors import EngineError, first_line

LOG = logging.getLogger(__name__)

CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
LEAST_SHARE = 0.95
"""Minimum share of the graph's nodes that the requested provider must run."""

_RECORD = "session.record_ep_graph_assignment_info"
_NO_CPU = "session.disable_cpu_ep_fallback"
_CAPTURE = {"enable_cuda_graph": "1"}
_NHWC = {"prefer_nhwc": "1"}
"""Tensor cores read this layout without reordering."""


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
    target: ProviderTarget,
    graph: Path,
    spec: ModelSpec | None,
    options: SessionOptions,
    *,
    captured: bool = True,
) -> OnnxRuntimeSession:
    """Open an ONNX file; `spec` defaults to the one in the file's metadata.

    There is no silent fallback. A provider that is missing or runs less than `LEAST_SHARE` of the nodes raises
    `EngineError`. With `options.allow_fallback` it logs a warning that lists the provider of each share of nodes.
    Calls of the CUDA provider are captured as CUDA graphs, unless `captured` is False or the provider cannot.
    """
    _require_provider(target)
    if options.precision == "tf32":
        _require_tf32(gpu_index_of(options.device))
    opened = _open(target, graph, options, captured=captured)
    inference = opened.inference
    notes = (*_check_providers(target, inference, graph, options), *opened.notes)
    spec = spec or embedded_spec(graph)
    device = "cpu" if inference.get_providers()[0] == CPU else target.device
    library, used = f"onnxruntime {ort.__version__}", tuple(inference.get_providers())
    info = EngineInfo(target.engine, library, device, used, notes, gpu_index_of(options.device))
    session: OnnxRuntimeSession
    if device == "cpu":
        session = OnnxRuntimeSession(spec, info, inference, opened.overrides)
    elif captured and target.provider == CUDA:
        captures = Captures(inference, spec, opened.objection)
        if captures.objection is not None:
            LOG.warning("%s: calls are not captured as CUDA graphs: %s", spec.name, captures.objection)
        info = replace(info, notes=(*notes, captures.note))
        bound = BoundSession(spec, info, inference, opened.overrides, device, captures)
        bound.reopen = lambda: open_inference(str(graph), opened.settings, opened.plain_providers)
        session = bound
    else:
        session = BoundSession(spec, info, inference, opened.overrides, device)

    def open_with_candidates() -> ort.InferenceSession | None:
        model = graph_with_candidates(graph)
        return None if model is None else open_inference(model, opened.settings, opened.plain_providers)

    if target.provider != TENSORRT:  # it would build a second engine, with other layers
        session.open_with_candidates = open_with_candidates
    if device == "cpu":  # times of a GPU's kernels would be those of their launches
        settings = session_settings(options.threads, spin=options.spin)
        opened.overrides.extend(_override_initializers(settings, graph, options))
        session.layer_profile = partial(
            profile, graph, settings, lambda given: open_inference(str(graph), given, [CPU])
        )
    return session


@dataclass(frozen=True, slots=True)
class _Opened:
    """An inference session and how it was opened."""

    inference: ort.InferenceSession
    settings: ort.SessionOptions
    overrides: list[ort.OrtValue]
    plain_providers: list[Provider]
    """Its providers without captured calls, which need bound memory."""
    objection: str | None
    """The reason why calls are not captured."""
    notes: tuple[str, ...]


def _open(target: ProviderTarget, graph: Path, options: SessionOptions, *, captured: bool) -> _Opened:
    """Open with the fastest settings that the provider accepts; raises `EngineError` if it accepts none."""
    counted = hasattr(ort.InferenceSession, "get_provider_graph_assignment_info")
    strict = target.provider != CPU and not counted and not options.allow_fallback
    names = (target.provider,) if strict else target.providers
    common = [(name, _provider_options(name, graph, options)) for name in names]
    outdated = capture_objection(ort.__version__)
    trials = _trials(target, options.precision, captured=captured and outdated is None)
    refused: list[str] = []
    for trial in trials:
        settings = session_settings(options.threads, spin=options.spin)
        overrides = _override_initializers(settings, graph, options)
        settings.add_session_config_entry(_NO_CPU if strict else _RECORD, "1")
        try:
            # Opening a session allocates memory of the GPU, which a capture elsewhere does not survive.
            with GATE.call() if target.device == "cuda" else contextlib.nullcontext():
                inference = open_inference(str(graph), settings, _with(common, trial))
        except Exception as error:  # ONNX Runtime's own errors share no base class
            refused.append(first_line(error))
            failure = error
            continue
        first = refused[0] if refused else None
        uncaptured = {name: value for name, value in trial.items() if name not in _CAPTURE}
        return _Opened(
            inference,
            settings,
            overrides,
            plain_providers=_with(common, uncaptured),
            objection=None if _CAPTURE.items() <= trial.items() else outdated or first,
            notes=(f"not in NHWC: {first}",) if _NHWC.items() <= trials[0].items() - trial.items() else (),
        )
    hint = _hint(target, strict=strict)
    raise EngineError(f"ONNX Runtime cannot open {graph}: {refused[-1]}{hint}") from failure


def _trials(target: ProviderTarget, precision: Precision | None, *, captured: bool) -> list[dict[str, str]]:
    """Further options of the CUDA provider, the fastest first; the last trial has none."""
    if target.provider != CUDA:
        return [{}]
    capture = [_CAPTURE, {}] if captured else [{}]
    layout = [_NHWC, {}] if precision == "tf32" else [{}]
    return [{**one, **other} for one in capture for other in layout]


def _with(providers: list[tuple[str, dict[str, str]]], further: dict[str, str]) -> list[Provider]:
    return [(name, {**options, **(further if name == CUDA else {})}) for name, options in providers]


def _require_tf32(gpu_index: int) -> None:
    """Raise `EngineError` if the GPU has no tensor cores for TF32."""
    gpu = gpu_facts(index=gpu_index)
    if gpu is not None and gpu.sm < TF32_SINCE:
        raise EngineError(
            f"tf32 needs a GPU of {sm_text(TF32_SINCE)} or newer; this GPU ({gpu.name}) has {sm_text(gpu.sm)}; use"
            " --precision float or --precision fp16"
        )


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


def _provider_options(name: str, graph: Path, options: SessionOptions) -> dict[str, str]:
    """Provider settings that keep results equal to the verified ones and make later starts fast."""
    gpu_index = gpu_index_of(options.device)
    device = {"device_id": str(gpu_index)} if gpu_index else {}
    if name == CUDA:
        # The reference computes in float32; TF32 has a verification of its own.
        return {"use_tf32": "1" if options.precision == "tf32" else "0", **device}
    if name == TENSORRT:
        return {**tensorrt_options(graph, options.precision), **device}
    return {}


def _override_initializers(
    settings: ort.SessionOptions, graph: Path, options: SessionOptions
) -> list[ort.OrtValue]:
    """Replace the graph's settings with the caller's; ONNX Runtime ignores names that the graph lacks."""
    values = []
    for name, value in (
        (IOU_THRESHOLD, options.iou_threshold),
        (SCORE_FLOOR, options.score_floor),
    ):
        if value is not None:
            refuse_absent(graph, name)
            values.append(ort.OrtValue.ortvalue_from_numpy(np.asarray(value, np.float32)))
            settings.add_initializer(name, values[-1])
    if options.label is not None:
        number = label_number(options.label, embedded_spec(graph).styles)
        refuse_absent(graph, LABEL)
        values.append(ort.OrtValue.ortvalue_from_numpy(np.array([number], np.int64)))
        settings.add_initializer(LABEL, values[-1])
    return values
