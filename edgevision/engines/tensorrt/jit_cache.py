"""What TensorRT-RTX compiled for this GPU, kept on disk: the second start compiles nothing.

TensorRT-RTX makes its kernels where the engine runs: most when a context is made, those for one shape of a batch that
varies later, in a thread of its own. So the cache is written at the start, after the first calls and at the end. It
is of use to the same version, model of GPU and major version of the driver alone: the library checks that itself. That
the bytes are those that were written is checked here.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
from pathlib import Path
from typing import Any

from edgevision.engines.tensorrt.cuda import use_device
from edgevision.errors import EngineError
from edgevision.storage import atomic
from edgevision.storage.cache import cache_folder

LOG = logging.getLogger(__name__)


class JitCache:
    """The compiled kernels of one plan on one model of GPU. Sessions of the plan share it; any thread may call."""

    def __init__(self, plan_sha256: str, gpu: str) -> None:
        name = re.sub(r"[^a-z0-9]+", "-", gpu.lower()).strip("-")
        self.path: Path = cache_folder() / "tensorrt-rtx" / f"{plan_sha256[:16]}-{name}.cache"
        self._cache: Any = None
        self._held = b""
        self._lock = threading.Lock()

    def make_context(
        self, engine: Any, *, graphs: object | None = None, allocation: object | None = None
    ) -> Any:
        """An execution context of an engine of TensorRT-RTX, its kernels taken from the cache where they fit.

        `graphs` is the library's `CudaGraphStrategy` for it, `allocation` its `ExecutionContextAllocationStrategy`.
        None leaves them at their defaults, no graphs and memory of its own.
        """
        config = engine.create_runtime_config()
        if allocation is not None:
            config.set_execution_context_allocation_strategy(allocation)
        if graphs is not None:
            config.cuda_graph_strategy = graphs
        with self._lock:
            if self._cache is None:
                self._cache = config.create_runtime_cache()
                self._held = self._read()
                if self._held and not self._cache.deserialize(self._held):
                    LOG.info("%s is of another version, GPU or driver: kernels are compiled anew", self.path)
                    self._held = b""
        config.set_runtime_cache(self._cache)
        return engine.create_execution_context(config)

    def keep(self) -> None:
        """Write what was compiled since. What cannot be kept is told, and the engine runs without."""
        with self._lock:
            data = self._compiled()
            if data == self._held:
                return
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                atomic.write_file(self.path, hashlib.sha256(data).digest() + data)
            except OSError as error:
                LOG.warning(
                    "cannot keep compiled kernels in %s (%s): every start compiles them; export EDGEVISION_CACHE=DIR,"
                    " a folder that this user may write",
                    self.path,
                    error.strerror or error,
                )
            self._held = data

    def _compiled(self) -> bytes:
        """The kernels as the library writes them; what was kept before, if it cannot."""
        if self._cache is None:
            return self._held
        try:
            use_device()  # the library writes which device they are for, and asks the thread's context
            data = self._cache.serialize()
        except EngineError as error:
            LOG.warning("compiled kernels cannot be kept: %s", error)
            return self._held
        if data is None:
            LOG.warning("compiled kernels cannot be kept: TensorRT-RTX does not write them out")
            return self._held
        return bytes(data)

    def _read(self) -> bytes:
        """What was kept; empty if there is nothing, or not what was written."""
        try:
            kept = self.path.read_bytes()
        except OSError:
            return b""
        digest, data = kept[:32], kept[32:]
        return data if hashlib.sha256(data).digest() == digest else b""
