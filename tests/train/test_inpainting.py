"""Training of inpainting: holes, what the loss counts, and runs."""

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
from edgevision.errors import UsageError
from edgevision.models.cnn import Cnn
from edgevision.models.generators.captioned import NO_TEXT, PhraseEncoder
from edgevision.models.generators.diffusion import Denoiser
from edgevision.models.generators.inpainting import Inpainter, inpainter_from_state_dict, inpainting_denoiser
from edgevision.models.generators.words import tokens_of_texts
from edgevision.models.plan import InpaintPlan
from edgevision.train.data.holes import HALVES, box_hole, centre_hole, half_hole, random_hole, stroke_hole
from edgevision.train.data.image_arrays import ImageArrays
from edgevision.train.generation.captioned import HoledCaptionDrawer, ink_of, rendered_digits
from edgevision.train.generation.inpaint_task import Filling
from edgevision.train.generation.inpainting import (
    HoledBatch,
    HoleDrawer,
    InpaintingInTraining,
    hole_tensor,
    start_from,
)
from edgevision.train.generation.reading import read_generator
from edgevision.train.loop.schedule import TrainingProgress


def drawn_digits(count: int) -> ImageArrays:
    """Images of 28 px: ones and sevens."""
    images = np.zeros((count, 1, 28, 28), np.uint8)
    for place, image in enumerate(images):
        cv2.line(image[0], (17, 6), (13 - place % 3, 22), 255, 3)
        if place % 2:
            cv2.line(image[0], (8, 6), (17, 6), 255, 3)
    return ImageArrays(images, np.where(np.arange(count) % 2, 7, 1).astype(np.int64))


def test_holes_have_their_shapes() -> None:
    assert centre_hole(8).sum() == 16
    assert centre_hole(8)[2:6, 2:6].all()
    halves = [half_hole(8, which) for which in range(HALVES)]
    for which, half in enumerate(halves):
        sides = (half[:, :4], half[:4], half[:, 4:], half[4:])
        assert [bool(side.all()) for side in sides] == [place == which for place in range(HALVES)]
    for seed in range(20):
        box = box_hole(20, (0.2, 0.5), np.random.default_rng(seed))
        ys, xs = np.nonzero(box)
        lengths = np.ptp(ys) + 1, np.ptp(xs) + 1
        assert box.sum() == lengths[0] * lengths[1]
        assert all(4 <= length <= 10 for length in lengths)
        assert 0 < stroke_hole(28, np.random.default_rng(seed)).mean() < 0.9
        assert set(np.unique(random_hole(28, (0.2, 0.5), np.random.default_rng(seed)))) == {0, 1}


def module_of(denoiser: Denoiser, **plan: object) -> InpaintingInTraining:
    settings = InpaintPlan(size=8, **plan)  # type: ignore[arg-type]  # fields of the plan
    return InpaintingInTraining(denoiser, settings, TrainingProgress(total_steps=1), seed=0)


def test_the_loss_counts_holes_only() -> None:
    """A constant prediction c of a constant target t has the loss (c - t)^2, whatever the size of the hole."""
    torch.manual_seed(0)
    denoiser = inpainting_denoiser(1, 2, 16, 8)
    hole = torch.zeros((4, 1, 8, 8))
    hole[:, :, :3] = 1
    images = torch.rand((4, 1, 8, 8)) * 2 - 1
    batch = HoledBatch(images, torch.arange(4) % 2, hole)
    torch.manual_seed(5)
    loss = float(module_of(denoiser).losses(batch)["loss"].detach())
    torch.manual_seed(5)
    torch.rand(4)
    target = torch.randn_like(images) - images
    assert loss == pytest.approx(float(target[:, :, :3].square().mean()), rel=1e-5)


@pytest.mark.parametrize("drawer", [HoleDrawer, HoledCaptionDrawer])
def test_samples_depend_on_their_generators(drawer: type[HoleDrawer] | type[HoledCaptionDrawer]) -> None:
    draw = drawer(drawn_digits(6), InpaintPlan(captions=drawer is HoledCaptionDrawer))
    one, again, other = (
        draw([0, 5], [np.random.default_rng(seed), np.random.default_rng(9)], 0.0) for seed in (3, 3, 4)
    )
    assert torch.equal(one.holes, again.holes)
    assert torch.equal(one.images, again.images)
    assert torch.equal(one.labels, again.labels)
    assert torch.equal(one.holes[1], other.holes[1])
    assert not torch.equal(one.holes[0], other.holes[0])
    assert one.images.shape == (2, 3 if drawer is HoledCaptionDrawer else 1, 28, 28)
    assert one.labels.shape == ((2, 16) if drawer is HoledCaptionDrawer else (2,))


