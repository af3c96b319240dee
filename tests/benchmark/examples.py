"""A record of one benchmark on a made-up machine."""

from __future__ import annotations

from dataclasses import replace

from edgevision.benchmark.records import BenchRecord, BenchSettings, RoundRecord, StageRecord
from edgevision.benchmark.timing import Samples
from edgevision.contract.session import EngineInfo
from edgevision.device.facts import DeviceFacts, FactReading

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


def timed(created: str, median_ms: float) -> BenchRecord:
    """`RECORD` with other times: all calls take `median_ms`."""
    alone = StageRecord.of("inference alone", Samples((round(median_ms * 1e6),) * 9))
    return replace(RECORD, created=created, inference_alone=alone)
