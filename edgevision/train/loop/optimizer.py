"""Muon for the filters of hidden layers, AdamW for everything else, as one optimizer.

Muon (Keller Jordan et al., 2024, "Muon: An optimizer for hidden layers in neural networks") replaces a weight matrix's
momentum by the nearest semi-orthogonal matrix, so that all directions learn at one speed. A filter ``[out,in,kh,kw]``
is treated as the matrix ``[out, in*kh*kw]``. AdamW: arXiv 1711.05101.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""The quintic iteration's coefficients in that publication: fast, not exact; singular values end in 0.7..1.2."""


class MuonAdamW(torch.optim.Optimizer):
    """`matrix` of each group selects one of the two rules; `lr` is the group's, scaled by the schedule."""

    def __init__(self, groups: Iterable[dict[str, Any]]) -> None:
        defaults = {"lr": 0.001, "matrix": False, "momentum": 0.95, "betas": (0.9, 0.99), "eps": 1e-8}
        super().__init__(groups, defaults | {"weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]  # torch overloads it
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            (self._muon if group["matrix"] else self._adamw)(parameters, group)
        return loss

    def _muon(self, parameters: list[nn.Parameter], group: dict[str, Any]) -> None:
        by_shape: dict[tuple[int, int], list[tuple[nn.Parameter, torch.Tensor]]] = defaultdict(list)
        for parameter in parameters:
            assert parameter.grad is not None
            state = self.state[parameter]
            if not state:
                state["momentum"] = torch.zeros_like(parameter)
            state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
            # Nesterov: look one step ahead along the momentum.
            update = parameter.grad.lerp(state["momentum"], group["momentum"])
            matrix = update.reshape(len(update), -1)
            by_shape[(matrix.shape[0], matrix.shape[1])].append((parameter, matrix))
        for (rows, columns), members in by_shape.items():
            updates = orthogonalized(torch.stack([matrix for _, matrix in members]))
            scale = group["lr"] * max(1.0, rows / columns) ** 0.5
            for (parameter, _), update in zip(members, updates, strict=True):
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.sub_(update.view(parameter.shape), alpha=scale)

    def _adamw(self, parameters: list[nn.Parameter], group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        for parameter in parameters:
            assert parameter.grad is not None
            state = self.state[parameter]
            if not state:
                state["step"] = 0
                state["mean"], state["square"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
            state["step"] += 1
            state["mean"].lerp_(parameter.grad, 1 - beta1)
            state["square"].mul_(beta2).addcmul_(parameter.grad, parameter.grad, value=1 - beta2)
            mean = state["mean"] / (1 - beta1 ** state["step"])
            square = state["square"] / (1 - beta2 ** state["step"])
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.addcdiv_(mean, square.sqrt_().add_(group["eps"]), value=-group["lr"])


def orthogonalized(matrices: torch.Tensor, rounds: int = 5) -> torch.Tensor:
    """The nearest semi-orthogonal matrix of ``[K,M,N]``, approximately, by Newton-Schulz: singular values 0.7..1.2.

    GPUs iterate in bfloat16, CPUs in float32: a CPU without bfloat16 instructions takes ten times as long in bfloat16.
    """
    a, b, c = _NEWTON_SCHULZ
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.bfloat16() if matrices.is_cuda else matrices.float()
    x = x.mT if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(rounds):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    nearest: torch.Tensor = x.mT if tall else x
    return nearest.to(matrices.dtype)


def build_optimizer(
    model: nn.Module,
    *,
    lr_matrix: float,
    lr_vector: float,
    weight_decay: float,
    output: Iterable[nn.Module] = (),
) -> MuonAdamW:
    """Filters to Muon; biases, norms and the layers in `output` to AdamW, with decay only for matrices."""
    last = {id(p) for module in output for p in module.parameters()}
    matrices, decayed, plain = [], [], []
    for parameter in model.parameters():
        if parameter.ndim < 2:
            plain.append(parameter)
        elif id(parameter) in last:
            decayed.append(parameter)
        else:
            matrices.append(parameter)
    groups = [
        {"params": matrices, "lr": lr_matrix, "matrix": True, "weight_decay": weight_decay / lr_matrix},
        {"params": decayed, "lr": lr_vector, "weight_decay": weight_decay / lr_vector},
        {"params": plain, "lr": lr_vector},
    ]
    return MuonAdamW([group | {"peak_lr": group["lr"]} for group in groups if group["params"]])
