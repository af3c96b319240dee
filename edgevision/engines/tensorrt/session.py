"""Sessions of TensorRT and TensorRT-RTX engines, checked against their manifest before loading."""

from __future__ import annotations

import contextlib
import logging
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from edgevision.bundle.folder import Bundle
from edgevision.contract.inputs import Arrays, Tensors
from edgevision.contract.layers import EngineProfile
from edgevision.contract.results import Outputs
from edgevision.contract.session import (
    EngineInfo,
    Frames,
    Pending,
    Session,
    SessionOptions,
    aligned_frames,
)
from edgevision.contract.spec import ModelSpec
from edgevision.device.names import device_named, gpu_index_of
from edgevision.engines.pinned import PinnedBatches
from edgevision.engines.profiles.tensorrt import profile
from edgevision.engines.tensorrt.contexts import Contexts
from edgevision.engines.tensorrt.cuda import CudaDevice, cuda_device, use_device
from edgevision.engines.tensorrt.dla import dla_note
from edgevision.engines.tensorrt.execution_context import ExecutionContext
from edgevision.engines.tensorrt.here import running_here
from edgevision.engines.tensorrt.jit_cache import JitCache
from edgevision.engines.tensorrt.library import Library, load_library
from edgevision.engines.tensorrt.log import Messages, logger
from edgevision.engines.tensorrt.manifest import Rebuild, Refuse, Run
from edgevision.engines.tensorrt.slots import SLOTS, Flight, Slots
from edgevision.engines.tensorrt.store import StoredEngine, choose_engine, decide_engine
from edgevision.engines.tensorrt.versions import Flavour
from edgevision.errors import EngineError, UsageError, VerificationError
from edgevision.verification.golden import verify_session

if TYPE_CHECKING:
    import tensorrt as trt

LOG = logging.getLogger(__name__)

_DTYPES = {"FLOAT": "float32", "INT32": "int32", "UINT8": "uint8"}
"""TensorRT's names of the types in the contract."""
_GRAPH_NOTES = ("CUDA graphs ", "replayed as", "no CUDA graph")
WARM_CALLS = 200
"""Calls after which kernels for the usual batch sizes are compiled and written to the cache."""
_Tensors = dict[str, tuple[str, tuple[int, ...]]]
"""Type and shape of each tensor by name; -1 for a dynamic batch."""


@dataclass(eq=False)
class LoadedEngine:
    """A deserialized plan, shared by sessions; the library requires the first three fields to outlive its objects."""

    library: Library
    messages: Messages
    log: trt.ILogger
    runtime: trt.Runtime
    engine: trt.ICudaEngine
    kernels: JitCache | None = None
    """Kernels that TensorRT-RTX compiles for it, shared by all of its contexts."""


