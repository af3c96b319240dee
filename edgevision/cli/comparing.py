"""Compares the engines of a bundle, stores the choice and prints the table."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from edgevision.cli.present import table

LONGEST = 110
"""Characters of a verdict."""
OPENVINO_HINT = (
    "INT8 on a CPU needs OpenVINO, because ONNX Runtime does not run it faster than float: pip install"
    " 'edgevision[openvino]', then repeat this command"
)

if TYPE_CHECKING:
    from edgevision.benchmark.comparison import ComparisonOptions
    from edgevision.bundle.fastest import Timing
    from edgevision.bundle.folder import Bundle
    from edgevision.engines.choices import EngineComparison


def compare_shown(bundle: Bundle, options: ComparisonOptions, *, err: bool = False) -> Timing:
    """Compare, store, and print the table, with `err` on standard error; returns the choice.

    Raises `VerificationError` if nothing passes verification, `MissingExtraError` if no engine is installed.
    """
    from edgevision.benchmark.comparison import compare_engines
    from edgevision.bundle.fastest import fastest
    from edgevision.engines.choices import store_comparison

    began = time.perf_counter()
    comparison = compare_engines(bundle, options)
    seconds = time.perf_counter() - began
    chosen = fastest(comparison.timings)
    stored = store_comparison(bundle, comparison)
    click.echo("\n".join(comparison_lines(comparison)), err=err)
    kept = "not stored" if stored is None else f"stored for this machine in {stored}"
    click.echo(f"chosen: {chosen.name}, compared in {seconds:.1f} s; {kept}", err=err)
    return chosen


def comparison_lines(comparison: EngineComparison) -> list[str]:
    """A table of all engines and graphs with the reason for or against each."""
    from edgevision.bundle.fastest import fastest, gain, is_faster

    reference, chosen = comparison.timings[0], fastest(comparison.timings)
    rows = []
    for timing in comparison.timings:
        ratio = f"{gain(timing, reference):.2f} times as fast as {reference.name}"
        if timing is chosen:
            verdict = "chosen" if timing is reference else f"chosen: {ratio}"
        elif timing is reference:
            verdict = "slower"
        elif is_faster(timing, reference):
            verdict = f"{ratio}, not faster than {chosen.name} beyond noise"
        else:
            verdict = f"{ratio}, not faster beyond noise" if gain(timing, reference) > 1 else ratio
        times = [f"{timing.median_ms:.2f} ms", f"{timing.p90_ms:.2f} ms"]
        rows.append([timing.engine, timing.device, timing.precision, *times, verdict])
    rows += [
        [one.engine, "", one.precision, "-", "-", _shortened(f"{one.reason}: {one.detail}")]
        for one in comparison.excluded
    ]
    width = max(len(row[-1]) for row in rows)
    padded = [[*row[:-1], row[-1].ljust(width)] for row in rows]
    lines = table(["engine", "device", "precision", "median", "p90", "verdict".ljust(width)], padded)
    return lines + [OPENVINO_HINT] * _needs_openvino(comparison, chosen)


def _needs_openvino(comparison: EngineComparison, chosen: Timing) -> bool:
    """True if the INT8 graph runs in ONNX Runtime's CPU provider only, and is not chosen."""
    known = {one.engine for one in comparison.timings} | {one.engine for one in comparison.excluded}
    slow = [one for one in comparison.timings if (one.engine, one.precision) == ("onnxruntime", "int8")]
    return bool(slow) and chosen not in slow and "openvino" not in known


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
