"""Networks that make images, from the module to the results of the Python API."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

import edgevision
from edgevision.bundle.folder import Bundle
from edgevision.cli.root import edgevision as command
from edgevision.contract.results import Translation
from edgevision.contract.spec import BatchRange, Fit
from edgevision.drawing.annotate import side_by_side
from edgevision.engines.opening import open_session
from edgevision.errors import RecipeError, UsageError, VerificationError
from edgevision.export.exporter import ExportOptions, export_bundle
from edgevision.graph.graft import graft_translator
from edgevision.graph.preprocess import PixelFormat
from edgevision.models.recipe import Recipe, SourceModel, load_recipe
from edgevision.sources.image_files import write_image
from edgevision.sources.synthetic_camera import SyntheticCamera
from edgevision.verification.comparison import compare_answers
from edgevision.verification.golden import verify_session

SIGNED = PixelFormat("rgb", scale=1 / 127.5, mean=(1.0, 1.0, 1.0))
"""Values from -1 to 1, as networks that end in Tanh have them."""


class Negative(nn.Module):
    """The negative of an image, twice as large; without a convolution, so that no colour can hide."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Image to image."""
        return nn.functional.interpolate(-x, scale_factor=2.0, mode="nearest")


class BlueTwice(nn.Module):
    """Doubles the last channel, beyond white."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Image to image."""
        return torch.cat((x[:, :2], 2 * x[:, 2:]), 1)


def recipe_of(
    module: nn.Module, pixels: PixelFormat, made: PixelFormat | None = None, fit: Fit = "letterbox"
) -> Recipe:
    source = SourceModel(module, "test", (), image_pixels=made)
    return replace(
        load_recipe("sr"),
        pixels=pixels,
        fit=fit,
        size_wh=(64, 48),
        untrained=lambda: source,
        training=None,
    )


def exported(recipe: Recipe, path: Path, **options: object) -> Bundle:
    chosen = ExportOptions(random_weights=True, **options)  # type: ignore[arg-type]  # the fields' own types
    return export_bundle(recipe, chosen, path, lambda _: None)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_values_and_colours_come_back(engine: str, tmp_path: Path) -> None:
    bundle = exported(recipe_of(Negative(), SIGNED), tmp_path / "b")
    assert bundle.spec.outputs[0].shape == (-1, 96, 128, 3)
    frame = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    with open_session(bundle.path, engine=engine) as session:
        (result,) = session([frame])
    assert isinstance(result, Translation)
    assert result.size_wh == (128, 96)
    assert np.array_equal(result.image, 255 - frame.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_values_are_limited_and_the_order_of_channels_is_kept(order: str, tmp_path: Path) -> None:
    pixels = PixelFormat("rgb" if order == "rgb" else "bgr")
    bundle = exported(recipe_of(BlueTwice(), pixels), tmp_path / "b")
    frame = np.full((48, 64, 3), (100, 150, 200), np.uint8)
    with open_session(bundle.path, engine="onnxruntime") as session:
        (result,) = session([frame])
    assert isinstance(result, Translation)
    expected = (200, 150, 200) if order == "rgb" else (100, 150, 255)
    assert tuple(result.image[0, 0]) == expected


def test_a_format_of_its_own_for_the_output(tmp_path: Path) -> None:
    class Levels(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x.flip(1) * 255).round()

    levels = PixelFormat("bgr", scale=1.0)
    bundle = exported(recipe_of(Levels(), PixelFormat("rgb"), levels), tmp_path / "b")
    frame = np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8)
    with open_session(bundle.path, engine="onnxruntime") as session:
        (result,) = session([frame])
    assert isinstance(result, Translation)
    assert np.array_equal(result.image, frame)


