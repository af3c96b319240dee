"""Training of generators: they learn, repeat, distil and are measured."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import safetensors.torch
import torch
from click.testing import CliRunner

from edgevision.cli.root import edgevision
from edgevision.errors import CheckpointError, UsageError
from edgevision.models.cnn import Cnn
from edgevision.models.generators.diffusion import Denoiser
from edgevision.models.generators.judge import levels, read_judge
from edgevision.models.generators.sampler import Sampler
from edgevision.models.plan import ClassifierPlan, DiffusionPlan, Optimization
from edgevision.train.data.class_augmentation import draw_picture
from edgevision.train.data.image_arrays import ImageBatch
from edgevision.train.generation.adversarial import gradient_penalty
from edgevision.train.generation.distillation import DistillationInTraining, Trajectories
from edgevision.train.generation.reading import read_generator
from edgevision.train.generation.sampling import made, sheet
from edgevision.train.loop.schedule import TrainingProgress


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of two classes."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("judge") / "best.safetensors"
    safetensors.torch.save_file(Cnn(2, (8, 8)).state_dict(), path)
    return path.parent


def trained(
    recipe: str, data: Path, judge: Path, run: Path, *more: object, epochs: int = 2
) -> list[dict[str, float]]:
    """The rows of a run on images of 16 px."""
    arguments = ["train", recipe, "--data", data, "--judge", judge, "--size", 16, "--batch", 16]
    arguments += ["--epochs", epochs, "--workers", 0, "-o", run, *more]
    done = CliRunner().invoke(edgevision, [str(part) for part in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    with (run / "metrics.csv").open() as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def test_diffusion_learns_and_distils(class_data: Path, judge: Path, tmp_path: Path) -> None:
    rows = trained("diffusion", class_data, judge, tmp_path / "run", epochs=8)
    assert rows[-1]["loss"] < 0.85 * rows[0]["loss"]
    assert {"likeness", "agreement", "precision", "recall"} <= set(rows[-1])
    drawn = cv2.imread(str(tmp_path / "run" / "samples.png"))
    assert drawn is not None
    assert drawn.shape == (2 * 18 + 2, 10 * 18 + 2, 3)
    more = ["--distill-from", tmp_path / "run", "--steps", 2]
    trained("diffusion", class_data, judge, tmp_path / "student", *more)
    student, noise = read_generator(tmp_path / "student")
    assert isinstance(student, Sampler)
    assert (student.schedule.guidance, noise) == ((1.0, 1.0), (student.denoiser.channels, 16, 16))
    teacher, _ = read_generator(tmp_path / "run", steps=5, guidance=2.0)
    assert isinstance(teacher, Sampler)
    assert (teacher.schedule.guidance, int(teacher.denoiser.steps)) == ((1.0, 2.0, 2.0, 1.0, 1.0), 10)


@pytest.mark.parametrize("recipe", ["dcgan", "wgan", "vae"])
def test_generators_train_and_repeat(recipe: str, class_data: Path, judge: Path, tmp_path: Path) -> None:
    rows = trained(recipe, class_data, judge, tmp_path / "run")
    assert [row["epoch"] for row in rows] == [1, 2]
    if recipe == "wgan":
        again = trained(recipe, class_data, judge, tmp_path / "again")
        assert [row["loss"] for row in again] == [row["loss"] for row in rows]
    generator, noise = read_generator(tmp_path / "run")
    labels = np.arange(6) % 2
    images = made(generator, labels, noise, seed=3)
    assert images.shape[::2] == (6, 16)
    assert np.array_equal(images, made(generator, labels, noise, seed=3))
    assert not np.array_equal(images, made(generator, labels, noise, seed=4))
    if recipe == "vae":
        assert rows[-1]["ELBO"] < 0
        assert rows[-1]["loss"] == pytest.approx(
            rows[-1]["reconstruction"] + rows[-1]["divergence"], rel=1e-4
        )


@pytest.mark.parametrize("recipe", ["vae", "diffusion", "cnn"])
def test_a_training_starts_from_weights(recipe: str, class_data: Path, judge: Path, tmp_path: Path) -> None:
    """The second run's first epoch is better than the first's, though all random choices are the same."""
    given = () if recipe == "cnn" else ("--judge", judge)
    common = ["train", recipe, "--data", class_data, "--size", 16, "--batch", 16, *given]

    def first_loss(*further: object) -> float:
        words = [str(part) for part in (*common, *further)]
        done = CliRunner().invoke(edgevision, words, catch_exceptions=False)
        assert done.exit_code == 0
        with (Path(words[-1]) / "metrics.csv").open() as file:
            return float(next(csv.DictReader(file))["loss"])

    plain = first_loss("--epochs", 4, "-o", tmp_path / "run")
    started = first_loss("--epochs", 4, "--weights", tmp_path / "run", "-o", tmp_path / "again")
    assert started < plain
    done = CliRunner().invoke(
        edgevision,
        [*map(str, common), "--epochs", "1", "--weights", str(tmp_path / "no.pt"), "-o", str(tmp_path / "x")],
    )
    assert done.exception is not None


def test_a_student_of_a_perfect_teacher_has_nothing_to_learn() -> None:
    """The teacher's velocity is constant, so any number of its steps is one step of the student."""
    torch.manual_seed(0)
    teacher = Denoiser(1, 2, width=16)
    torch.nn.init.constant_(teacher.last.bias, 0.7)  # type: ignore[arg-type]  # the layer has a bias
    student = Denoiser(1, 2, width=16)
    plan = DiffusionPlan(size=8, steps=2)
    module = DistillationInTraining(student, teacher, plan, TrainingProgress(total_steps=1), seed=0)
    batch = ImageBatch(torch.rand((6, 1, 8, 8)), torch.arange(6) % 2)
    assert float(module.losses(batch)["loss"].detach()) == pytest.approx(0.49, rel=1e-4)
    torch.nn.init.constant_(student.last.bias, 0.7)  # type: ignore[arg-type]  # the layer has a bias
    assert float(module.losses(batch)["loss"].detach()) == pytest.approx(0, abs=1e-10)
    assert not any("trajectories" in name or "teacher" in name for name in module.state_dict())


