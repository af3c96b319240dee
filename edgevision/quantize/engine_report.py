"""Reports which engines run a new graph, and why others do not."""

from __future__ import annotations

from collections.abc import Sequence

from edgevision.bundle.folder import CheckRecord, Verification
from edgevision.contract.spec import Precision
from edgevision.quantize.search.latency import ENGINES


def engine_lines(precision: Precision, records: Sequence[Verification]) -> list[str]:
    """One line for each engine by its record: those that passed run the graph, the others run float instead."""
    by_engine = {record.engine: record for record in records}
    lines = [f"engines that run model.{precision}.onnx:"]
    lines += [f"  {engine}: {_verdict(by_engine.get(engine))}" for engine in ENGINES]
    lines.append("  tensorrt, tensorrt-rtx: verified when the engine is built, or first opened on its GPU")
    return lines


def _verdict(record: Verification | None) -> str:
    if record is None:
        return "not installed here; verified at its first opening"
    if record.passed:
        return f"yes, it passed verification ({record.library}, {record.machine_class})"
    failed = "; ".join(_failure(check) for check in record.checks if not check.passed)
    return f"NO, it runs the float graph instead: {failed}"


def _failure(check: CheckRecord) -> str:
    word = "limit" if check.relation == "<=" else "at least"
    return f"{check.name} {check.measured:.4g} ({word} {check.limit:g})"
