"""Schedule, progress, average and optimizer."""

from __future__ import annotations

import copy
import math
import time

import pytest
import torch
from torch import nn

from edgevision.models.plan import DetectorPlan
from edgevision.train.loop.ema import WeightAverage
from edgevision.train.loop.optimizer import build_optimizer, orthogonalized
from edgevision.train.loop.schedule import TrainingProgress, Schedule


@pytest.mark.parametrize(
    ("share", "factor"), [(0.0, 0.01), (0.05, 0.5), (0.1, 1.0), (0.55, 0.505), (1.0, 0.01), (1.5, 0.01)]
)
def test_schedule(share: float, factor: float) -> None:
    assert Schedule(warmup=0.1, final=0.01).factor(share) == pytest.approx(factor)


def test_progress_by_steps() -> None:
    progress = TrainingProgress(total_steps=4)
    assert [progress.share_at(step) for step in range(6)] == [0, 0.25, 0.5, 0.75, 1, 1]
    progress.advance()
    assert progress.share == 0.25


def test_progress_by_the_clock_moves_with_steps_and_survives_a_resume() -> None:
    progress = TrainingProgress(budget_s=1000.0)
    time.sleep(0.02)
    assert progress.share == 0
    progress.advance()
    assert 0.02 / 1000 <= progress.share < 0.01
    late = TrainingProgress(budget_s=1000.0)
    late.load_state_dict({"step": 7, "elapsed_s": 500.0})
    assert late.step == 7
    assert late.share == 0.5


def test_progress_needs_one_of_the_two() -> None:
    with pytest.raises(ValueError, match="give one of the two"):
        TrainingProgress()


def test_phases_follow_each_other() -> None:
    plan = DetectorPlan()
    assert [plan.phase(share).mosaic for share in (0.0, 0.5, 0.79, 0.8, 1.0)] == [0.8, 0.8, 0.8, 0.0, 0.0]
    assert plan.phase(1.0).size == 1.0


def test_average_starts_at_the_weights_and_ends_slow() -> None:
    model = nn.BatchNorm1d(1)
    average = WeightAverage(model, decay=0.9, ramp_steps=10)
    with torch.no_grad():
        model.weight.fill_(3.0)
        model.state_dict()["num_batches_tracked"].fill_(5)
    average.update(model)
    decay = 0.9 * (1 - math.exp(-1 / 10))
    weights = average.model.state_dict()
    assert weights["weight"].item() == pytest.approx(decay * 1 + (1 - decay) * 3, rel=1e-5)
    assert weights["num_batches_tracked"].item() == 5
    restored = WeightAverage(nn.BatchNorm1d(1), decay=0.9, ramp_steps=10)
    restored.load_state_dict(average.state_dict())
    assert restored.steps == 1
    assert restored.model.state_dict()["weight"].item() == weights["weight"].item()


@pytest.mark.parametrize("shape", [(3, 8, 20), (2, 20, 8), (1, 16, 16)])
def test_orthogonalized_has_singular_values_near_one(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(shape) * 100
    values = torch.linalg.svdvals(orthogonalized(matrices))
    assert values.shape == (shape[0], min(shape[1:]))
    assert values.min().item() > 0.5
    assert values.max().item() < 1.4


def test_orthogonalized_iterates_in_float32_on_a_cpu() -> None:
    torch.manual_seed(0)
    matrices = torch.randn(3, 24, 40)
    exact = orthogonalized_in_float64(matrices)
    assert (orthogonalized(matrices) - exact).abs().max() < 1e-4, "bfloat16 differs by 1e-2"


def orthogonalized_in_float64(matrices: torch.Tensor) -> torch.Tensor:
    x: torch.Tensor = matrices.double()
    x = x / x.norm(dim=(1, 2), keepdim=True)
    for _ in range(5):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.to(torch.float32)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 16, 2)
    )


def test_filters_go_to_one_rule_and_everything_else_to_the_other() -> None:
    model = network()
    optimizer = build_optimizer(model, lr_matrix=0.1, lr_vector=0.01, weight_decay=0.0, output=[model[3]])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model(torch.randn(4, 3, 4, 4)).square().sum().backward()
    optimizer.step()
    after = model.state_dict()
    update = (before["0.weight"] - after["0.weight"]).reshape(8, 27)
    # Muon: every direction moves by the learning rate, whatever its gradient was.
    assert torch.linalg.svdvals(update).tolist() == pytest.approx([0.1] * 8, rel=0.35)
    # Adam's first step: the sign of the gradient times the learning rate.
    assert (before["3.bias"] - after["3.bias"]).abs().tolist() == pytest.approx([0.01] * 2, rel=1e-3)


def test_the_optimizer_learns_and_its_state_continues_exactly() -> None:
    torch.manual_seed(1)
    x, y = torch.randn(64, 3, 4, 4), torch.arange(64) % 2

    def steps(model: nn.Module, optimizer: torch.optim.Optimizer, count: int) -> float:
        for _ in range(count):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()  # type: ignore[no-untyped-call]  # torch's own
            optimizer.step()
        return float(loss.detach())

    model = network()
    optimizer = build_optimizer(model, lr_matrix=0.02, lr_vector=0.003, weight_decay=1e-4)
    first = steps(model, optimizer, 1)
    steps(model, optimizer, 29)
    other = network()
    other.load_state_dict(model.state_dict())
    resumed = build_optimizer(other, lr_matrix=0.02, lr_vector=0.003, weight_decay=1e-4)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    whole, continued = steps(model, optimizer, 20), steps(other, resumed, 20)
    assert whole == continued
    assert whole < 0.3 * first
