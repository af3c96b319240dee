"""Records of every kind for reports."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgevision.benchmark.builds import BuildRecord
from edgevision.benchmark.energy import EnergyRecord
from edgevision.benchmark.packed import PackedSamples
from edgevision.benchmark.paired.pairs import TimedPair
from edgevision.benchmark.paired.record import PairedRecord, PairSettings
from edgevision.benchmark.record_files import write_record
from edgevision.benchmark.records import StageRecord
from edgevision.benchmark.scenarios.options import ScenarioOptions
from edgevision.benchmark.scenarios.record import CameraFigures, ScenarioRecord
from edgevision.benchmark.soak.record import SoakRecord, SoakWindow
from edgevision.benchmark.timing import Samples
from edgevision.contract.session import SessionOptions
from edgevision.device.facts import FactReading
from tests.benchmark.examples import DEVICE, RECORD, timed

HOSTILE = "<script>alert(1)</script>"
BUILD = BuildRecord("m onnxruntime int8", "m", "ab" * 32, "int8", RECORD.engine, (640, 640), 1)
CALLS = StageRecord.of("query", Samples(tuple(range(4_000_000, 9_000_000, 50_000))))
SCENARIO = ScenarioRecord(
    created="2026-01-02T00:00:00+00:00",
    edgevision="0.1.0",
    build=BUILD,
    device=DEVICE,
    source="v.mp4",
    threads=None,
    spin=True,
    scenario="camera",
    options=ScenarioOptions(),
    valid=False,
    invalid_because=("min duration 60 s: 2.0 s",),
    latency=replace(CALLS, name="age of a result"),
    samples=100,
    wall_s=4.0,
    samples_per_s=25.0,
    unstable=(),
    camera=CameraFigures(25.0, 24.5, 3, 0),
)
PAIRED = PairedRecord(
    created="2026-01-03T00:00:00+00:00",
    edgevision="0.1.0",
    base=BUILD,
    new=replace(BUILD, precision="float"),
    device=DEVICE,
    settings=PairSettings("v.mp4", 2, 1.0, 4, 0, None, True),
    pairs=(
        TimedPair(True, PackedSamples.of([5_000_000]), PackedSamples.of([7_000_000, 9_000_000])),
        TimedPair(False, PackedSamples.of([6_000_000]), PackedSamples.of([8_000_000])),
    ),
    unstable=(),
)

WINDOW = SoakWindow(
    at_s=0.0,
    seconds=60.0,
    frames=1200,
    frames_per_s=20.0,
    p50_ms=30.0,
    p90_ms=32.0,
    p99_ms=40.0,
    resident_mib=200.0,
    clocks_mhz=(FactReading("gpu", 612.0),),
    temperatures_c=(FactReading("cpu", 40.0), FactReading("tj", 50.0)),
    watts=(FactReading("VDD_IN", 5.0),),
    slowed_by=(),
)
SOAK = SoakRecord(
    created="2026-01-04T00:00:00+00:00",
    edgevision="0.1.0",
    build=BUILD,
    device=DEVICE,
    source="v.mp4",
    options=SessionOptions(),
    minutes=2.0,
    inference=replace(CALLS, name="inference in the soak"),
    windows=(
        WINDOW,
        replace(
            WINDOW,
            at_s=60.0,
            frames=1140,
            frames_per_s=19.0,
            p50_ms=31.0,
            resident_mib=202.0,
            temperatures_c=(FactReading("cpu", 41.0), FactReading("tj", 61.0)),
        ),
    ),
    frames_per_s=19.5,
    memory=None,
    unstable=(),
    energy=EnergyRecord(0.25, 5.0, "module input", ("VDD_IN",), "the soak", 120.0, 2340),
)


def write_all(folder: Path) -> Path:
    """A benchmark with a hostile name and one with a plain name, a camera, and a comparison."""
    hostile = replace(RECORD, model=f"{HOSTILE}|", unstable=(f"{HOSTILE} moved",))
    write_record(folder / "1.json", hostile)
    write_record(folder / "2.json", timed("2026-01-01T00:00:00+00:00", 20.0))
    write_record(folder / "3.json", SCENARIO)
    write_record(folder / "4.json", PAIRED)
    return folder
