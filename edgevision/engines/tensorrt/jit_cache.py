"""Caches on disk the kernels that TensorRT-RTX compiles for this GPU, so that later starts compile nothing.

TensorRT-RTX compiles kernels at run time: most when a context is created, those for one shape of a dynamic batch later,
in its own thread. The cache is therefore written at the start, after the first calls and at the end. It is valid for
the same version, GPU model and major driver version, which the library checks. This module checks that the bytes are
intact.
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
    """The compiled kernels of one plan on one GPU model; sessions of the plan share it; thread-safe."""

    def __init__(self, plan_sha256: str, gpu: str, gpu_index: int = 0) -> None:
        name = re.sub(r"[^a-z0-9]+", "-", gpu.lower()).strip("-")
        self.path: Path = cache_folder() / "tensorrt-rtx" / f"{plan_sha256[:16]}-{name}.cache"
        self._gpu_index = gpu_index
        self._cache: Any = None
        self._held = b""
        self._lock = threading.Lock()

    def make_context(
        self, engine: Any, *, graphs: object | None = None, allocation: object | None = None
    ) -> Any:
        """Create an execution context of a TensorRT-RTX engine with the cached kernels that fit.

        `graphs` is the library's `CudaGraphStrategy`, `allocation` its `ExecutionContextAllocationStrategy`. None keeps
        the defaults: no graphs, and the context's own memory.
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
                    LOG.info(
                        "%s is for another version, GPU or driver: compiling the kernels again", self.path
                    )
                    self._held = b""
        config.set_runtime_cache(self._cache)
        return engine.create_execution_context(config)

    def keep(self) -> None:
        """Write newly compiled kernels. If the file cannot be written, log it and continue."""
        with self._lock:
            data = self._compiled()
            if data == self._held:
                return
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                atomic.write_file(self.path, hashlib.sha256(data).digest() + data)
            except OSError as error:
                LOG.warning(
                    "cannot write compiled kernels to %s (%s): every start compiles them; export"
                    " EDGEVISION_CACHE=DIR, a folder that this user can write to",
                    self.path,
                    error.strerror or error,
                )
            self._held = data

    def _compiled(self) -> bytes:
        """The kernels as the library serializes them; the previous bytes if it cannot."""
        if self._cache is None:
            return self._held
        try:
            use_device(
                self._gpu_index
            )  # the library records the device, which it takes from the thread's context
            data = self._cache.serialize()
        except EngineError as error:
            LOG.warning("cannot serialize compiled kernels: %s", error)
            return self._held
        if data is None:
            LOG.warning("cannot serialize compiled kernels: TensorRT-RTX returned none")
            return self._held
        return bytes(data)

    def _read(self) -> bytes:
        """The cached bytes; empty if there are none or they are damaged."""
        try:
            kept = self.path.read_bytes()
        except OSError:
            return b""
        digest, data = kept[:32], kept[32:]
        return data if hashlib.sha256(data).digest() == digest else b""
