"""A simulated TensorRT with one network, the brightness of frames, which runs in the memory of `HostCudart`."""

from __future__ import annotations

import ctypes
import math
import threading
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from edgevision.bundle.folder import file_entry
from edgevision.contract.inputs import Tensors
from edgevision.contract.results import Outputs
from edgevision.contract.session import Session
from edgevision.contract.spec import BatchRange, FrameInput, ModelSpec
from edgevision.device.gpu import GpuFacts
from edgevision.engines.tensorrt.here import this_platform
from edgevision.engines.tensorrt.library import Library
from edgevision.engines.tensorrt.manifest import PLAN, EngineManifest
from edgevision.engines.tensorrt.store import StoredEngine
from edgevision.engines.tensorrt.versions import Flavour, dialect
from tests.doubles import BrightnessSession, detector
from tests.engines.host_cuda import HostCudart
from tests.hardware import L4

DLA_LAYERS = ("images to nvm", "{ForeignNode[Conv_0...Concat_198]}", "head from nvm", "images copy finish")
LAYERS = (*DLA_LAYERS, "gpu layer")
STATIC, USER_MANAGED = "static", "user managed"
USER_ALLOCATION = b" for memory of others"
"""At the end of a plan: it was built with REQUIRE_USER_ALLOCATION."""
DTYPES = {"uint8": "UINT8", "float32": "FLOAT", "int32": "INT32"}


class HostLogger:
    """The base class of loggers."""

    Severity = SimpleNamespace(ERROR="error", INTERNAL_ERROR="internal", WARNING="warning")

    def __init__(self) -> None:
        pass


class HostProfiler:
    """The base class of profilers."""

    def __init__(self) -> None:
        pass


class HostContext:
    """Like `IExecutionContext`; a graph that was captured from it is void once it has been changed."""

    def __init__(
        self, engine: HostEngine, strategy: str = STATIC, config: HostRuntimeConfig | None = None
    ) -> None:
        self.engine = engine
        self.config = config
        self.addresses: dict[str, int] = {}
        self.count = engine.batch.max
        self.shapes_set = 0
        self.changes = 0
        self.flushed = 0
        """The change that was the last one when it last ran."""
        self.activations = 0 if strategy == USER_MANAGED else None
        self.capturable = engine.user_allocation
        """As TensorRT-RTX has it: otherwise memory is allocated while it runs."""
        self.profiler: Any = None

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self.changes += 1
        self.addresses[name] = memory
        return name in self.engine.shapes

    def set_input_shape(self, name: str, shape: Sequence[int]) -> bool:
        self.changes += 1
        self.shapes_set += 1
        self.count = shape[0]
        return self.engine.batch.min <= shape[0] <= self.engine.batch.max

    def set_device_memory(self, memory: int, size: int) -> None:
        assert self.activations is not None, "its memory is its own"
        assert size >= self.engine.device_memory_size_v2
        self.changes += 1
        self.activations = self.engine.cuda.region(self.engine.cuda.device, memory, size)

    def is_stream_capturable(self, stream: int) -> bool:
        assert stream in self.engine.cuda.queued
        return self.capturable

    def execute_async_v3(self, stream_handle: int) -> bool:
        cuda, addresses, count = self.engine.cuda, dict(self.addresses), self.count
        captured_at = None
        assert self.activations != 0, "it has no memory for its activations"
        if stream_handle in cuda.capturing:
            captured_at = self.changes
            assert self.flushed == self.changes, "what a change left to do would be captured"
            if not self.engine.capturable:
                self.engine.log.log(HostLogger.Severity.ERROR, "a loop cannot be captured")
                return False
        if self.config is not None and self.config.cache is not None:
            assert captured_at is None or self.config.cuda_graph_strategy == "DISABLED"
            self.config.cache.compile(None if self.engine.batch.static else count)
        self.flushed = self.changes
        memory = cuda.host if cuda.integrated else cuda.device

        def network() -> None:
            assert captured_at in (None, self.changes), "the context was changed after the capture"
            if self.activations is not None:
                size = self.engine.device_memory_size_v2
                ctypes.memset(cuda.region(cuda.device, self.activations, size), 0x55, size)
            arrays = []
            for given in self.engine.spec.inputs:
                shape, dtype = (count, *given.shape[1:]), np.dtype(given.dtype)
                size = math.prod(shape) * dtype.itemsize
                data = ctypes.string_at(cuda.region(memory, addresses[given.name], size), size)
                arrays.append(np.frombuffer(data, dtype).reshape(shape))
            for tensor, answer in zip(self.engine.spec.outputs, self.engine.answer(arrays), strict=True):
                data = np.ascontiguousarray(answer).tobytes()
                ctypes.memmove(cuda.region(memory, addresses[tensor.name], len(data)), data, len(data))

        cuda.work(stream_handle, network)
        if self.profiler is not None:
            for name in LAYERS:
                self.profiler.report_layer_time(name, 0.5)
        return True