def test_captioned_digits_have_ink() -> None:
    data = drawn_digits(4)
    found = rendered_digits(data, 0)
    assert found.images.shape == (4, 3, 28, 28)
    assert np.array_equal(found.tokens, tokens_of_texts(list(found.captions)))
    assert "handwritten seven" in found.captions[1]
    ink = ink_of(found.images)
    assert ink.shape == (4, 1, 28, 28)
    assert (ink[:, :, 14].max((1, 2)) > 200).all()
    assert (ink[:, :, 0].max((1, 2)) < 50).all()


def test_words_and_their_order_count() -> None:
    torch.manual_seed(0)
    encoder = PhraseEncoder(32)
    texts = ["red on white", "white on red", "", "red on white  "]
    first, second, empty, spaced = encoder(torch.from_numpy(tokens_of_texts(texts)).long()).unbind()
    assert not torch.allclose(first, second, atol=1e-4)
    assert torch.equal(first, spaced)
    assert torch.allclose(empty, encoder.output.bias)
    assert NO_TEXT == 0


@pytest.mark.parametrize(("channels", "classes"), [(1, 10), (3, None)])
def test_a_diffusion_model_is_a_start(channels: int, classes: int | None, tmp_path: Path) -> None:
    """Without the maps of known pixels, the first layer gives the features of the model that it starts from."""
    torch.manual_seed(0)
    before, after = Denoiser(1, 10, 16), inpainting_denoiser(channels, classes, 16, 28)
    torch.nn.init.normal_(before.last.weight)
    safetensors.torch.save_file(before.state_dict(), tmp_path / "a.safetensors")
    assert "parameters start from a.safetensors" in start_from(after, tmp_path / "a.safetensors")
    x = torch.randn(1, 1, 8, 8)
    same = after.stem(torch.cat((x.expand(-1, channels, -1, -1), torch.randn(1, channels + 1, 8, 8)), 1))
    torch.testing.assert_close(same, before.stem(x))
    torch.testing.assert_close(after.last.weight[:1], before.last.weight)
    with pytest.raises(UsageError, match="contains no tensor that fits"):
        safetensors.torch.save_file({"other": torch.zeros(2)}, tmp_path / "b.safetensors")
        start_from(after, tmp_path / "b.safetensors")


def test_filled_images_keep_known_pixels() -> None:
    data = drawn_digits(3)
    torch.manual_seed(0)
    model = Inpainter(inpainting_denoiser(1, 10, 16, 28), steps=1).eval()
    holes = np.stack([centre_hole(28)] * 3)
    filling = Filling(data.images, holes, data.labels)
    made = filling.filled(model, seed=0)
    assert np.array_equal(made[:, 0][holes == 0], data.images[:, 0][holes == 0])
    assert np.array_equal(made, filling.filled(model, seed=0))
    assert not np.array_equal(made, filling.filled(model, seed=1))
    assert (filling.without()[:, 0][holes == 1] == 128).all()
    assert filling.unlabelled(model).labels.tolist() == [10, 10, 10]
    assert hole_tensor(holes).shape == (3, 1, 28, 28)


def test_a_run(class_data: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    safetensors.torch.save_file(Cnn(2, (8, 8)).state_dict(), tmp_path / "judge.safetensors")
    words = ["train", "inpaint", "--data", class_data, "--judge", tmp_path / "judge.safetensors"]
    words += [
        "--size",
        16,
        "--batch",
        16,
        "--epochs",
        5,
        "--workers",
        0,
        "--steps",
        2,
        "-o",
        tmp_path / "run",
    ]
    done = CliRunner().invoke(edgevision, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    with (tmp_path / "run" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["loss"]) < 0.9 * float(rows[0]["loss"])
    assert {"likeness", "agreement", "agreement, free"} <= set(rows[-1])
    sheet = cv2.imread(str(tmp_path / "run" / "samples.png"))
    assert sheet is not None
    assert sheet.shape == (10 * 18 + 2, 2 * 18 + 2, 3)
    model = inpainter_from_state_dict(safetensors.torch.load_file(tmp_path / "run" / "best.safetensors"))
    assert (model.schedule.guidance, model.denoiser.given) == ((1.25, 1.25), 4)
    with pytest.raises(UsageError, match="fills regions of images; expected a model that makes whole images"):
        read_generator(tmp_path / "run")
    words = ["train", "inpaint-text", "--data", class_data, "--epochs", 1, "-o", tmp_path / "text"]
    found = CliRunner().invoke(edgevision, [str(word) for word in words]).exception
    assert "captions are made for grey images of 28 px of the digits 0 to 9" in str(found)
