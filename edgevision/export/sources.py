"""PyTorch networks of the built-in recipes as `SourceModel`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch

from edgevision.contract.spec import FrameInput
from edgevision.errors import CheckpointError
from edgevision.export.frames import golden_frames
from edgevision.export.golden import network_input
from edgevision.graph.heads import YoloV5RawHead
from edgevision.graph.preprocess import PixelFormat
from edgevision.models.recipe import SourceModel
from edgevision.models.yolov5.decode import decode
from edgevision.models.yolov5.masks import decode_with_coefficients
from edgevision.models.yolov5.model import YoloV5


def source_with_names(
    module: torch.nn.Module, variant: str, class_count: int, class_names: tuple[str, ...] = ()
) -> SourceModel:
    """A network with logits ``[B,C]`` or ``[B,C,h,w]``; classes without names are numbered."""
    return SourceModel(module, variant, _names(class_count, class_names))


def _names(class_count: int, class_names: tuple[str, ...]) -> tuple[str, ...]:
    numbers = tuple(str(label) for label in range(class_count))
    return class_names if len(class_names) == class_count else numbers


def yolov5_source(model: YoloV5) -> SourceModel:
    """YOLOv5 with folded batch normalisation, and its decoding in plain PyTorch."""
    if model.mask_count:
        raise CheckpointError(f"holds {model.variant}, which has masks; use recipe yolov5-seg")
    return _yolov5(model, decode)


def yolov5_seg_source(model: YoloV5) -> SourceModel:
    """A segmentation model of YOLOv5 with folded batch normalisation, and its decoding in plain PyTorch."""
    if not model.mask_count:
        raise CheckpointError(f"holds {model.variant}, which has no masks; use recipe yolov5")
    return _yolov5(model, decode_with_coefficients)


def _yolov5(model: YoloV5, decoding: Callable[..., tuple[torch.Tensor, ...]]) -> SourceModel:
    model.fuse()
    plain = functools.partial(decoding, anchors_px=model.anchors_px, strides=model.strides)
    return SourceModel(model, model.variant, model.names, _raw_head(model), plain)


def _raw_head(model: YoloV5) -> YoloV5RawHead:
    anchors = tuple(tuple((float(w), float(h)) for w, h in scale) for scale in model.anchors_px.tolist())
    return YoloV5RawHead(anchors, model.strides, model.class_count, mask_count=model.mask_count)


def randomize_statistics(model: YoloV5) -> YoloV5:
    """Make a randomly initialised model respond to image content, in place.

    New normalisations pass almost nothing of an image, and a new head detects nothing: all graphs would look equal. The
    normalisations take the statistics of our photographs, and the head's logits are spread.
    """
    maps = take_statistics(model)[: len(model.strides)]
    for conv, logits in zip(model.detect.m, maps, strict=True):
        spread = torch.ones(len(model.anchors_px[0]), 5 + model.class_count + model.mask_count)
        spread[:, :4] = 0.5  # larger values would shrink boxes to points
        wanted = torch.zeros_like(spread)
        wanted[:, 4 : 5 + model.class_count] = -3.5
        spread_logits(conv, logits, wanted.flatten(), spread.flatten())
    return model


def take_statistics(model: torch.nn.Module, size_wh: tuple[int, int] = (192, 192)) -> Sequence[torch.Tensor]:
    """Give the normalisations the statistics of our photographs, in place; returns the outputs for these."""
    frames = golden_frames(None, FrameInput(size_wh))
    pictures, _ = network_input(frames, FrameInput(size_wh), PixelFormat("rgb"))
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None  # the plain mean over the calls that follow
    with torch.no_grad():
        model.train()
        model(pictures)
        model.eval()
        outputs: Sequence[torch.Tensor] = model(pictures)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return outputs


def spread_logits(
    conv: torch.nn.Module, logits: torch.Tensor, mean: torch.Tensor, deviation: torch.Tensor
) -> None:
    """Change a head's last convolution, in place, so that its `logits` get this mean and deviation."""
    assert isinstance(conv, torch.nn.Conv2d)
    assert conv.bias is not None
    with torch.no_grad():
        scale = deviation / logits.std(dim=(0, 2, 3))
        conv.weight *= scale.view(-1, 1, 1, 1)
        conv.bias.copy_(mean + (conv.bias - logits.mean(dim=(0, 2, 3))) * scale)
