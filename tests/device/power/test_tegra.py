"""Power and clocks of Jetson boards, read from recorded trees."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevision.device import facts as device
from edgevision.device.facts import FactReading, machine_name, power_mode
from edgevision.device.power.findings import before_timing, meanwhile
from edgevision.device.power.reading import power_state
from edgevision.device.power.state import Clock, PowerState, Throttle
from tests.device.power.trees import AGX_ORIN_35, ORIN_NANO_36, THOR_38, grow


@pytest.fixture(autouse=True)
def no_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    device.nvidia_gpus.cache_clear()


def test_an_orin_nano_with_36(tmp_path: Path) -> None:
    state = power_state(grow(tmp_path, ORIN_NANO_36))
    assert state.mode == "15W (0)"
    assert state.clocks == (
        Clock("cpu policy0", 729.6, 1497.6, 1728.0, locked=False),
        Clock("gpu 17000000.gpu", 306.0, 612.0, 1020.0, locked=False),
    )
    assert state.temperatures_c == (FactReading("cpu-thermal", 48.5),)
    assert state.watts == (
        FactReading("VDD_IN", 4984 * 1856 / 1e6),
        FactReading("VDD_CPU_GPU_CV", 4976 * 500 / 1e6),
    )
    assert state.throttles == (
        Throttle("under-voltage (OC1)", active=False, events=0),
        Throttle("average over-current (OC2)", active=False, events=0),
        Throttle("instantaneous over-current (OC3)", active=False, events=27390),
        Throttle("VDD_IN over its critical current limit", active=False),
        Throttle("VDD_IN over its average current limit", active=False),
        Throttle("temperature (cpufreq-cpu0)", active=False),
        Throttle("temperature (gpu-throttle-alert)", active=False),
        Throttle("temperature (hot-surface-alert)", active=False),
    )


def test_an_agx_orin_with_35(tmp_path: Path) -> None:
    state = power_state(grow(tmp_path, AGX_ORIN_35))
    assert state.mode == "MAXN (0)"
    assert state.clocks == (Clock("gpu 17000000.ga10b", 1300.5, 1300.5, 1300.5, locked=True),)
    assert state.watts == (FactReading("VDD_GPU_SOC", 19880 * 400 / 1e6),)
    assert before_timing(state) == (), "it is at its best: nothing to say"


def test_a_thor_with_38(tmp_path: Path) -> None:
    state = power_state(grow(tmp_path, THOR_38))
    assert state.mode == "mode 1 (1)", "its number is known where its configuration cannot be read"
    assert [clock.name for clock in state.clocks] == ["memory bwmgr", "gpu gpu-gpc-0"]
    assert [throttle.reason for throttle in state.throttles if throttle.active] == [
        "temperature (gpu-throttle-alert)",
        "temperature (devfreq-gpu-gpc-0)",
    ]


def test_a_machine_without_power_facts(tmp_path: Path) -> None:
    assert power_state(tmp_path) == PowerState()
    assert before_timing(PowerState()) == meanwhile(PowerState(), PowerState()) == ()


def test_slow_clocks_are_reported_before_kernels_are_timed(tmp_path: Path) -> None:
    found = before_timing(power_state(grow(tmp_path, ORIN_NANO_36)))
    assert found == (
        "power mode 15W (0) holds gpu 17000000.gpu at 612 of 1020 MHz: timings are valid only for this mode; first"
        " set the mode for later use (sudo nvpmodel -m N; edgevision doctor lists them)",
        "gpu 17000000.gpu follows its load and is at 306 of 612 MHz: timings vary; lock it for the measurement"
        " (sudo jetson_clocks)",
    )
    hot = grow(tmp_path, {"sys/class/thermal/cooling_device2/cur_state": "1\n"})
    assert before_timing(power_state(hot))[-1] == "slowed down by temperature (gpu-throttle-alert)"


def test_what_happened_meanwhile(tmp_path: Path) -> None:
    before = power_state(grow(tmp_path, ORIN_NANO_36))
    assert meanwhile(before, power_state(tmp_path)) == ()
    grow(
        tmp_path,
        {
            "sys/class/hwmon/hwmon3/oc3_event_cnt": "27402\n",
            "sys/class/hwmon/hwmon1/curr1_crit_alarm": "1\n",
            "var/lib/nvpmodel/status": "pmode:0002",
        },
    )
    assert meanwhile(before, power_state(tmp_path)) == (
        "instantaneous over-current (OC3): 12 times",
        "slowed down by VDD_IN over its critical current limit",
        "power mode changed from 15W (0) to MAXN_SUPER (2)",
    )


def test_a_speed_is_reported_with_its_power_mode(tmp_path: Path) -> None:
    grow(tmp_path, ORIN_NANO_36)
    slow = machine_name(tmp_path)
    grow(tmp_path, {"var/lib/nvpmodel/status": "pmode:0002"})
    assert power_mode(tmp_path) == "MAXN_SUPER (2)"
    assert machine_name(tmp_path) != slow
