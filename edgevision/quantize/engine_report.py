"""Reports which engines run a new graph, and why others do not."""

from __future__ import annotations

from collections.abc import Sequence

from edgevision.bundle.folder import CheckRecord, Verification
from edgevision.bundle.selection import LEAST_GAIN
from edgevision.contract.spec import Precision
from edgevision.quantize.search.latency import ENGINES, PairedSpeed

OPENVINO_HINT = (
    "INT8 on a CPU needs OpenVINO, because ONNX Runtime does not run it faster than float: pip install"
    " 'edgevision[openvino]', then edgevision verify"
)


def engine_lines(
    precision: Precision, records: Sequence[Verification], speeds: Sequence[PairedSpeed] = ()
) -> list[str]:
    """One line for each engine by its record: those that passed run the graph, the others run float instead.

    An engine whose measured speed is less than `LEAST_GAIN` times that of float also runs float. If such an INT8 graph
    was timed and OpenVINO is not installed, the last line names the command that installs it.
    """
    by_engine = {record.engine: record for record in records}
    ratios = {speed.engine: speed.ratio for speed in speeds}
    lines = [f"engines that run model.{precision}.onnx:"]
    lines += [
        f"  {engine}: {_verdict(by_engine.get(engine), precision, ratios.get(engine))}" for engine in ENGINES
    ]
    lines.append("  tensorrt, tensorrt-rtx: verified when the engine is built, or first opened on its GPU")
    if (
        precision == "int8"
        and "openvino" not in by_engine
        and ratios.get("onnxruntime", LEAST_GAIN) < LEAST_GAIN
    ):
        lines.append(OPENVINO_HINT)
    return lines


def _verdict(record: Verification | None, precision: Precision, ratio: float | None) -> str:
    if record is None:
        return "not installed here; verified at its first opening"
    if record.passed:
        passed = f"it passed verification ({record.library}, {record.machine_class})"
        if ratio is not None and ratio < LEAST_GAIN:
            return (
                f"only with --precision {precision}: {passed}, but is {ratio:.2f} times as fast as float here (selected"
                f" from {LEAST_GAIN:g})"
            )
        return f"yes, {passed}" + ("" if ratio is None else f"; {ratio:.2f} times as fast as float here")
    failed = "; ".join(_failure(check) for check in record.checks if not check.passed)
    return f"NO, it runs the float graph instead: {failed}"


def _failure(check: CheckRecord) -> str:
    word = "limit" if check.relation == "<=" else "at least"
    return f"{check.name} {check.measured:.4g} ({word} {check.limit:g})"
