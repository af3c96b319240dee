"""State dicts of torchvision and timm, from the file to the bundle by the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from edgevision.bundle.folder import Bundle
from edgevision.checkpoint.reading import read_checkpoint
from edgevision.cli.root import edgevision
from edgevision.contract.spec import BatchRange
from edgevision.engines.opening import open_session
from edgevision.errors import CheckpointError, UsageError
from edgevision.export.classifiers.source import recognised_source
from edgevision.export.exporter import ExportOptions, export_bundle
from edgevision.export.recognition import recipe_of
from edgevision.graph.preprocess import PixelFormat
from edgevision.models.recipe import load_recipe
from edgevision.verification.comparison import compare_answers
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


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A bundle ``b`` beside its checkpoint ``mine.pth``, and what the command printed."""
    folder = tmp_path_factory.mktemp("classifier")
    torch.save({"state_dict": state_of(CASE), "epoch": 3}, folder / "mine.pth")
    (folder / "names.txt").write_text("cat\ndog\neel\n")
    options = ("--size", "64", "--no-fp16", "--class-names", folder / "names.txt")
    return folder / "b", _exported(folder / "mine.pth", "-o", folder / "b", *options)


def test_a_file_becomes_a_verified_bundle(exported: tuple[Path, str]) -> None:
    path, printed = exported
    assert "MobileNetV2 x0.35 (timm), 3 classes" in printed
    assert "input 64x64, centre crop of 0.875 of the shorter side, RGB, (value / 255 - 0.485 0.456" in printed
    assert "assumed: input of timm's MobileNetV2 x0.35; --size, --crop, --mean and --std change it" in printed
    spec = Bundle.open(path).spec
    assert spec.classes == ("cat", "dog", "eel")
    assert spec.frames.fit == "center-crop"
    assert spec.frames.crop_fraction == 0.875
    assert spec.provenance is not None
    assert spec.provenance.recipe == "mobilenet_v2: MobileNetV2 x0.35 (timm), 3 classes"


def test_chosen_pixels_and_crop_are_in_the_graph(exported: tuple[Path, str], tmp_path: Path) -> None:
    checkpoint = exported[0].parent / "mine.pth"
    chosen = ("--size", "64", "--no-fp16", "--mean", "0.5", "--std", "0.5", "--crop", "1")
    printed = _exported(checkpoint, "-o", tmp_path / "b", *chosen)
    assert "centre crop of 1 of the shorter side, RGB, (value / 255 - 0.5 0.5 0.5) / 0.5 0.5 0.5" in printed
    assert "(as chosen)" in printed
    bundle = Bundle.open(tmp_path / "b")
    assert bundle.spec.frames.crop_fraction == 1
    assert bundle.spec.classes == ("0", "1", "2")
    assert (Bundle.open(exported[0]).golden().answers[0] != bundle.golden().answers[0]).any()
    options = ExportOptions(random_weights=True, crop_fraction=0.9)
    with pytest.raises(
        UsageError, match="--crop is for a classifier's centre crop; cnn fits frames by stretch"
    ):
        export_bundle(load_recipe("cnn"), options, tmp_path / "c", lambda _: None)


@pytest.mark.parametrize(
    "recipe", ["vit", "convnext", pytest.param("segformer", marks=pytest.mark.exhaustive)]
)
def test_dynamic_batches_of_camera_frames(recipe: str, tmp_path: Path) -> None:
    state = (
        seeded_state(segformer_sizes(SMALL_SHAPE, 3)) if recipe == "segformer" else state_of(f"timm/{recipe}")
    )
    torch.save(state, tmp_path / "a.pth")
    batch = BatchRange(1, 2, 3)
    options = ExportOptions(tmp_path / "a.pth", size_wh=(64, 64), frame_wh=(160, 90), batch=batch)
    bundle = export_bundle(load_recipe(recipe), options, tmp_path / "b", lambda _: None)
    with open_session(bundle.path, engine="openvino") as session:
        frames = np.repeat(bundle.golden().frames[:1], 3, axis=0)
        expected = tuple(np.repeat(array[:1], 3, axis=0) for array in bundle.golden().answers)
        checks = compare_answers(bundle.spec, expected, session.infer(frames), "float")
    assert all(check.passed for check in checks), checks


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
    torch.save(state_of("timm/efficientnet_b0"), tmp_path / "model.pth")
    source = load_recipe("efficientnet").load(tmp_path / "model.pth")
    assert source.input_origin.startswith(
        "assumed: input of timm's EfficientNet-B0, not of a tf_ model; --size"
    )
    (tmp_path / "model.pth").rename(tmp_path / "tf_efficientnet_b0.pth")
    with pytest.raises(CheckpointError, match="timm's tf_ models pad their maps on other sides"):
        load_recipe("efficientnet").load(tmp_path / "tf_efficientnet_b0.pth")


