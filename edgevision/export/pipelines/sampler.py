"""A scheduler of diffusers as a table of coefficients.

Samplers of diffusion models are linear: the next sample is a weighted sum of the sample, the network's outputs so far,
and new noise. The weights depend on the step only. They are measured by running the scheduler on unit vectors, so every
scheduler that is linear needs no code of its own here, and a device needs no diffusers.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol
from unittest import mock

import torch

from edgevision.bundle.program import ProgramStep
from edgevision.errors import CheckpointError

TOLERANCE = 1e-4
"""Largest difference of the table from the scheduler, relative to the largest value."""
SMALLEST = 1e-6
"""Smaller weights are the rounding of float32."""


class Scheduler(Protocol):
    """What is used of diffusers' schedulers."""

    timesteps: torch.Tensor
    init_noise_sigma: Any

    def set_timesteps(self, num_inference_steps: int) -> None:
        """Begin a run of so many steps."""

    def scale_model_input(self, sample: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """The network's input."""

    def step(
        self, model_output: torch.Tensor, timestep: torch.Tensor, sample: torch.Tensor, **kw: Any
    ) -> Any:
        """The next sample, first of a tuple with ``return_dict=False``."""


@dataclass(frozen=True, slots=True)
class SamplerTable:
    """A whole run: the first sample is `first` times noise."""

    first: float
    steps: tuple[ProgramStep, ...]

    @property
    def noises(self) -> int:
        """Number of noises for one image: the first sample, and one for each step that adds some."""
        return 1 + sum(step.noise != 0 for step in self.steps)


def read_sampler(scheduler: Scheduler, steps: int) -> SamplerTable:
    """Measure the table of a run of `steps` steps; raises `CheckpointError` if the scheduler is not linear."""
    name = type(scheduler).__name__
    scheduler.set_timesteps(steps)
    calls = len(scheduler.timesteps)
    size = 1 + 2 * calls  # the first sample, outputs, noises
    units = torch.eye(size)
    with drawn_noises(
        scheduler, [units[1 + calls + k].reshape(1, size, 1, 1) for k in range(calls)]
    ) as drawn:
        sample = units[0].reshape(1, size, 1, 1)
        rows, scales, new = [sample.flatten().double()], [], []
        for k, timestep in enumerate(scheduler.timesteps):
            scaled = scheduler.scale_model_input(sample, timestep).flatten().double()
            scales.append(float(scaled.abs().max() / rows[-1].abs().max()))
            before = len(drawn)
            output = units[1 + k].reshape(1, size, 1, 1)
            sample = scheduler.step(output, timestep, sample, return_dict=False)[0].float()
            rows.append(sample.flatten().double())
            if len(drawn) > before + 1:
                raise CheckpointError(f"{name} draws noise several times in a step, which is not supported")
            new.append(before if len(drawn) > before else None)
    found = []
    for k, timestep in enumerate(scheduler.timesteps):
        keep = float(rows[k + 1][0] / rows[k][0]) if abs(rows[k][0]) > SMALLEST else 0.0
        rest = rows[k + 1] - keep * rows[k]
        place = new[k]
        noise = 0.0 if place is None else float(rows[k + 1][1 + calls + place])
        outputs = tuple(_weight(value) for value in rest[1 : 2 + k].tolist())
        found.append(ProgramStep(float(timestep), scales[k], keep, outputs, _weight(noise)))
    table = SamplerTable(float(scheduler.init_noise_sigma), tuple(found))
    _check(scheduler, steps, table)
    return table


def run_sampler(table: SamplerTable, samples: torch.Tensor, outputs: list[torch.Tensor]) -> torch.Tensor:
    """The last sample, from `SamplerTable.noises` noises ``[N,...]`` and the network's output of each call."""
    sample, noises = table.first * samples[0], iter(samples[1:])
    for step in table.steps:
        sample = next_sample(step, sample, outputs, noises)
    return sample


def next_sample(
    step: ProgramStep, sample: torch.Tensor, outputs: list[torch.Tensor], noises: Iterator[torch.Tensor]
) -> torch.Tensor:
    """The sample after a step; takes new noise from `noises` if the step adds some."""
    result = step.keep * sample
    for weight, output in zip(step.outputs, outputs, strict=False):
        if weight:
            result = result + weight * output
    return result + step.noise * next(noises) if step.noise else result


def _weight(value: float) -> float:
    return 0.0 if abs(value) < SMALLEST else value


def _check(scheduler: Scheduler, steps: int, table: SamplerTable) -> None:
    """Compare with the scheduler for large random values, which clipping would change."""
    draw = torch.Generator().manual_seed(0)
    shape = (1, 4, 8, 8)
    outputs = [10 * torch.randn(shape, generator=draw) for _ in table.steps]
    drawn = [torch.randn(shape, generator=draw) for _ in range(1 + len(table.steps))]
    scheduler.set_timesteps(steps)
    used: list[torch.Tensor] = [drawn[0]]
    with drawn_noises(scheduler, drawn[1:]) as taken:
        sample = table.first * drawn[0]
        for step, timestep, output in zip(table.steps, scheduler.timesteps, outputs, strict=True):
            before = len(taken)
            sample = scheduler.step(output, timestep, sample, return_dict=False)[0]
            if step.noise:
                used.append(drawn[1 + before])
    actual = run_sampler(table, torch.stack(used), outputs)
    difference = float((actual - sample).abs().max() / sample.abs().max())
    if not difference <= TOLERANCE:
        raise CheckpointError(
            f"the scheduler {type(scheduler).__name__} is not linear: with a table of weights its samples differ by"
            f" {difference:.2g}; expected at most {TOLERANCE:g}. Set clip_sample and thresholding to false in"
            " scheduler/scheduler_config.json, or choose another scheduler"
        )


@contextlib.contextmanager
def drawn_noises(scheduler: Scheduler, noises: list[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Make the scheduler draw these noises, in order, then zeros; gives the list of what it took."""
    taken: list[torch.Tensor] = []

    def draw(*_: object, **__: object) -> torch.Tensor:
        taken.append(noises[len(taken)] if len(taken) < len(noises) else torch.zeros(()))
        return taken[-1]

    module = sys.modules[type(scheduler).__module__]
    with mock.patch.object(module, "randn_tensor", draw, create=True):
        yield taken
