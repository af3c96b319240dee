"""Records the library, GPU and graph of an engine, and decides if a machine can run it."""

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
"""Bytes; real manifests have a few kilobytes."""


@dataclass(frozen=True, slots=True)
class Platform:
    """Properties of a machine that engines depend on. None: unknown or absent."""

    system: str
    """As in `sys.platform`: "linux"."""
    architecture: str
    """As in `platform.machine`: "x86_64", "aarch64"."""
    device: str | None = None
    """The GPU's name."""
    sm: int | None = None
    """Compute capability of the GPU, 89 for 8.9."""
    driver: str | None = None
    cuda: str | None = None
    """Newest CUDA version that the driver supports, as "12.6"."""
    dla_cores: int = 0
    power_mode: str | None = None
    """Power mode of a Jetson as nvpmodel names it: "MAXN (0)"."""
    board: str | None = None
    """Board name in the device tree: CUDA calls the GPUs of Orin Nano, Orin NX and AGX Orin all "Orin"."""
    multiprocessors: int | None = None
    memory_mib: int | None = None
    """Of the GPU; on a Jetson, of the board."""

    @property
    def module(self) -> str | None:
        """The Jetson module of the board; for an unknown module, the board's full name."""
        return next((name for name in _MODULES if name in (self.board or "")), self.board)

    @property
    def gpu_text(self) -> str:
        """The GPU with the facts that distinguish models: "Orin of Orin Nano, 8 multiprocessors, 7.4 GiB"."""
        parts = (
            f"{self.device or 'no GPU'}{f' of {self.module}' if self.module else ''}",
            f"{self.multiprocessors} multiprocessors" if self.multiprocessors else None,
            f"{self.memory_mib / 1024:.1f} GiB" if self.memory_mib else None,
        )
        return ", ".join(part for part in parts if part)


_SAME_MEMORY = 1.25
"""Modules differ in memory by a factor of 2; releases of Jetson Linux reserve varying amounts."""
_MODULES = ("AGX Thor", "AGX Orin", "Orin NX", "Orin Nano", "AGX Xavier", "Xavier NX")
"""Jetson modules, as substrings of the names of their developer kits."""


@dataclass(frozen=True, slots=True)
class Running:
    """A library and the machine that should run an engine."""

    flavour: Flavour
    version: str
    """As the library reports it: "10.3.0"."""
    platform: Platform


@dataclass(frozen=True, slots=True)
class PlanTensor:
    """An input or output of the plan; -1 for a dynamic dimension."""

    name: str
    mode: Literal["input", "output"]
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LayerCount:
    """Number of layers of one kind that compute in one type."""

    kind: str
    precision: str
    count: int


@dataclass(frozen=True, slots=True)
class LayerWork:
    """A layer with weights, named as by the parser."""

    layer: str
    macs: int
    """Multiply-accumulates of one call; of one frame for a dynamic batch."""
    precision: str
    """Type set by the graph; "float32" also where the builder may choose."""


@dataclass(frozen=True, slots=True)
class WorkShare:
    """Share of an engine's work that is done in one type."""

    precision: str
    share: float
    """Of the multiply-accumulates, 0 to 1."""


@dataclass(frozen=True, slots=True)
class TimingCacheUse:
    """The timing cache file before and after a build."""

    file: str
    bytes_before: int
    bytes_after: int


@dataclass(frozen=True, slots=True)
class EngineSpeed:
    """Speed of an engine right after the build, in consecutive calls of the usual batch."""

    batch: int
    call_ms: float
    """Median, copies included."""
    calls: int

    @property
    def frames_per_s(self) -> float:
        """Throughput of such calls."""
        return 1e3 * self.batch / self.call_ms


@dataclass(frozen=True, slots=True)
class EngineManifest:
    """Content of ``engine.json``, which describes the ``model.plan`` next to it."""

    edgevision: str
    flavour: Flavour
    version: str
    """Version of the library that built the plan."""
    sm: int
    """Compute capability that the plan is for."""
    built_on: Platform
    graph: FileEntry | None
    """The graph in the bundle; None for a plan that was added without one."""
    precision: Precision
    batch: BatchRange
    plan: FileEntry
    tensors: tuple[PlanTensor, ...]
    flags: tuple[str, ...] = ()
    """Network and builder flags that were set, by the library's names."""
    level: int | None = None
    workspace_mib: int | None = None
    """Limit that the builder had; None: the library's default."""
    dla_core: int | None = None
    dla: str | None = None
    """Number of layers on the DLA, and of switches between DLA and GPU."""
    timing_cache: TimingCacheUse | None = None
    build_s: float = 0.0
    created: str = ""
    clocks: tuple[Clock, ...] = ()
    """Clocks of the building machine when the build began."""
    warnings: tuple[str, ...] = ()
    """Conditions that bind the kernel timings to those clocks, or slowed the machine during the build."""
    held_in_float32: int = 0
    """Layers that are pinned to float32, with weak typing."""
    builder_warnings: tuple[str, ...] = ()
    """Distinct warnings of the library."""
    work: tuple[LayerWork, ...] = ()
    """Of the network's layers with weights."""
    work_shares: tuple[WorkShare, ...] = ()
    """Types that the engine does that work in; empty if it could not be opened on the building machine."""
    network_layers: tuple[LayerCount, ...] = ()
    """The network as passed to the builder."""
    engine_layers: tuple[LayerCount, ...] | None = None
    """The engine as its inspector describes it; None if it could not be opened on the building machine."""
    verification: Verification | None = None
    """Result of the golden frames; None: they did not run, and `not_run` holds the reason."""
    not_run: str | None = None
    speed: EngineSpeed | None = None
    """None: the engine did not run on the building machine."""
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.sm < 10 or self.schema < 1:
            raise ValueError(f"sm {self.sm} and schema {self.schema} are not valid for an engine")

    def to_json(self) -> bytes:
        """The bytes of ``engine.json``."""
        return json_text(self).encode()


