"""State dicts of torchvision and timm, from the file to the bundle by the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from edgevision.bundle.folder import Bundle
from edgevision.checkpoint.reading import read_checkpoint
from edgevision.cli.root import edgevision
from edgevision.errors import CheckpointError, UsageError
from edgevision.export.exporter import ExportOptions, export_bundle
from edgevision.export.recognition import recipe_of
from edgevision.export.sources import recognised_source
from edgevision.models.recipe import load_recipe
from tests.models.classifiers.library_names import CASES, FAMILIES, library_of, library_sizes, seeded_state
from tests.models.segformer_names import SMALL_SHAPE, segformer_sizes

CASE = "timm/mobilenetv2_035"


def state_of(case: str) -> dict[str, torch.Tensor]:
    """A seeded state dict of three classes."""
    return seeded_state(library_sizes(CASES[case][1], 3, library_of(case)))


def _exported(*arguments: str | Path) -> str:
    done = CliRunner().invoke(edgevision, ["export", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_file_becomes_a_verified_bundle(tmp_path: Path) -> None:
    torch.save({"state_dict": state_of(CASE), "epoch": 3}, tmp_path / "mine.pth")
    (tmp_path / "names.txt").write_text("cat\ndog\neel\n")
    printed = _exported(
        *(tmp_path / "mine.pth", "-o", tmp_path / "b", "--size", "64", "--no-fp16"),
        *("--class-names", tmp_path / "names.txt"),
    )
    assert "MobileNetV2 x0.35 (timm), 3 classes" in printed
    assert (
        "input 64x64, centre crop of 0.875 of the shorter side, RGB, (value / 255 - 0.485 0.456 0.406)"
        in printed
    )
    assert "assumed: that of timm's MobileNetV2 x0.35; --size, --crop, --mean and --std change it" in printed
    spec = Bundle.open(tmp_path / "b").spec
    assert spec.classes == ("cat", "dog", "eel")
    assert spec.frames.fit == "center-crop"
    assert spec.frames.crop_fraction == 0.875
    assert spec.provenance is not None
    assert spec.provenance.recipe == "mobilenet_v2: MobileNetV2 x0.35 (timm), 3 classes"


def test_chosen_pixels_and_crop_are_in_the_graph(tmp_path: Path) -> None:
    torch.save(state_of(CASE), tmp_path / "mine.pth")
    common = (tmp_path / "mine.pth", "--size", "64", "--no-fp16")
    _exported(*common, "-o", tmp_path / "a")
    printed = _exported(*common, "-o", tmp_path / "b", *("--mean", "0.5", "--std", "0.5", "--crop", "1"))
    assert (
        "centre crop of 1 of the shorter side, RGB, (value / 255 - 0.5 0.5 0.5) / 0.5 0.5 0.5 (as chosen)"
        in printed
    )
    assumed, chosen = (Bundle.open(tmp_path / name) for name in "ab")
    assert chosen.spec.frames.crop_fraction == 1
    assert (assumed.golden().answers[0] != chosen.golden().answers[0]).any()
    options = ExportOptions(random_weights=True, crop_fraction=0.9)
    with pytest.raises(
        UsageError, match="--crop is for a classifier's centre crop; cnn fits frames by stretch"
    ):
        export_bundle(load_recipe("cnn"), options, tmp_path / "c", lambda _: None)


@pytest.mark.parametrize("case", CASES)
def test_the_recipe_is_recognised(case: str, tmp_path: Path) -> None:
    sizes = library_sizes(CASES[case][1], 3, library_of(case))
    torch.save({name: torch.zeros(size) for name, size in sizes.items()}, tmp_path / "a.pth")
    assert recipe_of(tmp_path / "a.pth").name == CASES[case][0]


def test_a_segformer_is_recognised(tmp_path: Path) -> None:
    sizes = segformer_sizes(SMALL_SHAPE, 3)
    torch.save({name: torch.zeros(size) for name, size in sizes.items()}, tmp_path / "a.pth")
    assert recipe_of(tmp_path / "a.pth").name == "segformer"


def _of_timm(state: dict[str, Any], average: dict[str, Any]) -> dict[str, Any]:
    return {"epoch": 1, "arch": "x", "state_dict": state, "state_dict_ema": average}


def _of_torchvision(state: dict[str, Any], average: dict[str, Any]) -> dict[str, Any]:
    averaged = {"n_averaged": torch.tensor(5)} | {f"module.{name}": value for name, value in average.items()}
    return {"model": state, "model_ema": averaged, "epoch": 1}


def _in_parallel(state: dict[str, Any], average: dict[str, Any]) -> dict[str, Any]:
    del state
    averaged = {"n_averaged": torch.tensor(5)}
    return {"model_ema": averaged | {f"module.module.{name}": value for name, value in average.items()}}


def _by_lightning(state: dict[str, Any], average: dict[str, Any]) -> dict[str, Any]:
    del state
    return {"state_dict": {f"net.{name}": value for name, value in average.items()}, "epoch": 1}


@pytest.mark.parametrize("wrapped", [_of_timm, _of_torchvision, _in_parallel, _by_lightning])
def test_averaged_weights_are_found_in_training_checkpoints(wrapped: Any, tmp_path: Path) -> None:
    state = state_of(CASE)
    average = {name: 2 * value if value.is_floating_point() else value for name, value in state.items()}
    torch.save(wrapped(state, average), tmp_path / "last.pth")
    assert recipe_of(tmp_path / "last.pth").name == "mobilenet_v2"
    source = recognised_source(FAMILIES["mobilenet_v2"], read_checkpoint(tmp_path / "last.pth"))
    assert torch.equal(source.module.state_dict()["classifier.1.bias"], average["classifier.bias"])


def test_models_with_other_padding_are_rejected_by_their_file_name(tmp_path: Path) -> None:
    torch.save(state_of("timm/efficientnet_b0"), tmp_path / "tf_efficientnet_b0.pth")
    with pytest.raises(CheckpointError, match="timm's tf_ models pad their maps on other sides"):
        load_recipe("efficientnet").load(tmp_path / "tf_efficientnet_b0.pth")
