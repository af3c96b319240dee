"""Benchmark records: complete, readable, and explicit about drift."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgevision.benchmark.records import (
    BenchRecord,
    BenchSettings,
    RoundRecord,
    Snapshot,
    StageRecord,
    instabilities,
    read_record,
    record_lines,
    write_record,
)
from edgevision.benchmark.timing import Samples
from edgevision.contract.session import EngineInfo
from edgevision.device.facts import DeviceFacts, FactReading
from edgevision.errors import SinkError, UsageError

DEVICE = DeviceFacts(
    cpu="Cortex",
    cores_usable=6.0,
    cores_online=6,
    memory_mib=7619,
    system="Ubuntu 22.04",
    kernel="5.15",
    python="3.10.12",
    board="NVIDIA Jetson Orin Nano",
    l4t="36.4.3",
    jetpack="6.2",
    power_mode="MAXN (0)",
    gpus=(),
    clocks_mhz=(FactReading("cpu policy0", 1510.4),),
    temperatures_c=(FactReading("cpu-thermal", 48.5),),
    libraries=(),
)
STAGE = StageRecord.of("inference", Samples(tuple(range(1_000_000, 101_000_000, 1_000_000))))
RECORD = BenchRecord(
    created="2026-01-01T00:00:00+00:00",
    edgevision="0.1.0",
    model="yolov5n",
    graph_sha256="0123456789abcdef" * 4,
    engine=EngineInfo("onnxruntime", "onnxruntime 1.2", "cpu"),
    device=DEVICE,
    settings=BenchSettings("v.mp4", (768, 576), (640, 640), 1, None, True, 0.25, 2, 3.0, 30, 1.0, 5),
    stages=(STAGE,),
    inference_alone=replace(STAGE, name="inference alone"),
    rounds=(RoundRecord(30.0, 29.0), RoundRecord(31.0, 29.5)),
    inference_frames_per_s=30.5,
    end_to_end_frames_per_s=29.25,
    end_to_end_ratio=0.959,
    stages_sum_ms=50.5,
    serial_wall_ms=51.0,
    resident_mib=200.0,
    peak_resident_mib=250.0,
    unstable=(),
)
STILL = Snapshot(DEVICE.clocks_mhz, DEVICE.temperatures_c)


def test_a_stage_keeps_every_sample_and_sums_them_up() -> None:
    assert (STAGE.count, STAGE.mean_ms, STAGE.p50_ms, STAGE.p90_ms, STAGE.p99_ms) == (100, 50.5, 50, 90, 99)
    assert STAGE.samples_us == tuple(range(1000, 101_000, 1000))


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
            "schema 9, written by edgevision 7.0; this version supports schemas up to 1",
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


def test_what_holds_still_is_stable() -> None:
    assert instabilities(Samples((10_000_000,) * 9), [STILL] * 4) == ()


def test_each_thing_that_moves_is_named() -> None:
    hot = Snapshot((FactReading("cpu policy0", 1000.0),), (FactReading("cpu-thermal", 80.0),))
    reasons = instabilities(Samples((10_000_000,) * 3 + (12_000_000,) * 3), [STILL, STILL, hot])
    assert reasons == (
        "inference latency in ms moved by +20% from first to last third",
        "clock in MHz of cpu policy0 moved by -34% from first to last third",
        "degrees of cpu-thermal moved by +65% from first to last third",
    )


def test_the_device_clock_and_execution_mode_are_reported() -> None:
    engine = EngineInfo("tensorrt", "TensorRT 10.3.0", "Orin", notes=("replayed as one CUDA graph",))
    timed = replace(RECORD, engine=engine, device_time=replace(STAGE, name="on the device"))
    text = "\n".join(record_lines(timed))
    assert "  replayed as one CUDA graph\n" in text
    assert "on the device       50.00    90.00    99.00    50.50     100" in text
    assert "on the device" not in "\n".join(record_lines(RECORD))
