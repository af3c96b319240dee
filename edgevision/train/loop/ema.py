"""An exponential moving average of a network's weights, which generalises better than the last step's."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import nn


class WeightAverage:
    """Averages with decay ``decay * (1 - exp(-step / ramp))``: early steps, soon outdated, count little.

    Averages of weights: Polyak and Juditsky, 1992; the ramp is YOLOv5's.
    """

    def __init__(self, model: nn.Module, decay: float, ramp_steps: int) -> None:
        self.decay, self.ramp_steps, self.steps = decay, ramp_steps, 0
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take one step towards `model`; integers, such as counters, are copied."""
        self.steps += 1
        share = 1 - self.decay * (1 - math.exp(-self.steps / self.ramp_steps))
        theirs = model.state_dict()
        floating: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
        for name, ours in self.model.state_dict().items():
            if ours.dtype.is_floating_point:
                floating[0].append(ours)
                floating[1].append(theirs[name])
            else:
                ours.copy_(theirs[name])
        torch._foreach_lerp_(floating[0], floating[1], share)

    def state_dict(self) -> dict[str, Any]:
        """Weights and the number of steps."""
        return {"steps": self.steps, "weights": self.model.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        self.steps = int(state["steps"])
        self.model.load_state_dict(state["weights"])
