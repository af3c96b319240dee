"""The doctor's findings on NVIDIA machines: seven recorded Jetson boards, and individual faults."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgevision.cli.commands import doctor
from edgevision.device.facts import Fact
from edgevision.device.gpu import GpuFacts
from edgevision.doctor.diagnosis import Finding
from edgevision.doctor.nvidia import diagnose_nvidia
from edgevision.doctor.system_facts import PowerMode, SystemFacts, read_machine

FOLDER = Path(__file__).parents[1] / "machines"
SUPER_MODES = (PowerMode(0, "15W"), PowerMode(1, "25W"), PowerMode(2, "MAXN_SUPER"), PowerMode(3, "7W"))
EXPECTED: dict[str, dict[str, tuple[str, str | None]]] = {
    "xavier-nx-jetpack-5.1.2": {
        "onnxruntime": ("broken", "pip uninstall -y onnxruntime onnxruntime-gpu"),
        "TensorRT": ("missing", "this module has no newer JetPack"),
        "CUDA runtime": ("ok", None),
        "power mode": ("missing", "sudo nvpmodel -m 8 "),
        "swap": ("missing", "sudo fallocate"),
        "GStreamer": ("missing", "sudo apt install python3-opencv"),
    },
    "orin-nano-jetpack-5.1.3": {
        "onnxruntime": ("ok", None),
        "TensorRT": ("missing", "flash JetPack 6.2"),
        "CUDA runtime": ("ok", None),
        "power mode": ("ok", None),
        "swap": ("missing", "sudo fallocate"),
        "GStreamer": ("missing", "sudo apt install python3-opencv"),
    },
    "orin-nano-jetpack-6.0": {
        "TensorRT": ("ok", None),
        "CUDA runtime": ("broken", "sudo apt install cuda-cudart-12-2"),
        "power mode": ("ok", None),
        "swap": ("ok", None),
        "GStreamer": ("ok", None),
    },
    "orin-nx-jetpack-6.2": {
        "TensorRT": ("missing", "python3 -m venv --system-site-packages .venv"),
        "CUDA runtime": ("missing", "sudo apt install cuda-cudart-12-6"),
        "DLA": ("ok", None),
        "power mode": ("missing", "sudo nvpmodel -m 0 "),
        "cameras": ("broken", "sudo usermod -aG video"),
        "GStreamer": ("missing", "sudo apt install python3-opencv"),
    },
    "orin-nano-super-jetpack-6.2.1": {
        "TensorRT": ("broken", "pip uninstall -y tensorrt"),
        "CUDA runtime": ("ok", None),
        "power mode": ("missing", "sudo nvpmodel -m 2 "),
        "windows (--show)": ("ok", None),
        "cameras": ("missing", "plug one in"),
    },
    "agx-orin-jetpack-7.2": {
        "TensorRT": ("ok", None),
        "CUDA runtime": ("ok", None),
        "DLA": ("missing", "build without --device"),
        "power mode": ("missing", "sudo nvpmodel -m 0 "),
        "GStreamer": ("ok", None),
    },
    "agx-thor-jetpack-7.0": {
        "NVIDIA GPU": ("ok", None),
        "TensorRT": ("missing", "sudo apt install python3-libnvinfer"),
        "CUDA runtime": ("missing", "sudo apt install cuda-cudart-13-0"),
        "power mode": ("missing", "sudo nvpmodel -m 0 "),
    },
}


def test_every_recorded_board_has_its_expectations() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_findings_of_a_recorded_board_include_the_fixes(name: str) -> None:
    findings = {finding.what: finding for finding in doctor.diagnose(read_machine(FOLDER / f"{name}.json"))}
    for what, (status, remedy) in EXPECTED[name].items():
        assert findings[what].status == status, findings[what]
        if remedy is None:
            assert findings[what].remedy is None
        else:
            assert remedy in (findings[what].remedy or "")
    for finding in findings.values():
        assert (finding.status == "ok") == (finding.remedy is None), finding
    assert "export" not in findings
    assert ("DLA" in findings) == (name in ("orin-nx-jetpack-6.2", "agx-orin-jetpack-7.2"))


@pytest.mark.parametrize("name", EXPECTED)
def test_the_command_prints_it(name: str) -> None:
    result = CliRunner().invoke(doctor.command, ["--facts", str(FOLDER / f"{name}.json")])
    broken = any(status == "broken" for status, _ in EXPECTED[name].values())
    assert result.exit_code == int(broken)
    assert result.output.startswith("recorded: Jetson ")
    for _, remedy in EXPECTED[name].values():
        assert remedy is None or remedy in result.output


@pytest.fixture
def orin() -> SystemFacts:
    """A board where nothing is amiss."""
    machine = read_machine(FOLDER / "orin-nano-jetpack-6.0.json")
    libraries = tuple(
        Fact(fact.name, "12.2.140 /usr/local/cuda/lib64/libcudart.so.12")
        if fact.name == "libcudart"
        else fact
        for fact in machine.device.libraries
    )
    return replace(machine, device=replace(machine.device, libraries=libraries))


def found(machine: SystemFacts) -> dict[str, Finding]:
    return {finding.what: finding for finding in diagnose_nvidia(machine)}


def without(machine: SystemFacts, *names: str) -> SystemFacts:
    libraries = tuple(fact for fact in machine.device.libraries if fact.name not in names)
    return replace(machine, device=replace(machine.device, libraries=libraries))


def test_nothing_is_amiss(orin: SystemFacts) -> None:
    assert {finding.status for finding in found(orin).values()} == {"ok"}


def test_a_container_without_the_gpu(orin: SystemFacts) -> None:
    device = replace(orin.device, power_mode=None)
    findings = found(replace(orin, gpu=None, device=device, power_modes=()))
    assert findings["NVIDIA GPU"].status == "broken"
    assert "docker run --runtime nvidia" in (findings["NVIDIA GPU"].remedy or "")
    assert findings["power mode"].detail == "not known"


def test_another_python_than_the_systems(orin: SystemFacts) -> None:
    machine = without(orin, "tensorrt")
    machine = replace(machine, device=replace(machine.device, python="3.12.1"))
    finding = found(machine)["TensorRT"]
    assert finding.detail == ("the module of 8.6.2.3 is for the system's Python 3.10; this is Python 3.12")
    assert (finding.remedy or "").startswith("python3.10 -m venv --system-site-packages .venv")


def test_a_cuda_runtime_newer_than_the_driver(orin: SystemFacts) -> None:
    t4 = GpuFacts("Tesla T4", 75, "12.4", "550.54", 15360, 15000, False)
    libraries = (
        *without(orin, "libcudart").device.libraries,
        Fact("libcudart", "13.5.37 nvidia-cuda-runtime"),
    )
    device = replace(orin.device, libraries=libraries, l4t=None, board=None)
    finding = found(replace(orin, gpu=t4, device=device))["CUDA runtime"]
    assert finding.status == "broken"
    assert finding.detail == (
        "13.5.37 (nvidia-cuda-runtime) needs a driver for CUDA 13; this one supports 12.4"
    )
    assert finding.remedy == "pip install nvidia-cuda-runtime-cu12"


@pytest.mark.parametrize(
    ("current", "status"), [("15W (0)", "missing"), ("25W (1)", "missing"), ("MAXN_SUPER (2)", "ok")]
)
def test_the_strongest_mode_is_not_the_first(orin: SystemFacts, current: str, status: str) -> None:
    machine = replace(orin, power_modes=SUPER_MODES, device=replace(orin.device, power_mode=current))
    finding = found(machine)["power mode"]
    assert finding.status == status
    assert status == "ok" or "nvpmodel -m 2" in (finding.remedy or "")


def test_a_pc_without_and_with_a_gpu(orin: SystemFacts) -> None:
    bare = without(replace(orin, gpu=None, system_packages=()), "tensorrt", "libcudart")
    pc = replace(bare, device=replace(bare.device, l4t=None, board=None))
    assert [finding.detail for finding in diagnose_nvidia(pc)] == ["none found; models run on the CPU"]
    listed = replace(pc, device=replace(pc.device, gpus=("NVIDIA T4, 550.54, 15360 MiB",)))
    assert "docker run --gpus all" in (found(listed)["NVIDIA GPU"].remedy or "")
    t4 = GpuFacts("Tesla T4", 75, "12.4", "550.54", 15360, 15000, False)
    findings = found(replace(pc, gpu=t4))
    assert findings["NVIDIA GPU"].detail == "Tesla T4, SM 7.5, 15360 MiB; driver 550.54, for CUDA up to 12.4"
    assert findings["TensorRT"].remedy == "pip install 'edgevision[tensorrt]'"
    sensors = findings["clocks and throttling"]
    assert (sensors.status, sensors.remedy) == ("missing", "pip install nvidia-ml-py")
    readable = replace(pc.device, libraries=(*pc.device.libraries, Fact("nvidia-ml-py", "13.6")))
    assert found(replace(pc, gpu=t4, device=readable))["clocks and throttling"].status == "ok"
    rtx = replace(pc.device, libraries=(*pc.device.libraries, Fact("tensorrt-rtx-cu12", "1.7.1")))
    assert "TensorRT" not in found(replace(pc, gpu=t4, device=rtx))


def test_a_gpu_that_this_tensorrt_does_not_build_for(orin: SystemFacts) -> None:
    thor = GpuFacts("NVIDIA Thor", 110, "13.0", None, 125772, 100000, True)
    finding = found(replace(orin, gpu=thor))["TensorRT"]
    assert (finding.status, finding.detail) == ("broken", "8.6.2 builds nothing for SM 11.0")
