"""Recorded machines behind the interfaces that the code queries: libcuda, CUDA's runtime, the file tree."""

from __future__ import annotations

import ctypes
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgevision.device.gpu import GpuFacts
from edgevision.doctor.system_facts import SystemFacts, read_machine
from edgevision.storage.codec import dataclass_from_json

FOLDER = Path(__file__).parent / "machines"


def recorded(name: str) -> SystemFacts:
    """The Jetson of that file."""
    return read_machine(FOLDER / f"{name}.json")


def recorded_gpu(name: str, **changes: Any) -> GpuFacts:
    """Its GPU; what was free and which driver there was may be another than when it was recorded."""
    gpu = recorded(name).gpu
    assert gpu is not None
    assert set(changes) <= {"free_mib", "driver", "cuda"}, "what tells models apart is as it was recorded"
    return replace(gpu, **changes)


def recorded_card(name: str, **changes: Any) -> GpuFacts:
    """A GPU of PCs."""
    card = dataclass_from_json(GpuFacts, json.loads((FOLDER / "cards" / f"{name}.json").read_text()))
    assert set(changes) <= {"free_mib", "driver", "cuda"}, "what tells models apart is as it was recorded"
    return replace(card, **changes)


AGX_ORIN = recorded_gpu("agx-orin-jetpack-7.2", cuda="12.6", driver="540.4.0")
"""With JetPack 6, whose TensorRT knows its DLA."""
ORIN_NX = recorded_gpu("orin-nx-jetpack-6.2")
ORIN_NANO = recorded_gpu("orin-nano-super-jetpack-6.2.1")
L4 = recorded_card("l4")


def write_tree(root: Path, machine: SystemFacts) -> Path:
    """Files of that machine with facts that no driver returns: board, release, power mode, memory."""
    device = machine.device
    files = {
        "proc/meminfo": f"MemTotal: {device.memory_mib * 1024} kB\nMemAvailable: {device.memory_mib * 512} kB\n"
    }
    if device.board is not None:
        files["proc/device-tree/model"] = f"{device.board}\0"
    if device.l4t is not None:
        major, rest = device.l4t.split(".", 1)
        files["etc/nv_tegra_release"] = f"# R{major} (release), REVISION: {rest}, GCID: 1, BOARD: generic\n"
    if device.power_mode is not None:
        name, number = device.power_mode.rstrip(")").split(" (")
        files["var/lib/nvpmodel/status"] = f"pmode:{int(number):04d}"
        files["etc/nvpmodel.conf"] = f"< POWER_MODEL ID={number} NAME={name} >\n"
    if machine.gpu is not None and machine.gpu.driver and not machine.gpu.driver.startswith("L4T"):
        files["proc/driver/nvidia/version"] = (
            f"NVRM version: NVIDIA Kernel Module  {machine.gpu.driver}  date\n"
        )
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


_ATTRIBUTES = {75: "major", 76: "minor", 16: "multiprocessors", 18: "integrated"}
"""`CUdevice_attribute` in cuda.h."""


@dataclass(eq=False)
class Driver:
    """Like ``libcuda.so.1`` on the machine of `gpu`: functions that write where a pointer points."""

    gpu: GpuFacts

    def __getattr__(self, name: str) -> Any:
        """Calls that answer nothing succeed."""
        if name in ("cuInit", "cuCtxPushCurrent_v2", "cuCtxPopCurrent_v2", "cuDevicePrimaryCtxRetain"):
            return lambda *_: 0
        if name in ("cuDeviceGet", "cuDevicePrimaryCtxRelease_v2"):
            return lambda *_: 0
        raise AttributeError(name)

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802  # as the driver calls it, like all below
        return _write(count, 1)

    def cuDeviceGetName(self, name: Any, length: int, device: Any) -> int:  # noqa: N802
        name.value = self.gpu.name.encode()
        assert len(name.value) < length
        return 0

    def cuDeviceTotalMem_v2(self, total: Any, device: Any) -> int:  # noqa: N802
        return _write(total, self.gpu.memory_mib << 20)

    def cuMemGetInfo_v2(self, free: Any, total: Any) -> int:  # noqa: N802
        _write(total, self.gpu.memory_mib << 20)
        return _write(free, self.gpu.free_mib << 20)

    def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802
        major, minor = map(int, self.gpu.cuda.split("."))
        return _write(version, major * 1000 + minor * 10)

    def cuDeviceGetAttribute(self, value: Any, number: int, device: Any) -> int:  # noqa: N802
        known = {
            "major": self.gpu.sm // 10,
            "minor": self.gpu.sm % 10,
            "integrated": int(self.gpu.integrated),
        }
        multiprocessors = self.gpu.multiprocessors
        assert multiprocessors is not None, f"no recorded value for {self.gpu.name}"
        return _write(value, {**known, "multiprocessors": multiprocessors}[_ATTRIBUTES[number]])


def _write(pointer: Any, value: int) -> int:
    """Write through what `ctypes.byref` made; 0 is CUDA's success."""
    target = pointer._obj
    assert isinstance(target, (ctypes.c_int, ctypes.c_size_t))
    target.value = value
    return 0
