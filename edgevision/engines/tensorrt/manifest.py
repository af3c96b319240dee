"""What an engine was built by, from and for; and whether the machine that holds it may run it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgevision.bundle.folder import FileEntry, Verification
from edgevision.contract.spec import BatchRange, Precision
from edgevision.device.gpu import sm_text
from edgevision.device.power.state import Clock
from edgevision.engines.tensorrt.request import EngineRequest, build_command
from edgevision.engines.tensorrt.versions import FLAVOURS, FP8_SM, Flavour, dialect, supports_sm
from edgevision.errors import BundleError
from edgevision.storage.codec import (
    DecodeError,
    dataclass_from_json,
    json_text,
    newer_schema,
)

SCHEMA = 1
MANIFEST = "engine.json"
PLAN = "model.plan"
_LARGEST_MANIFEST = 1 << 20
"""A manifest has a few kilobytes; what is larger than this is none."""


@dataclass(frozen=True, slots=True)
class Platform:
    """A machine as far as engines care. None: not known, or there is none."""

    system: str
    """As `sys.platform` has it: "linux"."""
    architecture: str
    """As `platform.machine` has it: "x86_64", "aarch64"."""
    device: str | None = None
    """The GPU's name."""
    sm: int | None = None
    """The GPU's compute capability, 89 for 8.9."""
    driver: str | None = None
    cuda: str | None = None
    """The newest CUDA that the driver speaks, as "12.6"."""
    dla_cores: int = 0
    power_mode: str | None = None
    """As nvpmodel names a Jetson's: "MAXN (0)"."""
    board: str | None = None
    """As the device tree names it: CUDA calls the GPU of an Orin Nano, of an Orin NX and of an AGX Orin all "Orin"."""
    multiprocessors: int | None = None
    memory_mib: int | None = None
    """Of the GPU; on a Jetson that of the board."""

    @property
    def module(self) -> str | None:
        """The Jetson module on the board; what is unknown has the board's whole name."""
        return next((name for name in _MODULES if name in (self.board or "")), self.board)

    @property
    def gpu_text(self) -> str:
        """The GPU by all that tells models apart: "Orin of Orin Nano, 8 multiprocessors, 7.4 GiB"."""
        parts = (
            f"{self.device or 'no GPU'}{f' of {self.module}' if self.module else ''}",
            f"{self.multiprocessors} multiprocessors" if self.multiprocessors else None,
            f"{self.memory_mib / 1024:.1f} GiB" if self.memory_mib else None,
        )
        return ", ".join(part for part in parts if part)


_SAME_MEMORY = 1.25
"""Modules differ in memory by a factor of 2; releases of Jetson Linux keep more or less of it for themselves."""
_MODULES = ("AGX Thor", "AGX Orin", "Orin NX", "Orin Nano", "AGX Xavier", "Xavier NX")
"""Jetson modules by what the names of their developer kits hold."""


@dataclass(frozen=True, slots=True)
class Running:
    """The library that is to run an engine, and the machine that it is to run on."""

    flavour: Flavour
    version: str
    """As the library says it: "10.3.0"."""
    platform: Platform


@dataclass(frozen=True, slots=True)
class PlanTensor:
    """An input or output of the plan; -1 where a length is dynamic."""

    name: str
    mode: Literal["input", "output"]
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LayerCount:
    """How many layers there are of one kind that compute in one type."""

    kind: str
    precision: str
    count: int


@dataclass(frozen=True, slots=True)
class LayerWork:
    """A layer with weights, as the parser named it."""

    layer: str
    macs: int
    """Multiply-accumulates of one call; of one frame where the batch varies."""
    precision: str
    """What the graph has it compute in; "float32" also where the builder may choose."""


@dataclass(frozen=True, slots=True)
class WorkShare:
    """How much of an engine's work is done in one type."""

    precision: str
    share: float
    """Of the multiply-accumulates, 0 to 1."""


@dataclass(frozen=True, slots=True)
class TimingCacheUse:
    """The file of timings that a build began and ended with."""

    file: str
    bytes_before: int
    bytes_after: int


@dataclass(frozen=True, slots=True)
class EngineSpeed:
    """How fast an engine was when it had just been built, by calls of the usual batch one after another."""

    batch: int
    call_ms: float
    """Median, copies included."""
    calls: int

    @property
    def frames_per_s(self) -> float:
        """Frames of such calls."""
        return 1e3 * self.batch / self.call_ms


