"""Builds the engines of a bundle: selects graphs, reuses existing engines, and records each build."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import edgevision
from edgevision.builder.builder import BuildCallbacks, BuildJob, BuildStopped, BuiltPlan, build_plan
from edgevision.builder.calibrator import CACHE, read_ranges
from edgevision.builder.forms import graph_file, refuse_unread
from edgevision.builder.timing import TimingCacheFile
from edgevision.bundle.folder import Bundle, FileEntry, GraphEntry
from edgevision.contract.embedded_spec import FLOAT32_KEY, KEPT_KEY, embedded_nodes
from edgevision.contract.spec import BatchRange, Precision, utc_now
from edgevision.device.gpu import GpuFacts, gpu_facts, sm_text
from edgevision.device.power.findings import before_timing, meanwhile
from edgevision.device.power.reading import power_state
from edgevision.device.power.state import PowerState
from edgevision.engines.tensorrt.here import dla_cores, running_on
from edgevision.engines.tensorrt.library import Library
from edgevision.engines.tensorrt.manifest import EngineManifest, Running, TimingCacheUse, fingerprint
from edgevision.engines.tensorrt.request import EngineRequest
from edgevision.engines.tensorrt.store import StoredEngine, building, open_engine, write_engine
from edgevision.engines.tensorrt.versions import FLAVOURS
from edgevision.errors import BundleError, EngineError, GraphError, UsageError, VerificationError
from edgevision.storage.sha256 import sha256_of_file

AUTO: tuple[Precision, ...] = ("int8", "fp16", "float")
"""Graphs in the order of preference of "auto"; bundles hold no graph that loses too much accuracy."""
DLA_PRECISIONS: tuple[Precision, ...] = ("int8", "fp16")
"""Precisions that a DLA computes in."""


_WARNINGS_KEPT = 100


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """One requested engine."""

    engine: StoredEngine
    built: bool
    """False: an intact engine of the same graph, library and settings already existed."""


EngineCheck = Callable[[Bundle, StoredEngine], EngineManifest]
"""Runs an engine under its temporary name; returns the manifest with the results."""


def build_engines(
    bundle: Bundle, library: Library, request: EngineRequest, watch: BuildCallbacks, check: EngineCheck
) -> tuple[Outcome, ...]:
    """Build one engine for each compute capability, or reuse it.

    Writes only complete engines and the timing cache. Raises `UsageError`, `BundleError`, `GraphError`, `EngineError`,
    `VerificationError`, and `BuildStopped`, which leaves the timings so far in the timing cache.
    """
    gpu = gpu_facts()
    graphs = choose_graphs(bundle, request, watch.report)
    for graph in graphs:
        bundle.graph_path(graph.precision)
    sms = targets(library, request, gpu)
    _require_dla(library, request, gpu, graphs[0].precision, bundle.spec.batch)
    with building(bundle.path, watch.report) as root:
        done: list[Outcome] = []
        for sm in sms:
            tasks = [_Task(bundle, library, request, graph, sm, gpu) for graph in graphs]
            if request.precision == "all":
                done += [_existing(task, root) or _build(task, root, watch, check) for task in tasks]
            else:
                done.append(_first_that_can(tasks, root, watch, check))
    return tuple(done)


def choose_graphs(
    bundle: Bundle, request: EngineRequest, report: Callable[[str], None] = lambda _: None
) -> tuple[GraphEntry, ...]:
    """The graphs to build, in order of preference.

    An explicitly requested graph is used as it is. "auto" and "all" skip graphs that failed verification, with a
    message, and graphs that a DLA cannot compute. Raises `UsageError` if none is left.
    """
    precision = request.precision
    if precision != "auto" and precision != "all":
        return (bundle.graph(precision),)
    held = {entry.precision: entry for entry in bundle.manifest.graphs}
    wanted = [held[precision] for precision in AUTO if precision in held]
    if request.dla_core is not None:
        wanted = [entry for entry in wanted if entry.precision in DLA_PRECISIONS] or wanted
    good = []
    for entry in wanted:
        failures = _disproof(entry)
        if failures is None or entry.precision == "float":
            good.append(entry)
        else:
            report(f"skipping the {entry.precision} graph: it failed verification ({failures})")
    if not good:
        dla = " for a DLA, which computes only in FP16 and INT8: build without --device, or"
        place = dla if request.dla_core is not None else ":"
        raise UsageError(f"{bundle.path} holds no usable graph{place} quantize the bundle again")
    return tuple(good)


def _disproof(entry: GraphEntry) -> str | None:
    """The failure of a graph that failed verification in every engine that ran it; else None.

    The failure of one engine may be caused by that engine or its class of processor. The golden frames on the GPU are
    more reliable than its record.
    """
    latest = {record.engine: record for record in sorted(entry.verifications, key=lambda r: r.created)}
    if not latest or any(record.passed for record in latest.values()):
        return None
    return next(iter(latest.values())).failures


def _first_that_can(tasks: list[_Task], root: Path, watch: BuildCallbacks, check: EngineCheck) -> Outcome:
    """Build the first graph; fall back to the next if the build or the verification fails."""
    *others, last = tasks
    for task, following in zip(others, tasks[1:], strict=True):
        try:
            return _existing(task, root) or _build(task, root, watch, check)
        except (EngineError, GraphError, VerificationError) as error:
            watch.report(f"{error}; building the {following.graph.precision} graph instead")
    return _existing(last, root) or _build(last, root, watch, check)


def targets(library: Library, request: EngineRequest, gpu: GpuFacts | None) -> tuple[int, ...]:
    """The compute capabilities to build for; raises `UsageError` or `EngineError` for unsupported ones."""
    dialect = library.dialect
    if gpu is None and not dialect.targets:
        raise EngineError(
            f"{library.name} builds only for an installed GPU, and CUDA found none; to build for another GPU:"
            " --engine tensorrt-rtx --sm 89"
        )
    if request.sms is None:
        if gpu is None:
            raise UsageError(
                "CUDA found no GPU; name the compute capabilities to build for, such as --sm 86,89"
            )
        wanted: tuple[int, ...] = (gpu.sm,)
    else:
        wanted = tuple(dict.fromkeys(request.sms))
    for sm in wanted:
        if dialect.targets and sm not in dialect.targets:
            known = ", ".join(map(str, dialect.targets))
            raise UsageError(
                f"{library.name} does not support {sm_text(sm)} (--sm {sm}); it supports {known}"
            )
        if not dialect.targets and gpu is not None and sm != gpu.sm:
            raise UsageError(
                f"{library.name} builds only for the installed GPU, {gpu.name} of {sm_text(gpu.sm)}, not for"
                f" --sm {sm}; TensorRT-RTX builds for others"
            )
        low, high = dialect.sm_range
        if not low <= sm <= high:
            raise EngineError(f"{library.name} supports SM {low / 10:g} to {high / 10:g}, not {sm_text(sm)}")
    return wanted


@dataclass(frozen=True, eq=False)
class _Task:
    """One engine to build."""

    bundle: Bundle
    library: Library
    request: EngineRequest
    graph: GraphEntry
    sm: int
    gpu: GpuFacts | None

    @property
    def calibrated(self) -> bool:
        """True for the float graph with a file of INT8 ranges, instead of a graph with Q/DQ."""
        by_file = bool(self.library.dialect.dla_calibrator) and self.request.dla_core is not None
        return by_file and self.graph.precision == "int8"

    @property
    def file(self) -> Path:
        """The ONNX file for this version; raises `GraphError` if the bundle holds none."""
        if self.calibrated:
            return self.bundle.graph_path("float")
        return graph_file(self.bundle, self.graph, self.library)

    @functools.cached_property
    def running(self) -> Running:
        return running_on(self.library, self.gpu)

    @functools.cached_property
    def name(self) -> str:
        """The folder's name, with a hash of everything that defines the plan."""
        request, running = self.request, self.running
        ranges = read_ranges(self.bundle.path) if self.calibrated else b""
        facts = (
            self.graph.file.sha256,
            sha256_of_file(self.file),
            hashlib.sha256(ranges).hexdigest(),
            self.library.dialect.constraint_flags,
            str(self.bundle.spec.batch),
            request.level,
            request.workspace_mib,
            request.dla_core,
            running.platform.system,
            running.platform.architecture,
            None if self.library.dialect.targets else running.platform.gpu_text,
            None if self.library.dialect.targets else running.platform.power_mode,
        )
        library = self.library
        return fingerprint(facts, library.flavour, library.version, self.sm, self.graph.precision)