PRETRAINED = {"input_size": [3, 96, 128], "crop_pct": 0.9, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}


def _beside(folder: Path, **changes: Any) -> None:
    config = {"architecture": "mobilenetv2_035", "num_classes": 3, "pretrained_cfg": PRETRAINED}
    (folder / "config.json").write_text(json.dumps(config | changes))


def test_timm_s_configuration_states_the_input(tmp_path: Path) -> None:
    torch.save(state_of(CASE), tmp_path / "model.pth")
    _beside(tmp_path, label_names=["cat", "dog", "eel"])
    source = load_recipe("mobilenet_v2").load(tmp_path / "model.pth")
    assert (source.size_wh, source.crop_fraction) == ((128, 96), 0.9)
    assert source.pixels == PixelFormat("rgb", 1 / 255, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    assert source.input_origin == "stated in config.json: mobilenetv2_035"
    assert source.classes == ("cat", "dog", "eel")


@pytest.mark.parametrize(
    "changes",
    [
        {"num_classes": 4},
        {"architecture": "efficientnet_b0"},
        {"architecture": None},
        {"pretrained_cfg": [1]},
    ],
)
def test_a_configuration_of_another_model_is_not_used(changes: dict[str, Any], tmp_path: Path) -> None:
    torch.save(state_of(CASE), tmp_path / "model.pth")
    _beside(tmp_path, **changes)
    source = load_recipe("mobilenet_v2").load(tmp_path / "model.pth")
    assert source.input_origin.startswith("assumed: ")
    assert source.crop_fraction == 0.875


def test_impossible_values_of_a_configuration_are_not_used(tmp_path: Path) -> None:
    torch.save(state_of(CASE), tmp_path / "model.pth")
    _beside(tmp_path, pretrained_cfg={"input_size": [3, 0, 9], "crop_pct": "x", "mean": [1e9] * 3, "std": 1})
    source = load_recipe("mobilenet_v2").load(tmp_path / "model.pth")
    assert (source.size_wh, source.crop_fraction) == ((224, 224), 0.875)
    assert source.pixels is not None
    assert source.pixels.mean == (0.485, 0.456, 0.406)
    for text in ("[]", "{", "[" * 100_000):
        (tmp_path / "config.json").write_text(text)
        assert load_recipe("mobilenet_v2").load(tmp_path / "model.pth").input_origin.startswith("assumed: ")


def test_models_with_other_padding_are_rejected_by_their_configuration(tmp_path: Path) -> None:
    torch.save(state_of("timm/efficientnet_b0"), tmp_path / "model.pth")
    _beside(tmp_path, architecture="tf_efficientnet_b0")
    with pytest.raises(CheckpointError, match="timm's tf_ models pad their maps on other sides"):
        load_recipe("efficientnet").load(tmp_path / "model.pth")


def test_a_segformer_s_class_names_are_in_its_configuration(tmp_path: Path) -> None:
    torch.save(seeded_state(segformer_sizes(SMALL_SHAPE, 2)), tmp_path / "model.pth")
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"0": "wall", "1": "sky"}}))
    assert load_recipe("segformer").load(tmp_path / "model.pth").classes == ("wall", "sky")
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"0": "wall", "1": 5}}))
    assert load_recipe("segformer").load(tmp_path / "model.pth").classes == ("0", "1")
