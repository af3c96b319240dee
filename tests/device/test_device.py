"""FactReading facts from recorded file trees, and from this machine."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from edgevision.device import facts as device
from edgevision.device.facts import DeviceFacts, Fact, FactReading, device_facts
from edgevision.storage.codec import dataclass_from_json, json_from_dataclass

ORIN = {
    "proc/cpuinfo": "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd42\n\nprocessor\t: 1\nCPU part\t: 0xd42\n",
    "proc/meminfo": "MemTotal:        7802752 kB\nMemFree:  1 kB\n",
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
    "etc/os-release": 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 22.04.5 LTS"\n',
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n",
    "var/lib/dpkg/status": "Package: a\nVersion: 1\n\nPackage: nvidia-jetpack\nVersion: 6.2+b77\n\nPackage: z\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "1510400\n",
    "sys/devices/system/cpu/cpufreq/policy4/scaling_cur_freq": "729600\n",
    "sys/class/devfreq/17000000.gpu/cur_freq": "624750000\n",
    "sys/class/devfreq/13e00000.host1x/cur_freq": "1\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "48500\n",
    "sys/class/thermal/thermal_zone1/type": "cv0-thermal\n",
    "sys/class/thermal/thermal_zone1/temp": "-256000\n",
    "sys/class/thermal/thermal_zone2/temp": "49000\n",
    "proc/self/status": "Name:\tpython\nVmHWM:\t  307200 kB\nVmRSS:\t  204800 kB\n",
}
XEON = {
    "proc/cpuinfo": "processor : 0\nmodel name : Intel(R) Xeon(R) W-2295 CPU\n",
    "proc/meminfo": "MemTotal:       131072000 kB\n",
    "etc/os-release": "PRETTY_NAME=Debian\n",
    "sys/fs/cgroup/cpu.max": "50000 100000\n",
}


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture
def no_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    device.nvidia_gpus.cache_clear()


@pytest.mark.usefixtures("no_tools")
def test_a_jetson_is_read(tmp_path: Path) -> None:
    facts = device_facts(tree(tmp_path, ORIN))
    assert facts.cpu.endswith("implementer 0x41 part 0xd42")
    assert facts.memory_mib == 7619
    assert facts.board == "NVIDIA Jetson Orin Nano Developer Kit"
    assert facts.system == "Ubuntu 22.04.5 LTS"
    assert (facts.l4t, facts.jetpack) == ("36.4.3", "6.2+b77")
    assert facts.clocks_mhz == (
        FactReading("cpu policy0", 1510.4),
        FactReading("cpu policy4", 729.6),
        FactReading("gpu 17000000.gpu", 624.75),
    )
    assert facts.temperatures_c == (FactReading("cpu-thermal", 48.5), FactReading("thermal_zone2", 49.0))
    assert facts.gpus == ()
    assert facts.power_mode is None


@pytest.mark.usefixtures("no_tools")
def test_without_its_package_jetpack_is_that_of_jetson_linux(tmp_path: Path) -> None:
    files = {name: text for name, text in ORIN.items() if not name.endswith("dpkg/status")}
    assert device_facts(tree(tmp_path, files)).jetpack == "6.2"


@pytest.mark.usefixtures("no_tools")
def test_a_machine_is_named_by_what_its_speed_depends_on(tmp_path: Path) -> None:
    name = device.machine_name(tree(tmp_path, ORIN))
    assert name.startswith("NVIDIA Jetson Orin Nano Developer Kit, ")
    assert "part 0xd42" in name
    assert name.endswith(f"{device.usable_cores(tmp_path):g} cores")


@pytest.mark.usefixtures("no_tools")
def test_a_server_in_a_container_is_read(tmp_path: Path) -> None:
    facts = device_facts(tree(tmp_path, XEON))
    assert facts.cpu == "Intel(R) Xeon(R) W-2295 CPU"
    assert facts.cores_usable == 0.5
    assert facts.system == "Debian"
    assert (facts.board, facts.l4t, facts.jetpack) == (None, None, None)
    assert (facts.clocks_mhz, facts.temperatures_c) == ((), ())


@pytest.mark.usefixtures("no_tools")
def test_a_machine_without_facts_is_not_an_error(tmp_path: Path) -> None:
    facts = device_facts(tmp_path)
    assert facts.cpu
    assert facts.memory_mib == 0
    assert facts.cores_usable >= 1


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 4.0),
        ({"sys/fs/cgroup/cpu.max": "max 100000\n"}, 4.0),
        ({"sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        ({"sys/fs/cgroup/cpu.max": "900000 100000\n"}, 4.0),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, 4.0),
        (
            {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"},
            2.0,
        ),
    ],
)
def test_cores_are_bounded_by_affinity_and_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], expected: float
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    assert device.usable_cores(tree(tmp_path, files)) == expected


def command(folder: Path, name: str, output: str, code: int = 0) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{output}\nEND\nexit {code}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.mark.skipif(sys.platform == "win32", reason="shell scripts stand in for the tools")
def test_power_mode_and_gpus_are_read_from_their_tools(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(tmp_path, "nvpmodel", "NV Power Mode: MAXN_SUPER\n2")
    command(tmp_path, "nvidia-smi", "NVIDIA RTX A2000, 550.54.15, 6138 MiB\nNVIDIA T4, 550.54.15, 15360 MiB")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    device.nvidia_gpus.cache_clear()
    facts = device_facts(tree(tmp_path / "root", ORIN))
    device.nvidia_gpus.cache_clear()
    assert facts.power_mode == "MAXN_SUPER (2)"
    assert facts.gpus == ("NVIDIA RTX A2000, 550.54.15, 6138 MiB", "NVIDIA T4, 550.54.15, 15360 MiB")


@pytest.mark.skipif(sys.platform == "win32", reason="shell scripts stand in for the tools")
def test_a_failing_tool_gives_no_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command(
        tmp_path, "nvidia-smi", "NVIDIA-SMI has failed because it couldn't communicate with the driver", 9
    )
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    device.nvidia_gpus.cache_clear()
    assert device.nvidia_gpus() == ()
    device.nvidia_gpus.cache_clear()


def test_memory_of_a_process_is_read(tmp_path: Path) -> None:
    root = tree(tmp_path, ORIN)
    assert (device.resident_mib(root), device.peak_resident_mib(root)) == (200, 300)
    assert 10 < device.resident_mib() <= device.peak_resident_mib()


def test_libraries_are_listed_without_being_imported() -> None:
    assert Fact("numpy", __import__("numpy").__version__) in device.library_versions()
    assert device.library_versions(("no-such-distribution",)) == ()


def test_facts_survive_json_and_hold_no_host_name() -> None:
    facts = device_facts()
    data = json_from_dataclass(facts)
    assert dataclass_from_json(DeviceFacts, data) == facts
    node = os.uname().nodename
    texts = [facts.cpu, facts.system, facts.board or "", facts.python, *facts.gpus]
    assert node not in texts
