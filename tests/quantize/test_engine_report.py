"""The report on a new graph: engines that run it, and engines that run float instead."""

from __future__ import annotations

from edgevision.bundle.folder import CheckRecord, Verification
from edgevision.quantize.engine_report import OPENVINO_HINT, engine_lines
from edgevision.quantize.search.latency import PairedSpeed


def record(engine: str, measured: float) -> Verification:
    checks = (
        CheckRecord("detections compared", 12.0, ">=", 1.0),
        CheckRecord("mean score difference of partners", measured, "<=", 0.12),
    )
    return Verification("verify", engine, f"{engine} 1", 4, checks, "2026-01-01", "x86-64 AVX2")


def test_each_engine_has_a_verdict() -> None:
    assert engine_lines("int8", [record("onnxruntime", 0.226634), record("openvino", 0.03)]) == [
        "engines that run model.int8.onnx:",
        "  onnxruntime: NO, it runs the float graph instead: mean score difference of partners 0.2266 (limit 0.12)",
        "  openvino: yes, it passed verification (openvino 1, x86-64 AVX2)",
        "  tensorrt, tensorrt-rtx: verified when the engine is built, or first opened on its GPU",
    ]


def test_an_engine_without_a_record_is_verified_later() -> None:
    lines = engine_lines("fp16", [])
    assert "  openvino: not installed here; verified at its first opening" in lines


def speed(engine: str, ratio: float) -> PairedSpeed:
    return PairedSpeed(engine, f"{engine} 1", 10.0, 10.0 / ratio, ratio)


def test_an_engine_in_which_the_graph_is_slower_runs_it_on_request_only() -> None:
    records = [record("onnxruntime", 0.03), record("openvino", 0.03)]
    lines = engine_lines("int8", records, [speed("onnxruntime", 0.56), speed("openvino", 1.69)])
    assert lines[1] == (
        "  onnxruntime: only with --precision int8: it passed verification (onnxruntime 1, x86-64 AVX2), but is 0.56"
        " times as fast as float here (selected from 1.05)"
    )
    assert lines[2].endswith("; 1.69 times as fast as float here")
    assert OPENVINO_HINT not in lines


def test_a_slow_int8_graph_without_openvino_names_the_fix() -> None:
    lines = engine_lines("int8", [record("onnxruntime", 0.03)], [speed("onnxruntime", 0.56)])
    assert lines[-1] == OPENVINO_HINT
    fast = engine_lines("int8", [record("onnxruntime", 0.03)], [speed("onnxruntime", 1.2)])
    assert OPENVINO_HINT not in fast
