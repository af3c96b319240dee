"""The report on a new graph: engines that run it, and engines that run float instead."""

from __future__ import annotations

from edgevision.bundle.folder import CheckRecord, Verification
from edgevision.quantize.engine_report import engine_lines


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