class _LoadedEngines:
    """Engines in use by sessions, by the hash of their plan."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._engines: weakref.WeakValueDictionary[tuple[Flavour, str, int | None, int], LoadedEngine] = (
            weakref.WeakValueDictionary()
        )

    def get(self, library: Library, stored: StoredEngine, gpu_index: int) -> LoadedEngine:
        """Return the engine that is loaded on this GPU, or load it."""
        manifest = stored.manifest
        key = (library.flavour, manifest.plan.sha256, manifest.dla_core, gpu_index)
        if not manifest.batch.static and not library.dialect.shares_profiles:
            return _load(library, stored)
        with self._lock:
            loaded = self._engines.get(key)
            if loaded is None:
                loaded = _load(library, stored)
                self._engines[key] = loaded
            return loaded


_LOADED = _LoadedEngines()


class TensorRtSession(Session):
    """An engine with its own contexts and streams; sessions of one plan share the engine.

    Thread-safe. `submit` keeps two batches in progress on a discrete GPU. Batches of several sessions overlap there.
    """

    def __init__(
        self,
        spec: ModelSpec,
        info: EngineInfo,
        loaded: LoadedEngine,
        slots: Slots,
        pinned: PinnedBatches | None,
    ) -> None:
        """`info.gpu_index` is the GPU of the engine and the slots.

        `pinned` is None if the GPU shares the host's memory.
        """
        super().__init__(spec, info)
        self._opened: tuple[LoadedEngine, Slots] | None = (loaded, slots)
        self._pinned = pinned
        self._lock = threading.Lock()
        self._calls = 0
        self._give_back = weakref.finalize(self, _give_back, slots, loaded.kernels)

    def __enter__(self) -> TensorRtSession:
        return self

    @property
    def in_flight(self) -> int:
        """Two on a discrete GPU."""
        return 1 if self._opened is None else self._opened[1].limit

    def inspector_json(self) -> str:
        """The output of TensorRT's inspector for the engine."""
        return _inspector_json(self._working()[0])

    def close(self) -> None:
        """Release the contexts and their memory; the last session releases the engine."""
        with self._lock:
            self._give_back()
            self._opened = self.layer_profile = None

    def new_batch(self, rows: int | None = None) -> Frames:
        """Pinned memory; on a GPU that shares the host's memory aligned, because a captured graph has one input."""
        with self._lock:
            self._working()
            shape = self._batch_shape(rows)
            return aligned_frames(shape) if self._pinned is None else self._pinned.new(shape)

    def submit(self, frames: Frames) -> Pending:
        """Queue a batch. An error on the device is raised by the result."""
        self._check_frames(frames)
        flight = self._start((frames,))
        return Pending(lambda: self._checked(self._finish(flight), len(frames)))

    def _infer(self, frames: Frames) -> Outputs:
        return self._finish(self._start((frames,)))

    def _infer_tensors(self, tensors: Tensors) -> Outputs:
        return self._finish(self._start(tensors.arrays))

    def _start(self, arrays: Arrays) -> Flight:
        with self._lock, self._errors_named() as (_, slots):
            return slots.start(arrays)

    def _finish(self, flight: Flight) -> Outputs:
        with self._lock, self._errors_named() as (loaded, slots):
            outputs = slots.finish(flight)
            self.device_ms = flight.device_ms
            self._calls += 1
            if self._calls == WARM_CALLS and loaded.kernels is not None:
                # Written in another thread, so that this call returns immediately.
                threading.Thread(target=loaded.kernels.keep, name="keep-kernels").start()
            self._note_graphs(slots.first)
            return outputs

    @contextlib.contextmanager
    def _errors_named(self) -> Iterator[tuple[LoadedEngine, Slots]]:
        """The session's GPU is current, and errors name the engine, the model and the library's own message."""
        loaded, slots = self._working()
        use_device(self.info.gpu_index)
        loaded.messages.forget_errors()
        try:
            yield loaded, slots
        except EngineError as error:
            reason = f": {loaded.messages.reason()}" if loaded.messages.errors else ""
            raise EngineError(f"{self.info.engine} failed on {self.spec.name}: {error}{reason}") from error

    def _note_graphs(self, lane: ExecutionContext) -> None:
        """Batch sizes are captured on demand: update the note."""
        note = lane.graph_note()
        if note not in self.info.notes:
            kept = [old for old in self.info.notes if not old.startswith(_GRAPH_NOTES)]
            self.info = replace(self.info, notes=(*kept[:1], note, *kept[1:]))

    def _working(self) -> tuple[LoadedEngine, Slots]:
        if self._opened is None:
            raise EngineError(f"the session of {self.spec.name} is closed; open it again")
        return self._opened


def open_tensorrt(bundle: Bundle, options: SessionOptions) -> TensorRtSession:
    """Open the bundle's best engine that fits this device and its TensorRT.

    Raises `MissingExtraError` without the library. Raises `EngineError` with both sides and the command if no engine
    fits. Raises `VerificationError` if an engine built on another machine fails the golden frames here.
    """
    return _open_fitting("tensorrt", bundle, options)


def open_tensorrt_rtx(bundle: Bundle, options: SessionOptions) -> TensorRtSession:
    """Open the bundle's best engine for TensorRT-RTX."""
    return _open_fitting("tensorrt-rtx", bundle, options)


