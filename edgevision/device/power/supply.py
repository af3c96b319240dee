"""Chooses the rails whose power is that of the whole module or board.

One rail of a board often contains others: the input contains all. Sources: the lists of rails by module in NVIDIA's
guides "Platform Power and Performance", and of the project energymon (jetson/README.md). On AGX Orin, VIN_SYS_5V0 feeds
the memory's rail VDDQ_VDD2_1V8AO, which is therefore not added.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from edgevision.device.facts import FactReading


@dataclass(frozen=True, slots=True)
class Supply:
    """Rails that together are the power of `scope`."""

    scope: str
    rails: tuple[str, ...]

    def watts(self, readings: Sequence[FactReading]) -> float | None:
        """Their sum; None if one is missing."""
        found = {reading.name: reading.value for reading in readings}
        if not all(rail in found for rail in self.rails):
            return None
        return sum(found[rail] for rail in self.rails)


SUPPLIES = (
    Supply("board input", ("VIN",)),  # AGX Thor's developer kit
    Supply("module input", ("VDD_IN",)),  # TX2, Xavier NX, Orin Nano and NX
    Supply("module input", ("POM_5V_IN",)),  # Nano
    Supply("sum of the module's rails", ("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0")),  # Thor
    Supply("sum of the module's rails", ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")),  # AGX Orin
    Supply("sum of the module's rails", ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V")),  # AGX Xavier
)
"""The largest scope first."""


def board_supply(rails: Collection[str]) -> Supply | None:
    """The largest scope that these rails of a Jetson cover; None if they are none of a known module."""
    return next((supply for supply in SUPPLIES if set(supply.rails) <= set(rails)), None)
