"""Sampling of diffusion models: from noise to images, with guidance, as one module with unrolled steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from edgevision.errors import UsageError
from edgevision.models.generators.diffusion import Conditional, Denoiser, Objective

LAST_DDPM_TIME = 0.98
"""Start of DDIM's sampling: at time 1 the noisy image holds nothing of the image, so dividing by its share fails."""

_NEAR = 5e-4
"""Times that differ by less are equal: those of stored weights may be float16."""


def step(
    x: torch.Tensor, predicted: torch.Tensor, time: float, earlier: float, objective: Objective
) -> torch.Tensor:
    """The noisy images at time `earlier` < `time`: one step of Euler, or of DDIM without noise."""
    if objective == "flow":
        return x - (time - earlier) * predicted
    share, noise = math.cos(time * math.pi / 2), math.sin(time * math.pi / 2)
    image = ((x - noise * predicted) / share).clamp(-1, 1)
    predicted = (x - share * image) / noise
    return math.cos(earlier * math.pi / 2) * image + math.sin(earlier * math.pi / 2) * predicted


def adams_weights(place: int, order: int) -> tuple[float, ...]:
    """Weights of the predictions of step `place` and of those before it, the latest first; their sum is 1.

    The method of Adams and Bashforth for equal steps: the mean over the step of the polynomial through the last
    `order` predictions. The first steps have fewer predictions and use a lower order; an order of 1 is Euler's method.
    """
    count = min(order, place + 1)
    nodes = -np.arange(count, dtype=np.float64)
    return tuple(np.linalg.solve(np.vander(nodes, increasing=True).T, 1 / np.arange(1, count + 1)).tolist())


def combined(predictions: Sequence[torch.Tensor], weights: Sequence[float]) -> torch.Tensor:
    """The weighted sum of the last predictions, the latest first."""
    total = predictions[-1] * weights[0]
    for predicted, weight in zip(reversed(predictions[:-1]), weights[1:], strict=False):
        total = total + weight * predicted
    return total


def times(steps: int, objective: Objective) -> tuple[float, ...]:
    """Equidistant times of the sampling, ``steps + 1`` values from the noise to the image."""
    if steps < 1:
        raise UsageError(f"the number of steps must be positive; received {steps}")
    first = 1.0 if objective == "flow" else LAST_DDPM_TIME
    return tuple(first * (steps - place) / steps for place in range(steps + 1))


@dataclass(frozen=True, slots=True)
class SamplingSchedule:
    """The steps of a sampling. Step n leads from ``times[n]`` to ``times[n + 1]`` with ``guidance[n]``."""

    times: tuple[float, ...]
    guidance: tuple[float, ...]
    """Scale of each step's guidance; 1: none, which takes half the time."""
    order: int
    """Predictions that a step combines (`adams_weights`)."""
    objective: Objective


def schedule_of(
    denoiser: Denoiser,
    steps: int | None = None,
    guidance: float | None = None,
    interval: tuple[float, float] | None = None,
) -> SamplingSchedule:
    """The schedule with these settings, by default the weights' own.

    Guidance acts at the times of `interval`, ends included (arXiv 2404.07724): at early times it lowers the variety of
    the images, and at late times it changes little.
    """
    at = times(int(denoiser.steps) if steps is None else steps, denoiser.objective)
    scale = float(denoiser.guidance) if guidance is None else guidance
    low, high = denoiser.interval.tolist() if interval is None else interval
    scales = tuple(scale if low - _NEAR <= time <= high + _NEAR else 1.0 for time in at[:-1])
    return SamplingSchedule(at, scales, int(denoiser.order), denoiser.objective)


class Sampler(nn.Module):
    """The whole sampling as one module: noise ``[B,C,H,W]`` and labels ``[B]`` to images ``[B,C,H,W]`` in 0..1.

    The steps are unrolled. A guidance other than 1 extrapolates from the prediction without class to that with it
    (arXiv 2207.12598: ``1 + w`` there), as one batch of both. By default all settings are the weights' own.
    A flow's steps combine the last predictions (`adams_weights`), so they cost no more than Euler's.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        steps: int | None = None,
        guidance: float | None = None,
        interval: tuple[float, float] | None = None,
    ) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.schedule = schedule_of(denoiser, steps, guidance, interval)

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.schedule.guidance)

    def forward(self, noise: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Noise to images."""
        x = sampled(self.denoiser, noise, label.long(), self.schedule)
        return ((x + 1) / 2).clamp(0, 1)


def sampled(
    network: Conditional,
    noise: torch.Tensor,
    label: torch.Tensor,
    schedule: SamplingSchedule,
    given: torch.Tensor | None = None,
) -> torch.Tensor:
    """The sampling, unrolled: noise ``[B,C,H,W]``, labels, and the maps that the network gets, to images in -1..1."""
    return course(network, noise, label, schedule, given)[-1]


def course(
    network: Conditional,
    noise: torch.Tensor,
    label: torch.Tensor,
    schedule: SamplingSchedule,
    given: torch.Tensor | None = None,
) -> list[torch.Tensor]:
    """The noisy images at each time of the schedule, from the noise to the images."""
    found, predictions = [noise], list[torch.Tensor]()
    for time, scale in zip(schedule.times, schedule.guidance, strict=False):
        now = torch.full((1,), time, device=noise.device)  # one for all, so that graphs hold its embedding
        predictions.append(guided(network, found[-1], now, label, scale, given))
        found.append(advanced(found[-1], predictions, schedule))
    return found


def advanced(
    x: torch.Tensor, predictions: Sequence[torch.Tensor], schedule: SamplingSchedule
) -> torch.Tensor:
    """The noisy images after the step of the last prediction."""
    place = len(predictions) - 1
    predicted = combined(predictions, adams_weights(place, schedule.order))
    time, earlier = schedule.times[place : place + 2]
    return step(x, predicted, time, earlier, schedule.objective)


def guided(
    network: Conditional,
    x: torch.Tensor,
    time: torch.Tensor,
    label: torch.Tensor,
    guidance: float,
    given: torch.Tensor | None = None,
) -> torch.Tensor:
    """Predictions at times ``[B]`` or ``[1]``, extrapolated from those without class to those with it.

    Both come from one batch of two. A guidance of 1 needs only the latter.
    """
    maps = () if given is None else (given,)
    if guidance == 1:
        return network(x, time, label, *maps)
    none = torch.zeros_like(label) if label.is_floating_point() else torch.full_like(label, network.classes)
    labels = torch.cat((label, none))
    both = tuple(torch.cat((part, part)) for part in maps)
    pair = network(torch.cat((x, x)), time if len(time) == 1 else torch.cat((time, time)), labels, *both)
    with_class, without = pair.unflatten(0, (2, -1)).unbind()  # type: ignore[no-untyped-call]  # torch's own gap
    extrapolated: torch.Tensor = without + guidance * (with_class - without)
    return extrapolated