@dataclass(frozen=True, slots=True)
class EngineManifest:
    """What ``engine.json`` says of the ``model.plan`` beside it."""

    edgevision: str
    flavour: Flavour
    version: str
    """Of the library that built the plan."""
    sm: int
    """The compute capability that the plan is for."""
    built_on: Platform
    graph: FileEntry | None
    """The graph in the bundle; None for a plan that came without one."""
    precision: Precision
    batch: BatchRange
    plan: FileEntry
    tensors: tuple[PlanTensor, ...]
    flags: tuple[str, ...] = ()
    """Network and builder flags that were set, by their names in the library."""
    level: int | None = None
    workspace_mib: int | None = None
    """The bound that the builder had; None: the library's own."""
    dla_core: int | None = None
    dla: str | None = None
    """How many layers the DLA takes and how often the network changes between it and the GPU."""
    timing_cache: TimingCacheUse | None = None
    build_s: float = 0.0
    created: str = ""
    clocks: tuple[Clock, ...] = ()
    """Of the machine that it was built on, when the build began."""
    warnings: tuple[str, ...] = ()
    """What made the timings of its kernels hold for those clocks alone, or slowed the machine down meanwhile."""
    held_in_float32: int = 0
    """Layers that the builder was not left to choose a type for, where typing is weak."""
    builder_warnings: tuple[str, ...] = ()
    """What the library warned of, each once."""
    work: tuple[LayerWork, ...] = ()
    """Of the network's layers with weights."""
    work_shares: tuple[WorkShare, ...] = ()
    """What the engine does that work in; empty: it could not be opened where it was built."""
    network_layers: tuple[LayerCount, ...] = ()
    """The network as it was handed to the builder."""
    engine_layers: tuple[LayerCount, ...] | None = None
    """The engine as its inspector describes it; None: it could not be opened where it was built."""
    verification: Verification | None = None
    """The golden frames through the engine; None: they did not run, and `not_run` says why."""
    not_run: str | None = None
    speed: EngineSpeed | None = None
    """None: it did not run where it was built."""
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.sm < 10 or self.schema < 1:
            raise ValueError(f"sm {self.sm} and schema {self.schema} are not those of any engine")

    def to_json(self) -> bytes:
        """The bytes of ``engine.json``."""
        return json_text(self).encode()


@dataclass(frozen=True, slots=True)
class Run:
    """The engine fits; `note` is what may still surprise."""

    note: str | None = None


@dataclass(frozen=True, slots=True)
class Rebuild:
    """The engine does not fit, or there is none, and this machine can build one that does."""

    reason: str
    bundle: str
    """As the command names it."""
    flavour: Flavour
    request: EngineRequest
    """What to build."""

    @property
    def command(self) -> str:
        """What builds it."""
        return build_command(self.bundle, self.flavour, self.request)

    def __str__(self) -> str:
        return f"{self.reason}; rebuild: {self.command}"


@dataclass(frozen=True, slots=True)
class Refuse:
    """The engine does not fit, and building it again here would not help; `remedy` says what would."""

    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.reason}; {self.remedy}"


Decision = Run | Rebuild | Refuse


def fingerprint(
    manifest_facts: tuple[object, ...], flavour: Flavour, version: str, sm: int, precision: str
) -> str:
    """The name of an engine's folder: what it is for, readable, and eight digits for all that decides its content."""
    digest = hashlib.sha256(json.dumps(manifest_facts, default=str).encode()).hexdigest()[:8]
    return f"{flavour}-{version}-sm{sm}-{precision}-{digest}"


def read_manifest(path: Path) -> EngineManifest:
    """Read an ``engine.json``; raises `BundleError` for what is missing, malformed, or newer than this version."""
    again = "delete its folder and build the engine again: edgevision build BUNDLE"
    try:
        if path.stat().st_size > _LARGEST_MANIFEST:
            raise BundleError(
                f"{path} has {path.stat().st_size} bytes: no engine's manifest is so long; {again}"
            )
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror}; {again}") from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise BundleError(f"{path} is not JSON: {error}; {again}") from error
    newer = newer_schema(data, SCHEMA)
    if newer is not None:
        raise BundleError(f"{path} has {newer}, or {again}")
    try:
        return dataclass_from_json(EngineManifest, data)
    except DecodeError as error:
        raise BundleError(f"{path}: {error}; {again}") from error


