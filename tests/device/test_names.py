"""Names of devices as people type them."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from edgevision.device.gpu import _names
from edgevision.device.names import DeviceName, Devices
from edgevision.errors import UsageError

PC = Devices("Xeon", ("RTX 4090", "T4"))
JETSON = Devices("Cortex-A78AE", ("Orin",), 2)


@pytest.mark.parametrize(
    ("text", "expected", "spelled", "gpu_index", "dla_core"),
    [
        ("cpu", DeviceName("cpu"), "cpu", 0, None),
        ("cuda", DeviceName("cuda"), "cuda:0", 0, None),
        ("cuda:1", DeviceName("cuda", 1), "cuda:1", 1, None),
        ("dla:1", DeviceName("dla", 1), "dla:1", 0, 1),
    ],
)
def test_names(text: str, expected: DeviceName, spelled: str, gpu_index: int, dla_core: int | None) -> None:
    device = DeviceName.parse(text)
    assert (device, str(device)) == (expected, spelled)
    assert (device.gpu_index, device.dla_core) == (gpu_index, dla_core)


@pytest.mark.parametrize("text", ["", "gpu", "CPU", "cpu:0", "cuda:", "cuda:-1", "cuda:1000", "dla", "dla:x"])
def test_other_names_are_refused_with_what_is_here(text: str) -> None:
    with pytest.raises(UsageError, match="expected cpu, cuda, cuda:N or dla:N"):
        DeviceName.parse(text)
    with pytest.raises(UsageError) as caught:
        PC.find(text)
    assert str(caught.value) == (
        f"unknown device {text!r}; expected cpu, cuda, cuda:N or dla:N; this machine has: cpu (Xeon),"
        " cuda:0 (RTX 4090), cuda:1 (T4)"
    )


@pytest.mark.parametrize(
    ("devices", "text", "found"),
    [
        (PC, "cuda:2", "cpu (Xeon), cuda:0 (RTX 4090), cuda:1 (T4)"),
        (PC, "dla:0", "cpu (Xeon), cuda:0 (RTX 4090), cuda:1 (T4)"),
        (JETSON, "dla:2", "cpu (Cortex-A78AE), cuda:0 (Orin), dla:0, dla:1"),
        (Devices("Xeon"), "cuda", "cpu (Xeon)"),
    ],
)
def test_an_absent_device_is_refused_with_what_is_here(devices: Devices, text: str, found: str) -> None:
    with pytest.raises(UsageError) as caught:
        devices.find(text)
    assert str(caught.value) == f"this machine has no device {DeviceName.parse(text)}; it has: {found}"


@pytest.mark.parametrize("text", ["cpu", "cuda", "cuda:0", "dla:1"])
def test_a_present_device_is_found(text: str) -> None:
    assert JETSON.find(text) == DeviceName.parse(text)


class Driver:
    """A driver with some GPUs; a call of ctypes returns 0 if it succeeded."""

    def __init__(self, names: list[bytes], status: int = 0) -> None:
        self.names = names
        self.status = status

    def cuInit(self, _: int) -> int:  # noqa: N802  # the driver's names
        return self.status

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = len(self.names)
        return 0

    def cuDeviceGet(self, device: Any, index: int) -> int:  # noqa: N802
        device._obj.value = 10 + index
        return 0

    def cuDeviceGetName(self, name: Any, size: int, device: ctypes.c_int) -> int:  # noqa: N802
        assert size > len(self.names[device.value - 10])
        name.value = self.names[device.value - 10]
        return 0


def test_all_gpus_are_listed() -> None:
    assert _names(Driver([b"RTX 4090", b"T4"])) == ("RTX 4090", "T4")
    assert _names(Driver([])) == ()
    assert _names(Driver([b"T4"], status=100)) == (), "a driver without a usable GPU"
