"""Generated images as further samples of a classifier."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from click.testing import CliRunner

from edgevision.cli.root import edgevision
from edgevision.errors import UsageError
from edgevision.models.cnn import Cnn
from edgevision.models.generators.judge import Judge
from edgevision.train.data.image_arrays import ImageArrays, ImageDrawer
from edgevision.train.generation.augmentation import selected
from edgevision.train.tasks.classifier import mixed_order


def train(*words: object) -> BaseException | None:
    done = CliRunner().invoke(edgevision, ["train", *map(str, words), "--workers", "0"])
    return done.exception


def test_half_of_the_samples_are_generated() -> None:
    labels = np.array([0, 0, 0, 0, 0, 1], np.int64)
    order = mixed_order(labels, 30, None, np.random.default_rng(0))
    assert len(order) == 36
    real = order[order < 6]
    assert len(real) == 18
    assert np.bincount(real).tolist() == [3] * 6
    assert len(set(order[order >= 6])) == 18
    balanced = mixed_order(labels, 30, 2, np.random.default_rng(0))
    counts = np.bincount(labels[balanced[balanced < 6]])
    assert counts.tolist() == [9, 9]
    few = mixed_order(np.arange(40) % 2, 3, None, np.random.default_rng(0))
    assert np.bincount(few[few >= 40] - 40).sum() == 21
    assert len(few) == 43


class _Threshold(Judge):
    """Sees the class of an image in its first pixel."""

    def __init__(self) -> None:
        super().__init__(Cnn(2, (8, 8)))

    def judged(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((len(images), 1), np.float32), images[:, 0, 0, 0].astype(np.int64)


def test_images_of_another_class_are_made_again() -> None:
    calls: list[tuple[int, int]] = []

    def make(labels: np.ndarray, seed: int) -> np.ndarray:
        calls.append((len(labels), seed))
        images = np.zeros((len(labels), 1, 2, 2), np.uint8)
        images[:, 0, 0, 0] = labels if seed == 9 else 1
        return images

    labels = np.array([0, 1, 0, 1])
    assert selected(make, labels, None, 7)[0][:, 0, 0, 0].tolist() == [1, 1, 1, 1]
    calls.clear()
    images, kept = selected(make, labels, _Threshold(), 7)
    assert images[:, 0, 0, 0].tolist() == kept.tolist() == [0, 1, 0, 1]
    assert calls == [(4, 7), (2, 8), (2, 9)]
    images, kept = selected(lambda labels, _: make(labels, 0), labels, _Threshold(), 7)
    assert images[:, 0, 0, 0].tolist() == kept.tolist() == [1, 1]
    with pytest.raises(UsageError, match="recognises 1 of 4 generated images after 50 attempts"):
        selected(lambda labels, _: make(labels, 0), np.array([0, 1, 0, 0]), _Threshold(), 7)


def test_samples_of_generators_can_be_augmented() -> None:
    image = np.zeros((1, 1, 12, 12), np.uint8)
    image[0, 0, 2:10, 6] = 255
    data = ImageArrays(image, np.zeros(1, np.int64))

    def drawn(augment: float, seed: int) -> torch.Tensor:
        return ImageDrawer(data, augment)([0], [np.random.default_rng(seed)], 0.0).images

    assert torch.equal(drawn(0.0, 1), torch.from_numpy(image).float() / 127.5 - 1)
    assert drawn(1.0, 1).shape == (1, 1, 12, 12)
    assert torch.equal(drawn(1.0, 1), drawn(1.0, 1))
    assert not torch.equal(drawn(1.0, 1), drawn(1.0, 2))
    colour = ImageArrays(image.repeat(3, 1) // np.array([1, 2, 4], np.uint8).reshape(3, 1, 1), data.labels)
    changed = ImageDrawer(colour, 1.0)([0], [np.random.default_rng(1)], 0.0).images[0]
    torch.testing.assert_close(changed[0], drawn(1.0, 1)[0, 0])
    assert changed[0].max() > changed[1].max() > changed[2].max()


def test_a_classifier_learns_generated_images(class_data: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    judge = tmp_path / "judge.safetensors"
    safetensors.torch.save_file(Cnn(2, (8, 8)).state_dict(), judge)
    small = ("--data", class_data, "--size", 16, "--batch", 16, "--epochs", 1)
    assert train("dcgan", *small, "--judge", judge, "--augment", 0.5, "-o", tmp_path / "generator") is None
    generated = ("--generated", tmp_path / "generator", "--generated-count", 40)
    assert train("cnn", *small, *generated, "-o", tmp_path / "mixed") is None
    with (tmp_path / "mixed" / "metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert int(float(row["step"])) == (48 + 40) // 16
    error = train("cnn", *small, *generated[:2], "-o", tmp_path / "a")
    assert "need both --generated RUN and --generated-count N" in str(error)
    error = train("dcgan", *small, *generated, "-o", tmp_path / "b")
    assert "--generated is for classifiers; recipe dcgan is for generate" in str(error)
    error = train("cnn", *small, "--augment", 0.5, "-o", tmp_path / "c")
    assert "--augment is for detectors and generators" in str(error)
    digits = Path(__file__).parents[2] / "edgevision" / "weights" / "dcgan.safetensors"
    error = train("cnn", *small, "--generated", digits, "--generated-count", 4, "-o", tmp_path / "d")
    assert "makes images of 0, 1, 2" in str(error)
    assert "the data has disc, square: train the generator on the same data" in str(error)
