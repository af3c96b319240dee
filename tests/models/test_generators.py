"""Generators: what their samplers compute, and weights that state their own sizes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from edgevision.errors import CheckpointError, UsageError
from edgevision.models.generators.dcgan import Critic, ImageGenerator, generator_from_state_dict
from edgevision.models.generators.diffusion import (
    Block,
    Denoiser,
    Objective,
    denoiser_from_state_dict,
    noisy,
)
from edgevision.models.generators.sampler import (
    Sampler,
    SamplingSchedule,
    adams_weights,
    combined,
    sampled,
    schedule_of,
    step,
    times,
)
from edgevision.models.generators.vae import Vae, elbo_parts, vae_from_state_dict

OBJECTIVES: tuple[Objective, ...] = ("flow", "ddpm")
LABELS = torch.arange(4)


class Oracle(nn.Module):
    """Predicts from the true image of each class, and without a class towards a grey image."""

    def __init__(self, images: torch.Tensor, objective: Objective) -> None:
        super().__init__()
        self.images = torch.cat((images, torch.zeros_like(images[:1])))
        self.objective, self.classes, self.rows = objective, len(images), list[int]()

    def forward(self, x: torch.Tensor, time: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """The prediction of which `x` is the noisy image."""
        self.rows.append(len(x))
        image, time = self.images[label], time.view(-1, 1, 1, 1)
        if self.objective == "flow":
            return (x - image) / time
        angle = time * torch.pi / 2
        return (x - angle.cos() * image) / angle.sin()


def schedule(objective: Objective, *guidance: float) -> SamplingSchedule:
    return SamplingSchedule(
        times(len(guidance), objective), guidance, 3 if objective == "flow" else 1, objective
    )


def images() -> torch.Tensor:
    return torch.rand((4, 1, 8, 8), generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_step_with_the_true_prediction_stays_on_the_path(objective: Objective) -> None:
    noise = torch.randn((4, 1, 8, 8), generator=torch.Generator().manual_seed(1))
    late, target = noisy(images(), noise, torch.full((4,), 0.8), objective)
    early, _ = noisy(images(), noise, torch.full((4,), 0.3), objective)
    assert torch.allclose(step(late, target, 0.8, 0.3, objective), early, atol=1e-5)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_sampling_arrives_at_the_image(objective: Objective, steps: int) -> None:
    oracle = Oracle(images(), objective)
    noise = torch.randn((4, 1, 8, 8), generator=torch.Generator().manual_seed(2))
    made = sampled(oracle, noise, LABELS, schedule(objective, *(1.0,) * steps))
    assert torch.allclose(made, images(), atol=1e-5)
    assert oracle.rows == [4] * steps


def test_guidance_extrapolates_in_one_batch_of_two() -> None:
    """From grey to the image, and twice as far."""
    oracle = Oracle(images(), "flow")
    noise = torch.randn((4, 1, 8, 8), generator=torch.Generator().manual_seed(3))
    made = sampled(oracle, noise, LABELS, schedule("flow", 2.0))
    assert torch.allclose(made, 2 * images(), atol=1e-5)
    assert oracle.rows == [8]


def test_guidance_acts_at_the_times_of_its_interval_and_costs_nothing_at_others() -> None:
    model = Denoiser(1, 4, width=16)
    assert schedule_of(model, 5, 1.5).guidance == (1.5,) * 5
    model.keep_sampling(10, 1.5, (0.5, 0.8))
    model.half()  # 0.8 becomes less
    scales = (1.0, 1.0, 1.5, 1.5, 1.5, 1.5, 1.0, 1.0, 1.0, 1.0)
    assert schedule_of(model).guidance == scales
    assert schedule_of(model, interval=(0.2, 0.7)).guidance == (1.0,) * 3 + (1.5,) * 6 + (1.0,)
    assert schedule_of(model, 3, interval=(0.0, 1.0)).guidance == (1.5,) * 3
    oracle = Oracle(images(), "flow")
    noise = torch.randn((4, 1, 8, 8), generator=torch.Generator().manual_seed(3))
    sampled(oracle, noise, LABELS, schedule("flow", *scales))
    assert oracle.rows == [4, 4, 8, 8, 8, 8, 4, 4, 4, 4]


def test_times_are_equidistant() -> None:
    assert times(4, "flow") == (1.0, 0.75, 0.5, 0.25, 0.0)
    assert times(2, "ddpm") == (0.98, 0.49, 0.0)
    with pytest.raises(UsageError, match="must be positive; received 0"):
        times(0, "flow")


def test_weights_of_adams_and_bashforth() -> None:
    assert [adams_weights(0, order) for order in (1, 2, 3)] == [(1.0,)] * 3
    assert adams_weights(1, 1) == (1.0,)
    assert adams_weights(1, 3) == adams_weights(7, 2) == pytest.approx((3 / 2, -1 / 2))
    assert adams_weights(2, 3) == adams_weights(7, 3) == pytest.approx((23 / 12, -16 / 12, 5 / 12))


@pytest.mark.parametrize("order", [1, 2, 3])
def test_ten_steps_of_a_higher_order_are_nearer_to_the_solution(order: int) -> None:
    """dx/dt = x from time 1 to 0 divides by e; the error of n steps shrinks with n to the power of the order."""

    def error(steps: int) -> float:
        x, predictions = torch.ones(1, dtype=torch.float64), list[torch.Tensor]()
        for place in range(steps):
            predictions.append(x)
            x = x - combined(predictions, adams_weights(place, order)) / steps
        return abs(float(x) - math.exp(-1))

    assert math.log2(error(80) / error(160)) == pytest.approx(min(order, 2), abs=0.1)
    assert error(10) < {1: 0.02, 2: 0.004, 3: 0.002}[order]


def trained(model: nn.Module) -> nn.Module:
    """The model with weights and statistics that are neither zero nor one."""
    rng = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.dtype == torch.float32 and value.ndim:
                value.copy_(torch.rand(value.shape, generator=rng) * 0.2 + 0.01)
    return model.eval()


def test_a_denoiser_states_its_sizes_and_settings() -> None:
    model = Denoiser(3, 4, width=32, objective="ddpm", size=12)
    trained(model)
    model.keep_sampling(3, 1.75, (0.25, 0.5))
    again = denoiser_from_state_dict({f"model.{name}": value for name, value in model.state_dict().items()})
    assert Sampler(again).schedule == SamplingSchedule(times(3, "ddpm"), (1.0, 1.0, 1.75), 1, "ddpm")
    assert again.noise_shape == (3, 12, 12)
    x, time = torch.rand((4, 3, 12, 16)), torch.rand(4)
    assert torch.equal(model(x, time, LABELS), again(x, time, LABELS))


def test_older_weights_use_eulers_method_and_guidance_at_all_times() -> None:
    model = Denoiser(1, 4, width=16).eval()
    model.keep_sampling(4, 2.0, (0.5, 0.5))
    newer = schedule_of(denoiser_from_state_dict(model.state_dict()))
    assert (newer.order, newer.guidance) == (3, (1.0, 1.0, 2.0, 1.0))
    older = {name: value for name, value in model.state_dict().items() if name not in ("order", "interval")}
    found = schedule_of(denoiser_from_state_dict(older))
    assert (found.order, found.guidance) == (1, (2.0,) * 4)
    with pytest.raises(CheckpointError, match="order is 4; expected 1 to 3"):
        denoiser_from_state_dict({**older, "order": torch.tensor(4)})


def test_the_denoiser_uses_time_and_label() -> None:
    torch.manual_seed(0)
    model = Denoiser(1, 4, width=16).eval()
    for module in (model.last, *(block.conv2 for block in model.modules() if isinstance(block, Block))):
        torch.nn.init.normal_(module.weight)  # they start at zero
    x = torch.rand((1, 1, 8, 8))
    first = model(x, torch.tensor([0.2]), torch.tensor([1]))
    assert not torch.allclose(first, model(x, torch.tensor([0.9]), torch.tensor([1])))
    assert not torch.allclose(first, model(x, torch.tensor([0.2]), torch.tensor([4])))


def test_generators_state_their_sizes() -> None:
    noise = torch.randn((4, 6, 1, 1), generator=torch.Generator().manual_seed(5))
    generator = trained(ImageGenerator(3, 4, noise=6, width=8, size=16))
    again = generator_from_state_dict(generator.state_dict())
    made = again(noise, LABELS)
    assert made.shape == (4, 3, 16, 16)
    assert torch.equal(made, generator(noise, LABELS))
    vae = trained(Vae(1, 4, noise=6, width=8, size=12))
    assert torch.equal(vae_from_state_dict(vae.state_dict())(noise, LABELS), vae(noise, LABELS))


@pytest.mark.parametrize("read", [denoiser_from_state_dict, generator_from_state_dict, vae_from_state_dict])
def test_other_weights_are_an_error(read: object) -> None:
    assert callable(read)
    with pytest.raises(CheckpointError, match="not the weights of a"):
        read(nn.Conv2d(1, 1, 1).state_dict())


def test_unsuitable_sizes_are_named() -> None:
    with pytest.raises(UsageError, match="a multiple of 16 and size one of 4; received 1, 10, 20 and 28"):
        Denoiser(width=20)
    with pytest.raises(UsageError, match="size a multiple of 4; received 1, 10, 64, 32 and 30"):
        ImageGenerator(size=30)


@pytest.mark.parametrize("normalised", [True, False])
def test_a_critic_judges_each_class_on_its_own(normalised: bool) -> None:
    critic = Critic(1, 4, width=8, size=16, normalised=normalised).eval()
    x = torch.rand((1, 1, 16, 16)).repeat(4, 1, 1, 1)
    assert critic(x, LABELS).unique().numel() == 4
    nn.init.zeros_(critic.label.weight)
    assert torch.allclose(critic(x, LABELS), critic(x, LABELS)[0])


def test_the_parts_of_the_elbo() -> None:
    """An encoder whose codes have the mean 1 and the variance 1: a divergence of 1/2 for each number."""
    vae = Vae(1, 4, noise=6, width=8, size=12).eval()
    nn.init.zeros_(vae.encoder.code.weight)
    with torch.no_grad():
        vae.encoder.code.bias.copy_(torch.tensor([1.0] * 6 + [0.0] * 6))
    x, draws = torch.rand((4, 1, 12, 12)), torch.randn((4, 6))
    crossed, divergence = elbo_parts(vae, x, LABELS, draws)
    assert torch.allclose(divergence, torch.full((4,), 3.0))
    made = vae(draws[:, :, None, None] + 1, LABELS)
    expected = -(x * made.log() + (1 - x) * (1 - made).log()).flatten(1).sum(1)
    assert torch.allclose(crossed, expected, rtol=1e-4)