def test_trajectories_depend_on_seed_and_number_alone() -> None:
    torch.manual_seed(0)
    teacher = Denoiser(1, 2, width=16).eval()
    torch.nn.init.normal_(teacher.last.weight)
    teacher.guidance.fill_(1.5)
    plan = DiffusionPlan(size=8, steps=2, teacher_steps=2, optimization=Optimization(batch=6))
    early, late = Trajectories(teacher, plan, seed=3), Trajectories(teacher, plan, seed=3)
    early.extend(1, torch.device("cpu"))
    early.extend(2, torch.device("cpu"))
    late.extend(2, torch.device("cpu"))
    assert torch.equal(torch.stack(early.images), torch.stack(late.images))
    noise, _, image = late.images[1]
    assert not torch.equal(noise, late.images[0][0])
    assert torch.allclose((image + 1).clamp(0, 2) / 2, Sampler(teacher, 4)(noise, late.labels[1]), atol=1e-6)
    torch.manual_seed(5)
    x, later, labels = late.drawn(torch.tensor([0, 1, 0, 1]))
    starts = torch.cat([part[0] for part in late.images])
    number = [int((starts - value).abs().flatten(1).sum(1).argmin()) for value in (x[0], x[2])]
    assert torch.equal(starts[number], x[::2])
    assert labels[::2].tolist() == [place % 6 % 2 for place in number]
    assert torch.equal(later[0], late.images[number[0] // 6][1, number[0] % 6])


def test_the_penalty_of_a_linear_critic() -> None:
    slopes = torch.full((1, 4, 4), 0.75)  # a norm of 3

    class Linear(torch.nn.Module):
        def forward(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
            """The same slope everywhere."""
            return (x * slopes).flatten(1).sum(1)

    real, fake = torch.rand((5, 1, 4, 4)), torch.rand((5, 1, 4, 4))
    assert float(gradient_penalty(Linear(), real, fake, torch.zeros(5))) == pytest.approx(4.0)


def test_sheets_have_one_row_for_each_class() -> None:
    images = np.zeros((6, 3, 4, 4), np.uint8)
    images[4, 0] = 200  # red, the second one of the second row
    drawn = sheet(images, columns=3, gap=1)
    assert drawn.shape == (11, 16, 3)
    assert (drawn[6:10, 6:10] == (0, 0, 200)).all()
    assert (drawn[0] == 96).all()


def test_levels_are_rounded_and_limited() -> None:
    assert levels(torch.tensor([-0.1, 0.4999 / 255, 0.5001 / 255, 1.0])).tolist() == [0, 0, 1, 255]


def test_turned_samples() -> None:
    """A vertical line leans to both sides, around the centre."""
    image = np.zeros((29, 29, 3), np.uint8)
    image[4:25, 14] = 255
    plan = ClassifierPlan(model="cnn", size=29, smallest_crop=1.0, flip=0.0, colour=0.0, erase=0.0, turn=20.0)
    leanings, centres = [], []
    for seed in range(30):
        drawn = draw_picture(image, plan, np.random.default_rng(seed))[..., 0].astype(float)
        columns = (drawn[:, :] * np.arange(29)).sum(1) / np.maximum(drawn.sum(1), 1)
        leanings.append(columns[8:10].mean() - columns[19:21].mean())
        centres.append(columns[14])
    assert min(leanings) < -2
    assert max(leanings) > 2
    assert np.abs(np.array(centres) - 14).max() < 3


def test_unsuitable_jobs_are_named(class_data: Path, judge: Path, tmp_path: Path) -> None:
    def failed(*arguments: object) -> BaseException | None:
        words = [
            str(part)
            for part in ("train", *arguments, "--data", class_data, "--epochs", 1, "-o", tmp_path / "x")
        ]
        return CliRunner().invoke(edgevision, words).exception

    error = failed("cnn", "--steps", 2)
    assert isinstance(error, UsageError)
    assert "--steps is for diffusion models; recipe cnn is for classify" in str(error)
    assert "a multiple of 4 px" in str(failed("dcgan", "--size", 18, "--judge", judge))
    assert "omit --classes" in str(failed("vae", "--classes", "disc", "--judge", judge))
    assert "because they lack the critic" in str(failed("dcgan", "--weights", tmp_path, "--judge", judge))
    both = ("--distill-from", tmp_path, "--weights", tmp_path)
    assert "starts from its teacher: omit --weights" in str(failed("diffusion", *both, "--judge", judge))
    safetensors.torch.save_file(Cnn(3, (8, 8)).state_dict(), tmp_path / "three.safetensors")
    error = failed("dcgan", "--size", 16, "--judge", tmp_path / "three.safetensors")
    assert "has 3 classes, the data 2; train one on the data with `edgevision train cnn`" in str(error)
    safetensors.torch.save_file(Denoiser(1, 2, 16, "ddpm").state_dict(), tmp_path / "ddpm.safetensors")
    error = failed(
        "diffusion", "--size", 16, "--judge", judge, "--distill-from", tmp_path / "ddpm.safetensors"
    )
    assert "only --model flow can be distilled" in str(error)
    with pytest.raises(CheckpointError, match="does not hold a classifier that measures images"):
        read_judge(tmp_path / "ddpm.safetensors")
