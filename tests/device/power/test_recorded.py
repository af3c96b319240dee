"""Recorded outputs of boards parse to the figures that a person reads in them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgevision.benchmark import stability
from edgevision.device import facts
from edgevision.device.facts import FactReading
from edgevision.device.jetson import (
    JetsonRelease,
    jetpack_of_l4t,
    jetson_release,
    l4t_of_release,
    mode_of_files,
    mode_of_query,
    modes_of_config,
)
from edgevision.device.power.rails import PackageMeter
from edgevision.device.power.state import Clock, PowerState
from edgevision.device.power.tegrastats import TegraStats, parse_line, read_now, state_of

RECORDED = Path(__file__).with_name("recorded")


def output(name: str, program: str) -> str:
    """What a program printed on a board."""
    sections = (RECORDED / f"{name}.txt").read_text().split("== ")
    return next(part.partition("\n")[2] for part in sections if part.startswith(f"{program}\n"))


def readings(**values: float) -> tuple[FactReading, ...]:
    return tuple(FactReading(name, value) for name, value in values.items())


# Written by hand from the recordings.
EXPECTED = {
    "nano-jetpack-4.6.1": TegraStats(
        memory_mb=(1923, 3964),
        cores_mhz=(1224,) * 4,
        gpu_percent=0,
        gpu_mhz=(76,),
        memory_mhz=1600,
        temperatures_c=readings(PLL=37, CPU=40, PMIC=50, GPU=40, AO=45, thermal=40),
        watts=readings(POM_5V_IN=1.75, POM_5V_GPU=0, POM_5V_CPU=0.366),
    ),
    "tx2": TegraStats(
        memory_mb=(2344, 7852),
        cores_mhz=(345, None, None, 345, 345, 345),
        gpu_percent=0,
        gpu_mhz=(624,),
        memory_mhz=1600,
        temperatures_c=readings(
            PLL=37.5, MCPU=37.5, PMIC=100, Tboard=32, GPU=35, BCPU=37.5, thermal=36.5, Tdiode=34.25
        ),
        watts=readings(
            VDD_SYS_GPU=0.152,
            VDD_SYS_SOC=0.687,
            VDD_4V0_WIFI=0,
            VDD_IN=3.056,
            VDD_SYS_CPU=0.152,
            VDD_SYS_DDR=0.883,
        ),
    ),
    "tx2-nx-jetpack-4.6": TegraStats(
        memory_mb=(1689, 3825),
        cores_mhz=(345, None, None, 345, 345, 345),
        gpu_percent=0,
        gpu_mhz=(),
        memory_mhz=None,
        temperatures_c=readings(PLL=50.5, MCPU=50.5, PMIC=50, GPU=50, BCPU=50.5, thermal=50.3),
        watts=(),
    ),
    "agx-xavier-jetpack-4.2": TegraStats(
        memory_mb=(14700, 15692),
        cores_mhz=(1190,) * 8,
        gpu_percent=0,
        gpu_mhz=(),
        memory_mhz=None,
        temperatures_c=readings(
            AO=30, GPU=30.5, Tboard=31, Tdiode=32, AUX=30.5, CPU=31.5, thermal=30.8, PMIC=100
        ),
        watts=readings(GPU=0.463, CPU=0.618, SOC=2.936, CV=0, VDDRQ=0.309, SYS5V=3.306),
    ),
    "xavier-nx-jetpack-4": TegraStats(
        memory_mb=(5246, 7771),
        cores_mhz=(1420,) * 6,
        gpu_percent=0,
        gpu_mhz=(1109,),
        memory_mhz=1600,
        temperatures_c=readings(AO=29, GPU=31.5, PMIC=100, AUX=30, CPU=33.5, thermal=31.35),
        watts=readings(VDD_IN=6.14, VDD_CPU_GPU_CV=2.706, VDD_SOC=1.074),
    ),
    "xavier-nx-jetpack-5.1.2": TegraStats(
        memory_mb=(3168, 6851),
        cores_mhz=(1397, 1192, 1190, 1190, 1190, 1190),
        gpu_percent=0,
        gpu_mhz=(114,),
        memory_mhz=204,
        temperatures_c=readings(AUX=45, CPU=46.5, thermal=45.6, AO=45, GPU=45.5, PMIC=50),
        watts=readings(VDD_IN=2.763, VDD_CPU_GPU_CV=0.65, VDD_SOC=0.65),
    ),
    "orin-nx": TegraStats(
        memory_mb=(6334, 15388),
        cores_mhz=(729, 729, 729, 729, None, None, None, None),
        gpu_percent=0,
        gpu_mhz=(611,),
        memory_mhz=2133,
        temperatures_c=readings(
            CV0=45.812,
            CPU=47.937,
            SOC2=46.093,
            SOC0=46.968,
            CV1=46.406,
            GPU=45.875,
            tj=48.875,
            SOC1=48.875,
            CV2=45.75,
        ),
        watts=readings(VDD_IN=5.299, VDD_CPU_GPU_CV=0.773, VDD_SOC=1.424),
    ),
    "orin-nano": TegraStats(
        memory_mb=(3452, 7620),
        cores_mhz=(1420, 1420, 1420, 1420, 729, 729),
        gpu_percent=0,
        gpu_mhz=(),
        memory_mhz=None,
        temperatures_c=readings(cpu=50.031, soc2=49.031, soc0=50, gpu=49.031, tj=50.25, soc1=50.25),
        watts=readings(VDD_IN=4.824, VDD_CPU_GPU_CV=0.518, VDD_SOC=1.475),
    ),
    "orin-nano-jetpack-7": TegraStats(
        memory_mb=(5739, 7546),
        cores_mhz=(1728,) * 6,
        gpu_percent=33,
        gpu_mhz=(),
        memory_mhz=None,
        temperatures_c=readings(cpu=50, soc2=47.937, soc0=48.437, gpu=48.75, tj=50, soc1=48.5),
        watts=readings(VDD_IN=9.761, VDD_CPU_GPU_CV=4.238, VDD_SOC=1.825),
    ),
    "agx-orin-jetpack-6.2.1": TegraStats(
        memory_mb=(18202, 62841),
        cores_mhz=(1949, 1761, 1222, 2201, 1036, 1036, 1036, 1036, 1190, 1190, 1190, 1190),
        gpu_percent=0,
        gpu_mhz=(0, 0),
        memory_mhz=2133,
        temperatures_c=readings(cpu=52.343, soc2=48.343, soc0=49.062, tj=52.343, soc1=49.531),
        watts=readings(VDD_GPU_SOC=2.412, VDD_CPU_CV=1.607, VIN_SYS_5V0=4.607),
    ),
    "thor-jetpack-7.1": TegraStats(
        memory_mb=(4280, 125773),
        cores_mhz=(*(972,) * 8, 2601, 2601, *(972,) * 4),
        gpu_percent=None,
        gpu_mhz=(0, 0, 0),
        memory_mhz=665,
        temperatures_c=readings(cpu=35.25, tj=36.031, soc012=36.062, soc345=34.5),
        watts=readings(VDD_GPU=0, VDD_CPU_SOC_MSS=4.923, VIN_SYS_5V0=4.327),
    ),
    "thor-jetpack-7.2": TegraStats(
        memory_mb=(9091, 125811),
        cores_mhz=(972,) * 14,
        gpu_percent=None,
        gpu_mhz=(314, 314, 314),
        memory_mhz=3200,
        temperatures_c=readings(cpu=34.312, tj=35.906, soc012=34.093, gpu=35.906, soc345=34.437),
        watts=readings(VDD_GPU=4.925, VDD_CPU_SOC_MSS=7.953, VIN_SYS_5V0=6.667),
    ),
    "thor-carrier-jetpack-7.2": TegraStats(
        memory_mb=(36529, 125749),
        cores_mhz=(972,) * 14,
        gpu_percent=None,
        gpu_mhz=(),
        memory_mhz=None,
        temperatures_c=readings(cpu=60.406, tj=63.281, soc012=58.468, gpu=62.906, soc345=63.281),
        watts=readings(VDD_GPU=37.528, VDD_CPU_SOC_MSS=18.961, VIN_SYS_5V0=18.331, VIN=87.426),
    ),
}


@pytest.mark.parametrize("board", EXPECTED)
def test_tegrastats(board: str) -> None:
    found = parse_line(output(board, "tegrastats"))
    assert found is not None
    assert dataclasses.asdict(found) == dataclasses.asdict(EXPECTED[board])


def test_every_recording_has_a_source_and_every_line_is_checked() -> None:
    files = {file.stem for file in RECORDED.glob("*.txt")}
    lines = {name for name in files if "== tegrastats" in (RECORDED / f"{name}.txt").read_text()}
    sources = (RECORDED / "SOURCES.md").read_text()
    assert lines == set(EXPECTED)
    assert [name for name in files if f"`{name}.txt` |" not in sources] == []


def test_other_lines_are_none_of_tegrastats() -> None:
    assert parse_line("") is None
    assert parse_line("tegrastats: command not found") is None


def test_a_unit_that_is_off_has_no_temperature_and_no_clock() -> None:
    found = parse_line("RAM 1/2MB CPU [0%@729,off] GR3D_FREQ 0%@[0,0] CV0@-256C GPU@-256C tj@44.3C")
    assert found is not None
    assert found.temperatures_c == readings(tj=44.3)
    assert state_of(found).clocks == (Clock("cpu", 729.0),)


def test_a_line_is_a_power_state() -> None:
    state = state_of(EXPECTED["xavier-nx-jetpack-4"])
    assert state.clocks == (Clock("cpu", 1420.0), Clock("gpu", 1109.0), Clock("memory", 1600.0))
    assert state.watts == EXPECTED["xavier-nx-jetpack-4"].watts


@pytest.mark.parametrize(
    ("board", "l4t", "jetpack"),
    [
        ("tx2-jetpack-4.5.1", "32.5.1", "4.5.1"),
        ("agx-orin-jetpack-6.2.1", "36.4.4", "6.2.1"),
        ("thor-jetpack-7.1", "38.4.0", "7.1"),
        ("thor-jetpack-7.2", "39.2.0", "7.2"),
    ],
)
def test_the_release_of_jetson_linux(board: str, l4t: str, jetpack: str) -> None:
    assert l4t_of_release(output(board, "nv_tegra_release")) == l4t
    assert jetpack_of_l4t(l4t) == jetpack


def test_an_unknown_jetson_linux_has_no_jetpack() -> None:
    assert l4t_of_release("") is None
    assert jetpack_of_l4t("36.99") is None


@pytest.mark.parametrize(
    ("board", "expected"),
    [
        (
            "agx-orin-jetpack-6.1",
            JetsonRelease("NVIDIA Jetson AGX Orin Developer Kit", "36.4.0", "6.1", "MAXN (0)"),
        ),
        (
            "orin-nx-jetpack-6.2",
            JetsonRelease(
                "NVIDIA Jetson Orin NX Engineering Reference Developer Kit", "36.4.3", None, "15W (2)"
            ),
        ),
    ],
)
def test_jetson_release(board: str, expected: JetsonRelease) -> None:
    assert jetson_release(output(board, "jetson_release")) == expected


def program(folder: Path, name: str, text: str, then: str = "") -> None:
    """A program that prints a recorded output."""
    (folder / f"{name}.txt").write_text(text)
    (folder / name).write_text(f"#!/bin/sh\n/bin/cat {folder}/{name}.txt\n{then}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is the only one for programs; skips on a Jetson, whose own files would be read."""
    if Path("/etc/nv_tegra_release").exists():
        pytest.skip("a Jetson has its own facts")
    monkeypatch.setenv("PATH", str(tmp_path))
    facts.nvidia_gpus.cache_clear()
    facts._release_summary.cache_clear()
    yield tmp_path
    facts._release_summary.cache_clear()


