"""Schedulers of diffusers as tables."""

from __future__ import annotations

from typing import Any

import diffusers
import pytest
import torch

from edgevision.errors import CheckpointError
from edgevision.export.pipelines.sampler import drawn_noises, read_sampler, run_sampler
from tests.export.pipelines.tiny import BETAS

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
"""The libraries' own, of their configuration and of numpy."""

SCHEDULERS = [
    ("PNDMScheduler", {"skip_prk_steps": True, "steps_offset": 1}, 5),
    ("DDIMScheduler", {"clip_sample": False, "prediction_type": "v_prediction"}, 5),
    ("DDPMScheduler", {"clip_sample": False}, 4),
    ("EulerDiscreteScheduler", {}, 4),
    ("EulerAncestralDiscreteScheduler", {}, 4),
    ("EulerAncestralDiscreteScheduler", {"timestep_spacing": "trailing"}, 1),
    ("HeunDiscreteScheduler", {}, 3),
    ("LCMScheduler", {}, 4),
    ("DPMSolverMultistepScheduler", {}, 6),
    ("UniPCMultistepScheduler", {}, 6),
]


def made(name: str, further: dict[str, Any]) -> Any:
    return getattr(diffusers, name)(**BETAS, **further)


@pytest.mark.parametrize(("name", "further", "steps"), SCHEDULERS)
def test_a_table_gives_the_samples_of_the_scheduler(name: str, further: dict[str, Any], steps: int) -> None:
    """With a network that depends on the sample and the time, so that each step matters."""
    table = read_sampler(made(name, further), steps)
    scheduler = made(name, further)
    scheduler.set_timesteps(steps)
    noise = torch.randn(table.noises, 1, 4, 8, 8, generator=torch.Generator().manual_seed(1))

    def network(sample: torch.Tensor, timestep: float) -> torch.Tensor:
        return torch.tanh(sample * (1 + timestep / 1000)) + 0.1

    with drawn_noises(scheduler, list(noise[1:])):
        expected = noise[0] * scheduler.init_noise_sigma
        for timestep in scheduler.timesteps:
            scaled = scheduler.scale_model_input(expected, timestep)
            output = network(scaled, float(timestep))
            expected = scheduler.step(output, timestep, expected, return_dict=False)[0]
    outputs: list[torch.Tensor] = []
    sample, further_noise = table.first * noise[0], iter(noise[1:])
    for step in table.steps:
        outputs.append(network(step.input_scale * sample, step.timestep))
        sample = step.keep * sample + sum(w * o for w, o in zip(step.outputs, outputs, strict=True))
        if step.noise:
            sample = sample + step.noise * next(further_noise)
    assert float((sample - expected).abs().max()) < 1e-4 * float(expected.abs().max())
    again = run_sampler(table, noise, outputs)
    assert float((again - sample).abs().max()) < 1e-5 * float(sample.abs().max())


def test_a_scheduler_that_clips_is_refused() -> None:
    with pytest.raises(
        CheckpointError, match="DDIMScheduler is not linear.*Set clip_sample and thresholding"
    ):
        read_sampler(made("DDIMScheduler", {"clip_sample": True}), 4)
