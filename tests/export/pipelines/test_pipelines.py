"""Whole pipelines: exported, equal to diffusers, run from a text, built by TensorRT-RTX."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from edgevision.bundle.folder import Bundle
from edgevision.cli.commands.build import command as build
from edgevision.contract.inputs import Tensors
from edgevision.engines.opening import open_session
from edgevision.errors import CheckpointError, UsageError
from edgevision.export.half import with_fp16
from edgevision.export.pipelines import exporter
from edgevision.export.pipelines.exporter import GOLDEN_TEXTS, RunChoices, export_pipeline
from edgevision.export.pipelines.folder import read_pipeline_folder
from edgevision.export.pipelines.loading import load_pipeline
from edgevision.export.pipelines.module import SamplingRun
from edgevision.inference.texts import TextTokens
from tests.export.pipelines.tiny import KINDS, LENGTH, tokenizer, write_pipeline

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
"""The libraries' own, of their configuration and of numpy."""

STEPS = {"sd15": 2, "sd21": 2, "turbo": 1, "sdxl-turbo": 2, "lcm": 2}


def exported(kind: str, folder: Path, **choices: object) -> Bundle:
    path = write_pipeline(kind, folder)
    return export_pipeline(path, RunChoices(steps=STEPS[kind], **choices), folder / "bundle", lambda _: None)  # type: ignore[arg-type]  # settings


SAMPLED = ("sdxl-turbo", "lcm")
"""Kinds for CI; the others are parts of them."""


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=pytest.mark.slow if kind in SAMPLED else pytest.mark.exhaustive)
        for kind in KINDS
    ],
)
def test_a_pipeline_becomes_one_graph(kind: str, tmp_path: Path) -> None:
    bundle = exported(kind, tmp_path)
    record = bundle.graph("float").verifications[0]
    differences = {check.name: check.measured for check in record.checks}
    assert differences["largest difference of the PyTorch images from diffusers' pipeline"] < 1e-4
    golden = bundle.golden()
    assert isinstance(golden.inputs, Tensors)
    assert len({image.tobytes() for image in golden.answers[0]}) == len(GOLDEN_TEXTS), "texts matter"
    with open_session(bundle.path, engine="onnxruntime") as session:
        tokens = TextTokens(session.spec, session.tokenizers)(GOLDEN_TEXTS[0])
        assert np.array_equal(tokens, golden.inputs.arrays[1][0])
        (image,) = session.infer(golden.inputs[:1])
    assert np.abs(image.astype(int) - golden.answers[0][:1]).max() <= 1
    built = CliRunner().invoke(build, [str(bundle.path), "--engine", "tensorrt-rtx", "--sm", "89"])
    assert built.exit_code == 0, built.exception


@pytest.mark.slow
def test_the_device_needs_neither_torch_nor_diffusers(tmp_path: Path) -> None:
    bundle = exported("turbo", tmp_path)
    program = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'diffusers', 'transformers'):\n"
        "    sys.modules[name] = None\n"
        "from edgevision.__main__ import main\n"
        "main()\n"
    )
    arguments = (
        "generate",
        str(bundle.path),
        "--text",
        "the cat",
        "--count",
        "2",
        "-o",
        str(tmp_path / "out"),
    )
    subprocess.run([sys.executable, "-c", program, *arguments], check=True, capture_output=True)
    files = sorted((tmp_path / "out").glob("*.png"))
    assert len(files) == 2
    first, second = (cv2.imread(str(file)) for file in files)
    assert first is not None
    assert second is not None
    assert first.shape == (16, 16, 3)
    assert not np.array_equal(first, second)
    assert b"the cat" in files[0].read_bytes()


@pytest.mark.slow
def test_an_overflow_of_the_decoder_stays_in_float32(tmp_path: Path) -> None:
    """The decoder's values exceed FP16 although its images do not, as in the decoder of Stable Diffusion XL."""
    path = write_pipeline("sd15", tmp_path)
    file = path / "vae" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    for name in ("decoder.conv_in.weight", "decoder.conv_in.bias"):
        weights[name] = weights[name] * 1e6  # the normalisations that follow remove the factor
    save_file(weights, file, metadata={"format": "pt"})
    bundle = export_pipeline(path, RunChoices(steps=2), tmp_path / "bundle", lambda _: None)
    half = with_fp16(bundle, lambda _: None)
    assert all(record.passed for record in half.graph("fp16").verifications)
    graph = onnx.load(half.graph_path("fp16")).graph
    weights_of = {tensor.name: tensor.data_type for tensor in graph.initializer if len(tensor.dims) == 4}
    types = [
        weights_of[node.input[1]]
        for node in graph.node
        if node.op_type == "Conv" and node.input[1] in weights_of
    ]
    kept = types.count(onnx.TensorProto.FLOAT)
    assert 1 <= kept <= 8, (
        f"{kept} of {len(types)} convolutions in float32: those of the decoder's first block"
    )


def test_texts_become_the_tokens_of_transformers(tmp_path: Path) -> None:
    """Padding, cutting and upper case are those of the original tokenizer."""
    loaded = load_pipeline(read_pipeline_folder(write_pipeline("sd21", tmp_path)))
    original = tokenizer(tmp_path / "again", "!")
    for text in ("", "The cat & the DOG", "a " * 100):
        expected = original(text, padding="max_length", max_length=LENGTH, truncation=True).input_ids
        assert loaded.tokens((text,))[0].tolist() == expected


def test_settings_come_from_the_kind(tmp_path: Path) -> None:
    loaded = load_pipeline(read_pipeline_folder(write_pipeline("turbo", tmp_path)))
    assert exporter.run_options(loaded, RunChoices()) == SamplingRun(1, 0.0, (16, 16))
    given = exporter.run_options(loaded, RunChoices(3, 2.0, (32, 16)))
    assert given == SamplingRun(3, 2.0, (32, 16))
    with pytest.raises(UsageError, match="--size 18x16: .* multiples of 4"):
        exporter.run_options(loaded, RunChoices(size_wh=(18, 16)))


def test_a_part_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    path = write_pipeline("turbo", tmp_path)
    config = json.loads((path / "unet" / "config.json").read_text())
    config["block_out_channels"] = [8, 8]
    (path / "unet" / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="unet cannot be loaded"):
        load_pipeline(read_pipeline_folder(path))
    assert torch.is_grad_enabled()
