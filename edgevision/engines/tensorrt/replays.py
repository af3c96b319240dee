"""Keeps the CUDA graphs of one lane, one for each batch size in use, and evicts idle ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgevision.engines.tensorrt.cuda import CapturedGraph

if TYPE_CHECKING:
    import tensorrt as trt

LIMIT = 8
"""Graphs of one lane. Each holds its kernels' parameters in device memory, some MiB for a detector."""
IDLE_CALLS = 256
"""A graph is evicted only after this many calls without use.

Otherwise alternating sizes would be captured again and again, which takes longer than it saves.
"""


@dataclass(slots=True, eq=False)
class Replay:
    """A captured graph and its context, which must not change after the capture."""

    graph: CapturedGraph
    context: trt.IExecutionContext
    used: int
    """Number of the lane's call that used it last."""


class Replays:
    """Graphs by batch size; evicts the least recently used; not thread-safe."""

    def __init__(self, limit: int = LIMIT, idle_calls: int = IDLE_CALLS) -> None:
        self.limit = limit
        self.failures: dict[int, str] = {}
        """Sizes that could not be captured, with reasons; they are not retried."""
        self._idle_calls = idle_calls
        self._kept: dict[int, Replay] = {}
        self._calls = 0

    @property
    def sizes(self) -> tuple[int, ...]:
        """Batch sizes that are replayed."""
        return tuple(sorted(self._kept))

    def find(self, count: int) -> CapturedGraph | None:
        """The graph of exactly this batch size; counts a call."""
        self._calls += 1
        replay = self._kept.get(count)
        if replay is None:
            return None
        replay.used = self._calls
        return replay.graph

    def add(self, count: int, make: Callable[[], tuple[CapturedGraph, trt.IExecutionContext]]) -> None:
        """Add a graph for a new size; an evicted graph is released before `make` is called."""
        if len(self._kept) >= self.limit:
            self._drop(self._least_recent())
        graph, context = make()
        self._kept[count] = Replay(graph, context, self._calls)

    def has_room(self, count: int) -> bool:
        """True if this size may be captured now: new, not failed, and there is room or one idle graph."""
        if count in self._kept or count in self.failures:
            return False
        if len(self._kept) < self.limit:
            return True
        return self._calls - self._kept[self._least_recent()].used >= self._idle_calls

    def close(self) -> None:
        """Release every graph; none may be running."""
        for count in tuple(self._kept):
            self._drop(count)

    def _least_recent(self) -> int:
        return min(self._kept, key=lambda count: self._kept[count].used)

    def _drop(self, count: int) -> None:
        self._kept.pop(count).graph.close()
