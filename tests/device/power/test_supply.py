"""The rails that together are the power of a module."""

from __future__ import annotations

import pytest

from edgevision.device.facts import FactReading
from edgevision.device.power.supply import board_supply
from tests.device.power.test_recorded import EXPECTED

SUPPLIES = {
    "nano-jetpack-4.6.1": ("module input", 1.75),
    "tx2": ("module input", 3.056),
    "agx-xavier-jetpack-4.2": ("sum of the module's rails", 0.463 + 0.618 + 2.936 + 0.309 + 3.306),
    "xavier-nx-jetpack-5.1.2": ("module input", 2.763),
    "orin-nx": ("module input", 5.299),
    "orin-nano-jetpack-7": ("module input", 9.761),
    "agx-orin-jetpack-6.2.1": ("sum of the module's rails", 2.412 + 1.607 + 4.607),
    "thor-jetpack-7.2": ("sum of the module's rails", 4.925 + 7.953 + 6.667),
    "thor-carrier-jetpack-7.2": ("board input", 87.426),
}


@pytest.mark.parametrize("board", SUPPLIES)
def test_the_power_of_a_recorded_board(board: str) -> None:
    readings = EXPECTED[board].watts
    supply = board_supply([reading.name for reading in readings])
    assert supply is not None
    assert supply.scope == SUPPLIES[board][0]
    assert supply.watts(readings) == pytest.approx(SUPPLIES[board][1])


def test_the_memory_of_agx_orin_is_part_of_another_rail() -> None:
    rails = ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO")
    supply = board_supply(rails)
    assert supply is not None
    assert supply.watts([FactReading(rail, 1.0) for rail in rails]) == 3.0


def test_no_supply() -> None:
    assert board_supply([]) is None
    assert board_supply(["VDD_CPU_GPU_CV", "VDD_SOC"]) is None, "parts of a module are not its power"
    supply = board_supply(["VDD_IN"])
    assert supply is not None
    assert supply.watts([]) is None
