"""Text to image from the recipe to images: one graph that takes noise and the tokens of a text."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from edgevision.bundle.folder import Bundle
from edgevision.contract.inputs import tensors_for
from edgevision.engines.opening import open_session
from edgevision.errors import UsageError
from edgevision.export.exporter import ExportOptions, export_bundle
from edgevision.inference.generation import GenerateOptions, generate_each
from edgevision.models.images import images_bgr
from edgevision.models.recipe import load_recipe

TEXT = "a thick handwritten seven, slanted left, red on white"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Random weights."""
    options = ExportOptions(random_weights=True)
    path = tmp_path_factory.mktemp("text2image") / "bundle"
    return export_bundle(load_recipe("text2image"), options, path, lambda _: None)


def test_the_contract(bundle: Bundle) -> None:
    spec = bundle.spec
    found = [(tensor.name, tensor.dtype, tensor.shape) for tensor in spec.tensors.tensors]
    assert found == [("noise", "float32", (4, 28, 28)), ("tokens", "int32", (16,))]
    assert [(one.name, one.dtype, one.shape[1:]) for one in spec.outputs] == [("image", "uint8", (56, 56, 3))]
    assert len(bundle.tokenizer_files()) == 1
    tokens = bundle.golden().inputs.arrays[1]  # type: ignore[union-attr]  # a generator's golden inputs are tensors
    assert len(np.unique(tokens, axis=0)) == len(tokens)
    assert (tokens[-1] == 0).all()


def test_images_equal_those_of_pytorch(bundle: Bundle) -> None:
    source = load_recipe("text2image").untrained()
    with open_session(bundle.path, engine="onnxruntime") as session:
        (made,) = generate_each(session, GenerateOptions(seed=5, text=TEXT))
        with pytest.raises(UsageError, match="pass one"):
            next(generate_each(session, GenerateOptions(seed=5)))
    tokens = np.array([source.token_examples[0]], np.int32)
    arrays = tensors_for(bundle.spec.tensors, 5, [0], [0], tokens).arrays
    with torch.no_grad():
        raw = source.module(*(torch.from_numpy(array) for array in arrays))
    expected = images_bgr(raw, load_recipe("text2image").pixels)[0]
    assert np.abs(made.image.astype(int) - expected.astype(int)).max() <= 1
    assert made.origin.text == TEXT


def test_the_command_needs_no_torch(bundle: Bundle, tmp_path: Path) -> None:
    names = ("torch", "onnx", "safetensors", "diffusers", "transformers")
    code = (
        f"import sys; sys.modules.update({{name: None for name in {names!r}}})\n"
        "from edgevision.cli import main; main()"
    )
    arguments = [
        "generate",
        str(bundle.path),
        "--text",
        TEXT,
        "--count",
        "2",
        "-o",
        str(tmp_path / "grid.png"),
    ]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    image = cv2.imread(str(tmp_path / "grid.png"))
    assert image is not None
    assert image.shape == (56, 2 * 56 + 2, 3)
