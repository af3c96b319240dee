"""NVIDIA cards by NVML: calls checked against the real package, with simulated results."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pynvml = pytest.importorskip("pynvml")

from edgevision.device.facts import FactReading, clocks_mhz, temperatures_c  # noqa: E402  # after the extra is known to be here
from edgevision.device.power import nvml  # noqa: E402
from edgevision.device.power.findings import before_timing, meanwhile  # noqa: E402
from edgevision.device.power.reading import nvml_state, power_state  # noqa: E402
from edgevision.device.power.state import Clock, PowerState, Throttle  # noqa: E402


class Driver:
    """An NVML that answers for one H200; each function has the parameters of the real one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reasons = 0
        self.names: tuple[Any, ...] = ("NVIDIA H200",)
        self.refused: set[str] = set()
        self.celsius, self.milliwatts = 41, 76_500
        answers: dict[str, Any] = {
            "nvmlInit": lambda: None,
            "nvmlDeviceGetCount": lambda: len(self.names),
            "nvmlDeviceGetHandleByIndex": lambda index: f"handle {index}",
            "nvmlDeviceGetName": lambda handle: self.names[int(handle[-1])],
            "nvmlDeviceGetClockInfo": lambda handle, type: {1: 345, 2: 3201}[type],
            "nvmlDeviceGetMaxClockInfo": lambda handle, type: {1: 1980, 2: 3201}[type],
            "nvmlDeviceGetTemperature": lambda handle, sensor: self.celsius,
            "nvmlDeviceGetPowerUsage": lambda handle: self.milliwatts,
            "nvmlDeviceGetCurrentClocksThrottleReasons": lambda handle: self.reasons,
        }
        for name, answer in answers.items():
            real = inspect.signature(getattr(pynvml, name)).parameters
            assert len(real) == len(inspect.signature(answer).parameters) or name == "nvmlInit", name
            monkeypatch.setattr(pynvml, name, self._function(name, answer))

    def _function(self, name: str, answer: Any) -> Any:
        def call(*arguments: Any) -> Any:
            if name in self.refused:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
            return answer(*arguments)

        return call


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    nvml._cards.cache_clear()
    yield
    nvml._cards.cache_clear()


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    return Driver(monkeypatch)


def test_a_card_is_read(driver: Driver) -> None:
    state = nvml_state()
    assert state.clocks == (
        Clock("gpu NVIDIA H200", 345.0, None, 1980),
        Clock("memory NVIDIA H200", 3201.0, None, 3201),
    )
    assert state.temperatures_c == (FactReading("NVIDIA H200", 41.0),)
    assert state.watts == (FactReading("NVIDIA H200", 76.5),)
    assert not any(throttle.active for throttle in state.throttles)
    assert before_timing(state) == (), "a card that has nothing to do runs slowly, and is fast when it has"


def test_records_have_its_clocks_and_temperature(driver: Driver) -> None:
    """The very functions by which benchmarks, the page and the metrics read a machine."""
    assert FactReading("gpu NVIDIA H200", 345.0) in clocks_mhz()
    assert FactReading("NVIDIA H200", 41.0) in temperatures_c()
    assert Clock("gpu NVIDIA H200", 345.0, None, 1980) in power_state().clocks


def test_the_reason_for_slow_clocks_is_reported(driver: Driver) -> None:
    before = nvml_state()
    driver.reasons = 0x04 | 0x40 | 0x01
    assert before_timing(nvml_state()) == (
        "slowed down by NVIDIA H200: power limit",
        "slowed down by NVIDIA H200: temperature (hardware)",
    )
    assert meanwhile(before, nvml_state()) == before_timing(nvml_state())


def test_the_bits_are_those_of_the_library() -> None:
    names = ("SwPowerCap", "HwSlowdown", "SwThermalSlowdown", "HwThermalSlowdown", "HwPowerBrakeSlowdown")
    assert set(nvml.REASONS) == {getattr(pynvml, f"nvmlClocksEventReason{name}") for name in names}


def test_unsupported_queries_of_a_card_are_omitted(driver: Driver) -> None:
    driver.names = (b"Card", "Card")
    driver.refused = {"nvmlDeviceGetPowerUsage", "nvmlDeviceGetTemperature"}
    state = nvml_state()
    assert (state.watts, state.temperatures_c) == ((), ())
    assert [clock.name for clock in state.clocks] == [
        "gpu Card 0",
        "memory Card 0",
        "gpu Card 1",
        "memory Card 1",
    ]


def test_an_orin_has_a_gpu_without_readings(driver: Driver) -> None:
    """Its NVML lists the GPU and supports no query: HazyResearch/intelligence-per-watt, issue 40 (JetPack 7.2)."""
    driver.names = ("Orin (nvgpu)",)
    driver.refused = {name for name in vars(pynvml) if name.startswith("nvmlDeviceGet")} - {
        "nvmlDeviceGetCount",
        "nvmlDeviceGetHandleByIndex",
        "nvmlDeviceGetName",
    }
    assert nvml_state() == PowerState()


def test_a_thor_has_power_and_temperature(driver: Driver) -> None:
    """37.53 W and 62 °C as nvidia-smi prints them there: wendylabsinc/wendy-agent, hoststats/gpu_test.go."""
    driver.names, driver.celsius, driver.milliwatts = ("NVIDIA Thor",), 62, 37_530
    state = nvml_state()
    assert state.watts == (FactReading("NVIDIA Thor", 37.53),)
    assert state.temperatures_c == (FactReading("NVIDIA Thor", 62.0),)


def test_a_machine_without_nvml(driver: Driver) -> None:
    driver.refused = {"nvmlInit"}
    assert nvml_state() == PowerState()


def test_a_machine_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.delitem(sys.modules, "edgevision.device.power.nvml")
    assert nvml_state() == PowerState()


def test_every_call_is_one_that_the_package_has() -> None:
    tree = ast.parse(Path(nvml.__file__).read_text())
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "pynvml"
    }
    assert len(used) >= 10
    assert all(hasattr(pynvml, name) for name in used)


def test_throttles_are_named_for_their_card(driver: Driver) -> None:
    driver.reasons = 0x80
    assert Throttle("NVIDIA H200: power brake", active=True) in nvml_state().throttles