def _existing(task: _Task, root: Path) -> Outcome | None:
    """The engine if the store holds it intact; a damaged one is rebuilt in its place."""
    folder = root / task.name
    if task.request.rebuild or not folder.exists():
        return None
    try:
        engine = open_engine(folder)
        engine.plan()
    except BundleError:
        return None
    return Outcome(engine, built=False)


def _build(task: _Task, root: Path, watch: BuildCallbacks, check: EngineCheck) -> Outcome:
    platform = task.running.platform
    cache = TimingCacheFile.for_build(task.library, root, platform, task.request.timing_cache)
    before = cache.read() if cache else b""
    calibration = read_ranges(task.bundle.path) if task.calibrated else b""
    refuse_unread(task.file, task.library)
    job = BuildJob(
        graph=task.file,
        calibration=calibration,
        spec=task.bundle.spec,
        precision=task.graph.precision,
        sm=task.sm,
        level=task.request.level,
        workspace_mib=task.request.workspace_mib,
        memory_mib=task.request.memory_mib,
        dla_core=task.request.dla_core,
        timing_cache=before,
        timing_cache_file=task.request.timing_cache,
        float32_nodes=_noted(task, FLOAT32_KEY, watch),
        half_nodes=_noted(task, KEPT_KEY, watch) if task.calibrated else frozenset(),
    )
    # TensorRT-RTX times nothing during a build.
    power = power_state() if task.library.dialect.timing_cache else PowerState()
    for warning in before_timing(power):
        watch.report(f"warning: {warning}")
    try:
        built = build_plan(task.library, job, task.gpu, watch)
    except BuildStopped as stopped:
        if cache:
            cache.write(stopped.timing_cache)
        raise
    if cache:
        cache.write(built.timing_cache)
    slowed = meanwhile(power, power_state()) if task.library.dialect.timing_cache else ()
    for finding in slowed:
        watch.report(f"warning: during the build: {finding}")
    timed = _Timed(power, (*before_timing(power), *slowed))
    use = TimingCacheUse(cache.path.name, len(before), len(built.timing_cache)) if cache else None
    engine = write_engine(
        root,
        task.name,
        built.plan,
        lambda plan: _manifest(task, built, plan, use, timed),
        lambda engine: check(task.bundle, engine),
    )
    return Outcome(engine, built=True)


