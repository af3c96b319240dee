"""Creates execution contexts of one engine for each TensorRT version, and checks if their calls can be captured.

A captured CUDA graph is valid for one input size and one state of its context; changing the context invalidates the
graph. TensorRT's guide therefore advises one context for each graph, with activation memory that all of them share
("CUDA Graphs" in "Best Practices"). The contexts of one lane run one after another, so they can share it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgevision.contract.spec import BatchRange
from edgevision.engines.tensorrt.cuda import CudaStream
from edgevision.engines.tensorrt.jit_cache import JitCache
from edgevision.engines.tensorrt.library import Library
from edgevision.engines.tensorrt.log import Messages
from edgevision.errors import EngineError

if TYPE_CHECKING:
    import tensorrt as trt


LEAST_BYTES = 256
"""CUDA's allocation alignment."""


class Contexts:
    """Creates the execution contexts of one engine for one lane."""

    def __init__(
        self,
        library: Library,
        messages: Messages,
        engine: trt.ICudaEngine,
        batch: BatchRange,
        *,
        kernels: JitCache | None = None,
        flags: tuple[str, ...] = (),
        dla_core: int | None = None,
    ) -> None:
        """`kernels` is the kernel cache of TensorRT-RTX, and None for TensorRT.

        `flags` are the flags that the engine was built with.
        """
        self._library = library
        self._messages = messages
        self._engine = engine
        self._batch = batch
        self._kernels = kernels
        self._dla_core = dla_core
        self._user_allocation = any(flag in flags for flag in library.dialect.capture_flags)
        self.memory_bytes = self._managed_bytes()
        """Activation memory that the lane must provide for all of its contexts; None: each context allocates its own.
        """

    @property
    def captured_by_library(self) -> bool:
        """True if the library captures a graph for each batch size itself, once kernels of that size are compiled."""
        return self._library.dialect.runtime_graphs and not self._batch.static

    @property
    def library_note(self) -> str:
        """The note recorded for `captured_by_library`."""
        return f"CUDA graphs by {self._library.name} itself, one for each batch size"

    @property
    def several(self) -> bool:
        """True if one lane can have several contexts, so that each batch size can have a graph."""
        return not self._batch.static and self.memory_bytes is not None and self._kernels is None

    @property
    def one_lane(self) -> str | None:
        """The reason why this engine cannot serve a second lane; None if it can."""
        if self._dla_core is not None:
            return "a DLA runs one batch at a time"
        if not self._batch.static and not self._library.dialect.shares_profiles:
            return f"{self._library.dialect.label} allows one context per profile"
        return None

    def make(self, activations: int | None = None) -> trt.IExecutionContext:
        """A context; `activations` is the address of `memory_bytes` of device memory. Raises `EngineError`."""
        context: trt.IExecutionContext | None
        managed = None
        if activations is not None:
            managed = self._library.member("ExecutionContextAllocationStrategy", "USER_MANAGED")
        if self._kernels is not None:
            context = self._kernels.make_context(self._engine, graphs=self._strategy(), allocation=managed)
        elif managed is not None:
            context = self._engine.create_execution_context(managed)
        else:
            context = self._engine.create_execution_context()
        if context is None:
            raise EngineError(
                f"{self._library.name} cannot create an execution context: {self._messages.reason()}"
            )
        if activations is not None and self.memory_bytes is not None:
            context.set_device_memory(activations, self.memory_bytes)
        return context

    def objection(self, context: trt.IExecutionContext, stream: CudaStream) -> str | None:
        """The reason why calls of this context must not be captured on that stream; None if they may be."""
        if self._dla_core is not None:
            return "work on a DLA is not captured"
        if self.captured_by_library:
            return self.library_note
        if not self._batch.static and not self._library.dialect.shares_profiles:
            return f"the batch is dynamic ({self._batch}); {self._library.dialect.label} allows one context per profile"
        if not self._batch.static and self.memory_bytes is None:
            return f"the batch is dynamic ({self._batch}), and contexts of this engine cannot share memory"
        # The stubs are TensorRT's; this method is TensorRT-RTX's.
        asked = getattr(context, "is_stream_capturable", None)
        if self._library.dialect.runtime_graphs and asked is not None and not asked(stream.pointer):
            return (
                f"{self._library.name} allocates memory while this engine runs; rebuilding the engine may avoid that:"
                " edgevision build BUNDLE --rebuild"
            )
        return None

    def _managed_bytes(self) -> int | None:
        """Activation memory to provide: for shared contexts, and for engines built to allocate nothing themselves.

        TensorRT-RTX creates a context of an engine with `REQUIRE_USER_ALLOCATION` only if memory is provided.
        """
        if self._kernels is None and (self._batch.static or not self._library.dialect.shares_profiles):
            return None
        if self._kernels is not None and not self._user_allocation:
            return None
        # TensorRT 10.0 lacks this attribute. An engine that needs no memory still gets a minimal block.
        size = getattr(self._engine, "device_memory_size_v2", None)
        return None if size is None else max(int(size), LEAST_BYTES)

    def _strategy(self) -> object | None:
        """The library's own capture for a dynamic batch; the lane captures a static one, copies included."""
        if not self.captured_by_library:
            return None
        found: object = self._library.member("CudaGraphStrategy", "WHOLE_GRAPH_CAPTURE")
        return found
