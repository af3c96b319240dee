"""Builds a plan from a graph with any TensorRT version; differences between versions are in `versions`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgevision.builder.activations import activations
from edgevision.builder.calibrator import stored_ranges
from edgevision.builder.dla import DlaPlacement, place_on_dla
from edgevision.builder.held import held_layers, hold_in, named_layers
from edgevision.builder.matmul_rewrite import write_out_products
from edgevision.builder.memory import BuildNeed, MemoryFit, fit_build, require_fit
from edgevision.builder.network import (
    check_contract,
    check_precision,
    layer_counts,
    parse_graph,
    plain,
    refuse_precision,
    tensors,
)
from edgevision.builder.progress import BuildProgress, progress_monitor
from edgevision.builder.settings import give_up, set_memory_bounds, set_wishes
from edgevision.builder.work import network_work
from edgevision.contract.spec import ModelSpec, Precision
from edgevision.device.gpu import GpuFacts, sm_text
from edgevision.engines.tensorrt.library import Library
from edgevision.engines.tensorrt.log import Messages, logger, warned
from edgevision.engines.tensorrt.manifest import LayerCount, LayerWork, PlanTensor
from edgevision.engines.tensorrt.request import DEFAULT_LEVEL
from edgevision.errors import EngineError

if TYPE_CHECKING:
    import tensorrt as trt


@dataclass(frozen=True, slots=True)
class BuildJob:
    """Inputs and settings of one build."""

    graph: Path
    spec: ModelSpec
    precision: Precision
    sm: int
    level: int = DEFAULT_LEVEL
    workspace_mib: int | None = None
    memory_mib: int | None = None
    """Memory that the build may use, instead of the measured free memory."""
    dla_core: int | None = None
    calibration: bytes = b""
    """INT8 ranges for a DLA before TensorRT 11, which does not read Q/DQ; empty if the graph holds them."""
    timing_cache: bytes = b""
    """Timings of earlier builds; empty for a new cache."""
    timing_cache_file: Path | None = None
    """The user's timing cache: one of another GPU or version raises an error and is not replaced."""
    float32_nodes: frozenset[str] = frozenset()
    """Nodes outside the contract whose values do not fit FP16."""
    half_nodes: frozenset[str] = frozenset()
    """Nodes that must not run in INT8 although their ranges are known, for accuracy."""


@dataclass(frozen=True, slots=True, eq=False)
class BuiltPlan:
    """A plan and the facts of its build."""

    plan: bytes
    timing_cache: bytes
    """Empty if the library keeps none."""
    seconds: float
    flags: tuple[str, ...]
    tensors: tuple[PlanTensor, ...]
    network_layers: tuple[LayerCount, ...]
    fit: MemoryFit
    dla: DlaPlacement | None
    held: int
    """Layers pinned to float32 that the builder could have changed."""
    warnings: tuple[str, ...]
    """Distinct warnings of the library."""
    work: tuple[LayerWork, ...]


class BuildStopped(Exception):  # noqa: N818  # not an error: the user stopped the build
    """The user stopped the build; `timing_cache` holds the timings so far, for the next build."""

    def __init__(self, timing_cache: bytes) -> None:
        super().__init__("the build was stopped")
        self.timing_cache = timing_cache


@dataclass(frozen=True, slots=True, eq=False)
class BuildCallbacks:
    """Callbacks that report progress of a build and can stop it."""

    report: Callable[[str], None]
    """Receives text findings before the long part: memory fit, DLA placement."""
    progress: Callable[[BuildProgress], None]
    stop: Callable[[], bool]


