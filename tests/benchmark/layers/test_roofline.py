"""Limits of a machine: kernels, storage, and the bound that they give."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from click.testing import CliRunner

from edgevision.benchmark.layers import roofline
from edgevision.benchmark.layers.roofline import (
    MeasuredOn,
    Peak,
    Roofline,
    measure_bandwidth,
    roofline_lines,
    stored_or_measured,
)
from edgevision.cli.commands.layers.roofline import command
from edgevision.contract.spec import Precision
from edgevision.engines.profiles.kernels import Kernel, KernelEngine, convolution, matmul, opened
from edgevision.storage.cache import cache_folder

Array = npt.NDArray[np.float32]
FACTS = MeasuredOn("a board", "x86-64 AVX2", "onnxruntime", "onnxruntime 1.2", 2)
EXAMPLE = Roofline(
    "2026-01-01T00:00:00+00:00",
    FACTS,
    (Peak("float", 100.0, "MatMul 512"), Peak("int8", 400.0, "Conv")),
    10.0,
    3.0,
)


@pytest.mark.parametrize(
    ("flops", "size", "precision", "limit_ms"),
    [
        (10**9, 10**6, "float", 10.0),
        (10**9, 10**6, "int8", 2.5),
        (10**9, 10**6, None, 10.0),
        (10**6, 10**8, "float", 10.0),
        (0, 0, "float", 0.0),
    ],
)
def test_a_layer_is_limited_by_arithmetic_or_by_memory(
    flops: int, size: int, precision: Precision | None, limit_ms: float
) -> None:
    assert EXAMPLE.limit_ms(flops, size, precision) == pytest.approx(limit_ms)


@pytest.mark.parametrize("precision", ["float", "int8"])
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(
    ("make", "flops"), [(lambda p: matmul(16, p), 8192), (lambda p: convolution(4, 6, p), 2 * 16 * 9 * 36)]
)
def test_kernels_are_valid_models_that_run(
    make: object, flops: int, engine: KernelEngine, precision: Precision
) -> None:
    kernel: Kernel = make(precision)  # type: ignore[operator]  # one of the two functions above
    onnx.checker.check_model(onnx.load_from_string(kernel.model), full_check=True)
    assert kernel.flops == flops
    assert np.asarray(kernel.x).dtype == (np.uint8 if precision == "int8" else np.float32)
    opened(engine, kernel, precision, 1)()


@pytest.mark.parametrize("threads", [1, 3])
def test_the_triad_is_computed_in_all_rows(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays: list[Array] = []
    full = np.full
    monkeypatch.setattr(roofline, "SECONDS", 0.0)
    monkeypatch.setattr(roofline, "BLOCK_BYTES", 1 << 17)

    def kept(shape: tuple[int, int], value: float, dtype: type[np.float32]) -> Array:
        arrays.append(full(shape, value, dtype))
        return arrays[-1]

    monkeypatch.setattr(np, "full", kept)
    assert measure_bandwidth(threads, 1 << 20) > 0
    assert (arrays[0] == 7.0).all()


def test_a_result_is_stored_until_it_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[MeasuredOn] = []

    def measure(facts: MeasuredOn, progress: object) -> Roofline:
        measured.append(facts)
        return replace(EXAMPLE, facts=facts, bandwidth_gb_s=float(len(measured)))

    monkeypatch.setattr(roofline, "measure_roofline", measure)
    first = stored_or_measured("onnxruntime", 1, again=False)
    assert stored_or_measured("onnxruntime", 1, again=False) == first
    assert stored_or_measured("onnxruntime", 1, again=True).bandwidth_gb_s == 2
    assert stored_or_measured("onnxruntime", 1, again=False).bandwidth_gb_s == 2
    assert stored_or_measured("onnxruntime", 2, again=False).bandwidth_gb_s == 3, "other threads"
    monkeypatch.setattr(roofline, "library_version", lambda engine: "onnxruntime 99")
    assert stored_or_measured("onnxruntime", 1, again=False).bandwidth_gb_s == 4, "another version"
    for file in (cache_folder() / "rooflines").iterdir():
        file.write_text("{")
    assert stored_or_measured("onnxruntime", 1, again=False).bandwidth_gb_s == 5, "a damaged file"


def test_the_command_prints_and_writes_all_engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "measure_roofline", lambda facts, progress: replace(EXAMPLE, facts=facts))
    result = CliRunner().invoke(command, ["--threads", "2", "--record", str(tmp_path / "r.json")])
    assert result.exit_code == 0, result.exception
    for text in ("onnxruntime 1", "openvino 2", "100.0 GFLOP/s  (MatMul 512)", "10.0 GB/s"):
        assert text in result.output
    written = json.loads((tmp_path / "r.json").read_text())
    assert [one["facts"]["engine"] for one in written] == ["onnxruntime", "openvino"]
    assert "\n".join(roofline_lines(EXAMPLE)) not in result.output, "facts are those of this machine"


def test_a_measurement_has_a_peak_for_each_type(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("SECONDS", 0.0), ("SIZE", 32), ("CHANNELS", 4), ("SIDE", 8), ("LEAST_S", 0.0)):
        monkeypatch.setattr(roofline, name, value)
    monkeypatch.setattr(roofline, "_array_bytes", lambda: 1 << 20)
    found = roofline.measure_roofline(roofline.facts_here("onnxruntime", 1))
    assert [peak.precision for peak in found.peaks] == ["float", "int8"]
    assert all(peak.gflops > 0 for peak in found.peaks)
    assert found.bandwidth_gb_s > 0
