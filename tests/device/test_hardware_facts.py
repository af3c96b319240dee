"""Every fact that affects an engine is read from the machine: end to end, on each recorded board."""

from __future__ import annotations

import ctypes
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from edgevision.device.gpu import GpuFacts, gpu_facts
from edgevision.doctor.system_facts import SystemFacts
from edgevision.engines.tensorrt.cuda import CudaDevice, cuda_device
from edgevision.engines.tensorrt.here import dla_cores, running_on, this_platform
from edgevision.engines.tensorrt.library import Library
from edgevision.engines.tensorrt.manifest import Platform
from edgevision.engines.tensorrt.versions import dialect
from tests.builder.recorded import RecordedModule, working
from tests.engines.host_cuda import FOUND, RUNTIME, HostCudart
from tests.hardware import FOLDER, Driver, recorded, write_tree

BOARDS = sorted(path.stem for path in FOLDER.glob("*.json"))


def gpu_of(name: str) -> GpuFacts:
    gpu = recorded(name).gpu
    assert gpu is not None
    return gpu


@pytest.fixture
def on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put this process on a recorded board: its driver and its files."""

    def put(name: str) -> tuple[SystemFacts, Path]:
        machine = recorded(name)
        assert machine.gpu is not None
        driver = Driver(machine.gpu)
        monkeypatch.setattr(ctypes, "CDLL", lambda library: {"libcuda.so.1": driver}[library])
        return machine, write_tree(tmp_path, machine)

    return put


def tensorrt_10_3(cores: int) -> Library:
    """TensorRT 10.3 of recorded signatures that finds this many DLA cores."""
    script = working("tensorrt-10.3.0")
    script.answers["Runtime", "num_DLA_cores"] = cores
    module = RecordedModule("tensorrt-10.3.0", script)
    return Library("tensorrt", "10.3.0", dialect("tensorrt", "10.3.0"), module)


def expected_platform(machine: SystemFacts, ours: Platform) -> dict[str, Any]:
    """What each fact of a `Platform` must be, by where the record has it."""
    gpu, device = machine.gpu, machine.device
    assert gpu is not None
    return {
        "system": ours.system,
        "architecture": ours.architecture,
        "device": gpu.name,
        "sm": gpu.sm,
        "driver": gpu.driver or f"L4T {device.l4t}",
        "cuda": gpu.cuda,
        "dla_cores": 2,
        "power_mode": device.power_mode,
        "board": device.board,
        "multiprocessors": gpu.multiprocessors,
        "memory_mib": gpu.memory_mib,
    }


@pytest.mark.parametrize("name", BOARDS)
def test_a_platform_is_the_board(on: Any, name: str) -> None:
    machine, root = on(name)
    gpu = gpu_facts(root)
    here = this_platform(gpu, dla_cores(tensorrt_10_3(2), gpu), root)
    expected = expected_platform(machine, here)
    assert set(expected) == {field.name for field in dataclasses.fields(Platform)}, "a fact without a source"
    assert {name: getattr(here, name) for name in expected} == expected
    optional = {
        f.name: f.default for f in dataclasses.fields(Platform) if f.default is not dataclasses.MISSING
    }
    assert all(getattr(here, name) != default for name, default in optional.items()), (
        "a fact that stays unread"
    )


@pytest.mark.parametrize("name", BOARDS)
def test_the_drivers_facts_are_the_records(on: Any, name: str) -> None:
    machine, root = on(name)
    recorded_facts = dataclasses.asdict(gpu_of(name))
    found = gpu_facts(root)
    assert found is not None
    assert machine.gpu is not None
    recorded_facts["driver"] = machine.gpu.driver or f"L4T {machine.device.l4t}"
    assert dataclasses.asdict(found) == recorded_facts


@pytest.mark.parametrize("name", BOARDS)
def test_a_cuda_device_is_the_boards(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    gpu = gpu_of(name)
    HostCudart(gpu).install(monkeypatch)
    expected = {
        "name": gpu.name,
        "sm": gpu.sm,
        "driver": gpu.cuda,
        "runtime": f"{RUNTIME // 1000}.{RUNTIME % 1000 // 10}",
        "library": FOUND.text,
        "integrated": True,
        "maps_host_memory": True,
        "memory_mib": gpu.memory_mib,
    }
    assert set(expected) == {field.name for field in dataclasses.fields(CudaDevice)}, (
        "a fact without a source"
    )
    assert dataclasses.asdict(cuda_device()) == expected


def test_boards_with_the_same_cuda_name_are_distinguished() -> None:
    names = ("orin-nano-super-jetpack-6.2.1", "orin-nx-jetpack-6.2", "agx-orin-jetpack-7.2")
    assert {gpu_of(name).name for name in names} == {"Orin"}
    library = tensorrt_10_3(0)
    texts = {
        dataclasses.replace(
            running_on(library, gpu_of(name)).platform, board=recorded(name).device.board
        ).gpu_text
        for name in names
    }
    assert texts == {
        "Orin of Orin Nano, 8 multiprocessors, 7.4 GiB",
        "Orin of Orin NX, 8 multiprocessors, 7.4 GiB",
        "Orin of AGX Orin, 16 multiprocessors, 61.4 GiB",
    }


@pytest.mark.parametrize("version", ["10.13.3.9", "11.0.0.114"])
def test_versions_without_a_dla_are_not_asked(version: str) -> None:
    script = working(f"tensorrt-{version}")
    library = Library(
        "tensorrt", version, dialect("tensorrt", version), RecordedModule(f"tensorrt-{version}", script)
    )
    assert dla_cores(library, gpu_of("agx-orin-jetpack-7.2")) == 0
    assert not script.made("Runtime", "__init__")
