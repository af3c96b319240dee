"""Precisions that an engine can run on this machine: those of the bundle's graphs, and `COMPUTED`."""

from __future__ import annotations

from edgevision.bundle.folder import Bundle
from edgevision.contract.spec import COMPUTED, Precision
from edgevision.device.cpu_class import cpu_computes
from edgevision.device.gpu import gpu_facts
from edgevision.errors import UsageError

COMPUTING: dict[Precision, str] = {"bf16": "openvino", "tf32": "onnxruntime-cuda"}
"""The engine of each precision in `COMPUTED`."""
TF32_SINCE = 80
"""First SM version with products in TF32."""


def precisions_of(bundle: Bundle, engine: str) -> tuple[Precision, ...]:
    """The precisions of the bundle's graphs in order, then those that the engine computes from them on this machine."""
    held = tuple(entry.precision for entry in bundle.manifest.graphs)
    own = [precision for precision in COMPUTED if COMPUTING[precision] == engine]
    return (*held, *(precision for precision in own if _computed_here(precision)))


def computing_engine(engine: str | None, precision: Precision) -> str:
    """The engine that computes a precision of `COMPUTED`; raises `UsageError` if another one was requested."""
    computing = COMPUTING[precision]
    if engine not in (None, computing):
        raise UsageError(
            f"{engine} does not compute a float graph in {precision}; {computing} does: --engine {computing}. Or run"
            f" the float graph: --precision {COMPUTED[precision]}"
        )
    return computing


def _computed_here(precision: Precision) -> bool:
    if precision != "tf32":
        return precision in cpu_computes()
    gpu = gpu_facts()
    return gpu is not None and gpu.sm >= TF32_SINCE
