"""Folders of pipelines that are refused before anything is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edgevision.cli.commands.export import command
from edgevision.errors import CheckpointError, UnsafeCheckpointError, UsageError
from edgevision.export.pipelines.folder import PARTS, is_pipeline, read_pipeline_folder

INDEX: dict[str, Any] = {
    "_class_name": "StableDiffusionPipeline",
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def folder_with(path: Path, changes: dict[str, Any], weights: str = "model.safetensors") -> Path:
    path.mkdir(exist_ok=True)
    (path / "model_index.json").write_text(json.dumps({**INDEX, **changes}))
    for part in PARTS["StableDiffusionPipeline"]:
        (path / part).mkdir(exist_ok=True)
        (path / part / weights).write_bytes(b"")
    return path


def run(*arguments: object) -> None:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if result.exception is not None:
        raise result.exception


def test_parts_and_variants_are_found(tmp_path: Path) -> None:
    found = read_pipeline_folder(folder_with(tmp_path / "plain", {}))
    assert (found.kind, found.scheduler, found.parts["vae"]) == (
        "StableDiffusionPipeline",
        "DDIMScheduler",
        "AutoencoderKL",
    )
    assert found.variants == {"text_encoder": None, "unet": None, "vae": None}
    half = read_pipeline_folder(folder_with(tmp_path / "half", {}, "model.fp16.safetensors"))
    assert set(half.variants.values()) == {"fp16"}
    assert is_pipeline(tmp_path / "half")
    assert not is_pipeline(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"_class_name": "FluxPipeline"},
            "is a pipeline of class 'FluxPipeline'; expected one of StableDiff",
        ),
        ({"_class_name": None}, "is a pipeline of class None"),
        ({"unet": ["my_code", "UNet2DConditionModel"]}, "unet of .* is .'my_code'"),
        ({"unet": ["diffusers", "Evil"]}, "expected UNet2DConditionModel"),
        ({"vae": None}, "expected AutoencoderKL or AutoencoderTiny"),
        ({"scheduler": ["diffusers", "../x"]}, "expected a scheduler of diffusers"),
        ({"scheduler": "DDIM"}, "expected a scheduler of diffusers"),
    ],
)
def test_what_is_not_supported_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read_pipeline_folder(folder_with(tmp_path / "p", changes))


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsafeCheckpointError, match=r"weights in diffusion_pytorch_model.bin, a pickle"):
        read_pipeline_folder(folder_with(tmp_path / "p", {}, "diffusion_pytorch_model.bin"))
    with pytest.raises(CheckpointError, match="has no weights"):
        read_pipeline_folder(folder_with(tmp_path / "q", {}, "readme.txt"))


def test_a_broken_index_is_named(tmp_path: Path) -> None:
    path = folder_with(tmp_path / "p", {})
    (path / "model_index.json").write_text("{")
    with pytest.raises(CheckpointError, match="is not JSON"):
        read_pipeline_folder(path)
    (path / "model_index.json").write_text("[]")
    with pytest.raises(CheckpointError, match="expected a JSON object"):
        read_pipeline_folder(path)


def test_options_of_other_models_are_refused(tmp_path: Path) -> None:
    path = folder_with(tmp_path / "p", {})
    with pytest.raises(UsageError, match="--frame has no effect: omit it"):
        run(path, "-o", tmp_path / "b", "--frame", "64x64")
    with pytest.raises(UsageError, match="--steps, --guidance, --graphs and --memory are for pipelines"):
        run("cnn", "-o", tmp_path / "b", "--steps", "3")
    assert not (tmp_path / "b").exists()