def open_engine(stored: StoredEngine, spec: ModelSpec, options: SessionOptions) -> TensorRtSession:
    """Open one engine that is known to fit; raises `EngineError` or `BundleError`."""
    flavour = stored.manifest.flavour
    return _open(load_library(flavour, f"engine {flavour}"), stored, spec, options)


def _open_fitting(flavour: Flavour, bundle: Bundle, options: SessionOptions) -> TensorRtSession:
    library = load_library(flavour, f"engine {flavour}")
    device = device_named(options.device)
    running = running_here(library, gpu_index_of(options.device))
    stored = choose_engine(bundle, running, options.precision, device)
    if isinstance(stored, (Rebuild, Refuse)):
        raise EngineError(str(stored))
    decision = decide_engine(bundle, stored, running)
    if isinstance(decision, Run) and decision.note:
        LOG.warning("%s", decision.note)
    session = _open(library, stored, bundle.spec, options)
    if stored.manifest.verification is None:
        try:
            _verify_golden(session, bundle, stored, force=options.force)
        except BaseException:
            session.close()
            raise
    return session


def _verify_golden(session: TensorRtSession, bundle: Bundle, stored: StoredEngine, *, force: bool) -> None:
    """Verify an engine on the golden frames if the building machine could not run it."""
    record = verify_session(session, bundle.golden(), precision=stored.manifest.precision)
    note = "the golden frames passed at this start"
    if not record.passed:
        problem = f"{stored.folder} does not match the source model: {record.finding}"
        if not force:
            raise VerificationError(
                f"{problem}; build it here: edgevision build {bundle.path} --engine {stored.manifest.flavour}"
                " --rebuild, or run it anyway with --force"
            )
        LOG.warning("%s; running it because of --force", problem)
        note = f"forced: {problem}"
    session.info = replace(session.info, notes=(*session.info.notes, note))


def _open(
    library: Library, stored: StoredEngine, spec: ModelSpec, options: SessionOptions
) -> TensorRtSession:
    _refuse_overrides(options)
    manifest = stored.manifest
    gpu_index = gpu_index_of(options.device)
    device = cuda_device(gpu_index)
    loaded = _LOADED.get(library, stored, gpu_index)
    spec = spec.with_batch(manifest.batch)
    _check_contract(loaded.engine, spec, stored)
    if library.dialect.runtime_graphs and loaded.kernels is None:
        loaded.kernels = JitCache(manifest.plan.sha256, device.name, gpu_index)
    contexts = Contexts(
        library,
        loaded.messages,
        loaded.engine,
        manifest.batch,
        kernels=loaded.kernels,
        flags=manifest.flags,
        dla_core=manifest.dla_core,
    )
    zero_copy = device.integrated and device.maps_host_memory
    pinned = PinnedBatches(gpu_index)

    def make() -> ExecutionContext:
        return ExecutionContext(contexts, spec, pinned, zero_copy=zero_copy, spin=options.spin)

    # On an integrated GPU nothing is copied, so there is nothing to overlap with inference.
    slots = Slots(make, 1 if zero_copy or contexts.one_lane else SLOTS)
    if loaded.kernels is not None:
        loaded.kernels.keep()
    notes = _notes(loaded, stored, slots, device, zero_copy)
    name = f"{library.name}, CUDA runtime {device.runtime}"
    info = EngineInfo(library.flavour, name, device.name, notes=notes, gpu_index=gpu_index)
    session = TensorRtSession(spec, info, loaded, slots, None if zero_copy else pinned)
    session.precision = manifest.precision
    session.layer_profile = partial(_layer_profile, loaded, stored, make)
    return session


def _layer_profile(
    loaded: LoadedEngine,
    stored: StoredEngine,
    make: Callable[[], ExecutionContext],
    plain: Callable[[Frames], object],
    batches: Iterable[Frames],
) -> EngineProfile:
    """Profile in a context of its own. Raises `EngineError` if the engine allows only one."""
    graph = Bundle.open(stored.folder.parent.parent).graph_path(stored.manifest.precision)
    with contextlib.closing(make()) as lane:
        return profile(graph, loaded.library, lane, _inspector_json(loaded), plain, batches)