def test_a_wrong_output_format_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in the graph's conversion: verification compares with PyTorch's own."""

    def faulty(*arguments: object, **options: object) -> object:
        options["image_pixels"] = PixelFormat("bgr")
        return graft_translator(*arguments, **options)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr("edgevision.export.exporter.graft_translator", faulty)
    with pytest.raises(VerificationError, match="largest difference of an image's values"):
        exported(recipe_of(Negative(), SIGNED), tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_letterboxed_frame_has_no_padding_in_its_image(tmp_path: Path) -> None:
    bundle = exported(recipe_of(Negative(), SIGNED), tmp_path / "b")
    frame = np.full((90, 180, 3), 55, np.uint8)
    with edgevision.load(str(bundle.path)) as model:
        prediction = model(frame)
    made = prediction.plot()
    assert made.shape == (64, 128, 3)
    assert (made == 200).all()
    assert prediction.to_dict() == {"image": {"width": 128, "height": 64}}
    assert repr(prediction) == "<an image of 128x64 made from an image (180x90)>"
    assert len(prediction) == 0


@pytest.mark.parametrize("form", [BatchRange(2, 2, 2), BatchRange(1, 2, 3)])
def test_batches_are_verified(form: BatchRange, tmp_path: Path) -> None:
    bundle = exported(load_recipe("sr"), tmp_path / "b", size_wh=(48, 32), batch=form)
    with open_session(bundle.path, engine="openvino") as session:
        record = verify_session(session, bundle.golden())
    assert record.passed
    assert any("equal rows" in check.name for check in record.checks)


def test_other_sizes_are_errors(tmp_path: Path) -> None:
    with pytest.raises(
        Exception, match=r"takes frames of its own size, 64x48; received 128x96: omit --frame"
    ):
        exported(recipe_of(Negative(), SIGNED), tmp_path / "b", frame_wh=(128, 96))
    bundle = exported(recipe_of(Negative(), SIGNED, fit="exact"), tmp_path / "b")
    with (
        open_session(bundle.path, engine="onnxruntime") as session,
        pytest.raises(UsageError, match=r"frame is 60x40; expected 64x48, .* with --size 60x40"),
    ):
        session([np.zeros((40, 60, 3), np.uint8)])


def test_other_outputs_are_errors(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"one output, float32 \[B, 3, h, w\]; received"):
        exported(recipe_of(nn.Conv2d(3, 4, 3), SIGNED), tmp_path / "b")


def test_differences_are_counted_in_levels(tmp_path: Path) -> None:
    spec = exported(recipe_of(Negative(), SIGNED), tmp_path / "b").spec
    one = np.full((2, 96, 128, 3), 10, np.uint8)
    other = one.copy()
    other[1, 0, 0, 0] = 12
    largest, mean = compare_answers(spec, (one,), (other,), "float")
    assert (largest.measured, largest.passed) == (2.0, False)
    assert mean.measured == pytest.approx(2 / (96 * 128 * 3))
    assert all(check.passed for check in compare_answers(spec, (one,), (other,), "fp16"))


def test_run_writes_the_made_images(tmp_path: Path) -> None:
    bundle = exported(recipe_of(Negative(), SIGNED, fit="stretch"), tmp_path / "b")
    (tmp_path / "in").mkdir()
    write_image(tmp_path / "in" / "a.png", np.full((48, 64, 3), 5, np.uint8))
    for output in ("out", "out.mp4"):
        arguments = ["run", str(bundle.path), str(tmp_path / "in"), "-o", str(tmp_path / output)]
        done = CliRunner().invoke(command, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
    made = cv2.imread(str(tmp_path / "out" / "a.png"))
    assert made is not None
    assert made.shape == (96, 128, 3)
    assert (made == 250).all()
    video = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    found, frame = video.read()
    assert found
    assert frame.shape == (96, 128, 3)
    assert abs(float(frame.mean()) - 250) < 4


def test_both_images_are_shown_side_by_side() -> None:
    frame = SyntheticCamera().frame(0)
    shown = side_by_side(frame, 255 - frame, 320)
    assert shown.shape[1] == 320
    left, right = np.split(shown.astype(int), 2, axis=1)
    assert np.abs(left + right - 255).max() <= 2


def test_explain_and_tracking_are_refused(tmp_path: Path) -> None:
    bundle = exported(recipe_of(Negative(), SIGNED), tmp_path / "b")
    with edgevision.load(str(bundle.path)) as model, pytest.raises(UsageError, match="makes images"):
        model.explain(SyntheticCamera().frame(0), masks=8)


def test_a_table_of_images_is_refused(tmp_path: Path) -> None:
    bundle = exported(recipe_of(Negative(), PixelFormat("rgb")), tmp_path / "b")
    write_image(tmp_path / "a.png", np.zeros((48, 64, 3), np.uint8))
    arguments = ["run", str(bundle.path), str(tmp_path / "a.png"), "--csv", str(tmp_path / "a.csv")]
    with pytest.raises(UsageError, match=r"a\.csv would stay empty.*expected -o .*--jsonl"):
        raise CliRunner().invoke(command, arguments).exception or AssertionError("it should have failed")
    assert not (tmp_path / "a.csv").exists()