def build_plan(library: Library, job: BuildJob, gpu: GpuFacts | None, watch: BuildCallbacks) -> BuiltPlan:
    """Parse the graph and build it.

    Raises `GraphError` if this library cannot parse the graph or its precision differs from its name. Raises
    `EngineError` if the build does not fit or fails, `BuildStopped` if `watch.stop` returned True.
    """
    refuse_precision(library.dialect, job.precision, job.sm)
    messages = Messages()
    log = logger(library, messages)
    builder: trt.Builder = library.module.Builder(log)
    network: trt.INetworkDefinition = builder.create_network(_network_bits(library, job))
    # The network reads its weights from the parser's memory, so the parser must outlive it.
    parser = _parse(library, job, network, log)
    if job.sm in library.dialect.no_float_products and (count := write_out_products(library, network)):
        watch.report(f"{sm_text(job.sm)}: {count} float32 matrix products written as sums")
    fit = _fit(job, network, gpu)
    watch.report(f"memory: the build {fit}")
    require_fit(fit)
    config = builder.create_builder_config()
    flags = _configure(library, job, fit, builder, config)
    held, placement = _place(library, job, network, config, flags)
    for line in filter(None, (_held_text(held), str(placement or ""))):
        watch.report(line)
    cache = _set_timing_cache(library, job, config)
    failures: list[BaseException] = []
    if library.dialect.progress_monitor:
        config.progress_monitor = progress_monitor(library, watch.progress, watch.stop, failures)
    began = time.perf_counter()
    wishes = set_wishes(library, config, shared_memory=fit.shared)
    serialized = _serialized(builder, network, config, messages)
    if serialized is None and wishes and not failures and not watch.stop():
        watch.report(give_up(library, config, wishes))
        wishes = ()
        serialized = _serialized(builder, network, config, messages)
    seconds = time.perf_counter() - began
    learned = bytes(memoryview(cache.serialize())) if cache is not None else b""
    if failures:
        raise failures[0]
    if watch.stop():
        raise BuildStopped(learned)
    if serialized is None:
        raise EngineError(f"{library.name} cannot build {job.graph}: {plain(messages.reason())}")
    warnings = messages.distinct_warnings()
    if warnings:
        watch.report(f"{library.name} warned {len(messages.warnings)} times: {warned(warnings)}")
    work = network_work(library, network)
    del parser
    return BuiltPlan(
        plan=bytes(memoryview(serialized)),
        timing_cache=learned,
        seconds=seconds,
        flags=(*flags, *wishes),
        tensors=tensors(network),
        network_layers=layer_counts(network),
        fit=fit,
        dla=placement,
        held=held,
        warnings=warnings,
        work=work,
    )


def _serialized(
    builder: trt.Builder, network: trt.INetworkDefinition, config: trt.IBuilderConfig, messages: Messages
) -> trt.IHostMemory | None:
    """Run one build attempt; clears earlier errors, such as that of a rejected timing cache."""
    messages.forget_errors()
    return builder.build_serialized_network(network, config)


def _parse(
    library: Library, job: BuildJob, network: trt.INetworkDefinition, log: trt.ILogger
) -> trt.OnnxParser:
    """Fill the network from the job's graph, and check it against the contract and precision."""
    parser: trt.OnnxParser = library.module.OnnxParser(network, log)
    for flag in library.dialect.dla_parser_flags if job.dla_core is not None else ():
        parser.set_flag(library.member("OnnxParserFlag", flag))
    parse_graph(parser, job.graph, library)
    check_contract(network, job.spec, job.graph)
    if not job.calibration:
        check_precision(network, job.precision, job.graph)
    return parser


def _place(
    library: Library,
    job: BuildJob,
    network: trt.INetworkDefinition,
    config: trt.IBuilderConfig,
    flags: tuple[str, ...],
) -> tuple[int, DlaPlacement | None]:
    """Pin layers to float32 where the builder could choose (returns their number), and place layers on a DLA."""
    if not _weak(library, job) and job.dla_core is None:
        return 0, None
    held = held_layers(network, job.float32_nodes)
    count = hold_in(library, network, held, "FLOAT") if _may_choose(flags) else 0
    if "INT8" in flags and job.half_nodes:
        hold_in(library, network, named_layers(network, job.half_nodes) - held, "HALF")
    return count, place_on_dla(library, config, network, held) if job.dla_core is not None else None


def _held_text(count: int) -> str:
    if not count:
        return ""
    return f"{count} layers pinned to float32: pre- and post-processing, and values that do not fit FP16"


def _fit(job: BuildJob, network: trt.INetworkDefinition, gpu: GpuFacts | None) -> MemoryFit:
    need = BuildNeed(
        weights_mib=job.graph.stat().st_size >> 20,
        activations=activations(network, job.spec.batch.max),
        level=job.level,
        asked_mib=job.workspace_mib,
    )
    return fit_build(gpu, need, memory_mib=job.memory_mib)


def _weak(library: Library, job: BuildJob) -> bool:
    """True with weak typing: the builder chooses types within its precision flags."""
    on_dla = job.dla_core is not None and bool(library.dialect.dla_precision_flags)
    return not library.dialect.strongly_typed or on_dla


