"""Reads a device's power state: from the kernel of a Jetson, and from NVML for cards."""

from __future__ import annotations

import importlib
from pathlib import Path

from edgevision.device.facts import ROOT, power_mode, temperatures_c
from edgevision.device.power import rails, tegra
from edgevision.device.power.state import PowerState


def power_state(root: Path = ROOT) -> PowerState:
    """Read the power state. `root` is the root of the file tree; NVML is queried only for the machine itself."""
    cards = nvml_state() if root == ROOT else PowerState()
    return PowerState(
        mode=power_mode(root),
        clocks=(*tegra.clocks(root), *cards.clocks),
        temperatures_c=temperatures_c(root),
        watts=(*rails.watts(root), *cards.watts),
        throttles=(*tegra.throttles(root), *cards.throttles),
    )


def nvml_state() -> PowerState:
    """State of the cards that NVML lists; empty without nvidia-ml-py, its library or a card."""
    try:
        module = importlib.import_module("edgevision.device.power.nvml")
    except ModuleNotFoundError as error:
        if error.name != "pynvml":
            raise
        return PowerState()
    state: PowerState = module.cards_state()
    return state
