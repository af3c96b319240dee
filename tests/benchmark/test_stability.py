"""Reasons why a result is unstable, and readings during a measurement."""

from __future__ import annotations

import time

import pytest

from edgevision.benchmark.stability import MachineWatch, Snapshot, instabilities
from edgevision.benchmark.timing import Samples
from edgevision.device.facts import FactReading

STEADY = Samples((10_000_000,) * 9)
STILL = Snapshot((FactReading("cpu policy0", 1510.4),), (FactReading("cpu-thermal", 48.5),))


def at(mhz: float, celsius: float, *slowed_by: str) -> Snapshot:
    return Snapshot(
        (FactReading("cpu policy0", mhz),), (FactReading("cpu-thermal", celsius),), slowed_by=slowed_by
    )


def test_what_holds_still_is_stable() -> None:
    assert instabilities(STEADY, [STILL] * 4) == ()


def test_each_thing_that_moves_is_named() -> None:
    drifting = Samples((10_000_000,) * 3 + (12_000_000,) * 3)
    hot = at(1000.0, 80.0)
    assert instabilities(drifting, [STILL, STILL, STILL, hot, hot]) == (
        "inference latency in ms moved by +20% from first to last third",
        "clock in MHz of cpu policy0 moved by -34% from first to last third",
        "temperature of cpu-thermal rose from 48 to 80 °C",
    )


@pytest.mark.parametrize(("last_c", "found"), [(53.5, 0), (53.6, 1), (20.0, 0)])
def test_a_temperature_may_rise_by_5_degrees_and_may_fall(last_c: float, found: int) -> None:
    assert len(instabilities(STEADY, [STILL, STILL, at(1510.4, last_c)])) == found


@pytest.mark.parametrize(("slowest_ns", "found"), [(20_000_000, ()), (31_000_000, (3.1,))])
def test_a_long_tail_is_unstable(slowest_ns: int, found: tuple[float, ...]) -> None:
    samples = Samples((10_000_000,) * 45 + (slowest_ns,) * 10 + (10_000_000,) * 45)
    expected = tuple(f"p99 of inference is {ratio} times p50; limit 2" for ratio in found)
    assert instabilities(samples, []) == expected


def test_idle_clocks_before_and_after_do_not_count() -> None:
    idle = at(400.0, 48.5)
    assert instabilities(STEADY, [idle, STILL, STILL, STILL, idle]) == ()


def test_throttling_in_any_reading_is_unstable() -> None:
    shots = [STILL, at(1510.4, 48.5, "power limit"), at(1510.4, 48.5, "power limit", "heat"), STILL]
    assert instabilities(STEADY, shots) == ("slowed down by power limit", "slowed down by heat")


def test_the_state_is_read_before_during_and_after() -> None:
    with MachineWatch(lambda: STILL, period_s=0.01) as watch:
        assert len(watch.snapshots) >= 1
        while len(watch.snapshots) < 3:
            time.sleep(0.005)
        during = len(watch.snapshots)
    assert len(watch.snapshots) > during
    times = [shot.at_s for shot in watch.snapshots]
    assert times == sorted(times)
    assert times[0] < 1.0
    assert {shot.clocks_mhz for shot in watch.snapshots} == {STILL.clocks_mhz}