def _noted(task: _Task, key: str, watch: BuildCallbacks) -> frozenset[str]:
    """Nodes that the graph's metadata names; warns if a quantized graph names none and the builder chooses types."""
    names = embedded_nodes(task.bundle.graph_path(task.graph.precision), key)
    chooses = bool(task.library.dialect.constraint_flags) and task.graph.precision == "int8"
    if names is None and chooses and (not task.library.dialect.strongly_typed or task.calibrated):
        watch.report(
            "warning: the int8 graph does not name the nodes that need more than INT8 or FP16, and this TensorRT"
            " chooses types: quantize the bundle again"
        )
    return names or frozenset()


@dataclass(frozen=True, slots=True)
class _Timed:
    """Clocks during the timing of kernels."""

    power: PowerState
    warnings: tuple[str, ...]


def _manifest(
    task: _Task, built: BuiltPlan, plan: FileEntry, use: TimingCacheUse | None, timed: _Timed
) -> EngineManifest:
    return EngineManifest(
        edgevision=edgevision.__version__,
        flavour=task.library.flavour,
        version=task.library.version,
        sm=task.sm,
        built_on=task.running.platform,
        graph=task.graph.file,
        precision=task.graph.precision,
        batch=task.bundle.spec.batch,
        plan=plan,
        tensors=built.tensors,
        flags=built.flags,
        level=task.request.level,
        workspace_mib=built.fit.workspace_mib,
        dla_core=task.request.dla_core,
        dla=_placement(task, built),
        timing_cache=use,
        build_s=round(built.seconds, 3),
        created=utc_now(),
        clocks=timed.power.clocks,
        warnings=timed.warnings,
        held_in_float32=built.held,
        work=built.work,
        builder_warnings=built.warnings[:_WARNINGS_KEPT],
        network_layers=built.network_layers,
        not_run="not tried",
    )


def _placement(task: _Task, built: BuiltPlan) -> str | None:
    if built.dla is None:
        return None
    return f"{built.dla}; INT8 ranges from {CACHE}" if task.calibrated else str(built.dla)


def _require_dla(
    library: Library, request: EngineRequest, gpu: GpuFacts | None, precision: Precision, batch: BatchRange
) -> None:
    """Raise `EngineError` if the version or the module has no such DLA, before parsing."""
    if request.dla_core is None:
        return
    modules = library.dialect.dla_modules
    if not modules:
        raise EngineError(
            f"{library.name} does not support a DLA ({library.dialect.source}); build without --device"
        )
    if precision not in DLA_PRECISIONS:
        raise UsageError(
            f"a DLA computes only in FP16 and INT8; received {precision}: use --precision fp16 or int8"
        )
    if not batch.static:
        raise UsageError(
            f"a DLA needs a static batch; the graph has {batch}: export the model again with --batch"
            f" {batch.opt}, or build without --device"
        )
    cores = dla_cores(library, gpu)
    if request.dla_core >= cores:
        name = gpu.name if gpu else "this machine"
        raise EngineError(
            f"{name} has {cores} DLA cores; received --device dla:{request.dla_core}."
            f" {FLAVOURS[library.flavour]} supports a DLA on {', '.join(modules)}: build without --device"
        )
