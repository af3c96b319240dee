"""Warnings while a program runs."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from edgevision.device.power.reading import power_state
from edgevision.device.power.watch import AGAIN_S, PowerWatch
from tests.device.power.trees import ORIN_NANO_36, grow


class Running:
    """A board that is looked at whenever the test says so."""

    def __init__(self, root: Path, caplog: pytest.LogCaptureFixture) -> None:
        self.root = grow(root, ORIN_NANO_36)
        self.caplog = caplog
        self.now_s = 0.0
        self.watch = PowerWatch(lambda: power_state(self.root), clock=lambda: self.now_s)
        self.watch.look()

    def look(self, after_s: float, **files: str) -> list[str]:
        """Warnings after this many seconds."""
        names = {
            "oc3": "sys/class/hwmon/hwmon3/oc3_event_cnt",
            "alert": "sys/class/thermal/cooling_device2/cur_state",
            "mode": "var/lib/nvpmodel/status",
        }
        grow(self.root, {names[name]: text for name, text in files.items()})
        self.now_s += after_s
        self.caplog.clear()
        self.watch.look()
        return [record.getMessage() for record in self.caplog.records if record.levelno == logging.WARNING]


@pytest.fixture
def running(tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Running:
    monkeypatch.setenv("PATH", "/nowhere")
    return Running(tmp_path, caplog)


def test_events_before_the_start_are_not_ours(running: Running) -> None:
    assert running.look(5) == []


def test_over_current_is_warned_of_once_a_minute_with_its_count(running: Running) -> None:
    assert running.look(5, oc3="27400\n") == [
        "instantaneous over-current (OC3): 10 times: frames take longer; check power supply and cooling"
    ]
    assert running.look(5, oc3="27405\n") == []
    assert running.look(5, oc3="27406\n") == []
    assert running.look(AGAIN_S, oc3="27409\n") == [
        "instantaneous over-current (OC3): 9 times: frames take longer; check power supply and cooling"
    ]
    assert running.look(AGAIN_S) == []


def test_heat_is_warned_of_while_it_lasts(running: Running) -> None:
    warning = (
        "slowed down by temperature (gpu-throttle-alert): frames take longer; check power supply and cooling"
    )
    assert running.look(5, alert="1\n") == [warning]
    assert running.look(5) == []
    assert running.look(AGAIN_S) == [warning]
    assert running.look(5, alert="0\n") == []


def test_another_mode_is_warned_of(running: Running) -> None:
    assert running.look(5, mode="pmode:0002") == [
        "power mode changed from 15W (0) to MAXN_SUPER (2): engines were timed in the old mode; rebuild them in the new"
        " one"
    ]


def test_a_thread_looks_until_it_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    state = power_state(tmp_path)

    def read() -> object:
        looks.append(1)
        return state

    with PowerWatch(read, period_s=0.01) as watch:  # type: ignore[arg-type]  # the state of an empty tree
        while len(looks) < 3:
            pass
    assert not watch._thread.is_alive()
