"""YOLOv5 v6.0 to v7.0, with or without masks, built from a description, a pickled model or bare weights.

The architecture is described by its authors at https://github.com/ultralytics/yolov5 (doi 10.5281/zenodo.3908559).
Parameter names are those of its checkpoints: ``model.0.conv.weight``, ``model.24.m.0.bias``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import nn

from edgevision.checkpoint.pickled import PickledObject
from edgevision.checkpoint.reading import Checkpoint, named_entries, state_dict_from_module
from edgevision.errors import CheckpointError, UsageError
from edgevision.models.layers.blocks import fold_norms
from edgevision.models.layers.part import kind_of
from edgevision.models.layers.trunk import probe, run_trunk, strides_of, trunk_from_module
from edgevision.models.weights import assign_weights
from edgevision.models.yolov5.layers import Detect
from edgevision.models.yolov5.plan import (
    COCO_ANCHORS_P5,
    Anchors,
    YoloV5Config,
    layers_from_plan,
    mask_count_of,
    plan_from_config,
    plan_from_tensors,
)
from edgevision.models.yolov5.rebuild import YOLOV5_KINDS

Size = Literal["n", "s", "m", "l", "x"]

_MULTIPLES: dict[Size, tuple[float, float]] = {
    "n": (0.33, 0.25),
    "s": (0.33, 0.50),
    "m": (0.67, 0.75),
    "l": (1.00, 1.00),
    "x": (1.33, 1.25),
}
"""Depth and width for each size."""

PUBLISHED_MASKS = 32
"""Prototypes of the published segmentation models."""

_GRID_ANCHOR_LIMIT_PX = 4096
_HUB_WRAPPERS = frozenset({"AutoShape", "DetectMultiBackend"})


class YoloV5(nn.Module):
    """A detector: float ``[B,3,H,W]`` RGB in 0..1 to a map of logits ``[B,anchors*(5+classes),h,w]`` for each scale.

    `sources` lists the inputs of each layer, -1 being the image. The last layer is `Detect` or `Segment`. With
    `Segment`, maps hold `mask_count` additional values for each anchor, and the prototypes ``[B,mask_count,H/4,W/4]``
    come last.
    """

    def __init__(
        self,
        layers: Sequence[nn.Module],
        sources: Sequence[tuple[int, ...]],
        strides: tuple[int, ...],
        names: tuple[str, ...],
        variant: str,
    ) -> None:
        super().__init__()
        self.model = nn.Sequential(*layers)
        self.sources = tuple(sources)
        self.strides = strides
        self.names = names
        self.variant = variant

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Images to raw maps, finest scale first; H and W must be multiples of the largest stride."""
        maps: list[torch.Tensor] = run_trunk(self.model, self.sources, x)
        return maps

    @property
    def detect(self) -> Detect:
        """The head."""
        head = self.model[-1]
        assert isinstance(head, Detect)
        return head

    @property
    def class_count(self) -> int:
        """Number of classes."""
        return len(self.names)

    @property
    def mask_count(self) -> int:
        """Number of prototypes; 0 for a detector."""
        return self.detect.mask_count

    @property
    def anchors_px(self) -> torch.Tensor:
        """Widths and heights of the anchors in pixels: ``[scales, anchors, 2]``."""
        return _in_pixels(self.detect.anchors, self.strides)

    def fuse(self) -> YoloV5:
        """Fold each normalisation into its convolution, in place; outputs change only by rounding.

        Sets eval mode; the model can no longer be trained.
        """
        fold_norms(self)
        return self


def yolov5(
    size: Size,
    class_count: int = 80,
    *,
    names: tuple[str, ...] = (),
    anchors_px: Anchors = COCO_ANCHORS_P5,
    mask_count: int = 0,
) -> YoloV5:
    """A model of a published size with random weights; anchors of four scales make it a P6 model.

    The published segmentation models have a `mask_count` of `PUBLISHED_MASKS`.
    """
    if size not in _MULTIPLES:
        raise UsageError(f"YOLOv5 size {size!r} is not one of {', '.join(_MULTIPLES)}")
    return yolov5_from_config(YoloV5Config(*_MULTIPLES[size], class_count, names, anchors_px, mask_count))