def decide(
    manifest: EngineManifest, running: Running, *, bundle: str = "BUNDLE", graph_sha256: str | None = None
) -> Decision:
    """Whether `running` may run the engine, must build it again, or can do neither.

    `bundle` is what the command in the message names. `graph_sha256` is that of the graph in the bundle now; None if it
    holds none, so that nothing can be built from it. The plan is not touched.
    """
    here = running.platform
    if here.sm is None:
        return Refuse(
            f"the engine is for a GPU of {sm_text(manifest.sm)}; CUDA finds no GPU here",
            "see `edgevision doctor`, or run with --engine onnxruntime",
        )
    difference = _difference(manifest, running, graph_sha256)
    if difference is None:
        return Run(_note(manifest.built_on, here))
    obstacle = _obstacle(manifest, running)
    if obstacle is not None:
        return Refuse(f"{difference}, {obstacle}", "run it elsewhere, or here with --engine onnxruntime")
    if graph_sha256 is None:
        return Refuse(
            f"{difference}, and the bundle holds no {manifest.precision} graph to build it from",
            f"build it where its graph is, with {FLAVOURS[running.flavour]} {running.version}",
        )
    core = manifest.dla_core
    # Where its core is not, or the library does not know it, the GPU takes the whole network.
    kept = core if core is not None and core < here.dla_cores else None
    request = EngineRequest(manifest.precision, dla_core=kept, rebuild=True)
    return Rebuild(difference, bundle, running.flavour, request)


def _difference(manifest: EngineManifest, running: Running, graph_sha256: str | None) -> str | None:
    """What makes the plan unfit, both sides named; None if nothing does."""
    built, here = manifest.built_on, running.platform
    built_by = f"the engine was built by {FLAVOURS[manifest.flavour]} {manifest.version}"
    library = f"{FLAVOURS[running.flavour]} {running.version}"
    if (manifest.flavour, manifest.version, manifest.sm) != (running.flavour, running.version, here.sm):
        theirs = f"{built_by} for {sm_text(manifest.sm)}"
        return f"{theirs}; this device has {library} and {sm_text(here.sm or 0)}"
    if (built.system, built.architecture) != (here.system, here.architecture):
        theirs = f"{built_by} on {built.system} {built.architecture}"
        return f"{theirs}; this is {here.system} {here.architecture}"
    if _major(built.cuda) > _major(here.cuda) > 0:
        return f"{built_by} with CUDA {built.cuda}; this driver knows CUDA {here.cuda}"
    # TensorRT-RTX compiles for the GPU that it finds; TensorRT chose kernels by timing them on one model of GPU.
    if manifest.flavour == "tensorrt" and _other_model(built, here):
        return f"{built_by} on {built.gpu_text}; this is {here.gpu_text}, where its kernels were never timed"
    if manifest.dla_core is not None and manifest.dla_core >= here.dla_cores:
        return f"the engine was built for DLA core {manifest.dla_core}; this device has {here.dla_cores} DLA cores"
    may_choose = (
        dialect(manifest.flavour, manifest.version).constraint_flags if "FP16" in manifest.flags else ()
    )
    if not set(may_choose) <= set(manifest.flags):
        return f"{built_by} with leave to compute pre- and post-processing in FP16, by an earlier version of edgevision"
    if graph_sha256 is not None and manifest.graph is not None and manifest.graph.sha256 != graph_sha256:
        return f"the engine was built from another {manifest.graph.name} than the bundle holds now"
    return None


def _other_model(built: Platform, here: Platform) -> bool:
    """True if a fact that both know says that these are two models of GPU."""
    pairs: tuple[tuple[str | int | None, str | int | None], ...] = (
        (built.device, here.device),
        (built.module, here.module),
        (built.multiprocessors, here.multiprocessors),
    )
    if any(theirs is not None and ours is not None and theirs != ours for theirs, ours in pairs):
        return True
    less, more = sorted((built.memory_mib or 0, here.memory_mib or 0))
    return 0 < less < more / _SAME_MEMORY


def _obstacle(manifest: EngineManifest, running: Running) -> str | None:
    """Why such an engine cannot be built here either; None if it can."""
    here = running.platform
    if here.sm is not None and not supports_sm(running.flavour, running.version, here.sm):
        return f"which {FLAVOURS[running.flavour]} {running.version} builds nothing for"
    known = {entry.precision for entry in dialect(running.flavour, running.version).precisions}
    if manifest.precision not in known or (manifest.precision == "fp8" and (here.sm or 0) < FP8_SM):
        return f"where {FLAVOURS[running.flavour]} {running.version} builds no {manifest.precision} engine"
    return None


def _note(built: Platform, here: Platform) -> str | None:
    """What differs without doing harm."""
    notes = []
    if built.driver and here.driver and built.driver != here.driver:
        notes.append(f"built with driver {built.driver}, runs with {here.driver}: its timings may not hold")
    if built.power_mode and here.power_mode and built.power_mode != here.power_mode:
        notes.append(
            f"built in power mode {built.power_mode}, runs in {here.power_mode}: its kernels were chosen at other"
            " clocks; edgevision build makes one for this mode"
        )
    return "; ".join(notes) or None


def _major(version: str | None) -> int:
    """The first number of a version; 0 where it is not known."""
    digits = (version or "").split(".")[0]
    return int(digits) if digits.isdigit() else 0
