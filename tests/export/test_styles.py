"""Networks with several styles: one graph, whose style is chosen at export or when an engine opens it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

import edgevision
from edgevision.bundle.folder import Bundle
from edgevision.cli.root import edgevision as command
from edgevision.contract.overrides import label_number
from edgevision.contract.session import SessionOptions
from edgevision.contract.spec import BatchRange
from edgevision.engines.opening import open_session
from edgevision.engines.tensorrt.session import _refuse_overrides
from edgevision.errors import GraphError, UsageError
from edgevision.export.exporter import ExportOptions, export_bundle
from edgevision.export.modules.styles import (
    FixedStyle,
    bind_label,
    network_of,
    styles_difference,
    with_label,
)
from edgevision.export.network import onnx_from_module, run_network
from edgevision.models.recipe import load_recipe
from edgevision.sources.image_files import read_image, write_image

SIZE_WH = (32, 24)


class Powers(nn.Module):
    """The image times a number that depends on the label; one of the styles can be wrong."""

    def __init__(self, *factors: float) -> None:
        super().__init__()
        self.factors = nn.Parameter(torch.tensor(factors))

    def forward(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Images and labels to images."""
        return x * self.factors[label][:, None, None, None]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    options = ExportOptions(random_weights=True, size_wh=SIZE_WH, batch=BatchRange(1, 2, 3), head="style 2")
    path = tmp_path_factory.mktemp("style") / "b"
    return export_bundle(load_recipe("style"), options, path, lambda _: None)


@pytest.fixture(scope="module")
def frame() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("label", [None, "0", "style 1", "3"])
def test_an_engine_opens_with_a_style(
    bundle: Bundle, frame: np.ndarray, engine: str, label: str | None
) -> None:
    network = load_recipe("style").untrained().module
    number = 2 if label is None else int(label[-1])
    image = torch.from_numpy(frame[..., ::-1].copy()).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        made = network(image, torch.tensor([number]))[0].permute(1, 2, 0).numpy()[..., ::-1]
        other = network(image, torch.tensor([(number + 1) % 4]))[0].permute(1, 2, 0).numpy()[..., ::-1]
    with edgevision.load(str(bundle.path), engine=engine, options=SessionOptions(label=label)) as model:
        first, second = (found.result.image for found in model([frame, frame]))  # type: ignore[union-attr]
    assert np.abs(first - 255.0 * made).max() <= 1
    assert np.abs(first - 255.0 * other).max() > 3
    assert np.array_equal(first, second)
    assert bundle.spec.styles == bundle.spec.classes == ("style 0", "style 1", "style 2", "style 3")


def test_other_styles_are_errors(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--label 4: expected style 0, .*, or a number from 0 to 3"):
        open_session(bundle.path, engine="onnxruntime", options=SessionOptions(label="4"))
    with pytest.raises(UsageError, match="--label waves: expected style 0"):
        open_session(bundle.path, engine="openvino", options=SessionOptions(label="waves"))
    with pytest.raises(UsageError, match=r"--label 1: the model has no styles to choose from"):
        label_number("1", ())
    options = ExportOptions(random_weights=True, size_wh=SIZE_WH)
    plain = export_bundle(load_recipe("sr"), options, tmp_path / "plain", lambda _: None)
    for engine in ("onnxruntime", "openvino"):
        with pytest.raises(UsageError, match="the model has no styles"):
            open_session(plain.path, engine=engine, options=SessionOptions(label="0"))
    with pytest.raises(UsageError, match=r"the label is fixed in a TensorRT engine; received 1\. Export"):
        _refuse_overrides(SessionOptions(label="1"))


def test_the_command_line_chooses_a_style(bundle: Bundle, frame: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_image(tmp_path / "in" / "a.png", frame)
    made = {}
    for label in ("style 2", "1"):
        arguments = ["run", bundle.path, tmp_path / "in", "--label", label, "-o", tmp_path / label]
        done = CliRunner().invoke(command, [str(part) for part in arguments], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        (file,) = (tmp_path / label).rglob("*.png")
        made[label] = read_image(file)
    with open_session(bundle.path, engine="onnxruntime") as session:
        image = session([frame])[0].image  # type: ignore[union-attr]  # a Translation
    assert np.abs(made["style 2"].astype(int) - image).max() <= 1
    assert np.abs(made["1"].astype(int) - image).max() > 3


def test_every_style_is_compared_before_a_bundle_is_written() -> None:
    right, wrong = Powers(1.0, 2.0, 3.0), Powers(1.0, 2.0, 3.1)
    image = torch.rand(2, 3, 8, 8)
    network = network_of(FixedStyle(right, 0, 3), (8, 8), 2, dynamic_batch=False)
    assert styles_difference(FixedStyle(right, 0, 3), network, image) < 1e-6
    assert styles_difference(FixedStyle(wrong, 0, 3), network, image) > 0.02
    assert np.allclose(run_network(network, image.numpy())[0], image)
    assert np.allclose(run_network(with_label(network, 2), image.numpy())[0], 3 * image)
    assert np.allclose(run_network(with_label(network, 7), image.numpy())[0], 3 * image)  # limited
    assert styles_difference(nn.Identity(), network, image) == 0


def test_networks_without_labels_are_named() -> None:
    network = onnx_from_module(nn.Conv2d(3, 3, 1), (8, 8), 1, dynamic_batch=False)
    with pytest.raises(GraphError, match="has the inputs network_input; expected an image and label"):
        bind_label(network, 0, 2)
    with pytest.raises(GraphError, match=r"the graph has no value style\.label"):
        with_label(network, 0)