class HostRuntimeCache:
    """Like `IRuntimeCache`; holds kernels of one version, and those for single batch sizes that came later."""

    KERNELS = b"kernels of 1.7"
    compiled = 0
    """How often kernels had to be compiled."""

    def __init__(self, cuda: HostCudart) -> None:
        self.data = b""
        self.cuda = cuda

    def deserialize(self, blob: bytes) -> bool:
        fits = blob.startswith(self.KERNELS) and threading.get_ident() in self.cuda.threads
        self.data = blob if fits else b""
        return bool(self.data)

    def serialize(self) -> bytes | None:
        """None in a thread without a current context, like the real one (its message: "no active CUDA context")."""
        return self.data if threading.get_ident() in self.cuda.threads else None

    def compile(self, count: int | None = None) -> None:
        wanted = self.KERNELS if count is None else b" for %d" % count
        if wanted not in self.data:
            HostRuntimeCache.compiled += 1
            self.data += wanted


class HostRuntimeConfig:
    """Like `IRuntimeConfig`."""

    def __init__(self, cuda: HostCudart) -> None:
        self.cuda = cuda
        self.cache: HostRuntimeCache | None = None
        self.cuda_graph_strategy = "DISABLED"
        self.allocation = STATIC

    def set_execution_context_allocation_strategy(self, strategy: str) -> None:
        self.allocation = strategy

    def create_runtime_cache(self) -> HostRuntimeCache:
        return HostRuntimeCache(self.cuda)

    def set_runtime_cache(self, cache: HostRuntimeCache) -> bool:
        self.cache = cache
        return True


class HostEngine:
    """Like `ICudaEngine`."""

    def __init__(self, spec: ModelSpec, cuda: HostCudart, log: Any, network: Session) -> None:
        self.spec, self.cuda, self.log, self.network = spec, cuda, log, network
        self.batch = spec.batch
        self.capturable = True
        self.user_allocation = False
        self.device_memory_size_v2 = 4096
        self.contexts: list[HostContext] = []
        length = self.batch.max if self.batch.static else -1
        self.shapes = {t.name: (t.dtype, (length, *t.shape[1:])) for t in (*spec.inputs, *spec.outputs)}

    def answer(self, arrays: Sequence[np.ndarray]) -> Outputs:
        """For the arrays of all inputs."""
        takes_frames = isinstance(self.spec.input, FrameInput)
        return self.network.infer(arrays[0] if takes_frames else Tensors(tuple(arrays)))

    @property
    def num_io_tensors(self) -> int:
        return len(self.shapes)

    def get_tensor_name(self, index: int) -> str:
        return list(self.shapes)[index]

    def get_tensor_dtype(self, name: str) -> Any:
        return SimpleNamespace(name=DTYPES[self.shapes[name][0]])

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shapes[name][1]

    def create_runtime_config(self) -> HostRuntimeConfig:
        return HostRuntimeConfig(self.cuda)

    def create_execution_context(self, how: HostRuntimeConfig | str = STATIC) -> HostContext | None:
        config = None if isinstance(how, str) else how
        allocation = how if isinstance(how, str) else how.allocation
        if self.user_allocation and allocation != USER_MANAGED:
            # In the words of TensorRT-RTX 1.7.
            self.log.log(
                HostLogger.Severity.ERROR,
                "Engine was built with BuilderFlag::kREQUIRE_USER_ALLOCATION. Execution context creation requires"
                " ExecutionContextAllocationStrategy::kUSER_MANAGED allocation strategy.",
            )
            return None
        context = HostContext(self, allocation, config)
        if config is not None and config.cache is not None:
            config.cache.compile()
        self.contexts.append(context)
        return context

    def create_engine_inspector(self) -> Any:
        listed = ", ".join(f'{{"Name": "{name}"}}' for name in LAYERS)
        return SimpleNamespace(get_engine_information=lambda format: f'{{"Layers": [{listed}]}}')


