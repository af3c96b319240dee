"""Selects engine and graph from this machine's comparison: the fastest that passed verification."""

from __future__ import annotations

from dataclasses import dataclass

from edgevision.bundle.fastest import Timing, fastest, gain
from edgevision.bundle.folder import Bundle
from edgevision.bundle.selection import latest_verification
from edgevision.contract.session import SessionOptions
from edgevision.contract.spec import Precision
from edgevision.device.machine_class import machine_class
from edgevision.device.names import device_named
from edgevision.engines.choices import EngineComparison

BUILT = ("tensorrt", "tensorrt-rtx")
"""Engines that are built for a device; their NMS settings are constants."""


@dataclass(frozen=True, slots=True)
class Selected:
    """The timing of the selected engine and graph, and the reason on one line."""

    timing: Timing
    reason: str


def select_fastest(
    comparison: EngineComparison, bundle: Bundle, engine: str | None, options: SessionOptions
) -> Selected | None:
    """The fastest of this machine's comparison that `engine` and `options` permit; None if there is none."""
    device = device_named(options.device)
    overrides = options.iou_threshold is not None or options.score_floor is not None
    permitted = [
        timing
        for timing in comparison.timings
        if engine in (None, timing.engine)
        and (device is None or timing.device == str(device))
        and options.precision in (None, timing.precision)
        and not (overrides and timing.engine in BUILT)
        and not failed(bundle, timing.engine, timing.precision)
    ]
    if not permitted:
        return None
    best = fastest(permitted)
    return Selected(best, _reason(comparison, permitted, best))


def is_verified(bundle: Bundle, engine: str) -> bool:
    """True if the float graph passed its latest verification in the engine."""
    here = machine_class(engine)
    records = [latest_verification(e, engine, here) for e in bundle.manifest.graphs if e.precision == "float"]
    return any(record is not None and record.passed for record in records)


def failed(bundle: Bundle, engine: str, precision: Precision) -> bool:
    """True if the graph failed its latest verification in the engine on this class of machine."""
    here = machine_class(engine)
    record = latest_verification(bundle.graph(precision), engine, here)
    return record is not None and not record.passed and record.machine_class == here


def _reason(comparison: EngineComparison, permitted: list[Timing], best: Timing) -> str:
    others = [f"{timing.name} {timing.median_ms:.1f} ms" for timing in permitted if timing is not best]
    others += [f"{one.name} {one.reason}" for one in comparison.excluded]
    if len(permitted) == 1:
        of = "passed verification"
    elif any(gain(timing, best) > 1 for timing in permitted if timing is not best):
        of = "no other that passed verification is faster beyond noise"
    else:
        of = "the fastest that passed verification"
    measured = f"measured by `{comparison.command}` on {comparison.created[:10]}"
    details = "; ".join([measured, *others])
    return f"{best.name}, {best.median_ms:.1f} ms a call: {of} ({details})"
