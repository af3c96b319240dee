"""Names of devices as people type them: ``cpu``, ``cuda``, ``cuda:1``, ``dla:0``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast

from edgevision.errors import UsageError

EXPECTED = "cpu, cuda, cuda:N or dla:N"
PATTERN = r"cpu|cuda(?::\d{1,3})?|dla:\d{1,3}"
"""`cuda` is ``cuda:0``, the first GPU that CUDA lists."""

DeviceKind = Literal["cpu", "cuda", "dla"]


@dataclass(frozen=True, slots=True)
class DeviceName:
    """A processor that runs engines."""

    kind: DeviceKind
    index: int = 0

    @classmethod
    def parse(cls, text: str) -> DeviceName:
        """Read a name; raises `UsageError`."""
        if re.fullmatch(PATTERN, text) is None:
            raise UsageError(f"unknown device {text!r}; expected {EXPECTED}")
        kind, _, index = text.partition(":")
        return cls(cast(DeviceKind, kind), int(index or 0))

    def __str__(self) -> str:
        return self.kind if self.kind == "cpu" else f"{self.kind}:{self.index}"

    @property
    def gpu_index(self) -> int:
        """The GPU that this is or belongs to; a DLA belongs to the first one."""
        return self.index if self.kind == "cuda" else 0

    @property
    def dla_core(self) -> int | None:
        """The core of a DLA; None for other devices."""
        return self.index if self.kind == "dla" else None


def device_named(text: str | None) -> DeviceName | None:
    """The device of an option; None if the option is not given."""
    return None if text is None else DeviceName.parse(text)


def gpu_index_of(text: str | None) -> int:
    """The GPU of an option, the first one if it is not given or names no GPU."""
    return 0 if text is None else DeviceName.parse(text).gpu_index


@dataclass(frozen=True, slots=True)
class Devices:
    """All devices of a machine."""

    cpu: str
    gpus: tuple[str, ...] = ()
    """Names in CUDA's order."""
    dla_cores: int = 0

    def find(self, text: str) -> DeviceName:
        """Read a name; raises `UsageError`, with a list of all devices, if it is none or not on this machine."""
        if re.fullmatch(PATTERN, text) is None:
            raise UsageError(f"unknown device {text!r}; expected {EXPECTED}; this machine has: {self}")
        device = DeviceName.parse(text)
        counts = {"cpu": 1, "cuda": len(self.gpus), "dla": self.dla_cores}
        if device.index >= counts[device.kind]:
            raise UsageError(f"this machine has no device {device}; it has: {self}")
        return device

    def __str__(self) -> str:
        gpus = [f"cuda:{number} ({name})" for number, name in enumerate(self.gpus)]
        return ", ".join([f"cpu ({self.cpu})", *gpus, *(f"dla:{core}" for core in range(self.dla_cores))])