class HostTensorRt:
    """Like the module; keeps what was made."""

    ILogger = HostLogger
    IProfiler = HostProfiler
    LayerInformationFormat = SimpleNamespace(JSON="json")
    ExecutionContextAllocationStrategy = SimpleNamespace(STATIC=STATIC, USER_MANAGED=USER_MANAGED)
    CudaGraphStrategy = SimpleNamespace(DISABLED="DISABLED", WHOLE_GRAPH_CAPTURE="WHOLE_GRAPH_CAPTURE")

    def __init__(
        self, cuda: HostCudart, spec: ModelSpec, *, dla_cores: int = 0, network: Session | None = None
    ) -> None:
        """`network` is what its engines compute; the brightness of frames if there is none."""
        self.cuda, self.spec, self.dla_cores = cuda, spec, dla_cores
        self.network = network or BrightnessSession(spec)
        self.engines: list[HostEngine] = []
        self.capturable = True
        self.version = "10.3.0"

    def Runtime(self, log: Any) -> Any:  # noqa: N802  # a class there
        def deserialize(plan: bytes) -> HostEngine | None:
            if not plan.startswith(b"brightness"):
                log.log(HostLogger.Severity.ERROR, "Serialization assertion header.magicTag failed")
                return None
            self.engines.append(HostEngine(self.spec, self.cuda, log, self.network))
            self.engines[-1].capturable = self.capturable
            self.engines[-1].user_allocation = plan.endswith(USER_ALLOCATION)
            return self.engines[-1]

        return SimpleNamespace(num_DLA_cores=self.dla_cores, DLA_core=-1, deserialize_cuda_engine=deserialize)

    def library(self, flavour: Flavour = "tensorrt") -> Library:
        version = self.version if flavour == "tensorrt" else "1.7.1"
        return Library(flavour, version, dialect(flavour, version), self)


def store_engine(
    folder: Path,
    batch: BatchRange,
    *,
    plan: bytes = b"brightness",
    gpu: GpuFacts = L4,
    dla_core: int | None = None,
    flavour: Flavour = "tensorrt",
    user_allocation: bool | None = None,
) -> tuple[StoredEngine, ModelSpec]:
    """An engine on disk for `HostTensorRt`, and its spec."""
    managed = flavour == "tensorrt-rtx" if user_allocation is None else user_allocation
    folder.mkdir(parents=True)
    (folder / PLAN).write_bytes(plan + USER_ALLOCATION if managed else plan)
    manifest = EngineManifest(
        edgevision="0",
        flavour=flavour,
        version="10.3.0" if flavour == "tensorrt" else "1.7.1",
        sm=gpu.sm,
        built_on=this_platform(gpu, 0),
        graph=None,
        precision="fp16",
        batch=batch,
        plan=file_entry(folder / PLAN),
        tensors=(),
        flags=("REQUIRE_USER_ALLOCATION",) if managed else (),
        dla_core=dla_core,
    )
    return StoredEngine(folder, manifest), detector(batch)
