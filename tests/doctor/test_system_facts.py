"""Machine facts read from recorded file trees."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgevision.device.facts import Fact, l4t_version
from edgevision.doctor.system_facts import (
    PowerMode,
    cache_facts,
    machine_to_json,
    power_modes,
    read_machine,
    system_packages,
    this_machine,
)
from edgevision.storage.codec import json_from_dataclass

MACHINES = sorted((Path(__file__).parents[1] / "machines").glob("*.json"))
DPKG = """Package: libnvinfer10
Status: install ok installed
Version: 10.3.0.30-1+cuda12.5

Package: libnvinfer8
Status: deinstall ok config-files
Version: 8.6.2.3-1+cuda12.2

Package: zlib1g
Status: install ok installed
Version: 1:1.2.11

Package: nvidia-jetpack
Status: install ok installed
Version: 6.2+b77
"""
NVPMODEL = """# comment
< POWER_MODEL ID=0 NAME=15W >
CPU_ONLINE CORE_0 1
< POWER_MODEL ID=1 NAME=25W >
< POWER_MODEL ID=2 NAME=MAXN_SUPER >
< PM_CONFIG DEFAULT=1 >
"""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_jetsons_files_are_read(tmp_path: Path) -> None:
    write(tmp_path / "var/lib/dpkg/status", DPKG)
    write(tmp_path / "etc/nvpmodel.conf", NVPMODEL)
    write(tmp_path / "proc/meminfo", "MemTotal:  7802752 kB\nSwapTotal:       3901376 kB\n")
    write(tmp_path / "dev/video0", "")
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/python3").symlink_to("python3.10")
    machine = this_machine(tmp_path / "cache", tmp_path)
    assert machine.system_packages == (
        Fact("libnvinfer10", "10.3.0.30-1+cuda12.5"),
        Fact("nvidia-jetpack", "6.2+b77"),
    )
    assert machine.power_modes == (PowerMode(0, "15W"), PowerMode(1, "25W"), PowerMode(2, "MAXN_SUPER"))
    assert (machine.swap_mib, machine.system_python) == (3809, "3.10")
    assert machine.cameras == (str(tmp_path / "dev/video0"),)
    assert not (tmp_path / "cache").exists()


def test_a_machine_without_those_files_is_read_too(tmp_path: Path) -> None:
    assert system_packages(tmp_path) == ()
    assert power_modes(tmp_path) == ()
    machine = this_machine(tmp_path / "cache", tmp_path)
    assert (machine.swap_mib, machine.system_python, machine.cameras) == (0, None, ())


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref, EABI: aarch64", "35.4.1"),
        ("# R36 (release), REVISION: 3.0, GCID: 36923193, BOARD: generic, EABI: aarch64", "36.3.0"),
        ("# R36 (release), REVISION: 4.4, GCID: 41062509, BOARD: generic, EABI: aarch64", "36.4.4"),
        ("# R38 (release), REVISION: 2.0, GCID: 41844464, BOARD: generic, EABI: aarch64", "38.2.0"),
        ("# R39 (release), REVISION: 2.0, GCID: 45755727, BOARD: generic, EABI: aarch64", "39.2.0"),
    ],
)
def test_the_jetson_linux_version_is_read(tmp_path: Path, line: str, version: str) -> None:
    write(
        tmp_path / "etc/nv_tegra_release",
        f"{line}, DATE: Fri Aug 22 00:55:42 UTC 2025\n# KERNEL_VARIANT: oot\n",
    )
    assert l4t_version(tmp_path) == version


@pytest.mark.parametrize("file", MACHINES, ids=lambda path: path.stem)
def test_recorded_facts_are_what_json_writes(file: Path) -> None:
    machine = read_machine(file)
    assert json.loads(machine_to_json(machine)) == json.loads(file.read_text())
    assert json_from_dataclass(machine)["recorded"].split(": ")[1].startswith("https://")


def test_room_is_looked_at_before_the_cache_exists(tmp_path: Path) -> None:
    facts = cache_facts(tmp_path / "not" / "yet")
    assert facts.free_mib > 0
    assert facts.writable
    assert not (tmp_path / "not").exists()
