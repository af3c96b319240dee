"""Execution contexts of one engine, made as its version of TensorRT wants them; whether their calls can be captured.

A captured CUDA graph holds for one input size and one state of its context, and changing the context makes the graph
invalid. TensorRT's guide therefore advises one context for each graph, with activation memory that all of them share
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
"""What CUDA aligns memory to."""


class Contexts:
    """Makes the contexts of one engine for one lane."""

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
        """`kernels` is given for TensorRT-RTX: it makes its contexts with what was compiled before.

        `flags` are those that the engine was built with.
        """
        self._library = library
        self._messages = messages
        self._engine = engine
        self._batch = batch
        self._kernels = kernels
        self._dla_core = dla_core
        self._user_allocation = any(flag in flags for flag in library.dialect.capture_flags)
        self.memory_bytes = self._managed_bytes()
        """Memory for activations that the lane has to bring, for all of its contexts; None: each has its own."""

    @property
    def captured_by_library(self) -> bool:
        """The library itself captures a graph for each batch size, when kernels of that size are compiled."""
        return self._library.dialect.runtime_graphs and not self._batch.static

    @property
    def library_note(self) -> str:
        """What is said of `captured_by_library`."""
        return f"CUDA graphs by {self._library.name} itself, one for each batch size"

    @property
    def several(self) -> bool:
        """More than one context can be made for one lane, so that each batch size can have a graph."""
        return not self._batch.static and self.memory_bytes is not None and self._kernels is None

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
                f"{self._library.name} cannot make an execution context: {self._messages.reason()}"
            )
        if activations is not None and self.memory_bytes is not None:
            context.set_device_memory(activations, self.memory_bytes)
        return context

    def objection(self, context: trt.IExecutionContext, stream: CudaStream) -> str | None:
        """Why calls of this context must not be captured on that stream; None if they may."""
        if self._dla_core is not None:
            return "work on a DLA is not captured"
        if self.captured_by_library:
            return self.library_note
        if not self._batch.static and not self._library.dialect.shares_profiles:
            return f"the batch varies ({self._batch}), and {self._library.dialect.label} gives a profile to one context"
        if not self._batch.static and self.memory_bytes is None:
            return f"the batch varies ({self._batch}), and contexts of this engine share no memory"
        # The stubs are TensorRT's; this method is TensorRT-RTX's.
        asked = getattr(context, "is_stream_capturable", None)
        if self._library.dialect.runtime_graphs and asked is not None and not asked(stream.pointer):
            return (
                f"{self._library.name} allocates memory while this engine runs; an engine that is built again may not:"
                " edgevision build BUNDLE --rebuild"
            )
        return None

    def _managed_bytes(self) -> int | None:
        """Where several contexts share it, and where the engine was built to take nothing else.

        TensorRT-RTX makes a context of an engine with `REQUIRE_USER_ALLOCATION` only if memory is brought to it.
        """
        if self._kernels is None and (self._batch.static or not self._library.dialect.shares_profiles):
            return None
        if self._kernels is not None and not self._user_allocation:
            return None
        # TensorRT 10.0 has no such number yet. An engine that needs nothing takes a piece all the same.
        size = getattr(self._engine, "device_memory_size_v2", None)
        return None if size is None else max(int(size), LEAST_BYTES)

    def _strategy(self) -> object | None:
        """The library's own capture, for a batch that varies; a static one is captured by the lane, copies included."""
        if not self.captured_by_library:
            return None
        found: object = self._library.member("CudaGraphStrategy", "WHOLE_GRAPH_CAPTURE")
        return found