def _may_choose(flags: tuple[str, ...]) -> bool:
    """True if one of these flags lets the builder use less than float32."""
    return "FP16" in flags or "INT8" in flags


def _network_bits(library: Library, job: BuildJob) -> int:
    dialect = library.dialect
    names = dialect.network_flags if job.dla_core is None else dialect.dla_network_flags
    return sum(1 << int(library.member("NetworkDefinitionCreationFlag", name)) for name in names)


def _configure(
    library: Library, job: BuildJob, fit: MemoryFit, builder: trt.Builder, config: trt.IBuilderConfig
) -> tuple[str, ...]:
    """Set the builder's options; returns the names of the flags that were set, network flags first."""
    dialect = library.dialect
    flags = next(entry.flags for entry in dialect.precisions if entry.precision == job.precision)
    if job.dla_core is not None:
        on_dla = [f for f in dialect.dla_precision_flags if f != "INT8" or job.precision == "int8"]
        flags = tuple(dict.fromkeys((*flags, *on_dla, "GPU_FALLBACK")))
    if _weak(library, job):
        _require_fast(builder, flags, job)
        if _may_choose(flags):
            flags = (*flags, *dialect.constraint_flags)
    for name in flags:
        config.set_flag(library.member("BuilderFlag", name))
    # TF32 keeps ten bits of a float's fraction: a float engine would exceed its verification limits.
    config.clear_flag(library.member("BuilderFlag", "TF32"))
    config.builder_optimization_level = job.level
    # Without it the inspector reports no types, and the work of each precision is unknown.
    config.profiling_verbosity = library.member("ProfilingVerbosity", "DETAILED")
    set_memory_bounds(library, config, fit)
    if dialect.targets:
        _target(library, config, job.sm)
    if job.dla_core is not None:
        config.default_device_type = library.member("DeviceType", "DLA")
        config.DLA_core = job.dla_core
        if job.calibration:
            config.int8_calibrator = stored_ranges(library, job.calibration)
    if not job.spec.batch.static:
        _add_profile(builder, config, job.spec)
    network = dialect.network_flags if job.dla_core is None else dialect.dla_network_flags
    return (*network, *flags)


def _target(library: Library, config: Any, sm: int) -> None:
    """Build for a GPU that need not be installed; TensorRT's stubs lack these two members."""
    config.num_compute_capabilities = 1
    if not config.set_compute_capability(library.member("ComputeCapability", f"SM{sm}"), 0):
        raise EngineError(f"{library.name} does not accept {sm_text(sm)} as a target")


def _add_profile(builder: trt.Builder, config: trt.IBuilderConfig, spec: ModelSpec) -> None:
    batch = spec.batch
    profile = builder.create_optimization_profile()
    for tensor in spec.inputs:
        shapes: Any = [(n, *tensor.shape[1:]) for n in (batch.min, batch.opt, batch.max)]
        profile.set_shape(tensor.name, *shapes)
    if config.add_optimization_profile(profile) < 0:
        raise EngineError(
            f"the builder does not accept a profile for batches {batch} of"
            f" {', '.join(f'{t.name} {list(t.shape[1:])}' for t in spec.inputs)}"
        )


def _require_fast(builder: trt.Builder, flags: tuple[str, ...], job: BuildJob) -> None:
    """Raise if the GPU only emulates FP16 or INT8: the builder would silently use FP32."""
    if "INT8" in flags and not builder.platform_has_fast_int8:
        raise EngineError(
            f"this GPU ({sm_text(job.sm)}) has no fast INT8; use --precision fp16 or --precision float"
        )
    if "FP16" in flags and not builder.platform_has_fast_fp16:
        raise EngineError(f"this GPU ({sm_text(job.sm)}) has no fast FP16; use --precision float")


def _set_timing_cache(library: Library, job: BuildJob, config: trt.IBuilderConfig) -> trt.ITimingCache | None:
    """Load the timings of earlier builds; bundle-owned ones of another GPU or version are ignored."""
    if not library.dialect.timing_cache:
        return None
    cache = config.create_timing_cache(job.timing_cache)
    if cache is None or not config.set_timing_cache(cache, False):
        if job.timing_cache_file is not None and job.timing_cache:
            raise EngineError(
                f"{job.timing_cache_file} is not a timing cache of {library.name} for this GPU; name a new file, or"
                " omit --timing-cache"
            )
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache
