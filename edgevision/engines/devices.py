"""Checks that this machine has a device."""

from __future__ import annotations

from edgevision.device.facts import cpu_model
from edgevision.device.gpu import gpu_facts, gpu_names
from edgevision.device.names import DeviceName, Devices
from edgevision.engines.tensorrt.here import dla_cores
from edgevision.engines.tensorrt.library import load_library
from edgevision.errors import MissingExtraError


def find_device(text: str | None) -> DeviceName | None:
    """Read a device's name; None stays None.

    Raises `UsageError`, with a list of all devices, for a name that is none and for a device that this machine lacks.
    """
    if text is None:
        return None
    return Devices(cpu_model(), gpu_names(), _dla_cores()).find(text)


def _dla_cores() -> int:
    """DLA cores that TensorRT finds; 0 without TensorRT or a GPU."""
    gpu = gpu_facts()
    if gpu is None:
        return 0
    try:
        return dla_cores(load_library("tensorrt", "a DLA"), gpu)
    except MissingExtraError:
        return 0
