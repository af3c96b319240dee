"""All devices of a fleet at once: records, losses, disagreement, and silence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

import edgevision
from edgevision.benchmark.record_files import read_record
from edgevision.fleet.devices import Device
from edgevision.fleet.node import Answer, NodeOptions
from edgevision.fleet.package import BundlePackage
from edgevision.fleet.run import DeviceLostError, FleetBench
from edgevision.storage.codec import json_text
from tests.benchmark.examples import RECORD

PACKAGE = BundlePackage("m", "d" * 64, b"bundle", frozenset([RECORD.graph_sha256 or ""]))
OPTIONS = NodeOptions(None, None, None, 1.0, 1)
DEVICES = [Device(f"board-{n}", f"id{n}", "board", 1.0, 0.0) for n in range(3)]
GOOD = {
    "version": Answer(edgevision.__version__),
    "has": Answer(""),
    "store": Answer("/cache"),
    "prepare": Answer("onnxruntime 1.2 on cpu, float"),
    "bench": Answer(json_text(RECORD)),
}
DIES = Answer("dies")
SILENT = Answer("silent")


@dataclass
class ScriptedFleet:
    """Devices answer as their scripts say."""

    scripts: dict[str, dict[str, Answer]]
    calls: list[tuple[str, str]] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    puts: int = 0
    now_s: float = 0.0

    def start(self, device: Device) -> Any:
        return device.name

    def put(self, data: bytes) -> Any:
        assert data == PACKAGE.data
        self.puts += 1
        return "reference"

    def call(self, handle: Any, method: str, *arguments: Any) -> Any:
        if method == "store":
            assert arguments == (PACKAGE.digest, "reference")
        self.calls.append((handle, method))
        return handle, method

    def ready(self, references: Sequence[Any], seconds: float) -> Sequence[Any]:
        self.now_s += seconds
        return [reference for reference in references if self._answer(reference) is not SILENT]

    def answer(self, reference: Any) -> Answer:
        found = self._answer(reference)
        if found is DIES:
            raise DeviceLostError("its node died")
        return found

    def stop(self, handle: Any) -> None:
        self.stopped.append(handle)

    def _answer(self, reference: Any) -> Answer:
        name, method = reference
        return self.scripts.get(name, {}).get(method, GOOD[method])


def run(fleet: ScriptedFleet, folder: Path) -> list[str | None]:
    """The problem of each device; None for a device with a record, which is read."""
    bench = FleetBench(fleet, PACKAGE, OPTIONS, folder, 20.0, clock_s=lambda: fleet.now_s)
    results = bench.run(DEVICES)
    assert [result.device for result in results] == DEVICES
    assert sorted(fleet.stopped) == [device.name for device in DEVICES], "every device is released once"
    for result in results:
        assert (result.record is None) == (result.problem is not None)
        if result.record is not None:
            assert read_record(result.record) == RECORD
    written = {path.name for path in folder.iterdir()} if folder.exists() else set()
    assert written == {f"{result.device.name}.json" for result in results if result.record is not None}
    return [result.problem for result in results]


def test_every_device_gives_a_record_and_the_bundle_is_put_once(tmp_path: Path) -> None:
    fleet = ScriptedFleet({"board-1": {"has": Answer("/cache/there")}})
    assert run(fleet, tmp_path / "records") == [None] * 3
    assert fleet.puts == 1
    assert [name for name, method in fleet.calls if method == "store"] == ["board-0", "board-2"]


@pytest.mark.parametrize("step", ["version", "has", "store", "prepare", "bench"])
def test_a_device_that_dies_is_reported_and_the_others_finish(tmp_path: Path, step: str) -> None:
    fleet = ScriptedFleet({"board-1": {step: DIES}})
    assert run(fleet, tmp_path) == [None, f"lost during {step}: its node died", None]


@pytest.mark.parametrize("step", ["version", "prepare", "bench"])
def test_a_silent_device_is_not_waited_for(tmp_path: Path, step: str) -> None:
    fleet = ScriptedFleet({"board-0": {step: SILENT}})
    assert run(fleet, tmp_path) == [f"no answer to {step} for 20 s", None, None]


@pytest.mark.parametrize(
    ("step", "answer", "problem"),
    [
        (
            "version",
            Answer("9.9"),
            f"has edgevision 9.9; expected {edgevision.__version__}: install it there",
        ),
        ("prepare", Answer(problem="boxes differ", differs=True), "disagrees: boxes differ"),
        ("prepare", Answer(problem="no engine"), "failed to prepare: no engine"),
        (
            "bench",
            Answer(json_text(replace(RECORD, graph_sha256="other"))),
            "measured another graph: sha256 other",
        ),
    ],
)
def test_a_device_that_disagrees_is_reported(tmp_path: Path, step: str, answer: Answer, problem: str) -> None:
    fleet = ScriptedFleet({"board-2": {step: answer}})
    assert run(fleet, tmp_path) == [None, None, problem]


def test_what_is_no_record_is_a_problem(tmp_path: Path) -> None:
    fleet = ScriptedFleet({"board-0": {"bench": Answer("{}")}})
    first, *others = run(fleet, tmp_path)
    assert first is not None
    assert first.startswith("returned no record")
    assert others == [None, None]
