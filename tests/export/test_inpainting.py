"""Export of inpainting: every graph keeps the known pixels exactly and fills the others like PyTorch."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import safetensors.torch
import torch
from click.testing import CliRunner

from edgevision.bundle.folder import Bundle
from edgevision.cli.root import edgevision
from edgevision.contract.inputs import BatchRange, Region, sample_tensors
from edgevision.contract.session import SessionOptions
from edgevision.contract.spec import Precision
from edgevision.engines.opening import open_session
from edgevision.errors import CheckpointError
from edgevision.export.exporter import ExportOptions, export_bundle
from edgevision.export.half import with_fp16
from edgevision.inference.editing import EditOptions, edit
from edgevision.models.generators.diffusion import Denoiser
from edgevision.models.generators.inpainting import Inpainter, inpainter_from_state_dict, inpainting_denoiser
from edgevision.models.recipe import load_recipe
from edgevision.sinks.files.png import text_of

SIDE = 28


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with text, two steps; layers that begin at zero get random weights, so that every input counts."""
    torch.manual_seed(0)
    denoiser = inpainting_denoiser(3, None, 16, SIDE)
    for weights in denoiser.parameters():
        if not weights.any():
            torch.nn.init.normal_(weights, std=0.2)
    denoiser.steps.fill_(2)
    path = tmp_path_factory.mktemp("weights") / "fill.safetensors"
    safetensors.torch.save_file(denoiser.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def bundle(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("bundles") / "fill"
    options = ExportOptions(weights, batch=BatchRange(1, 1, 3))
    made = export_bundle(load_recipe("inpaint-text"), options, path, lambda _: None)
    return with_fp16(made, lambda _: None)


@pytest.fixture(scope="module")
def given() -> Region:
    rng = np.random.default_rng(1)
    mask = np.where(rng.random((SIDE, SIDE)) < 0.4, 200, 127).astype(np.uint8)
    return Region(rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8), mask)


def test_the_graph_has_the_inputs_of_an_editor(bundle: Bundle) -> None:
    shapes = [(tensor.name, tensor.dtype, tensor.shape[1:]) for tensor in bundle.spec.inputs]
    assert shapes == [
        ("noise", "float32", (3, SIDE, SIDE)),
        ("original", "uint8", (SIDE, SIDE, 3)),
        ("mask", "uint8", (SIDE, SIDE)),
        ("tokens", "int32", (16,)),
    ]
    assert bundle.graph_path("fp16").is_file()


@pytest.mark.parametrize(
    ("engine", "precision"), [("onnxruntime", "float"), ("onnxruntime", "fp16"), ("openvino", "float")]
)
def test_known_pixels_are_exact_in_every_graph(
    bundle: Bundle, given: Region, engine: str, precision: Precision
) -> None:
    pytest.importorskip(engine)
    with open_session(bundle.path, engine=engine, options=SessionOptions(precision=precision)) as session:
        made = edit(session, given, EditOptions(text="a thin seven", seed=4)).image
        other = edit(session, given, EditOptions(text="a thick two", seed=4)).image
    known = given.mask < 128
    assert np.array_equal(made[known], given.image[known])
    assert not np.array_equal(made[~known], given.image[~known])
    assert not np.array_equal(made, other), "the text has an effect"


def test_images_are_pytorch_s(bundle: Bundle, weights: Path) -> None:
    source = load_recipe("inpaint-text").load(weights)
    tensors = sample_tensors(bundle.spec.tensors, 5, 3)
    with torch.no_grad():
        raw = source.module(*(torch.from_numpy(array) for array in tensors.arrays)).numpy()
    with open_session(bundle.path, engine="onnxruntime") as session:
        (images,) = session.infer(tensors)
    expected = np.rint(raw * 255)[:, ::-1].transpose(0, 2, 3, 1)
    assert np.abs(images - expected).max() <= 1


def test_edit_command(bundle: Bundle, given: Region, tmp_path: Path) -> None:
    for name, image in (("photo", given.image), ("mask", given.mask)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), image)
    files = [str(tmp_path / name) for name in ("photo.png", "mask.png", "out.png")]
    words = ["edit", str(bundle.path), files[0], "--mask", files[1], "-o", files[2], "--text", "a seven"]
    done = CliRunner().invoke(edgevision, [*words, "--engine", "onnxruntime"], catch_exceptions=False)
    assert "of photo.png with seed 0" in done.output
    made = cv2.imread(files[2])
    assert made is not None
    assert np.array_equal(made[given.mask < 128], given.image[given.mask < 128])
    assert text_of(Path(files[2]).read_bytes())["edgevision:text"] == "a seven"
    again = CliRunner().invoke(edgevision, [*words[:-4], "-o", "out.gif"])
    assert "is not a file named *.png" in str(again.exception)


def test_other_commands_name_edit(bundle: Bundle, tmp_path: Path) -> None:
    for words in (
        ["eval", "--images", str(tmp_path)],
        ["generate", "--text", "a seven", "-o", str(tmp_path / "a")],
    ):
        done = CliRunner().invoke(
            edgevision, [words[0], str(bundle.path), *words[1:], "--engine", "onnxruntime"]
        )
        assert "run: edgevision edit BUNDLE IMAGE --mask MASK" in str(done.exception)


def test_a_grey_model_keeps_colours() -> None:
    torch.manual_seed(0)
    model = Inpainter(inpainting_denoiser(1, 2, 16, 8), steps=1).eval()
    image = torch.randint(0, 256, (1, 8, 8, 3), dtype=torch.uint8)
    mask = torch.zeros((1, 8, 8), dtype=torch.uint8)
    mask[:, :4] = 128
    with torch.no_grad():
        made = model(torch.randn(1, 1, 8, 8), image, mask, torch.tensor([2]))
    levels = (made * 255).round()[0].permute(1, 2, 0).flip(-1)
    assert torch.equal(levels[4:], image[0, 4:].float())
    assert torch.equal(made[0, 0, :4], made[0, 2, :4])


def test_the_hole_s_content_has_no_effect() -> None:
    torch.manual_seed(0)
    denoiser = inpainting_denoiser(3, None, 16, 8)
    for weights in denoiser.parameters():
        torch.nn.init.normal_(weights, std=0.1)
    model = Inpainter(denoiser, steps=2).eval()
    mask = torch.zeros((2, 8, 8), dtype=torch.uint8)
    mask[:, 2:6, 2:6] = 255
    image = torch.randint(0, 256, (1, 8, 8, 3), dtype=torch.uint8).repeat(2, 1, 1, 1)
    image[1, 2:6, 2:6] = 255 - image[0, 2:6, 2:6]
    with torch.no_grad():
        made = model(torch.randn(1, 3, 8, 8).repeat(2, 1, 1, 1), image, mask, torch.zeros((2, 16)))
    torch.testing.assert_close(made[0], made[1], rtol=0, atol=1e-6)


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(CheckpointError, match="takes 2 maps of the known pixels; this one takes 0"):
        inpainter_from_state_dict(Denoiser(width=16).state_dict())


@pytest.mark.slow
def test_the_model_with_classes(given: Region, tmp_path: Path) -> None:
    options = ExportOptions(random_weights=True)
    made = export_bundle(load_recipe("inpaint"), options, tmp_path / "b", lambda _: None)
    assert made.spec.classes[-2:] == ("9", "any")
    with open_session(made.path, engine="onnxruntime") as session:
        freely = edit(session, given, EditOptions())
    assert freely.origin.label_name == "any"
    known = given.mask < 128
    assert np.array_equal(freely.image[known], given.image[known])
