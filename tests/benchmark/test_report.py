"""Benchmark records: complete, readable, and explicit about drift."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgevision.benchmark.energy import EnergyRecord
from edgevision.benchmark.record_files import read_record, write_record
from edgevision.benchmark.record_text import record_lines
from edgevision.benchmark.records import AccuracyRecord
from edgevision.contract.session import EngineInfo
from edgevision.errors import SinkError, UsageError
from tests.benchmark.examples import DEVICE, RECORD, STAGE


def test_a_stage_keeps_every_sample_and_sums_them_up() -> None:
    assert (STAGE.count, STAGE.mean_ms, STAGE.p50_ms, STAGE.p90_ms, STAGE.p99_ms) == (100, 50.5, 50, 90, 99)
    assert STAGE.samples.values_ns() == tuple(range(1_000_000, 101_000_000, 1_000_000))


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "bench.json"
    write_record(path, RECORD)
    assert read_record(path) == RECORD
    assert [entry.name for entry in path.parent.iterdir()] == ["bench.json"]
    assert json.loads(path.read_text())["device"]["power_mode"] == "MAXN (0)"


def test_a_record_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match="cannot write"):
        write_record(tmp_path / "file" / "bench.json", RECORD)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "cannot read benchmark record"),
        ("[]", "is not a benchmark record: .*expected an object"),
        ('{"schema": 1}', "is not a benchmark record: .*missing"),
        (
            '{"schema": 9, "edgevision": "7.0"}',
            "schema 9, written by edgevision 7.0; this version supports schemas up to 3",
        ),
    ],
)
def test_what_is_no_record_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bench.json").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_record(tmp_path / "bench.json")


def test_the_text_holds_the_figures_and_the_machine() -> None:
    text = "\n".join(record_lines(RECORD))
    for part in (
        "yolov5n, sha256 0123456789ab: onnxruntime 1.2 on cpu, batch 1",
        "v.mp4, 768x576 frames to 640x640 input",
        "NVIDIA Jetson Orin Nano, Cortex, 6 cores, 7619 MiB",
        "L4T 36.4.3, JetPack 6.2, power mode MAXN (0)",
        "cpu policy0 1510 MHz, cpu-thermal 48 °C",
        "inference           50.00    90.00    99.00    50.50     100",
        "stages add up to 50.50 ms of 51.00 ms a frame: 99.0%",
        "29.2 frames/s end to end",
        "ratio 0.959 (median of 2 paired rounds, 0.952 to 0.967)",
        "200 MiB resident, 250 MiB at the peak",
    ):
        assert part in text
    assert "UNSTABLE" not in text
    assert "UNSTABLE: it moved" in "\n".join(record_lines(replace(RECORD, unstable=("it moved",))))


def test_an_unknown_machine_is_marked() -> None:
    bare = replace(DEVICE, clocks_mhz=(), temperatures_c=(), power_mode=None, board=None)
    text = "\n".join(record_lines(replace(RECORD, device=bare, graph_sha256=None)))
    assert "clocks and temperatures: not readable" in text
    assert "power mode unknown" in text


def test_the_device_clock_and_execution_mode_are_reported() -> None:
    engine = EngineInfo("tensorrt", "TensorRT 10.3.0", "Orin", notes=("replayed as one CUDA graph",))
    timed = replace(RECORD, engine=engine, device_time=replace(STAGE, name="on the device"))
    text = "\n".join(record_lines(timed))
    assert "  replayed as one CUDA graph\n" in text
    assert "on the device       50.00    90.00    99.00    50.50     100" in text
    assert "on the device" not in "\n".join(record_lines(RECORD))


def test_a_record_of_schema_1_is_read() -> None:
    path = Path(__file__).parent / "records" / "schema1.json"
    before, record = json.loads(path.read_text()), read_record(path)
    assert before["schema"] == 1
    assert (record.model, record.engine.engine, record.options, record.snapshots) == (
        "cnn",
        "onnxruntime",
        None,
        (),
    )
    for stage, old in zip(
        (*record.stages, record.inference_alone), (*before["stages"], before["inference_alone"]), strict=True
    ):
        assert list(stage.samples.values_ns()) == [value * 1000 for value in old["samples_us"]]
        assert (stage.count, stage.p99_ms) == (old["count"], old["p99_ms"])
    assert record_lines(record)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples_us": [1.5]}, "whole microseconds"),
        ({"samples_us": [1]}, "1 samples, but count"),
        ({"samples_us": None}, "no list samples_us"),
    ],
)
def test_a_damaged_record_of_schema_1_is_an_error(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    data = json.loads((Path(__file__).parent / "records" / "schema1.json").read_text())
    data["inference_alone"].update(change)
    (tmp_path / "bench.json").write_text(json.dumps(data))
    with pytest.raises(UsageError, match=message):
        read_record(tmp_path / "bench.json")


def test_samples_of_another_count_are_an_error(tmp_path: Path) -> None:
    write_record(tmp_path / "bench.json", replace(RECORD, inference_alone=replace(STAGE, count=99)))
    with pytest.raises(UsageError, match="100 samples, but count 99"):
        read_record(tmp_path / "bench.json")


def test_an_unknown_kind_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bench.json").write_text('{"kind": "other", "schema": 1}')
    with pytest.raises(UsageError, match="kind 'other' is not one of"):
        read_record(tmp_path / "bench.json")


def test_a_record_of_schema_2_is_read(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    write_record(path, RECORD)
    data = json.loads(path.read_text())
    assert data.pop("energy") is None
    assert data.pop("accuracy") is None
    path.write_text(json.dumps({**data, "schema": 2}))
    assert read_record(path) == replace(RECORD, schema=2)


def test_energy_and_accuracy_are_lines() -> None:
    energy = EnergyRecord(0.25, 5.0, "module input", ("VDD_IN",), "the overlapping pipeline", 9.0, 180)
    lines = record_lines(replace(RECORD, energy=energy, accuracy=AccuracyRecord("AP", 24.53, 220)))
    assert (
        "0.250 J per frame: 5.00 W mean of the module input (VDD_IN) over 9.0 s of the overlapping pipeline"
        in lines
    )
    assert lines[-1] == "AP 24.5 on 220 images"
