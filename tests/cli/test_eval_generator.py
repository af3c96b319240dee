"""`edgevision eval` of a generator: its images against real ones, by the features of a classifier."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import safetensors.torch
import torch
from click.testing import CliRunner, Result

from edgevision.cli.root import edgevision
from edgevision.contract.inputs import BatchRange, sample_tensors
from edgevision.errors import UsageError
from edgevision.models.cnn import Cnn
from tests.generators import CLASSES, generator, images_of, write_generator

PER_CLASS = 12


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A generator, a classifier with random weights, images of the same generator, and others that are black."""
    folder = tmp_path_factory.mktemp("eval")
    spec = generator(BatchRange(1, 2, 4))
    bundle = write_generator(folder / "waves", spec).path
    torch.manual_seed(0)
    safetensors.torch.save_file(Cnn(3, (8, 16)).state_dict(), folder / "judge.safetensors")
    safetensors.torch.save_file(Cnn(4, (8, 16)).state_dict(), folder / "four.safetensors")
    tensors = sample_tensors(spec.tensors, 99, 3 * PER_CLASS)
    labels = tensors.arrays[1].reshape(-1)
    for number, (label, image) in enumerate(zip(labels, images_of(tensors), strict=True)):
        for kind, pixels in (("real", image), ("black", image // 16)):
            path = folder / kind / CLASSES[int(label)] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), pixels)
    return {
        "bundle": bundle,
        "judge": folder / "judge.safetensors",
        "four": folder / "four.safetensors",
        "real": folder / "real",
        "black": folder / "black",
    }


def invoke(*arguments: object) -> Result:
    given = ["eval", *(str(argument) for argument in arguments)]
    return CliRunner().invoke(edgevision, given, catch_exceptions=False)


def test_images_of_the_same_kind_are_nearer(files: dict[str, Path], tmp_path: Path) -> None:
    found = {}
    for kind in ("real", "black"):
        record = tmp_path / f"{kind}.json"
        said = invoke(files["bundle"], "--images", files[kind], "--judge", files["judge"], "--record", record)
        assert said.exit_code == 0, said.output
        assert "18 generated and 36 real images" in said.output
        found[kind] = json.loads(record.read_text())
    assert sum(found["real"]["classes"]) == found["real"]["images"] == 18
    assert 0 < found["real"]["distance"] < 3 * found["real"]["floor"]
    assert found["black"]["distance"] > 10 * found["real"]["distance"]
    assert found["real"]["precision"] > found["black"]["precision"] == 0


def test_figures_are_printed(files: dict[str, Path]) -> None:
    said = invoke(files["bundle"], "--images", files["real"], "--judge", files["judge"], "--limit", 10)
    assert "10 generated and 20 real images" in said.output
    assert "feature distance " in said.output
    assert "times\nclass asked for " in said.output


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            ["--images", "real", "--judge", "four"],
            "the classifier that compares images has 4 classes, waves 3",
        ),
        (["--images", "real"], "has 10 classes, waves 3; train one on the same data"),
        (["--images", "real", "--annotations", "real"], "--annotations has no use for a generator"),
        (["--images", "real", "--threshold", "0.5"], "--threshold is for models with boxes"),
    ],
)
def test_unusable_options_are_errors(files: dict[str, Path], options: list[str], expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        invoke(files["bundle"], *(files.get(option, option) for option in options))


def test_models_without_classes_and_data_of_other_classes_are_errors(
    files: dict[str, Path], tmp_path: Path
) -> None:
    plain = write_generator(tmp_path / "plain", generator(classes=())).path
    with pytest.raises(UsageError, match="waves makes no images of classes"):
        invoke(plain, "--images", files["real"], "--judge", files["judge"])
    other = tmp_path / "data" / "bright"
    other.mkdir(parents=True)
    for number in range(20):
        cv2.imwrite(str(other / f"{number}.png"), np.full((6, 6, 3), number * 10, np.uint8))
    with pytest.raises(UsageError, match="no class 'bright'; classes of the model: dark, middle, light"):
        invoke(files["bundle"], "--images", other.parent, "--judge", files["judge"])


def test_judge_is_an_error_for_other_tasks(brightness_bundle: Path, files: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="--judge compares generated images"):
        invoke(brightness_bundle, "--images", files["real"], "--judge", files["judge"])
