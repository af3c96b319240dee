"""Times of a graph's layers, as an engine's own profile reports them."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from edgevision.contract.spec import Precision


@dataclass(frozen=True, slots=True)
class EngineLayer:
    """One operation that an engine runs: one node of the graph, or several that it fused."""

    name: str
    """The engine's name of it."""
    kind: str
    """The engine's operator, such as "Conv" or "Reorder"."""
    nodes: tuple[str, ...]
    """Names of the graph's nodes that it computes, in the graph's order; empty for an operation of the engine's own."""
    near: str
    """For an operation of the engine's own: the node that it belongs to; empty if that is unknown."""
    precision: Precision | None
    """What it computes in; None for other types, and if the engine does not report it."""
    samples_ms: tuple[float, ...]
    """Time of each call, in order."""

    @property
    def ms(self) -> float:
        """The median."""
        return statistics.median(self.samples_ms)

    @property
    def mean_ms(self) -> float:
        """The arithmetic mean."""
        return statistics.fmean(self.samples_ms)


@dataclass(frozen=True, slots=True)
class EngineProfile:
    """Layers in the order of execution, and the time of the same calls."""

    layers: tuple[EngineLayer, ...]
    calls_ms: tuple[float, ...]
    """Wall time of each profiled call; of an engine on a device, the device's time."""
    plain_ms: tuple[float, ...]
    """Of calls without profile, in turns with the profiled ones."""
