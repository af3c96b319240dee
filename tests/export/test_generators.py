"""Export of networks that make images: verified against PyTorch for the same noise and labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgevision.bundle.folder import Bundle
from edgevision.contract.inputs import BatchRange, Tensors, sample_tensors
from edgevision.contract.spec import translate_outputs
from edgevision.engines.opening import open_session
from edgevision.errors import GraphError, RecipeError, UsageError, VerificationError
from edgevision.export.exporter import ExportOptions, export_bundle
from edgevision.export.generators import exporter
from edgevision.export.half import with_fp16
from edgevision.graph.contract import load_model
from edgevision.graph.graft import graft_generator
from edgevision.graph.limits.check import readable_by
from edgevision.models.images import images_bgr
from edgevision.models.module_recipe import ModuleRecipe
from edgevision.models.recipe import Recipe
from tests.export.tiny_generators import CLASSES, SIDE, SIGNED, UNIT, Digits, Sampler, recipe_of
from tests.generators import generator, generator_graph

DYNAMIC = BatchRange(1, 2, 8)


@pytest.fixture(autouse=True)
def _a_recipe_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its hash enters the provenance."""
    monkeypatch.chdir(tmp_path)
    Path("tiny.py").write_text("# the recipe\n")


def export(recipe: Recipe, batch: BatchRange | None = None, **options: Any) -> tuple[Bundle, list[str]]:
    lines: list[str] = []
    options = {"batch": batch or BatchRange(), **options}
    return export_bundle(recipe, ExportOptions(**options), Path("bundle"), lines.append), lines


def levels_of(module: nn.Module, tensors: Tensors, *, low: float = 0.0) -> np.ndarray:
    """The module's images as uint8 ``[B,H,W,3]`` BGR, computed apart from the exporter."""
    noise, *labels = (torch.from_numpy(array) for array in tensors.arrays)
    with torch.no_grad():
        raw = module.eval()(noise, *(label.long() for label in labels)).double().numpy()
    grey = np.clip(np.rint((raw - low) / (1 - low) * 255), 0, 255).astype(np.uint8)
    if grey.shape[1] == 1:
        grey = grey.repeat(3, 1)
    images: np.ndarray = grey[:, ::-1].transpose(0, 2, 3, 1)
    return images


GREY = (Digits(), (16, 1, 1), {"classes": CLASSES}, 0.0)
COLOUR = (Digits(3, conditional=False, tanh=True), (16, 1, 1), {"image_pixels": SIGNED}, -1.0)
SAMPLER = (Sampler(), (3, 16, 12), {"classes": CLASSES, "image_pixels": UNIT}, 0.0)


@pytest.mark.parametrize(
    ("module", "noise_shape", "given", "low", "batch"),
    [
        pytest.param(*GREY, DYNAMIC, id="grey digits of a class, dynamic"),
        pytest.param(*COLOUR, BatchRange(), id="colour without classes, -1 to 1, static"),
        pytest.param(*SAMPLER, BatchRange(), id="sampler of four steps, static"),
        pytest.param(*GREY, BatchRange(3, 3, 3), id="grey, batch of 3", marks=pytest.mark.slow),
        pytest.param(*COLOUR, DYNAMIC, id="colour, dynamic", marks=pytest.mark.slow),
        pytest.param(*SAMPLER, DYNAMIC, id="sampler, dynamic", marks=pytest.mark.slow),
    ],
)
def test_the_graph_makes_pytorch_s_images(
    module: nn.Module, noise_shape: tuple[int, ...], given: dict[str, Any], low: float, batch: BatchRange
) -> None:
    bundle, lines = export(recipe_of(module, noise_shape, **given), batch)
    spec = bundle.spec
    assert spec.task == "generate"
    assert [t.name for t in spec.inputs] == ["noise", "label"][: 2 if "classes" in given else 1]
    tensors = sample_tensors(spec.tensors, 77, batch.max)
    expected = levels_of(module, tensors, low=low)
    assert expected.std() > 10, "the images show something"
    for engine in ("onnxruntime", "openvino"):
        pytest.importorskip(engine)
        with open_session(bundle.path, engine=engine) as session:
            difference = np.abs(session.infer(tensors)[0].astype(int) - expected)
        assert difference.max() <= 1, engine
        assert difference.mean() <= 0.01, engine
    (record,) = bundle.graph("float").verifications
    measured = {check.name: check.measured for check in record.checks}
    assert measured["largest difference of an image's values"] <= 1
    assert measured["relative difference of the network's raw outputs"] < 1e-4
    assert lines[-1].startswith("verified 8 images against PyTorch: largest difference ")
    unread = {
        row.name: [str(one) for one in found] for row, found in readable_by(load_model(bundle.graph_path()))
    }
    assert not any(unread.values()), unread