def yolov5_from_config(config: YoloV5Config) -> YoloV5:
    """A model of any depth and width with random weights, ready to train."""
    plan = plan_from_config(config)
    anchors = torch.tensor(config.anchors_px, dtype=torch.float32)
    layers = layers_from_plan(
        plan,
        anchors / torch.tensor(config.strides).view(-1, 1, 1),
        config.class_count,
        mask_count=config.mask_count,
    )
    tensors = {f"model.{name}": tensor for name, tensor in nn.Sequential(*layers).state_dict().items()}
    variant = _variant(tensors, len(plan) - 1, config.class_count)
    names = config.names or _numbers(config.class_count)
    model = YoloV5(layers, [step.sources for step in plan], config.strides, names, variant)
    _initialise_head(model)
    return model


def yolov5_task(checkpoint: Checkpoint) -> Literal["detect", "instances"] | None:
    """The task of a checkpoint in YOLOv5's form, by the names of its module and its tensors; None for another form."""
    module = checkpoint.module
    pickled = module is not None and module.class_name.removeprefix("yolov5.").startswith("models.")
    anchors = any(re.search(r"(?:^|\.)model\.\d+\.anchors$", name) for name in checkpoint.tensors)
    if not pickled and (module is not None or not anchors):
        return None
    masks = any(name.endswith(".proto.cv3.conv.weight") for name in checkpoint.tensors)
    return "instances" if masks else "detect"


def yolov5_from_checkpoint(checkpoint: Checkpoint) -> YoloV5:
    """Rebuild the model of a checkpoint, in eval mode; every weight must be used.

    A pickled model contains its architecture; for bare weights it is inferred from names and shapes. Raises
    `CheckpointError` that names an unknown layer or the weights that do not fit.
    """
    try:
        if checkpoint.module is None:
            return _from_tensors(checkpoint.tensors, checkpoint.class_names)
        return _from_module(checkpoint.module, checkpoint.class_names)
    except CheckpointError as error:
        raise CheckpointError(f"{checkpoint.path}: {error}") from error


def _from_module(root: PickledObject, class_names: tuple[str, ...]) -> YoloV5:
    root = _unwrapped(root)
    layers, sources = trunk_from_module(root, YOLOV5_KINDS, "YOLOv5's Model or DetectionModel")
    if (
        not layers
        or not isinstance(layers[-1], Detect)
        or any(isinstance(layer, Detect) for layer in layers[:-1])
    ):
        raise CheckpointError("the last layer is not Detect, the head of YOLOv5's detection models")
    strides = strides_of(probe(layers, sources)[: len(layers[-1].m)])
    tensors = _canonical(state_dict_from_module(root), len(layers) - 1, strides)
    class_count = _class_count(tensors, len(layers) - 1)
    return _loaded(layers, sources, strides, tensors, class_names, class_count)


def _from_tensors(tensors: Mapping[str, torch.Tensor], class_names: tuple[str, ...]) -> YoloV5:
    plan = plan_from_tensors(tensors)
    last = len(plan) - 1
    strides = tuple(8 << scale for scale in range(len(plan[-1].sources)))
    tensors = _canonical(tensors, last, strides)
    class_count = _class_count(tensors, last)
    fused = "model.0.bn.weight" not in tensors
    with torch.device("meta"):
        masks = mask_count_of(tensors, last)
        anchors = tensors[f"model.{last}.anchors"]
        layers = layers_from_plan(plan, anchors, class_count, mask_count=masks, fused=fused)
    return _loaded(layers, [step.sources for step in plan], strides, tensors, class_names, class_count)


def _loaded(
    layers: list[nn.Module],
    sources: Sequence[tuple[int, ...]],
    strides: tuple[int, ...],
    tensors: Mapping[str, torch.Tensor],
    class_names: tuple[str, ...],
    class_count: int,
) -> YoloV5:
    names = class_names if len(class_names) == class_count else _numbers(class_count)
    model = YoloV5(layers, sources, strides, names, _variant(tensors, len(layers) - 1, class_count))
    assign_weights(model, tensors)
    return model.eval()


def _unwrapped(root: PickledObject) -> PickledObject:
    """The detector inside the wrappers of YOLOv5's hub."""
    for _ in _HUB_WRAPPERS:
        inner = dict(named_entries(root, "_modules")).get("model")
        if kind_of(root) in _HUB_WRAPPERS and isinstance(inner, PickledObject):
            root = inner
    return root