@dataclass(frozen=True, slots=True)
class Run:
    """The engine fits; `note` holds remaining differences."""

    note: str | None = None


@dataclass(frozen=True, slots=True)
class Rebuild:
    """The engine does not fit or is missing, and this machine can build one."""

    reason: str
    bundle: str
    """As named on the command line."""
    flavour: Flavour
    request: EngineRequest
    """What to build."""

    @property
    def command(self) -> str:
        """The command that builds it."""
        return build_command(self.bundle, self.flavour, self.request)

    def __str__(self) -> str:
        return f"{self.reason}; rebuild: {self.command}"


@dataclass(frozen=True, slots=True)
class Refuse:
    """The engine does not fit, and a rebuild here would not help; `remedy` names the fix."""

    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.reason}; {self.remedy}"


Decision = Run | Rebuild | Refuse


def fingerprint(
    manifest_facts: tuple[object, ...], flavour: Flavour, version: str, sm: int, precision: str
) -> str:
    """Folder name of an engine: a readable target, and eight hash digits of all build inputs."""
    digest = hashlib.sha256(json.dumps(manifest_facts, default=str).encode()).hexdigest()[:8]
    return f"{flavour}-{version}-sm{sm}-{precision}-{digest}"


def read_manifest(path: Path) -> EngineManifest:
    """Read an ``engine.json``; raises `BundleError` for what is missing, malformed, or newer than this version."""
    again = "delete its folder and build the engine again: edgevision build BUNDLE"
    try:
        if path.stat().st_size > _LARGEST_MANIFEST:
            raise BundleError(
                f"{path} has {path.stat().st_size} bytes, which is too large for an engine manifest; {again}"
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
    """Decide if `running` can run the engine, must rebuild it, or can do neither.

    `bundle` is the name for the command in the message. `graph_sha256` belongs to the graph in the bundle now; None if
    the bundle holds none, so that no rebuild is possible. The plan is not read.
    """
    here = running.platform
    if here.sm is None:
        return Refuse(
            f"the engine is for a GPU of {sm_text(manifest.sm)}; CUDA found no GPU on this machine",
            "run `edgevision doctor`, or use --engine onnxruntime",
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
    # If the core does not exist here, or the library does not support it, the GPU runs the whole network.
    kept = core if core is not None and core < here.dla_cores else None
    request = EngineRequest(manifest.precision, dla_core=kept, rebuild=True)
    return Rebuild(difference, bundle, running.flavour, request)


def _difference(manifest: EngineManifest, running: Running, graph_sha256: str | None) -> str | None:
    """The difference that makes the plan unfit, with both values; None if there is none."""
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
        return f"{built_by} with CUDA {built.cuda}; this driver supports CUDA {here.cuda}"
    # TensorRT-RTX compiles for the GPU at run time; TensorRT selected kernels by timing them on one GPU model.
    if manifest.flavour == "tensorrt" and _other_model(built, here):
        return (
            f"{built_by} on {built.gpu_text}; this is {here.gpu_text}, for which its kernels were not timed"
        )
    if manifest.dla_core is not None and manifest.dla_core >= here.dla_cores:
        return f"the engine was built for DLA core {manifest.dla_core}; this device has {here.dla_cores} DLA cores"
    may_choose = (
        dialect(manifest.flavour, manifest.version).constraint_flags if "FP16" in manifest.flags else ()
    )
    if not set(may_choose) <= set(manifest.flags):
        return (
            f"an earlier edgevision let {FLAVOURS[manifest.flavour]} compute pre- and post-processing of this engine"
            " in FP16"
        )
    if graph_sha256 is not None and manifest.graph is not None and manifest.graph.sha256 != graph_sha256:
        return f"the bundle's {manifest.graph.name} has changed since the engine was built"
    return None


def _other_model(built: Platform, here: Platform) -> bool:
    """True if a fact known for both shows that the GPU models differ."""
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
    """The reason why this machine cannot build such an engine either; None if it can."""
    here = running.platform
    if here.sm is not None and not supports_sm(running.flavour, running.version, here.sm):
        return f"which {FLAVOURS[running.flavour]} {running.version} builds nothing for"
    known = {entry.precision for entry in dialect(running.flavour, running.version).precisions}
    if manifest.precision not in known or (manifest.precision == "fp8" and (here.sm or 0) < FP8_SM):
        return f"where {FLAVOURS[running.flavour]} {running.version} builds no {manifest.precision} engine"
    return None


def _note(built: Platform, here: Platform) -> str | None:
    """Differences that do no harm."""
    notes = []
    if built.driver and here.driver and built.driver != here.driver:
        notes.append(
            f"built with driver {built.driver}, runs with {here.driver}: the kernel selection may not be"
            f" optimal"
        )
    if built.power_mode and here.power_mode and built.power_mode != here.power_mode:
        notes.append(
            f"built in power mode {built.power_mode}, runs in {here.power_mode}: its kernels were selected at other"
            f" clocks; to build for this mode: edgevision build"
        )
    return "; ".join(notes) or None


def _major(version: str | None) -> int:
    """The first number of a version; 0 if unknown."""
    digits = (version or "").split(".")[0]
    return int(digits) if digits.isdigit() else 0
