"""Power modes and clocks, from a board's files to the running engine."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from edgevision.builder import engines
from edgevision.bundle.folder import Bundle
from edgevision.device import facts as device
from edgevision.device.power.reading import power_state
from edgevision.engines.tensorrt import here
from edgevision.engines.tensorrt.here import running_on
from edgevision.engines.tensorrt.manifest import EngineSpeed, Run
from edgevision.engines.tensorrt.store import StoredEngine, choose_engine, decide_engine, open_engine
from tests.builder.acted import LAYERS, ORIN, ActedBuilder
from tests.builder.test_settings import Workshop
from tests.device.power.trees import ORIN_NANO_36, grow

FULL_POWER = {
    "var/lib/nvpmodel/status": "pmode:0002",
    "sys/class/devfreq/17000000.gpu/min_freq": "1020000000",
    "sys/class/devfreq/17000000.gpu/max_freq": "1020000000",
    "sys/class/devfreq/17000000.gpu/cur_freq": "1020000000",
}


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An Orin Nano in 15 W: everything that asks for power reads its files."""
    root = grow(tmp_path / "board", ORIN_NANO_36)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(engines, "power_state", lambda: power_state(root))
    monkeypatch.setattr(here, "power_mode", lambda _: device.power_mode(root))
    return root


def test_slow_clocks_are_reported_before_the_build_and_recorded(brightness: Path, board: Path) -> None:
    workshop = Workshop(brightness, "tensorrt-10.3.0", ORIN)
    made = workshop.build(memory_mib=4000)
    first = workshop.messages[0]
    assert first.startswith(
        "warning: power mode 15W (0) holds gpu 17000000.gpu at 612 of 1020 MHz: timings are valid"
    )
    assert made.built_on.power_mode == "15W (0)"
    assert [clock.limit_mhz for clock in made.clocks] == [1497.6, 612.0]
    assert made.warnings == tuple(line.removeprefix("warning: ") for line in workshop.messages[:2])


def test_full_clocks_give_no_warning(brightness: Path, board: Path) -> None:
    grow(board, FULL_POWER)
    workshop = Workshop(brightness, "tensorrt-10.3.0", ORIN)
    assert workshop.build(memory_mib=4000).warnings == ()
    assert not any(line.startswith("warning") for line in workshop.messages)


def test_over_current_while_kernels_are_timed_is_kept(brightness: Path, board: Path) -> None:
    grow(board, FULL_POWER)
    workshop = Workshop(brightness, "tensorrt-10.3.0", ORIN)

    def starved(*_: object) -> bytes:
        grow(board, {"sys/class/hwmon/hwmon3/oc2_event_cnt": "7"})
        return b"plan"

    workshop.script.answers["Builder", "build_serialized_network"] = starved
    made = workshop.build(memory_mib=4000)
    assert made.warnings == ("average over-current (OC2): 7 times",)
    assert workshop.messages[-1] == "warning: during the build: average over-current (OC2): 7 times"


def test_each_mode_has_timings_and_an_engine_of_its_own(brightness: Path, board: Path) -> None:
    from tests.builder.acted import build

    low, full, again = ActedBuilder(), ActedBuilder(), ActedBuilder()
    (first,) = build(brightness, low)
    grow(board, FULL_POWER)
    (second,) = build(brightness, full)
    assert len(full.timed) == LAYERS, "kernels that were timed at 15 W are not valid at full power"
    assert second.engine.folder != first.engine.folder
    names = sorted(path.name for path in (brightness / "engines").glob("timing-*"))
    assert names == [
        "timing-tensorrt-10.3.0-orin-16-multiprocessors-61-4-gib-15w-0.cache",
        "timing-tensorrt-10.3.0-orin-16-multiprocessors-61-4-gib-maxn-super-2.cache",
    ]
    (third,) = build(brightness, again)
    assert not third.built


def test_an_engine_of_another_mode_runs_with_a_warning(brightness: Path, board: Path) -> None:
    workshop = Workshop(brightness, "tensorrt-10.3.0", ORIN)
    workshop.build(memory_mib=4000)
    grow(board, FULL_POWER)
    bundle, running = Bundle.open(brightness), running_on(workshop.library, ORIN)
    chosen = choose_engine(bundle, running)
    assert isinstance(chosen, StoredEngine)
    decision = decide_engine(bundle, chosen, running)
    assert isinstance(decision, Run)
    assert decision.note == (
        "built in power mode 15W (0), runs in MAXN_SUPER (2): its kernels were selected at other clocks; to build"
        " for this mode: edgevision build"
    )


def test_the_engine_of_this_mode_is_preferred(brightness: Path, board: Path) -> None:
    workshop = Workshop(brightness, "tensorrt-10.3.0", ORIN)
    workshop.build(memory_mib=4000)
    grow(board, FULL_POWER)
    workshop.build(memory_mib=4000)
    for folder in (brightness / "engines").glob("tensorrt-*"):
        made = open_engine(folder).manifest
        # It was measured to be faster at 15 W; that measurement does not apply to another mode.
        call_ms = 5.0 if made.built_on.power_mode == "15W (0)" else 9.0
        changed = dataclasses.replace(made, speed=EngineSpeed(1, call_ms, 30))
        (folder / "engine.json").write_bytes(changed.to_json())
    for mode, expected in (("pmode:0000", "15W (0)"), ("pmode:0002", "MAXN_SUPER (2)")):
        grow(board, {"var/lib/nvpmodel/status": mode})
        chosen = choose_engine(Bundle.open(brightness), running_on(workshop.library, ORIN))
        assert isinstance(chosen, StoredEngine)
        assert chosen.manifest.built_on.power_mode == expected


def test_rtx_times_nothing_and_warns_of_nothing(brightness: Path, board: Path) -> None:
    workshop = Workshop(
        brightness, "rtx-1.7.1.116", dataclasses.replace(ORIN, sm=89, integrated=False, free_mib=9000)
    )
    assert workshop.build().warnings == ()
    assert not any(line.startswith("warning") for line in workshop.messages)