def _give_back(slots: Slots, kernels: JitCache | None) -> None:
    """Release a session's resources, and write kernels that were compiled for later sizes."""
    try:
        if kernels is not None:
            kernels.keep()
    finally:
        slots.close()


def _refuse_overrides(options: SessionOptions) -> None:
    named = {name: getattr(options, name) for name in ("iou_threshold", "score_floor", "label")}
    for name, value in named.items():
        if value is not None:
            raise UsageError(
                f"the {name} is fixed in a TensorRT engine; received {value}. Export the bundle with it and rebuild,"
                f" or run with --engine onnxruntime"
            )


def _load(library: Library, stored: StoredEngine) -> LoadedEngine:
    """Read the plan after checking its bytes against the manifest's hash."""
    plan = stored.plan()
    messages = Messages()
    log = logger(library, messages)
    runtime: trt.Runtime = library.module.Runtime(log)
    core = stored.manifest.dla_core
    if core is not None:
        if core >= runtime.num_DLA_cores:
            raise EngineError(
                f"{stored.plan_path} was built for DLA core {core}; this device has {runtime.num_DLA_cores};"
                " build it without --device"
            )
        runtime.DLA_core = core
    engine: trt.ICudaEngine | None = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise EngineError(
            f"{library.name} cannot load {stored.plan_path}: {messages.reason()}; rebuild: edgevision build"
            f" {stored.folder.parent.parent} --rebuild"
        )
    return LoadedEngine(library, messages, log, runtime, engine)


def _check_contract(engine: trt.ICudaEngine, spec: ModelSpec, stored: StoredEngine) -> None:
    """Raise `EngineError` if the plan's tensors differ from the spec, which would cause writes to wrong addresses."""
    batch = spec.batch.max if spec.batch.static else -1
    expected: _Tensors = {}
    for tensor in (*spec.inputs, *spec.outputs):
        expected[tensor.name] = (tensor.dtype, (batch, *tensor.shape[1:]))
    found: _Tensors = {}
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        dims: Any = engine.get_tensor_shape(name)
        found[name] = (_dtype(engine, name), tuple(dims[axis] for axis in range(len(dims))))
    if found != expected:
        raise EngineError(
            f"{stored.plan_path} has tensors {_listed(found)}; the bundle's spec expects {_listed(expected)};"
            f" rebuild: edgevision build {stored.folder.parent.parent} --rebuild"
        )


def _dtype(engine: trt.ICudaEngine, name: str) -> str:
    dtype: Any = engine.get_tensor_dtype(name)
    return _DTYPES.get(dtype.name, str(dtype.name))


def _listed(tensors: _Tensors) -> str:
    return ", ".join(f"{name} {dtype} {list(shape)}" for name, (dtype, shape) in sorted(tensors.items()))


def _notes(
    loaded: LoadedEngine, stored: StoredEngine, slots: Slots, device: CudaDevice, zero_copy: bool
) -> tuple[str, ...]:
    """Notes on how the engine runs, for records and logs."""
    manifest, lane = stored.manifest, slots.first
    if lane.capture_error is not None:
        LOG.info("%s: no CUDA graph: %s", stored.folder.name, lane.capture_error)
    notes = [
        f"{manifest.precision} engine {stored.folder.name}",
        lane.graph_note(),
        "frames and answers in shared memory, not copied" if zero_copy else "copied through pinned memory",
        f"batches in flight: {slots.limit}",
        f"driver for CUDA {device.driver}, libcudart {device.library}",
    ]
    if manifest.dla_core is not None:
        notes += [manifest.dla] if manifest.dla else []
        notes.append(dla_note(manifest.dla_core, _inspector_json(loaded)))
    return tuple(notes)


def _inspector_json(loaded: LoadedEngine) -> str:
    inspector = loaded.engine.create_engine_inspector()
    return str(inspector.get_engine_information(loaded.library.member("LayerInformationFormat", "JSON")))
