"""Precisions that an engine can run on this machine: those of the bundle's graphs, and `COMPUTED`."""

from __future__ import annotations

from edgevision.bundle.folder import Bundle
from edgevision.contract.spec import COMPUTED, Precision
from edgevision.device.cpu_class import cpu_computes
from edgevision.errors import UsageError

COMPUTING = "openvino"
"""The engine of the precisions in `COMPUTED`."""


def precisions_of(bundle: Bundle, engine: str) -> tuple[Precision, ...]:
    """The precisions of the bundle's graphs in order, then those that the engine computes from them on this CPU."""
    held = tuple(entry.precision for entry in bundle.manifest.graphs)
    if engine != COMPUTING:
        return held
    return (*held, *(precision for precision in COMPUTED if precision in cpu_computes()))


def computing_engine(engine: str | None, precision: Precision) -> str:
    """The engine that computes a precision of `COMPUTED`; raises `UsageError` if another one was requested."""
    if engine not in (None, COMPUTING):
        raise UsageError(
            f"{engine} does not compute a float graph in {precision}; {COMPUTING} does: --engine {COMPUTING}. Or run"
            f" the float graph: --precision {COMPUTED[precision]}"
        )
    return COMPUTING