def _canonical(
    tensors: Mapping[str, torch.Tensor], last: int, strides: tuple[int, ...]
) -> dict[str, torch.Tensor]:
    """Tensors without values that earlier versions cached beside them, and anchors in units of the strides.

    Every version stores anchors divided by their stride. Such anchors of over `_GRID_ANCHOR_LIMIT_PX` pixels would be
    larger than any input: then they were stored in pixels.
    """
    caches = (f"model.{last}.anchor_grid", "total_ops", "total_params")
    kept = {name: tensor for name, tensor in tensors.items() if not name.endswith(caches)}
    name = f"model.{last}.anchors"
    anchors = kept.get(name)
    if anchors is None or anchors.ndim != 3 or anchors.shape[0] != len(strides) or anchors.shape[2] != 2:
        found = "none" if anchors is None else str(list(anchors.shape))
        raise CheckpointError(f"expected anchors [{len(strides)}, anchors, 2] as {name}, found {found}")
    if float(_in_pixels(anchors, strides).max()) > _GRID_ANCHOR_LIMIT_PX:
        kept[name] = anchors / torch.tensor(strides).view(-1, 1, 1)
    return kept


def _class_count(tensors: Mapping[str, torch.Tensor], last: int) -> int:
    anchors = tensors[f"model.{last}.anchors"]
    weight = tensors.get(f"model.{last}.m.0.weight")
    if weight is None:
        raise CheckpointError(f"model.{last}.m.0.weight is missing, from which the number of classes is read")
    values, remainder = divmod(weight.shape[0], anchors.shape[1])
    others = 5 + mask_count_of(tensors, last)
    if remainder or values <= others:
        raise CheckpointError(
            f"the head has {weight.shape[0]} channels for {anchors.shape[1]} anchors, expected {others} + classes for"
            " each"
        )
    return values - others


def _variant(tensors: Mapping[str, torch.Tensor], last: int, class_count: int) -> str:
    """The published size whose convolutions have these shapes, or a note that there is none."""

    def shapes(named: Mapping[str, torch.Tensor]) -> set[tuple[str, torch.Size]]:
        return {(name, tensor.shape) for name, tensor in named.items() if tensor.ndim == 4}

    anchors, masks = tensors[f"model.{last}.anchors"], mask_count_of(tensors, last)
    kind = "-seg" if masks else ""
    found = shapes(tensors)
    for size, (depth, width) in _MULTIPLES.items():
        if (
            len(anchors) not in (3, 4)
            or ("model.0.conv.weight", torch.Size((int(64 * width), 3, 6, 6))) not in found
        ):
            continue
        grid = tuple(tuple((1.0, 1.0) for _ in range(anchors.shape[1])) for _ in anchors)
        plan = plan_from_config(YoloV5Config(depth, width, class_count, anchors_px=grid, mask_count=masks))
        with torch.device("meta"):
            published = nn.Module()
            layers = layers_from_plan(plan, anchors, class_count, mask_count=masks, fused=True)
            published.model = nn.Sequential(*layers)
        if shapes(published.state_dict()) == found:
            return f"YOLOv5{size}{'6' if len(anchors) == 4 else ''}{kind}, {_classes(class_count)}"
    return f"YOLOv5{kind} of another size, {_classes(class_count)}"


def _initialise_head(model: YoloV5) -> None:
    """Set biases that expect few objects: 8 in a frame of 640 px, each class equally likely (arXiv 1708.02002, 3.3)."""
    with torch.no_grad():
        for conv, stride in zip(model.detect.m, model.strides, strict=True):
            assert isinstance(conv, nn.Conv2d)
            assert conv.bias is not None
            bias = conv.bias.view(model.detect.anchors.shape[1], -1)
            bias[:, 4] += math.log(8 / (640 / stride) ** 2)
            bias[:, 5 : 5 + model.class_count] += math.log(0.6 / (model.class_count - 0.99999))


def _in_pixels(anchors: torch.Tensor, strides: tuple[int, ...]) -> torch.Tensor:
    return anchors * torch.tensor(strides, dtype=anchors.dtype, device=anchors.device).view(-1, 1, 1)


def _numbers(count: int) -> tuple[str, ...]:
    return tuple(str(number) for number in range(count))


def _classes(count: int) -> str:
    return "1 class" if count == 1 else f"{count} classes"