def test_golden_images_are_pytorch_s(tmp_path: Path) -> None:
    module = Digits()
    bundle, _ = export(recipe_of(module, classes=CLASSES))
    golden = Bundle.open(bundle.path).golden()
    assert isinstance(golden.inputs, Tensors)
    assert golden.inputs.arrays[1].tolist() == list(range(8))
    np.testing.assert_array_equal(golden.answers[0], levels_of(module, golden.inputs))
    assert bundle.spec.outputs == translate_outputs((SIDE, SIDE))
    with pytest.raises(UsageError, match="the model takes no frames"):
        _ = golden.frames


def test_fp16_is_verified_with_its_own_limits() -> None:
    bundle, _ = export(recipe_of(Digits(), classes=CLASSES), DYNAMIC)
    lines: list[str] = []
    half = with_fp16(bundle, lines.append)
    assert {record.engine for record in half.graph("fp16").verifications} == {"onnxruntime", "emulated fp16"}
    measured = [c for r in half.graph("fp16").verifications for c in r.checks if c.name.startswith("mean")]
    assert all(0 < check.measured <= 0.5 for check in measured), "rounding shows, and is small"
    assert lines[-1].startswith("FP16 graph verified: ")


def test_a_graph_of_other_images_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporter, "images_bgr", lambda raw, pixels: images_bgr(raw.flip(3), pixels))
    with pytest.raises(VerificationError, match="the first tensor that differs is image: largest difference"):
        export(recipe_of(Digits(), classes=CLASSES))
    assert not Path("bundle").exists()


def test_a_wrong_pixel_format_is_remarked() -> None:
    _, lines = export(recipe_of(Digits(3, conditional=False, tanh=True), image_pixels=UNIT))
    assert any("of the values are outside of black to white" in line for line in lines)


class Random(Digits):
    def forward(self, noise: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        return super().forward(noise + torch.randn_like(noise), label)


class OverBatch(Digits):
    def forward(self, noise: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        return super().forward(noise - noise.mean(0, keepdim=True), label)


class Unlabelled(Digits):
    def forward(self, noise: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        del label
        return super().forward(noise)


class Flat(Digits):
    def forward(self, noise: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        return super().forward(noise, label).flatten(1)


class Broken(Digits):
    def forward(self, noise: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        return super().forward(noise, label) / 0


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (
            Random(),
            "two calls with the same noise return different images; expected a network that draws no random",
        ),
        (
            OverBatch(),
            "an image changes by .* with the others of its batch; expected images that do not depend",
        ),
        (
            Unlabelled(conditional=False),
            "the images do not depend on the input label; remove classes from the recipe",
        ),
        (
            Flat(),
            r"returns torch\.float32 \[2, 784\] for float32 \[2, 16, 1, 1\], int32 \[2\]; expected images float32",
        ),
        (Broken(), "the images contain NaN or infinite values; check the weights"),
        (nn.Linear(3, 3), r"does not run on float32 \[2, 16, 1, 1\], int32 \[2\]: .*TypeError"),
    ],
)
def test_networks_that_cannot_be_generators(module: nn.Module, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        export(recipe_of(module, classes=CLASSES))
    assert not Path("bundle").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size_wh": (32, 32)}, "tiny makes images from noise and takes no frames: omit --size"),
        ({"frame_wh": (32, 32), "layout": "nv12"}, "omit --frame and --layout"),
        ({"images": Path()}, "omit --images"),
        ({"classes": ("one",)}, "--class-names names 1; the checkpoint has 10 classes"),
    ],
)
def test_options_of_frames_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        export(recipe_of(Digits(), classes=CLASSES), **options)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"noise_shape": ()}, r"noise_shape is \(\); expected the shape of the noise for one image"),
        ({"noise_shape": (16, 0)}, r"noise_shape is \(16, 0\)"),
        (
            {"size_wh": (28, 28)},
            "size_wh is for models that take images; task generate takes noise: remove it",
        ),
        ({"pixels": UNIT}, "pixels is for models that take images"),
        ({"image_pixels": "rgb"}, "image_pixels is 'rgb'; expected a format"),
        ({"task": "classify", "size_wh": (8, 8), "pixels": UNIT}, "noise_shape is for task generate"),
    ],
)
def test_recipes_of_generators_are_checked(given: dict[str, Any], message: str) -> None:
    fields = {"task": "generate", "module": Digits, "noise_shape": (16, 1, 1), "classes": CLASSES, **given}
    with pytest.raises(RecipeError, match=message):
        ModuleRecipe(**fields)


def test_a_finished_graph_is_not_grafted_again() -> None:
    spec = generator()
    with pytest.raises(GraphError, match="already follows the contract"):
        graft_generator(generator_graph(spec), image_pixels=UNIT, inputs=spec.tensors)
