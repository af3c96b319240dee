"""PyTorch networks of the built-in recipes as `SourceModel`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from edgevision.checkpoint.config_beside import NAME, config_beside, label_names
from edgevision.checkpoint.reading import Checkpoint
from edgevision.contract.spec import FrameInput
from edgevision.errors import CheckpointError
from edgevision.export.frames import golden_frames
from edgevision.export.golden import network_input
from edgevision.graph.heads import YoloV5RawHead
from edgevision.graph.preprocess import PixelFormat
from edgevision.models.classifiers.family import Classifier, Family, classifier_from_state_dict
from edgevision.models.classifiers.timm_config import TimmConfig
from edgevision.models.recipe import SourceModel
from edgevision.models.yolov5.decode import decode
from edgevision.models.yolov5.masks import decode_with_coefficients
from edgevision.models.yolov5.model import YoloV5


def classifier_source(
    module: torch.nn.Module, variant: str, class_count: int, class_names: tuple[str, ...] = ()
) -> SourceModel:
    """A network with logits ``[B,C]``; classes without names are numbered."""
    return SourceModel(module, variant, _names(class_count, class_names))


def recognised_source(family: Family, checkpoint: Checkpoint) -> SourceModel:
    """A family's classifier from a state dict, with the input of timm's ``config.json`` or of its library's weights."""
    found = classifier_from_state_dict(family, checkpoint.tensors)
    config = config_beside(checkpoint.path)
    stated = TimmConfig.of(config, family.name, found.class_count) if found.library == "timm" else None
    if family.tf_models and (
        checkpoint.path.name.startswith("tf_") or (stated is not None and stated.pads_like_tensorflow)
    ):
        raise CheckpointError(
            f"{checkpoint.path}: timm's tf_ models pad their maps on other sides, which a state dict does not show;"
            " export it to ONNX with timm and run `edgevision adopt`"
        )
    names = checkpoint.class_names
    if stated is not None:
        expected = stated.over(found.expected, fixed_size=family.fixed_size)
        found = replace(found, expected=expected, input_origin=f"stated in {NAME}: {stated.architecture}")
        names = names or label_names(config, found.class_count)
    return _of_classifier(found, names)


def random_source(family: Family, class_count: int = 1000) -> SourceModel:
    """A family's smallest member with random weights of seed 0 that responds to image content."""
    torch.manual_seed(0)
    shape = family.smallest
    expected = family.expected(shape, "torchvision")
    module = shape.build(class_count)
    logits = torch.as_tensor(take_statistics(module, expected.size_wh))
    head = [layer for layer in module.modules() if isinstance(layer, torch.nn.Linear)][-1]
    with torch.no_grad():
        head.weight /= logits.std()  # scores that differ, but not only 0 and 1
    return _of_classifier(Classifier(module.eval(), shape, "torchvision", class_count, expected), ())


def _of_classifier(found: Classifier, class_names: tuple[str, ...]) -> SourceModel:
    expected = found.expected
    variant = f"{found.shape.name} ({found.library}), {found.class_count} classes"
    return replace(
        classifier_source(found.module, variant, found.class_count, class_names),
        size_wh=expected.size_wh,
        pixels=PixelFormat("rgb", 1 / 255, expected.mean, expected.std),
        crop_fraction=expected.crop_fraction,
        input_origin=found.input_origin,
    )


def _names(class_count: int, class_names: tuple[str, ...]) -> tuple[str, ...]:
    numbers = tuple(str(label) for label in range(class_count))
    return class_names if len(class_names) == class_count else numbers


def segmenter_source(
    module: torch.nn.Module, variant: str, class_count: int, class_names: tuple[str, ...] = ()
) -> SourceModel:
    """A network with logits ``[B,C,h,w]``; classes without names are numbered."""
    return SourceModel(module, variant, _names(class_count, class_names))


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
