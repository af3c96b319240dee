"""Energy per frame from readings of power."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgevision.benchmark import energy
from edgevision.benchmark.energy import NO_SENSOR, ROOT_ONLY, EnergyMeter, PowerSensor, energy_line
from edgevision.device.facts import FactReading
from edgevision.device.power.rails import PackageMeter
from edgevision.device.power.state import PowerState
from edgevision.device.power.supply import Supply
from tests.device.power.test_rails import PACKAGE, RAPL
from tests.device.power.trees import ORIN_NANO_36, grow


class Sensor(PowerSensor):
    """A sensor that answers with the given readings in turn."""

    def __init__(self, readings: list[float | None], *, averages: bool = False) -> None:
        self.supply = Supply("module input", ("VDD_IN",))
        self.missing = ""
        self.averages = averages
        self._readings = iter(readings)

    def watts(self) -> float | None:
        return next(self._readings)


def metered(readings: list[float | None], seconds: list[float], *, averages: bool = False) -> EnergyMeter:
    """A meter after one run with two readings for each pair of times."""
    times = iter(seconds)
    sensor = Sensor(readings, averages=averages)
    meter = EnergyMeter(sensor, "the test", period_s=60.0, clock=lambda: next(times))
    for _ in range(len(seconds) // 2):
        with meter.running():
            pass
    return meter


def test_the_mean_power_times_the_time_over_the_frames() -> None:
    meter = metered([4.0, 6.0, 10.0, 10.0], [0.0, 2.0, 10.0, 12.0])
    meter.frames = 60
    found = meter.record()
    assert found.watts == 7.5
    assert found.seconds == 4.0, "the pause between the runs does not count"
    assert found.joules_per_frame == 0.5
    assert (found.scope, found.rails, found.over, found.missing) == (
        "module input",
        ("VDD_IN",),
        "the test",
        "",
    )
    assert (
        energy_line(found)
        == "0.500 J per frame: 7.50 W mean of the module input (VDD_IN) over 4.0 s of the test"
    )


def test_an_average_since_the_previous_reading_is_not_averaged_again() -> None:
    meter = metered([4.0, 6.0], [0.0, 2.0], averages=True)
    meter.frames = 3
    assert meter.record().joules_per_frame == 4.0


def test_the_time_of_the_work_may_be_shorter_than_the_readings() -> None:
    meter = metered([5.0, 5.0], [0.0, 4.0])
    meter.frames = 10
    found = meter.record(2.0)
    assert (found.joules_per_frame, found.seconds, found.watts) == (1.0, 2.0, 5.0)


@pytest.mark.parametrize(("readings", "frames"), [([None, 5.0], 10), ([5.0, None], 10), ([5.0, 5.0], 0)])
def test_without_readings_or_frames_there_is_a_reason(readings: list[float | None], frames: int) -> None:
    meter = metered(readings, [0.0, 1.0])
    meter.frames = frames
    found = meter.record()
    assert (found.joules_per_frame, found.watts) == (None, None)
    assert found.missing == "the sensor gave no reading during the runs"
    assert energy_line(found).startswith("energy per frame: unknown; the sensor")


def test_a_run_is_sampled_meanwhile() -> None:
    counted: list[int] = []

    class Counting(Sensor):
        def watts(self) -> float:
            counted.append(1)
            return 5.0

    meter = EnergyMeter(Counting([]), "the test", period_s=0.01)
    with meter.running():
        while len(counted) < 4:
            time.sleep(0.01)
    meter.frames = 1
    assert meter.record().watts == 5.0


@pytest.fixture
def on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], Path]:
    """Put the sensors of this process into a tree of files, without cards."""

    def put(files: dict[str, str]) -> Path:
        root = grow(tmp_path, files)
        monkeypatch.setattr(energy, "ROOT", root)
        monkeypatch.setattr(energy, "PackageMeter", lambda: PackageMeter(root))
        monkeypatch.setattr(energy, "nvml_state", PowerState)
        return root

    return put


def test_a_jetson_is_measured_at_its_input(on: Callable[[dict[str, str]], Path]) -> None:
    on(ORIN_NANO_36)
    for on_gpu in (True, False):
        sensor = PowerSensor(on_gpu=on_gpu)
        assert sensor.supply == Supply("module input", ("VDD_IN",))
        assert sensor.watts() == pytest.approx(4.984 * 1.856)


def test_a_pc_is_measured_where_the_engine_runs(
    on: Callable[[dict[str, str]], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = on(PACKAGE)
    sensor = PowerSensor(on_gpu=False)
    assert sensor.supply == Supply("CPU package", ("package-0",))
    assert sensor.averages
    grow(root, {f"{RAPL}/intel-rapl:0/energy_uj": "262143001000\n"})
    watts = sensor.watts()
    assert watts is not None
    assert watts > 0
    assert PowerSensor(on_gpu=True).missing.startswith("no power of a GPU is readable")
    monkeypatch.setattr(energy, "nvml_state", lambda: PowerState(watts=(FactReading("NVIDIA H200", 76.5),)))
    card = PowerSensor(on_gpu=True)
    assert card.supply == Supply("GPU", ("NVIDIA H200",))
    assert card.watts() == 76.5


def test_a_machine_without_sensors_says_why(on: Callable[[dict[str, str]], Path]) -> None:
    root = on({})
    assert PowerSensor(on_gpu=False).missing == NO_SENSOR
    grow(root, {f"{RAPL}/intel-rapl:0/name": "package-0\n"})
    assert PowerSensor(on_gpu=False).missing == ROOT_ONLY
