"""A recipe of one's own network: loading, heads, outputs that do not fit, and comparison with PyTorch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgevision.bundle.folder import Bundle
from edgevision.contract.spec import KeypointSpec, NmsSpec, Task
from edgevision.errors import GraphError, RecipeError, VerificationError
from edgevision.export.exporter import ExportOptions, export_bundle, source_session
from edgevision.graph.heads import AnchorFreeHead, DetectionHead, YoloV5RawHead
from edgevision.models.module_recipe import ModuleRecipe, PixelFormat

SIZE_WH = (96, 64)
NMS = NmsSpec(candidates=100, max_detections=50)
STRIDES = (8, 16, 32)


class Columns(nn.Module):
    """Raw outputs of YOLOv8's form, ``[B, 4 + values, N]`` over the cells of a map, decoded if `decoded`."""

    def __init__(self, values: int, *, decoded: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.values, self.decoded = values, decoded
        self.conv = nn.Conv2d(3, 4 + values, 8, 8)

    def forward(self, images: torch.Tensor) -> Any:
        maps = self.conv(images)
        y, x = torch.meshgrid(torch.arange(maps.shape[2]), torch.arange(maps.shape[3]), indexing="ij")
        cells = torch.stack((x.flatten(), y.flatten())) * 8.0 + 4
        values = maps.flatten(2)
        scores = (4 * values[:, 4:]).sigmoid()
        xy, wh = cells + values[:, :2], 10 * values[:, 2:4].exp()
        if not self.decoded:
            return torch.cat((xy, wh, scores), 1)
        return torch.cat((xy - wh / 2, xy + wh / 2), 1).transpose(1, 2), scores.transpose(1, 2)


class Maps(nn.Module):
    """Raw maps of `AnchorFreeHead` with masks: boxes, classes and coefficients of each stride, and prototypes."""

    def __init__(self, *channels: int, prototypes: int = 0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convs = nn.ModuleList(nn.Conv2d(3, count, s, s) for count in channels for s in STRIDES)
        self.prototypes = nn.Conv2d(3, prototypes, 4, 4) if prototypes else None

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        found = [conv(images) for conv in self.convs]
        return [*found, self.prototypes(images)] if self.prototypes is not None else found


def own(task: Task, module: Any, classes: int, **more: Any) -> ModuleRecipe:
    names = tuple(f"class{number}" for number in range(classes))
    return ModuleRecipe(
        task=task, module=module, size_wh=SIZE_WH, pixels=PixelFormat(), classes=names, **more
    )


def exported(recipe: ModuleRecipe, folder: Path, **options: Any) -> Bundle:
    folder.mkdir(exist_ok=True)
    file = folder / "mine.py"
    file.touch()
    return export_bundle(recipe.recipe(file), ExportOptions(nms=NMS, **options), folder / "b", lambda _: None)


HEADS: dict[str, tuple[Task, Any, DetectionHead | str]] = {
    "by name": ("detect", lambda: Columns(3), "yolov8"),
    "anchor-free": ("detect", lambda: Maps(4, 3), AnchorFreeHead(STRIDES, 3, bins=1)),
    "anchor-free with masks": (
        "instances",
        lambda: Maps(4, 3, 5, prototypes=5),
        AnchorFreeHead(STRIDES, 3, bins=1, mask_count=5),
    ),
    "yolov5 with masks": (
        "instances",
        lambda: Maps(2 * (5 + 3 + 4), prototypes=4),
        YoloV5RawHead(
            (((8, 6), (12, 9)), ((20, 15), (24, 30)), ((40, 40), (50, 30))), STRIDES, 3, mask_count=4
        ),
    ),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_head_of_the_library(name: str, tmp_path: Path) -> None:
    task, module, head = HEADS[name]
    bundle = exported(own(task, module, 3, head=head), tmp_path, frame_wh=(160, 100))
    (record,) = bundle.graph("float").verifications
    assert record.passed
    assert any(check.name == "candidates compared" and check.measured > 10 for check in record.checks)
    assert bundle.spec.task == task
    assert (bundle.golden().answers[1] > 0.01).any()


def test_a_pose_by_name_with_named_keypoints(tmp_path: Path) -> None:
    recipe = own("pose", lambda: Columns(1 + 6), 1, head="yolov8-pose", keypoints=("a", "b", "c"))
    bundle = exported(recipe, tmp_path)
    assert bundle.spec.keypoints == KeypointSpec(("a", "b", "c"))
    assert bundle.spec.outputs[3].shape == (-1, 50, 3, 3)
    with pytest.raises(RecipeError, match="head yolov8-pose of 1 classes expects"):
        exported(own("pose", lambda: Columns(1 + 6), 1, head="yolov8-pose", keypoints=("a",)), tmp_path)


def test_the_reference_session_decodes_by_the_head(tmp_path: Path) -> None:
    recipe = own("detect", lambda: Columns(3), 3, head="yolov8")
    bundle = exported(recipe, tmp_path)
    with source_session(recipe.recipe(tmp_path / "mine.py"), ExportOptions(nms=NMS)) as session:
        answers = session.infer(bundle.golden().frames[:1])
    for actual, expected in zip(answers, bundle.golden().answers, strict=True):
        np.testing.assert_allclose(actual, expected[:1], rtol=1e-5)


class Bright(Columns):
    """Its path depends on the image, which no trace contains: the graph of a black image is another network."""

    def forward(self, images: torch.Tensor) -> Any:
        boxes, scores = super().forward(images)
        return (boxes, scores) if images.mean() < 0.05 else (boxes + 3, scores)


def test_a_network_that_a_trace_does_not_hold_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match="mine was not written: its graph does not match") as caught:
        exported(own("detect", lambda: Bright(2, decoded=True), 2), tmp_path)
    assert "records one path through Python code" in str(caught.value)
    assert re.search(
        r"test_module_recipe.py, line \d+, `return .* if images.mean\(\) < 0.05 .*`: compute it with tensors",
        str(caught.value),
    )
    assert not (tmp_path / "b").exists()


class Spectrum(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = torch.fft.rfft(images.mean((1, 2))).abs()
        return found[:, :4]


def test_the_limit_of_classes_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        RecipeError, match="there are 70,000 class names; at most 65,536 classes are supported"
    ):
        exported(own("classify", lambda: Foreground(logits=True), 70_000), tmp_path)


def test_an_operator_that_onnx_lacks(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="PyTorch cannot export Spectrum to ONNX opset 17: .*fft"):
        exported(own("classify", Spectrum, 4), tmp_path)


class Foreground(nn.Module):
    """One channel at a quarter of the input's size."""

    def __init__(self, *, logits: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.logits = nn.Conv2d(3, 1, 4, 4, bias=False), logits

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = 20 * self.conv(images - 0.4)
        return found if self.logits else found.sigmoid()


@pytest.mark.parametrize("frame_wh", [None, (160, 100)])
def test_a_probability_of_two_classes(tmp_path: Path, frame_wh: tuple[int, int] | None) -> None:
    bundle = exported(own("segment", lambda: Foreground(logits=False), 2), tmp_path, frame_wh=frame_wh)
    (mask,) = bundle.golden().answers
    assert mask.shape[1:] == ((100, 160) if frame_wh else (64, 96))
    assert 0.01 < mask.mean() < 0.99
    with pytest.raises(RecipeError, match="the only channel is .*, expected the probability of the second"):
        exported(own("segment", lambda: Foreground(logits=True), 2), tmp_path / "again")


class Named(nn.Module):
    """Nested outputs, as many libraries return them."""

    def __init__(self, key: str = "logits") -> None:
        super().__init__()
        self.linear, self.key = nn.Linear(3, 4), key

    def forward(self, images: torch.Tensor) -> Any:
        return {self.key: [self.linear(images.mean((2, 3)))], "hidden": None}


def test_nested_outputs_are_flattened(tmp_path: Path) -> None:
    bundle = exported(own("classify", Named, 4), tmp_path)
    assert bundle.spec.frames.fit == "center-crop"
    np.testing.assert_allclose(bundle.golden().answers[0].sum(axis=1), 1, rtol=1e-5)


def returning(*shapes: tuple[int, ...], value: float = 0.5) -> type[nn.Module]:
    """A network that returns constants of these shapes; a first side of 1 is the batch."""

    class Constant(nn.Module):
        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
            rows = [(len(images), *shape[1:]) if shape[0] == 1 else shape for shape in shapes]
            return tuple(torch.full(shape, value) + 0 * images.mean() for shape in rows)

    return Constant


class Wrong(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images @ images


MISFITS: dict[str, tuple[ModuleRecipe, str]] = {
    "another task": (
        own("classify", lambda: Columns(3), 3),
        r"mine: task classify of 3 classes expects one output \[B, C\].*; received network_output0 float32"
        r" \[\?, 7, 96\]",
    ),
    "no head": (
        own("detect", lambda: Columns(3), 3),
        r"task detect expects 2 outputs: boxes \[B, N, 4\].*; received 1 output: network_output0 float32 \[\?, 7,"
        r" 96\]; these outputs have the shapes of head yolov8: set head=",
    ),
    "number of classes": (
        own("detect", lambda: Columns(3, decoded=True), 5),
        r"there are 5 class names; the scores are of 3 classes: network_output1 float32 \[\?, 96, 3\]",
    ),
    "classes of a head": (
        own("detect", lambda: Columns(3), 5, head="yolov8"),
        r"head yolov8 of 5 classes expects one output \[B, 4\+C, N\]",
    ),
    "classes of a head object": (
        own("detect", lambda: Maps(4, 3), 5, head=AnchorFreeHead(STRIDES, 3, bins=1)),
        "there are 5 class names; its head has 3 classes",
    ),
    "head of another task": (
        own("detect", lambda: Columns(3), 3, head="yolov8-seg"),
        "task detect has no head 'yolov8-seg'; its heads are yolov5, yolov8",
    ),
    "a map of another size": (
        own("segment", returning((1, 3, 30, 40)), 3),
        r"task segment of 3 classes expects one output \[B, C, h, w\].*; received network_output0 float32",
    ),
    "does not run": (
        own("detect", Wrong, 3),
        r"the network of mine does not run on float32 \[1, 3, 64, 96\]: test_module_recipe.py, line \d+, `return images"
        r" @ images`: RuntimeError",
    ),
    "no batch": (
        own("classify", returning((3,)), 3),
        r"returns \[3\] for one image; expected tensors with the batch",
    ),
    "logits": (
        own("detect", returning((1, 6, 4), (1, 6, 2), value=9), 2),
        "scores are 9 to 9, expected 0 to 1; apply a Sigmoid",
    ),
    "fractions": (
        own("detect", returning((1, 6, 4), (1, 6, 2)), 2),
        "boxes are between 0.5 and 0.5, expected input pixels; multiply fractions",
    ),
}


@pytest.mark.parametrize("name", MISFITS)
def test_outputs_that_do_not_fit(name: str, tmp_path: Path) -> None:
    recipe, message = MISFITS[name]
    with pytest.raises(RecipeError, match=message):
        exported(recipe, tmp_path)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "colourise"}, "task is 'colourise'; expected one of classify, detect"),
        ({"task": "translate"}, "task translate has none: remove it"),
        (
            {"image_pixels": PixelFormat("rgb")},
            "image_pixels is for tasks translate and generate; received task",
        ),
        ({"classes": "cat"}, "classes is 'cat'; expected names"),
        ({"classes": ()}, "expected names"),
        (
            {"nms": False},
            "nms=False is for tasks detect, instances, pose, obb without a head; received task classify",
        ),
        ({"module": nn.Identity()}, "module is of type Identity; expected a class or function"),
    ],
)
def test_fields_that_cannot_be(change: dict[str, Any], message: str) -> None:
    fields: dict[str, Any] = {"task": "classify", "module": Named, "classes": ("a",)}
    with pytest.raises(RecipeError, match=message):
        ModuleRecipe(size_wh=SIZE_WH, pixels=PixelFormat(), **{**fields, **change})


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("size_wh", 64, r"size_wh is 64; expected width and height"),
        ("size_wh", (64, 64, 3), r"size_wh is \(64, 64, 3\)"),
        ("size_wh", (64.0, 64), r"size_wh is \(64.0, 64\)"),
        ("size_wh", (0, 64), r"size_wh \(0, 64\) must be positive"),
        ("size_wh", (100_000, 100_000), "million pixels; expected at most"),
        ("pixels", None, "pixels is None; expected a format"),
        ("pixels", "rgb", "pixels is 'rgb'; expected a format"),
        ("fit", "squash", "fit is 'squash'; expected one of letterbox"),
        ("crop_fraction", 0, r"crop_fraction 0 must be in \(0, 1\]"),
        ("crop_fraction", "1", "'<' not supported"),
        ("stride", 0, "stride is 0; expected a whole number from 1 on"),
        ("classes", 3, "classes is 3; expected names"),
        ("classes", ("a", None), r"classes\[1\] is None; expected a name in quotes"),
        ("keypoints", (1, 2), r"keypoints\[0\] is 1; expected a name in quotes"),
        ("head", 7, "head is 7; expected a name, an object"),
        ("head", YoloV5RawHead, "head is <class .*; expected a name, an object"),
    ],
)
def test_a_field_that_describes_no_network_is_named(field: str, value: Any, message: str) -> None:
    fields = {"task": "detect", "module": nn.Identity, "size_wh": SIZE_WH, "pixels": PixelFormat()}
    with pytest.raises(RecipeError, match=message):
        ModuleRecipe(**{**fields, "classes": ("a",), field: value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": "rbg"}, "order is 'rbg'; expected rgb or bgr"),
        ({"mean": (0.0, 1.0)}, r"mean is \(0.0, 1.0\); expected three values"),
        ({"std": (1.0, 1.0, float("inf"))}, "must be finite"),
        ({"scale": float("nan")}, "must be finite"),
    ],
)
def test_a_pixel_format_that_is_none(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PixelFormat(**options)


def test_a_network_without_weights(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="returned a network without weights, on device meta"):
        exported(own("detect", lambda: Columns(3, decoded=True).to("meta"), 3), tmp_path)


class OneImage(nn.Module):
    """Correct for one image only: by an error, or by outputs that forget the batch."""

    def __init__(self, *, fails: bool) -> None:
        super().__init__()
        self.fails = fails

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        means = images.mean((2, 3))
        return means.view(1, 3) if self.fails else means[:1]


@pytest.mark.parametrize(
    ("fails", "message"),
    [
        (True, r"does not run on float32 \[2, 3, 64, 96\]: test_module_recipe.py, line \d+"),
        (False, r"returns \[1, 3\] for 2 images; expected tensors with the batch first, \[2, ...\]"),
    ],
)
def test_a_network_for_one_image_only(fails: bool, message: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=message):
        exported(own("classify", lambda: OneImage(fails=fails), 3), tmp_path)


def test_one_class_is_no_choice(tmp_path: Path) -> None:
    """A binary classifier with one logit: its Softmax would be 1 for every image, without an error."""
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 1))
    with pytest.raises(RecipeError, match="classify needs two classes or more: the Softmax of one value"):
        exported(own("classify", lambda: network, 1), tmp_path)