def test_facts_that_no_file_states_are_those_of_jetson_release(tools: Path) -> None:
    program(tools, "jetson_release", output("agx-orin-jetpack-6.1", "jetson_release"))
    found = facts.device_facts()
    assert found.board == "NVIDIA Jetson AGX Orin Developer Kit"
    assert (found.l4t, found.jetpack, found.power_mode) == ("36.4.0", "6.1", "MAXN (0)")
    program(tools, "nvpmodel", output("nvpmodel", "AGX Xavier"))
    assert facts.power_mode() == "MAXN", "nvpmodel itself is asked first"


def test_readings_that_no_file_gives_are_those_of_tegrastats(
    tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tools, "tegrastats", output("orin-nano-jetpack-7", "tegrastats"), then="exec /bin/sleep 60")
    for name, nothing in (("power_state", PowerState()), ("clocks_mhz", ()), ("temperatures_c", ())):
        monkeypatch.setattr(stability, name, lambda value=nothing: value)
    monkeypatch.setattr(PackageMeter, "watts", lambda self: ())
    shot = stability.MachineReader()()
    assert shot.watts == EXPECTED["orin-nano-jetpack-7"].watts
    assert shot.temperatures_c == EXPECTED["orin-nano-jetpack-7"].temperatures_c
    assert shot.clocks_mhz == (FactReading("cpu", 1728.0),)


def test_without_tegrastats_there_is_no_reading(tools: Path) -> None:
    assert read_now() is None
    program(tools, "tegrastats", "tegrastats: cannot open a file")
    assert read_now() is None


def test_no_jetson_release() -> None:
    assert jetson_release("") == JetsonRelease(None, None, None, None)


def test_the_power_mode_that_nvpmodel_prints() -> None:
    assert mode_of_query(output("nvpmodel", "AGX Xavier")) == "MAXN", "without its number"
    assert mode_of_query(output("nvpmodel", "Thor")) == "MAXN (0)"
    assert mode_of_query("NVPM WARN: power mode is not set!") is None


def test_the_power_mode_in_nvpmodels_files() -> None:
    config = "< POWER_MODEL ID=0 NAME=MAXN >\nCPU_ONLINE CORE_1 1\n< POWER_MODEL ID=8 NAME=MODE_30W >\n"
    assert modes_of_config(config) == {0: "MAXN", 8: "MODE_30W"}
    assert mode_of_files("pmode:0008 fmode:quiet", config) == "MODE_30W (8)"
    assert mode_of_files("pmode:0008", "") == "mode 8 (8)"
    assert mode_of_files("", config) is None
